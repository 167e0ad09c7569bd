"""`chatpipe batch` as a process: the order of results, and the number of requests in flight."""

from __future__ import annotations

import itertools
import signal
import threading
import time
from pathlib import Path

import pytest

from batch.result_lines import numbers, records
from batch.runs import (
    answer,
    batch,
    command,
    gated,
    jsonl,
    many,
    paused,
    prompt,
    started,
)
from support.parametrize import cases
from support.patience import until
from support.process import start
from support.servers.loopback import (
    Answer,
    Handler,
    Pause,
    Request,
    Server,
    WaitFor,
    serve,
    steps_of,
)


def test_results_come_in_the_order_of_completion() -> None:
    gate = threading.Event()

    def handler(request: Request) -> Answer:
        if prompt(request) == "p9":
            gate.set()
        return gated(gate, "p0")(request)

    done = batch("-j2", stdin=many(10), handler=handler)
    lines = done.lines
    assert sorted(lines) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert lines[0] == 2
    assert 1 in lines[-2:]


def test_keep_order_holds_no_more_than_its_window() -> None:
    gate = threading.Event()
    with started("-k", "--window", "4", "-j8", handler=gated(gate, "p0")) as (server, process):
        process.send(many(30))
        process.hang_up()
        server.until(lambda: len(server.requests) == 4 and server.busy == 1)
        process.settle()  # a fifth would have come
        held = len(server.requests)
        gate.set()
        stdout, _ = process.communicate()
    assert held == 4
    assert process.returncode == 0
    assert numbers(stdout) == [*range(1, 31)]


def test_an_answer_held_for_order_is_already_in_the_journal(tmp_path: Path) -> None:
    """It was paid for: nothing that comes later may lose it."""
    gate, journal = threading.Event(), tmp_path / "journal"
    options = ("-k", "--journal", "journal")
    with started(*options, folder=tmp_path, lines=many(3), handler=gated(gate, "p0")) as (server, process):
        server.until(lambda: len(server.requests) == 3 and server.busy == 1)
        server.until(lambda: journal.exists() and b"P2" in journal.read_bytes())
        gate.set()
        assert len(records(process.communicate()[0])) == 3


@cases(
    ("format", "lines"),
    {
        "string": ("string", b'null\n"P1"\n"P2"\n'),
        "text": ("text", b"\nP1\nP2\n"),
    },
)
def test_an_early_end_leaves_each_record_in_the_place_of_its_line(
    tmp_path: Path, format: str, lines: bytes
) -> None:
    """Nothing else says which line it is of."""
    gate, journal = threading.Event(), tmp_path / "kept"
    options = ("-f", format, "--journal", "kept", "--grace", "0")
    with started(*options, folder=tmp_path, lines=many(4), handler=gated(gate, "p0", "p3")) as (_, process):
        until(lambda: journal.exists() and all(each in journal.read_bytes() for each in (b"P1", b"P2")))
        process.send_signal(signal.SIGINT)
        stdout, _ = process.communicate()
        gate.set()
    assert process.returncode == -signal.SIGINT
    assert stdout == lines


def test_the_window_also_holds_for_lines_that_need_no_answer(tmp_path: Path) -> None:
    """Else everything behind one slow line would be read into memory."""
    gate, journal = threading.Event(), tmp_path / "kept"
    options = ("-k", "--window", "5", "--journal", "kept")
    lines = many(1) + b"not JSON\n" * 1000 + jsonl("last")
    with started(*options, folder=tmp_path, lines=lines, handler=gated(gate, "p0")) as (server, process):
        server.until(lambda: journal.exists() and journal.read_bytes().count(b"\n") == 1 + 4)
        server.until(lambda: len(server.requests) == 1)
        gate.set()
        assert len(records(process.communicate()[0])) == 1002


def test_results_come_while_stdin_stays_open() -> None:
    """Each line is answered before the next arrives, for example from `tail -f`."""
    with started("-f", "string", bufsize=0) as (_, process):
        for text in ("one", "two", "three"):
            process.send(jsonl(text))
            assert process.line() == jsonl(text.upper())
        process.send(b'"no end of line"')
        process.hang_up()
        assert process.communicate() == (b'"NO END OF LINE"\n', b"")
    assert process.returncode == 0


def together(number: int) -> Handler:
    """Nothing is answered before that number has come, and then some time passes for one too many."""
    all_there = threading.Event()
    seen = itertools.count(1)

    def handler(request: Request) -> Answer:
        count = next(seen)
        if count == number:
            all_there.set()
        return [WaitFor(all_there), Pause(0.05 if count <= number else 0), *steps_of(answer(request))]

    return handler


@pytest.mark.parametrize("jobs", [1, 5, 40])
def test_no_more_than_jobs_are_in_flight_and_no_fewer(jobs: int) -> None:
    done = batch(f"-j{jobs}", stdin=many(60), handler=together(jobs))
    assert done.status == 0
    assert done.server.peak == jobs
    assert len(done.requests) == 60


def test_the_number_in_flight_adapts() -> None:
    done = batch("-j", "auto,12", stdin=many(400), handler=paused(0.01))
    assert done.status == 0
    assert len(done.requests) == 400
    assert 4 < done.server.peak <= 12


def test_requests_per_minute_are_kept() -> None:
    began = time.monotonic()
    done = batch("--rpm", "1200", stdin=many(17))
    at = [request.at for request in done.requests]
    assert done.status == 0
    assert at[16] - began >= 0.7  # 16 intervals of 50 ms, less the burst of a tenth of a second


def test_shard_counts_physical_lines_and_limit_what_is_left() -> None:
    stdin = b'"1"\n"2"\n\n"4"\n"5"\n"6"\n"7"\n"8"\n'
    done = batch("--shard", "2/3", "--limit", "2", "-j1", stdin=stdin)
    assert (done.status, done.prompts) == (0, ["2", "5"])
    assert [each["custom_id"] for each in done.records] == ["line-2", "line-5"]


def test_limit_does_not_wait_for_the_rest_of_the_input() -> None:
    with started("--limit", "1", bufsize=0) as (_, process):
        process.send(jsonl("a"))
        assert process.wait() == 0


# Beside one another


def side_by_side(options: str, folder: Path, lines: bytes, handler: Handler = answer) -> Server:
    """Two runs of the same input at a time, which share pace.json; the server that they used."""
    (folder / "in.jsonl").write_bytes(lines)
    with serve(handler) as server:
        arguments = command(server, *options.split(), "--pace-file", "pace.json", "in.jsonl")
        with start(*arguments, cwd=folder) as one, start(*arguments, cwd=folder) as two:
            assert one.communicate()[1] == b""
            assert two.communicate()[1] == b""
    assert (one.returncode, two.returncode) == (0, 0)
    return server


def test_two_processes_share_one_pace(tmp_path: Path) -> None:
    began = time.monotonic()
    server = side_by_side("--rpm 1200", tmp_path, many(10))
    at = [request.at for request in server.requests]
    assert len(at) == 20
    assert at[19] - began >= 0.85  # 19 intervals of 50 ms, less the burst of a tenth of a second


def test_two_processes_share_the_number_in_flight(tmp_path: Path) -> None:
    server = side_by_side("-j8 --pace-jobs 3", tmp_path, many(20), together(3))
    assert (len(server.requests), server.peak) == (40, 3)
