"""Runs at a terminal: the bar, what is told beside it, and results that are shown there."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import termios
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pytest

from batch.weather import questions
from loopback import Answer, Pause, Request, completion, reply, serve
from process import run, start

LINES = 12
WILD = "a\x1b[31mb\x07c\u202ed"
TAME = "a\\x1b[31mb\\x07c\\u202ed\r\n"


class Shown(NamedTuple):
    """terminal is what it was sent, its line ends as CR LF; piped is stdout, when that went to a pipe."""

    status: int
    terminal: str
    piped: bytes


@pytest.fixture
def ends() -> Iterator[tuple[int, int]]:
    """A terminal of 80 columns: the user's end of it, and the program's."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    yield ours, theirs
    for fd in (ours, theirs):
        with contextlib.suppress(OSError):
            os.close(fd)


def answering(request: Request) -> Answer:
    """After so long that the bar has something to show: it moves ten times a second at most."""
    text = request.json()["messages"][-1]["content"]
    if text == "q5":
        return [Pause(0.06), reply(200, completion(WILD))]
    return [Pause(0.06), reply(200, completion(f"answer to {text}"))]


def shown(
    ends: tuple[int, int],
    *arguments: str,
    streams: tuple[str, ...] = ("stderr",),
    stdin: bytes | None = None,
    env: Mapping[str, str] | None = None,
) -> Shown:
    """A run of some lines, two at a time, with these streams at the terminal."""
    ours, theirs = ends
    on_terminal: dict[str, Any] = dict.fromkeys(streams, theirs)
    with serve(answering) as server:
        command = ("batch", "--base-url", server.url, "-m", "m", "-j2", *arguments)
        with start(*command, env=env, stdin=subprocess.PIPE, **on_terminal) as process:
            os.close(theirs)
            assert process.stdin is not None
            process.stdin.write(questions(LINES) if stdin is None else stdin)
            process.stdin.close()
            said = _rest(ours)
            piped = b"" if process.stdout is None else process.stdout.read()
            status = process.wait(timeout=10)
    return Shown(status, said.decode(), piped)


def _rest(ours: int) -> bytes:
    """All that comes until the program has left; on Linux the end of a terminal is EIO."""
    data = b""
    with contextlib.suppress(OSError):
        while piece := os.read(ours, 65536):
            data += piece
    return data


def states(said: str) -> list[str]:
    """What the bar's line held, one after another."""
    return [state for state in said.split("\r") if state.strip()]


def test_a_bar_counts_the_lines_and_is_gone_at_the_end(ends: tuple[int, int]) -> None:
    done = shown(ends)
    counts = [int(state.split()[1]) for state in states(done.terminal)]
    assert done.status == 0
    assert done.piped.count(b"\n") == LINES
    assert counts == sorted(counts)
    assert counts[0] == 0
    assert 2 <= counts[-1] <= LINES
    assert "\n" not in done.terminal
    assert "\x1b" not in done.terminal
    *_, wiped, end = done.terminal.split("\r")
    assert (wiped.strip(), end) == ("", "")
    assert len(wiped) >= len(states(done.terminal)[-1])


@pytest.mark.parametrize("option", [("-q",), ("--progress", "none")], ids=["-q", "--progress none"])
def test_there_is_no_bar_where_none_is_wanted(option: tuple[str, ...], ends: tuple[int, int]) -> None:
    assert shown(ends, *option).terminal == ""


def test_there_is_no_bar_in_a_pipe_unless_it_is_asked_for() -> None:
    with serve(answering) as server:
        command = ("batch", "--base-url", server.url, "-m", "m")
        assert run(*command, stdin=questions(2)).stderr == b""
        assert b"chatpipe: 0 lines" in run(*command, "--progress", "bar", stdin=questions(2)).stderr


def test_json_progress_is_whole_lines_on_a_terminal(ends: tuple[int, int]) -> None:
    done = shown(ends, "--progress", "json")
    *lines, end = done.terminal.split("\r\n")
    assert end == ""
    assert len(lines) >= 1
    assert all(line.startswith('{"lines":') and line.endswith("}") for line in lines)


def test_what_is_told_at_the_end_has_a_line_of_its_own(ends: tuple[int, int]) -> None:
    done = shown(ends, stdin=questions(3) + b"{\n")
    before, failed, told = done.terminal.partition("chatpipe: 1 of 4 lines failed")
    assert done.status == 1
    assert failed
    assert told.count("\n") == 1
    assert told.endswith("\r\n")
    assert before.endswith(" \r")  # the bar was wiped first


@pytest.mark.parametrize("env", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}, {"FORCE_COLOR": "1"}])
def test_the_bar_has_no_colour(env: dict[str, str], ends: tuple[int, int]) -> None:
    done = shown(ends, env=env)
    assert "chatpipe: 0 lines" in done.terminal
    assert done.terminal.isascii()
    assert "\x1b" not in done.terminal


def test_a_narrow_terminal_is_not_overrun(ends: tuple[int, int]) -> None:
    termios.tcsetwinsize(ends[1], (24, 20))
    done = shown(ends)
    assert len(states(done.terminal)) >= 2
    assert max(map(len, done.terminal.split("\r"))) <= 20


def test_ctrl_c_wipes_the_bar_and_says_how_to_go_on(ends: tuple[int, int]) -> None:
    ours, theirs = ends
    with serve(answering) as server:
        command = ("batch", "--base-url", server.url, "-m", "m", "-j2", "--grace", "0.1")
        with start(*command, stdin=subprocess.PIPE, stderr=theirs) as process:
            os.close(theirs)
            assert process.stdin is not None
            process.stdin.write(questions(500))
            process.stdin.close()
            server.until(lambda: len(server.requests) >= 6)
            process.send_signal(signal.SIGINT)
            said = _rest(ours).decode()
            assert process.wait(timeout=10) == -signal.SIGINT
    bar, _, told = said.rpartition("\r\n")[0].rpartition("\r")
    assert bar.rpartition("\r")[2].strip() == ""
    assert told.startswith("chatpipe: interrupted after ")
    assert told.endswith(" lines: run the same command again")


def test_texts_are_escaped_on_a_terminal_and_only_there(ends: tuple[int, int]) -> None:
    arguments = ("--lines", "-f", "text", "-q")
    done = shown(ends, *arguments, streams=("stdout",), stdin=b"q5\n")
    with serve(answering) as server:
        piped = run("batch", "--base-url", server.url, "-m", "m", *arguments, stdin=b"q5\n")
    assert (done.status, done.terminal) == (0, TAME)
    assert piped.stdout.decode() == WILD + "\n"


def test_prompts_can_be_typed_and_are_answered_one_by_one(ends: tuple[int, int]) -> None:
    ours, theirs = ends
    with start("batch", "-p", "echo", "-m", "m", "--lines", "-f", "text", stdin=theirs) as process:
        assert process.stdout is not None
        for typed in (b"first\n", b"second\n"):
            os.write(ours, typed)
            assert process.stdout.readline() == typed
        os.write(ours, b"\x04")
        assert process.wait(timeout=10) == 0
