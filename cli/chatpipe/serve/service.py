"""The local server, from its socket to its end: it answers until a signal stops it.

listen -> print the URL -> answer -> SIGTERM -> let replies end, for a moment -> status 0
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import suppress
from typing import Any

from chatpipe.errors import CannotWrite, Interrupted, NoAccess, UsageFault, reason
from chatpipe.options.serve import ServeOptions
from chatpipe.serve.client_connection import ClientConnection
from chatpipe.serve.listener import announce, are_loopback, listen, site_access
from chatpipe.serve.observer import Observer
from chatpipe.serve.planner import Planner, ScriptedModel, bug_plan
from chatpipe.serve.reply_maker import ReplyMaker
from chatpipe.serve.reply_steps import ReplyPlan, Step, steps_of_reply
from chatpipe.serve.request_log import LogEntry
from chatpipe.serve.served_request import ServedRequest
from chatpipe.system import secrets, signals
from chatpipe.system.console import Console

_GRACE_S = 0.5  # for replies in progress when a signal arrives
_REQUEST_S = 60.0  # from one byte of a request to its next
_SWEEP_S = 1.0
_READ_BYTES = 256 << 10  # the most that one read brings
_VERDICT_PATH = "/_chatpipe/verdict"
_LATE = "Your request is not complete, and nothing more came of it for 60 seconds"


class Service:
    """A server for one run of `serve`. Its connections call it: see ConnectionOwner."""

    def __init__(
        self,
        options: ServeOptions,
        console: Console,
        environ: Mapping[str, str],
        script: ScriptedModel | None = None,
    ) -> None:
        self._options = options
        self._console = console
        self._source = None
        if options.upstream is not None or options.recordings.replay is not None:
            from chatpipe.serve.open_source import open_source  # it imports httpx

            self._source = open_source(options, environ, console, self._fail)
        self._observer = Observer(options, console)
        key = _required_key(options.require_key_env, environ)
        self._script = script
        own = {_VERDICT_PATH: self._observer.reply}
        self._planner = Planner(options, key, self._source, own, script)
        self._replies = ReplyMaker(self._planner, self._observer)
        self.open_form = self._planner.open_form
        self._connections: set[ClientConnection] = set()
        self._failure: BaseException | None = None
        self._stop: asyncio.Event
        self.site_refusal: Callable[[bytes, Mapping[bytes, bytes]], str | None]
        self.read_buffer = memoryview(bytearray(_READ_BYTES))
        self.max_body = options.max_body
        self.is_stopping = False

    def run(self) -> int:
        """Serve until a signal. SIGTERM is the regular end, and status 0.

        Raises what ends the server otherwise: Interrupted for the other signals, a failure of its output,
        ClientAtFault.
        """
        if sys.stdout is None:
            raise CannotWrite("stdout is closed", fix="redirect it: the URL is written there")
        if self._options.log not in (None, "-"):  # a service whose log is rotated may get SIGHUP
            signals.ignore_hangup_without_terminal()
        try:
            with signals.interruptible():
                signals.run_loop(self._serve())
        except Interrupted as interruption:
            if not self.is_stopping:
                raise
            signals.forget_received()
            self._report()
            if interruption.number in (signal.SIGTERM, signal.SIGINT):
                self._observer.judge()
            if interruption.number != signal.SIGTERM:
                raise
        except CannotWrite:  # a recording, while clients were served
            if self.is_stopping:
                with suppress(CannotWrite):
                    self._report()
            raise
        return 0

    def _report(self) -> None:
        """Report what the server has seen, at its end. Raises CannotWrite."""
        for line in self._script.unused() if self._script is not None else ():
            self._console.note(line)
        self._observer.report()

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._note_failure)
        self._stop = asyncio.Event()
        listeners = listen(self._options.host, self._options.port)
        if self._source is not None and self._source.is_at(listeners[0].getsockname()[1]):
            raise UsageFault("it is this server itself", place="--upstream", fix="choose another --port")
        self.site_refusal = site_access(listeners, self._options).refusal
        self._observer.open()
        if not are_loopback(listeners) and self._options.require_key_env is None:
            self._console.warning("other machines can reach this server, and it requires no key")
        servers = [await loop.create_server(lambda: ClientConnection(self), sock=each) for each in listeners]
        with signals.call_on_signal(self._stop_by_signal, _GRACE_S):
            announce(listeners)
            sweeper = asyncio.create_task(self._sweep(loop.time))
            await self._stop.wait()
            sweeper.cancel()
            self.is_stopping = True
            await self._close(servers)
        if self._failure is not None:
            raise self._failure

    async def _close(self, servers: Iterable[asyncio.Server]) -> None:
        """Accept no more, let replies end for a moment, and cut the rest."""
        await asyncio.sleep(0)  # those that are accepted get their transports
        for server in servers:
            server.close()
        end = asyncio.get_running_loop().time() + (_GRACE_S if self._failure is None else 0.0)
        for connection in list(self._connections):
            connection.close()
        while self._connections and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(_GRACE_S / 50)
        for connection in list(self._connections):
            connection.abort()
        await asyncio.sleep(0)
        if self._source is not None:
            await self._source.aclose()

    def _stop_by_signal(self, number: int) -> None:
        self._stop.set()

    async def _sweep(self, now: Callable[[], float]) -> None:
        """Refuse requests whose client has stopped sending."""
        while True:
            await asyncio.sleep(_SWEEP_S)
            latest = now() - _REQUEST_S
            for connection in list(self._connections):
                if connection.since is not None and connection.since < latest:
                    connection.refuse(408, _LATE)

    # What the connections call

    def reply_to(self, request: ServedRequest, *, can_write: bool) -> bytes | ReplyPlan:
        make = self._replies.reply_to if can_write else self._replies.plan
        try:
            return make(request, len(self._connections))
        except Exception as error:  # a bug must not end a server that others use
            return bug_plan(self.note_bug(error))

    def steps(self, plan: ReplyPlan, request: ServedRequest) -> Generator[Step, None, None]:
        return steps_of_reply(plan, request)

    def note_bug(self, error: Exception) -> str:
        text = f"a bug in chatpipe: {type(error).__name__}: {error}"
        self._console.warn_once([text])
        return text

    def opened(self, connection: ClientConnection) -> None:
        self._connections.add(connection)

    def closed(self, connection: ClientConnection) -> None:
        self._connections.discard(connection)

    def answered(self, entry: LogEntry, plan: ReplyPlan, *, is_complete: bool) -> None:
        if is_complete:
            self._planner.count(plan)
        if self._failure is not None:
            return
        try:
            self._observer.ended(entry, plan, is_complete=is_complete, is_stopping=self.is_stopping)
        except BaseException as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """End the server with an error."""
        if self._failure is None:
            self._failure = error
        self._stop.set()

    def _note_failure(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Report what goes wrong in the loop: connections that cannot be accepted, and bugs."""
        error = context.get("exception")
        if isinstance(error, ConnectionError):
            return
        if isinstance(error, OSError):
            self._console.warn_once([f"cannot take a connection: {reason(error)}"])
        elif isinstance(error, Exception):
            self.note_bug(error)


def _required_key(name: str | None, environ: Mapping[str, str]) -> str | None:
    """The key in the variable, which is hidden from now on. Raises NoAccess if it has none."""
    if name is None:
        return None
    key = environ.get(name, "").strip()
    secrets.add(key)
    if not key:
        fix = "export it, or name another one"
        raise NoAccess(f"variable '{name}' is not set", place="--require-key-env", fix=fix)
    return key
