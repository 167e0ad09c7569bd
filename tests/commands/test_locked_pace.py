"""A pace file that another process has locked for long: signals and the deadline end the wait."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import delays
from support.parametrize import cases
from support.process import run, start
from support.servers.loopback import echoing, serve
from support.speed import at_any_speed

ASK = ("ask", "-m", "m", "--no-stdin", "--pace-file", "pace", "Hello")
BATCH = ("batch", "-m", "m", "--lines", "--pace-file", "pace", "in.txt")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder whose pace file is locked, as by a process that was stopped."""
    (tmp_path / "in.txt").write_text("Hello\nWorld\n")
    fd = os.open(tmp_path / "pace", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    yield tmp_path
    os.close(fd)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@cases("command", {"ask": ASK, "a run": BATCH, "places": (*BATCH, "--pace-jobs", "1")})
def test_a_signal_ends_the_wait(command: tuple[str, ...], number: int, folder: Path) -> None:
    with (
        serve(echoing) as server,
        start(*command, "--base-url", server.url, cwd=folder, env=delays.AT_ONCE) as process,
    ):
        assert process.stderr is not None
        assert (
            process.stderr.readline() == b"chatpipe: waiting for 'pace', which another process has locked\n"
        )
        process.send_signal(number)
        process.wait()
        assert not server.requests
    assert process.returncode == -number


@cases("command", {"ask": ASK, "a run": BATCH, "places": (*ASK, "--pace-jobs", "1")})
@at_any_speed
def test_the_deadline_ends_the_wait(factor: int, command: tuple[str, ...], folder: Path) -> None:
    limit = f"{0.5 * factor:g}"
    with serve(echoing) as server:
        done = run(*command, "--base-url", f"{server.url}", "--deadline", limit, cwd=folder)
    assert done.status == 75
    said = f"pace: another process has had it locked for {limit} s: end that process"
    assert said in done.stderr.decode()
