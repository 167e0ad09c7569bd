"""A scripted HTTP/1.1 server on 127.0.0.1 for tests, and `echo` on a socket for benchmarks.

A handler gets each request and says, step by step, what is written back: bytes as they are, and
between them pauses, stalls, resets. One thread runs an event loop for all connections; a reply is
played by call-backs, not by a task a connection, which is why two thousand cost little and why
stopping takes no patience.

As a program (`python tests/support/servers/loopback.py --port 0`) it prints its URL and answers as `echo`.
"""

from __future__ import annotations

import argparse
import asyncio
import atexit
import contextlib
import functools
import random
import shutil
import socket
import ssl
import sys
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import responses
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import orjson

from chatpipe.local import model
from chatpipe.serve import reply_steps
from chatpipe.serve.client_connection import ClientConnection
from chatpipe.serve.reply_steps import Close as Close
from chatpipe.serve.reply_steps import Pause as Pause
from chatpipe.serve.reply_steps import ReplyPlan
from chatpipe.serve.reply_steps import Reset as Reset
from chatpipe.serve.request_log import LogEntry
from chatpipe.serve.served_request import ServedRequest
from chatpipe.serve.wakeup import Wakeup

sys.path.insert(0, str(Path(__file__).parents[2]))  # it is a program, too
from support import patience

Headers = Mapping[str, str] | Iterable[tuple[str, str]]

_HOST = "127.0.0.1"
_random = random.SystemRandom()  # the other one is seeded by hypothesis
_POLL = 0.001  # seconds between two looks at a threading.Event, or at a condition of a test


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    target: str  # as on the request line
    headers: dict[str, str]  # lower-case names; repeated ones joined by ", "
    body: bytes  # without the framing of chunks
    connection: int  # which connection it came on, from 0
    at: float  # time.monotonic() when its last byte was here
    keep_alive: bool  # whether the client may send another one on this connection

    def json(self) -> Any:
        return orjson.loads(self.body)


@dataclass(frozen=True, slots=True)
class WaitFor:
    event: threading.Event


@dataclass(frozen=True, slots=True)
class Stall:
    """Say nothing more, until the client goes away or the server stops."""


Step = reply_steps.Step | WaitFor | Stall
Answer = bytes | model.Reply | Iterable[Step]
Handler = Callable[[Request], Answer]


# Replies


def head(status: int, headers: Headers) -> bytes:
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    lines = [
        f"HTTP/1.1 {status} {responses.get(status, 'Unknown')}",
        *(f"{name}: {value}" for name, value in pairs),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def reply(status: int = 200, body: bytes | dict[str, Any] | list[Any] = b"", headers: Headers = ()) -> bytes:
    """A whole reply with Content-Length. A dict or list is sent as JSON; headers win over those made here."""
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    kind = "text/plain" if isinstance(body, bytes) else "application/json"
    return head(status, _with({"content-type": kind, "content-length": str(len(data))}, headers)) + data


def chunked(
    pieces: Iterable[bytes], *, status: int = 200, headers: Headers = (), end: bytes | None = b"0\r\n\r\n"
) -> list[bytes]:
    """A reply in chunks: the head, each piece framed, the last chunk (end=None leaves it out: a cut body)."""
    made = _with({"content-type": "application/json", "transfer-encoding": "chunked"}, headers)
    return [head(status, made), *map(_framed, pieces), *([] if end is None else [end])]


def event_stream(
    pieces: bytes | Iterable[bytes],
    *,
    chunked: bool = True,
    pace: float = 0.0,
    status: int = 200,
    headers: Headers = (),
    end: bool = True,
) -> list[Step]:
    """An event stream, each piece a chunk of its own, pace seconds before each but the first.

    Not chunked, it ends by closing. end=False leaves the end out, for a step that breaks it off.
    """
    framing = {"transfer-encoding": "chunked"} if chunked else {"connection": "close"}
    steps: list[Step] = [head(status, _with({"content-type": "text/event-stream", **framing}, headers))]
    for at, piece in enumerate([pieces] if isinstance(pieces, bytes) else pieces):
        if at and pace:
            steps.append(Pause(pace))
        steps.append(_framed(piece) if chunked else piece)
    if end:
        steps.append(b"0\r\n\r\n" if chunked else Close())
    return steps


def error(
    status: int,
    message: str,
    type: str = "invalid_request_error",
    code: str | int | None = None,
    param: str | None = None,
    headers: Headers = (),
) -> bytes:
    what = {"message": message, "type": type, "param": param, "code": code}
    return reply(status, {"error": what}, headers)


def in_turn(*replies: Answer) -> Handler:
    """The first reply to the first request, and so on; the last one for ever."""
    left = deque(replies)

    def handler(_: Request) -> Answer:
        return left.popleft() if len(left) > 1 else left[0]

    return handler


def echoing(request: Request) -> model.Reply:
    return model.answer_http(request.method, request.target, request.body)


def _framed(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""  # an empty chunk would be the last one


def _with(defaults: dict[str, str], headers: Headers) -> list[tuple[str, str]]:
    given = list(headers.items() if isinstance(headers, Mapping) else headers)
    names = {name.lower() for name, _ in given}
    return [*((name, value) for name, value in defaults.items() if name not in names), *given]


# Samples of what servers say


def completion(text: str | None, *, finish_reason: str | None = "stop", **fields: Any) -> dict[str, Any]:
    """A completion object of one choice; fields replace or add top-level keys, `message` the message."""
    message = fields.pop("message", {"role": "assistant", "content": text, "refusal": None})
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "m",
        "choices": [choice],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
        **fields,
    }


def chunk(
    delta: str | dict[str, Any] | None = None,
    *,
    finish_reason: str | None = None,
    index: int = 0,
    **fields: Any,
) -> dict[str, Any]:
    """A chunk of one choice: a str is its delta's content, None an empty delta."""
    said = {"content": delta} if isinstance(delta, str) else delta or {}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1700000000,
        "model": "m",
        "choices": [{"index": index, "delta": said, "logprobs": None, "finish_reason": finish_reason}],
        **fields,
    }


def event(value: Any) -> bytes:
    """One event of a stream; bytes are its data as they are."""
    return b"data: " + (value if isinstance(value, bytes) else orjson.dumps(value)) + b"\n\n"


def stream_of(
    text: str | Sequence[str],
    *,
    finish_reason: str | None = "stop",
    usage: dict[str, Any] | None = None,
    done: bool = True,
    **fields: Any,
) -> list[bytes]:
    """The events of a streamed answer: the role, a chunk a piece of text, the end, usage if given, [DONE].

    A str is one piece. finish_reason=None leaves the finishing chunk out, done=False the [DONE].
    """
    chunks = [chunk({"role": "assistant", "content": ""}, **fields)]
    chunks += [chunk(piece, **fields) for piece in ([text] if isinstance(text, str) else text)]
    if finish_reason is not None:
        chunks.append(chunk(finish_reason=finish_reason, **fields))
    if usage is not None:
        chunks.append({**chunk(**fields), "choices": [], "usage": usage})
    return [*map(event, chunks), *([event(b"[DONE]")] if done else [])]


# The server


class _InThread(ABC):
    """An asyncio server in a thread of its own, from `with` to its end.

    What goes wrong in there is raised at the end of the `with`, unless the test has failed already.
    """

    scheme = "http"

    def __init__(self, port: int = 0) -> None:
        self.failures: list[BaseException] = []
        self._wanted_port = port
        self._started = threading.Event()

    def __enter__(self) -> Self:
        self.listen()
        self._thread = threading.Thread(target=self._run, name=f"loopback-{self.port}", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._started.wait()
        with contextlib.suppress(RuntimeError):  # the loop has ended by itself: by a failure
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._listener.close()
        if error is None and self.failures:
            raise self.failures[0]

    def listen(self) -> None:
        """From here on clients can connect: they wait in the kernel for the thread to come up."""
        self._listener = _listener(self._wanted_port)
        self.port: int = self._listener.getsockname()[1]
        self.origin = f"{self.scheme}://{_HOST}:{self.port}"
        self.url = self.origin

    def until(self, condition: Callable[[], object]) -> None:
        """Wait until condition() is true, for what the loop's thread is about to notice."""
        patience.until(condition)

    def _run(self) -> None:
        try:
            asyncio.run(self.serving())
        except BaseException as error:
            self.failures.append(error)
        finally:
            self._started.set()

    async def serving(self) -> None:
        """Serve until the `with` ends; then no connection is left open."""
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(self._failed)
        self._stop = asyncio.Event()
        server = await self._open()
        self._started.set()
        await self._stop.wait()
        # Accept no more, and let those that are accepted get their transports: a server that is
        # closed between the two steps drops them with their sockets open (an assert in asyncio 3.11)
        self._loop.remove_reader(self._listener)
        await _turns()
        server.close()
        self._abort()
        rest = asyncio.all_tasks() - {asyncio.current_task()}  # also TLS handshakes that nobody goes on with
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        await _turns()  # for TLS, its transport and the socket to close one another

    def _failed(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception") or RuntimeError(context["message"])
        # In its debug mode asyncio also tells of clients that break off a handshake, which is their right
        if isinstance(error, OSError | asyncio.CancelledError):
            return
        # asyncio tells a protocol twice that its transport is lost which is aborted behind its last write
        if not any(getattr(each, "name", "") == "connection_lost" for each in (error, error.__context__)):
            self.failures.append(error)

    @abstractmethod
    async def _open(self) -> asyncio.Server: ...

    @abstractmethod
    def _abort(self) -> None:
        """End every connection at once."""


async def _turns() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


class Server(_InThread):
    """See serve(). Its figures are written by its thread only; read them when you know it is at rest."""

    def __init__(
        self, handler: Handler, *, tls: ssl.SSLContext | None = None, port: int = 0, keep: bool = True
    ) -> None:
        super().__init__(port)
        self.handler = handler
        self.scheme = "https" if tls else "http"
        self.requests: list[Request] = []
        self.connections = 0  # accepted so far; with TLS, those whose handshake is done
        self.disconnects = 0  # replies during which the client went away
        self.busy = 0  # replies being written now
        self.busy_posts = 0  # those to a POST; a run may also GET the gauges of a server
        self.peak = 0  # the most there were of these at one time
        self.open: set[ClientConnection] = set()
        self.is_ending = False
        self.keep = keep  # whether requests are remembered
        self.read_buffer = memoryview(bytearray(1 << 16))
        self._tls = tls

    def listen(self) -> None:
        super().listen()
        self.url = f"{self.origin}/v1"

    async def _open(self) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        return await loop.create_server(
            lambda: _Connection(_Owner(self)), sock=self._listener, ssl=self._tls, backlog=4096
        )

    def _abort(self) -> None:
        self.is_ending = True
        for connection in list(self.open):
            connection.abort()


def serve(handler: Handler = echoing, *, tls: ssl.SSLContext | None = None) -> Server:
    """A server to be used in a `with`; handler runs in the server's thread, one request at a time."""
    return Server(handler, tls=tls)


class _Connection(ClientConnection):
    """A connection of `chatpipe serve` whose replies are those of a test's handler."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        # One byte not yet with the kernel counts as full: a reply is done when it is written whole.
        # Not 0, at which asyncio's TLS pauses on an empty buffer and never resumes
        transport.set_write_buffer_limits(high=1)
        super().connection_made(transport)


class _Owner:
    """The server as one connection sees it, see ConnectionOwner: it knows the number of the connection."""

    max_body = 1 << 40
    is_stopping = False

    def __init__(self, server: Server) -> None:
        self._server = server
        self._number = server.connections
        self.read_buffer = server.read_buffer

    def open_form(self, *_: object) -> None:
        """No upload is anything else than a body."""

    def site_refusal(self, *_: object) -> None:
        """Any host is that of a test."""

    def reply_to(self, request: ServedRequest, *, can_write: bool) -> ReplyPlan:
        server = self._server
        seen = Request(
            request.method,
            request.target,
            request.headers,
            request.body,
            self._number,
            time.monotonic(),
            request.keep_alive,
        )
        if server.keep:
            server.requests.append(seen)
        server.busy += 1
        server.busy_posts += seen.method == "POST"
        server.peak = max(server.peak, server.busy_posts)
        return _ScriptedPlan(server.handler, seen)

    def steps(self, plan: ReplyPlan, request: ServedRequest) -> Generator[reply_steps.Step, None, None]:
        if isinstance(plan, _ScriptedPlan):
            return plan.scripted_steps()
        return reply_steps.steps_of_reply(plan, request)  # of the refusal of a request that cannot be read

    def note_bug(self, error: Exception) -> str:
        self._server.failures.append(
            error
        )  # a mistake in the test: it must not look like a fault of the client
        return str(error)

    def opened(self, connection: ClientConnection) -> None:
        self._server.connections += 1
        self._server.open.add(connection)

    def closed(self, connection: ClientConnection) -> None:
        self._server.open.discard(connection)

    def answered(self, entry: LogEntry, plan: ReplyPlan, *, is_complete: bool) -> None:
        if isinstance(plan, _ScriptedPlan):
            self._server.busy -= 1
            self._server.busy_posts -= plan.request.method == "POST"
            self._server.disconnects += not (is_complete or plan.has_failed or self._server.is_ending)


class _ScriptedPlan(ReplyPlan):
    """A reply whose steps are those of a handler, head and all."""

    __slots__ = ("_handler", "has_failed", "request")

    def __init__(self, handler: Handler, request: Request) -> None:
        super().__init__(0, (), ())
        self._handler = handler
        self.request = request
        self.has_failed = False

    def scripted_steps(self) -> Generator[reply_steps.Step, None, None]:
        try:
            for step in steps_of(self._handler(self.request)):
                if isinstance(step, WaitFor):
                    while not step.event.is_set():
                        yield Pause(_POLL)
                elif isinstance(step, Stall):
                    yield Wakeup()
                else:
                    yield step
        except Exception:
            self.has_failed = True
            raise
        if not self.request.keep_alive:
            yield Close()


def steps_of(answer: Answer) -> Iterable[Step]:
    if isinstance(answer, bytes):
        return [answer]
    if not isinstance(answer, model.Reply):
        return answer
    headers = dict(answer.headers)
    if headers["content-type"].startswith("text/event-stream"):
        return event_stream(answer.pieces, status=answer.status, headers=headers)
    return [reply(answer.status, b"".join(answer.pieces), headers)]


def _listener(port: int) -> socket.socket:
    listener = socket.create_server((_HOST, port), backlog=4096)
    listener.setblocking(False)
    return listener


@contextlib.contextmanager
def silent() -> Iterator[int]:
    """The port of a listener that connects and then never says a word, not even in a TLS handshake."""
    with _listener(0) as listener:
        yield listener.getsockname()[1]


def closed_port() -> int:
    """A port on which nobody listens, until a server of the test does.

    It is below the ports that the system itself gives out, to what connects or asks for any port: one of
    those might be taken a moment later by a test that runs at the same time.
    """
    while True:
        port = _random.randrange(15_000, 30_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((_HOST, port))
            return port


# A proxy


@dataclass(frozen=True, slots=True)
class Asked:
    """One request to a proxy: ("CONNECT", "127.0.0.1:80") or ("POST", "http://127.0.0.1:80/v1/...")."""

    method: str
    target: str
    headers: dict[str, str]  # lower-case names


class Proxy(_InThread):
    """A forward proxy, for CONNECT and for absolute-form targets; one exchange a connection.

    refuse is a status to answer everything with: 407, 502. routes has ports of this machine for the
    hosts of targets, as they are written there: "api.example:443".
    """

    def __init__(self, refuse: int | None = None, routes: Mapping[str, int] | None = None) -> None:
        super().__init__()
        self.refuse = refuse
        self.routes = routes or {}
        self.asked: list[Asked] = []
        self._writers: set[asyncio.StreamWriter] = set()

    async def _open(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, sock=self._listener)

    def _abort(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    @contextlib.contextmanager
    def _using(self, writer: asyncio.StreamWriter) -> Iterator[None]:
        self._writers.add(writer)
        try:
            yield
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # EOF in a head, a peer that resets, the end of the test: ways for a connection to end, not failures
        endings = (asyncio.IncompleteReadError, OSError, asyncio.CancelledError)
        with contextlib.suppress(*endings), self._using(writer):
            await self._exchange(reader, writer)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
        method, target, _ = first.split(" ")
        pairs = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        self.asked.append(Asked(method, target, dict(pairs)))
        if self.refuse is not None:
            writer.write(reply(self.refuse, b"", {"connection": "close"}))
            return
        tunnel = method == "CONNECT"
        there = urlsplit(f"//{target}" if tunnel else target)
        port = self.routes.get(there.netloc)
        host = there.hostname if port is None else _HOST
        upstream, upwriter = await asyncio.open_connection(host, port or there.port)
        with self._using(upwriter):
            if tunnel:
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                kept = [f"{name}: {value}" for name, value in pairs if name not in _HOP_BY_HOP]
                path = there._replace(scheme="", netloc="").geturl()
                sent = [f"{method} {path} HTTP/1.1", *kept, "connection: close", "", ""]
                upwriter.write("\r\n".join(sent).encode("latin-1"))
            upward = asyncio.ensure_future(_pump(reader, upwriter))
            if not tunnel:
                writer.write(await upstream.readuntil(b"\r\n") + b"connection: close\r\n")
            downward = asyncio.ensure_future(_pump(upstream, writer))
            try:  # either end that is done ends both: nobody here closes one half only
                await asyncio.wait((upward, downward), return_when=asyncio.FIRST_COMPLETED)
            finally:
                upward.cancel()
                downward.cancel()


_HOP_BY_HOP = frozenset(("connection", "proxy-connection", "proxy-authorization", "keep-alive"))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


# TLS


@dataclass(frozen=True, slots=True)
class Tls:
    """Server contexts by one authority, and what a client needs, as a context and as files."""

    server: ssl.SSLContext  # for 127.0.0.1 and localhost
    wrong_name: ssl.SSLContext  # for elsewhere.example only
    asks_client: ssl.SSLContext  # as server, and wants a certificate of the same authority from the client
    client: ssl.SSLContext  # trusts the authority, and only it
    ca_pem: Path
    client_cert: Path
    client_key: Path


@functools.cache
def tls_contexts() -> Tls:
    """Made once a process; the files are gone when it ends."""
    import trustme

    folder = Path(tempfile.mkdtemp(prefix="loopback-tls-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    client = authority.issue_cert("client@example.com")
    client.private_key_pem.write_to_path(folder / "client.key")
    client.cert_chain_pems[0].write_to_path(folder / "client.pem")

    def context(*names: str) -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*names).configure_cert(made)
        return made

    asks_client = context(_HOST, "localhost")
    asks_client.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(asks_client)
    return Tls(
        server=context(_HOST, "localhost"),
        wrong_name=context("elsewhere.example"),
        asks_client=asks_client,
        client=ssl.create_default_context(cafile=folder / "ca.pem"),
        ca_pem=folder / "ca.pem",
        client_cert=folder / "client.pem",
        client_key=folder / "client.key",
    )


# As a program


def canned(latency_s: float, chunks: int | None, per_write: int) -> Handler:
    """The same reply to everybody, made beforehand: a completion, or an event stream of so many chunks."""
    if chunks is None:
        written = [reply(200, completion("An answer that was made beforehand, of some sixty characters"))]
    else:
        steps = event_stream(stream_of([f"piece {at:06} of text " for at in range(chunks)]))
        whole = [step for step in steps if isinstance(step, bytes)]
        written = [b"".join(whole[at : at + per_write]) for at in range(0, len(whole), per_write)]
    steps = [Pause(latency_s), *written] if latency_s else [*written]
    return lambda _: steps


def delayed(handler: Handler, latency_s: float) -> Handler:
    return (lambda request: [Pause(latency_s), *steps_of(handler(request))]) if latency_s else handler


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve the model echo on 127.0.0.1.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--latency", type=float, default=0.0, metavar="S", help="seconds before each reply")
    parser.add_argument("--canned", action="store_true", help="one completion for all, made beforehand")
    parser.add_argument(
        "--chunks", type=int, metavar="N", help="one event stream for all, of N chunks of text"
    )
    parser.add_argument(
        "--per-write", type=int, default=1, metavar="N", help="events in one write (with --chunks)"
    )
    parser.add_argument("--tls", metavar="FILE", help="over https, with this certificate and its key")
    options = parser.parse_args()
    fixed = options.canned or options.chunks is not None
    handler = (
        canned(options.latency, options.chunks, options.per_write)
        if fixed
        else delayed(echoing, options.latency)
    )
    tls = None
    if options.tls is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(options.tls)
    server = Server(handler, port=options.port, keep=False, tls=tls)
    server.listen()
    print(server.url, flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(server.serving())


if __name__ == "__main__":
    main()
