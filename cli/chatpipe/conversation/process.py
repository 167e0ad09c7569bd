"""One running tool command: start it, feed its stdin, read its output, end its whole process tree.

A ChildProcess has no loop of its own. The caller selects on its pipes, calls the callbacks registered there,
and polls is_over(). One thread can therefore drive several children at once.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from selectors import EVENT_READ, EVENT_WRITE, BaseSelector
from typing import IO

from chatpipe.named_tuple import NamedTuple
from chatpipe.system.signals import signal_name

STDOUT_LIMIT = 1 << 20  # bytes; the model reads this output again, at a price, in every later turn
_STDERR_LIMIT = 1 << 16  # bytes, the last ones
GRACE_S = 0.5  # from SIGTERM to SIGKILL
_LINGER_S = 0.5  # time to wait for output after the command itself has exited
_PIPE_BYTES = 1 << 16  # capacity of a pipe on Linux


class CommandResult(NamedTuple):
    """The result of a command.

    status is the exit status: negative for a signal, as in subprocess, and None if the command never
    ran. end_reason is the reason why we ended it or could not start it, as a phrase that completes
    `the tool ...`; it is empty in all other cases.
    """

    status: int | None
    end_reason: str
    stdout: bytes
    stderr: bytes

    @property
    def failure(self) -> str | None:
        """The reason for a failure, as a phrase that completes `the tool ...`; None after success."""
        if self.end_reason:
            return self.end_reason
        if self.status is not None and self.status < 0:
            return f"was killed by {signal_name(-self.status)}"
        return f"ended with status {self.status}" if self.status else None


class ChildProcess:
    """A running command, the leader of its own session.

    A signal to all process groups of that session reaches the whole process tree. Ctrl-C on the
    terminal does not reach it. A program that asks the terminal for a password fails at once instead
    of being stopped forever.
    """

    def __init__(
        self,
        words: Sequence[str],
        data: bytes,
        *,
        environ: Mapping[str, str],
        selector: BaseSelector,
        now: float,
        timeout_s: float,
    ) -> None:
        """Start the command. Raises OSError or ValueError if that fails."""
        self._selector = selector
        self._unsent = memoryview(data)
        self._out = bytearray()
        self._err = bytearray()
        self._end_reason = ""
        self._timeout_reason = f"took longer than {timeout_s:g} s"
        self._deadline = now + timeout_s
        self._kill_at: float | None = None  # set when SIGTERM is sent
        self._stop_reading_at: float | None = None  # set when the command itself has exited
        self._lock = threading.Lock()  # once a process has been waited for, its pid may be reused
        self._process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environ,
            bufsize=0,
            start_new_session=True,
        )
        self._register(self._process.stdin, EVENT_WRITE, self._feed)
        self._register(self._process.stdout, EVENT_READ, self._read_out)
        self._register(self._process.stderr, EVENT_READ, self._read_err)

    def is_over(self, now: float) -> bool:
        """Return True if no more output will come. Also end, in steps, a command that exceeds a limit."""
        if self._kill_at is not None:
            return now >= self._kill_at or not self.has_open_output()
        if len(self._out) > STDOUT_LIMIT:
            self.end(f"wrote more than {STDOUT_LIMIT:,} bytes", now)
        elif self._has_exited():
            self._stop_reading_at = self._stop_reading_at or now + _LINGER_S
            return now >= self._stop_reading_at or not self.has_open_output()
        elif now >= self._deadline:
            self.end(self._timeout_reason, now)
        return False

    def has_open_output(self) -> bool:
        """Return True if some process may still write to stdout or stderr."""
        return any(
            stream is not None and not stream.closed
            for stream in (self._process.stdout, self._process.stderr)
        )

    def end(self, reason: str, now: float) -> None:
        """Send SIGTERM. is_over() returns True once the command has ended, at the latest after GRACE_S."""
        self._end_reason = reason
        self._kill_at = now + GRACE_S
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the command and everything it started. May be called from any thread."""
        self._signal(signal.SIGKILL)

    def close(self) -> CommandResult:
        """Release the pipes and the process, and return the result.

        The command must be over, or end() must have been called; in that case it is killed now.
        """
        if self._kill_at is not None:
            self.kill()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            self._close(stream)
        with suppress(subprocess.TimeoutExpired):  # it belongs to another user, or is stuck in the kernel
            self._process.wait(GRACE_S)
        return CommandResult(self._process.returncode, self._end_reason, bytes(self._out), bytes(self._err))

    def _has_exited(self) -> bool:
        with self._lock:
            return self._process.poll() is not None

    def _signal(self, number: int) -> None:
        """Signal the whole session. The pid is the command's until the command has been waited for."""
        with self._lock:
            if self._process.returncode is None:
                for group in _groups(self._process.pid):
                    with suppress(OSError):
                        os.killpg(group, number)

    def _register(self, stream: IO[bytes] | None, events: int, callback: object) -> None:
        assert stream is not None
        os.set_blocking(stream.fileno(), False)
        self._selector.register(stream, events, callback)

    def _close(self, stream: IO[bytes] | None) -> None:
        if stream is not None and not stream.closed:
            self._selector.unregister(stream)
            with suppress(OSError):
                stream.close()

    def _feed(self) -> None:
        stream = self._process.stdin
        assert stream is not None
        try:
            self._unsent = self._unsent[os.write(stream.fileno(), self._unsent[:_PIPE_BYTES]) :]
        except BlockingIOError:
            return
        except OSError:  # the command is free not to read its input
            self._unsent = self._unsent[:0]
        if not self._unsent:
            self._close(stream)

    def _read_out(self) -> None:
        data = self._read(self._process.stdout)
        if len(self._out) <= STDOUT_LIMIT:  # it may keep writing until it is killed
            self._out += data

    def _read_err(self) -> None:
        self._err += self._read(self._process.stderr)
        del self._err[:-_STDERR_LIMIT]

    def _read(self, stream: IO[bytes] | None) -> bytes:
        """Read the data that is available. At the end of the stream, close it."""
        assert stream is not None
        try:
            data = os.read(stream.fileno(), _PIPE_BYTES)
        except BlockingIOError:
            return b""
        if not data:
            self._close(stream)
        return data


def _groups(session: int) -> set[int]:
    """The process groups of a session: timeout(1) and shells with job control create additional ones.

    Without /proc the others cannot be found, and the result holds the leader's group only.
    """
    groups = {session}
    with suppress(OSError):
        for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))):
            with suppress(OSError):  # the process has ended meanwhile
                if os.getsid(pid) == session:
                    groups.add(os.getpgid(pid))
    return groups
