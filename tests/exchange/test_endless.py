"""Replies without an end, through both transports: each is cut off at its limit and never asked for again."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from itertools import repeat
from typing import NamedTuple

import httpx
import orjson
import pytest

from chatpipe.errors import BrokenAnswer, ReplyTooLong, Status
from chatpipe.exchange import ExchangeContext, run_without_loop, send
from chatpipe.options.server import ExchangeLimits, RetryPolicy
from chatpipe.server.request_extensions import CHOICES
from chatpipe.wire.answer import Answer
from exchange.scripted import URL, Receiver, Server, content, piece, plain, served, stream
from support.senders import event_loop, transport_to
from support.servers import loopback
from support.servers.loopback import Proxy, Step, chunk, completion, event, head, serve

LIMIT = 300_000
HIGH = 64_000_000
LONG = 60_000


class Endless(NamedTuple):
    """A reply: its first bytes, then others for ever. what is said of it, and the limit of the request."""

    start: bytes
    more: bytes
    what: str = "longer than 300 kB"
    limit: int = LIMIT

    def steps(self, _: loopback.Request) -> Iterator[Step]:
        yield self.start
        yield from repeat(self.more)


def framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def compressed(data: bytes) -> Endless:
    """Data that unpack without an end: the same compressed block for ever."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    start = packer.compress(data) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(b" " * 10_000_000) + packer.flush(zlib.Z_FULL_FLUSH)
    return Endless(head(200, {"content-type": "application/json", "content-encoding": "gzip"}) + start, block)


OK = b"HTTP/1.1 200 OK\r\n"
JSON = head(200, {"content-type": "application/json", "transfer-encoding": "chunked"})
SSE = head(200, {"content-type": "text/event-stream"})
HEAD_LIMIT = "more than 65536 bytes of head or trailers"
REPLIES = {
    "JSON": Endless(JSON + framed(b'{"choices":['), framed(b'"x",' * LONG)),
    "a string in JSON": Endless(JSON + framed(b'{"choices":[{"message":{"content":"'), framed(b"x" * LONG)),
    "text": Endless(head(200, {"content-type": "text/html"}), b"x" * LONG),
    "white space": Endless(JSON, framed(b" \n" * LONG)),
    "white space in small chunks": Endless(JSON, framed(b" ") * 10_000, "of chunk sizes and extensions"),
    "a line": Endless(SSE + b"data: ", b"x" * LONG),
    "a comment": Endless(SSE + b":", b"x" * LONG),
    "comments": Endless(SSE, b": ping\n\n" * LONG),
    "blank lines": Endless(SSE, b"\n" * LONG),
    "an event": Endless(SSE, b"data: x\n" * LONG),
    "chunks": Endless(SSE, piece("x") * 1000),
    "white space far below the limit": Endless(JSON, framed(b" \n" * LONG), "nothing but white space", HIGH),
    "comments far below the limit": Endless(SSE, b": %b\n\n" % (b"x" * LONG), "no part of it came", HIGH),
    "a comment far below the limit": Endless(SSE + b":", b"x" * LONG, "no part of it came", HIGH),
    "a status line": Endless(b"HTTP/1.1 200 ", b"x" * LONG, HEAD_LIMIT),
    "a header": Endless(OK + b"X: ", b"x" * LONG, HEAD_LIMIT),
    "headers": Endless(OK, b"X: y\r\n" * 1000, "more than 256 headers"),
    "1xx": Endless(b"", b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n" * 1000, HEAD_LIMIT),
    "an extension": Endless(JSON + b"1;", b"x" * LONG, HEAD_LIMIT),
    "extensions": Endless(JSON, (b"1;" + b"x" * LONG + b"\r\n \r\n"), "of chunk sizes and extensions"),
    "trailers": Endless(JSON + framed(b'{"choi') + b"0\r\n", b"X: y\r\n" * 10_000, HEAD_LIMIT),
    "compressed": compressed(b'{"choices":['),
}


def answers(reply: Endless, *, pool: bool, proxy: str | None = None) -> tuple[Answer, int]:
    """The answer to a request, and the number of requests that it took."""
    with serve(reply.steps) as server:
        request = httpx.Request("POST", f"{server.url}/chat/completions", content=b"{}")
        limits = ExchangeLimits(max_reply_bytes=reply.limit)

        async def run() -> Answer:
            transport = transport_to(server.url, None, 1 if pool else None, proxy=proxy)
            try:
                return await send(
                    request, ExchangeContext(transport, _no_sleep, print), Receiver(), limits, RetryPolicy(2)
                )
            finally:
                await transport.aclose()

        if not pool:
            return run_without_loop(run()), len(server.requests)
        with event_loop() as run_in_loop:
            return run_in_loop(run()), len(server.requests)


async def _no_sleep(_: float) -> None:
    """No wait before the next attempt."""


@pytest.fixture(params=["blocking", "pool"])
def pool(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "pool")


@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES)
def test_a_reply_without_an_end_is_cut_off_and_not_asked_for_again(reply: Endless, pool: bool) -> None:
    answer, requests = answers(reply, pool=pool)
    assert isinstance(answer.fault, ReplyTooLong)
    assert (answer.fault.status, requests) == (Status.BROKEN_ANSWER, 1)
    assert reply.what in answer.fault.what
    assert len(answer.body or b"") <= reply.limit
    assert ("--max-reply" in answer.fault.fix) is ("longer than" in reply.what or "of chunk" in reply.what)


PAGE = b"<html><title>Sign in</title>"
TEXTS = {
    "lines that are no events": Endless(SSE, b"foo: bar\n" * LONG, "not JSON (expecting value): 'foo: bar"),
    "a text": Endless(JSON, framed(b"foo: bar\n" * LONG), "not JSON (expecting value): 'foo: bar"),
    "a page": Endless(SSE + PAGE, b"<br>" * LONG, "the answer is a web page, 'Sign in'"),
    "a page behind white space": Endless(JSON, framed(b"\n" * LONG + PAGE), "a web page, 'Sign in'"),
}


@pytest.mark.parametrize("reply", TEXTS.values(), ids=TEXTS)
def test_a_text_without_an_end_is_not_read_up_to_the_limit(reply: Endless, pool: bool) -> None:
    answer, requests = answers(reply._replace(limit=HIGH), pool=pool)
    assert isinstance(answer.fault, BrokenAnswer)
    assert reply.what in answer.fault.what
    assert (answer.fault.fix, requests) == ("check the base URL", 1)
    assert len(answer.body or b"") < 2_000_000


@pytest.mark.parametrize("name", ["a line", "extensions", "1xx"])
def test_a_reply_without_an_end_is_cut_off_behind_a_proxy(name: str, pool: bool) -> None:
    """httpcore counts nothing of what it receives beside a body."""
    with Proxy() as proxy:
        answer, requests = answers(REPLIES[name], pool=pool, proxy=proxy.url)
    assert isinstance(answer.fault, ReplyTooLong)
    assert requests == 1


@pytest.mark.parametrize(("n", "kept"), [(2, 128), (130, 130)])
def test_choices_beyond_those_asked_for_are_cut_off(n: int, kept: int) -> None:
    choices = [chunk("x", index=index)["choices"][0] for index in range(1000)]
    server = Server([stream(event({**chunk(), "choices": choices}))])
    request = httpx.Request("POST", URL, content=b"{}", extensions={CHOICES: n})
    answer, fault = server.failure(request=request)
    assert isinstance(fault, ReplyTooLong)
    assert "choices" in fault.what
    assert fault.fix == "see what the server sends with -f sse"
    assert answer.completion is not None
    assert len(answer.completion["choices"]) == kept
    assert len(server.requests) == 1


@pytest.mark.parametrize(("n", "kept"), [(2, 128), (130, 130)])
def test_choices_of_a_body_in_one_piece_are_cut_off_too(n: int, kept: int) -> None:
    choices = [completion("x")["choices"][0]] * 1000
    server = Server([plain(orjson.dumps({"choices": choices}))])
    answer, fault = server.failure(request=httpx.Request("POST", URL, content=b"{}", extensions={CHOICES: n}))
    assert isinstance(fault, ReplyTooLong)
    assert fault.fix == "see what the server sends with -f json"
    assert answer.completion is not None
    assert len(answer.completion["choices"]) == kept
    assert (answer.body, len(server.requests)) == (None, 1)


@pytest.mark.parametrize("streamed", [True, False])
def test_tool_calls_beyond_a_thousand_are_cut_off(streamed: bool) -> None:
    """Each takes more memory than the bytes that begin it."""
    calls = [{"index": index, "function": {"name": "f", "arguments": "{}"}} for index in range(1001)]
    whole = {"choices": [{"index": 0, "message": {"tool_calls": calls}, "finish_reason": "tool_calls"}]}
    events = [event(chunk({"tool_calls": [call]})) for call in calls]
    server = Server([stream(*events) if streamed else plain(orjson.dumps(whole))])
    answer, fault = server.failure()
    assert isinstance(fault, ReplyTooLong)
    assert "more than 1000 tool calls" in fault.what
    assert fault.fix == "limit the answer with --max-tokens"
    assert answer.completion is not None
    assert len(answer.completion["choices"][0]["message"]["tool_calls"]) == 1000
    assert len(server.requests) == 1


def test_a_name_of_a_tool_that_grows_without_an_end_is_cut_off() -> None:
    first = {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "a"}}]}
    more = {"tool_calls": [{"index": 0, "function": {"name": "b" * 1000}}]}
    fault = served(stream(*(event(chunk(each)) for each in [first, *[more] * 12]))).fault()
    assert isinstance(fault, ReplyTooLong)


def test_what_came_before_the_limit_is_kept(pool: bool) -> None:
    answer, _ = answers(REPLIES["a string in JSON"], pool=pool)
    assert answer.body is not None
    assert len(answer.body) == LIMIT
    answer, _ = answers(REPLIES["chunks"], pool=pool)
    assert set(content(answer)) == {"x"}


WHOLE = {
    "a trailer behind JSON": Endless(
        JSON + framed(orjson.dumps(loopback.completion("hi"))) + b"0\r\n", b"X: y\r\n" * 10_000
    ),
    "comments behind the last chunk": Endless(
        SSE + event(chunk("hi")) + event(chunk(finish_reason="stop")), b": ping\n\n" * LONG
    ),
    "events behind [DONE]": Endless(SSE + event(chunk("hi")) + event(b"[DONE]"), b"data: x\n\n" * LONG),
}


@pytest.mark.parametrize("reply", WHOLE.values(), ids=WHOLE)
def test_an_answer_that_came_whole_is_taken(reply: Endless, pool: bool) -> None:
    answer, requests = answers(reply, pool=pool)
    assert (answer.fault, requests, content(answer)) == (None, 1, "hi")


def test_an_error_without_an_end_keeps_its_status_and_words(pool: bool) -> None:
    start = head(400, {"content-type": "text/plain", "connection": "close"}) + b"no such model "
    answer, requests = answers(Endless(start, b" and more" * LONG), pool=pool)
    assert answer.fault is not None
    assert (answer.fault.status, answer.fault.http_status, requests) == (Status.BAD_INPUT, 400, 1)
    assert "no such model and more" in answer.fault.what


def test_a_reply_as_long_as_the_limit_is_taken(pool: bool) -> None:
    body = orjson.dumps(loopback.completion("hi"))
    exact = body + b" " * (LIMIT - len(body))
    last = Endless(JSON + framed(exact) + b"0\r\n\r\n", b"")
    answer, _ = answers(last, pool=pool)
    assert answer.fault is None
    assert answer.body == exact
