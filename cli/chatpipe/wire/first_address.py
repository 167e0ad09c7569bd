"""The addresses of a host -> a connected socket, without an event loop. connect.py does the same with one."""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

from chatpipe.wire.timeouts import ATTEMPT_DELAY_S, WaitLimits


def connect_first(addresses: Iterable[tuple[Any, ...]], limits: WaitLimits) -> socket.socket:
    """A socket connected to the address that answers first. addresses come from getaddrinfo().

    An attempt starts ATTEMPT_DELAY_S after the previous one, or as soon as one fails: an address that drops
    packets costs no more than that. Raises TimeoutError at the end of the wait, and, if all addresses fail,
    the OSError of the first failure.
    """
    left, running = deque(addresses), dict[int, socket.socket]()
    poll = select.poll()
    failure: OSError | None = None
    try:
        while left or running:
            if left:
                family, kind, protocol, _, address = left.popleft()
                try:
                    sock = socket.socket(family, kind, protocol)
                except OSError as error:
                    failure = failure or error
                    continue
                running[sock.fileno()] = sock
                if (refusal := _begin(sock, address)) is not None:
                    running.pop(sock.fileno()).close()
                    failure = failure or refusal
                    continue
                poll.register(sock, select.POLLOUT)
            for number, _ in poll.poll(_longest_ms(limits, is_last=not left)):
                poll.unregister(number)
                sock = running[number]
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if not code:
                    return running.pop(number)
                running.pop(number).close()
                failure = failure or OSError(code, os.strerror(code))
            if running and limits.have_passed():
                raise TimeoutError
    finally:
        for each in running.values():
            each.close()
    assert failure is not None
    raise failure


def _begin(sock: socket.socket, address: Any) -> OSError | None:
    """Begin to connect. Returns the error if it fails at once."""
    sock.setblocking(False)
    code = sock.connect_ex(address)
    return None if code in (0, errno.EINPROGRESS) else OSError(code, os.strerror(code))


def _longest_ms(limits: WaitLimits, *, is_last: bool) -> float | None:
    """The time for an attempt before the next one starts, or before the end of the wait. None: no limit."""
    left_s = max(0.0, limits.ends_at - time.monotonic())
    longest_s = left_s if is_last else min(left_s, ATTEMPT_DELAY_S)
    return None if longest_s == float("inf") else longest_s * 1000
