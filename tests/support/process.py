"""chatpipe as a process of its own, the way a shell starts it, in an environment that knows nothing.

`run` for what ends by itself, `start` for what is to be watched or hit, `sh` for pipelines. A status
below 0 is the signal that a process died by, as in subprocess; `sh` gives what its shell says.

All of them fork a process that has imported chatpipe (warm.py), which saves nine tenths of what a short
run costs. Where starting itself is the point, or limits and memory count, is_new=True starts an
interpreter; so does a variable of Python in the environment.
"""

from __future__ import annotations

import atexit
import functools
import inspect
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from support.forks import warm
from support.patience import PATIENCE_S, until

# A process that has not ended after this time may have missed its signal.
LOST_AFTER_S = 20.0
CHATPIPE = (sys.executable, "-m", "chatpipe")
_BIN = Path(sys.executable).parent  # not resolved: in a virtual environment the script is beside the link


class Done(NamedTuple):
    """What a process left. status is negative when a signal ended it."""

    status: int
    stdout: bytes
    stderr: bytes


@functools.cache
def home() -> Path:
    """An empty home directory, the same for all processes of a test run; gone at its end."""
    folder = Path(tempfile.mkdtemp(prefix="chatpipe-home-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """No key, no proxy, no setting of ours or of Python; chatpipe is on PATH. more is added."""
    plain = {
        "PATH": f"{_BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "HOME": str(home()),
        "LANG": "C.UTF-8",
        "TMPDIR": tempfile.gettempdir(),
    }
    return {**plain, **(more or {})}


def run(
    *arguments: str | bytes,
    stdin: bytes | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | str | None = None,
    timeout: float = PATIENCE_S,
) -> Done:
    """`chatpipe ARGUMENTS` to its end. stdin None is /dev/null, bytes come through a pipe."""
    variables = environment(env)
    if warm.can_run(arguments, variables):
        return Done(*warm.run(arguments, stdin, variables, cwd, timeout))
    return _finished((*CHATPIPE, *arguments), stdin, env, cwd, timeout)


def sh(
    command: str,
    *,
    stdin: bytes | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | str | None = None,
    timeout: float = PATIENCE_S,
    shell: str = "sh",
    is_new: bool = False,
) -> Done:
    """A command line of a shell, a POSIX one by default, to its end, `chatpipe` being on its PATH."""
    if not is_new and warm.can_start():
        path = f"{warm.command().parent}{os.pathsep}{environment(env)['PATH']}"
        env = {**(env or {}), "PATH": path}
    return _finished((shell, "-c", command), stdin, env, cwd, timeout)


# Python 3.11 keeps the beginning of a .pyc that a limit of file sizes cuts, and fails at it ever after.
NO_BYTECODE = {"PYTHONDONTWRITEBYTECODE": "1"}


class Process(subprocess.Popen[bytes]):
    """A running process; at the end of a `with` it is killed if it still runs, so that no test hangs.

    It is a fork of the warm process where its command is chatpipe. Popen then does all the rest: it makes
    the pipes, and waits for the fork as for any other child.
    """

    def __init__(self, command: Sequence[str | bytes], is_new: bool = False, **popen: Any) -> None:
        self._is_new = is_new
        self._sent: int | None = None
        super().__init__(command, **popen)

    def _execute_child(self, *arguments: Any) -> None:
        names = list(inspect.signature(subprocess.Popen._execute_child).parameters)[1:]  # type: ignore[attr-defined]
        given = dict(zip(names, arguments, strict=True))
        if self._is_new or not _can_fork(given):
            super()._execute_child(*arguments)  # type: ignore[misc]
            return
        wanted = warm.terms(given["args"][len(CHATPIPE) :], given["env"], given["cwd"])
        kept = sorted(given["pass_fds"])
        ends = [given[name] for name in ("p2cread", "c2pwrite", "errwrite")]
        standard = [end if end != -1 else number for number, end in enumerate(ends)]
        self.pid = warm.start(
            wanted._replace(
                descriptors=[0, 1, 2, *kept],
                new_session=given["start_new_session"],
                group=given["process_group"],
            ),
            [*standard, *kept],
        )
        self._child_created = True
        pipes = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        self._close_pipe_fds(*(given[name] for name in pipes))  # type: ignore[attr-defined]

    def deliver(self, number: int) -> None:
        """Send a signal, and wait until the process has done what it does about it."""
        self.send_signal(number)
        status = Path(f"/proc/{self.pid}/status")
        if status.exists():
            until(
                lambda: (
                    has_ended(self.pid)
                    or not _pending(status.read_text(encoding="utf-8")) >> (number - 1) & 1
                )
            )
        self.settle()

    def settle(self) -> None:
        """Wait until the process sleeps: it has done all that it can do with what it has got so far.

        On a busy machine no fixed time would be enough. Where there is no /proc, one has to be.
        """
        if not Path("/proc/self/stat").exists():
            time.sleep(0.25)
            return
        for _ in range(3):  # it also sleeps for moments in between, as for a disk or a lock
            until(lambda: state(self.pid) in {"S", "Z"})
            time.sleep(0.005)

    def send_signal(self, sig: int) -> None:
        super().send_signal(sig)
        self._sent = sig

    def wait(self, timeout: float | None = PATIENCE_S) -> int:
        with suppress(subprocess.TimeoutExpired):
            return super().wait(self._first_wait_s(timeout))
        self._interrupt_call()
        return super().wait(timeout)

    def communicate(
        self, input: bytes | None = None, timeout: float | None = PATIENCE_S
    ) -> tuple[bytes, bytes]:
        with suppress(subprocess.TimeoutExpired):
            return super().communicate(input, self._first_wait_s(timeout))
        self._interrupt_call()
        return super().communicate(timeout=timeout)

    def _first_wait_s(self, timeout: float | None) -> float:
        return LOST_AFTER_S if timeout is None else min(timeout, LOST_AFTER_S)

    def _interrupt_call(self) -> None:
        """Send the last signal again, which ends a system call that began just after it.

        Python runs a handler between two of its instructions: of a signal that comes between the last one
        and a call that waits it takes notice only when the call ends. To a fork of the warm process the
        same signal is no second one, see support.delays.
        """
        if self._sent is not None and not self._is_new:
            super().send_signal(self._sent)

    def __exit__(self, *error: Any) -> None:
        self.kill()
        super().__exit__(*error)

    def send(self, data: bytes) -> None:
        """Write to its stdin, a pipe, at once."""
        assert self.stdin is not None
        self.stdin.write(data)
        self.stdin.flush()

    def hang_up(self) -> None:
        """Close its stdin, so that `communicate` may follow."""
        assert self.stdin is not None
        self.stdin.close()
        self.stdin = None

    def line(self) -> bytes:
        """The next line of its stdout, a pipe."""
        assert self.stdout is not None
        return self.stdout.readline()


def _pending(status: str) -> int:
    """The signals that wait for a process, a bit each, from its /proc/PID/status."""
    found = re.search(r"^ShdPnd:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return int(found[1], 16) if found else 0


def _can_fork(given: Mapping[str, Any]) -> bool:
    """Return True where what Popen was given is all that a fork of the warm process understands."""
    command = tuple(given["args"])
    plain = {"executable": None, "shell": False, "close_fds": True, "preexec_fn": None, "umask": -1}
    return (
        warm.can_start()
        and command[: len(CHATPIPE)] == CHATPIPE
        and given["env"] is not None
        and warm.can_run(command, given["env"])
        and all(given[name] == value for name, value in plain.items())
    )


def start(
    *arguments: str | bytes,
    env: Mapping[str, str] | None = None,
    cwd: Path | str | None = None,
    through: Sequence[str] = (),
    is_new: bool = False,
    **popen: Any,
) -> Process:
    """`chatpipe ARGUMENTS`, running: its output in pipes, stdin /dev/null, unless popen says otherwise.

    through is a command that runs the one that follows it: ("nohup",), ("sh", "-c", 'exec "$@"', "-").
    """
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = (*through, *CHATPIPE, *arguments)
    return Process(command, is_new, env=environment(env), cwd=cwd, **{**streams, **popen})


def _finished(
    command: tuple[str | bytes, ...],
    stdin: bytes | None,
    env: Mapping[str, str] | None,
    cwd: Path | str | None,
    timeout: float,
) -> Done:
    given: dict[str, Any] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
    done = subprocess.run(
        command, capture_output=True, env=environment(env), cwd=cwd, timeout=timeout, check=False, **given
    )
    return Done(done.returncode, done.stdout, done.stderr)


def has_ended(number: int) -> bool:
    """Return True if a process has ended; it may still be a zombie that its parent has not collected."""
    return state(number) == "Z"


def state(number: int) -> str:
    """The letter of a process in /proc: S sleeps, R runs or could run, Z has ended."""
    try:
        return Path(f"/proc/{number}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"


def begun(folder: Path) -> bytes:
    """What is in the temporary files of -o in a folder. One that is made as a trial comes and goes."""
    try:
        return b"".join(path.read_bytes() for path in folder.glob(".*.chatpipe-????????????"))
    except FileNotFoundError:
        return b""
