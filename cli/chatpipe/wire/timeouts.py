"""How long a request and a connection may wait, and how a time-out says it."""

from __future__ import annotations

import time
from typing import NamedTuple

import httpx

# What an httpx time-out says when the absolute deadline has passed, and not the time-out itself.
DEADLINE = "deadline"

# Servers drop idle connections after 5 s and more (uvicorn 5, nginx 75), and the request that meets
# such a close cannot know whether it was taken.
IDLE_S = 4.0
# The close of a connection that was still idle for the server is here one round trip after a request
# was sent. One that comes later may be the end of a server that had begun to work on it: that is not
# for us to repeat, a retry that the user allowed may (RFC 9110 section 9.2.2, RFC 9112 section 9.3.1).
RACE_S = 1.0


class Waits(NamedTuple):
    """How long a request may wait: seconds, None for ever; deadline is on time.monotonic().

    connect lasts to the end of the TLS handshake (the system's name look-up, which nothing can cut
    short, counts but is not interrupted); read is between two reads, write between two writes.
    """

    connect: float | None
    read: float | None
    write: float | None
    deadline: float | None

    @classmethod
    def of(cls, request: httpx.Request) -> Waits:
        """From request.extensions: httpx's "timeout" and our "deadline", either may be missing."""
        limits = request.extensions.get("timeout", {})
        return cls(
            limits.get("connect"),
            limits.get("read"),
            limits.get("write"),
            request.extensions.get("deadline"),
        )

    def cut(self, limit: float | None) -> float | None:
        """limit, or less where the deadline is nearer. Raises TimeoutError once that has passed."""
        if self.deadline is None:
            return limit
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left if limit is None else min(limit, left)

    def why(self, otherwise: str) -> str:
        """What a time-out that has just happened is to say."""
        return DEADLINE if self.deadline is not None and time.monotonic() >= self.deadline else otherwise


def within(seconds: float | None) -> str:
    return "" if seconds is None else f" within {spell(seconds)}"


def spell(value: float | None) -> str:
    return "a long time" if value is None else f"{value:g} s"
