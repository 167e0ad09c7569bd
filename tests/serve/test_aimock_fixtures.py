"""aimock_fixtures.py: what a fixture admits and answers as a rule of a script."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chatpipe.errors import ChatpipeError
from chatpipe.inputs.place import Source
from chatpipe.local.chat_body import ChatBody
from chatpipe.serve.reply_steps import TimedReply
from chatpipe.serve.script import Script, parse_script
from serve.test_script import ASKED, RESULT, SYSTEM, TOOLS, body_of, chat, text_of


def fixtures(*entries: Any) -> Script:
    return parse_script(Source("f.json", json.dumps({"fixtures": entries}, indent=2).encode()))


def fixture(response: Any, match: Any = None, **more: Any) -> dict[str, Any]:
    return {"match": match or {}, "response": response, **more}


YES = {"content": "yes"}


@pytest.mark.parametrize(
    ("match", "body", "is_admitted"),
    [
        ({"userMessage": "rain"}, chat("the weather"), False),
        ({"userMessage": "weather"}, chat("the weather"), True),
        ({"systemMessage": "kind"}, chat(SYSTEM, "a"), True),
        ({"systemMessage": ["be", "kind"]}, chat(SYSTEM, "a"), True),
        ({"systemMessage": ["be", "rude"]}, chat(SYSTEM, "a"), False),
        ({"systemMessage": []}, chat("a"), True),
        ({"toolCallId": "c1"}, chat("a", ASKED, RESULT), True),
        ({"toolCallId": "c2"}, chat("a", ASKED, RESULT), False),
        ({"toolResultContains": "12"}, chat("a", ASKED, RESULT), True),
        ({"toolName": "weather"}, chat("a", **TOOLS), True),
        ({"toolName": "eat"}, chat("a", **TOOLS), False),
        ({"model": "m"}, chat("a"), True),  # m-1: a date behind it
        ({"model": "m-"}, chat("a"), False),
        ({"responseFormat": "json_object"}, chat("a", response_format={"type": "json_object"}), True),
        ({"responseFormat": "json_object"}, chat("a"), False),
        ({"turnIndex": 1}, chat("a", ASKED, RESULT), True),
        ({"turnIndex": 0}, chat("a", ASKED, RESULT), False),
        ({"hasToolResult": True}, chat("a", ASKED, RESULT), True),
        ({"hasToolResult": False}, chat("a", ASKED, RESULT), False),
        ({"endpoint": "chat", "userMessage": "a"}, chat("a"), True),
    ],
)
def test_a_fixture_admits_what_aimock_admits(
    match: dict[str, Any], body: ChatBody, is_admitted: bool
) -> None:
    assert (text_of(fixtures(fixture(YES, match)).reply_to(body)) == "yes") == is_admitted


def test_the_sequence_begins_with_0() -> None:
    found = fixtures(
        *(fixture({"content": str(n)}, {"userMessage": "a", "sequenceIndex": n}) for n in (0, 1))
    )
    assert [text_of(found.reply_to(chat("a"))) for _ in range(2)] == ["0", "1"]
    assert found.reply_to(chat("a")) is None


@pytest.mark.parametrize(
    ("response", "message", "finish_reason"),
    [
        ({"content": {"a": 1}}, {"content": '{"a":1}'}, "stop"),
        ({"content": "a", "finishReason": "length"}, {"content": "a"}, "length"),
        ({"content": "a", "reasoning": "b"}, {"content": "a"}, "stop"),
        ({"content": "", "id": "x", "role": "assistant"}, {"content": ""}, "stop"),
        (
            {"blocks": [{"type": "toolCall", "name": "f", "arguments": "{}"}, {"type": "text", "text": "t"}]},
            {"content": "t"},
            "tool_calls",
        ),
    ],
)
def test_an_answer_of_a_fixture_is_that_of_aimock(
    response: dict[str, Any], message: dict[str, Any], finish_reason: str
) -> None:
    choice = body_of(fixtures(fixture(response)).reply_to(chat("a")))["choices"][0]
    assert choice["message"] | message == choice["message"]
    assert choice["finish_reason"] == finish_reason


def test_calls_and_usage() -> None:
    calls = [{"name": "f", "arguments": {"a": 1}, "id": "call_9"}, {"name": "g", "arguments": "{}"}]
    usage = {"input_tokens": 3, "output_tokens": 4}
    body = body_of(fixtures(fixture({"toolCalls": calls, "usage": usage})).reply_to(chat("a")))
    made = body["choices"][0]["message"]["tool_calls"]
    assert [(each["function"]["name"], each["function"]["arguments"]) for each in made] == [
        ("f", '{"a":1}'),
        ("g", "{}"),
    ]
    assert made[0]["id"] == "call_9"
    assert (body["usage"]["prompt_tokens"], body["usage"]["completion_tokens"]) == (3, 4)


def test_errors_have_a_status_and_a_wait() -> None:
    error = {"message": "slow", "type": "rate_limit_error", "code": "c"}
    busy = {"status": 429}
    for more, status, wait in ((busy, 429, "1"), (busy | {"retryAfter": 30}, 429, "30"), ({}, 500, None)):
        reply = fixtures(fixture({"error": error, **more})).reply_to(chat("a"))
        assert reply is not None
        assert (reply.status, dict(reply.headers).get("retry-after")) == (status, wait)
        assert body_of(reply)["error"] == {**error, "param": None}


def test_an_error_has_no_chunks_to_cut_and_to_delay() -> None:
    profile = {"ttft": 200, "tps": 40}
    reply = fixtures(
        fixture({"error": {"message": "slow"}}, chunkSize=2, streamingProfile=profile, chaos={"latencyMs": 5})
    ).reply_to(chat("a", stream=True))
    assert reply is not None
    assert (reply.status, reply.latency_s, reply.chunk_delay_s) == (500, 0.005, None)  # type: ignore[attr-defined]


def test_times_and_breaks() -> None:
    profile = {"ttft": 200, "tps": 40, "jitter": 0.1}
    reply = fixtures(
        fixture({"content": "abcd"}, chunkSize=2, truncateAfterChunks=3, streamingProfile=profile)
    ).reply_to(chat("a", stream=True))
    assert reply is not None
    assert (reply.chunk_delay_s, [fault.kind for fault in reply.faults]) == (0.025, ["ttft", "cut"])  # type: ignore[attr-defined]
    assert [b'"content":"ab"' in piece for piece in reply.pieces][1]


@pytest.mark.parametrize(
    ("fields", "delay", "faults"),
    [
        ({"latency": 20}, 0.02, []),
        ({"latency": 20, "replaySpeed": 2}, 0.01, []),
        ({"recordedTimings": {"ttftMs": 30, "interChunkDelaysMs": [10, 0, 20]}}, 0.01, [("ttft", 0.03)]),
        ({"recordedTimings": {"ttftMs": 30, "interChunkDelaysMs": []}}, None, [("ttft", 0.03)]),
        ({"latency": 20, "disconnectAfterMs": 50}, 0.02, [("cut", 3)]),
        ({"latency": 20, "disconnectAfterMs": 50, "truncateAfterChunks": 1}, 0.02, [("cut", 1)]),
        ({"streamingProfile": {"ttft": 40}, "disconnectAfterMs": 30}, None, [("ttft", 0.04), ("cut", 0)]),
        ({"disconnectAfterMs": 30}, None, []),  # it is over by then
        ({"disconnectAfterMs": 0}, None, [("cut", 0)]),
    ],
)
def test_times_of_a_fixture_become_delays_and_faults(
    fields: dict[str, Any], delay: float | None, faults: list[tuple[str, float]]
) -> None:
    reply = fixtures(fixture(YES, **fields)).reply_to(chat("a", stream=True))
    assert isinstance(reply, TimedReply)
    assert reply.chunk_delay_s == delay
    assert [(fault.kind, fault.value) for fault in reply.faults] == faults


def test_fields_that_are_not_used_are_named() -> None:
    chaos = {"dropRate": 0.5, "latencyMs": 100}
    found = fixtures(
        fixture(YES | {"id": "x"}, {"userMessage": "a"}, chaos=chaos, metadata={"systemHash": "1"}),
        fixture(YES | {"id": "y", "role": "assistant"}, streamingProfile={"ttft": 1, "jitter": 0.1}),
    )
    assert list(found.warnings()) == [
        "f.json:3: 'response.id' of a fixture is not used, here and in 1 other fixture",
        "f.json:3: 'chaos.dropRate' of a fixture is not used",
        "f.json:19: 'streamingProfile.jitter' of a fixture is not used",
    ]
    reply = found.reply_to(chat("a"))
    assert isinstance(reply, TimedReply)
    assert reply.latency_s == 0.1


def test_fixtures_of_other_apis_are_left_out() -> None:
    others = [
        fixture({"embedding": [0.1]}, {"inputText": "a"}),
        fixture({"image": {"url": "u"}}),
        fixture(YES, {"endpoint": "image"}),
    ]
    found = fixtures(*others, fixture(YES))
    assert list(found.warnings()) == ["f.json: 3 fixtures are not for Chat Completions, and left out"]
    assert text_of(found.reply_to(chat("a"))) == "yes"


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (5, "f.json:11: a fixture is a number, not an object"),
        ({"match": {}}, "f.json:11: a fixture has no 'match' or no 'response'"),
        (fixture(YES, {"userMessages": "a"}), "f.json:11: 'userMessages' is not a known condition"),
        (fixture({"content": 5, "toolCalls": 3}), "f.json:11: "),
        (fixture({"error": {"message": "a"}, "status": 200}), "f.json:11: "),
    ],
)
def test_what_is_no_fixture_has_its_line(entry: Any, words: str) -> None:
    with pytest.raises(ChatpipeError) as caught:
        fixtures(fixture(YES, {"userMessage": "x, [{\n"}), entry)
    fault = caught.value
    assert str(getattr(fault, "faults", [fault])[0]).startswith(words)
