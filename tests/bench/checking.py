"""The check: an accepted request, small and large; and what the first refusal costs a process."""

from __future__ import annotations

import json
from collections.abc import Sequence

from . import measure, programs
from .machine import Place, Source, named
from .measure import Case
from .report import Figure, Report

_ROUNDS = 11
# (reach, dream) in microseconds.
_LIMITS = {
    "2 messages": (30.0, 10.0),
    "50 messages, 10 tools": (1000.0, 500.0),
}


def run(place: Place, sources: Sequence[Source], report: Report, rounds: int | None) -> None:
    good, bad = place.scratch / "good.json", place.scratch / "bad.json"
    good.write_text(json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hello"}]}))
    bad.write_text(json.dumps({"model": "m", "messages": [{"role": "sytem", "content": "Hello"}]}))
    cases = []
    for source in sources:
        environment = place.environment()
        cases += [
            Case(named("good", source), source.command("check", str(good)), environment),
            Case(named("bad", source), source.command("check", str(bad)), environment, status=65),
        ]
    costs = measure.interleaved(cases, rounds or _ROUNDS)
    figures = []
    for source in sources:
        for what, microseconds in programs.result(place, source, "verdicts.py").items():
            reach, dream = _LIMITS.get(what, (None, None))
            figures.append(Figure(named(what, source), microseconds, "us", reach, dream))
        first = measure.cpu_ms(costs[named("bad", source)]) - measure.cpu_ms(costs[named("good", source)])
        figures.append(Figure(named("first refusal of a process", source), first, "ms"))
    report.table("checking", "one request", figures)
