"""The shares of servers in one run, in virtual time: a closed loop of so many in flight."""

from __future__ import annotations

import heapq
import random
from typing import NamedTuple

import pytest

from chatpipe.limits.balance import Balance, Load
from support.parametrize import cases

LINES = 4000


class Simulated(NamedTuple):
    """A server: the seconds of an answer, and its slots, None for any number; others queue there."""

    answer_s: float
    slots: int | None = None


class Fleet:
    """Servers that answer at their own pace. answers counts those of each."""

    def __init__(self, servers: list[Simulated], spread: float) -> None:
        self.answers = [0] * len(servers)
        self._servers = servers
        self._balance = Balance(len(servers))
        self._random = random.Random(1)
        self._spread = spread
        self._ends: list[tuple[float, int]] = []
        self._busy = [0] * len(servers)
        self._queued = [0] * len(servers)

    def run(self, in_flight: int, lines: int = LINES) -> float:
        """The time after which all lines are answered."""
        now = 0.0
        for _ in range(in_flight):
            self._send(now)
        for left in range(lines, 0, -1):
            now, index = heapq.heappop(self._ends)
            self._busy[index] -= 1
            if self._queued[index]:
                self._queued[index] -= 1
                self._begin(index, now)
            self._balance.finish(self._balance.loads[index], is_good=True, now=now)
            self.answers[index] += 1
            if left > in_flight:
                self._send(now)
        return now

    def _send(self, now: float) -> None:
        load = self._balance.pick(self._balance.loads)
        assert load is not None
        self._balance.start(load, now)
        slots = self._servers[load.index].slots
        if slots is None or self._busy[load.index] < slots:
            self._begin(load.index, now)
        else:
            self._queued[load.index] += 1

    def _begin(self, index: int, now: float) -> None:
        self._busy[index] += 1
        jitter = 1 + self._spread * (2 * self._random.random() - 1)
        heapq.heappush(self._ends, (now + self._servers[index].answer_s * jitter, index))


@pytest.mark.parametrize("spread", [0.0, 0.3], ids=["even answers", "uneven answers"])
@cases(
    "servers, in_flight, shares, slower",
    {
        "equal": ([Simulated(0.1)] * 3, 24, [1 / 3] * 3, 1.05),
        "eight equal": ([Simulated(0.1)] * 8, 512, [1 / 8] * 8, 1.1),
        "a few more slots": ([Simulated(0.1, 4), Simulated(0.1, 16)], 40, [0.2, 0.8], 1.02),
        "slower slots": ([Simulated(0.1, 8), Simulated(0.4, 8)], 48, [0.8, 0.2], 1.02),
        "one slow of eight": (
            [Simulated(0.1, 4)] * 7 + [Simulated(0.5, 4)],
            64,
            [0.1408] * 7 + [0.0141],
            1.05,
        ),
    },
)
def test_each_server_gets_what_it_can_answer(
    servers: list[Simulated], in_flight: int, shares: list[float], slower: float, spread: float
) -> None:
    fleet = Fleet(servers, spread)
    took_s = fleet.run(in_flight)
    bound_s = LINES / sum(min(each.slots or in_flight, in_flight) / each.answer_s for each in servers)
    if all(each.slots is None for each in servers):
        bound_s = LINES / (in_flight / servers[0].answer_s)
    assert took_s <= slower * bound_s * (1 + spread / 4)
    assert [count / LINES for count in fleet.answers] == pytest.approx(shares, abs=0.06)


def test_a_server_that_only_takes_longer_gets_less() -> None:
    fleet = Fleet([Simulated(0.1), Simulated(1.0)], 0.0)
    fleet.run(16)
    assert 0 < fleet.answers[1] < LINES / 20


def test_of_equals_the_one_idle_longest_is_next() -> None:
    balance = Balance(3)
    order = []
    for _ in range(6):
        load = balance.pick(balance.loads)
        assert load is not None
        order.append(load.index)
        balance.start(load, 0.0)
    assert order == [0, 1, 2, 0, 1, 2]


def test_a_server_is_measured_while_it_is_busy() -> None:
    load = Load(0)
    load.start(1, now=10.0)
    load.finish(is_good=True, now=12.0)
    load.start(2, now=20.0)
    assert load.measure(now=23.0) == 1 / (2 + 3)
    load.finish(is_good=True, now=24.0)
    assert load.measure(now=30.0) == 1 / 1
    assert load.measure(now=40.0) is None


def test_a_share_is_what_a_server_would_have_in_flight_for_its_weight() -> None:
    load = Load(0)
    for turn in (1, 2, 3):
        load.start(turn, now=0.0)
    load.weigh(2.0)
    shares = [load.share]
    load.finish(is_good=True, now=1.0)
    shares.append(load.share)
    load.start(4, now=1.0)
    assert [*shares, load.share] == [4 / 2, 3 / 2, 4 / 2]


def test_of_none_there_is_none() -> None:
    assert Balance(2).pick(()) is None


def test_a_server_without_good_answers_keeps_a_small_share() -> None:
    """It may be well again; Health decides if it is left out."""
    balance = Balance(2)
    bad, good = balance.loads
    for now in range(400):
        for load in (bad, good):
            balance.start(load, float(now))
            balance.finish(load, is_good=load is good, now=now + 0.5)
    assert 0 < bad.weight < good.weight / 5
    assert isinstance(bad, Load)
