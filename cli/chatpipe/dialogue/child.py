"""One command that runs: started, fed, read, and ended with all that it started.

A Child does nothing by itself. Whoever drives it selects on its pipes, calls what is registered
there, and asks it often whether it is over: several run beside each other in one thread so.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from selectors import EVENT_READ, EVENT_WRITE, BaseSelector
from typing import IO, NamedTuple

STDOUT_LIMIT = 1 << 20  # bytes; what a model is given is read, and paid for, with every later turn
STDERR_KEPT = 1 << 16  # bytes, the last ones
GRACE_S = 0.5  # between SIGTERM and SIGKILL
_LINGER_S = 0.5  # for output, after the command itself has ended
_PIECE = 1 << 16  # what a pipe holds on Linux
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ended(NamedTuple):
    """How a command ended: status is below 0 for a signal, as in subprocess, and None if it never ran.

    stopped says why we ended it, or could not start it, to complete `the tool ...`; empty if neither.
    """

    status: int | None
    stopped: str
    stdout: bytes
    stderr: bytes

    @property
    def failure(self) -> str | None:
        """What went wrong, to complete `the tool ...`; None for a command that succeeded."""
        if self.stopped:
            return self.stopped
        if self.status is not None and self.status < 0:
            return f"was killed by {_signal_name(-self.status)}"
        return f"ended with status {self.status}" if self.status else None


class Child:
    """A command that was started.

    It leads a session of its own: a signal to all groups in that reaches its whole tree, Ctrl-C on
    the terminal does not, and a program that asks the terminal for a password fails at once instead
    of being stopped for ever.
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
        """Raises OSError or ValueError where the command cannot be started."""
        self._selector = selector
        self._left = memoryview(data)
        self._out = bytearray()
        self._err = bytearray()
        self._stopped = ""
        self._late = f"took longer than {timeout_s:g} s"
        self._deadline = now + timeout_s
        self._kill_at: float | None = None  # set by SIGTERM
        self._leave_at: float | None = None  # set when the command itself has ended
        self._lock = threading.Lock()  # a process that was waited for may have given its number away
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
        """Whether nothing more is to come. What is late, or too much, is ended here, in steps."""
        if self._kill_at is not None:
            return now >= self._kill_at or not self.is_heard()
        if len(self._out) > STDOUT_LIMIT:
            self.end(f"wrote more than {STDOUT_LIMIT:,} bytes", now)
        elif self._has_exited():
            self._leave_at = self._leave_at or now + _LINGER_S
            return now >= self._leave_at or not self.is_heard()
        elif now >= self._deadline:
            self.end(self._late, now)
        return False

    def is_heard(self) -> bool:
        """Whether anybody may still write to one of its pipes."""
        return any(
            stream is not None and not stream.closed
            for stream in (self._process.stdout, self._process.stderr)
        )

    def end(self, why: str, now: float) -> None:
        """Ask it to end; is_over() is true once it did, or after GRACE_S."""
        self._stopped = why
        self._kill_at = now + GRACE_S
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it, and all that it started. From any thread."""
        self._signal(signal.SIGKILL)

    def close(self) -> Ended:
        """How it ended; afterwards nothing is left of it. For one that is over, or is to be so now."""
        if self._kill_at is not None:
            self.kill()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            self._close(stream)
        with suppress(subprocess.TimeoutExpired):  # another user's, or one that the kernel holds
            self._process.wait(GRACE_S)
        return Ended(self._process.returncode, self._stopped, bytes(self._out), bytes(self._err))

    def _has_exited(self) -> bool:
        with self._lock:
            return self._process.poll() is not None

    def _signal(self, number: int) -> None:
        """To the whole session. It is the command's as long as nobody waited for the command."""
        with self._lock:
            if self._process.returncode is None:
                for group in _groups(self._process.pid):
                    with suppress(OSError):
                        os.killpg(group, number)

    def _register(self, stream: IO[bytes] | None, events: int, act: object) -> None:
        assert stream is not None
        os.set_blocking(stream.fileno(), False)
        self._selector.register(stream, events, act)

    def _close(self, stream: IO[bytes] | None) -> None:
        if stream is not None and not stream.closed:
            self._selector.unregister(stream)
            with suppress(OSError):
                stream.close()

    def _feed(self) -> None:
        stream = self._process.stdin
        assert stream is not None
        try:
            self._left = self._left[os.write(stream.fileno(), self._left[:_PIECE]) :]
        except BlockingIOError:
            return
        except OSError:  # it does not read what it is called with, and need not
            self._left = self._left[:0]
        if not self._left:
            self._close(stream)

    def _read_out(self) -> None:
        data = self._read(self._process.stdout)
        if len(self._out) <= STDOUT_LIMIT:  # it may write on until it is killed
            self._out += data

    def _read_err(self) -> None:
        self._err += self._read(self._process.stderr)
        del self._err[:-STDERR_KEPT]

    def _read(self, stream: IO[bytes] | None) -> bytes:
        """What is there; at the end the stream is closed."""
        assert stream is not None
        try:
            data = os.read(stream.fileno(), _PIECE)
        except BlockingIOError:
            return b""
        if not data:
            self._close(stream)
        return data


def _groups(session: int) -> set[int]:
    """The process groups of a session: timeout(1) and shells with job control make some of their own.

    Only the leader's where the system has no /proc to find the others in.
    """
    groups = {session}
    with suppress(OSError):
        for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))):
            with suppress(OSError):  # it has ended by now
                if os.getsid(pid) == session:
                    groups.add(os.getpgid(pid))
    return groups


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


@contextmanager
def signals_held() -> Iterator[None]:
    """What a signal raises is raised at the end of the block, so that no child is lost between two lines.

    Only the main thread runs handlers. Not by a signal mask: commands would inherit it.
    """
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    if threading.current_thread() is not threading.main_thread():
        before = {}
    taken = [number for number, handler in before.items() if callable(handler)]
    try:
        for number in taken:
            signal.signal(number, lambda number, _: came.append(number))
        yield
    finally:
        for number in taken:
            signal.signal(number, before[number])
        if came:
            signal.raise_signal(came[0])
