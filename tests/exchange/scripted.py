"""A server of few words for `exchange`, and everything else that it needs of the world, written down."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx
import orjson

from chatpipe.errors import ChatpipeError
from chatpipe.exchange import ExchangeContext, fetch, run_without_loop, send
from chatpipe.inputs import values
from chatpipe.options.server import ExchangeLimits, RetryPolicy
from chatpipe.response.chunks import with_deltas
from chatpipe.wire import answer as wire
from chatpipe.wire.answer import Answer

NOW = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT
URL = "http://127.0.0.1:9/v1/chat/completions"
MODELS_URL = "http://127.0.0.1:9/v1/models"
DONE = b"data: [DONE]\n\n"

Made = httpx.Response | Exception
Step = Made | Callable[[httpx.Request], Made]


class Body(httpx.AsyncByteStream):
    """Pieces of a body as they come; an exception among them is raised there. closed: it was let go."""

    def __init__(self, pieces: Iterable[bytes | BaseException]) -> None:
        self.pieces = list(pieces)
        self.taken = 0
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            self.taken += 1
            if isinstance(piece, BaseException):
                raise piece
            yield piece

    async def aclose(self) -> None:
        self.closed = True


def event(value: Any) -> bytes:
    return b"data: " + orjson.dumps(value) + b"\n\n"


def piece(content: str, finish: str | None = None) -> bytes:
    """One event of a streamed answer of one choice."""
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": finish}
    return event({"id": "c1", "object": "chat.completion.chunk", "choices": [choice]})


def stream(*pieces: bytes | BaseException, kind: str = "text/event-stream", **headers: str) -> httpx.Response:
    return httpx.Response(200, headers={"content-type": kind, **headers}, stream=Body(pieces))


def whole(content: str = "hi", status: int = 200, headers: Mapping[str, str] | None = None) -> httpx.Response:
    message = {"role": "assistant", "content": content}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return plain(orjson.dumps({"id": "c1", "choices": [choice]}), status=status, headers=headers)


def plain(
    *pieces: bytes | BaseException, status: int = 200, headers: Mapping[str, str] | None = None
) -> httpx.Response:
    return httpx.Response(
        status, headers={"content-type": "application/json", **(headers or {})}, stream=Body(pieces)
    )


def error(status: int, code: str | int | None = None, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = {"error": {"message": "no", "type": None, "param": None, "code": code}}
    return plain(orjson.dumps(body), status=status, headers=named)


@dataclass
class Receiver:
    """The data that a receiver got. started_at: number of chunks after which it wrote; None is never."""

    started_at: int | None = None
    data: bytes = b""
    payloads: list[bytes] = field(default_factory=list)
    raised: Exception | None = None
    takes: Literal["bytes"] = "bytes"
    is_ending: bool = False

    @property
    def started(self) -> bool:
        return self.started_at is not None and len(self.payloads) >= self.started_at

    def raw(self, data: bytes) -> None:
        self.data += data

    def chunk(self, payload: bytes, chunk: Mapping[str, Any]) -> None:
        self.payloads.append(payload)
        assert with_deltas(values.loads_exact(payload)) == chunk
        if self.raised is not None:
            raise self.raised

    def expect_end(self) -> None:
        assert not self.is_ending
        self.is_ending = True


@dataclass
class Server:
    """Replies in turn, a clock that only sleeping and `advance` move, and what was told."""

    steps: list[Step]
    clock: float = 100.0
    slept: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    details: list[str] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)
    requests: list[httpx.Request] = field(default_factory=list)
    replies: list[httpx.Response] = field(default_factory=list)

    def handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        step = self.steps.pop(0)
        made = step if isinstance(step, (httpx.Response, Exception)) else step(request)
        if isinstance(made, Exception):
            raise made
        self.replies.append(made)
        return made

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock += seconds

    def advance(self, seconds: float, then: Made) -> Callable[[httpx.Request], Made]:
        """A step that takes its time."""

        def step(_: httpx.Request) -> Made:
            self.clock += seconds
            return then

        return step

    @property
    def all_closed(self) -> bool:
        return all(reply.stream.closed for reply in self.replies if isinstance(reply.stream, Body))

    def ask(
        self,
        receiver: wire.Receiver | None = None,
        limits: ExchangeLimits | None = None,
        retries: int = 4,
        request: httpx.Request | None = None,
    ) -> Answer:
        request = request or httpx.Request("POST", URL, content=b'{"a":1}')
        taker = receiver or Receiver()
        return run_without_loop(
            send(request, self.world(), taker, limits or ExchangeLimits(), RetryPolicy(retries=retries))
        )

    def fetch(self, limits: ExchangeLimits | None = None, retries: int = 4) -> Answer:
        """The answer to a GET."""
        request = httpx.Request("GET", MODELS_URL)
        return run_without_loop(
            fetch(request, self.world(), limits or ExchangeLimits(), RetryPolicy(retries=retries))
        )

    def world(self) -> ExchangeContext:
        return ExchangeContext(
            httpx.MockTransport(self.handle),
            self.sleep,
            self.notes.append,
            self.details.append,
            self.warned.extend,
            monotonic=lambda: self.clock,
            now=lambda: NOW,
            random=lambda: 0.0,
        )

    def failure(self, *arguments: Any, **named: Any) -> tuple[Answer, ChatpipeError]:
        """The answer to `ask` and its fault; there has to be one."""
        answer = self.ask(*arguments, **named)
        assert answer.fault is not None
        return answer, answer.fault

    def fault(self, *arguments: Any, **named: Any) -> ChatpipeError:
        return self.failure(*arguments, **named)[1]


def content(answer: Answer) -> Any:
    """The text of the first choice."""
    assert answer.completion is not None
    return answer.completion["choices"][0]["message"]["content"]


def served(*steps: Step) -> Server:
    return Server(list(steps))
