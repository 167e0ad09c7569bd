"""On a terminal: control characters are escaped, the prompt can be typed, and nothing else differs."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pytest

from loopback import chunk, error, event, event_stream, reply, serve, stream_of
from process import run, start

# Red, bell, right-to-left override, C1, DEL.
WILD = "a\x1b[31mb\x07c\u202ed\x85e\x7ff\tg\n"
TAME = "a\\x1b[31mb\\x07c\\u202ed\\u0085e\\x7ff\tg\n"


class Terminal(NamedTuple):
    """A pseudo-terminal: ours is the user's end, theirs that of the program."""

    ours: int
    theirs: int

    def read(self, wanted: bytes) -> bytes:
        """What has come up to and with wanted, or all there is when the program has left."""
        data = b""
        while wanted not in data or not wanted:
            assert select.select([self.ours], [], [], 10)[0], f"{wanted!r} does not come after {data!r}"
            try:
                piece = os.read(self.ours, 65536)
            except OSError:  # on Linux the end of a terminal is EIO
                break
            data += piece
        return data

    def write(self, data: bytes) -> None:
        os.write(self.ours, data)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    ours, theirs = pty.openpty()
    yield Terminal(ours, theirs)
    os.close(ours)
    with contextlib.suppress(OSError):
        os.close(theirs)


def shown(terminal: Terminal, stream: str, *arguments: str, env: Mapping[str, str] | None = None) -> str:
    """What a terminal shows of a program's stdout or stderr, the line ends as they were written."""
    on_terminal: dict[str, Any] = {stream: terminal.theirs}
    with start(*arguments, env=env, **on_terminal) as process:
        os.close(terminal.theirs)
        data = terminal.read(b"")
        process.wait(timeout=10)
    return data.replace(b"\r\n", b"\n").decode()


@pytest.mark.parametrize("format", ["text", "sse"])
def test_an_answer_is_escaped_on_a_terminal(terminal: Terminal, format: str) -> None:
    with serve(lambda _: event_stream(stream_of(WILD))) as server:
        said = shown(terminal, "stdout", "ask", "--base-url", server.url, "-m", "m", "-f", format, "x")
    assert not any(character in said for character in "\x1b\x07\u202e\x85\x7f")
    if format == "text":
        assert said == TAME


def test_an_escape_sequence_cut_in_two_is_escaped_as_well(terminal: Terminal) -> None:
    with serve(lambda _: event_stream(stream_of(["a\x1b", "[31mb\u202e", "é\n"]))) as server:
        assert shown(terminal, "stdout", "ask", "--base-url", server.url, "-m", "m", "x") == (
            "a\\x1b[31mb\\u202eé\n"
        )


def test_no_escape_lets_them_through(terminal: Terminal) -> None:
    with serve(lambda _: event_stream(stream_of("a\x1b[31mb\n"))) as server:
        arguments = ("ask", "--base-url", server.url, "-m", "m", "--no-escape", "x")
        assert shown(terminal, "stdout", *arguments) == "a\x1b[31mb\n"


def test_stdout_is_the_same_in_a_pipe_but_for_escaping(terminal: Terminal) -> None:
    with serve(lambda _: event_stream(stream_of(WILD))) as server:
        piped = run("ask", "--base-url", server.url, "-m", "m", "x")
        on_terminal = shown(terminal, "stdout", "ask", "--base-url", server.url, "-m", "m", "x")
    assert piped.stdout.decode() == WILD
    assert on_terminal == TAME


def test_what_the_server_says_on_stderr_is_escaped_on_a_terminal(terminal: Terminal) -> None:
    refusal = {"role": "assistant", "content": None, "refusal": WILD}
    answer = {"choices": [{"index": 0, "message": refusal, "finish_reason": "stop"}]}
    with serve(lambda _: reply(200, answer)) as server:
        arguments = ("ask", "--base-url", server.url, "-m", "m", "x")
        said = shown(terminal, "stderr", *arguments)
        piped = run(*arguments).stderr.decode()
    assert said.startswith(TAME)
    assert piped.startswith(WILD)


@pytest.mark.parametrize("format", ["text", "json"])
def test_an_error_line_is_escaped_everywhere(terminal: Terminal, format: str) -> None:
    with serve(lambda _: error(400, "bad \x1b[31m\u202e thing")) as server:
        arguments = ("ask", "--base-url", server.url, "-m", "m", "--error-format", format, "x")
        said = shown(terminal, "stderr", *arguments)
        piped = run(*arguments).stderr.decode()
    for text in (said, piped):
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert text.count("\n") == 1


def test_reasoning_streams_to_a_terminal_escaped(terminal: Terminal) -> None:
    events = [event(chunk({"reasoning": "h\x1bm"})), event(chunk("y")), event(b"[DONE]")]
    with serve(lambda _: event_stream(events)) as server:
        arguments = ("ask", "--base-url", server.url, "-m", "m", "--reasoning", "stderr", "x")
        assert shown(terminal, "stderr", *arguments) == "h\\x1bm\n"


def test_details_do_not_break_the_last_line_of_an_answer(terminal: Terminal) -> None:
    with serve(lambda _: event_stream(stream_of("Hi"))) as server:
        arguments = ("ask", "--base-url", server.url, "-m", "m", "-v", "Hello")
        with start(*arguments, stdout=terminal.theirs, stderr=terminal.theirs) as process:
            os.close(terminal.theirs)
            lines = terminal.read(b"").decode().split("\r\n")
            process.wait(timeout=10)
    *_, before, said, after, last = lines
    assert before.startswith("chatpipe: < ")
    assert said == "Hi"
    assert after.startswith("chatpipe: < end after ")
    assert last == ""


@pytest.mark.parametrize("env", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}, {"FORCE_COLOR": "1"}])
def test_there_is_no_colour_to_turn_off(terminal: Terminal, env: dict[str, str]) -> None:
    said = shown(terminal, "stderr", "ask", "-p", "echo", "-v", "--max-tokens", "1", "a b", env=env)
    assert "\x1b" not in said
    assert "chatpipe: the answer was cut off" in said


@pytest.mark.parametrize("env", [{}, {"COLUMNS": "40"}])
def test_help_has_no_escapes_on_a_terminal(terminal: Terminal, env: dict[str, str]) -> None:
    assert "\x1b" not in shown(terminal, "stdout", "ask", "--help", env=env)


# Typing


def test_a_prompt_can_be_typed(terminal: Terminal) -> None:
    with start("ask", "-p", "echo", stdin=terminal.theirs) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == b"chatpipe: type the prompt, then Ctrl-D\n"
        terminal.write(b"typed\n\x04")
        stdout, _ = process.communicate(timeout=10)
    assert (process.returncode, stdout) == (0, b"typed\n")


@pytest.mark.parametrize("command", [("batch", "--lines", "-f", "text"), ("map", "--lines", "{{line}}")])
def test_the_input_of_a_run_can_be_typed(command: tuple[str, ...], terminal: Terminal) -> None:
    with start(*command, "-p", "echo", stdin=terminal.theirs) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == b"chatpipe: type the input, then Ctrl-D\n"
        terminal.write(b"typed\n\x04")
        stdout, _ = process.communicate(timeout=10)
    assert process.returncode == 0
    assert b"typed" in stdout


def test_with_a_prompt_a_terminal_is_not_read(terminal: Terminal) -> None:
    with start("ask", "-p", "echo", "Hello", stdin=terminal.theirs) as process:
        stdout, stderr = process.communicate(timeout=10)
    assert (process.returncode, stdout, stderr) == (0, b"Hello\n", b"")


def test_the_operand_dash_reads_a_terminal(terminal: Terminal) -> None:
    with start("ask", "-p", "echo", "before", "-", stdin=terminal.theirs) as process:
        terminal.write(b"typed\n\x04")
        stdout, _ = process.communicate(timeout=10)
    assert (process.returncode, stdout) == (0, b"before\n\ntyped\n")


def test_ctrl_c_while_typing(terminal: Terminal) -> None:
    with start("ask", "-p", "echo", stdin=terminal.theirs) as process:
        assert process.stderr is not None
        process.stderr.readline()
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=10)
    assert (process.returncode, stdout, stderr) == (-signal.SIGINT, b"", b"")
