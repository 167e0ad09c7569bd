"""The number in flight, against simulated servers of known capacity that queue or refuse, steady or not."""

from __future__ import annotations

import heapq
import math
import random
from collections import Counter, deque
from collections.abc import Callable
from typing import NamedTuple

import pytest

from chatpipe.limits.concurrency import AdaptiveLimit, ConcurrencyLimit, levels
from chatpipe.limits.gauges import Gauges, QueueBound
from support.parametrize import cases

SERVICE_S = 1.0


class Ran(NamedTuple):
    """limits holds the limit at each answer; done_s the time of each good one."""

    limits: list[int]
    done_s: list[float]
    refused: int
    seconds: float

    def at_rest(self) -> float:
        """The limit in the mean of the last third."""
        last = self.limits[-len(self.limits) // 3 :]
        return sum(last) / len(last)

    def rate(self, since_s: float = 0.0) -> float:
        return sum(done >= since_s for done in self.done_s) / (self.seconds - since_s)


class End(NamedTuple):
    """The end of a request that was sent at sent_s: answered, or refused."""

    at_s: float
    number: int
    sent_s: float
    is_answered: bool


class ModelServer:
    """A server that is only computed. What its workers are not free for waits in a queue.

    workers is their number, or a function of the time. With refuses, and in an outage, from one time to
    another, what would wait is refused after 20 ms. service gives the seconds that a worker takes.
    """

    def __init__(
        self,
        workers: int | Callable[[float], int],
        *,
        refuses: bool = False,
        service: Callable[[], float] = lambda: SERVICE_S,
        outage: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        self.workers = workers if callable(workers) else lambda now: workers
        self.refuses = refuses
        self.service = service
        self.outage = outage
        self.running = 0
        self.queue: deque[tuple[int, float]] = deque()  # number, sent
        self.ends: list[End] = []  # a heap

    def send(self, number: int, now: float) -> None:
        is_out = self.outage[0] <= now < self.outage[1]
        if is_out or (self.refuses and self.running >= self.workers(now)):
            heapq.heappush(self.ends, End(now + 0.02, number, now, False))
        else:
            self.queue.append((number, now))
            self._start(now)

    def next_end(self) -> End:
        """The request that ends next. Its worker begins with one of the queue."""
        end = heapq.heappop(self.ends)
        self.running -= end.is_answered
        self._start(end.at_s)
        return end

    def _start(self, now: float) -> None:
        while self.queue and self.running < self.workers(now):
            number, sent = self.queue.popleft()
            self.running += 1
            heapq.heappush(self.ends, End(now + self.service(), number, sent, True))


class Readings(NamedTuple):
    """How often the gauges of a server are read, and what they show of the numbers that run and wait."""

    every_s: float = math.inf
    shown: Callable[[int, int], Gauges] = Gauges


def simulate(
    jobs: ConcurrencyLimit,
    server: ModelServer,
    answers: int,
    *,
    demand: int = 10**9,
    readings: Readings = Readings(),  # noqa: B008 - it is frozen
) -> Ran:
    """A client that keeps to the limit, until so many requests have ended.

    demand is how many requests it has for sending at a time, below or above the limit.
    """
    bound, next_s = QueueBound(), readings.every_s
    ran = Ran([], [], 0, 0.0)
    now, number, in_flight, refused = 0.0, 0, 0, 0
    while len(ran.limits) < answers:
        while in_flight < min(jobs.limit, demand):
            number += 1
            in_flight += 1
            server.send(number, now)
        while next_s < server.ends[0].at_s and isinstance(jobs, AdaptiveLimit):
            gauges = readings.shown(server.running, len(server.queue))
            jobs.bound(bound.observe(gauges, in_flight), next_s)
            next_s += readings.every_s
        now, _, sent, is_answered = server.next_end()
        if is_answered:
            ran.done_s.append(now)
        refused += not is_answered
        if is_answered:
            jobs.record_finished(now - sent, in_flight, now, is_good=True)
        else:
            jobs.record_overload(now - sent, now)
        in_flight -= 1
        ran.limits.append(jobs.limit)
    return ran._replace(refused=refused, seconds=now)


def noise(kind: str, seed: int) -> Callable[[], float]:
    """Times of service, 1 s in the mean."""
    rng = random.Random(seed)
    if kind == "steady":
        return lambda: SERVICE_S
    if kind == "noisy":  # a third more or less, as answers of different lengths
        return lambda: rng.lognormvariate(-0.045, 0.3)
    return lambda: rng.expovariate(1.0)  # nothing is more uneven than that


SERVERS = [1, 8, 32, 100]
SEEDS = [1, 2, 3]


@cases("refuses", {"queues": False, "refuses": True})
@pytest.mark.parametrize("kind", ["steady", "noisy"])
@pytest.mark.parametrize("places", SERVERS)
def test_capacity_is_found(places: int, kind: str, refuses: bool) -> None:
    for seed in SEEDS:
        server = ModelServer(places, refuses=refuses, service=noise(kind, seed))
        ran = simulate(AdaptiveLimit(), server, 8000)
        assert 0.7 * places <= ran.at_rest() <= 1.5 * places
        assert max(ran.limits[2000:]) <= 2 * places + 1  # a probe at most, never MAX
        assert min(ran.limits[2000:]) >= 0.5 * places
        assert ran.refused <= 120


@cases("refuses", {"queues": False, "refuses": True})
@pytest.mark.parametrize("places", SERVERS)
def test_throughput_over_a_long_run(places: int, refuses: bool) -> None:
    server = ModelServer(places, refuses=refuses, service=noise("noisy", 4))
    ran = simulate(AdaptiveLimit(), server, max(8000, 250 * places))
    assert ran.rate() >= 0.84 * places  # the search from 4 included


RUNS = {
    # slots, seconds an answer: the least throughput, and the most in flight in the mean and ever, of slots
    "1, 50 ms": (1, 0.05, "steady", 0.99, 2.0, 8.0),
    "4, 0.2 s": (4, 0.2, "steady", 0.97, 1.3, 2.0),
    "8, 50 ms": (8, 0.05, "steady", 0.97, 1.3, 2.5),
    "8, 1 s": (8, 1.0, "steady", 0.95, 1.5, 2.5),
    "64, 50 ms": (64, 0.05, "steady", 0.97, 1.3, 1.6),
    "64, 0.2 s": (64, 0.2, "steady", 0.95, 1.3, 1.6),
    "64, 1 s": (64, 1.0, "steady", 0.8, 1.3, 1.6),
    "200, 0.2 s": (200, 0.2, "steady", 0.9, 1.3, 1.3),
    "200, 1 s": (200, 1.0, "steady", 0.7, 1.3, 1.3),
    "4, 0.2 s, uneven": (4, 0.2, "wild", 0.9, 2.0, 5.0),
    "8, 50 ms, uneven": (8, 0.05, "wild", 0.95, 1.5, 3.0),
    "64, 50 ms, uneven": (64, 0.05, "wild", 0.9, 1.3, 2.0),
    "64, 0.2 s, uneven": (64, 0.2, "wild", 0.85, 1.3, 2.0),
    "64, 1 s, uneven": (64, 1.0, "wild", 0.55, 1.3, 2.0),
    "200, 0.2 s, uneven": (200, 0.2, "wild", 0.75, 1.3, 1.3),
}


@cases("slots, service_s, kind, throughput, mean, peak", RUNS)
def test_run_of_20_s_at_a_server_that_queues(
    slots: int, service_s: float, kind: str, throughput: float, mean: float, peak: float
) -> None:
    """The search from 4 included."""
    end = 20 / service_s
    for seed in SEEDS if kind == "wild" else [0]:
        server = ModelServer(slots, service=noise(kind, seed))
        ran = simulate(AdaptiveLimit(), server, int(slots * end))
        limits = [limit for limit, done in zip(ran.limits, ran.done_s, strict=True) if done <= end]
        assert len(limits) / end >= throughput * slots
        assert sum(limits) / len(limits) <= mean * slots
        assert max(limits) <= peak * slots


@cases("places, answers", {"1": (1, 400), "8": (8, 50), "32": (32, 150), "100": (100, 500)})
def test_the_limit_is_found_within_this_number_of_answers(places: int, answers: int) -> None:
    ran = simulate(AdaptiveLimit(), ModelServer(places), answers)
    assert any(0.7 * places <= limit <= 1.5 * places for limit in ran.limits)


@cases(
    "before, after",
    {"more": (8, 32), "less": (32, 8), "far less": (100, 8), "far more": (8, 100), "hardly any": (32, 1)},
)
@cases("refuses", {"queues": False, "refuses": True})
def test_capacity_that_changes_in_mid_run(before: int, after: int, refuses: bool) -> None:
    changes_s = 4000 / before
    for seed in range(4):
        server = ModelServer(
            lambda now: before if now < changes_s else after, refuses=refuses, service=noise("noisy", seed)
        )
        ran = simulate(AdaptiveLimit(), server, 16_000)
        assert 0.7 * after <= ran.at_rest() <= 1.5 * after
        changed = 4000 + ran.refused
        assert any(0.7 * after <= limit <= 1.5 * after for limit in ran.limits[changed : changed + 6000])


@pytest.mark.parametrize("places", SERVERS)
def test_the_most_uneven_answers_do_not_mislead_it_for_long(places: int) -> None:
    """Exponential times: half of the answers take a tenth of what the slowest take."""
    for seed in SEEDS:
        ran = simulate(AdaptiveLimit(), ModelServer(places, service=noise("wild", seed)), 12_000)
        assert 0.7 * places <= ran.at_rest() <= 1.6 * places


def test_exponential_times_cost_no_capacity_whatever_the_seed() -> None:
    """Once the search has ended; 64 slots at 50 ms give these answers in 20 s."""
    for seed in range(8):
        ran = simulate(AdaptiveLimit(), ModelServer(64, service=noise("wild", seed)), 25_600)
        assert ran.rate(ran.seconds / 2) >= 0.9 * 64
        assert sum(ran.limits) / len(ran.limits) <= 1.5 * 64


def test_an_outage_does_not_leave_it_at_one() -> None:
    """A minute in which everything is refused: back to where it was, within some minutes."""
    server = ModelServer(64, service=noise("noisy", 6), outage=(60.0, 120.0))
    ran = simulate(AdaptiveLimit(), server, 22_000)
    fallen = ran.limits.index(1)
    assert any(limit >= 45 for limit in ran.limits[fallen : fallen + 5000])
    assert 45 <= ran.at_rest() <= 96


def test_a_server_that_slows_down_as_it_fills() -> None:
    """Batched decoding: n at a time take 1 s + n/40 s, so 40 a second is never reached."""

    def rate(limit: int) -> float:
        return limit / (1 + limit / 40)

    jobs, now = AdaptiveLimit(), 0.0
    for _ in range(20_000):
        now += 1 / rate(jobs.limit)
        jobs.record_finished(jobs.limit / rate(jobs.limit), jobs.limit, now, is_good=True)
    assert rate(jobs.limit) > 0.7 * 40
    assert jobs.limit < 256


def test_max_is_reached_and_kept_where_the_server_has_more() -> None:
    ran = simulate(AdaptiveLimit(48), ModelServer(1000), 10_000)
    assert ran.at_rest() > 44
    assert max(ran.limits) == 48


@pytest.mark.parametrize(("maximum", "first"), [(1, 1), (2, 2), (4, 4), (5, 4), (256, 4)])
def test_starts_at_four_or_max(maximum: int, first: int) -> None:
    assert AdaptiveLimit(maximum).limit == first


@pytest.mark.parametrize("refuses", [True, False])
@pytest.mark.parametrize("maximum", [1, 2])
def test_no_room_to_search(maximum: int, refuses: bool) -> None:
    ran = simulate(AdaptiveLimit(maximum), ModelServer(1, refuses=refuses), 2000)
    assert set(ran.limits) <= {1, maximum}


def test_it_does_not_grow_while_something_else_holds_the_requests_back() -> None:
    """Five in flight because of a limit a minute: that says nothing about what 40 would do."""
    ran = simulate(AdaptiveLimit(), ModelServer(100, service=noise("noisy", 8)), 5000, demand=5)
    assert max(ran.limits) <= 15  # a probe with fewer than half of that in flight is not believed


def test_one_wave_of_refusals_is_one_step_down() -> None:
    jobs = AdaptiveLimit()
    for answer in range(20):
        jobs.record_overload(1.0, 1.0 + answer / 1000)  # all sent before the first came back
    assert jobs.limit == 2


def test_a_refusal_at_one_does_not_hold_it_there() -> None:
    jobs, now = AdaptiveLimit(2), 0.0
    limits = []
    for answer in range(400):
        now += 1 / jobs.limit
        latency_s = 0.99 if answer else 0.0
        if answer in (0, 100):  # at 2, and when it was at 1 for a round
            jobs.record_overload(latency_s, now)
        else:
            jobs.record_finished(latency_s, jobs.limit, now, is_good=True)
        limits.append(jobs.limit)
    assert limits[:101] == [1] * 101
    assert 2 in limits[101:250]


def test_faults_of_requests_are_not_taken_for_speed() -> None:
    """Refused at once with 400: neither an answer to measure, nor a sign of overload."""
    jobs = AdaptiveLimit()
    for answer in range(1000):
        jobs.record_finished(0.004, 4, 1 + answer / 1000, is_good=False)
    assert jobs.limit == 4


def test_a_fixed_number_stays() -> None:
    ran = simulate(ConcurrencyLimit(16), ModelServer(8, refuses=True), 500)
    assert set(ran.limits) == {16}


@cases(
    "maximum, expected",
    {
        "1": (1, (1,)),
        "7": (7, (1, 2, 3, 4, 5, 6, 7)),
        "40": (40, (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 19, 24, 30, 38, 40)),
    },
)
def test_levels_up_to_a_maximum(maximum: int, expected: tuple[int, ...]) -> None:
    assert levels(maximum) == expected


def lose(jobs: AdaptiveLimit, tries: str) -> list[int]:
    """The limit after each of these, 10 ms apart: `.` is an answer, `x` a broken connection."""
    limits = []
    for number, each in enumerate(tries):
        now = 1 + number / 100
        if each == "x":
            jobs.record_lost(0.005, now)
        else:
            jobs.record_finished(0.005, 1, now, is_good=True)
        limits.append(jobs.limit)
    return limits


@cases(
    "tries, limit",
    {
        "four may be bad luck": ("xxxx", 4),
        "five in a row": ("xxxxx", 2),
        "a third": ("..x" * 5, 2),
        "a seventh": ("......x" * 9, 4),
    },
)
def test_many_broken_connections_are_a_refusal(tries: str, limit: int) -> None:
    assert lose(AdaptiveLimit(), tries)[-1] == limit


def test_connections_from_before_the_step_down_do_not_count() -> None:
    jobs = AdaptiveLimit()
    for number in range(40):
        jobs.record_lost(1.0, 1.0 + number / 1000)
    assert jobs.limit == 2


def test_a_fixed_number_stays_when_connections_break() -> None:
    jobs = ConcurrencyLimit(16)
    for number in range(40):
        jobs.record_lost(0.1, number / 10)
    assert jobs.limit == 16


@pytest.mark.parametrize("read_s", [0.3, 1.0, 20.0])
@pytest.mark.parametrize("kind", ["steady", "noisy"])
@pytest.mark.parametrize("places", [1, 8, 64])
def test_gauges_keep_the_queue_short_and_the_server_busy(places: int, kind: str, read_s: float) -> None:
    for seed in SEEDS[:2]:
        server = ModelServer(places, service=noise(kind, seed))
        ran = simulate(AdaptiveLimit(), server, 6000, readings=Readings(read_s))
        assert ran.at_rest() <= 1.2 * places + 1
        assert ran.rate(ran.seconds / 2) >= 0.93 * places


@cases("before, after", {"more": (8, 32), "less": (32, 8), "far less": (100, 8), "far more": (8, 100)})
def test_gauges_of_a_server_that_changes_in_mid_run(before: int, after: int) -> None:
    for seed in SEEDS[:2]:
        server = ModelServer(
            lambda now: before if now < 4000 / before else after, service=noise("noisy", seed)
        )
        ran = simulate(AdaptiveLimit(), server, 10_000, readings=Readings(1.0))
        assert 0.7 * after <= ran.at_rest() <= 1.25 * after + 1


@cases(
    "gauges",
    {
        "no queue": lambda running, waiting: Gauges(running + waiting, 0),
        "one of two servers": lambda running, waiting: Gauges(running / 2, waiting / 2),
        "nothing runs": lambda running, waiting: Gauges(0, running + waiting),
        "many other clients": lambda running, waiting: Gauges(running + 300, waiting + 500),
    },
)
def test_gauges_that_show_no_bound_change_nothing(gauges: Callable[[int, int], Gauges]) -> None:
    with_gauges, without = (
        simulate(AdaptiveLimit(), ModelServer(24, service=noise("noisy", 3)), 5000, readings=readings)
        for readings in (Readings(1.0, gauges), Readings())
    )
    assert with_gauges == without


@cases(
    "bounds, limit",
    {
        "above it": ([100], 4),
        "at it": ([4], 4),
        "below it": ([3], 3),
        "none left": ([0], 1),
        "lifted: only throughput raises it": ([2, None], 2),
        "higher again: the same": ([2, 100], 2),
    },
)
def test_bound_lowers_the_limit_and_never_raises_it(bounds: list[int | None], limit: int) -> None:
    jobs = AdaptiveLimit()
    for most in bounds:
        jobs.bound(most, 1.0)
    assert jobs.limit == limit


def test_bound_between_two_levels_is_used_in_full() -> None:
    """The levels are 60 and 75: 70 is tried, and nothing above it."""
    jobs, now = AdaptiveLimit(), 0.0
    jobs.bound(70, now)
    tried: Counter[int] = Counter()
    for _ in range(20_000):
        tried[jobs.limit] += 1
        now += 1 / jobs.limit
        jobs.record_finished(1.0, jobs.limit, now, is_good=True)
    assert max(tried) == 70
    assert tried[70] > 10_000
