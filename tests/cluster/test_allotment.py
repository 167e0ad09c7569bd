"""The allotment of requests to workers."""

from __future__ import annotations

import pytest

from chatpipe.cluster.allotment import allot

CASES = {
    "equal shares": ("abcdef", {1: 0, 2: 0, 3: 0}, {1: "ad", 2: "be", 3: "cf"}),
    "the one with the fewest first": ("abcd", {1: 5, 2: 2, 3: 4}, {2: "abc", 3: "d"}),
    "one worker": ("abc", {7: 9}, {7: "abc"}),
    "nothing": ("", {1: 0}, {}),
}


@pytest.mark.parametrize(("requests", "in_flight", "allotted"), CASES.values(), ids=CASES)
def test_each_request_goes_to_the_worker_with_the_fewest(
    requests: str, in_flight: dict[int, int], allotted: dict[int, str]
) -> None:
    assert allot(requests, in_flight) == {worker: list(each) for worker, each in allotted.items()}
