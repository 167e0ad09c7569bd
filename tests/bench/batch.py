"""Runs of many requests: what one costs, how near a run comes to what its server allows, and its memory.

CPU of a whole process, less that of a run of one line. The server has a process of its own, so on a
machine of two cores or more it is not the client's share that it uses. Runs against a server without
latency show what a request costs; 50 ms show whether all places in flight are kept busy.

A line of `--engine batch-api` is submitted, waited for and collected, against the provider of
`chatpipe serve`. Its CPU is that of many lines less that of few, beside that of a request.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from . import batchpeers, measure, servers
from .batchpeers import Peer
from .machine import Place, Source, named
from .measure import Case, Cost
from .report import Figure, Report

_ROUNDS = 5
_PEER_ROUNDS = 3  # at most: they take long
_LINES = 10_000
_SLOW_LINES = 5_000
_LATENCY_S = 0.05
_IN_FLIGHT, _MANY_IN_FLIGHT = 256, 2_000
_STREAMS, _CHUNKS, _AT_ONCE = 200, 1_000, 64
_JOB_LINES, _FEW_JOB_LINES = 20_000, 1_000
_MEMORY_LINES, _JOB_MEMORY_LINES = (10_000, 300_000), (10_000, 120_000)
_BY_JOBS = ("--engine", "batch-api", "--poll", "0.1")
_SYSTEM = "Answer in one short sentence."
_QUESTION = "Question {}: what is it that it is?"
_BOUND_S = _SLOW_LINES / _IN_FLIGHT * _LATENCY_S
# A process takes over the peak of the one that starts it, so ours is started by one that is small.
_LAUNCHER = """\
import os, sys
null = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=null)
_, waited, usage = os.wait4(pid, 0)
print(usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(waited))
"""
_RSS_PER_MB = 1024 * 1024 if sys.platform == "darwin" else 1024


class _Kind(NamedTuple):
    """A run: its lines, its server, if one is asked, its options.

    writes: results go to a file of its own, with a journal.
    is_map: the same requests, made of the rows of a table by `map`.
    """

    name: str
    lines: int
    url: str
    options: tuple[str, ...]
    writes: bool = False
    is_map: bool = False


def run(place: Place, sources: Sequence[Source], report: Report, rounds: int | None) -> None:
    count = rounds or _ROUNDS
    for lines in {1, _STREAMS, _SLOW_LINES, _JOB_LINES, _FEW_JOB_LINES, *_MEMORY_LINES, *_JOB_MEMORY_LINES}:
        _write_lines(_input(place, lines), lines)
    _write_table(_table(place), _LINES)
    with _servers(place, sources[0]) as (fast, slow, streaming, provider):
        kinds = _kinds(fast, slow, streaming, provider, _recording(place, sources[0]))
        cases = [_case(place, source, kind) for source in sources for kind in kinds]
        peers = batchpeers.peers(place, slow, _input(place, _SLOW_LINES), _IN_FLIGHT)
        for case in (*cases, *(peer.case for peer in peers)):
            _remove_output(place)
            measure.prove(case, place.scratch)
        costs = _measured(place, cases, count)
        peer_costs = measure.interleaved([peer.case for peer in peers], min(count, _PEER_ROUNDS))
    for source in sources:
        cost = {kind.name: costs[named(kind.name, source)] for kind in kinds}
        report.table("batch", named(f"whole runs, median of {count}", source), _figures(cost))
        ours = measure.cpu_ms(cost["50 ms"]) / _SLOW_LINES, measure.wall_ms(cost["50 ms"]) / _SLOW_LINES
        beside = [figure for peer in peers for figure in _beside(peer, peer_costs[peer.case.name], *ours)]
        report.table("batch", named("others to ours, 50 ms a reply", source), beside)
        report.table("batch", named("peak memory", source), _memory(place, source))
    for what in batchpeers.missing():
        report.say("batch", f"not compared: {what}")


@contextlib.contextmanager
def _servers(place: Place, source: Source) -> Iterator[tuple[str, str, str, str]]:
    """Base URLs: no latency, latency, event streams, and the Batch API."""
    with (
        servers.loopback(place, source, "--canned") as fast,
        servers.loopback(place, source, "--canned", "--latency", str(_LATENCY_S)) as slow,
        servers.loopback(place, source, "--chunks", str(_CHUNKS), "--per-write", str(_AT_ONCE)) as streaming,
        servers.provider(place, source, "--batch-life", "1") as provider,
    ):
        yield fast, slow, streaming, provider


def _kinds(fast: str, slow: str, streaming: str, provider: str, recording: Path) -> list[_Kind]:
    jobs, many = ("-j", str(_IN_FLIGHT)), ("-j", str(_MANY_IN_FLIGHT))
    return [
        _Kind("one", 1, fast, jobs),
        _Kind("256", _LINES, fast, jobs),
        _Kind("2,000", _LINES, fast, many),
        _Kind("-o", _LINES, fast, jobs, writes=True),
        _Kind("map", _LINES, fast, jobs, is_map=True),
        _Kind("50 ms", _SLOW_LINES, slow, jobs),
        _Kind("echo", _LINES, "", ("-p", "echo", *jobs)),
        _Kind("replay", _LINES, "", ("-p", "echo", "--replay", str(recording), *jobs)),
        _Kind("streamed", _STREAMS, streaming, ("-j", "32", "--stream")),
        _Kind("in jobs", _JOB_LINES, provider, _BY_JOBS, writes=True),
        _Kind("few in a job", _FEW_JOB_LINES, provider, _BY_JOBS, writes=True),
    ]


def _case(place: Place, source: Source, kind: _Kind) -> Case:
    words = _map(place) if kind.is_map else ("batch", str(_input(place, kind.lines)))
    argv = source.command(*words, "-q", *(("--base-url", kind.url) if kind.url else ()))
    out = ("-o", str(_output(place))) if kind.writes else ()
    # The last line of the input was answered; with -o nothing goes to stdout, and the status has to do.
    last = b"\n%d,Question" if kind.is_map else b'"custom_id":"r-%d"'
    expects = b"" if kind.writes else last % (kind.lines - 1)
    return Case(named(kind.name, source), [*argv, *kind.options, *out], place.environment(), expects)


def _measured(place: Place, cases: Sequence[Case], rounds: int) -> dict[str, list[Cost]]:
    """As measure.interleaved. The results of a run go before the next one, which they would answer."""
    costs: dict[str, list[Cost]] = {case.name: [] for case in cases}
    for at in range(rounds):
        start = at * 2 % len(cases)
        for case in (*cases[start:], *cases[:start]):
            _remove_output(place)
            costs[case.name].append(measure.once(case))
    return costs


def _figures(cost: dict[str, list[Cost]]) -> list[Figure]:
    start_ms = measure.cpu_ms(cost["one"])

    def each_ms(name: str, requests: int) -> float:
        return (measure.cpu_ms(cost[name]) - start_ms) / requests

    replay_ms = each_ms("replay", _LINES)
    at_256, at_2000 = each_ms("256", _LINES), each_ms("2,000", _LINES)
    wall_s = measure.wall_ms(cost["50 ms"]) / 1e3
    note = f"{wall_s:.2f} s, start-up included; the bound is {_BOUND_S:.2f} s"
    chunk_us = each_ms("streamed", _STREAMS * _CHUNKS) * 1e3
    job_ms = measure.cpu_ms(cost["in jobs"]) - measure.cpu_ms(cost["few in a job"])
    line_ms = job_ms / (_JOB_LINES - _FEW_JOB_LINES)
    return [
        Figure("CPU of a request, 256 in flight", at_256, "ms", 0.30, 0.18),
        Figure("the same with -o", each_ms("-o", _LINES), "ms", 0.30, 0.18),
        Figure("map --csv to batch, the same requests", each_ms("map", _LINES) / at_256, "x", 1.15, 1.05),
        Figure(
            "a line of --engine batch-api to a request, 256 in flight",
            line_ms / at_256,
            "x",
            0.25,
            0.20,
            note=f"{line_ms * 1e3:.1f} us",
        ),
        Figure("2,000 in flight to 256", at_2000 / at_256, "x", 1.5, 1.2, note=f"{at_2000:.3f} ms"),
        Figure("--replay to -p echo, a request", replay_ms / each_ms("echo", _LINES), "x", 1.3, 1.1),
        Figure(
            "5,000 requests of 50 ms, -j 256: wall time to the bound",
            wall_s / _BOUND_S,
            "x",
            1.3,
            1.15,
            note=note,
        ),
        Figure("CPU of a request of 50 ms", each_ms("50 ms", _SLOW_LINES), "ms"),
        Figure("--stream", 1e6 / chunk_us, "chunks/s", 150_000, 250_000, True, f"{chunk_us:.2f} us a chunk"),
        Figure("a run of one line", start_ms, "ms"),
    ]


def _beside(peer: Peer, costs: Sequence[Cost], cpu_ms: float, wall_ms: float) -> list[Figure]:
    """CPU and time of a request to ours, start-up of both included."""
    cpu, wall = measure.cpu_ms(costs) / peer.lines, measure.wall_ms(costs) / peer.lines
    name = peer.case.name
    note = f"{peer.lines:,} lines, a request"
    return [
        Figure(f"{name}, CPU", cpu / cpu_ms, "x", *peer.cpu, True, f"{note} {cpu:.2f} ms"),
        # Ours waits for the server most of the time, so that a fast client gains less here.
        Figure(f"{name}, time", wall / wall_ms, "x", *peer.time, True, f"{note} {wall:.2f} ms"),
    ]


def _memory(place: Place, source: Source) -> list[Figure]:
    echo, jobs = ("-p", "echo", "-j", str(_IN_FLIGHT)), ("-o", str(_output(place)), *_BY_JOBS)
    few, many = (_peak_mb(place, source, lines, echo) for lines in _MEMORY_LINES)
    with servers.provider(place, source, "--batch-life", "1") as url:
        few_in_jobs, many_in_jobs = (
            _peak_mb(place, source, lines, (*jobs, "--base-url", url)) for lines in _JOB_MEMORY_LINES
        )
    return [
        Figure(f"{_MEMORY_LINES[0]:,} lines of -p echo, no -o", few, "MB"),
        Figure(f"{_MEMORY_LINES[1]:,} lines: more", many - few, "MB", 10, 5, note=f"{many:.1f} MB"),
        Figure(f"{_JOB_MEMORY_LINES[0]:,} lines of --engine batch-api", few_in_jobs, "MB"),
        Figure(
            f"{_JOB_MEMORY_LINES[1]:,} lines: more",
            many_in_jobs - few_in_jobs,
            "MB",
            60,
            note=f"{many_in_jobs:.1f} MB",
        ),
    ]


def _peak_mb(place: Place, source: Source, lines: int, options: Sequence[str]) -> float:
    _remove_output(place)
    words = ["batch", str(_input(place, lines)), "-q", *options]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _LAUNCHER, *source.command(*words)],
        env=place.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        check=True,
    )
    return int(done.stdout) / _RSS_PER_MB


def _recording(place: Place, source: Source) -> Path:
    """The recording of a run of _LINES lines."""
    path = place.scratch / "recording.jsonl"
    words = ["batch", str(_input(place, _LINES)), "-q", "-p", "echo", "--record", str(path)]
    subprocess.run(source.command(*words), env=place.environment(), stdout=subprocess.DEVNULL, check=True)
    return path


def _input(place: Place, lines: int) -> Path:
    return place.scratch / f"{lines}.jsonl"


def _table(place: Place) -> Path:
    return place.scratch / "rows.csv"


def _map(place: Place) -> tuple[str, ...]:
    """The words of a run that sends what _write_lines has."""
    return ("map", "{{question}}", str(_table(place)), "--csv", "-m", "m", "-s", _SYSTEM)


def _output(place: Place) -> Path:
    return place.scratch / "out.jsonl"


def _remove_output(place: Place) -> None:
    """Remove the results of a run, and its journal, which keeps those that a shorter run has no line for."""
    for path in place.scratch.glob("out.jsonl*"):
        path.unlink()


def _write_lines(path: Path, count: int) -> None:
    """Batch lines of some 200 bytes, each body another."""
    with path.open("w") as file:
        for at in range(count):
            messages = [
                {"role": "system", "content": _SYSTEM},
                {"role": "user", "content": _QUESTION.format(at)},
            ]
            line = {
                "custom_id": f"r-{at}",
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": {"model": "m", "messages": messages},
            }
            file.write(json.dumps(line) + "\n")


def _write_table(path: Path, count: int) -> None:
    """The same questions as a table."""
    with path.open("w") as file:
        file.write("id,question\n")
        file.writelines(f"{at},{_QUESTION.format(at)}\n" for at in range(count))
