"""Runs at a terminal: the bar, what is told beside it, and results that are shown there."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import subprocess
import tempfile
import termios
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from batch.runs import command, prompt
from batch.weather import questions, right
from support import delays
from support.parametrize import cases
from support.process import run, start
from support.servers.loopback import (
    Answer,
    Handler,
    Pause,
    Request,
    WaitFor,
    completion,
    error,
    reply,
    serve,
)

LINES = 12
A_BAR = re.compile(rb"\d+ done")
HALF_COUNTED = re.compile(rb"\b([6-9]|\d\d)(/~?\d+)? done")
SPEED = r"[\d.]+/(?:s|min)"
WILD = "a\x1b[31mb\x07c\u202ed"
TAME = "a\\x1b[31mb\\x07c\\u202ed\r\n"


class Shown(NamedTuple):
    """terminal is what it was sent, its line ends as CR LF; written is stdout, when that went to a file."""

    status: int
    terminal: str
    written: bytes


@pytest.fixture
def ends() -> Iterator[tuple[int, int]]:
    """A terminal of 80 columns: the user's end of it, and the program's."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    yield ours, theirs
    for fd in (ours, theirs):
        with contextlib.suppress(OSError):
            os.close(fd)


def handler(request: Request) -> Answer:
    match prompt(request):
        case "bad":
            return [Pause(0.06), error(400, "bad thing")]
        case "no key":
            return error(401, "who are you")
        case "q5":
            return [Pause(0.06), reply(200, completion(WILD))]
    return [Pause(0.06), right(request)]


def last_after(event: threading.Event) -> Handler:
    """The last answer comes when the event is set."""

    def answer(request: Request) -> Answer:
        match prompt(request):
            case "q11":
                return [WaitFor(event), right(request)]
            case "no key":
                return [WaitFor(event), error(401, "who are you")]
        return handler(request)

    return answer


def shown(
    ends: tuple[int, int],
    *arguments: str,
    name: str = "batch",
    streams: tuple[str, ...] = ("stderr",),
    stdin: bytes | None = None,
    env: Mapping[str, str] | None = None,
    stdout: int | None = None,
    until: re.Pattern[bytes] | None = None,
) -> Shown:
    """A run of some lines, two at a time, with these streams at the terminal, else stdout in a file.

    until is what the terminal must show before the last answer comes.
    """
    ours, theirs = ends
    is_shown = threading.Event()
    with tempfile.TemporaryFile() as file, serve(last_after(is_shown) if until else handler) as server:
        on_terminal: dict[str, Any] = {"stdout": stdout or file, **dict.fromkeys(streams, theirs)}
        whole = command(server, "-j2", *arguments, name=name)
        with start(*whole, env=env, stdin=subprocess.PIPE, **on_terminal) as process:
            os.close(theirs)
            process.send(questions(LINES) if stdin is None else stdin)
            process.hang_up()
            said = _rest(ours, until, is_shown)
            status = process.wait()
        file.seek(0)
        return Shown(status, said.decode(), file.read())


def _rest(
    ours: int, until: re.Pattern[bytes] | None = None, is_shown: threading.Event | None = None
) -> bytes:
    """All that comes until the program has left; on Linux the end of a terminal is EIO.

    is_shown is set when until has come.
    """
    data = b""
    with contextlib.suppress(OSError):
        while piece := os.read(ours, 65536):
            data += piece
            if until and is_shown and until.search(data):
                is_shown.set()
    return data


def states(said: str) -> list[str]:
    """The states of the bar, in order."""
    return [state for state in re.split(r"[\r\n]+", said) if re.search(r"\d done|\d/~?\d", state)]


def screen(said: str) -> list[str]:
    """The lines that are seen at the end, as a terminal makes them of returns and line feeds."""
    lines = []
    for line in said.split("\r\n"):
        seen = ""
        for written in line.split("\r"):
            seen = written + seen[len(written) :]
        lines.append(seen.rstrip())
    assert lines.pop() == ""
    return lines


def test_a_bar_counts_the_lines_and_is_gone_at_the_end(ends: tuple[int, int]) -> None:
    done = shown(ends, until=HALF_COUNTED)
    counts = [int(state.split()[1]) for state in states(done.terminal)]
    end = f"chatpipe: {LINES} answers in "
    assert done.status == 0
    assert done.written.count(b"\n") == LINES
    assert counts == sorted(counts)
    assert 2 <= counts[-1] <= LINES
    assert "\x1b" not in done.terminal
    *_, wiped, last, line_end = done.terminal.split("\r")
    assert (wiped.strip(), line_end) == ("", "\n")
    assert last.startswith(end)
    assert len(wiped) >= len(states(done.terminal)[-1])


def test_input_from_a_pipe_has_no_percentage(ends: tuple[int, int]) -> None:
    form = rf"chatpipe: \d+ done(, {SPEED}, \d+ tokens)?, \d\d:\d\d *"
    assert all(re.fullmatch(form, state) for state in states(shown(ends, until=HALF_COUNTED).terminal))


@cases("blank", {"a line each": b"", "blank lines between": b"\n"})
def test_the_bar_shows_the_share_of_a_file(blank: bytes, ends: tuple[int, int], tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(questions(LINES).replace(b"\n", b"\n" + blank))
    done = shown(ends, str(tmp_path / "in"), until=HALF_COUNTED)
    begun = [state for state in states(done.terminal) if "| 0/" not in state]
    form = re.compile(rf"chatpipe: +(\d+)%\|[# ]+\| (\d+)/~?\d+ done, {SPEED}, \d+ tokens, \d\d:\d\d left *")
    shares = [(int(found[1]), int(found[2])) for found in map(form.fullmatch, begun) if found]
    assert len(shares) == len(begun) >= 1
    off = 4 if blank else 1  # the last blank line is read after the last answer but one
    assert all(abs(share - 100 * count / LINES) <= off for share, count in shares)


def test_failed_lines_are_counted(ends: tuple[int, int]) -> None:
    done = shown(ends, stdin=b'"bad"\n' * 2 + questions(LINES), until=HALF_COUNTED)
    assert ", 2 failed, " in states(done.terminal)[-1]


@cases(
    "arguments, given",
    {
        "-q": (("-q",), {}),
        "--progress none": (("--progress", "none"), {}),
        "-q wins over --progress bar": (("-q", "--progress", "bar"), {}),
    },
)
def test_nothing_is_shown(arguments: tuple[str, ...], given: dict[str, Any], ends: tuple[int, int]) -> None:
    assert shown(ends, *arguments, **given).terminal == ""


@cases(
    "given",
    {
        "a run that is over at once": {"stdin": questions(1), "env": delays.NO_BAR},
        "a dumb terminal": {"env": {"TERM": "dumb"}},
    },
)
def test_there_is_a_summary_and_no_bar(given: dict[str, Any], ends: tuple[int, int]) -> None:
    form = rf"chatpipe: \d+ answers? in \d+\.\d s( \({SPEED}\))?, \d+ tokens\r\n"
    assert re.fullmatch(form, shown(ends, **given).terminal)


def test_the_summary_names_the_file_and_what_was_reused(ends: tuple[int, int], tmp_path: Path) -> None:
    (tmp_path / "prices").write_text('currency = "EUR"\n[m]\ninput = 1000\noutput = 1000\n')
    out = str(tmp_path / "out")
    with serve(handler) as server:
        assert run(*command(server, "-o", out, "--keep-journal"), stdin=questions(5)).status == 0
    done = shown(ends, "-m", "m", "-o", out, "--prices", str(tmp_path / "prices"), stdin=questions(9))
    assert re.search(rf"chatpipe: 9 answers in .* tokens, 0\.\d+ EUR, 5 reused -> {out}\r\n$", done.terminal)


def test_failures_are_shown_by_reason_with_the_first_line_of_each(ends: tuple[int, int]) -> None:
    done = shown(ends, stdin=b'"bad"\n' * 2 + questions(LINES) + b"{\n")
    seen = screen(done.terminal)[-4:]
    assert [line.partition(" in ")[0] for line in seen][2] == f"chatpipe: {LINES} answers"
    assert seen[0].startswith("chatpipe: <stdin>:1: 400 from ")
    assert seen[0].endswith(": bad thing (and 1 more line)")
    assert seen[1].startswith(f"chatpipe: <stdin>:{LINES + 3}: not JSON")
    assert "failed" not in seen[2]  # the last line says how many
    assert seen[3].startswith(f"chatpipe: 3 of {LINES + 3} lines failed: 2 http_400, 1 input: ")


def test_closing_line_counts_failures_if_the_last_line_does_not(ends: tuple[int, int]) -> None:
    budget = ("--max-total-tokens", "60", "--max-tokens", "9")
    *_, closing, last = screen(shown(ends, "-j1", *budget, stdin=b'"bad"\n' + questions(LINES)).terminal)
    assert re.match(r"chatpipe: \d answers in .*, 1 failed, ", closing)
    assert last.startswith("chatpipe: the budget of 60 tokens is reached: ")


def test_a_pipe_has_neither_bar_nor_summary(ends: tuple[int, int]) -> None:
    """The program that reads it may write to the terminal, too."""
    assert shown(ends, streams=("stderr",), stdout=subprocess.PIPE).terminal == ""


def test_a_dumb_terminal_has_the_bar_that_is_asked_for(ends: tuple[int, int]) -> None:
    assert states(shown(ends, "--progress", "bar", env={"TERM": "dumb"}).terminal)


def test_there_is_no_bar_in_a_pipe_unless_it_is_asked_for() -> None:
    with serve(handler) as server:
        arguments = command(server)
        assert run(*arguments, stdin=questions(2)).stderr == b""
        began = time.monotonic()
        asked = run(*arguments, "-j1", "--progress", "bar", stdin=questions(LINES)).stderr
        took_s = time.monotonic() - began
    assert re.match(rb"\rchatpipe: \d+ done", asked)
    assert asked.count(b" done") <= 1 + took_s  # one a second


CSV = b"q\n" + b"".join(b"q%d\n" % number for number in range(12)) + b"bad\n" + b"q\n" * 6


@cases(
    "format, notice",
    {
        "text": ("text", "chatpipe: <stdin>:14: 400 from "),
        "json": ("json", '{"error":{"status":65,"type":"bad_input","message":"400 from '),
    },
)
def test_a_notice_during_the_run_has_a_line_of_its_own(
    format: str, notice: str, ends: tuple[int, int]
) -> None:
    """And the bar comes again after it."""
    arguments = ("{{q}}", "--csv", "--error-format", format)
    done = shown(ends, *arguments, name="map", stdin=CSV)
    seen = screen(done.terminal)
    assert done.status == 1
    assert len(seen) == 3
    assert seen[0].startswith(notice)
    before, _, after = done.terminal.partition(notice)
    assert states(before)
    assert states(after)


def test_details_are_not_glued_to_the_bar(ends: tuple[int, int]) -> None:
    done = shown(ends, "-v")
    assert states(done.terminal)
    seen = screen(done.terminal)
    assert len(seen) >= LINES
    assert all(line.startswith("chatpipe: ") for line in seen)
    assert " done" not in "".join(seen)


EXPECTED = [f"answer to q{number}" if number != 5 else TAME.rstrip() for number in range(LINES)]


def test_no_bar_where_results_are_shown(ends: tuple[int, int]) -> None:
    done = shown(ends, "-f", "text", "-k", streams=("stdout", "stderr"))
    assert done.terminal.split("\r\n") == [*EXPECTED, ""]


def test_a_bar_where_results_go_to_a_file(ends: tuple[int, int], tmp_path: Path) -> None:
    done = shown(ends, "-o", str(tmp_path / "out"), streams=("stdout", "stderr"))
    assert states(done.terminal)
    assert (tmp_path / "out").read_bytes().count(b"\n") == LINES


@cases(
    "output",
    {
        "-o /dev/stdout": ("-o", "/dev/stdout"),
        "-o /dev/stderr": ("-o", "/dev/stderr"),
        "--errors": ("--errors", "/dev/stderr", "-o", "out"),
    },
)
def test_a_device_that_is_the_terminal_has_no_bar(
    output: tuple[str, ...], ends: tuple[int, int], tmp_path: Path
) -> None:
    output = tuple(str(tmp_path / each) if each == "out" else each for each in output)
    done = shown(ends, *output, streams=("stdout", "stderr"))
    assert done.status == 0
    assert states(done.terminal) == []


def test_a_bar_that_is_asked_for_makes_room_for_results(ends: tuple[int, int]) -> None:
    done = shown(ends, "-f", "text", "-k", "--progress", "bar", streams=("stdout", "stderr"))
    assert states(done.terminal)
    *results, summary = screen(done.terminal)
    assert results == EXPECTED
    assert summary.startswith(f"chatpipe: {LINES} answers in ")


def test_a_terminal_that_is_typed_on_has_no_bar(ends: tuple[int, int]) -> None:
    ours, theirs = ends
    with serve(handler) as server:
        arguments = command(server, "-j1", "--lines")
        with start(*arguments, stdin=theirs, stderr=theirs) as process:
            os.close(theirs)
            os.write(ours, b"q\n" * 6 + b"\x04")
            assert b" done" not in _rest(ours)
            assert process.wait() == 0


def test_json_progress_is_whole_lines_on_a_terminal(ends: tuple[int, int]) -> None:
    done = shown(ends, "--progress", "json")
    *lines, end = done.terminal.split("\r\n")
    assert end == ""
    assert len(lines) >= 1
    assert all(line.startswith('{"lines":') and line.endswith("}") for line in lines)


def test_a_notice_at_the_end_has_a_line_of_its_own(ends: tuple[int, int]) -> None:
    done = shown(ends, stdin=questions(LINES) + b"{\n")
    before, failed, console = done.terminal.partition("chatpipe: <stdin>:13: not JSON")
    assert done.status == 1
    assert failed
    assert re.search(r"(\r\n| \r)chatpipe: 12 answers in", console)  # a bar between them was wiped
    assert re.search(r"\r\nchatpipe: 1 of 13 lines failed", console)
    assert console.count("\n") == 3
    assert console.endswith("\r\n")
    assert before.endswith(" \r")  # the bar was wiped first


def test_a_run_that_stops_wipes_the_bar(ends: tuple[int, int]) -> None:
    done = shown(ends, stdin=b'"no key"\n', until=A_BAR)
    assert states(done.terminal)
    for console in screen(done.terminal):
        assert console.startswith("chatpipe: ")
        assert "who are you" in console


def test_a_run_whose_reader_leaves_wipes_the_bar(ends: tuple[int, int]) -> None:
    """And ends as SIGPIPE ends a program, without a word."""
    ours, theirs = ends
    with serve(handler) as server:
        arguments = command(server, "-j1", "--progress", "bar")
        with start(*arguments, stdin=subprocess.PIPE, stderr=theirs) as process:
            os.close(theirs)
            assert process.stdout is not None
            process.send(questions(LINES))
            server.until(lambda: len(server.requests) >= LINES - 1)
            process.stdout.close()
            process.send(questions(LINES))
            process.hang_up()
            said = _rest(ours).decode()
            assert process.wait() == -signal.SIGPIPE
    assert states(said)
    assert screen(said + "\r\n") == [""]


@pytest.mark.parametrize("env", [{}, {"NO_COLOR": "1"}, {"TERM": "xterm"}, {"FORCE_COLOR": "1"}])
def test_the_bar_has_no_colour(env: dict[str, str], ends: tuple[int, int]) -> None:
    done = shown(ends, env=env)
    assert states(done.terminal)
    assert done.terminal.isascii()
    assert "\x1b" not in done.terminal


def test_a_narrow_terminal_is_not_overrun(ends: tuple[int, int]) -> None:
    termios.tcsetwinsize(ends[1], (24, 20))
    done = shown(ends)
    assert states(done.terminal)
    assert max(map(len, states(done.terminal))) <= 17  # `^C` fits behind it, and none is in the last column


@cases(
    "env, width",
    {
        "80": ({}, 77),
        "COLUMNS": ({"COLUMNS": "60"}, 57),
        "no number": ({"COLUMNS": "wide"}, 77),
        "zero": ({"COLUMNS": "0"}, 77),
        "more than any terminal has": ({"COLUMNS": "9" * 5000}, 9996),
    },
)
def test_a_terminal_without_a_size_is_given_one(
    env: dict[str, str], width: int, ends: tuple[int, int], tmp_path: Path
) -> None:
    termios.tcsetwinsize(ends[1], (0, 0))
    (tmp_path / "in").write_bytes(questions(LINES))
    done = shown(ends, str(tmp_path / "in"), env=env)
    assert {len(state) for state in states(done.terminal)} == {width}


def test_ctrl_c_wipes_the_bar_and_says_how_to_go_on(ends: tuple[int, int]) -> None:
    ours, theirs = ends
    with serve(handler) as server:
        arguments = command(server, "-j2", "--grace", "0.1")
        with start(*arguments, stdin=subprocess.PIPE, stderr=theirs) as process:
            os.close(theirs)
            process.send(questions(500))
            process.hang_up()
            server.until(lambda: len(server.requests) >= 6)
            process.send_signal(signal.SIGINT)
            said = _rest(ours).decode()
            assert process.wait() == -signal.SIGINT
    bar, _, console = said.rpartition("\r\n")[0].rpartition("\r")
    assert bar.rpartition("\r")[2].strip() == ""
    assert console.startswith("chatpipe: interrupted after ")
    assert console.endswith(" lines: run it again with --reuse FILE, where FILE has these results")


def test_texts_are_escaped_on_a_terminal_and_only_there(ends: tuple[int, int]) -> None:
    arguments = ("--lines", "-f", "text", "-q")
    done = shown(ends, *arguments, streams=("stdout",), stdin=b"q5\n")
    with serve(handler) as server:
        piped = run(*command(server, *arguments), stdin=b"q5\n")
    assert (done.status, done.terminal) == (0, TAME)
    assert piped.stdout.decode() == WILD + "\n"


def test_prompts_can_be_typed_and_are_answered_one_by_one(ends: tuple[int, int]) -> None:
    ours, theirs = ends
    with start("batch", "-p", "echo", "-m", "m", "--lines", "-f", "text", stdin=theirs) as process:
        for typed in (b"first\n", b"second\n"):
            os.write(ours, typed)
            assert process.line() == typed
        os.write(ours, b"\x04")
        assert process.wait() == 0
