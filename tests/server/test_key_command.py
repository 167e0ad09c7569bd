"""The command of --key-command: its limits, and the end of everything that it started."""

from __future__ import annotations

import fcntl
import os
import signal
import termios
import time
from pathlib import Path

import pytest

from chatpipe.options.server import KeyWaits
from chatpipe.server.key_command import CommandStopped, read_output
from loopback import echoing, serve
from parametrize import cases
from process import start

# Long enough that a test that waits for its end fails, and of this process only.
SLEEP = f"sleep 600.{os.getpid()}"
ASK = ("ask", "-m", "m", "--no-stdin", "Hello")
BATCH = ("batch", "-m", "m", "--lines", "in.txt")


def words(script: str) -> tuple[str, ...]:
    return ("sh", "-c", script)


def pids(path: Path, count: int) -> list[int]:
    """The pids that a script has written to a file."""
    for _ in range(2_000):
        if path.exists() and len(found := path.read_text().split()) == count:
            return list(map(int, found))
        time.sleep(0.005)
    raise AssertionError("the command did not start")


def has_ended(pid: int) -> bool:
    """True if a process has ended; it may still be a zombie that its new parent has not collected."""
    for _ in range(2_000):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
            os.kill(pid, 0)
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.005)
    return False


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
    "script, reason",
    {
        "hangs": (SLEEP, "has not ended within 0.3 s"),
        "hangs after its output": (f"echo k; exec >&-; {SLEEP}", "has not ended within 0.3 s"),
        "hangs in a child": (f"(sh -c '{SLEEP}; :'; :) & wait", "has not ended within 0.3 s"),
        "ignores SIGTERM": (f"trap '' TERM; {SLEEP}; {SLEEP}", "has not ended within 0.3 s"),
        "prints without end": ("exec yes", "prints more than 64 kB"),
    },
)
def test_command_that_does_not_end_is_ended_with_its_children(script: str, reason: str, folder: Path) -> None:
    timeout_s = 0.3 if "within" in reason else 60.0
    with pytest.raises(CommandStopped, match=reason):
        read_output(words(f"echo $$ >pids; {script}"), os.environ, KeyWaits(), timeout_s)
    assert has_ended(*pids(folder / "pids", 1))
    sleeping = SLEEP.replace(" ", "\0").encode()
    end = time.monotonic() + 10  # a child that was killed is gone when somebody has taken its status
    while [path for path in Path("/proc").glob("[0-9]*/cmdline") if sleeping in content(path)]:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_run_that_stops_ends_the_command(folder: Path) -> None:
    def has_stopped() -> bool:
        return (folder / "pids").exists()

    with pytest.raises(CommandStopped, match="was ended with the run"):
        read_output(words(f"echo $$ >pids; {SLEEP}"), os.environ, KeyWaits(has_stopped=has_stopped))
    assert has_ended(*pids(folder / "pids", 1))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@cases("command", {"ask": ASK, "a run": BATCH})
def test_a_signal_ends_the_wait_and_the_command(command: tuple[str, ...], number: int, folder: Path) -> None:
    (folder / "in.txt").write_text("Hello\n")
    # As from another terminal: only chatpipe gets the signal, not its process group.
    (folder / "key").write_text(f"#!/bin/sh\n{SLEEP} &\necho $$ $! >pids\nwait\n")
    (folder / "key").chmod(0o755)
    with serve(echoing) as server:
        url = server.url
        with start(*command, "--base-url", url, "--key-command", "./key", cwd=folder) as process:
            children = pids(folder / "pids", 2)
            assert process.stderr is not None
            note = b"chatpipe: waiting for './key' to print the key: --key-command\n"
            assert process.stderr.readline() == note
            process.send_signal(number)
            process.wait(timeout=10)
            assert process.stderr.read() == b""
        assert not server.requests
    assert process.returncode == -number
    assert all(map(has_ended, children))


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
        assert process.wait(timeout=10) == 0
        assert [request.headers["authorization"] for request in server.requests] == ["Bearer sesame"]
    os.close(ours)
    os.close(theirs)
