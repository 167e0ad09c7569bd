"""An origin -> a connection to it under asyncio: the look-up of its name, the race of its addresses, TLS."""

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
from typing import TYPE_CHECKING, NamedTuple

from chatpipe.wire.causes import system_message
from chatpipe.wire.link import Link
from chatpipe.wire.origin import Origin
from chatpipe.wire.timeouts import Waits, within

import httpx  # isort: skip - after chatpipe.wire, which keeps httpx's own command line out

if TYPE_CHECKING:
    import ssl

    from chatpipe.wire.origin import Context

# RFC 8305 section 5, "Connection Attempt Delay".
STAGGER_S = 0.25
NAMES_KEPT_S = 60.0
# asyncio gives a handshake 60 s of its own accord; here the connect time-out is what ends it.
_HANDSHAKE_S = 86_400.0


class Address(NamedTuple):
    family: int
    sockaddr: tuple[str, int] | tuple[str, int, int, int]


class Dialler:
    """Opens connections. ssl_context is asked for at the first https origin; None is Python's default."""

    def __init__(self, ssl_context: Context | None = None) -> None:
        self._ssl_context = ssl_context
        self._names = Names()
        self._limits: set[asyncio.Timeout] = set()

    @property
    def busy(self) -> bool:
        return bool(self._limits)

    def stop(self) -> None:
        """Let everything that is being opened run into its time-out now."""
        for limit in self._limits:
            if not limit.expired():
                limit.reschedule(-1)

    async def open(self, origin: Origin, waits: Waits, on_lost: Callable[[Link], None]) -> Link:
        """Raises httpx.ConnectError and ConnectTimeout. Nothing stays open, however it ends early."""
        if origin.scheme not in ("http", "https"):
            raise httpx.UnsupportedProtocol(f"'{origin.scheme}' is not http or https")
        context = self._context() if origin.scheme == "https" else None
        link = Link(origin, on_lost)
        limit = None
        try:
            async with asyncio.timeout(waits.cut(waits.connect)) as limit:
                self._limits.add(limit)
                await self._connect(link, origin)
                if context is not None:
                    await link.start_tls(context, origin.host.decode().rstrip("."), _HANDSHAKE_S)
        except BaseException as error:
            link.close()
            if isinstance(error, TimeoutError):
                what = "no TLS handshake" if link.connected else "no connection"
                raise httpx.ConnectTimeout(waits.why(f"{what}{within(waits.connect)}")) from error
            if isinstance(error, (OSError, ValueError)):  # ValueError: a name that no certificate can have
                raise httpx.ConnectError(system_message(error)) from error
            raise
        finally:
            if limit is not None:
                self._limits.discard(limit)
        return link

    async def _connect(self, link: Link, origin: Origin) -> None:
        addresses = await self._names.look_up(origin.host, origin.port)
        try:
            connected = await race(addresses)
        except OSError:
            self._names.forget(origin.host, origin.port)  # the host may have moved
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


class Names:
    """The addresses of hosts: each looked up once, for all who ask meanwhile and for a minute after.

    A thread of its own for each look-up, and not one of asyncio's six: those are waited for at the
    end of the program, and nothing can cut a look-up short.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, int], tuple[float, list[Address]]] = {}
        self._asked: dict[tuple[bytes, int], asyncio.Future[list[Address]]] = {}

    async def look_up(self, host: bytes, port: int) -> list[Address]:
        """Raises OSError (socket.gaierror) and UnicodeError."""
        literal = _literal(host, port)
        if literal is not None:
            return [literal]
        until, addresses = self._known.get((host, port), (0.0, []))
        if time.monotonic() < until:
            return addresses
        asked = self._asked.get((host, port)) or self._ask(host, port)
        # Who gives up waiting does not spoil it for the others.
        return await asyncio.shield(asked)

    def forget(self, host: bytes, port: int) -> None:
        self._known.pop((host, port), None)

    def _ask(self, host: bytes, port: int) -> asyncio.Future[list[Address]]:
        loop = asyncio.get_running_loop()
        asked: asyncio.Future[list[Address]] = loop.create_future()
        self._asked[host, port] = asked

        def tell(found: list[Address] | Exception) -> None:
            del self._asked[host, port]
            if isinstance(found, Exception):
                asked.set_exception(found)
                asked.exception()  # seen, also when nobody waits any more
            else:
                self._known[host, port] = time.monotonic() + NAMES_KEPT_S, found
                asked.set_result(found)

        def run() -> None:
            found: list[Address] | Exception
            try:
                found = _ask_system(host, port)
            except (OSError, UnicodeError) as error:
                found = error
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(tell, found)

        threading.Thread(target=run, name=f"look-up of {host.decode()}", daemon=True).start()
        return asked


def _ask_system(host: bytes, port: int) -> list[Address]:
    # Bytes: a str would import Python's idna codec and its tables, and it is ASCII already.
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return interleaved(Address(family, sockaddr) for family, _, _, _, sockaddr in found)  # type: ignore[arg-type]  # typeshed adds a form for Pythons without IPv6


def interleaved(addresses: Iterable[Address]) -> list[Address]:
    """By turns of the two families, the first one first, else in the order given. RFC 8305 section 4."""
    given = list(addresses)
    first = [address for address in given if address.family == given[0].family]
    rest = [address for address in given if address.family != given[0].family]
    return [address for pair in zip_longest(first, rest) for address in pair if address is not None]


def _literal(host: bytes, port: int) -> Address | None:
    text = host.decode()
    with contextlib.suppress(OSError):
        socket.inet_pton(socket.AF_INET, text)
        return Address(socket.AF_INET, (text, port))
    with contextlib.suppress(OSError):
        socket.inet_pton(socket.AF_INET6, text)
        return Address(socket.AF_INET6, (text, port, 0, 0))
    return None


async def race(addresses: Sequence[Address]) -> socket.socket:
    """A socket connected to whichever answers first; they start STAGGER_S apart, or when one has failed.

    Raises the OSError of the first that failed when all have. (asyncio's own happy_eyeballs_delay
    comes only together with a look-up for each connection.)
    """
    if len(addresses) == 1:
        return await _connected(addresses[0])
    left = deque(addresses)
    attempts: dict[asyncio.Task[socket.socket], None] = {}  # an ordered set
    running: set[asyncio.Task[socket.socket]] = set()
    won = None
    try:
        while left or running:
            if left:
                attempt = asyncio.ensure_future(_connected(left.popleft()))
                attempts[attempt] = None
                running.add(attempt)
            await asyncio.wait(
                running, timeout=STAGGER_S if left else None, return_when=asyncio.FIRST_COMPLETED
            )
            running = {attempt for attempt in running if not attempt.done()}
            won = next((attempt for attempt in attempts if _has_won(attempt)), None)
            if won is not None:
                return won.result()
    finally:
        for attempt in attempts:
            if attempt is not won:
                attempt.cancel()
                attempt.add_done_callback(_drop)
    return next(iter(attempts)).result()  # raises: there is always one


def _has_won(attempt: asyncio.Task[socket.socket]) -> bool:
    return attempt.done() and not attempt.cancelled() and attempt.exception() is None


def _drop(attempt: asyncio.Task[socket.socket]) -> None:
    if _has_won(attempt):
        attempt.result().close()


async def _connected(address: Address) -> socket.socket:
    made = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        await asyncio.get_running_loop().sock_connect(made, address.sockaddr)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException as error:
        made.close()
        if isinstance(error, OSError) and error.errno is not None:
            # asyncio puts the address where the system's words belong.
            raise OSError(error.errno, os.strerror(error.errno)) from error
        raise
    return made
