"""Time limits of requests and connections, and the messages of time-outs."""

from __future__ import annotations

import time

import httpx

from chatpipe.named_tuple import NamedTuple
from chatpipe.server.request_extensions import DEADLINE

# The message of an httpx time-out that the absolute deadline caused.
DEADLINE_PASSED = "deadline"

# An idle connection is reused for this long. Servers close idle connections after 5 s or more
# (uvicorn 5, nginx 75), and a request that crosses such a close may or may not have been processed.
MAX_IDLE_S = 4.0
# If the server closed a connection that it saw as idle, the close arrives within one round trip after
# the request was sent, and a retry need not wait. A later close may come from a server that had begun to
# work on the request (RFC 9112 section 9.3.1); see kept_connections.py.
STALE_CLOSE_S = 1.0
# The next address of a host is tried so long after the one before. RFC 8305, section 5.
ATTEMPT_DELAY_S = 0.25


# The longest extension of a limit that was found to have passed; see extension_s().
_MAX_EXTENSION_S = 1.0
ONE_LOOK_S = 0.01  # enough for one look at the sockets

_NEVER = float("inf")


def extension_s(late_s: float) -> float:
    """The seconds by which a limit is extended, once, that was found late_s after it had passed.

    A process that was stopped (SIGSTOP, a frozen container) finds its limits passed when it goes on.
    What arrived in the meantime lies in its sockets and must be read first: it may be an answer that
    was paid for. An event loop would run its timers first, because the system call that waits for
    sockets is interrupted by the stop and not repeated.
    """
    return min(_MAX_EXTENSION_S, late_s + ONE_LOOK_S)


class WaitLimits:
    """The limits of one exchange in progress: of the current wait, and the deadline.

    Times are readings of time.monotonic(). Each limit is extended once when it is found to have passed.
    """

    __slots__ = ("_deadline", "_is_deadline_extended", "_is_wait_extended", "_wait_ends_at")

    def __init__(self, deadline: float | None = None) -> None:
        self._deadline = _NEVER if deadline is None else deadline
        self._is_deadline_extended = False
        self._wait_ends_at = _NEVER
        self._is_wait_extended = False

    @property
    def ends_at(self) -> float:
        """The time of the next limit; infinite for none."""
        ends_at, deadline = self._wait_ends_at, self._deadline
        return min(deadline, ends_at)

    def start_wait(self, limit_s: float | None) -> None:
        self._wait_ends_at = _NEVER if limit_s is None else time.monotonic() + limit_s
        self._is_wait_extended = False

    def wait_until(self, ends_at: float) -> None:
        """Start a wait that ends at this time, which may have passed."""
        self._wait_ends_at = ends_at
        self._is_wait_extended = False

    def have_passed(self) -> bool:
        """Return True if the wait is over. The first time that a limit is found to have passed, extend it."""
        now = time.monotonic()
        if now >= self._wait_ends_at:
            if self._is_wait_extended:
                return True
            self._is_wait_extended = True
            self._wait_ends_at = now + extension_s(now - self._wait_ends_at)
        return self.deadline_has_passed()

    def deadline_has_passed(self) -> bool:
        """The same for the deadline alone: a reply that never pauses never meets the other limits."""
        if self._deadline == _NEVER:
            return False
        now = time.monotonic()
        if now < self._deadline:
            return False
        if self._is_deadline_extended:
            return True
        self._is_deadline_extended = True
        self._deadline = now + extension_s(now - self._deadline)
        return False


class Timeouts(NamedTuple):
    """The time limits of one request in seconds; None means no limit.

    connect covers everything up to the end of the TLS handshake. It includes the system's name
    look-up but cannot interrupt it. read applies between two reads, write between two writes.
    deadline is a point in time on the clock of time.monotonic(). pool is for a free connection.
    """

    connect: float | None
    read: float | None
    write: float | None
    deadline: float | None
    pool: float | None = None

    @classmethod
    def of(cls, request: httpx.Request) -> Timeouts:
        """The limits of a request: see server/request_extensions.py."""
        limits = request.extensions.get("timeout", {})
        return cls(
            limits.get("connect"),
            limits.get("read"),
            limits.get("write"),
            request.extensions.get(DEADLINE),
            limits.get("pool"),
        )

    def capped(self, limit: float | None) -> float | None:
        """The smaller of limit and the time until the deadline. Raises TimeoutError after the deadline."""
        if self.deadline is None:
            return limit
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left if limit is None else min(limit, left)

    def message(self, otherwise: str) -> str:
        """The message of a time-out that has just occurred: otherwise, unless the deadline has passed."""
        has_passed = self.deadline is not None and time.monotonic() >= self.deadline
        return DEADLINE_PASSED if has_passed else otherwise


def within_text(seconds: float | None) -> str:
    return "" if seconds is None else f" within {format_seconds(seconds)}"


def format_seconds(seconds: float | None) -> str:
    return "a long time" if seconds is None else f"{seconds:g} s"
