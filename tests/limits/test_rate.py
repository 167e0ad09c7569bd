"""The pace of a run: limits a minute in every window, headers, pauses; all in injected time."""

from __future__ import annotations

import asyncio
import random
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence

import pytest

from chatpipe.limits.rate import RateLimiter, wait_for_start
from chatpipe.wire.retry import FailedAttempt, is_busy
from support.parametrize import cases

UNIX = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT


def starts(pace: RateLimiter, count: int, tokens: int = 1, now: float = 0.0) -> list[float]:
    """The start times of `count` requests that arrive at once."""
    return [now + pace.reserve(tokens, now) for _ in range(count)]


def most_in_a_minute(times: Sequence[float], costs: Sequence[float] | None = None) -> float:
    """The most that starts in any [t, t + 60 s)."""
    times = sorted(times)
    total = [0.0]
    for cost in costs or [1.0] * len(times):
        total.append(total[-1] + cost)
    ends = (bisect_left(times, start + 60 - 1e-6) for start in times)
    return max(total[end] - total[begin] for begin, end in enumerate(ends))


def heard(
    status: int = 200,
    headers: dict[str, str] | None = None,
    now: float = 100.0,
    pace: RateLimiter | None = None,
    others: int = 0,
) -> RateLimiter:
    pace = pace or RateLimiter(random=lambda: 0.0)
    failure = FailedAttempt(status, headers or {})
    if is_busy(failure):
        pace.observe_refusal(failure, now, UNIX, others)
    else:
        pace.observe_headers(headers or {}, now, UNIX)
        if status == 200:
            pace.observe_success(now)
    return pace


def after(seconds: str) -> dict[str, str]:
    return {"retry-after": seconds}


@cases(
    "rpm, most",
    {
        "1": (1, 1),
        "60": (60, 60),
        "100": (100, 100),
        "600": (600, 600),
        "6000, and a tenth of a second at once": (6000, 6009),
    },
)
def test_requests_in_any_minute(rpm: float, most: int) -> None:
    assert most_in_a_minute(starts(RateLimiter(rpm=rpm), 3 * int(rpm))) == most


@cases(
    "limits, expected",
    {
        "requests only": ((60, None), [0, 1, 2, 3]),
        "tokens only": ((None, 600), [0, 2, 4, 6]),
        "requests are scarcer": ((60, 60_000), [0, 1, 2, 3]),
        "tokens are scarcer": ((600, 600), [0, 2, 4, 6]),
        "no limits": ((None, None), [0, 0, 0, 0]),
        "0 is no limit": ((0, 0), [0, 0, 0, 0]),
    },
)
def test_each_waits_behind_the_one_before(
    limits: tuple[float | None, float | None], expected: list[float]
) -> None:
    assert starts(RateLimiter(*limits), 4, tokens=20) == pytest.approx(expected)


def test_time_without_requests_is_not_saved_up() -> None:
    pace = RateLimiter(rpm=60)
    starts(pace, 5)
    assert starts(pace, 3, now=3600.0) == [3600, 3601, 3602]


def test_random_arrivals_keep_within_both_limits() -> None:
    """Neither timetable gives away places that were held up by the other."""
    rng = random.Random(7)
    pace, now = RateLimiter(rpm=120, tpm=30_000), 0.0
    times, costs = [], []
    for block in range(60):
        tokens = rng.choice([1, 50, 2000])
        for _ in range(rng.randrange(1, 40)):
            times.append(now + pace.reserve(tokens, now))
            costs.append(float(tokens))
        now += rng.choice([0.0, 1.0, 30.0, 0.0 if block else 300.0])
    assert times == sorted(times)
    assert most_in_a_minute(times) <= 120
    assert most_in_a_minute(times, costs) <= 30_000 + 50 + 2000  # the burst, and the last that was begun


def test_no_drift_over_a_million_requests() -> None:
    pace, now = RateLimiter(rpm=7000, tpm=21_000_000), 1e6
    for number in range(1_000_000):
        wait_s = pace.reserve(3000, now)
        if number % 1000 == 0:
            pace.settle(3000, 3000, now)
    # 999,999 requests before it at 7,000 a minute, less the tenth of a second
    assert wait_s == pytest.approx(999_999 * 60 / 7000 - 0.1 + 60 / 7000, abs=1e-6)


@cases(
    "used, next_wait",
    {
        "as estimated": (600, 60.0),
        "nobody knows": (None, 60.0),
        "twice as much": (1200, 120.0),
        "half": (300, 30.0),
        "refused": (0, 0.0),
    },
)
def test_settled_after_the_answer(used: int | None, next_wait: float) -> None:
    pace = RateLimiter(tpm=600)
    pace.reserve(600, 0.0)
    pace.settle(600, used, 0.0)
    assert pace.reserve(1, 0.0) == pytest.approx(next_wait)


def test_settled_when_nothing_is_owed() -> None:
    pace = RateLimiter(tpm=600)
    pace.reserve(10, 0.0)
    pace.settle(10, 110, 500.0)
    assert pace.reserve(1, 500.0) == pytest.approx(10.0)  # 100 more than it should have been, from now on
    pace = RateLimiter(tpm=600)
    pace.reserve(600, 0.0)
    pace.settle(600, 0, 500.0)
    assert starts(pace, 2, tokens=20, now=500.0) == pytest.approx([500, 502])  # not filled beyond full


@cases(
    "status, headers, pause_s",
    {
        "no header, no effect": (200, {}, 0),
        "500 is one request's failure": (500, {}, 0),
        "no reply": (0, {}, 0),
        "a success asks for nothing": (200, {"retry-after": "20"}, 0),
        "429 in seconds": (429, {"retry-after": "20"}, 20),
        "503": (503, {"retry-after": "7"}, 7),
        "milliseconds first": (429, {"retry-after-ms": "1500", "retry-after": "20"}, 1.5),
        "a date": (429, {"retry-after": "Tue, 14 Nov 2023 22:13:50 GMT"}, 30),
        "illegible: our own": (429, {"retry-after": "soon"}, 0.5),
        "our own": (429, {}, 0.5),
    },
)
def test_refusals_and_headers_pause_the_run(status: int, headers: dict[str, str], pause_s: float) -> None:
    pace = heard(status, headers)
    assert pace.pause_left(100.0) == pytest.approx(pause_s)
    assert pace.reserve(1, 100.0) == pytest.approx(pause_s)


def limits(kind: str, remaining: str, reset: str | None, limit: str | None = None) -> dict[str, str]:
    console = {"remaining": remaining, "reset": reset, "limit": limit}
    return {f"x-ratelimit-{what}-{kind}": value for what, value in console.items() if value is not None}


@cases(
    "headers, pause_s",
    {
        "no requests left": (limits("requests", "0", "6m0s"), 360),
        "no tokens left": (limits("tokens", "0", "120ms"), 0.12),
        "no tokens of the project": (limits("project-tokens", "0", "1s"), 1),
        "0: all of the reset": (limits("requests", "0", "179.56", "100"), 179.56),
        "less than nothing": (limits("requests", "-2", "5"), 5),
        "reset as Unix time": (limits("requests", "0", "1700000030"), 30),
        "no reset": (limits("requests", "0", None), 0),
        "illegible reset": (limits("requests", "0", "later"), 0),
        "illegible remaining": (limits("requests", "none", "5s"), 0),
        "as many as in flight": (limits("requests", "10", "30s"), 0),
        "fewer than in flight": (limits("requests", "9", "30s"), 30),
        "tokens for those in flight": (limits("tokens", "1000", "30s"), 0),
        "fewer tokens than in flight": (limits("tokens", "999", "30s"), 30),
        "three of 120 are back in 30 s": (limits("requests", "8", "1200", "128"), 30),
        "few of a day are no reason to pause": (limits("requests", "8", "86400s", "8648"), 0),
        "a limit that says nothing": (limits("requests", "8", "30s", "8"), 30),
        "never beyond the reset": (limits("requests", "3", "30", "5"), 30),
        "the longer one": (limits("requests", "0", "5s") | limits("tokens", "0", "9s"), 9),
    },
)
def test_remaining_is_heeded_by_the_run(headers: dict[str, str], pause_s: float) -> None:
    pace = RateLimiter()
    for _ in range(10):
        pace.reserve(100, 100.0)
    assert heard(200, headers, pace=pace).pause_left(100.0) == pytest.approx(pause_s)


@cases(
    "headers, pause_s, gap_s",
    {
        "none of 600 a minute": (limits("requests", "0", "1m0s", "600"), 0.1, 0.1),
        "few of them": (limits("requests", "9", "59.1s", "600"), 0, 0.1),
        "enough of them": (limits("requests", "10", "59s", "600"), 0, 0),
        "no tokens, 100 a request": (limits("tokens", "0", "1m0s", "60000"), 0.1, 0.1),
        "tokens for nine": (limits("tokens", "900", "59.1s", "60000"), 0, 0.1),
        "tokens for all": (limits("tokens", "1000", "59s", "60000"), 0, 0),
        "the slower one": (
            limits("requests", "0", "1m0s", "600") | limits("tokens", "0", "1m0s", "6000"),
            1,
            1,
        ),
        "none of a day": (limits("requests", "0", "23h59m59s", "8640"), 86399, 0),
    },
)
def test_a_bucket_that_refills_sets_the_pace(headers: dict[str, str], pause_s: float, gap_s: float) -> None:
    """Of what it says that it has when it is full, not all is waited for."""
    pace = RateLimiter()
    for _ in range(11):
        pace.reserve(0, 100.0)
    pace.settle(0, 100, 100.0)  # an answer of 100 tokens
    heard(200, headers, pace=pace)
    assert pace.pause_left(100.0) == pytest.approx(pause_s)
    assert pace.opens_in_s(100.0) == pytest.approx(max(pause_s, gap_s))
    first, second = starts(pace, 2, now=100.0)
    assert second - first == pytest.approx(gap_s)


def test_an_empty_bucket_of_tokens_is_waited_for_while_nobody_knows_how_many_a_request_takes() -> None:
    assert heard(200, limits("tokens", "0", "1m0s", "60000")).pause_left(100.0) == 60


def test_a_bucket_that_refuses_nevertheless_is_waited_for() -> None:
    assert heard(429, limits("requests", "0", "1m0s", "600")).pause_left(100.0) == 60


def test_those_that_wait_for_their_turn_are_not_in_flight() -> None:
    pace = RateLimiter(rpm=60)
    for _ in range(10):
        pace.reserve(100, 100.0)  # at 100, 101, ... 109
    heard(200, limits("requests", "3", "30s"), 102.5, pace)  # three have started
    assert pace.pause_left(102.5) == 0
    heard(200, limits("requests", "3", "30s"), 103.5, pace)
    assert pace.pause_left(103.5) == 30


def test_nor_are_their_tokens() -> None:
    pace = RateLimiter(rpm=60)
    for _ in range(10):
        pace.reserve(100, 100.0)
    assert heard(200, limits("tokens", "300", "30s"), 102.5, pace).pause_left(102.5) == 0
    assert heard(200, limits("tokens", "299", "30s"), 102.5, pace).pause_left(102.5) == 30


def test_a_refusal_names_its_own_delay() -> None:
    """Retry-After is when the next request is welcome, the reset when the limit is full again."""
    pace = heard(429, after("2") | limits("requests", "0", "6m0s"))
    assert pace.pause_left(100.0) == 2
    assert heard(429, limits("requests", "0", "6m0s")).pause_left(100.0) == 360


def test_backoff_of_the_run_doubles_up_to_a_minute_and_ends_with_a_success() -> None:
    pace, now, pauses = RateLimiter(random=lambda: 0.0), 0.0, []
    for _ in range(9):
        heard(429, None, now, pace)
        pauses.append(pace.pause_left(now))
        now += pauses[-1]
    assert pauses == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]
    assert pace.paused_s == 183.5
    heard(200, None, now + 1, pace)
    assert pace.paused_s == 0
    heard(429, None, now + 2, pace)
    assert pace.pause_left(now + 2) == 0.5


def test_backoff_is_jittered_by_a_quarter() -> None:
    assert heard(429, pace=RateLimiter(random=lambda: 0.8)).pause_left(100.0) == pytest.approx(0.4)


def test_a_refusal_pauses_nothing_while_others_are_at_the_server() -> None:
    pace = RateLimiter(random=lambda: 0.0)
    for others in range(255, 0, -1):
        heard(429, None, 10.0, pace, others)
    assert pace.paused_s == 0
    heard(429, None, 10.0, pace, 0)
    assert pace.paused_s == 0.5
    heard(429, after("7"), 10.0, pace, 12)  # but a delay that the server asks for holds
    assert pace.paused_s == 7


def test_the_first_backoff_is_the_time_in_which_the_server_admits_a_request() -> None:
    pace, now = RateLimiter(random=lambda: 0.0), 10.0
    for number in range(100):
        now = 10 + number / 5
        pace.try_reserve(1, now, now)
        pace.settle(1, None, now)
        heard(200, None, now, pace)
    heard(429, None, now, pace)
    assert pace.pause_left(now) == pytest.approx(0.2, rel=0.02)
    heard(429, None, now + 1, pace)
    assert pace.pause_left(now + 1) == pytest.approx(0.4, rel=0.1)


def test_a_longer_delay_makes_a_pause_longer_and_a_shorter_one_does_not() -> None:
    pace = heard(429, after("5"), 10.0)
    heard(429, after("20"), 11.0, pace)
    heard(429, after("1"), 12.0, pace)
    assert pace.pause_left(12.0) == 19
    assert pace.paused_s == 21


def test_any_success_ends_the_row_but_not_the_pause() -> None:
    pace = heard(429, after("5"), 10.0)
    heard(200, None, 11.0, pace)  # sent before the refusal
    assert (pace.paused_s, pace.pause_left(11.0)) == (4, 4)
    heard(200, None, 16.0, pace)
    assert pace.paused_s == 0


def test_the_success_that_leaves_nothing_does_not_forgive_its_own_pause() -> None:
    pace = heard(200, limits("requests", "0", "24h0m0s"), 10.0)
    assert pace.paused_s == 86400
    assert pace.pause_fault(86400) is None
    fault = pace.pause_fault(600)
    assert fault is not None
    assert fault.what == "the pauses of this run add up to 86400 s: no requests left"


@pytest.mark.parametrize("status", [0, 400, 500])
def test_only_a_success_ends_the_row(status: int) -> None:
    pace = heard(429, after("5"), 10.0)
    heard(status, None, 16.0, pace)
    assert pace.paused_s == 5


def test_a_pause_of_an_hour_is_known_at_once() -> None:
    assert heard(429, after("3600")).paused_s == 3600


def test_a_pause_postpones_reserved_requests() -> None:
    pace = RateLimiter(rpm=60)
    assert starts(pace, 3, now=10.0) == [10, 11, 12]
    heard(429, after("20"), 10.5, pace)
    assert pace.postponed_s(10.5) == 20
    assert 10.5 + pace.reserve(1, 10.5) == 33  # behind the third, which is now at 32


class Clock:
    """Time that passes only while everybody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.now + seconds, len(self._sleepers), done))
        await done

    async def run(self, until: float) -> None:
        for _ in range(20):
            await asyncio.sleep(0)
        while self._sleepers and min(self._sleepers)[0] <= until:
            first = min(self._sleepers)
            self._sleepers.remove(first)
            self.now = max(self.now, first[0])
            first[2].set_result(None)
            for _ in range(5):
                await asyncio.sleep(0)
        self.now = until


def test_sleepers_do_not_start_together_after_a_pause() -> None:
    async def run() -> list[float]:
        clock, pace, begun = Clock(), RateLimiter(rpm=60), []

        async def one() -> None:
            await wait_for_start(pace, 1, clock, clock.sleep)
            begun.append(clock.now)

        async with asyncio.TaskGroup() as group:
            for _ in range(6):
                group.create_task(one())
            await clock.run(2.5)
            heard(429, after("20"), 2.5, pace)
            await clock.run(100.0)
        return begun

    assert asyncio.run(run()) == pytest.approx([0, 1, 2, 23, 24, 25])


@cases(
    "per_minute, jobs, left",
    {
        "few in flight": (500, 8, 500),
        "many in flight": (500, 64, 500),
        "others have emptied it": (500, 8, 0),
        "a slow one": (60, 8, 0),
        "a fast one": (5000, 64, 0),
    },
)
def test_a_bucket_that_says_what_is_left_is_used_up_and_hardly_ever_refuses(
    per_minute: int, jobs: int, left: float
) -> None:
    """As many as it lets us for five minutes, with no limit of our own."""
    pace, had, seen, now = RateLimiter(), left, 0.0, 0.0
    flying: deque[tuple[float, int, dict[str, str]]] = deque()
    answers = {200: 0, 429: 0}
    due: float | None = None
    while now < 300.0:
        while len(flying) < jobs:
            if wait_s := pace.try_reserve(10, now, now if due is None else due):
                due = now + wait_s
                break
            due = None
            left, seen = min(per_minute, left + (now - seen) * per_minute / 60), now
            console = after("1")
            if left >= 1:
                left -= 1
                reset = f"{(per_minute - left) * 60 / per_minute:.3f}s"
                console = limits("requests", str(int(left)), reset, str(per_minute))
            status = 429 if "retry-after" in console else 200
            answers[status] += 1
            flying.append((now + 0.2, status, console))
        while flying and flying[0][0] <= now:
            _, status, console = flying.popleft()
            heard(status, console, now, pace, others=len(flying))
            pace.settle(10, 10, now)
        now += 0.01
    assert answers[200] > 0.95 * (had + 300 * per_minute / 60)
    # The first waves go out before anything is known.
    assert answers[429] <= 2 * jobs + 0.01 * answers[200]


def test_a_reservation_is_forgotten_once_its_request_has_started() -> None:
    """A long run under a limit, with a server that sends no headers, keeps no list of its requests."""
    pace, now = RateLimiter(rpm=6000), 0.0
    for _ in range(5000):
        now += pace.reserve(1, now)
        pace.settle(1, 1, now)
    assert len(pace._waiting) <= 1


def test_nothing_is_taken_before_it_may_start() -> None:
    """A caller that asks repeatedly postpones neither itself nor later reservations."""
    pace = RateLimiter(rpm=60)
    assert pace.try_reserve(1, 10.0, 10.0) == 0
    assert [pace.try_reserve(1, now, 11.0) for now in (10.0, 10.25, 10.5)] == [1, 0.75, 0.5]
    assert pace.reserve(1, 10.5) == 0.5


def test_returned_tokens_bring_the_next_turn_forward() -> None:
    pace = RateLimiter(tpm=600)
    assert pace.try_reserve(600, 10.0, 10.0) == 0
    assert pace.try_reserve(300, 10.0, 10.0) == 60
    pace.settle(600, 20, 14.0)
    assert pace.try_reserve(300, 14.0, 70.0) == 0
    assert (
        pace.try_reserve(1, 14.0, 14.0) == 30
    )  # behind the 300 from now on: the time before is not made up for


def test_a_timer_that_comes_late_costs_no_turn() -> None:
    pace, now = RateLimiter(rpm=600), 0.0
    for _ in range(600):
        due = now
        while wait_s := pace.try_reserve(1, now, due):
            due = now + wait_s
            now = due + 0.004
    assert now == pytest.approx(599 * 0.1, abs=0.01)


def test_nothing_is_taken_in_a_pause() -> None:
    pace = heard(429, after("5"), 10.0)
    assert pace.try_reserve(1, 11.0, 11.0) == 4
    heard(429, after("20"), 12.0, pace)
    assert pace.try_reserve(1, 15.0, 15.0) == 17
    assert pace.try_reserve(1, 32.0, 32.0) == 0


def test_a_taken_slot_counts_as_in_flight() -> None:
    pace = RateLimiter()
    for _ in range(4):
        assert pace.try_reserve(100, 100.0, 100.0) == 0
    assert heard(200, limits("requests", "4", "30s"), pace=pace).pause_left(100.0) == 0
    assert heard(200, limits("requests", "3", "30s"), pace=pace).pause_left(100.0) == 30
