"""A worker: sends the requests that it is given over its own transports, and hands back what came.

It decides nothing: the run waits, retries and keeps its limits. Nothing in here knows Ray (ray_api.py).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

import httpx

from chatpipe.cluster.parcel_exchange import send_parcel
from chatpipe.cluster.parcels import Parcel, WorkerReply, read_parcels, write_replies
from chatpipe.cluster.terms import WorkerTerms, open_own_servers, read_terms
from chatpipe.errors import ChatpipeError
from chatpipe.inputs import values
from chatpipe.server.server import Server
from chatpipe.system import secrets
from chatpipe.system.descriptor_limit import raise_descriptor_limit
from chatpipe.wire.reply_memory import ReplyMemory
from chatpipe.wire.transports import open_transport

# Replies that arrive within this time go back together. It is short against the time of any answer.
_GATHER_S = 0.002
# A call for replies returns after this time without any, as a sign of life.
_SIGN_OF_LIFE_S = 1.0
_UNAUTHORIZED = 401


class Worker:
    """The worker of one run in its process. read gives the bytes of the terms, again after a new key."""

    def __init__(self, read: Callable[[], bytes]) -> None:
        self._read = read
        self._terms: WorkerTerms
        self._servers: tuple[Server, ...] = ()
        self._transports: list[httpx.AsyncBaseTransport] = []
        self._memory = ReplyMemory()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._ready: list[WorkerReply] = []
        self._is_ready = asyncio.Event()
        self._reading = asyncio.Lock()
        self._key_fault: ChatpipeError | None = None

    async def open(self) -> None:
        """Get ready to send. Raises ChatpipeError for a key or a file that is not there."""
        await self._read_terms()
        terms = self._terms
        raise_descriptor_limit(terms.jobs + len(self._servers))
        self._transports = [open_transport(each, os.environ, terms.jobs + 1) for each in self._servers]

    async def take(self, block: bytes) -> None:
        """Begin to send the requests of a block."""
        parcels, cancelled = read_parcels(block)
        for number in cancelled:
            if (task := self._tasks.get(number)) is not None:
                task.cancel()
        for parcel in parcels:
            self._tasks[parcel.number] = asyncio.create_task(self._answer(parcel))

    async def replies(self) -> bytes:
        """A block with the replies that have come since the last one; empty if there are none for a while."""
        try:
            await asyncio.wait_for(self._is_ready.wait(), _SIGN_OF_LIFE_S)
        except TimeoutError:
            return b""
        await asyncio.sleep(_GATHER_S)
        ready, self._ready = self._ready, []
        self._is_ready.clear()
        return write_replies(ready)

    async def _read_terms(self) -> None:
        self._terms = read_terms(await asyncio.to_thread(self._read))
        self._servers = await asyncio.to_thread(open_own_servers, self._terms, dict(os.environ))

    async def _answer(self, parcel: Parcel) -> None:
        try:
            if parcel.template.key > self._terms.key:
                await self._renew_key(parcel.template.key)
            fault = self._key_fault
            reply = await self._exchange(parcel) if fault is None else _without_key(parcel.number, fault)
        except Exception as error:  # a bug: the run must not wait for ever
            reply = WorkerReply(parcel.number, failure="unsendable", reason=secrets.hide(str(error)))
        finally:
            del self._tasks[parcel.number]
        self._ready.append(reply)
        self._is_ready.set()

    async def _renew_key(self, key: int) -> None:
        """Read the terms again, because the server refuses the key that they had."""
        async with self._reading:
            if key > self._terms.key:
                try:
                    await self._read_terms()
                    self._key_fault = None
                except ChatpipeError as fault:
                    self._key_fault = fault
                self._terms = self._terms._replace(key=key)

    async def _exchange(self, parcel: Parcel) -> WorkerReply:
        index, verbose = parcel.template.server, self._terms.verbose
        server, transport = self._servers[index], self._transports[index]
        return await send_parcel(parcel, server, transport, self._memory.extensions, verbose=verbose)


def _without_key(number: int, fault: ChatpipeError) -> WorkerReply:
    """The reply to a request whose key is gone: the one that it would get without a key."""
    body = values.dumps({"error": {"message": f"no new key: {secrets.hide(str(fault))}"}})
    return WorkerReply(number, _UNAUTHORIZED, (("content-type", "application/json"),), body)
