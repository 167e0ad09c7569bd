"""Streams: chunks a second and core, whole processes; then what each stage of them costs.

CPU of a process that takes many chunks, less that of one that takes a single one. A server that
writes as fast as it can fills each read with some two hundred chunks; one that pauses after each
makes every chunk pay for a read, a wake-up and a turn of everything around them.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from . import measure, programs, servers
from .machine import Place, Source, named
from .measure import Case
from .report import Figure, Report

_ROUNDS = 5
_CHUNKS = 200_000
_PAUSED_CHUNKS = 10_000
_PAUSE_S = 50e-6  # and what the system adds: enough for the client to be waiting again
_AT_ONCE = 64  # chunks in one write of the server: some 17 kB
_REACH, _DREAM = 80_000, 150_000


class _Kind(NamedTuple):
    """A way to stream: what the server does, what is written, where to."""

    name: str
    url: str
    chunks: int
    shape: str
    stdout: str = os.devnull
    expects: bytes = b" tok9\n"
    has_limits: bool = False


def run(place: Place, sources: Sequence[Source], report: Report, rounds: int | None) -> None:
    count = rounds or _ROUNDS
    with _kinds(place) as (single, kinds):
        cases = [_case(place, source, kind) for source in sources for kind in (single, *kinds)]
        for case in cases:
            measure.prove(case, place.scratch)
        costs = measure.interleaved(cases, count)
    figures = []
    for source in sources:
        least_ms = measure.cpu_ms(costs[named(single.name, source)])
        for kind in kinds:
            name = named(kind.name, source)
            microseconds = (measure.cpu_ms(costs[name]) - least_ms) * 1e3 / kind.chunks
            reach, dream = (_REACH, _DREAM) if kind.has_limits else (None, None)
            note = f"{microseconds:.2f} us a chunk"
            figures.append(Figure(name, 1e6 / microseconds, "chunks/s", reach, dream, True, note))
    title = f"{_CHUNKS:,} chunks ({_PAUSED_CHUNKS:,} one by one), median of {count}"
    report.table("streaming", title, figures)
    for source in sources:
        stages = programs.result(place, source, "stages.py")
        title = named("stages, us a chunk, in one process", source)
        report.table("streaming", title, [Figure(stage, us, "us") for stage, us in stages.items()])


@contextlib.contextmanager
def _kinds(place: Place) -> Iterator[tuple[_Kind, list[_Kind]]]:
    """The one with a single chunk, and the others."""
    with (
        servers.firehose(place, 1, 1) as single,
        servers.firehose(place, _CHUNKS, _AT_ONCE) as fast,
        servers.firehose(place, _PAUSED_CHUNKS, 1, _PAUSE_S) as paused,
        _reader(place) as fifo,
    ):
        yield (
            _Kind("single", single, 1, "text", expects=b" tok0\n"),
            [
                _Kind("text", fast, _CHUNKS, "text", has_limits=True),
                _Kind("chunks", fast, _CHUNKS, "chunks", expects=b'"finish_reason":"stop"', has_limits=True),
                _Kind("text, to a pipe", fast, _CHUNKS, "text", fifo),
                _Kind("text, one by one, to a pipe", paused, _PAUSED_CHUNKS, "text", fifo),
            ],
        )


def _case(place: Place, source: Source, kind: _Kind) -> Case:
    argv = source.command("ask", "-m", "m", "-f", kind.shape, "--base-url", kind.url, "Hello")
    return Case(named(kind.name, source), argv, place.environment(), kind.expects, stdout=kind.stdout)


@contextlib.contextmanager
def _reader(place: Place) -> Iterator[str]:
    """A FIFO that somebody reads as long as this lasts."""
    fifo = str(place.scratch / "fifo")
    os.mkfifo(fifo)
    # Opened for reading and writing: then it has no end when a writer goes away.
    command = 'exec cat <> "$0" > /dev/null'
    with subprocess.Popen(["/bin/sh", "-c", command, fifo], env=place.environment()) as reader:
        try:
            yield fifo
        finally:
            reader.terminate()
