"""Runs at simulated servers that refuse, in virtual time: speed and refusals, by the kind of server."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from chatpipe.limits.chance import Chance
from chatpipe.limits.learned import LearnedRate
from chatpipe.limits.window import RefusalWindow
from limits.servers import REFUSAL_S, AtRandom, PerSecond, PerWindow, Slots, run
from support.parametrize import cases

SECONDS = 20.0


def steady(mean_s: float) -> Callable[[], float]:
    return lambda: mean_s


def uneven(mean_s: float) -> Callable[[], float]:
    """Times that differ by a tenth."""
    rng = random.Random(1)
    return lambda: mean_s * max(0.3, rng.gauss(1, 0.1))


@pytest.mark.parametrize("jobs", [16, 64, 256])
@cases("retry_after", {"no delay": None, "a second": "1"})
@cases("times", {"steady": steady, "uneven": uneven})
@cases("send_s", {"all sent at once": 0.0, "sent one by one": 0.0007})
@pytest.mark.parametrize(
    ("slots", "service_s"), [(1, 0.05), (4, 0.05), (8, 0.05), (64, 0.05), (4, 1.0), (8, 1.0)]
)
def test_slots_are_found_from_above(
    slots: int,
    service_s: float,
    times: Callable[[float], Callable[[], float]],
    send_s: float,
    retry_after: str | None,
    jobs: int,
) -> None:
    ran = run(Slots(slots, times(service_s), retry_after), jobs, SECONDS, send_s=send_s)
    assert ran.rate() >= min(slots, jobs) / service_s / 1.15
    assert ran.refused_per_answer(jobs) <= 0.1


@pytest.mark.parametrize("jobs", [16, 64])
@cases("refusals_count", {"refusals are free": False, "refusals count": True})
@cases("retry_after", {"no delay": None, "a second": "1"})
@cases(
    "per_second, service_s, burst, slowest",
    {
        "windows of a second": (60, 0.05, None, 1.7),
        "a bucket": (60, 0.05, 60, 1.1),
        "quick answers": (60, 0.005, 60, 1.1),
        "quick answers in windows": (60, 0.005, None, 1.6),
        "one by one": (60, 0.05, 1, 3.5),
        "slow answers": (60, 1.0, 60, 1.1),
        "one a second": (1, 0.05, 1, 2.0),
        "five a second": (5, 0.05, 5, 1.9),
    },
)
def test_a_limit_of_requests_per_time_is_kept(
    per_second: float,
    service_s: float,
    burst: float | None,
    slowest: float,
    retry_after: str | None,
    refusals_count: bool,
    jobs: int,
) -> None:
    server = PerSecond(
        per_second,
        uneven(service_s),
        burst=burst,
        refusals_count=refusals_count,
        retry_after=retry_after,
    )
    ran = run(server, jobs, 2 * SECONDS)
    assert ran.refused_per_answer(jobs) <= 0.3
    assert ran.rate() >= min(per_second, jobs / service_s) / slowest


@pytest.mark.parametrize("jobs", [16, 64])
@cases("refusals_count", {"refusals are free": False, "refusals count": True})
@cases("fixed", {"any time": False, "fixed windows": True})
@cases("window_s", {"a second": 1.0, "ten seconds": 10.0})
@cases(
    "service_s, slowest", {"50 ms": (0.05, 1.6), "quick answers": (0.005, 1.4), "slow answers": (1.0, 2.0)}
)
def test_a_limit_of_requests_in_a_window_is_kept(
    window_s: float, fixed: bool, service_s: float, slowest: float, refusals_count: bool, jobs: int
) -> None:
    """All of the allowance at once, then nothing."""
    most = int(60 * window_s)
    server = PerWindow(most, window_s, uneven(service_s), fixed=fixed, refusals_count=refusals_count)
    ran = run(server, jobs, 2 * SECONDS)
    assert ran.refused_per_answer(jobs) <= 0.3
    assert ran.rate() >= min(60, jobs / service_s) / slowest


@cases("before, after", {"more": (4, 32), "fewer": (32, 4), "none for 5 s": (16, 0)})
def test_slots_that_change_in_mid_run(before: int, after: int) -> None:
    def slots(now: float) -> int:
        return before if now < 10 or (after == 0 and now > 15) else after

    ran = run(Slots(slots, uneven(0.05)), 64, 40)
    last = sum(at > 30 for at in ran.answered) / 10
    assert last >= (after or before) / 0.05 / 1.15
    assert ran.refused_per_answer(64) <= 0.1


def test_a_slot_that_is_free_a_little_late_costs_little() -> None:
    """Some servers count a request until after the client has its answer."""
    rng = random.Random(3)
    late_s = lambda: 0.001 if rng.random() < 0.2 else 0.0  # noqa: E731
    ran = run(Slots(8, uneven(0.05), late_s=late_s), 16, SECONDS)
    assert ran.rate() >= 8 / 0.05 / 1.3
    assert ran.refused_per_answer(16) <= 0.1


def test_an_answer_that_hangs_does_not_hold_up_the_run() -> None:
    hangs = iter([100.0])
    ran = run(Slots(2, lambda: next(hangs, 0.05)), 16, SECONDS)
    assert len(ran.answered) > 300
    window = RefusalWindow(2)
    window.refuse(1, 0.0, 10.0)
    assert (window.limit, window.patience_s(10.0)) == (1, 2.0)
    window.probe(12.0)
    assert window.limit == 2
    window.refuse(1, 0.0, 12.1)
    assert window.patience_s(12.1) == pytest.approx(4.0)  # twice as long


@cases(
    "others, limits",
    {
        "a wave that is too large": (range(15, 7, -1), [15, 14, 13, 12, 11, 10, 9, 8]),
        "in the order of their arrival": ([15, 15, 14], [15, 15, 14]),
        "all of them": ([3, 2, 1, 0], [3, 2, 1, 1]),
        "more than the limit are there": ([20], [16]),
    },
)
def test_a_refusal_tells_how_many_there_is_room_for(others: list[int], limits: list[int]) -> None:
    window = RefusalWindow(16)
    found = []
    for number, at_server in enumerate(others):
        window.refuse(at_server, 0.0, 1 + number / 1000)
        found.append(window.limit)
    assert found == limits


def test_after_a_refusal_of_everything_it_soon_grows_to_almost_what_it_was() -> None:
    window = RefusalWindow(16)
    for others in range(15, -1, -1):
        window.refuse(others, 0.0, 1.0)
    for number in range(40):
        window.answer(16, 0.05, 2 + number / 100)
    assert window.limit == 15


def test_a_window_that_is_not_full_does_not_grow() -> None:
    window = RefusalWindow(5)
    window.refuse(4, 0.0, 1.0)
    for number in range(100):
        window.answer(3, 0.05, 2 + number / 100)
    assert window.limit == 4
    assert window.patience_s(3.0) == pytest.approx(1.99)  # none is decided


def test_a_probe_that_costs_a_pause_waits_for_twenty_times_as_long() -> None:
    window = RefusalWindow(5)
    window.refuse(4, 1.0, 10.0)
    for number in range(100):
        window.answer(4, 0.05, 11 + number / 100)
    assert window.limit == 4
    assert window.patience_s(12.0) == 18.0
    window.answer(4, 0.05, 30.0)
    assert window.patience_s(30.0) == pytest.approx(0.00625)  # in the middle between two answers


def test_the_rate_is_what_came_since_the_refusals_before() -> None:
    rate = LearnedRate()
    rate.book(10.0)
    for number in range(60):
        rate.answer(10 + number / 100)
    assert rate.opens_at() == 0  # nothing is refused: no rate
    rate.refuse()
    rate.answer(12.0)
    assert rate.rate == 30
    rate.book(12.0)
    assert rate.opens_at() == pytest.approx(12 + 1 / 30)


@pytest.mark.parametrize("jobs", [4, 16, 64])
@pytest.mark.parametrize("service_s", [0.005, 0.05])
@pytest.mark.parametrize("share", [0.05, 0.1, 0.3, 0.5])
def test_refusals_by_chance_cost_no_time(share: float, service_s: float, jobs: int) -> None:
    """0.01 to 0.2 of the best before they were told from those of a full server."""
    best = jobs * (1 - share) / ((1 - share) * service_s + share * REFUSAL_S)
    # What it costs to find out depends on the number of answers, not on the time.
    ran = run(AtRandom(share, steady(service_s)), jobs, min(3 * SECONDS, 25_000 / best))
    assert ran.rate() >= 0.9 * best
    assert ran.refused_per_answer(jobs) <= 1.1 * share / (1 - share)


@cases(("share", "least"), {"one in twenty": (0.05, 8), "one in ten": (0.1, 5), "three in ten": (0.3, 1)})
def test_a_server_that_names_a_delay_does_not_refuse_by_chance(share: float, least: float) -> None:
    ran = run(AtRandom(share, steady(0.005), retry_after="1"), 16, 3 * SECONDS)
    assert ran.rate() > least  # each of them costs a second


def fallen(chance: Chance, answers: int) -> bool:
    """True if refusals with so many answers between them, down to a quarter of 16, are by chance."""
    found = []
    for window in range(15, 3, -1):
        found.append(chance.explains(window))
        for _ in range(answers):
            chance.answer(window)
    assert not any(found[:-1])
    return found[-1]


@cases("answers, is_chance", {"none in between": (0, False), "one each": (1, True), "many": (50, True)})
def test_refusals_between_answers_are_by_chance_once_the_window_is_small(
    answers: int, *, is_chance: bool
) -> None:
    assert fallen(Chance(16), answers) is is_chance


def test_more_than_chance_is_heeded_and_rests() -> None:
    chance = Chance(16)
    assert fallen(chance, 1)
    heeded = [not chance.ignores(0) for _ in range(8)]
    assert heeded == [False] * 7 + [True]
    assert not chance.ignores(0)  # it is no chance any more
    assert not fallen(chance, 1)
    for _ in range(500):
        chance.answer(16)
    assert fallen(chance, 1)


def test_chance_goes_on_as_long_as_it_is_no_more_than_it_was() -> None:
    chance = Chance(16)
    assert fallen(chance, 1)
    for _ in range(2000):
        assert chance.ignores(3)
        chance.answer(16)
