"""The allotment of requests to workers."""

from __future__ import annotations

from chatpipe.cluster.allotment import Allotment


def test_each_request_goes_to_the_worker_with_the_fewest() -> None:
    allotment = Allotment()
    assert allotment.join(1, 2, 3) == []
    assert [allotment.give(number) for number in range(6)] == [1, 2, 3, 1, 2, 3]
    assert allotment.end(1) == (True, 2)
    assert allotment.end(4) == (True, 2)
    assert [allotment.give(number) for number in (6, 7)] == [2, 2]


def test_requests_wait_for_the_first_workers_which_share_them() -> None:
    allotment = Allotment()
    assert [allotment.give(number) for number in range(4)] == [None] * 4
    assert allotment.end(1) == (True, None)  # nobody waits for it any more
    assert allotment.join(7, 8) == [(0, 7), (2, 8), (3, 7)]


def test_a_lost_worker_gives_back_what_it_had() -> None:
    allotment = Allotment()
    allotment.join(1, 2)
    for number in range(5):
        allotment.give(number)
    assert allotment.end(2) == (True, 1)
    assert allotment.leave(1) == [0, 4]
    assert allotment.leave(1) == []
    assert [allotment.give(number) for number in (0, 4)] == [2, 2]
    assert allotment.workers == 1
    assert allotment.leave(2) == [1, 3, 0, 4]
    assert allotment.give(0) is None


def test_a_second_reply_to_a_request_is_known_as_such() -> None:
    allotment = Allotment()
    allotment.join(1)
    allotment.give(5)
    assert [allotment.end(5)[0], allotment.end(5)[0], allotment.end(6)[0]] == [True, False, False]
