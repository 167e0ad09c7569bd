"""The workers of a run over the real transport of one, with workers in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import orjson
import pytest

from chatpipe.cluster.cluster_transport import ClusterTransport
from chatpipe.cluster.frames import Frame, FrameKind
from chatpipe.cluster.parcels import WorkerReply
from chatpipe.cluster.plain_faults import write_fault
from chatpipe.cluster.terms import private_terms, write_terms
from chatpipe.cluster.workers import ClusterWords, RelayLink, Workers
from chatpipe.errors import ChatpipeError, NoAccess, NoServerLeft, Status, Unreachable
from chatpipe.options.server import ServerOptions
from chatpipe.server.endpoints import resolve_endpoints
from chatpipe.server.request_extensions import LOST_KEPT, MAX_REPLY
from chatpipe.server.server import Server, open_servers
from chatpipe.wire.light_messages import headers_by_name
from cluster.crew import Crew
from support.servers import loopback
from support.speed import at_any_speed

KEY = "sk-canary-0123456789abcdef"
BODY = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'


class Run:
    """A run over workers. asked sends a request and returns its whole reply."""

    def __init__(self, server: Server, crew: Crew, patience_s: float) -> None:
        self.server = server
        self.crew = crew
        self.said: list[str] = []
        words = ClusterWords("the cluster", "it is lost", "run again")
        self.workers = Workers(crew.start, words, self.said.append, self.said.append, patience_s)
        self.transport = ClusterTransport(
            self.workers, server, 0, lambda index, headers: 1, lambda texts: self.said.extend(texts)
        )

    def request(self, method: str = "POST", **extensions: Any) -> httpx.Request:
        return httpx.Request(
            method,
            self.server.completions_url(),
            headers=[("Host", "h"), *self.server.headers],
            stream=httpx.ByteStream(BODY),
            extensions={"timeout": {"connect": 5, "read": 5, "write": 5, "pool": 5}, **extensions},
        )

    async def ask(self, **extensions: Any) -> tuple[int, bytes]:
        response = await self.transport.handle_async_request(self.request(**extensions))
        assert isinstance(response.stream, httpx.AsyncByteStream)
        return response.status_code, b"".join([piece async for piece in response.stream])


@asynccontextmanager
async def a_run(base_url: str, workers: int = 1, patience_s: float = 20.0) -> AsyncIterator[Run]:
    options = ServerOptions(base_urls=(base_url,), allow_http=True)
    environ = {"CHATPIPE_API_KEY": KEY}
    servers = open_servers(resolve_endpoints(options, environ), options, environ)
    run = Run(servers[0], Crew(write_terms(private_terms(servers, 8, verbose=False)), workers), patience_s)
    try:
        yield run
    finally:
        await run.transport.aclose()
        await run.crew.aclose()


def played(
    answer: loopback.Handler, play: Callable[[Run], Awaitable[None]], **options: float
) -> loopback.Server:
    """Play against a server with this answer."""
    with loopback.serve(answer) as server:

        async def main() -> None:
            async with a_run(f"{server.url}/v1", **options) as run:  # type: ignore[arg-type]
                await play(run)

        asyncio.run(asyncio.wait_for(main(), 30))
    return server


def test_a_reply_comes_with_the_key_that_only_the_worker_adds() -> None:
    async def play(run: Run) -> None:
        status, body = await run.ask()
        assert status == 200
        assert orjson.loads(body)["choices"][0]["message"]["content"] == "hi"
        assert KEY.encode() not in b"".join(run.crew.sent)

    server = played(loopback.echoing, play)
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert server.requests[0].body == BODY


def test_a_new_key_reaches_the_workers_without_being_sent_to_them() -> None:
    new = "sk-renewed-0123456789abcdef"

    async def play(run: Run) -> None:
        await run.ask()
        headers = tuple(
            (name, value.replace(KEY, new) if KEY in value else value) for name, value in run.server.headers
        )
        run.server = run.server._replace(headers=headers)
        run.crew.terms = write_terms(private_terms([run.server], 8, verbose=False, key=1))
        await asyncio.gather(run.ask(), run.ask())
        assert new.encode() not in b"".join(run.crew.sent)

    server = played(loopback.echoing, play)
    keys = [request.headers["authorization"] for request in server.requests]
    assert keys == [f"Bearer {KEY}", f"Bearer {new}", f"Bearer {new}"]


ANSWERS = {
    "refusal": loopback.error(401, f"wrong key {KEY}"),
    "content": loopback.reply(200, loopback.completion(f"your key is {KEY}")),
    "stream": loopback.event_stream(loopback.stream_of(["your key is ", KEY[:9], KEY[9:], "."])),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_a_key_that_a_server_sends_back_does_not_leave_the_worker(answer: loopback.Answer) -> None:
    async def play(run: Run) -> None:
        _, body = await run.ask()
        text = body.decode()
        assert KEY not in text
        assert KEY[9:] not in text
        assert "***" in text

    played(lambda request: answer, play)


def test_a_header_that_is_not_ascii_is_one_like_any_other() -> None:
    fields = {"Content-Type": "application/json", "X-Request-Id": "n\u00famero 7"}

    async def play(run: Run) -> None:
        response = await run.transport.handle_async_request(run.request())
        assert headers_by_name(response)["x-request-id"] == "n\u00famero 7"

    played(lambda request: loopback.reply(200, loopback.completion("hi"), fields), play)


FAILURES = {
    "cut": ([*loopback.chunked([b'{"choices":'], end=None), loopback.Close()], httpx.RemoteProtocolError),
    "too long": (loopback.reply(200, b"x" * 2000), httpx.TransportError),
}


@pytest.mark.parametrize(("answer", "error"), FAILURES.values(), ids=FAILURES)
def test_a_reply_that_fails_raises_what_any_transport_raises(
    answer: loopback.Answer, error: type[Exception]
) -> None:
    async def play(run: Run) -> None:
        with pytest.raises(error):
            await run.ask(**{MAX_REPLY: 1000})

    played(lambda request: answer, play)


def test_a_worker_reports_that_a_kept_connection_was_lost() -> None:
    """The run sends such a request again at once, on a new connection."""

    async def play(run: Run) -> None:
        assert (await run.ask())[0] == 200
        request = run.request()
        with pytest.raises(httpx.RemoteProtocolError):
            await run.transport.handle_async_request(request)
        assert request.extensions[LOST_KEPT]
        assert (await run.transport.handle_async_request(request)).status_code == 200
        assert LOST_KEPT not in request.extensions

    good = loopback.reply(200, loopback.completion("hi"))
    server = played(loopback.in_turn(good, [loopback.Close()], good), play)
    assert (server.connections, len(server.requests)) == (2, 3)


def test_a_server_that_is_not_there_is_told_as_such() -> None:
    async def main() -> None:
        async with a_run(f"http://127.0.0.1:{loopback.closed_port()}/v1") as run:
            with pytest.raises(httpx.ConnectError):
                await run.ask()

    asyncio.run(main())


def test_a_stream_ends_with_its_last_event_although_the_server_says_no_more() -> None:
    events = loopback.stream_of("hi")
    steps = [*loopback.event_stream(events, end=False), loopback.Pause(30.0)]

    async def play(run: Run) -> None:
        status, body = await run.ask()
        assert (status, body) == (200, b"".join(events))

    played(lambda request: steps, play)


def test_what_a_lost_worker_had_goes_to_the_others_and_is_answered_once() -> None:
    seen: list[bytes] = []

    def answer(request: loopback.Request) -> list[loopback.Step]:
        seen.append(request.body)
        slow: list[loopback.Step] = [loopback.Pause(30.0), loopback.reply(200, loopback.completion("late"))]
        return slow if len(seen) <= 4 else [loopback.reply(200, loopback.completion("hi"))]

    async def play(run: Run) -> None:
        asked = [asyncio.create_task(run.ask()) for _ in range(4)]
        while len(seen) < 4:
            await asyncio.sleep(0.01)
        run.crew.lose(1)
        run.crew.lose(2)
        await asyncio.sleep(0)
        await run.crew.join()
        assert [status for status, _ in await asyncio.gather(*asked)] == [200] * 4
        assert [text.partition(",")[0] for text in run.said] == ["a worker is lost"] * 2

    server = played(answer, play, workers=2)
    assert len(server.requests) == 8


def test_a_reply_from_a_worker_that_was_taken_for_lost_is_dropped() -> None:
    async def play(run: Run) -> None:
        await run.ask()
        run.workers._deliver(WorkerReply(1, 200, [], b"again"))
        assert (await run.ask())[0] == 200

    played(loopback.echoing, play)


def test_a_request_that_kills_its_workers_is_not_given_to_all_of_them() -> None:
    async def play(run: Run) -> None:
        asked = asyncio.create_task(run.ask())
        for number in (1, 2, 3):
            while number not in run.crew.workers or not run.crew.workers[number]._tasks:
                await asyncio.sleep(0.01)
            run.crew.lose(number)
            await run.crew.join()
        with pytest.raises(httpx.ReadError, match="died, 3 times"):
            await asked

    played(lambda request: [loopback.Pause(30.0)], play)


def test_a_request_that_nobody_waits_for_is_ended_at_the_worker() -> None:
    async def play(run: Run) -> None:
        asked = asyncio.create_task(run.ask())
        while not (run.crew.workers and run.crew.workers[1]._tasks):
            await asyncio.sleep(0.01)
        asked.cancel()
        while run.crew.workers[1]._tasks:
            await asyncio.sleep(0.01)

    played(lambda request: [loopback.Pause(30.0)], play)


def test_nothing_is_sent_after_the_end() -> None:
    """The end of a request is gathered for a moment before it is sent, and the run may end in that moment."""

    async def play(run: Run) -> None:
        asked = asyncio.create_task(run.ask())
        while not (run.crew.workers and run.crew.workers[1]._tasks):
            await asyncio.sleep(0.01)
        asked.cancel()
        await asyncio.wait([asked])
        await run.transport.aclose()
        sent = len(run.crew.sent)
        await asyncio.sleep(0.05)
        assert len(run.crew.sent) == sent

    played(lambda request: [loopback.Pause(30.0)], play)


@at_any_speed
def test_a_run_without_workers_loses_patience(factor: int) -> None:
    async def play(run: Run) -> None:
        await run.ask()
        run.crew.lose(1)
        await asyncio.sleep(0)
        with pytest.raises(NoServerLeft, match=r"waited [01] s for a worker"):
            await run.ask()

    played(loopback.echoing, play, patience_s=0.05 * factor)


@at_any_speed
def test_the_start_of_a_cluster_is_no_wait_for_a_worker(factor: int) -> None:
    """Ray takes 5 to 30 seconds to start: the patience with workers begins when it is there."""

    async def play(run: Run) -> None:
        crew, start = run.crew, run.crew.start

        async def start_late() -> RelayLink:
            asyncio.get_running_loop().call_later(0.3 * factor, lambda: asyncio.ensure_future(start()))
            return RelayLink(crew.send, crew.messages.get, crew.close)

        run.workers._start = start_late
        assert (await run.ask())[0] == 200

    played(loopback.echoing, play, patience_s=0.2 * factor)


ENDS = {
    "a worker without a key": (
        Frame(FrameKind.UNUSABLE, 1, write_fault(NoAccess("no key"))),
        Status.NO_ACCESS,
    ),
    "no cluster": (Frame(FrameKind.FAULT, 0, write_fault(NoAccess("no key"))), Status.NO_ACCESS),
    "the relay is gone": (None, Status.UNREACHABLE),
}


@pytest.mark.parametrize(("message", "status"), ENDS.values(), ids=ENDS)
def test_before_anything_is_sent_a_fault_ends_the_run(message: Frame | None, status: Status) -> None:
    async def play(run: Run) -> None:
        async def never() -> int:
            run.crew.messages.put_nowait(message)
            return 0

        run.crew.join = never  # type: ignore[method-assign]
        for _ in range(2):
            with pytest.raises(ChatpipeError) as raised:
                await run.ask()
            assert raised.value.status == status

    assert not played(loopback.echoing, play).requests


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (None, "it is lost"),
        (Frame(FrameKind.FAULT, 0, write_fault(Unreachable("Ray has ended"))), "Ray has ended"),
    ],
    ids=["the relay is gone", "Ray has ended"],
)
def test_the_end_of_a_cluster_says_how_many_requests_are_lost(message: Frame | None, words: str) -> None:
    async def play(run: Run) -> None:
        asked = [asyncio.create_task(run.ask()) for _ in range(3)]
        while not (run.crew.workers and len(run.crew.workers[1]._tasks) == 3):
            await asyncio.sleep(0.01)
        run.crew.messages.put_nowait(message)
        for each in asked:
            with pytest.raises(ChatpipeError, match=f"^{words}, with 3 requests in flight"):
                await each

    played(lambda request: [loopback.Pause(30.0)], play)


WARNINGS = {
    "a worker that is of no use": (
        Frame(FrameKind.UNUSABLE, 2, write_fault(NoAccess("no key"))),
        "a worker cannot be used: no key",
    ),
    "a warning of the relay": (Frame(FrameKind.WARNING, 0, b"no answer"), "no answer"),
}


@pytest.mark.parametrize(("message", "warning"), WARNINGS.values(), ids=WARNINGS)
def test_a_message_that_is_a_warning_once_the_run_has_begun(message: Frame, warning: str) -> None:
    async def play(run: Run) -> None:
        await run.ask()
        run.crew.messages.put_nowait(message)
        assert (await run.ask())[0] == 200
        assert run.said == [warning]

    played(loopback.echoing, play)
