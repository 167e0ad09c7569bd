"""Fixtures of aimock -> the lines of a script, one a fixture, and what could not be taken over. Pure.

    {"fixtures": [{"match": {"userMessage": "hi"}, "response": {"content": "hello"}}]}

The order counts in both. Where aimock takes a nearby `turnIndex` for a missing one, a rule of ours does not.
A stream has one delay between its chunks, the mean of the recorded ones. Fixtures of other APIs are left out,
and fields that have no meaning here, such as ids. A note names each of these fields.

Source: @copilotkit/aimock 1.43.0, dist/types.d.ts and dist/router.js.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from chatpipe.errors import BadInput, quantity
from chatpipe.inputs import values
from chatpipe.inputs.place import Source, locate
from chatpipe.inputs.values import json_type
from chatpipe.serve.script_match import NoRule

_SPACE = re.compile(r"[\s,]*")
# Conditions on what no request for a completion has: the input of embeddings, a header of aimock.
_OTHERS = frozenset({"inputText", "context"})

Rule = dict[str, Any]


def fixture_lines(source: Source) -> list[Source] | None:
    """The rules of a file of fixtures, each with the line of its fixture. None for another file.

    Raises BadInput.
    """
    fixtures = _fixtures(source.data)
    if fixtures is None:
        return None
    lines = []
    for line, fixture in zip(_line_numbers(source, len(fixtures)), fixtures, strict=True):
        try:
            rule = _rule(fixture)
        except NoRule as fault:
            raise BadInput(fault.what, place=f"{source.name}:{line}", fix=fault.fix) from None
        if rule is not None:
            lines.append(Source(source.name, values.dumps(rule), line))
    return lines


def left_out_notes(source: Source, lines: list[Source]) -> Iterator[str]:
    """Notes about fixtures that have become no rules, and about fields of the others that are not used."""
    fixtures = _fixtures(source.data) or []
    count = len(fixtures) - len(lines)
    if count:
        yield f"{source.name}: {count} fixtures are not for Chat Completions, and left out"
    found: dict[str, list[int]] = {}
    rules = {each.line for each in lines}
    for line, fixture in zip(_line_numbers(source, len(fixtures)), fixtures, strict=True):
        for name in _unused(fixture) if line in rules else ():
            found.setdefault(name, []).append(line)
    for name, at in found.items():
        more = f", here and in {quantity(len(at) - 1, 'other fixture')}" if len(at) > 1 else ""
        yield f"{source.name}:{at[0]}: '{name}' of a fixture is not used{more}"


def _unused(fixture: Rule) -> Iterator[str]:
    """The fields of a fixture that change nothing here."""
    response, chaos = fixture["response"], _object(fixture.get("chaos"))
    parts = (
        (fixture, _FIXTURE_NAMES, ""),
        (response, _RESPONSE_NAMES, "response."),
        (_object(fixture.get("streamingProfile")), {"ttft", "tps"}, "streamingProfile."),
        (chaos, {"latencyMs"}, "chaos."),
        (_object(response.get("usage")), _USAGE_NAMES, "response.usage."),
    )
    for values_, names, prefix in parts:
        yield from (f"{prefix}{name}" for name, value in values_.items() if name not in names and value)


def _fixtures(data: bytes) -> list[Any] | None:
    if b'"fixtures"' not in data or not data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        return None
    try:
        value = values.loads(data)
    except values.NotJSON:
        return None
    found = value.get("fixtures") if isinstance(value, dict) else None
    return found if isinstance(found, list) else None


def _line_numbers(source: Source, count: int) -> Iterator[int]:
    """The lines on which the fixtures begin. Each is parsed once more, for its end."""
    text = source.data.decode("utf-8-sig", "replace")
    line, column = locate(source.data, "/fixtures/0")
    at = sum(len(each) + 1 for each in text.split("\n")[: line - 1]) + column - 1
    decode = json.JSONDecoder().raw_decode
    for _ in range(count):
        yield line
        end = decode(text, at)[1]
        end = _SPACE.match(text, end).end()  # type: ignore[union-attr]  # it matches everywhere
        line += text.count("\n", at, end)
        at = end


def _rule(fixture: Any) -> Rule | None:
    """The rule of a fixture, None for one of another API. Raises NoRule."""
    if not isinstance(fixture, dict):
        raise NoRule("", f"a fixture is {json_type(fixture)}, not an object")
    match, response = fixture.get("match", {}), fixture.get("response")
    if not isinstance(match, dict) or not isinstance(response, dict):
        raise NoRule("", "a fixture has no 'match' or no 'response'")
    if match.get("endpoint", "chat") != "chat" or not _OTHERS.isdisjoint(match):
        return None
    answer = _answer(response)
    if answer is None:
        return None
    conditions: Rule = {}
    for name, value in match.items():
        if name == "endpoint":
            continue
        if name not in _CONDITIONS:
            raise NoRule("", f"'{name}' is not a known condition of a fixture")
        conditions |= _CONDITIONS[name](value)
    times = _times(fixture)
    if "error" in answer:  # which has no chunks
        times = {name: value for name, value in times.items() if name not in ("chunks", "chunk_delay")}
    return {"match": conditions, "answer": answer | times}


def _answer(response: Rule) -> Rule | None:
    """The answer of a response, None for one of another API."""
    if isinstance(response.get("error"), dict):
        return {"error": _error(response)}
    parts = _without_blocks(response)
    if "content" not in parts and "toolCalls" not in parts:
        return None
    answer: Rule = {name: parts[old] for old, name in _ANSWER_NAMES.items() if parts.get(old) is not None}
    if calls := parts.get("toolCalls"):
        answer["tool_calls"] = [_call(each) for each in calls] if isinstance(calls, list) else calls
    if isinstance(usage := response.get("usage"), dict):
        answer["usage"] = {_USAGE_NAMES[name]: count for name, count in usage.items() if name in _USAGE_NAMES}
    return answer or {"content": ""}


def _error(response: Rule) -> Rule:
    """The error of a response that has one."""
    error, status = response["error"], response.get("status", 500)
    wait = response.get("retryAfter", 1 if status == 429 else None)
    named = {**{name: error.get(name) for name in _ERROR_NAMES}, "retry_after": wait}
    return {"status": status, **{name: value for name, value in named.items() if value is not None}}


def _without_blocks(response: Rule) -> Rule:
    """The response with the text and the calls of its blocks, if it has any, in the fields of their own."""
    if not isinstance(response.get("blocks"), list) or not response["blocks"]:
        return response
    blocks = [each for each in response["blocks"] if isinstance(each, dict)]
    texts = [str(each.get("text", "")) for each in blocks if each.get("type") == "text"]
    calls = [each for each in blocks if each.get("type") == "toolCall"]
    return {**response, "toolCalls": calls, **({"content": "".join(texts)} if texts else {})}


def _call(call: Any) -> Any:
    if not isinstance(call, dict):
        return call
    return {name: call[name] for name in ("name", "arguments", "id") if call.get(name) is not None}


def _times(fixture: Rule) -> Rule:
    """The delays of a fixture, and the break of its stream."""
    found: Rule = {}
    faults = []
    first_ms, delay_ms = _delays_ms(fixture)
    if _is_number(fixture.get("chunkSize")):
        found["chunks"] = fixture["chunkSize"]
    if delay_ms:
        found["chunk_delay"] = delay_ms / 1000
    if first_ms:
        faults.append(f"ttft={first_ms:g}ms")
    latency_ms: Any = _object(fixture.get("chaos")).get("latencyMs")
    if _is_number(latency_ms):
        found["delay"] = latency_ms / 1000
    cuts = [fixture["truncateAfterChunks"]] if isinstance(fixture.get("truncateAfterChunks"), int) else []
    end_ms: Any = fixture.get("disconnectAfterMs")
    if end_ms == 0 or (_is_number(end_ms) and (delay_ms or end_ms < first_ms)):
        cuts.append(_chunks_in(end_ms, first_ms, delay_ms))
    if cuts:
        faults.append(f"cut={min(cuts)}")
    return found | ({"fault": faults} if faults else {})


def _delays_ms(fixture: Rule) -> tuple[float, float]:
    """The times before the first chunk and before each other one."""
    speed = fixture["replaySpeed"] if _is_number(fixture.get("replaySpeed")) else 1
    latency = fixture["latency"] if _is_number(fixture.get("latency")) else 0
    profile, recorded = _object(fixture.get("streamingProfile")), _object(fixture.get("recordedTimings"))
    first, delay = 0, latency
    if profile:
        first = profile["ttft"] if _is_number(profile.get("ttft")) else 0
        delay = 1000 / profile["tps"] if _is_number(profile.get("tps")) else latency
    elif recorded:
        first = recorded["ttftMs"] if _is_number(recorded.get("ttftMs")) else 0
        listed = recorded.get("interChunkDelaysMs")
        delays = (
            [each for each in listed if _is_number(each) or each == 0] if isinstance(listed, list) else []
        )
        delay = sum(delays) / len(delays) if delays else 0
    return first / speed, delay / speed


def _chunks_in(end_ms: float, first_ms: float, delay_ms: float) -> int:
    """The number of chunks that come before this time."""
    left_ms = end_ms - first_ms
    return 0 if left_ms <= 0 else 1 + int(left_ms / delay_ms)


def _object(value: Any) -> Rule:
    return value if isinstance(value, dict) else {}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _model(name: Any) -> Rule:
    """The condition of a model: its name, or that with a date after it."""
    return {"model": {"regex": rf"\A{re.escape(name)}(-\d.*)?\Z"} if isinstance(name, str) else name}


def _named(name: str) -> Callable[[Any], Rule]:
    return lambda value: {name: value}


_CONDITIONS: Mapping[str, Callable[[Any], Rule]] = {
    "userMessage": _named("user"),
    "systemMessage": lambda value: {} if value == [] else {"system": value},
    "toolCallId": _named("tool_call_id"),
    "toolResultContains": _named("tool"),
    "toolName": _named("tool_name"),
    "model": _model,
    "responseFormat": lambda value: {"body": {"/response_format/type": value}},
    "turnIndex": _named("turn"),
    "hasToolResult": _named("tool_results"),
    "sequenceIndex": lambda value: {"occurrence": value + 1 if isinstance(value, int) else value},
}
_ANSWER_NAMES = {
    "content": "content",
    "reasoning": "reasoning",
    "finishReason": "finish_reason",
    "model": "model",
}
_FIXTURE_NAMES = frozenset(
    {
        *("match", "response", "latency", "chunkSize", "truncateAfterChunks", "disconnectAfterMs"),
        *("streamingProfile", "recordedTimings", "replaySpeed", "chaos", "metadata"),
    }
)
_RESPONSE_NAMES = frozenset(
    {*_ANSWER_NAMES, "toolCalls", "blocks", "error", "status", "retryAfter", "usage", "role"}
)
_ERROR_NAMES = ("message", "type", "code", "param")
_USAGE_NAMES = {
    "prompt_tokens": "prompt_tokens",
    "completion_tokens": "completion_tokens",
    "total_tokens": "total_tokens",
    "input_tokens": "prompt_tokens",
    "output_tokens": "completion_tokens",
}
