"""Our schema against the published description of the API, where a copy of it is at hand."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from chatpipe.inputs.place import pointer_of
from chatpipe.schema.accept import accepts
from chatpipe.schema.check import check
from schema.generate_accept import SCHEMA
from schema.mutations import mutated

API = Path(__file__).parents[2].parent / "shared" / "api"
needs_api = pytest.mark.skipif(not API.is_dir(), reason="the API description is not here")


def lines(name: str) -> list[dict[str, Any]]:
    path = API / "examples" / name
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.is_file() else []


def errors_of(body: object) -> set[tuple[str, str]]:
    return {(problem.pointer, problem.keyword) for problem in check(body) if problem.severity == "error"}


@needs_api
def test_every_example_is_accepted() -> None:
    names = {
        path.name: errors_of(json.loads(path.read_bytes())) for path in API.glob("examples/*.request.json")
    }
    assert len(names) >= 8
    assert {name: errors for name, errors in names.items() if errors} == {}
    assert [errors_of(line["body"]) for line in lines("batch-input.jsonl")] == [set(), set(), set()]


@needs_api
def test_every_answer_is_accepted_as_history() -> None:
    answers = [json.loads(path.read_bytes()) for path in API.glob("examples/*.response.json")]
    messages = [choice["message"] for answer in answers for choice in answer["choices"]]
    assert len(messages) >= 6
    hello = {"role": "user", "content": "hi"}
    for message in messages:
        assert errors_of({"model": "m", "messages": [hello, message]}) == set()


@pytest.mark.parametrize("case", lines("invalid-requests.jsonl"), ids=lambda case: case["name"])
def test_invalid_example_is_refused_there(case: dict[str, Any]) -> None:
    assert errors_of(case["body"]) == {(case["pointer"], case["keyword"])}


@dataclass(frozen=True)
class Difference:
    """Where we mean to differ: errors that one side has, the other not. Numbers in pointers are #."""

    reason: str
    pointer: str
    keywords: str
    body: dict[str, Any]
    where: Callable[[Any], bool] = lambda _: True

    def explains(self, error: ValidationError) -> bool:
        pointer = re.sub(r"/\d+(?=/|$)", "/#", pointer_of(error.absolute_path))
        known = error.validator in self.keywords.split() and re.fullmatch(self.pointer, pointer)
        return bool(known) and self.where(error.instance)


def messages(*messages: dict[str, Any]) -> dict[str, Any]:
    return {"messages": list(messages)}


def parts(role: str, *content: dict[str, Any]) -> dict[str, Any]:
    return messages({"role": role, "content": list(content)})


def calls(**call: Any) -> dict[str, Any]:
    function = {"name": "f", "arguments": "{}"}
    return messages({"role": "assistant", "tool_calls": [{"function": function} | call]})


def is_null(value: Any) -> bool:
    return value is None


PART = "/messages/#/content/#"
TOOL = {"type": "function", "function": {"name": "f"}}

WE_ACCEPT = [
    Difference(
        "llama.cpp and vLLM take null as absent; OpenAI's refusal is a warning",
        "/(response_format|tools|tool_choice|parallel_tool_calls|functions|function_call|user"
        "|prompt_cache_options|web_search_options)",
        "type", {"tools": None}, is_null),
    Difference(
        "client libraries write null for every field of a message that is not set",
        "/messages/#/(tool_calls|name)", "type",
        messages({"role": "assistant", "content": "x", "tool_calls": None}), is_null),
    Difference(
        "Ollama, Mistral and older pages have the bare address", f"{PART}/image_url", "type",
        parts("user", {"type": "image_url", "image_url": "https://example.com/a.png"}),
        lambda value: isinstance(value, str)),
    Difference(
        "parts of vLLM, llama.cpp, OpenRouter and Mistral", f"{PART}/type", "enum",
        parts("user", {"type": "video_url", "video_url": {"url": "x"}}),
        lambda value: value not in ("text", "image_url", "input_audio", "file", "refusal")),
    Difference(
        "parts in other roles, which vLLM and others take in tool messages: a warning",
        f"{PART}/type", "enum",
        parts("system", {"type": "image_url", "image_url": {"url": "x"}}),
        lambda value: value in ("text", "image_url", "input_audio", "file", "refusal")),
    Difference(
        "a part that is not text has no text, in the roles that are published with text only",
        PART, "required",
        parts("system", {"type": "image_url", "image_url": {"url": "x"}}),
        lambda value: value.get("type") != "text"),
    Difference(
        "llama.cpp takes audio by its address, Mistral bare base64", f"{PART}/input_audio", "required type",
        parts("user", {"type": "input_audio", "input_audio": {"url": "https://example.com/a.wav"}}),
        lambda value: isinstance(value, str) or "url" in value),
    Difference(
        "OpenRouter takes more formats of audio: a warning", f"{PART}/input_audio/format", "enum",
        parts("user", {"type": "input_audio", "input_audio": {"data": "x", "format": "flac"}})),
    Difference(
        "some servers leave out a call's id or type: a warning", "/messages/#/tool_calls/#", "required",
        calls(), lambda value: "id" not in value or "type" not in value),
    Difference(
        "or send them as null", "/messages/#/tool_calls/#/(id|type)", "type enum",
        calls(id=None, type=None), is_null),
    Difference(
        "words of other servers: a warning", "/(verbosity|service_tier|reasoning_effort|tool_choice)", "enum",
        {"verbosity": "xhigh"},
        lambda value: value in ("xhigh", "max", "on_demand", "performance", "default", "any")),
    Difference(
        "formats of OpenRouter and vLLM: a warning", "/response_format/type", "enum",
        {"response_format": {"type": "grammar"}}, lambda value: value in ("grammar", "structural_tag")),
    Difference(
        "OpenRouter's modality: a warning", "/modalities/#", "enum", {"modalities": ["image"]},
        lambda value: value == "image"),
    Difference("vLLM's -1 for all: a warning", "/top_logprobs", "minimum", {"top_logprobs": -1},
               lambda value: value == -1),
    Difference(
        "vLLM takes fractions, llama.cpp false: a warning", "/logit_bias/[^/]*", "type",
        {"logit_bias": {"1": 0.5}},
        lambda value: isinstance(value, (bool, float))),
    Difference(
        "llama.cpp takes pairs: a warning", "/logit_bias", "type", {"logit_bias": [[1, 2]]},
        lambda value: isinstance(value, list)),
    Difference(
        "servers have tools of their own: a warning", "/tools/#/type", "enum",
        {"tools": [{"type": "search"}]}),
    Difference(
        "vLLM takes null, which client libraries write, in definitions",
        "/(tools/#/(function|custom)|functions/#|response_format/json_schema)/(description|parameters|schema)",
        "type",
        {"functions": [{"name": "f", "description": None}]}, is_null),
    Difference(
        "unknown keys pass, everywhere", "/tools/#/custom/format|/audio/voice", "additionalProperties",
        {"audio": {"voice": {"id": "v", "x": 1}, "format": "wav"}}),
]  # fmt: skip

WE_REFUSE = [
    Difference("servers refuse an empty array of tools", "/tools", "minItems", {"tools": []}),
    Difference(
        "one flat message: a field has the same shape in every role",
        "/messages/#/(tool_calls|function_call|audio|refusal|tool_call_id|name)(/.*)?", "type required enum",
        messages({"role": "user", "content": "x", "tool_calls": 5})),
    Difference(
        "one flat part: a field has the same shape in every type",
        f"{PART}/(text|refusal|image_url|input_audio|file|prompt_cache_breakpoint)(/.*)?",
        "type required enum minLength",
        parts("user", {"type": "text", "text": "x", "image_url": 5})),
    Difference(
        "one flat tool, call and choice", "(/tools/#|/tool_choice|/messages/#/tool_calls/#)"
        "/(function|custom|allowed_tools)(/.*)?", "type required enum",
        {"tools": [TOOL | {"custom": 5}]}),
    Difference(
        "one flat format", "/response_format/json_schema(/.*)?", "type required",
        {"response_format": {"type": "text", "json_schema": 5}}),
    Difference(
        "one definition of a function, in tools and in functions", "/functions/#/strict", "type",
        {"functions": [{"name": "f", "strict": 5}]}),
]  # fmt: skip


def compared() -> list[Any]:
    """The body of each difference, each sample, and thousands of mutations."""
    hello = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    return [hello | difference.body for difference in (*WE_ACCEPT, *WE_REFUSE)] + list(mutated(5000, seed=2))


@needs_api
def test_every_difference_from_the_published_description_is_meant() -> None:
    ours = Draft202012Validator(json.loads(SCHEMA.read_bytes()))
    # the same language as chat-request.schema.json beside it, in a form whose errors have places
    published = Draft202012Validator(json.loads((API / "strict" / "chat-request.dispatch.json").read_bytes()))
    used: set[str] = set()
    for body in compared():
        accepted = accepts(body)
        if accepted is published.is_valid(body):
            continue
        side, differences = (published, WE_ACCEPT) if accepted else (ours, WE_REFUSE)
        for error in side.iter_errors(body):
            reasons = [difference.reason for difference in differences if difference.explains(error)]
            assert reasons, (error.json_path, error.validator, error.message, body)
            used.update(reasons)
    assert used == {difference.reason for difference in (*WE_ACCEPT, *WE_REFUSE)}


@needs_api
def test_both_forms_of_the_published_description_agree() -> None:
    """What the test above relies on."""
    one, other = (
        Draft202012Validator(json.loads((API / "strict" / f"chat-request.{form}.json").read_bytes()))
        for form in ("schema", "dispatch")
    )
    assert [body for body in mutated(400, seed=2) if one.is_valid(body) is not other.is_valid(body)] == []
