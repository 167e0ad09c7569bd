"""A recorded stream answers a plain request, and the other way."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from chatpipe.recordings.exchange_record import ExchangeRecord, RecordedReply, RecordedRequest
from chatpipe.recordings.reply_forms import as_asked, reply_to
from chatpipe.response.sse import EventDecoder
from support.parametrize import cases

EVENTS = (("content-type", "text/event-stream"), ("x-request-id", "r1"))
CALLS = [
    {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
    {"id": "c2", "type": "function", "function": {"name": "g", "arguments": '{"a":1}'}},
]
USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}


def completion(*messages: dict[str, Any], finish: str = "stop") -> dict[str, Any]:
    choices = [
        {"index": at, "message": message, "logprobs": None, "finish_reason": finish}
        for at, message in enumerate(messages)
    ]
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": choices,
        "usage": USAGE,
    }


def message(**more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "refusal": None, **more}


def plain(value: Any, status: int = 200) -> RecordedReply:
    data = value if isinstance(value, bytes) else orjson.dumps(value)
    return RecordedReply(status, (("content-type", "application/json"),), ((5, data),))


def chunk(**choice: Any) -> bytes:
    choices = [{"index": 0, "delta": {}, "finish_reason": None, **choice}]
    return b"data: " + orjson.dumps({"id": "1", "choices": choices}) + b"\n\n"


@cases(
    "whole",
    {
        "text": completion(message(content="Hello")),
        "calls": completion(message(tool_calls=CALLS), finish="tool_calls"),
        "several choices": completion(message(content="a"), message(content="b")),
        "reasoning": completion(message(content="a", reasoning_content="b")),
        "a refusal": completion(message(refusal="no")),
        "audio": completion(message(audio={"id": "a", "data": "AAAA", "transcript": "b", "expires_at": 1})),
        "empty": completion(message(content=""), finish="length"),
        "odd text": completion(message(content="\u2028\n\x00ä😀")),
    },
)
def test_there_and_back(whole: dict[str, Any]) -> None:
    asked = {"stream": True, "stream_options": {"include_usage": True}}
    stream = as_asked(plain(whole), asked)
    assert stream.is_stream
    assert orjson.loads(as_asked(stream, {"n": len(whole["choices"])}).body) == whole


def test_a_stream_has_its_usage_only_if_it_is_asked_for() -> None:
    stream = as_asked(plain(completion(message(content="Hello"))), {"stream": True})
    *chunks, done = EventDecoder().feed(stream.body)
    assert done == b"[DONE]"
    assert not any("usage" in orjson.loads(each) for each in chunks)


def test_calls_of_a_stream_are_numbered() -> None:
    stream = as_asked(plain(completion(message(tool_calls=CALLS))), {"stream": True})
    delta = orjson.loads(EventDecoder().feed(stream.body)[0])["choices"][0]["delta"]
    assert [call["index"] for call in delta["tool_calls"]] == [0, 1]


STREAM = (chunk(delta={"role": "assistant", "content": "Hel"}), chunk(delta={"content": "lo"}))
END = (chunk(finish_reason="stop"), b"data: [DONE]\n\n")
ERROR = b'data: {"error":{"message":"overloaded","code":503}}\n\n'


def streamed(*pieces: bytes, failure: str = "") -> RecordedReply:
    return RecordedReply(200, EVENTS, tuple(enumerate(pieces)), failure, "gone" if failure else "")


@cases(
    "reply, content, failure",
    {
        "whole": (streamed(*STREAM, *END), "Hello", ""),
        "pieces cut anywhere": (
            streamed(*(bytes([each]) for each in b"".join(STREAM + END))),
            "Hello",
            "",
        ),
        "reset behind its end": (streamed(*STREAM, *END, failure="reset"), "Hello", ""),
        "cut": (streamed(*STREAM, failure="reset"), None, "reset"),
        "without an end": (streamed(*STREAM), None, "cut"),
    },
)
def test_a_stream_for_a_plain_request(reply: RecordedReply, content: str | None, failure: str) -> None:
    made = as_asked(reply, {})
    assert dict(made.headers) == {"content-type": "application/json", "x-request-id": "r1"}
    assert made.failure == failure
    if content is None:
        assert made.body == b""
    else:
        assert orjson.loads(made.body)["choices"][0]["message"]["content"] == content


def test_an_error_in_a_stream_is_the_reply_to_a_plain_request() -> None:
    assert as_asked(streamed(*STREAM, ERROR), {}).body == ERROR[6:-2]


@cases(
    "reply, body",
    {
        "a stream for a stream": (streamed(*STREAM, *END), {"stream": True}),
        "a cut stream for a stream": (streamed(*STREAM, failure="cut"), {"stream": True}),
        "a completion for a plain request": (plain(completion(message(content="a"))), {}),
        "a refusal": (plain({"error": {}}, 400), {"stream": True}),
        "an error in 200": (plain({"error": {}}), {"stream": True}),
        "a page": (plain(b"<p>"), {"stream": True}),
        "a stream that is none": (streamed(b"data: {\n\n"), {}),
        "no reply": (RecordedReply(None, (), (), "refused"), {"stream": True}),
        "a request that is no JSON": (plain(completion(message(content="a"))), "text"),
    },
)
def test_others_stay_as_they_are(reply: RecordedReply, body: Any) -> None:
    assert as_asked(reply, body) == reply


@pytest.mark.parametrize("stream", [False, True])
def test_a_reply_in_another_form_than_was_asked_for_is_replayed_so(stream: bool) -> None:
    reply = plain(completion(message(content="a"))) if stream else streamed(*STREAM, *END)
    request = RecordedRequest("POST", "/v1/chat/completions", {"model": "m", "stream": stream})
    record = ExchangeRecord("", request, reply)
    assert reply_to(record, {"model": "m", "stream": stream}) == reply
    assert reply_to(record, {"model": "m", "stream": not stream}) == reply


@pytest.mark.parametrize("stream", [None, False, 1])
def test_only_true_asks_for_a_stream(stream: Any) -> None:
    assert as_asked(streamed(*STREAM, *END), {"stream": stream}).body.startswith(b"{")
