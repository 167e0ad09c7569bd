"""`chatpipe batch` as a process: its exit status, signals, and outputs that fail."""

from __future__ import annotations

import re
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from batch.result_lines import numbers
from batch.runs import (
    always_busy,
    answer,
    batch,
    gated,
    jsonl,
    many,
    prompt,
    started,
)
from support import strike
from support.parametrize import cases
from support.process import sh
from support.servers.loopback import (
    Handler,
    Stall,
    WaitFor,
    error,
    serve,
    steps_of,
)


@cases(
    "stdin, status",
    {
        "no lines": (b"", 0),
        "blank lines": (b"\n \n", 0),
        "all good": (jsonl("a", "b"), 0),
        "some failed": (jsonl("a", "400"), 1),
        "all failed, not alike": (jsonl("cut", "400"), 1),
        "all cut off": (jsonl("cut", "cut"), 3),
        "all refused or empty": (jsonl("no", "nothing"), 4),
        "all 400": (jsonl("400", "400"), 65),
        "all bad lines": (b"{oops\n[]\n", 65),
        "all 500": (jsonl("500", "500"), 69),
    },
)
def test_exit_status(stdin: bytes, status: int) -> None:
    done = batch("--retries", "0", stdin=stdin)
    assert done.status == status
    assert len(done.records) == len([line for line in stdin.split(b"\n") if line.strip()])
    # The first failure has a line of its own, unless the last line names its reason.
    assert done.stderr.count(b"\n") <= (0 if status == 0 else 2)
    assert (done.stderr != b"") == (status != 0)


ENDING: dict[str, Any] = {"Ctrl-C": signal.SIGINT, "SIGTERM": signal.SIGTERM}


@cases("number", ENDING)
def test_the_first_signal_waits_for_requests_in_flight(number: signal.Signals, tmp_path: Path) -> None:
    gate = threading.Event()
    slow = gated(gate, "p0", "p1", "p2", "p3")
    with started("-j4", folder=tmp_path, lines=many(50), handler=slow) as (server, process):
        server.until(lambda: server.busy == 4)
        process.deliver(number)
        process.deliver(number)  # as timeout(1), Slurm and GNU parallel do: it is the same one
        gate.set()
        stdout, stderr = process.communicate()
    assert process.returncode == -number
    assert sorted(numbers(stdout)) == [1, 2, 3, 4]
    assert len(server.requests) == 4
    assert b"interrupted after 4 lines" in stderr


@cases("number", ENDING)
def test_a_signal_to_a_run_that_stops_for_another_reason_is_the_first(
    number: signal.Signals, tmp_path: Path
) -> None:
    gates = {"slow": threading.Event(), "400": threading.Event(), "never": threading.Event()}
    lines = jsonl(*gates)
    with started(
        *("-j2", "--halt", "soon,fail=1"),
        folder=tmp_path,
        lines=lines,
        handler=lambda request: [WaitFor(gates[prompt(request)]), *steps_of(answer(request))],
    ) as (server, process):
        server.until(lambda: server.busy == 2)
        gates["400"].set()
        assert numbers(process.line()) == [2]
        process.deliver(number)
        gates["slow"].set()
        rest, _ = process.communicate()
    assert process.returncode == -number
    assert (numbers(rest), len(server.requests)) == ([1], 2)


def silent_to(*texts: str, but: str = "") -> Handler:
    """These prompts are never answered; with but, all except that one."""
    return lambda request: (
        [Stall()] if prompt(request) in texts or (but and prompt(request) != but) else answer(request)
    )


@cases(
    "number, second", {"Ctrl-C": (signal.SIGINT, signal.SIGTERM), "SIGTERM": (signal.SIGTERM, signal.SIGINT)}
)
def test_the_second_signal_ends_at_once(
    number: signal.Signals, second: signal.Signals, tmp_path: Path
) -> None:
    lines, silent = jsonl("hi") + many(50), silent_to(but="hi")
    with started("-j4", folder=tmp_path, lines=lines, handler=silent, env=strike.APART) as (server, process):
        first = process.line()
        server.until(lambda: server.busy == 4)
        process.deliver(number)  # of two signals that come at once, the one with the lower number counts
        assert process.poll() is None
        process.send_signal(second)
        rest, _ = process.communicate()
    assert process.returncode == -number
    assert (numbers(first), rest) == ([1], b"")


def test_results_held_for_order_are_written_when_a_run_is_cut_short(tmp_path: Path) -> None:
    options = ("-k", "--grace", "0.2")
    with started(*options, folder=tmp_path, lines=many(3), handler=silent_to("p0")) as (server, process):
        server.until(lambda: len(server.requests) == 3 and server.busy == 1)
        process.settle()  # it has read the two answers
        process.send_signal(signal.SIGINT)
        stdout, _ = process.communicate()
    assert process.returncode == -signal.SIGINT
    assert numbers(stdout) == [2, 3]


@pytest.mark.parametrize("grace", ["0", "0.2"])
def test_the_grace_ends_by_itself(tmp_path: Path, grace: str) -> None:
    silent = silent_to("p0", "p1", "p2")
    with started("--grace", grace, folder=tmp_path, lines=many(3), handler=silent) as (server, process):
        server.until(lambda: server.busy == 3)
        process.send_signal(signal.SIGINT)
        assert process.wait() == -signal.SIGINT


def test_a_long_wait_after_a_signal_is_explained_and_a_second_signal_ends_it(tmp_path: Path) -> None:
    silent = silent_to("p0", "p1")
    options = {"stderr": subprocess.PIPE, "env": strike.APART}
    with started("--grace", "30", folder=tmp_path, lines=many(2), handler=silent, **options) as (
        server,
        process,
    ):
        server.until(lambda: server.busy == 2)
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        said = process.stderr.readline().decode()
        process.send_signal(signal.SIGTERM)
        assert process.wait() == -signal.SIGTERM
        end = process.stderr.read()
    form = r"chatpipe: waiting up to 2\d s for 2 requests in flight: a second signal ends the run now\n"
    assert re.fullmatch(form, said)
    assert end.startswith(b"chatpipe: interrupted after 0 lines, 2 more had no answer yet: run it again with")


def test_a_signal_while_waiting_for_a_pause_or_for_stdin_ends_the_run() -> None:
    with started("--grace", "0.1", handler=always_busy("60"), bufsize=0) as (server, process):
        process.send(jsonl("a"))
        server.until(lambda: server.requests and not server.busy)
        process.send_signal(signal.SIGTERM)
        assert process.wait() == -signal.SIGTERM


def test_a_signal_while_nothing_is_in_flight_ends_the_run_at_once() -> None:
    with started(bufsize=0) as (_, process):
        process.send(jsonl("a"))
        process.line()
        process.send_signal(signal.SIGINT)
        assert process.wait() == -signal.SIGINT


@cases(
    "options, refusal",
    {
        "its turn": (["--rpm", "40"], None),
        "the end of a pause": ([], error(429, "wait", headers={"retry-after-ms": "1500"})),
        "another try": ([], error(500, "broken", headers={"retry-after-ms": "1500"})),
    },
)
def test_after_a_signal_no_waiting_request_is_sent(
    options: list[str], refusal: bytes | None, tmp_path: Path
) -> None:
    handler: Handler = answer if refusal is None else lambda _: refusal
    options = ["--grace", "2", *options]
    with started(*options, folder=tmp_path, lines=many(4), handler=handler) as (server, process):
        server.until(lambda: server.requests and not server.busy)
        process.settle()
        process.deliver(signal.SIGINT)
        before = len(server.requests)
        assert process.wait() == -signal.SIGINT
    assert len(server.requests) == before


def test_a_reader_that_goes_away_is_the_quiet_end(tmp_path: Path) -> None:
    with serve(answer) as server:
        done = sh(
            """yes '"hi"' | { chatpipe batch --base-url $URL -m m; echo $? > status; } | head -1""",
            env={"URL": server.url},
            cwd=tmp_path,
        )
        asked = len(server.requests)

    assert done.stdout.count(b"\n") == 1
    assert done.stderr == b""
    assert (tmp_path / "status").read_text() == "141\n"
    assert asked < 3000


def test_a_full_disk_stops_sending_at_once() -> None:
    with serve(answer) as server:
        done = sh(f"""yes '"hi"' | chatpipe batch --base-url {server.url} -m m -j4 > /dev/full""")

    assert done.status == 74
    assert len(server.requests) <= 8
    assert done.stderr.count(b"\n") == 1


def test_a_full_disk_for_errors_is_74_too(tmp_path: Path) -> None:
    done = batch("-j2", "--errors", "/dev/full", stdin=jsonl("400") + many(50), cwd=tmp_path)
    assert done.status == 74
    assert len(done.requests) < 20
