"""On a terminal: control characters are escaped, the prompt can be typed, and nothing else differs."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import signal
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pytest

from commands.asking import ended, hit, words
from support.parametrize import cases
from support.process import run, start
from support.servers.loopback import chunk, completion, error, event, event_stream, reply, serve, stream_of

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
        process.wait()
    return data.replace(b"\r\n", b"\n").decode()


def shown_of_stream(terminal: Terminal, text: str | list[str], *arguments: str) -> str:
    """The terminal's view of a streamed answer."""
    with serve(lambda _: event_stream(stream_of(text))) as server:
        return shown(terminal, "stdout", *words(server.url, *arguments))


@pytest.mark.parametrize("format", ["text", "sse"])
def test_an_answer_is_escaped_on_a_terminal(terminal: Terminal, format: str) -> None:
    said = shown_of_stream(terminal, WILD, "-f", format)
    assert not any(character in said for character in "\x1b\x07\u202e\x85\x7f")
    if format == "text":
        assert said == TAME


def test_an_escape_sequence_cut_in_two_is_escaped_as_well(terminal: Terminal) -> None:
    said = shown_of_stream(terminal, ["a\x1b", "[31mb\u202e", "é\n"])
    assert said == "a\\x1b[31mb\\u202eé\n"


def test_no_escape_lets_them_through(terminal: Terminal) -> None:
    assert shown_of_stream(terminal, "a\x1b[31mb\n", "--no-escape") == "a\x1b[31mb\n"


def test_stdout_is_the_same_in_a_pipe_but_for_escaping(terminal: Terminal) -> None:
    with serve(lambda _: event_stream(stream_of(WILD))) as server:
        piped = run(*words(server.url))
        on_terminal = shown(terminal, "stdout", *words(server.url))
    assert piped.stdout.decode() == WILD
    assert on_terminal == TAME


def test_the_servers_words_on_stderr_are_escaped_on_a_terminal(terminal: Terminal) -> None:
    refusal = {"role": "assistant", "content": None, "refusal": WILD}
    answer = {"choices": [{"index": 0, "message": refusal, "finish_reason": "stop"}]}
    with serve(lambda _: reply(200, answer)) as server:
        arguments = words(server.url)
        said = shown(terminal, "stderr", *arguments)
        piped = run(*arguments).stderr.decode()
    assert said.startswith(TAME)
    assert piped.startswith(WILD)


@pytest.mark.parametrize("format", ["text", "json"])
def test_an_error_line_is_escaped_everywhere(terminal: Terminal, format: str) -> None:
    with serve(lambda _: error(400, "bad \x1b[31m\u202e thing")) as server:
        arguments = words(server.url, "--error-format", format)
        said = shown(terminal, "stderr", *arguments)
        piped = run(*arguments).stderr.decode()
    for text in (said, piped):
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert text.count("\n") == 1


@cases(
    ("option", "answer"),
    {
        "usage": ("--usage", reply(200, completion("x", model=WILD))),
        "a traceback": ("--debug", error(400, WILD)),
        "details": ("-v", error(400, WILD, headers={"x-request-id": "\x85 \x9bm"})),
    },
)
def test_no_line_for_people_has_a_control_character(option: str, answer: bytes, terminal: Terminal) -> None:
    with serve(lambda _: answer) as server:
        arguments = words(server.url, option)
        said = shown(terminal, "stderr", *arguments)
        piped = run(*arguments).stderr.decode()
    for text in (said, piped):
        assert text
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", text)


def test_reasoning_streams_to_a_terminal_escaped(terminal: Terminal) -> None:
    events = [event(chunk({"reasoning": "h\x1bm"})), event(chunk("y")), event(b"[DONE]")]
    with serve(lambda _: event_stream(events)) as server:
        arguments = words(server.url, "--reasoning", "stderr")
        assert shown(terminal, "stderr", *arguments) == "h\\x1bm\n"


def test_details_do_not_break_the_last_line_of_an_answer(terminal: Terminal) -> None:
    with serve(lambda _: event_stream(stream_of("Hi"), pace=0.05)) as server:
        arguments = words(server.url, "-v")
        with start(*arguments, stdout=terminal.theirs, stderr=terminal.theirs) as process:
            os.close(terminal.theirs)
            lines = terminal.read(b"").decode().split("\r\n")
            process.wait()
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


@cases(
    ("command", "thing", "stdout"),
    {
        "ask": (("ask",), "prompt", b"typed\n"),
        "batch": (("batch", "--lines", "-f", "text"), "input", b"typed"),
        "map": (("map", "--lines", "{{line}}"), "input", b"typed"),
    },
)
def test_a_prompt_and_the_input_of_a_run_can_be_typed(
    command: tuple[str, ...], thing: str, stdout: bytes, terminal: Terminal
) -> None:
    with start(*command, "-p", "echo", stdin=terminal.theirs) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == f"chatpipe: type the {thing}, then Ctrl-D\n".encode()
        terminal.write(b"typed\n\x04")
        status, written, _ = ended(process)
    assert status == 0
    assert written == stdout if command == ("ask",) else stdout in written


def test_with_a_prompt_a_terminal_is_not_read(terminal: Terminal) -> None:
    with start("ask", "-p", "echo", "Hello", stdin=terminal.theirs) as process:
        assert ended(process) == (0, b"Hello\n", b"")


def test_the_operand_dash_reads_a_terminal(terminal: Terminal) -> None:
    with start("ask", "-p", "echo", "before", "-", stdin=terminal.theirs) as process:
        terminal.write(b"typed\n\x04")
        assert ended(process)[:2] == (0, b"before\n\ntyped\n")


def test_ctrl_c_while_typing_ends_it_quietly(terminal: Terminal) -> None:
    with start("ask", "-p", "echo", stdin=terminal.theirs) as process:
        assert process.stderr is not None
        process.stderr.readline()
        assert hit(process, signal.SIGINT) == (-signal.SIGINT, b"", b"")
