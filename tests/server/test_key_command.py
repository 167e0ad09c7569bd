"""The command of --key-command: its limits, and the end of everything that it started."""

from __future__ import annotations

import fcntl
import os
import signal
import termios
from pathlib import Path

import pytest

from chatpipe.options.server import KeyWaits
from chatpipe.server.key_command import CommandStopped, read_output
from support import delays
from support.parametrize import cases
from support.patience import until
from support.process import has_ended, start
from support.servers.loopback import echoing, serve
from support.speed import at_any_speed

# Long enough that a test that waits for its end fails, and of this process only.
SLEEP = f"sleep 600.{os.getpid()}"
ASK = ("ask", "-m", "m", "--no-stdin", "Hello")
BATCH = ("batch", "-m", "m", "--lines", "in.txt")


def words(script: str) -> tuple[str, ...]:
    return ("sh", "-c", script)


def pids(path: Path, count: int) -> list[int]:
    """The pids that a script has written to a file."""
    until(lambda: path.exists() and len(path.read_text().split()) == count, "the start of the command")
    return list(map(int, path.read_text().split()))


def content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@cases(
    "script, expected",
    {
        "plain": ("echo k", (b"k\n", 0)),
        "in pieces": ("echo a; sleep 0.1; echo b", (b"a\nb\n", 0)),
        "a status": ("echo k; exit 3", (b"k\n", 3)),
        "a signal": ("kill -9 $$", (b"", -9)),
        "an agent keeps its output open": (f"{SLEEP} & echo $! >pids; echo k", (b"k\n", 0)),
        "ends after its output": ("echo k; exec >&-; sleep 0.2; exit 4", (b"k\n", 4)),
        "as much as a key may have": ("head -c 65536 /dev/zero | tr '\\0' k", (b"k" * 65536, 0)),
    },
)
def test_output_of_a_command_that_ends(script: str, expected: tuple[bytes, int], folder: Path) -> None:
    assert read_output(words(script), os.environ, KeyWaits()) == expected
    if (folder / "pids").exists():
        os.kill(pids(folder / "pids", 1)[0], signal.SIGKILL)


@cases(
    "script",
    {
        "hangs": SLEEP,
        "hangs after its output": f"echo k; exec >&-; {SLEEP}",
        "hangs in a child": f"(sh -c '{SLEEP}; :'; :) & wait",
        "ignores SIGTERM": f"trap '' TERM; {SLEEP}; {SLEEP}",
    },
)
@at_any_speed
def test_command_that_does_not_end_is_ended_with_its_children(factor: int, script: str, folder: Path) -> None:
    (folder / "pids").unlink(missing_ok=True)
    with pytest.raises(CommandStopped, match=f"has not ended within {factor} s"):
        read_output(words(f"echo $$ >pids; {script}"), os.environ, KeyWaits(), float(factor))
    assert_has_ended(folder)


def test_command_that_prints_without_end_is_ended(folder: Path) -> None:
    with pytest.raises(CommandStopped, match="prints more than 64 kB"):
        read_output(words("echo $$ >pids; exec yes"), os.environ, KeyWaits())
    assert_has_ended(folder)


def assert_has_ended(folder: Path) -> None:
    """The command whose number is in pids, with all that sleeps for it."""
    (number,) = pids(folder / "pids", 1)
    until(lambda: has_ended(number))
    sleeping = SLEEP.replace(" ", "\0").encode()
    # A child that was killed is gone when somebody has taken its status.
    until(lambda: not any(sleeping in content(path) for path in Path("/proc").glob("[0-9]*/cmdline")))


def test_run_that_stops_ends_the_command(folder: Path) -> None:
    def has_stopped() -> bool:
        return (folder / "pids").exists()

    with pytest.raises(CommandStopped, match="was ended with the run"):
        read_output(words(f"echo $$ >pids; {SLEEP}"), os.environ, KeyWaits(has_stopped=has_stopped))
    (number,) = pids(folder / "pids", 1)
    until(lambda: has_ended(number))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@cases("command", {"ask": ASK, "a run": BATCH})
def test_a_signal_ends_the_wait_and_the_command(command: tuple[str, ...], number: int, folder: Path) -> None:
    (folder / "in.txt").write_text("Hello\n")
    # As from another terminal: only chatpipe gets the signal, not its process group.
    (folder / "key").write_text(f"#!/bin/sh\n{SLEEP} &\necho $$ $! >pids\nwait\n")
    (folder / "key").chmod(0o755)
    with serve(echoing) as server:
        whole = (*command, "--base-url", server.url, "--key-command", "./key")
        with start(*whole, cwd=folder, env=delays.AT_ONCE) as process:
            children = pids(folder / "pids", 2)
            assert process.stderr is not None
            note = b"chatpipe: waiting for './key' to print the key: --key-command\n"
            assert process.stderr.readline() == note
            process.send_signal(number)
            process.wait()
            assert process.stderr.read() == b""
        assert not server.requests
    assert process.returncode == -number
    until(lambda: all(map(has_ended, children)))


def test_command_may_ask_on_the_terminal(folder: Path) -> None:
    (folder / "key").write_text("#!/bin/sh\necho 'Passphrase?' >/dev/tty\nhead -n 1 </dev/tty\n")
    (folder / "key").chmod(0o755)
    ours, theirs = os.openpty()
    with (
        serve(echoing) as server,
        start(
            *ASK,
            *("--base-url", f"{server.url}", "--key-command", "./key"),
            cwd=folder,
            stdin=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        ) as process,
    ):
        assert b"Passphrase?" in os.read(ours, 100)
        os.write(ours, b"sesame\n")
        assert process.wait() == 0
        assert [request.headers["authorization"] for request in server.requests] == ["Bearer sesame"]
    os.close(ours)
    os.close(theirs)
