"""A run over eight servers: what a request costs, how near it comes to its bound, and what a kill costs."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from . import measure, servers
from .machine import Place, Source, named
from .measure import Case, Cost
from .report import Figure, Report
from .servers import Started

_ROUNDS = 3
_SERVERS, _KILLED = 8, 2
_LINES, _IN_FLIGHT, _LATENCY_S = 20_000, 512, 0.1
_BOUND_S = _LINES / _IN_FLIGHT * _LATENCY_S
# In the middle of the run. Servers of these are as fast as they are asked: the others can take over all.
_KILL_AFTER_S = _BOUND_S / 2


def run(place: Place, sources: Sequence[Source], report: Report, rounds: int | None) -> None:
    for lines in (1, _LINES):
        _write(_input(place, lines), lines)
    for source in sources:
        one, alone, whole, killed = [], [], [], []
        for _ in range(rounds or _ROUNDS):
            with servers.loopbacks(place, source, _SERVERS, "--canned", "--latency", str(_LATENCY_S)) as all_:
                one.append(measure.once(_case(place, source, all_, 1)))
                alone.append(measure.once(_case(place, source, all_[:1], _LINES)))
                case = _case(place, source, all_, _LINES)
                whole.append(measure.once(case))
                killed.append(_hit(case, all_[:_KILLED]))
        measured = [*_figures(one, alone, whole), _killed(whole, killed)]
        report.table("fleet", named(f"{_SERVERS} servers, -j {_IN_FLIGHT}", source), measured)


def _hit(case: Case, victims: Sequence[Started]) -> Cost:
    """A run in which these servers are killed. WrongResult if a line is lost: its status is not 0 then."""

    def kill() -> None:
        for each in victims:
            each.process.kill()

    kills = threading.Timer(_KILL_AFTER_S, kill)
    kills.start()
    try:
        return measure.once(case)
    finally:
        kills.cancel()


def _figures(one: Sequence[Cost], alone: Sequence[Cost], whole: Sequence[Cost]) -> list[Figure]:
    wall_s, start_ms = measure.wall_ms(whole) / 1e3, measure.cpu_ms(one)
    cpu_ms, alone_ms = ((measure.cpu_ms(each) - start_ms) / _LINES for each in (whole, alone))
    note = f"{wall_s:.2f} s, start-up included; the bound is {_BOUND_S:.2f} s"
    return [
        Figure("100 ms a reply: wall time to the bound", wall_s / _BOUND_S, "x", 1.25, note=note),
        Figure("CPU of a request", cpu_ms, "ms", 0.16),
        Figure("the same to one server", cpu_ms / alone_ms, "x", 1.33),
    ]


def _killed(whole: Sequence[Cost], killed: Sequence[Cost]) -> Figure:
    """Two servers have a quarter of the lines: more than that is what the kill itself costs."""
    ratio = measure.wall_ms(killed) / measure.wall_ms(whole)
    what = f"{_KILLED} killed in the middle: wall time to none killed"
    return Figure(what, ratio, "x", _SERVERS / (_SERVERS - _KILLED) * 1.1)


def _case(place: Place, source: Source, urls: Sequence[Started], lines: int) -> Case:
    named_urls = [word for each in urls for word in ("--base-url", each.url)]
    argv = source.command("batch", str(_input(place, lines)), "-q", "-j", str(_IN_FLIGHT), *named_urls)
    return Case(f"{lines} lines", [*argv], place.environment())


def _input(place: Place, lines: int) -> Path:
    return place.scratch / f"fleet-{lines}.jsonl"


def _write(path: Path, lines: int) -> None:
    line = '{"model":"m","messages":[{"role":"user","content":"Hello"}]}\n'
    path.write_text(line * lines)
