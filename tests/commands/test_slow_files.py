"""Files that keep a command waiting, or that never end: a note, an end by a signal, an end by a limit."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from support import delays
from support.parametrize import cases
from support.process import run, sh, start
from support.servers.loopback import serve

ASK = "ask -m m --no-stdin Hello"
BATCH = "batch -m m --lines in.txt"
# Every option that names a file which is read whole, with a file of another name for the command.
OPTIONS = {
    "--key-file": (ASK, b"sk-0123456789"),
    "--header-file": (ASK, b"X-Test: yes\n"),
    "--schema": (ASK, b'{"type": "object", "properties": {}, "additionalProperties": false}'),
    "--messages": (ASK, b'[{"role": "user", "content": "Hello"}]'),
    "--system-file": (ASK, b"Be brief"),
    "--prices": (f"{BATCH} --max-cost 1", b"[m]\ninput = 1\noutput = 1\n"),
}
EACH = cases("option, command", {option: (option, command) for option, (command, _) in OPTIONS.items()})


@pytest.fixture
def inputs(folder: Path) -> Path:
    (folder / "in.txt").write_text("Hello\n")
    os.mkfifo(folder / "fifo")
    return folder


@EACH
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_fifo_that_nobody_writes_is_noted_and_a_signal_ends_the_wait(
    option: str, command: str, number: signal.Signals, inputs: Path
) -> None:
    words = (*command.split(), "--base-url", "http://127.0.0.1:1/v1", option, "fifo")
    with start(*words, cwd=inputs, env=delays.AT_ONCE) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == f"chatpipe: waiting for 'fifo': {option}\n".encode()
        process.send_signal(number)
        process.wait()
        assert process.stderr.read() == b""
    assert process.returncode == -number


@EACH
def test_fifo_that_is_written_is_read(option: str, command: str, inputs: Path) -> None:
    (inputs / "content").write_bytes(OPTIONS[option][1])
    with serve() as server:
        line = f"cat content >fifo & chatpipe {command} --base-url {server.url} {option} fifo; wait"
        done = sh(line, cwd=inputs)
    assert (done.stderr, len(server.requests)) == (b"", 1)


@cases(
    "option, status, what",
    {
        "a key": ("--key-file", 77, "has more than 64 kB: give one line of printable ASCII"),
        "headers": ("--header-file", 65, "has more than 64 kB: no server accepts that many headers"),
        "prices": ("--prices", 78, "has more than 10 MB: name a file of prices"),
    },
)
@pytest.mark.parametrize("name", ["/dev/zero", "large"])
def test_file_that_does_not_end_has_a_limit(
    option: str, status: int, what: str, name: str, inputs: Path
) -> None:
    with open("large", "wb") as file:
        file.truncate(11_000_000)
    words = (*OPTIONS[option][0].split(), "--base-url", "http://127.0.0.1:1/v1", option, name)
    done = run(*words, cwd=inputs)
    assert (done.status, done.stderr) == (status, f"chatpipe: {option}: '{name}' {what}\n".encode())


def test_descriptor_has_the_limit_and_the_note(inputs: Path) -> None:
    base = f"chatpipe {ASK} --base-url http://127.0.0.1:1/v1 --key-fd 0"
    endless = sh(f"{base} </dev/zero", cwd=inputs)
    assert endless.status == 77
    assert endless.stderr.startswith(b"chatpipe: --key-fd: descriptor 0 has more than 64 kB")
    words = (*ASK.split(), "--base-url", "http://127.0.0.1:1/v1", "--key-fd", "0")
    with start(*words, cwd=inputs, env=delays.AT_ONCE, stdin=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == b"chatpipe: waiting for descriptor 0: --key-fd\n"
