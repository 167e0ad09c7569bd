"""A provider of jobs without a socket: the planner of `serve` behind a transport, and a clock of ours."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx

from chatpipe.exchange import ExchangeContext
from chatpipe.jobs.job_api import JobApi
from chatpipe.jobs.job_dialects import DIALECTS
from chatpipe.models.connections import Connection
from chatpipe.options.output import ConsoleOptions
from chatpipe.options.serve import ServeOptions
from chatpipe.options.server import RetryPolicy, ServerOptions
from chatpipe.serve.fault_grammar import parse_fault
from chatpipe.serve.planner import Planner, Times
from chatpipe.serve.reply_steps import Close, Reset, steps_of_reply
from chatpipe.serve.served_request import ServedRequest
from chatpipe.server.endpoints import Endpoint
from chatpipe.server.profiles import DEFAULT
from chatpipe.server.server import Server
from chatpipe.system.console import Console

BASE_URL = "http://provider.test/v1"
BEGIN = 1_790_000_000.0


class Killed(BaseException):
    """The process was killed at this point."""


class Provider:
    """The provider, and its client.

    notes and warnings are what the client said, slept the seconds that it waited.
    kill_at is the number of the point at which the client is killed: before and after each request.
    """

    dialect = "openai"

    def __init__(self, *faults: str, retries: int = 4, **options: Any) -> None:
        self.planner = Planner(ServeOptions(faults=tuple(map(parse_fault, faults)), **options))
        self.clock_s = 0.0
        self.notes: list[str] = []
        self.warnings: list[str] = []
        self.slept: list[float] = []
        self.calls: list[str] = []
        self.kill_at: int | None = None
        self.points = 0
        self._retries = retries

    def api(self) -> JobApi:
        """A new client."""
        server = Server(Endpoint(BASE_URL, (), None, DEFAULT), (), None, ServerOptions())
        context = ExchangeContext(
            _Transport(self),
            self._sleep,
            self.notes.append,
            monotonic=lambda: self.clock_s,
            now=lambda: BEGIN + self.clock_s,
            random=lambda: 0.0,
        )
        connection = Connection(server, _Console(self.warnings), context, RetryPolicy(self._retries))
        return JobApi(connection, DIALECTS[self.dialect])

    def point(self) -> None:
        """A point at which the client may be killed. Nothing that it does later has an effect."""
        self.points += 1
        if self.kill_at is not None and self.points >= self.kill_at:
            raise Killed

    def jobs(self) -> list[dict[str, Any]]:
        """All jobs as the planner has them, the newest first. It is a look at each."""
        page = Provider.answer(self, ServedRequest("GET", "/v1/batches?limit=100", {}, b""))
        found: list[dict[str, Any]] = json.loads(page.content)["data"]
        return found

    def planner_target(self, target: str) -> str:
        """The target of a request as the planner has it."""
        return target

    def uploaded(self, form: bytes) -> bytes:
        """An upload as the planner has it."""
        return form

    def answer(self, request: ServedRequest) -> httpx.Response:
        """The reply, whole; its stream breaks where the provider closes the connection."""
        plan = self.planner.plan(request, Times(self.clock_s, BEGIN + self.clock_s))
        data = b""
        for step in steps_of_reply(plan, request):
            if isinstance(step, bytes):
                data += step
            if isinstance(step, Close | Reset):
                break
        if not data:
            raise httpx.RemoteProtocolError("closed without a reply")
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        pairs = [line.partition(": ") for line in lines]
        headers = {name: value for name, _, value in pairs}
        length = headers.get("content-length", str(len(body)))
        stream = _Body(body, is_cut=len(body) < int(length))
        response = httpx.Response(int(first.split()[1]), headers=headers, stream=stream)
        response._content = body
        return response

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock_s += seconds


class _Console(Console):
    """Keeps its warnings."""

    def __init__(self, warnings: list[str]) -> None:
        super().__init__(ConsoleOptions(quiet=True))
        self._warnings = warnings

    def warning(self, text: str) -> None:
        self._warnings.append(text)
        super().warning(text)


class _Body(httpx.AsyncByteStream):
    def __init__(self, data: bytes, *, is_cut: bool) -> None:
        self._data = data
        self._is_cut = is_cut

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._data
        if self._is_cut:
            raise httpx.RemoteProtocolError("closed before the end of the reply")


class _Transport(httpx.AsyncBaseTransport):
    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        provider = self._provider
        target = request.url.raw_path.decode()
        provider.calls.append(f"{request.method} {target.removeprefix('/v1')}")
        target = provider.planner_target(target)
        headers = {name.lower(): value for name, value in request.headers.raw}
        form = provider.planner.open_form(request.method, target, headers)
        body = b"".join([piece async for piece in request.stream])  # type: ignore[union-attr]
        provider.point()
        if form is not None:
            form.feed(provider.uploaded(body))
        response = provider.answer(
            ServedRequest(request.method, target, headers, b"" if form else body, form=form)
        )
        provider.point()
        response.request = request
        return response


def changed(value: Any, status: int = 200) -> httpx.Response:
    """A reply with another value."""
    content = httpx.ByteStream(json.dumps(value).encode())
    return httpx.Response(status, headers={"content-type": "application/json"}, stream=content)


def counted(points: Provider, call: Callable[..., None]) -> Callable[..., None]:
    """The call, with a point before and after it."""

    def run(*words: Any, **fields: Any) -> None:
        points.point()
        call(*words, **fields)
        points.point()

    return run
