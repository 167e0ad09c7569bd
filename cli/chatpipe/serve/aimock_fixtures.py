"""Fixtures of aimock -> the lines of a script, one a fixture, and what could not be taken over. Pure.

    {"fixtures": [{"match": {"userMessage": "hi"}, "response": {"content": "hello"}}]}

The order counts in both. Where aimock takes a nearby `turnIndex` for a missing one, a rule of ours does not.
Fixtures of other APIs are left out, and fields that have no meaning here: ids, roles, chaos.

Source: @copilotkit/aimock 1.43.0, dist/types.d.ts and dist/router.js.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from chatpipe.errors import BadInput
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


def left_out(source: Source, lines: list[Source]) -> Iterator[str]:
    """Notes about fixtures that have become no rules."""
    count = len(_fixtures(source.data) or ()) - len(lines)
    if count:
        yield f"{source.name}: {count} fixtures are not for Chat Completions, and left out"


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
            raise NoRule("", f"'{name}' is no condition of a fixture that is known here")
        conditions |= _CONDITIONS[name](value)
    return {"match": conditions, "answer": answer | _times(fixture)}


def _answer(response: Rule) -> Rule | None:
    """The answer of a response, None for one of another API."""
    error = response.get("error")
    if isinstance(error, dict):
        kept = {name: error[name] for name in _ERROR_NAMES if error.get(name) is not None}
        status = response.get("status", 500)
        wait = response.get("retryAfter", 1 if status == 429 else None)
        return {"error": {"status": status, **kept, **({} if wait is None else {"retry_after": wait})}}
    parts = response
    if isinstance(response.get("blocks"), list) and response["blocks"]:
        blocks = [each for each in response["blocks"] if isinstance(each, dict)]
        texts = [str(each.get("text", "")) for each in blocks if each.get("type") == "text"]
        called = [each for each in blocks if each.get("type") == "toolCall"]
        parts = {**response, "toolCalls": called, **({"content": "".join(texts)} if texts else {})}
    if "content" not in parts and "toolCalls" not in parts:
        return None
    answer: Rule = {name: parts[old] for old, name in _ANSWER_NAMES.items() if parts.get(old) is not None}
    if calls := parts.get("toolCalls"):
        answer["tool_calls"] = [_call(each) for each in calls] if isinstance(calls, list) else calls
    usage = response.get("usage")
    if isinstance(usage, dict):
        answer["usage"] = {_USAGE_NAMES[name]: count for name, count in usage.items() if name in _USAGE_NAMES}
    return answer or {"content": ""}


def _call(call: Any) -> Any:
    if not isinstance(call, dict):
        return call
    return {name: call[name] for name in ("name", "arguments", "id") if call.get(name) is not None}


def _times(fixture: Rule) -> Rule:
    """The delays of a fixture, and the break of its stream."""
    profile = fixture.get("streamingProfile")
    profile = profile if isinstance(profile, dict) else {}
    found: Rule = {}
    faults = []
    if _is_number(fixture.get("chunkSize")):
        found["chunks"] = fixture["chunkSize"]
    if _is_number(profile.get("tps")):
        found["chunk_delay"] = 1 / profile["tps"]
    elif _is_number(fixture.get("latency")):
        found["chunk_delay"] = fixture["latency"] / 1000
    if _is_number(profile.get("ttft")):
        faults.append(f"ttft={profile['ttft']}ms")
    if isinstance(fixture.get("truncateAfterChunks"), int):
        faults.append(f"cut={fixture['truncateAfterChunks']}")
    return found | ({"fault": faults} if faults else {})


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _model(name: Any) -> Rule:
    """The condition of a model: its name, or that with a date behind it."""
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
_ERROR_NAMES = ("message", "type", "code", "param")
_USAGE_NAMES = {
    "prompt_tokens": "prompt_tokens",
    "completion_tokens": "completion_tokens",
    "total_tokens": "total_tokens",
    "input_tokens": "prompt_tokens",
    "output_tokens": "completion_tokens",
}
