"""Signals: a process that gets one dies by it, closes its connection and leaves no mess."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from commands.asking import ask, hit, words
from support import delays, strike
from support.parametrize import cases
from support.process import begun, run, start
from support.programs import program
from support.servers.loopback import (
    Server,
    Stall,
    WaitFor,
    chunk,
    event,
    event_stream,
    reply,
    serve,
    stream_of,
)

ENDING = {
    "Ctrl-C": signal.SIGINT,
    "SIGTERM": signal.SIGTERM,
    "the terminal is gone": signal.SIGHUP,
}


def first_piece_then_silence() -> Server:
    return serve(lambda _: [*event_stream([event(chunk("Half of"))], end=False), Stall()])


def written(folder: Path) -> Callable[[], bool]:
    """True if some of the answer is in the temporary file that will become the output."""
    return lambda: begun(folder) != b""


@cases("number", ENDING)
def test_a_signal_before_the_first_byte_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "out.txt").write_text("old")
    with serve(lambda _: [Stall()]) as server:
        with start(*words(server.url, "-o", "out.txt"), cwd=tmp_path) as process:
            server.until(lambda: server.requests)
            assert hit(process, number) == (-number, b"", b"")
        server.until(lambda: server.disconnects == 1)

    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]
    assert (tmp_path / "out.txt").read_text() == "old"


@cases("number", ENDING)
def test_a_signal_in_mid_stream_keeps_the_part(number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "out.txt").write_text("old")
    with first_piece_then_silence() as server:
        with start(*words(server.url, "-o", "out.txt"), cwd=tmp_path) as process:
            server.until(written(tmp_path))
            process.send_signal(number)
            process.wait()
        server.until(lambda: server.disconnects == 1)

    assert process.returncode == -number
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.txt", "out.txt.chatpipe-part"]
    assert (tmp_path / "out.txt").read_text() == "old"
    assert (tmp_path / "out.txt.chatpipe-part").read_text() == "Half of"


FIRST, SECOND = chunk('{"a": "b'), chunk("c")
CALL = chunk({"tool_calls": [{"index": 0, "id": "k", "function": {"name": "f", "arguments": "{"}}]})
MESSAGE = b'{"role":"assistant","content":"{\\"a\\": \\"bc","refusal":null}'
CALL_LINE = b'{"id":"k","name":"f","raw":"{"}\n'
TEXT = b'{"a": "bc\n'


@cases(
    ("events", "arguments", "expected"),
    {
        "string": ([FIRST, SECOND], ("-f", "string"), b'"{\\"a\\": \\"bc"\n'),
        "message": ([FIRST, SECOND], ("-f", "message"), MESSAGE + b"\n"),
        "code without its end": ([FIRST, SECOND], ("-f", "code"), TEXT),
        "with a schema": ([FIRST, SECOND], ("--schema-fields", "a"), TEXT),
        "with a schema, in chunks": (
            [FIRST, SECOND],
            ("--schema-fields", "a", "-f", "chunks"),
            orjson.dumps(FIRST) + b"\n" + orjson.dumps(SECOND) + b"\n",
        ),
        "calls": ([CALL, SECOND], ("-f", "tool-calls"), CALL_LINE),
        "calls, which text omits": ([CALL], ("-f", "text"), CALL_LINE),
        "text and calls": ([SECOND, CALL], ("-f", "text"), b"c\n" + CALL_LINE),
        "no piece of an answer": ([], ("-f", "json"), None),
    },
)
def test_a_signal_in_mid_stream_keeps_the_part_in_every_format(
    events: list[dict[str, Any]], arguments: tuple[str, ...], expected: bytes | None, tmp_path: Path
) -> None:
    number, place = signal.SIGTERM, "chatpipe.response.answer_chunks:AnswerChunks.add"
    moment = strike.at((place, len(events) + 1, "before", [number]))
    part = tmp_path / "out.chatpipe-part"
    with serve(lambda _: event_stream([event(each) for each in [*events, chunk("more")]])) as server:
        done = ask(server.url, "--stream", "-o", "out", *arguments, cwd=tmp_path, env=moment)
    assert done == (-number, b"", b"")
    assert [path.name for path in tmp_path.iterdir()] == ([] if expected is None else [part.name])
    assert expected is None or part.read_bytes() == expected


def test_a_signal_in_mid_stream_leaves_no_half_record_on_stdout() -> None:
    moment = strike.at(("chatpipe.response.answer_chunks:AnswerChunks.add", 2, "before", [signal.SIGTERM]))
    with serve(lambda _: event_stream([event(FIRST), event(SECOND)])) as server:
        done = ask(server.url, "--stream", "-f", "json", env=moment)
    assert done == (-signal.SIGTERM, b"", b"")


@cases("number", ENDING)
def test_a_signal_in_mid_stream_leaves_the_part_on_stdout(number: signal.Signals) -> None:
    with first_piece_then_silence() as server:
        with start(*words(server.url)) as process:
            assert process.stdout is not None
            assert process.stdout.read(7) == b"Half of"
            assert hit(process, number) == (-number, b"", b"")
        server.until(lambda: server.disconnects == 1)


def test_kill_leaves_the_file_alone_and_the_next_run_works(tmp_path: Path) -> None:
    """Nothing can be tidied after kill -9; the random name of the temporary file keeps it out of the way."""
    (tmp_path / "out.txt").write_text("old")
    with first_piece_then_silence() as server:
        arguments = words(server.url, "-o", "out.txt")
        with start(*arguments, cwd=tmp_path) as process:
            server.until(written(tmp_path))
            process.kill()
            process.wait()
        assert (tmp_path / "out.txt").read_text() == "old"

        server.handler = lambda _: event_stream(stream_of("whole"))
        assert run(*arguments, cwd=tmp_path).status == 0
    assert (tmp_path / "out.txt").read_text() == "whole\n"


def test_ctrl_c_ends_a_wait_between_tries() -> None:
    with (
        serve(lambda _: reply(429, headers={"Retry-After": "60"})) as server,
        start(*words(server.url)) as process,
    ):
        assert process.stderr is not None
        note = process.stderr.readline()
        assert hit(process, signal.SIGINT) == (-signal.SIGINT, b"", b"")
    assert note.endswith(b"trying again in 60.0 s (1 of 4)\n")


def test_ctrl_c_while_stdin_is_read_sends_nothing() -> None:
    with serve() as server:
        arguments = words(server.url, prompt="Sum up:")
        with start(*arguments, env=delays.AT_ONCE, stdin=subprocess.PIPE) as process:
            assert process.stdin is not None
            assert process.stderr is not None
            # This line says that stdin is being read now.
            assert process.stderr.readline().startswith(b"chatpipe: waiting for stdin")
            process.stdin.write(b"the beginning of a prompt")
            process.stdin.flush()
            assert hit(process, signal.SIGINT) == (-signal.SIGINT, b"", b"")
        assert server.requests == []


@cases("name", {"nohup": "HUP", "in the background": "INT"})
def test_an_ignored_signal_stays_ignored(name: str) -> None:
    """nohup ignores SIGHUP, and a script's `command &` SIGINT: the answer is waited for all the same."""
    go = threading.Event()
    deaf = ("sh", "-c", f'trap "" {name}; exec "$@"', "-")
    with (
        serve(lambda _: [WaitFor(go), *event_stream(stream_of("late"))]) as server,
        start(*words(server.url), through=deaf) as process,
    ):
        server.until(lambda: server.requests)
        process.send_signal(signal.Signals[f"SIG{name}"])
        go.set()
        stdout, _ = process.communicate()

    assert process.returncode == 0
    assert stdout == b"late\n"


def test_ctrl_c_stops_a_shell_loop() -> None:
    """bash goes on with a loop whose command exits 130 by itself, and stops when it died by the signal."""
    loop = (program("bash"), "-c", 'for i in 1 2 3; do "$@"; done; echo not reached', "-")
    with serve(lambda _: [Stall()]) as server:
        # A session of its own: the signal reaches the shell and the command, as from a terminal.
        with start(*words(server.url), through=loop, start_new_session=True) as process:
            server.until(lambda: server.requests)
            os.killpg(process.pid, signal.SIGINT)
            stdout, _ = process.communicate()
        assert len(server.requests) == 1

    assert process.returncode == -signal.SIGINT
    assert stdout == b""


# Modules whose import is the worst moment: orjson's own, which imports uuid, must not be broken into.
STARTING = ["chatpipe.main", "click", "orjson.orjson", "uuid", "httpx", "chatpipe.exchange"]


@cases("number", ENDING)
@pytest.mark.parametrize("module", STARTING)
def test_a_signal_while_starting_ends_it_at_once(module: str, number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(STRIKING.format(module=module, number=int(number)))
    with serve() as server:
        done = ask(server.url, env={"PYTHONPATH": str(tmp_path)})
        assert server.requests == []

    assert (done.status, done.stderr) == (-number, b"")


# Sends its own process a signal when a module is about to be imported.
STRIKING = """
import os, sys

class Striking:
    def find_spec(self, name, path, target=None):
        if name == "{module}":
            os.kill(os.getpid(), {number})

sys.meta_path.insert(0, Striking())
"""
