"""Runs at servers that are full: those that refuse one request more, and one that lets it wait.

Each run is beside one with the best fixed -j that is not above its ceiling, at the same kind of server.
Refusals of the first wave are those that nobody can avoid: the first -j requests of a fixed -j.
"""

from __future__ import annotations

import contextlib
import json
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from . import batchpeers, measure, peervenv, servers
from .batchpeers import Limits
from .machine import Place, Source, named
from .measure import Case
from .report import Figure, Report

# The time that a run at the best -j takes, start-up aside.
_RUN_S = 10.0
_QUEUE_RUN_S = 20.0
_AUTO_START = 4
# What ours is to reach, and what it dreams of. The script beside it has no limits.
_TIME = {True: Limits(1.3, 1.1), False: Limits()}
_REFUSED = {True: Limits(0.3, 0.1), False: Limits()}


class _Server(NamedTuple):
    """A kind of server, as slots.py makes it."""

    slots: int
    service_s: float
    retry_after: str | None = None
    queues: bool = False

    @property
    def name(self) -> str:
        delay = "queues" if self.queues else f"Retry-After {self.retry_after or 'none'}"
        return f"{self.slots} of {self.service_s * 1e3:.0f} ms, {delay}"

    def options(self) -> list[str]:
        delay = [] if self.retry_after is None else ["--retry-after", self.retry_after]
        return [str(self.slots), str(self.service_s), *delay, *(["--queue"] if self.queues else [])]

    def lines(self, run_s: float) -> int:
        return int(self.slots / self.service_s * run_s)


class _Run(NamedTuple):
    """What a run at a server of its own came to."""

    wall_s: float
    answered: int
    refused: int
    peak: int
    mean: float


_REFUSING = [
    _Server(slots, service_s, retry_after)
    for slots, service_s in ((1, 0.05), (8, 0.05), (64, 0.05), (4, 1.0))
    for retry_after in (None, "1")
]
_QUEUE = _Server(64, 0.05, queues=True)


def run(place: Place, sources: Sequence[Source], report: Report, _: int | None) -> None:
    """Run each once: they take long."""
    for source in sources:
        figures = [figure for server in _REFUSING for figure in _refusals(place, source, server)]
        report.table("busy", named("429 beyond the slots", source), figures)
        report.table("busy", named("a silent queue, -j auto", source), _queue(place, source))
    for what in batchpeers.missing():
        report.say("busy", f"not compared: {what}")


def _refusals(place: Place, source: Source, server: _Server) -> Iterator[Figure]:
    best: dict[int, _Run] = {}
    for jobs in ("16", "64", "auto"):
        ceiling = server.slots if jobs == "auto" else min(server.slots, int(jobs))
        if ceiling not in best:
            best[ceiling] = _ours(place, source, server, str(ceiling), _RUN_S)
        yield from _beside(
            f"{server.name}, -j {jobs}", _ours(place, source, server, jobs, _RUN_S), best[ceiling], jobs
        )
    if server.retry_after is None and server.slots == 8 and (peer := _worker(place, source, server, "64")):
        yield from _beside(f"{server.name}, aiohttp, 64 workers", peer, best[8], "64", is_ours=False)


def _beside(name: str, done: _Run, best: _Run, jobs: str, *, is_ours: bool = True) -> Iterator[Figure]:
    first_wave = _AUTO_START if jobs == "auto" else int(jobs)
    refused = max(0, done.refused - first_wave) / done.answered
    note = f"{done.refused} of {done.answered} answers"
    yield Figure(f"{name}: time over the best", done.wall_s / best.wall_s, "x", *_TIME[is_ours])
    yield Figure(f"{name}: refused an answer", refused, "", *_REFUSED[is_ours], note=note)


def _queue(place: Place, source: Source) -> list[Figure]:
    best = _ours(place, source, _QUEUE, str(_QUEUE.slots), _QUEUE_RUN_S)
    auto = _ours(place, source, _QUEUE, "auto", _QUEUE_RUN_S)
    return [
        Figure(
            f"{_QUEUE.name}: answers a second to the best", best.wall_s / auto.wall_s, "x", 0.97, 0.99, True
        ),
        Figure("in flight to its slots, mean", auto.mean / _QUEUE.slots, "x", 1.5, 1.2),
        Figure("in flight to its slots, peak", auto.peak / _QUEUE.slots, "x"),
    ]


def _ours(place: Place, source: Source, server: _Server, jobs: str, run_s: float) -> _Run:
    file = _input(place, server.lines(run_s))
    with _started(place, source, server) as url:
        argv = source.command("batch", str(file), "-q", "--base-url", url, "-j", jobs)
        return _finished(Case(server.name, argv, place.environment()), url)


def _worker(place: Place, source: Source, server: _Server, jobs: str) -> _Run | None:
    """The run of a script that retries with plain backoff; None if aiohttp is not there."""
    try:
        python = peervenv.python()
    except peervenv.Missing:
        return None
    script = Path(__file__).with_name("scripts") / "workers.py"
    file = _input(place, server.lines(_RUN_S))
    with _started(place, source, server) as url:
        argv = [str(python), str(script), url, jobs, str(file), "backoff"]
        return _finished(Case("aiohttp", argv, place.environment()), url)


@contextlib.contextmanager
def _started(place: Place, source: Source, server: _Server) -> Iterator[str]:
    with servers.slots(place, source, *server.options()) as url:
        yield url


def _finished(case: Case, url: str) -> _Run:
    cost = measure.once(case)
    with urllib.request.urlopen(f"{url}/stats", timeout=10) as answer:
        stats = json.load(answer)
    return _Run(cost.wall_s, **stats)


def _input(place: Place, lines: int) -> Path:
    path = place.scratch / f"busy-{lines}.jsonl"
    if not path.exists():
        body = '{"model":"m","messages":[{"role":"user","content":"Question %d"}]}'
        line = '{"custom_id":"r-%d","method":"POST","url":"/v1/chat/completions","body":' + body + "}\n"
        path.write_text("".join(line % (at, at) for at in range(lines)))
    return path
