"""model.py: each thing that it honours: the request that asks for it, the part of the reply that shows it."""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
import sys
import wave
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest

from chatpipe.inputs.values import dumps
from chatpipe.local import model as echo
from chatpipe.local.answer_writer import (
    completion_of,
    count_tokens,
    plain_answer,
    plain_completion,
    tokens_of,
)
from support.parametrize import cases

API = Path(__file__).parents[2].parent / "shared" / "api"
PNG = base64.b64encode(bytes(70)).decode()
USER = [{"role": "user", "content": "Say this is a test"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"enum": ["C", "F"]}},
            "required": ["city", "unit"],
        },
    },
}
NOW = {"type": "function", "function": {"name": "now"}}
PATCH = {"type": "custom", "custom": {"name": "patch"}}
LEGACY = [{"name": "now"}, {"name": "weather", "parameters": WEATHER["function"]["parameters"]}]  # type: ignore[index]
RESULTS = [
    *USER,
    {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}, {"id": "2"}]},
    {"role": "tool", "tool_call_id": "1", "content": "20 C"},
    {"role": "tool", "tool_call_id": "2", "content": [{"type": "text", "text": "rain"}]},
]


def asked(**fields: Any) -> echo.Reply:
    return echo.answer_http("POST", "/v1/chat/completions", orjson.dumps({"messages": USER, **fields}))


def completion(**fields: Any) -> Any:
    reply = asked(**fields)
    assert reply.status == 200
    return parsed(reply)


def chunks(**fields: Any) -> list[Any]:
    """The chunks of the streamed answer; that [DONE] ends it is checked on the way."""
    reply = asked(stream=True, **fields)
    assert reply.status == 200
    *events, done = split_events(reply)
    assert done == b"data: [DONE]\n\n"
    return [orjson.loads(event[6:]) for event in events]


def split_events(reply: echo.Reply) -> list[bytes]:
    """The events of a stream. Each is a single line, and there is nothing between them."""
    data = b"".join(reply.pieces)
    events = re.findall(rb"data: [^\n]+\n\n", data)
    assert b"".join(events) == data
    return events


def said(**fields: Any) -> Any:
    return completion(**fields)["choices"][0]["message"]["content"]


def parsed(reply: echo.Reply) -> Any:
    return orjson.loads(b"".join(reply.pieces))


def refused(data: bytes) -> Any:
    reply = echo.answer_http("POST", "/v1/chat/completions", data)
    assert reply.status == 400
    return parsed(reply)["error"]


# The whole object, once


def test_completion_has_every_field_of_the_api() -> None:
    assert completion(model="gpt-x") | {"id": "?"} == {
        "id": "?",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "gpt-x",
        "service_tier": "default",
        "system_fingerprint": "fp_chatpipe",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "Say this is a test",
                    "refusal": None,
                    "annotations": [],
                },
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 5,
            "completion_tokens": 5,
            "total_tokens": 10,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        },
    }


def test_stream_is_role_then_tokens_then_end() -> None:
    found = chunks(max_tokens=2)
    assert [chunk["choices"] for chunk in found] == [
        [
            {
                "index": 0,
                "delta": {"role": "assistant", "content": "", "refusal": None},
                "logprobs": None,
                "finish_reason": None,
            }
        ],
        [{"index": 0, "delta": {"content": "Say"}, "logprobs": None, "finish_reason": None}],
        [{"index": 0, "delta": {"content": " this"}, "logprobs": None, "finish_reason": None}],
        [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "length"}],
    ]
    assert {chunk["object"] for chunk in found} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in found}) == 1
    assert not any("usage" in chunk for chunk in found)


# What it says


def user(content: Any) -> dict[str, Any]:
    """The messages of a request, in which the user says this."""
    return {"messages": [{"role": "user", "content": content}]}


def schema(name: str, **more: Any) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": name, **more}}}


NUMBER_AND_TEXT = {
    "type": "object",
    "properties": {"n": {"type": "integer", "minimum": 1}, "s": {"type": "string"}},
    "required": ["n", "s"],
}
TEST = "Say this is a test"

SAID: dict[str, tuple[dict[str, Any], Any]] = {
    "last-user-message": (
        {"messages": [*USER, {"role": "assistant", "content": "no"}, {"role": "user", "content": "yes"}]},
        "yes",
    ),
    "user-before-an-assistant": ({"messages": [*USER, {"role": "assistant", "content": "no"}]}, TEST),
    "no-user-message": (
        {"messages": [{"role": "system", "content": "a"}, {"role": "assistant", "content": "b"}]},
        "b",
    ),
    "no-content": ({"messages": [{"role": "user"}]}, ""),
    "white-space-kept": (user(" a\n\n b\t "), " a\n\n b\t "),
    "separators-of-unicode": (user("a\u2028b\u00a0c\u0085"), "a\u2028b\u00a0c\u0085"),
    "text-parts": (user([{"type": "text", "text": "a"}, {"type": "text", "text": "b c"}]), "a\nb c"),
    "max-tokens": ({"max_tokens": 2}, "Say this"),
    "max-completion-tokens": ({"max_completion_tokens": 1}, "Say"),
    "the-lower-of-both-limits": ({"max_completion_tokens": 3, "max_tokens": 2}, "Say this"),
    "limit-of-null": ({"max_tokens": None}, TEST),
    "stop-string": ({"stop": "is"}, "Say th"),
    "stop-list-takes-the-first-place": ({"stop": ["test", "a", "none"]}, "S"),
    "stop-not-there": ({"stop": ["none"]}, TEST),
    "stop-null": ({"stop": None}, TEST),
    "stop-empty-string": ({"stop": ""}, TEST),
    "json-object": ({"response_format": {"type": "json_object"}}, '{"echo":"Say this is a test"}'),
    "format-text": ({"response_format": {"type": "text"}}, TEST),
    "json-schema": (schema("x", schema=NUMBER_AND_TEXT), '{"n":1,"s":"Say this is a test"}'),
    "json-schema-without-schema": (schema("x"), '{"echo":"Say this is a test"}'),
    "tool-results": ({"messages": RESULTS, "tools": [WEATHER]}, "20 C\nrain"),
    "tool-results-although-forced": (
        {"messages": RESULTS, "tools": [WEATHER], "tool_choice": "required"},
        "20 C\nrain",
    ),
    "function-result": (
        {"messages": [*USER, {"role": "function", "name": "f", "content": "4"}], "functions": LEGACY},
        "4",
    ),
    "tool-choice-none": ({"tools": [WEATHER], "tool_choice": "none"}, TEST),
    "no-tools": ({"tools": []}, TEST),
    "function-call-none": ({"functions": LEGACY, "function_call": "none"}, TEST),
    "the-rest-is-ignored": (
        {"temperature": 0, "seed": 1, "reasoning_effort": "high", "verbosity": "low", "unheard_of": {}}
        | {"store": True},
        TEST,
    ),
    "wrong-types-are-ignored": ({"stop": 3, "tools": "x", "stream": "yes", "response_format": 1}, TEST),
}


@pytest.mark.parametrize(("fields", "text"), SAID.values(), ids=SAID)
def test_echo_repeats_the_last_user_message(fields: dict[str, Any], text: str) -> None:
    assert said(**fields) == text


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def file(data: str, **more: str) -> dict[str, Any]:
    return {"type": "file", "file": {**more, "file_data": data}}


PARTS: dict[str, tuple[Any, str]] = {
    "image-data": (image(f"data:image/png;base64,{PNG}"), "[image: image/png, 70 bytes]"),
    "image-url": (image("https://example.com/a.png"), "[image: https://example.com/a.png]"),
    "image-bare-string": (
        {"type": "image_url", "image_url": "https://example.com/a"},
        "[image: https://example.com/a]",
    ),
    "data-not-base64": (image("data:,a%20b"), "[image: text/plain, 3 bytes]"),
    "audio": (
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        "[audio: wav, 3 bytes]",
    ),
    "file-data": (
        file("data:application/pdf;base64,AAA=", filename="a.pdf"),
        "[file: a.pdf, application/pdf, 2 bytes]",
    ),
    "file-base64": (file("AA==", filename="a.pdf"), "[file: a.pdf, 1 byte]"),
    "file-url": (
        file("https://example.com/a.pdf", filename="a.pdf"),
        "[file: a.pdf, https://example.com/a.pdf]",
    ),
    "file-without-name": (file("AA=="), "[file: 1 byte]"),
    "file-id": ({"type": "file", "file": {"file_id": "file-1"}}, "[file: file-1]"),
    "refusal": ({"type": "refusal", "refusal": "no"}, "no"),
    "unknown": ({"type": "video_url", "video_url": {"url": "x"}}, "[video_url]"),
    "broken": ({"type": "image_url"}, "[image_url]"),
    "type-not-a-string": ({"type": []}, "[[]]"),
    "string": ("bare", "bare"),
    "number": (3, ""),
}


@pytest.mark.parametrize(("part", "text"), PARTS.values(), ids=PARTS)
def test_parts_are_named_on_lines_of_their_own(part: Any, text: str) -> None:
    content = [{"type": "text", "text": "See"}, part]
    assert said(messages=[{"role": "user", "content": content}]) == f"See\n{text}"


FINISH: dict[str, tuple[dict[str, Any], str]] = {
    "stop": ({}, "stop"),
    "exactly-the-limit": ({"max_tokens": 5}, "stop"),
    "below-the-limit": ({"max_tokens": 4}, "length"),
    "stopped-before-the-limit": ({"max_tokens": 2, "stop": " this"}, "stop"),
    "cut-before-the-stop": ({"max_tokens": 1, "stop": " test"}, "length"),
    "cut-json": ({"max_tokens": 1, "response_format": {"type": "json_object"}}, "length"),
    "tool": ({"tools": [WEATHER]}, "tool_calls"),
    "function": ({"functions": LEGACY}, "function_call"),
}


@pytest.mark.parametrize(("fields", "reason"), FINISH.values(), ids=FINISH)
def test_finish_reason(fields: dict[str, Any], reason: str) -> None:
    assert completion(**fields)["choices"][0]["finish_reason"] == reason
    assert chunks(**fields)[-1]["choices"][0]["finish_reason"] == reason


# Calls

ARGUMENTS = '{"city":"Say this is a test","unit":"C"}'


def function(name: str, arguments: str = "{}") -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


def custom(text: str) -> dict[str, Any]:
    return {"type": "custom", "custom": {"name": "patch", "input": text}}


ONLY_NOW = {
    "type": "allowed_tools",
    "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "now"}}]},
}
CALLS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "first-tool": ({"tools": [WEATHER, NOW]}, function("weather", ARGUMENTS)),
    "required": ({"tools": [NOW], "tool_choice": "required"}, function("now")),
    "named": (
        {"tools": [NOW, WEATHER], "tool_choice": {"type": "function", "function": {"name": "weather"}}},
        function("weather", ARGUMENTS),
    ),
    "custom": ({"tools": [PATCH]}, custom(TEST)),
    "named-custom": (
        {"tools": [NOW, PATCH], "tool_choice": {"type": "custom", "custom": {"name": "patch"}}},
        custom(TEST),
    ),
    "allowed": ({"tools": [WEATHER, NOW], "tool_choice": ONLY_NOW}, function("now")),
    "not-cut-by-a-limit": ({"tools": [WEATHER], "max_tokens": 1}, function("weather", ARGUMENTS)),
    "after-an-older-result": (
        {"messages": [*RESULTS, {"role": "user", "content": "again"}], "tools": [PATCH]},
        custom("again"),
    ),
}


@pytest.mark.parametrize(("fields", "call"), CALLS.values(), ids=CALLS)
def test_calls_a_tool(fields: dict[str, Any], call: dict[str, Any]) -> None:
    message = completion(**fields)["choices"][0]["message"]
    assert message["content"] is None
    (made,) = message["tool_calls"]
    assert re.fullmatch("call_[0-9a-f]{24}0", made.pop("id"))
    assert made == call


@cases(
    "fields, call",
    {
        "first": ({}, {"name": "now", "arguments": "{}"}),
        "auto": ({"function_call": "auto"}, {"name": "now", "arguments": "{}"}),
        "named": ({"function_call": {"name": "weather"}}, {"name": "weather", "arguments": ARGUMENTS}),
    },
)
def test_calls_a_function_of_the_old_form(fields: dict[str, Any], call: dict[str, str]) -> None:
    message = completion(functions=LEGACY, **fields)["choices"][0]["message"]
    assert message["function_call"] == call
    assert message["content"] is None
    assert "tool_calls" not in message


def test_streamed_call_has_its_head_once_and_its_arguments_in_pieces() -> None:
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks(tools=[WEATHER])]
    assert deltas[0] == {"role": "assistant", "content": None, "refusal": None}
    (head,) = deltas[1]["tool_calls"]
    assert head.pop("id").startswith("call_")
    assert head == {"index": 0, "type": "function", "function": {"name": "weather", "arguments": ""}}
    assert deltas[2:] == [
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"city":"Say thi'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": 's is a test","un'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": 'it":"C"}'}}]},
        {},
    ]


# Several choices, log probabilities, usage, audio


def test_choices_say_the_same_and_differ_in_index() -> None:
    choices = completion(n=3)["choices"]
    assert [choice["index"] for choice in choices] == [0, 1, 2]
    assert {choice["message"]["content"] for choice in choices} == {"Say this is a test"}


def test_calls_of_several_choices_have_ids_of_their_own() -> None:
    choices = completion(n=2, tools=[NOW])["choices"]
    assert len({choice["message"]["tool_calls"][0]["id"] for choice in choices}) == 2


def test_a_very_long_text_is_streamed_in_larger_pieces() -> None:
    """A prompt of 3 MB would otherwise be cut by --max-reply for the JSON around its words."""
    text = "ab " * 120_000
    *first, last = chunks(messages=[{"role": "user", "content": text}])
    contents = [chunk["choices"][0]["delta"].get("content", "") for chunk in first]
    assert "".join(contents) == text
    assert len(contents) < 50_010
    assert last["choices"][0]["finish_reason"] == "stop"


def test_streamed_choices_take_turns_by_token() -> None:
    found = [chunk["choices"][0] for chunk in chunks(n=2, max_tokens=2)]
    assert [choice["index"] for choice in found] == [0, 1] * 4
    contents = [choice["delta"].get("content") for choice in found]
    assert contents == ["", "", "Say", "Say", " this", " this", None, None]


def test_log_probabilities_are_a_distribution_over_the_token_and_made_up_others() -> None:
    (token,) = completion(messages=[{"role": "user", "content": "né"}], logprobs=True, top_logprobs=3)[
        "choices"
    ][0]["logprobs"]["content"]
    assert token == {
        "token": "né",
        "logprob": -0.145141,
        "bytes": [110, 195, 169],
        "top_logprobs": [
            {"token": "né", "logprob": -0.145141, "bytes": [110, 195, 169]},
            {"token": "né~1", "logprob": -2.694887, "bytes": [110, 195, 169, 126, 49]},
            {"token": "né~2", "logprob": -3.388034, "bytes": [110, 195, 169, 126, 50]},
        ],
    }


@pytest.mark.parametrize(
    ("fields", "alternatives"),
    [({}, 0), ({"top_logprobs": 0}, 0), ({"top_logprobs": 1}, 1), ({"top_logprobs": 20}, 20)],
)
def test_as_many_alternatives_as_asked_for(fields: dict[str, Any], alternatives: int) -> None:
    content = completion(logprobs=True, **fields)["choices"][0]["logprobs"]["content"]
    assert [token["token"] for token in content] == ["Say", " this", " is", " a", " test"]
    assert {len(token["top_logprobs"]) for token in content} == {alternatives}


@pytest.mark.parametrize(
    "fields", [{}, {"logprobs": False}, {"top_logprobs": 2}, {"logprobs": True, "tools": [NOW]}]
)
def test_no_log_probabilities_unless_asked_for_and_there_is_text(fields: dict[str, Any]) -> None:
    assert completion(**fields)["choices"][0]["logprobs"] is None


def test_streamed_log_probabilities_are_those_of_the_token_in_the_chunk() -> None:
    found = [chunk["choices"][0]["logprobs"] for chunk in chunks(logprobs=True, max_tokens=2)]
    tokens = [part and [token["token"] for token in part["content"]] for part in found]
    assert tokens == [None, ["Say"], [" this"], None]


USAGE: dict[str, tuple[dict[str, Any], tuple[int, int, int]]] = {
    "plain": ({}, (5, 5, 10)),
    "cut": ({"max_tokens": 2}, (5, 2, 7)),
    "choices-are-each-counted": ({"n": 3}, (5, 15, 20)),
    "all-messages": ({"messages": [{"role": "system", "content": "Be brief."}, *USER]}, (7, 5, 12)),
    "call": ({"tools": [NOW]}, (5, 2, 7)),
    "nothing": (user(""), (0, 0, 0)),
}


@pytest.mark.parametrize(("fields", "counts"), USAGE.values(), ids=USAGE)
def test_usage_counts_words(fields: dict[str, Any], counts: tuple[int, int, int]) -> None:
    streamed = chunks(stream_options={"include_usage": True}, **fields)[-1]
    for usage in (completion(**fields)["usage"], streamed["usage"]):
        assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == counts


def test_usage_chunk_has_no_choices_and_the_others_a_null() -> None:
    *others, last = chunks(stream_options={"include_usage": True})
    assert last["choices"] == []
    assert {chunk["usage"] for chunk in others} == {None}


def spoken(style: str | None, **fields: Any) -> dict[str, Any]:
    return {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": style}, **fields}


@pytest.mark.parametrize("style", ["wav", "mp3", "flac"])
def test_audio_is_a_short_silent_wave_with_the_text_as_transcript(style: str) -> None:
    message = completion(**spoken(style))["choices"][0]["message"]
    assert message["content"] is None
    assert message["audio"]["transcript"] == "Say this is a test"
    assert message["audio"]["expires_at"] == 1700003600
    with wave.open(io.BytesIO(base64.b64decode(message["audio"]["data"]))) as sound:
        assert (sound.getframerate(), sound.getsampwidth(), sound.getnchannels()) == (24000, 2, 1)
        assert sound.readframes(24000) == bytes(4800)


@cases("fields", {"named": spoken("pcm16"), "not named": {"modalities": ["audio"]}})
def test_samples_are_bare(fields: dict[str, Any]) -> None:
    audio = completion(**fields)["choices"][0]["message"]["audio"]
    assert base64.b64decode(audio["data"]) == bytes(4800)


def test_streamed_samples_come_in_a_piece_for_each_word_each_encoded_for_itself() -> None:
    found = [
        chunk["choices"][0]["delta"].get("audio", {}) for chunk in chunks(**spoken("pcm16", max_tokens=3))
    ]
    assert "".join(audio.get("transcript", "") for audio in found) == "Say this is"
    pieces = [base64.b64decode(audio["data"], validate=True) for audio in found if "data" in audio]
    assert pieces == [bytes(1600)] * 3
    assert [audio["expires_at"] for audio in found if "expires_at" in audio] == [1700003600]


def test_a_stream_of_another_format_is_refused_as_the_api_does() -> None:
    body = {"messages": USER, "stream": True, **spoken("wav")}
    assert refused(orjson.dumps(body)) == {
        "message": "Unsupported value: 'audio.format' does not support 'wav' when stream=true."
        " Supported values are: 'pcm16'.",
        "type": "invalid_request_error",
        "param": "audio.format",
        "code": "unsupported_value",
    }


# Streams add up

WAYS: dict[str, dict[str, Any]] = {
    "text": {},
    "empty": {"messages": [{"role": "user", "content": ""}]},
    "choices": {"n": 3, "max_tokens": 3},
    "log-probabilities": {"logprobs": True, "top_logprobs": 2, "n": 2},
    "stop": {"stop": ["is"]},
    "tools": {"tools": [WEATHER], "n": 2},
    "custom-tool": {"tools": [PATCH]},
    "function": {"functions": LEGACY, "function_call": {"name": "weather"}},
    "json": {"response_format": {"type": "json_object"}},
    "audio": {"modalities": ["audio"], "logprobs": True, "audio": {"voice": "alloy", "format": "pcm16"}},
    "half-an-emoji": {"messages": [{"role": "user", "content": "SURROGATE"}]},
}


def dumped(fields: dict[str, Any]) -> bytes:
    return orjson.dumps({"messages": USER, **fields}).replace(b"SURROGATE", b"a \\ud83d b")


def grown(old: Any, new: Any) -> Any:
    """The SDK's rule for deltas: strings and lists are appended, objects merged, calls merged by index."""
    if isinstance(old, dict) and isinstance(new, dict):
        return {
            **old,
            **{
                key: value if key in ("index", "type", "id") else grown(old.get(key), value)
                for key, value in new.items()
            },
        }
    if isinstance(old, list) and isinstance(new, list) and new and "index" in new[0]:
        return [grown(old[0], new[0])]
    if isinstance(old, str | list) and isinstance(new, str | list):
        return old + new  # type: ignore[operator]
    return new


def folded(found: list[Any]) -> Any:
    choices: dict[int, Any] = {}
    for chunk in found:
        for part in chunk["choices"]:
            choice = choices.setdefault(part["index"], {"message": {}, "logprobs": None})
            choice["index"], choice["finish_reason"] = part["index"], part["finish_reason"]
            choice["message"] = grown(choice["message"], part["delta"])
            choice["logprobs"] = grown(choice["logprobs"], part["logprobs"]) or choice["logprobs"]
    for choice in choices.values():
        choice["message"]["annotations"] = []
        for call in choice["message"].get("tool_calls", []):
            del call["index"]
    return {**found[-1], "object": "chat.completion", "choices": list(choices.values())}


@pytest.mark.parametrize("fields", WAYS.values(), ids=WAYS)
def test_stream_adds_up_to_the_completion(fields: dict[str, Any]) -> None:
    whole = dumped(fields)
    streamed = dumped({**fields, "stream": True, "stream_options": {"include_usage": True}})
    *events, _ = split_events(echo.answer_http("POST", "/chat/completions", streamed))
    digests = re.compile(rb"(chatcmpl-|call_|audio_)[0-9a-f]{24}")
    plain = b"".join(echo.answer_http("POST", "/chat/completions", whole).pieces)
    # json, because orjson refuses half an emoji
    found = [json.loads(digests.sub(rb"\1", event[6:])) for event in events]
    assert folded(found) == json.loads(digests.sub(rb"\1", plain))


@pytest.mark.parametrize("fields", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("stream", [False, True])
def test_same_request_same_bytes(fields: dict[str, Any], stream: bool) -> None:
    data = dumped({**fields, "stream": stream})
    first, second = (echo.answer_http("POST", "/v1/chat/completions", data) for _ in range(2))
    assert list(first.pieces) == list(second.pieces)
    assert first.headers == second.headers


def test_another_request_has_another_id() -> None:
    assert completion(seed=1)["id"] != completion(seed=2)["id"]


@pytest.mark.parametrize("fields", WAYS.values(), ids=WAYS)
def test_every_answer_fits_the_schemas_of_the_api(fields: dict[str, Any]) -> None:
    if not API.is_dir():
        pytest.skip("the API's schemas are not beside the checkout")
    if fields == WAYS["half-an-emoji"]:
        fields = {}
    for name, values in (("response", [completion(**fields)]), ("chunk", chunks(**fields))):
        validator = jsonschema.Draft202012Validator(
            orjson.loads((API / f"chat-{name}.schema.json").read_bytes())
        )
        assert [error.message for value in values for error in validator.iter_errors(value)] == []


# Routes and refusals


@pytest.mark.parametrize(
    "path",
    [
        "/chat/completions",
        "/v1/chat/completions",
        "/v1/chat/completions/",
        "/openai/deployments/d/chat/completions?api-version=1",
    ],
)
def test_any_prefix_is_taken(path: str) -> None:
    assert echo.answer_http("POST", path, orjson.dumps({"messages": USER})).status == 200


def got(path: str) -> Any:
    return parsed(echo.answer_http("GET", path, b""))


def test_the_list_of_models_has_echo() -> None:
    model = {"id": "echo", "object": "model", "created": 1700000000, "owned_by": "chatpipe"}
    assert got("/v1/models") == {"object": "list", "data": [model]}
    assert got("/v1/models/echo") == model
    assert got("/v1/models/%65cho?x=1") == model


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/models/gpt-x", 404, "model_not_found"),
        ("GET", "/v1/models/vendor/model", 404, "model_not_found"),
        ("GET", "/v1/modelsx", 404, "unknown_url"),
        ("POST", "/v1/completions", 404, "unknown_url"),
        ("GET", "/", 404, "unknown_url"),
        ("GET", "/v1/chat/completions", 405, None),
        ("DELETE", "/v1/models", 405, None),
    ],
)
def test_wrong_address_is_an_error_of_the_api(method: str, path: str, status: int, code: str | None) -> None:
    reply = echo.answer_http(method, path, b"")
    assert reply.status == status
    assert ("content-type", "application/json") in reply.headers
    error = parsed(reply)["error"]
    assert list(error) == ["message", "type", "param", "code"]
    assert (error["type"], error["code"]) == ("invalid_request_error", code)


def test_wrong_method_names_the_right_one() -> None:
    assert ("allow", "POST") in echo.answer_http("GET", "/v1/chat/completions", b"").headers


def with_message(**fields: Any) -> bytes:
    """A request whose message is empty."""
    return orjson.dumps({"messages": [{}], **fields})


def with_text(text: str, **fields: Any) -> bytes:
    """A request with this text."""
    return orjson.dumps({"messages": [{"role": "user", "content": text}], **fields})


REFUSED: dict[str, tuple[bytes, str | None, str | None]] = {
    "empty": (b"", None, None),
    "not-json": (b"{", None, None),
    "not-utf-8": (b'"\xff"', None, None),
    "not-an-object": (b"[]", None, None),
    "no-messages": (b"{}", "messages", "missing_required_parameter"),
    "messages-null": (b'{"messages":null}', "messages", "missing_required_parameter"),
    "messages-not-an-array": (b'{"messages":"hi"}', "messages", "invalid_type"),
    "messages-empty": (b'{"messages":[]}', "messages", "empty_array"),
    "message-not-an-object": (b'{"messages":[{},"hi"]}', "messages[1]", "invalid_type"),
    "n-zero": (with_message(n=0), "n", "integer_below_min_value"),
    "n-too-many": (with_message(n=129), "n", "integer_above_max_value"),
    "n-true": (with_message(n=True), "n", "invalid_type"),
    "max-tokens-text": (with_message(max_tokens="5"), "max_tokens", "invalid_type"),
    "max-completion-tokens-zero": (
        with_message(max_completion_tokens=0),
        "max_completion_tokens",
        "integer_below_min_value",
    ),
    "top-logprobs": (with_message(top_logprobs=21), "top_logprobs", "integer_above_max_value"),
    "repeated-choices": (with_text("a " * 100_000, n=128), "n", "answer_too_large"),
    "repeated-tokens": (
        with_text("a " * 1000, n=128, logprobs=True, top_logprobs=20),
        "n",
        "answer_too_large",
    ),
    "repeated-tokens-of-a-stream": (
        with_text("a " * 1000, n=128, logprobs=True, top_logprobs=20, stream=True),
        "n",
        "answer_too_large",
    ),
    "one-long-token": (
        with_text("a" * 200_000, logprobs=True, top_logprobs=20),
        "top_logprobs",
        "answer_too_large",
    ),
    "tokens-alone": (with_text("a " * 300_000, logprobs=True), "logprobs", "answer_too_large"),
    "stops": (with_message(stop=["a"] * 65), "stop", "array_above_max_length"),
    "tool-not-there": (
        with_message(tools=[{}], tool_choice={"type": "function", "function": {"name": "b"}}),
        "tool_choice",
        "invalid_value",
    ),
    "function-not-there": (
        with_message(functions=[{"name": "a"}], function_call={"name": "b"}),
        "function_call",
        "invalid_value",
    ),
}


@pytest.mark.parametrize(("data", "param", "code"), REFUSED.values(), ids=REFUSED)
def test_refused_as_the_api_does(data: bytes, param: str | None, code: str | None) -> None:
    error = refused(data)
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, code)
    assert error["message"]


def test_request_id_comes_with_every_answer_to_a_chat() -> None:
    ids = [
        dict(echo.answer_http("POST", "/chat/completions", data).headers)["x-request-id"]
        for data in (b"", b"{}", dumped({}))
    ]
    assert len(set(ids)) == 3
    assert all(re.fullmatch("req_[0-9a-f]{24}", each) for each in ids)


def test_importing_it_imports_no_http_client() -> None:
    unwanted = {"httpx", "asyncio", "jsonschema", "socket"}
    code = f"import sys, chatpipe.local.model; print({unwanted} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize(
    "text", ["", " ", "a", "a b", " a", "a ", "a\n\tb\x1c", "\u2003a\u00a0b\x85", "a\x00b\u200bc"]
)
def test_tokens_are_counted_as_they_are_cut(text: str) -> None:
    assert count_tokens(text) == len(tokens_of(text))
    assert "".join(tokens_of(text)) == text


LARGE: dict[str, dict[str, Any]] = {
    "text": {},
    "stream": {"stream": True},
    "cut": {"n": 128, "logprobs": True, "top_logprobs": 20, "max_tokens": 80},
    "choices": {"n": 128, "max_tokens": 60_000},
    "tokens": {"logprobs": True, "top_logprobs": 20, "max_tokens": 8000},
}


@pytest.mark.parametrize("fields", LARGE.values(), ids=LARGE)
def test_a_large_answer_that_repeats_little_is_sent(fields: dict[str, Any]) -> None:
    reply = echo.answer_http("POST", "/v1/chat/completions", with_text("a " * 100_000, **fields))
    assert reply.status == 200
    assert sum(map(len, reply.pieces)) < 20_000_000


@pytest.mark.parametrize(
    "text", ["ab " * 400_000, "a" * (1 << 20) + " b", " " * (1 << 20) + "b", "a " + "b" * (1 << 20) + " "]
)
def test_tokens_of_a_long_text_are_counted_in_parts(text: str) -> None:
    assert count_tokens(text) == len(tokens_of(text))


@pytest.mark.parametrize("text", ["", "a b", "a ", '"\\\n', "100%", "%b %d", "\u00e9\u2028", "\ud83d"])
@pytest.mark.parametrize("model", ["m", "%text", '"'])
def test_a_plain_completion_is_that_of_any_other_answer(text: str, model: str) -> None:
    tokens = (7, count_tokens(text))
    slow = completion_of(plain_answer("d" * 24, model, 7, text))
    assert plain_completion("d" * 24, model, text, tokens) == dumps(slow)
