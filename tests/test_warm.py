"""A fork of the warm process is what a new interpreter is: descriptors, signals, folder and end."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import pytest

from serve.client import serving
from support.parametrize import cases
from support.patience import PATIENCE_S
from support.pipes import pipe
from support.process import sh, start

SERVER = "chatpipe serve -q >u & until test -s u; do sleep 0.01; done"
ASK = "chatpipe ask -p echo"
WAYS = pytest.mark.parametrize("is_new", [False, True], ids=["fork", "interpreter"])


@WAYS
@cases(
    ("command", "stdout", "stderr"),
    {
        "a pipe": ("echo hi | chatpipe ask -p echo | cat", b"hi\n", b""),
        "a status": ("chatpipe ask -p echo hi; echo $?", b"hi\n0\n", b""),
        "another status": ("chatpipe ask -p echo --wrong 2>/dev/null; echo $?", b"2\n", b""),
        "stdin is closed": ("chatpipe ask -p echo hi <&-", b"hi\n", b""),
        "stdout is closed": (
            "chatpipe ask -p echo hi >&-",
            b"",
            b"chatpipe: stdout is closed: redirect it\n",
        ),
        "stderr is closed": ("chatpipe ask -p echo hi 2>&-", b"hi\n", b""),
        "a descriptor": ("chatpipe ask -p echo --user-file /dev/fd/7 7<f", b"text of f\n", b""),
        "a folder": ("mkdir d; cd d; chatpipe ask -p echo --user-file ../f", b"text of f\n", b""),
        "a mask": ("umask 077; chatpipe ask -p echo -o o hi; ls -l o | cut -c1-10", b"-rw-------\n", b""),
        "a variable": ("CHATPIPE_MODEL=x chatpipe build hi | cut -c1-12", b'{"model":"x"\n', b""),
        "exec": ("exec chatpipe ask -p echo hi", b"hi\n", b""),
        "a language": ("LC_ALL=C chatpipe ask -p echo hi", b"hi\n", b""),
        "no folder": ("mkdir d; cd d; rmdir ../d; chatpipe ask -p echo hi", b"hi\n", b""),
        "SIGTERM": (f"{SERVER}; kill $!; wait $!; echo $?", b"0\n", b""),
        "death by SIGTERM": (
            f"mkfifo p; {ASK} <p & exec 7>p; kill $!; wait $! 2>/dev/null; echo $?",
            b"143\n",
            b"",
        ),
        "an ignored signal": (
            f"mkfifo p; trap '' TERM; {ASK} <p & exec 7>p; kill $!; echo hi >&7; exec 7>&-; wait",
            b"hi\n",
            b"",
        ),
        "SIGKILL": (f"{SERVER}; kill -9 $!; wait $! 2>/dev/null; echo $?", b"137\n", b""),
    },
)
def test_a_shell_sees_the_same(
    command: str, stdout: bytes, stderr: bytes, is_new: bool, tmp_path: Path
) -> None:
    (tmp_path / "f").write_text("text of f\n")
    done = sh(command, cwd=tmp_path, is_new=is_new)
    assert (done.stdout, done.stderr) == (stdout, stderr)


def test_a_fork_ends_with_what_started_it(tmp_path: Path) -> None:
    """The process of the shell is killed; the server that stands behind it goes, too."""
    command = f"{SERVER}; kill -9 $!; cat u"
    port = int(sh(command, cwd=tmp_path).stdout.rpartition(b":")[2].removesuffix(b"/v1\n"))
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 5).close()
        except ConnectionRefusedError:
            return
        time.sleep(0.01)
    pytest.fail("it still listens")


@WAYS
def test_a_child_is_the_process_itself(is_new: bool) -> None:
    """With its parent, its group and session, and the descriptors that are left to it."""
    with pipe() as (reader, _), serving("-q", is_new=is_new, pass_fds=[reader]) as server:
        number = server.process.pid
        status = Path(f"/proc/{number}/status").read_text()
        assert f"PPid:\t{os.getpid()}\n" in status
        assert (os.getpgid(number), os.getsid(number)) == (os.getpgid(0), os.getsid(0))
        assert os.path.samefile(f"/proc/{number}/fd/{reader}", f"/proc/self/fd/{reader}")
        server.process.kill()
        assert server.process.wait() == -signal.SIGKILL


@WAYS
def test_a_child_may_have_a_session_of_its_own(is_new: bool) -> None:
    with serving("-q", is_new=is_new, start_new_session=True) as server:
        number = server.process.pid
        assert (os.getpgid(number), os.getsid(number)) == (number, number)


@WAYS
def test_a_child_that_is_stopped_goes_on(is_new: bool) -> None:
    with start("ask", "-p", "echo", is_new=is_new, stdin=-1) as process:
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        process.send(b"hi")
        process.send_signal(signal.SIGCONT)
        assert process.communicate() == (b"hi\n", b"")


@pytest.mark.parametrize("end", ["wait", "communicate"])
def test_a_signal_that_a_fork_missed_is_sent_again(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("support.process.LOST_AFTER_S", 0.05)
    with pipe() as (reader, _), start("ask", "-p", "echo", stdin=reader) as process:
        with monkeypatch.context() as missed:
            missed.setattr(os, "kill", lambda pid, number: None)
            process.send_signal(signal.SIGTERM)
        getattr(process, end)()
    assert process.returncode == -signal.SIGTERM
