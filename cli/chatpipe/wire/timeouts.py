"""Time limits of requests and connections, and the messages of time-outs."""

from __future__ import annotations

import time
from typing import NamedTuple

import httpx

# The message of an httpx time-out that the absolute deadline caused.
DEADLINE = "deadline"

# An idle connection is reused for this long. Servers close idle connections after 5 s or more
# (uvicorn 5, nginx 75), and a request that crosses such a close may or may not have been processed.
MAX_IDLE_S = 4.0
# If the server closed a connection that it saw as idle, the close arrives within one round trip after
# the request was sent. A later close may come from a server that had begun to work on the request.
# The transport must not repeat such a request; a retry that the user allowed may (RFC 9110 section
# 9.2.2, RFC 9112 section 9.3.1).
STALE_CLOSE_S = 1.0


class Timeouts(NamedTuple):
    """The time limits of one request in seconds; None means no limit.

    connect covers everything up to the end of the TLS handshake. It includes the system's name
    look-up but cannot interrupt it. read applies between two reads, write between two writes.
    deadline is a point in time on the clock of time.monotonic().
    """

    connect: float | None
    read: float | None
    write: float | None
    deadline: float | None

    @classmethod
    def of(cls, request: httpx.Request) -> Timeouts:
        """The limits in request.extensions: httpx's "timeout" and our "deadline". Either may be missing."""
        limits = request.extensions.get("timeout", {})
        return cls(
            limits.get("connect"),
            limits.get("read"),
            limits.get("write"),
            request.extensions.get("deadline"),
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
        """The message of a time-out that has just occurred: DEADLINE if that has passed, else otherwise."""
        return DEADLINE if self.deadline is not None and time.monotonic() >= self.deadline else otherwise


def within_text(seconds: float | None) -> str:
    return "" if seconds is None else f" within {format_seconds(seconds)}"


def format_seconds(seconds: float | None) -> str:
    return "a long time" if seconds is None else f"{seconds:g} s"
