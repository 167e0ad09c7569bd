"""Standard output and standard error in all their states: read, full, closed, gone; and nothing held back."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from support import strike
from support.parametrize import cases
from support.pipes import pipe
from support.process import Process, begun, run, sh, start
from support.programs import program
from support.servers.loopback import Server, Step, WaitFor, chunk, completion, event, event_stream, serve

PIECES = ["one ", "two ", "three"]


def gated() -> tuple[Server, list[threading.Event]]:
    """An event stream whose every piece waits until the test lets it go."""
    gates = [threading.Event() for _ in PIECES]

    def steps() -> Iterator[Step]:
        yield from event_stream([event(chunk({"role": "assistant", "content": ""}))], end=False)
        for gate, piece in zip(gates, PIECES, strict=True):
            yield WaitFor(gate)
            yield from event_stream([event(chunk(piece))], end=False)[1:]
        yield from event_stream([event(chunk(finish_reason="stop")), event(b"[DONE]")])[1:]

    return serve(lambda _: steps()), gates


@cases(
    ("format", "expected"),
    {
        "text": ("text", [piece.encode() for piece in PIECES]),
        "chunks": ("chunks", [b'"one "', b'"two "', b'"three"']),
        "sse": ("sse", [b'"one "', b'"two "', b'"three"']),
    },
)
def test_each_piece_is_out_before_the_next_is_sent(format: str, expected: list[bytes]) -> None:
    server, gates = gated()
    with server, start("ask", "--base-url", server.url, "-m", "m", "-f", format, "x", bufsize=0) as process:
        assert process.stdout is not None
        seen = b""
        for gate, piece in zip(gates, expected, strict=True):
            assert piece not in seen
            gate.set()
            while piece not in seen:
                data = process.stdout.read(65536)
                assert data, "the output ended early"
                seen += data
        assert process.wait() == 0


def test_a_file_grows_only_when_it_is_whole(tmp_path: Path) -> None:
    server, gates = gated()
    arguments = ("-m", "m", "-o", "out.txt", "x")
    with server, start("ask", "--base-url", server.url, *arguments, cwd=tmp_path) as process:
        gates[0].set()
        server.until(lambda: begun(tmp_path))
        assert not (tmp_path / "out.txt").exists()
        gates[1].set()
        gates[2].set()
        assert process.wait() == 0
    assert (tmp_path / "out.txt").read_text() == "one two three\n"


def test_a_reader_that_leaves_ends_it_quietly() -> None:
    server, gates = gated()
    with server, start("ask", "--base-url", server.url, "-m", "m", "x", bufsize=0) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        gates[0].set()
        assert process.stdout.read(1) == b"o"
        process.stdout.close()
        gates[1].set()
        assert process.wait() == -signal.SIGPIPE
        assert process.stderr.read() == b""
        server.until(lambda: server.disconnects == 1)


@pytest.fixture
def broken_pipe() -> Iterator[int]:
    """The writing end of a pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


@cases(
    "arguments",
    {
        "ask": ("ask", "-p", "echo", "x"),
        "build": ("build", "-m", "m", "x"),
        "help": ("--help",),
        "help of a command": ("ask", "--help"),
        "version": ("--version",),
        "completion": ("completion", "bash"),
    },
)
def test_a_pipe_without_a_reader_is_the_quiet_end(arguments: tuple[str, ...], broken_pipe: int) -> None:
    with start(*arguments, stdout=broken_pipe) as process:
        _, stderr = process.communicate()
    assert (process.returncode, stderr) == (-signal.SIGPIPE, b"")


@cases(
    ("line", "arguments"),
    {
        "check": ("{}", ("check",)),
        "show": (orjson.dumps(completion("again")).decode(), ("show",)),
    },
)
def test_endless_input_is_worked_on_as_it_comes(line: str, arguments: tuple[str, ...]) -> None:
    with (
        Process([program("yes"), line], stdout=subprocess.PIPE) as source,
        start(*arguments, stdin=source.stdout, bufsize=0) as process,
    ):
        assert source.stdout is not None
        assert process.stdout is not None
        source.stdout.close()
        assert process.stdout.read(1)
        process.stdout.close()
        assert process.wait() == -signal.SIGPIPE
        assert source.wait() == -signal.SIGPIPE


@cases(
    "arguments",
    {
        "batch": ("batch", "-p", "echo", "in"),
        "batch with a journal": ("batch", "-p", "echo", "in", "--journal", "j"),
        "map": ("map", "-p", "echo", "{{prompt}}", "in"),
        "requests": ("batch", "-m", "m", "-f", "requests", "in"),
    },
)
@pytest.mark.skipif(not hasattr(fcntl, "F_GETPIPE_SZ"), reason="the size of a pipe is not known here")
def test_the_second_signal_ends_a_run_whose_output_nobody_reads(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    """The first waits for what is being written, as nothing that came may be lost."""
    with pipe() as (reading, writing):
        size = fcntl.fcntl(writing, fcntl.F_GETPIPE_SZ)
        (tmp_path / "in").write_bytes(orjson.dumps({"prompt": "x" * 2 * size}) + b"\n")
        with start(*arguments, stdout=writing, cwd=tmp_path, env=strike.APART) as process:
            while unread(reading) < size:  # the rest of the record cannot be written
                assert process.poll() is None
                time.sleep(0.005)
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGHUP)
            _, stderr = process.communicate()
    assert process.returncode in (-signal.SIGTERM, -signal.SIGHUP)
    assert stderr.count(b"\n") <= 1


def unread(reading: int) -> int:
    """The number of bytes in a pipe."""
    data = fcntl.ioctl(reading, termios.FIONREAD, b"\0" * 4)
    return int.from_bytes(data, sys.byteorder)


# Full, closed

WRITING = {
    "ask": "ask --base-url $URL -m m x",
    "build": "build -m m x",
    "check": "check bad.json",
    "show": "show answer.json",
    "map": "map -p echo {{line}} --lines bad.json",
    "help": "--help",
    "help of a command": "ask --help",
    "version": "--version",
    "completion": "completion bash",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Something to check and something to show."""
    (tmp_path / "bad.json").write_text("{}")
    (tmp_path / "answer.json").write_bytes(orjson.dumps(completion("x")))
    return tmp_path


@cases("command", WRITING)
def test_a_full_disk_is_74(command: str, folder: Path) -> None:
    with serve() as server:
        done = sh(f"chatpipe {command} > /dev/full", env={"URL": server.url}, cwd=folder)
    assert done.status == 74
    lost = b": 1 answer is lost" if command.startswith("map") else b""
    assert done.stderr.endswith(b"no space left on device%b: free some space\n" % lost)
    assert done.stderr.count(b"\n") == 1


@cases("command", WRITING)
def test_a_closed_stdout_is_74_before_anything_is_sent(command: str, folder: Path) -> None:
    with serve() as server:
        done = sh(f"chatpipe {command} >&-", env={"URL": server.url}, cwd=folder)
        assert server.requests == []
    assert done.status == 74
    assert done.stderr == b"chatpipe: stdout is closed: redirect it\n"


@pytest.mark.parametrize(("message", "status"), [('{"role": "user", "content": "x"}', 0), ("{}", 74)])
def test_a_check_without_problems_needs_no_stdout(message: str, status: int) -> None:
    body = f'{{"model": "m", "messages": [{message}]}}'
    done = sh(f"echo '{body}' | chatpipe check >&-")
    assert (done.status, done.stderr) == (
        status,
        b"chatpipe: stdout is closed: redirect it\n" if status else b"",
    )


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1"])
def test_a_closed_stdout_by_its_name_is_74_too(name: str) -> None:
    with serve() as server:
        done = sh(f"chatpipe ask --base-url {server.url} -m m -o {name} x >&-")
        assert server.requests == []
    assert done.status == 74


def test_a_closed_stdout_is_nothing_to_a_file(tmp_path: Path) -> None:
    """The first socket would get descriptor 1 if nothing held its place: the answer may not go there."""
    with serve() as server:
        done = sh(f"chatpipe ask --base-url {server.url} -m m -v -o out.txt Hello <&- >&- 2>&-", cwd=tmp_path)
        (request,) = server.requests
    assert done == (0, b"", b"")
    assert (tmp_path / "out.txt").read_text() == "Hello\n"
    assert request.json()["messages"] == [{"role": "user", "content": "Hello"}]


@pytest.mark.parametrize("stderr", ["2>&-", "2>/dev/full"])
@cases(
    ("arguments", "status", "stdout"),
    {
        "an answer": ("--usage -v Hello", 0, b"Hello\n"),
        "an answer that is not good": ("--usage --max-tokens 1 Hello there", 3, b"Hello\n"),
        "a wrong option": ("--nope", 2, b""),
        "a missing file": ("-r nope.json", 66, b""),
    },
)
def test_a_stderr_that_takes_nothing_changes_no_status(
    arguments: str, status: int, stdout: bytes, stderr: str
) -> None:
    with serve() as server:
        done = sh(f"chatpipe ask --base-url {server.url} -m m {arguments} {stderr}")
    assert done == (status, stdout, b"")


def test_everything_closed_is_74() -> None:
    with serve() as server:
        done = sh(f"chatpipe ask --base-url {server.url} -m m Hello <&- >&- 2>&-")
        assert server.requests == []
    assert done == (74, b"", b"")


# With other programs


def test_with_jq_paste_and_split(tmp_path: Path) -> None:
    """One JSON value is one line, whatever is in the text: paste keeps its columns, jq gets the text back."""
    jq, paste = program("jq"), program("paste")
    done = sh(
        f"""printf 'a\\nb' | chatpipe ask -p echo -f string > one
        chatpipe ask -p echo -f string 'tab	and "quote"' > two
        {paste} one two
        {jq} -r . one""",
        cwd=tmp_path,
    )
    assert done == (0, b'"a\\nb"\t"tab\\tand \\"quote\\""\na\nb\n', b"")


def test_with_xargs_in_parallel() -> None:
    """Records of several processes on one pipe do not mix: each is a single write."""
    done = sh(
        f"seq 6 | {program('xargs')} -P 3 -I % chatpipe ask -p echo -f string --no-stdin 'number %' | sort"
    )
    assert done.stdout.decode().splitlines() == [f'"number {n}"' for n in range(1, 7)]


@cases(
    ("options", "expected"),
    {
        "text": (("--no-stream",), [b"one two\n"]),
        "text with a NUL": (("--no-stream", "-0"), [b"one two\0"]),
        "string": (("-f", "string"), [b'"one two"\n']),
        "no records": (("-f", "tool-calls", "--allow", "empty"), []),
        "two choices": (("-f", "string", "-n", "2"), [b'"one two"\n"one two"\n']),
        "streamed": ((), [b"one", b" two\n"]),
        "streamed, with usage": (("--usage",), [b"one", b" two\n"]),
        "streamed, with a NUL": (("-0",), [b"one", b" two\0"]),
        "streamed, two choices": (("-n", "2"), [b"one", b" two\none two\n"]),
    },
)
def test_the_end_of_an_answer_is_no_write_of_its_own(options: tuple[str, ...], expected: list[bytes]) -> None:
    """A datagram is a write: whatever else goes to the same place cannot come in between."""
    reading, writing = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with (
        reading,
        writing,
        start("ask", "-p", "echo", *options, "one two", stdout=writing.fileno()) as process,
    ):
        assert process.wait() == 0
        reading.setblocking(False)
        datagrams = []
        with contextlib.suppress(BlockingIOError):
            while True:
                datagrams.append(reading.recv(65536))
    assert datagrams == expected


def test_a_loop_keeps_its_input_with_no_stdin() -> None:
    loop = "printf 'one\ntwo\n' | while read -r word; do chatpipe ask -p echo --no-stdin $word; done"
    assert sh(loop).stdout == b"one\ntwo\n"


def test_null_ends_go_through_xargs() -> None:
    done = sh(f"chatpipe ask -p echo -0 -n 2 'two\nlines' | {program('xargs')} -0 -I @ printf '<@>'")
    assert done.stdout == b"<two\nlines><two\nlines>"


def test_in_a_pipe_every_byte_passes() -> None:
    """Only a terminal gets control characters escaped."""
    done = run("ask", "-p", "echo", "\x1b[31mred\x07\u202e\x85")
    assert done.stdout == "\x1b[31mred\x07\u202e\x85\n".encode()
