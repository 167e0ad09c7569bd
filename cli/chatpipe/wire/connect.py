"""Origin -> open connection under asyncio: name look-up, race of the addresses, TLS handshake."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

import httpx

from chatpipe.named_tuple import NamedTuple
from chatpipe.system.causes import system_message
from chatpipe.wire.connection import PooledConnection
from chatpipe.wire.http1 import READ_BYTES
from chatpipe.wire.loop_timeout import loop_timeout
from chatpipe.wire.origin import Origin
from chatpipe.wire.timeouts import ATTEMPT_DELAY_S, Timeouts, WaitLimits, within_text

if TYPE_CHECKING:
    import ssl

    from chatpipe.wire.origin import Context

RESOLVER_CACHE_S = 60.0
# asyncio limits a handshake to 60 s by default. Here the connect time-out ends it instead.
_HANDSHAKE_S = 86_400.0


class Address(NamedTuple):
    family: int
    sockaddr: tuple[str, int] | tuple[str, int, int, int]


class Connector:
    """Opens connections. A callable ssl_context runs at the first https origin. None: Python's default."""

    def __init__(self, ssl_context: Context | None = None) -> None:
        self._ssl_context = ssl_context
        self._names = Resolver()
        self._read_buffer = memoryview(bytearray(READ_BYTES))
        self._running: set[asyncio.Timeout] = set()

    @property
    def busy(self) -> bool:
        return bool(self._running)

    def stop(self) -> None:
        """Expire the time-outs of all connection attempts now."""
        for timeout in self._running:
            if not timeout.expired():
                timeout.reschedule(-1)

    async def open(
        self, origin: Origin, timeouts: Timeouts, on_lost: Callable[[PooledConnection], None]
    ) -> PooledConnection:
        """Open a connection. Raises httpx.ConnectError and ConnectTimeout, and then leaves no socket open."""
        if origin.scheme not in ("http", "https"):
            raise httpx.UnsupportedProtocol(f"'{origin.scheme}' is not http or https")
        context = self._context() if origin.scheme == "https" else None
        link = PooledConnection(origin, on_lost, self._read_buffer)
        timeout = None
        try:
            limits = WaitLimits(timeouts.deadline)
            limits.start_wait(timeouts.connect)
            async with loop_timeout(limits) as timeout:
                self._running.add(timeout)
                await self._connect(link, origin)
                if context is not None:
                    await link.start_tls(context, origin.tls_name.decode(), _HANDSHAKE_S)
        except BaseException as error:
            link.close()
            if isinstance(error, TimeoutError):
                what = "no TLS handshake" if link.connected else "no connection"
                raise httpx.ConnectTimeout(
                    timeouts.message(f"{what}{within_text(timeouts.connect)}")
                ) from error
            if isinstance(error, (OSError, ValueError)):  # ValueError: a name that no certificate can contain
                raise httpx.ConnectError(system_message(error)) from error
            raise
        finally:
            if timeout is not None:
                self._running.discard(timeout)
        return link

    async def _connect(self, link: PooledConnection, origin: Origin) -> None:
        addresses = await self._names.resolve(origin.address, origin.port)
        try:
            connected = await _connect_fastest(addresses)
        except OSError:
            self._names.forget(origin.address, origin.port)  # the host may have a new address
            raise
        await link.connect(connected)

    def _context(self) -> ssl.SSLContext:
        context = self._ssl_context
        if context is None:
            import ssl  # for https only

            context = ssl.create_default_context()
        elif callable(context):
            context = context()
        self._ssl_context = context
        return context


class Resolver:
    """A cache of host addresses. Concurrent callers share one look-up, and its result is kept for a minute.

    Each look-up has its own thread instead of one of asyncio's six. The program waits for those at
    its end, and nothing can interrupt a look-up.
    """

    def __init__(self) -> None:
        self._cache: dict[tuple[bytes, int], tuple[float, list[Address]]] = {}
        self._pending: dict[tuple[bytes, int], asyncio.Future[list[Address]]] = {}

    async def resolve(self, host: bytes, port: int) -> list[Address]:
        """The addresses of host. Raises OSError (socket.gaierror) and UnicodeError."""
        literal = _parse_literal(host, port)
        if literal is not None:
            return [literal]
        expires_at, addresses = self._cache.get((host, port), (0.0, []))
        if time.monotonic() < expires_at:
            return addresses
        future = self._pending.get((host, port)) or self._start_look_up(host, port)
        # A cancelled caller must not cancel the look-up for the others.
        return await asyncio.shield(future)

    def forget(self, host: bytes, port: int) -> None:
        self._cache.pop((host, port), None)

    def _start_look_up(self, host: bytes, port: int) -> asyncio.Future[list[Address]]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[Address]] = loop.create_future()
        self._pending[host, port] = future

        def deliver(found: list[Address] | Exception) -> None:
            del self._pending[host, port]
            if isinstance(found, Exception):
                future.set_exception(found)
                future.exception()  # marks it as retrieved even if nothing waits for it now
            else:
                self._cache[host, port] = time.monotonic() + RESOLVER_CACHE_S, found
                future.set_result(found)

        def run() -> None:
            found: list[Address] | Exception
            try:
                found = _look_up_now(host, port)
            except (OSError, UnicodeError) as error:
                found = error
            with contextlib.suppress(RuntimeError):  # the loop has ended in the meantime
                loop.call_soon_threadsafe(deliver, found)

        threading.Thread(target=run, name=f"look-up of {host.decode()}", daemon=True).start()
        return future


def _look_up_now(host: bytes, port: int) -> list[Address]:
    # Bytes, because a str imports Python's idna codec with its tables, and the host is ASCII already.
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return interleave(Address(family, sockaddr) for family, _, _, _, sockaddr in found)  # type: ignore[arg-type]  # typeshed adds a form for Pythons without IPv6


def interleave(addresses: Iterable[Address]) -> list[Address]:
    """Alternate the two address families, starting with the first. Source: RFC 8305 section 4."""
    in_order = list(addresses)
    first = [address for address in in_order if address.family == in_order[0].family]
    rest = [address for address in in_order if address.family != in_order[0].family]
    return [address for pair in zip_longest(first, rest) for address in pair if address is not None]


def _parse_literal(host: bytes, port: int) -> Address | None:
    text = host.decode()
    with contextlib.suppress(OSError):
        socket.inet_pton(socket.AF_INET, text)
        return Address(socket.AF_INET, (text, port))
    with contextlib.suppress(OSError):
        socket.inet_pton(socket.AF_INET6, text)
        return Address(socket.AF_INET6, (text, port, 0, 0))
    return None


async def _connect_fastest(addresses: Sequence[Address]) -> socket.socket:
    """A socket connected to the address that answers first.

    An attempt starts ATTEMPT_DELAY_S after the previous one, or as soon as one fails. If all fail, raises
    the OSError of the first address. asyncio's happy_eyeballs_delay is no alternative: it needs a
    look-up for each connection.
    """
    if len(addresses) == 1:
        return await _connect_to(addresses[0])
    remaining = deque(addresses)
    attempts: dict[asyncio.Task[socket.socket], None] = {}  # an ordered set
    running: set[asyncio.Task[socket.socket]] = set()
    winner = None
    try:
        while remaining or running:
            if remaining:
                attempt = asyncio.ensure_future(_connect_to(remaining.popleft()))
                attempts[attempt] = None
                running.add(attempt)
            await asyncio.wait(
                running, timeout=ATTEMPT_DELAY_S if remaining else None, return_when=asyncio.FIRST_COMPLETED
            )
            running = {attempt for attempt in running if not attempt.done()}
            winner = next((attempt for attempt in attempts if _has_won(attempt)), None)
            if winner is not None:
                return winner.result()
    finally:
        for attempt in attempts:
            if attempt is not winner:
                attempt.cancel()
                attempt.add_done_callback(_close_socket)
    return next(iter(attempts)).result()  # raises; there is at least one attempt


def _has_won(attempt: asyncio.Task[socket.socket]) -> bool:
    return attempt.done() and not attempt.cancelled() and attempt.exception() is None


def _close_socket(attempt: asyncio.Task[socket.socket]) -> None:
    if _has_won(attempt):
        attempt.result().close()


async def _connect_to(address: Address) -> socket.socket:
    sock = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, address.sockaddr)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException as error:
        sock.close()
        if isinstance(error, OSError) and error.errno is not None:
            # asyncio puts the address in place of the system's message.
            raise OSError(error.errno, os.strerror(error.errno)) from error
        raise
    return sock
