"""A run over eight servers: what a request costs, how near it comes to its bound, and what a kill costs.

Beside each run is the same load without a client: bare_client.py. Servers and client share the machine, so
that is the best that it can do.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from subprocess import Popen
from typing import NamedTuple

from . import measure, servers
from .machine import Place, Source, named
from .measure import Case, Cost
from .report import Figure, Report

_ROUNDS = 3
_SERVERS, _KILLED = 8, 2
_LINES, _IN_FLIGHT, _LATENCY_S = 20_000, 512, 0.1
_BOUND_S = _LINES / _IN_FLIGHT * _LATENCY_S
# In the middle of the run. Servers of these are as fast as they are asked: the others can take over all.
_KILL_AFTER_S = _BOUND_S / 2
_BARE_CLIENT = Path(__file__).with_name("bare_client.py")


class _Costs(NamedTuple):
    """The costs of each kind of run: a line at all servers, all lines at one, at all, and with a kill."""

    bare: list[Cost]
    line: list[Cost]
    one: list[Cost]
    all: list[Cost]
    killed: list[Cost]


def run(place: Place, sources: Sequence[Source], report: Report, rounds: int | None) -> None:
    for lines in (1, _LINES):
        _write(_input(place, lines), lines)
    costs = {source.name: _Costs([], [], [], [], []) for source in sources}
    for _ in range(rounds or _ROUNDS):
        for source in sources:
            _measure(place, source, costs[source.name])
    for source in sources:
        cost = costs[source.name]
        title = named(f"{_SERVERS} servers, -j {_IN_FLIGHT}, {_LATENCY_S * 1e3:.0f} ms a reply", source)
        report.table("fleet", title, [*_figures(cost), _killed(cost)])


def _measure(place: Place, source: Source, costs: _Costs) -> None:
    """One run of each kind. The servers to be killed are in a process of their own."""
    with (
        servers.fixed_reply(place, _KILLED, _LATENCY_S) as victims,
        servers.fixed_reply(place, _SERVERS - _KILLED, _LATENCY_S) as others,
    ):
        urls = [*victims.urls, *others.urls]
        costs.bare.append(measure.once(_bare(place, urls)))
        costs.line.append(measure.once(_case(place, source, urls, 1)))
        costs.one.append(measure.once(_case(place, source, others.urls[:1], _LINES)))
        costs.all.append(measure.once(_case(place, source, urls, _LINES)))
        costs.killed.append(_hit(_case(place, source, urls, _LINES), victims.process))


def _hit(case: Case, victims: Popen[str]) -> Cost:
    """A run in which this process is killed. WrongResult if a line is lost: its status is not 0 then."""
    kill = threading.Timer(_KILL_AFTER_S, victims.kill)
    kill.start()
    try:
        return measure.once(case)
    finally:
        kill.cancel()


def _figures(costs: _Costs) -> list[Figure]:
    wall_s, bare_s = measure.wall_ms(costs.all) / 1e3, measure.wall_ms(costs.bare) / 1e3
    start_ms, bare_ms = measure.cpu_ms(costs.line), measure.cpu_ms(costs.bare) / _LINES
    cpu_ms, one_ms = ((measure.cpu_ms(each) - start_ms) / _LINES for each in (costs.all, costs.one))
    note = f"{wall_s:.2f} s, start-up included; the bound is {_BOUND_S:.2f} s"
    bare_note = f"{bare_s:.2f} s, {bare_ms:.3f} ms of CPU a request"
    return [
        Figure("wall time to the bound", wall_s / _BOUND_S, "x", 1.25, note=note),
        Figure("the same load by a bare loop", bare_s / _BOUND_S, "x", note=bare_note),
        Figure("CPU of a request", cpu_ms, "ms", 0.16),
        Figure("the same to the bare loop", cpu_ms / bare_ms, "x"),
        Figure("the same to one server", cpu_ms / one_ms, "x", 1.33),
    ]


def _killed(costs: _Costs) -> Figure:
    """Two servers have a quarter of the lines: more than that is what the kill itself costs."""
    ratio = measure.wall_ms(costs.killed) / measure.wall_ms(costs.all)
    what = f"{_KILLED} killed in the middle: wall time to none killed"
    return Figure(what, ratio, "x", _SERVERS / (_SERVERS - _KILLED) * 1.1)


def _bare(place: Place, urls: Sequence[str]) -> Case:
    argv = [sys.executable, str(_BARE_CLIENT), str(_LINES), str(_IN_FLIGHT), *urls]
    return Case("bare", argv, place.environment())


def _case(place: Place, source: Source, urls: Sequence[str], lines: int) -> Case:
    named_urls = [word for url in urls for word in ("--base-url", url)]
    argv = source.command("batch", str(_input(place, lines)), "-q", "-j", str(_IN_FLIGHT), *named_urls)
    return Case(f"{lines} lines", [*argv], place.environment())


def _input(place: Place, lines: int) -> Path:
    return place.scratch / f"fleet-{lines}.jsonl"


def _write(path: Path, lines: int) -> None:
    line = '{"model":"m","messages":[{"role":"user","content":"Hello"}]}\n'
    path.write_text(line * lines)
