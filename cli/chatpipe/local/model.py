"""The model `echo`: the bytes of a request -> the bytes of the reply, without socket, clock or randomness.

It repeats the last user message, calls a tool, or makes a value that fits a schema, and formats it
as the API would. The same request always gets the same bytes. It ignores parameters that it does not
know, and rejects a malformed request as the API does. answer_writer.py writes the answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

from chatpipe.errors import quantity
from chatpipe.inputs import values
from chatpipe.inputs.values import Value, as_object, objects_in
from chatpipe.local.answer_writer import (
    CREATED,
    STREAMED_AUDIO,
    ModelAnswer,
    ModelCall,
    completion_of,
    count_tokens,
    events_of,
    first_tokens,
    plain_completion,
)
from chatpipe.local.chat_body import ChatBody
from chatpipe.local.sample import sample_value

MODEL = "echo"

_Object = dict[str, Any]
Headers = tuple[tuple[str, str], ...]

_JSON = ("content-type", "application/json")
_LIMITS = ("max_completion_tokens", "max_tokens")
# Members of a body on which its answer depends, besides the messages and the model.
_SHAPING = frozenset(
    {
        *_LIMITS,
        *("n", "stop", "response_format", "tools", "functions", "modalities", "logprobs", "top_logprobs"),
        "stream",
    }
)
_MAX_CHOICES = 128
_MAX_TOP_LOGPROBS = 20
_MAX_STOPS = 64  # the API takes 4, and other servers more
# Bytes of an answer that repeats its text: 2 kB can ask for 160 MB, and 800 kB for gigabytes.
_MAX_REPEATED = 16_000_000


@dataclass(slots=True)
class Reply:
    """An HTTP reply. pieces is the body and can be read once: one piece of JSON, or one piece an event.

    usage is the number of prompt and completion tokens of an answer.
    """

    status: int
    headers: Headers  # names in lower case; the sender adds the framing headers
    pieces: Iterable[bytes]
    usage: tuple[int, int] = (0, 0)


# An echo as nearly all requests ask for it, of one text: its digest, its body, and its usage as in a Reply.
PlainReply = tuple[str, bytes, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class GivenAnswer:
    """An answer to write in place of the echo: what is None or empty is as for an echo.

    tokens are the pieces of the content, None for no content. usage replaces some of the fields. reasoning
    is written as `reasoning_content`, before the content.
    """

    tokens: Sequence[str] | None = None
    calls: tuple[ModelCall, ...] = ()
    refusal: str | None = None
    reasoning: str | None = None
    finish_reason: str | None = None
    model: str | None = None
    usage: Mapping[str, Value] | None = None


class _BadRequest(Exception):
    """A request that the API rejects with 400."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        self.message = message
        self.param = param
        self.code = code
        super().__init__(message)


def answer_http(method: str, path: str, body: bytes) -> Reply:
    """The reply to one HTTP request. path may have any prefix, and a query. Never raises."""
    if method == "POST" and path.endswith("/chat/completions"):
        return answer_chat(ChatBody(body))
    route = path.partition("?")[0].rstrip("/")
    _, models, model = route.partition("/models")
    if route.endswith("/chat/completions"):
        allowed = "POST"
    elif models and (not model or model.startswith("/")):
        allowed = "GET"
    else:
        return _error(404, f"Unknown request URL: {method} {path}", code="unknown_url")
    if method != allowed:
        return _error(405, f"Not allowed to {method} on {path}: use {allowed}", headers=(("allow", allowed),))
    return answer_chat(ChatBody(body)) if allowed == "POST" else _models(unquote(model[1:]))


def _models(model: str) -> Reply:
    """The list of models, or one model's object. Only MODEL is listed, but a request may name any model."""
    offered = {"id": MODEL, "object": "model", "created": CREATED, "owned_by": "chatpipe"}
    if not model:
        return _json(200, {"object": "list", "data": [offered]})
    if model == MODEL:
        return _json(200, offered)
    return _error(404, f"The model '{model}' does not exist", "model", "model_not_found")


def answer_chat(sent: ChatBody, given: GivenAnswer | None = None) -> Reply:
    """The reply to a request for a completion: an echo, or what is given. Never raises."""
    if given is None and (plain := plain_reply(sent)) is not None:
        digest, data, usage = plain
        return Reply(200, plain_headers(digest), (data,), usage)
    digest = sent.digest
    headers = (_id_header(digest),)
    try:
        body = _checked(sent)
        answer = _answer(body, digest) if given is None else _given_answer(body, digest, given)
        _refuse_repetition(answer)
    except _BadRequest as error:
        return _error(400, error.message, error.param, error.code, headers)
    if body.get("stream") is not True:
        completion = completion_of(answer)
        counts = completion["usage"]
        usage = (counts["prompt_tokens"], counts["completion_tokens"])
        return Reply(200, (_JSON, *headers), (values.dumps(completion),), usage)
    usage = (answer.prompt_tokens, answer.completion_tokens)
    options = body.get("stream_options")
    with_usage = isinstance(options, dict) and options.get("include_usage") is True
    kind = ("content-type", "text/event-stream; charset=utf-8")
    return Reply(200, (kind, *headers), events_of(answer, with_usage), usage)


def plain_reply(sent: ChatBody) -> PlainReply | None:
    """The echo of a text, None for a request that asks for more, or that the API rejects."""
    body = sent.value
    if not isinstance(body, dict) or not _SHAPING.isdisjoint(body):
        return None
    messages: Value = body.get("messages")
    if not _are_messages(messages):
        return None
    text = _echoed_text(messages)
    tokens = count_tokens(text)
    usage = (tokens if len(messages) == 1 else _prompt_tokens(messages), tokens)
    digest = sent.digest
    return digest, plain_completion(digest, _model_of(body), text, usage), usage


def plain_headers(digest: str) -> Headers:
    """The headers of a plain reply."""
    return (_JSON, _id_header(digest))


def _id_header(digest: str) -> tuple[str, str]:
    return "x-request-id", f"req_{digest}"


def _json(status: int, value: Value, headers: Headers = ()) -> Reply:
    return Reply(status, (_JSON, *headers), (values.dumps(value),))


def _error(
    status: int, message: str, param: str | None = None, code: str | None = None, headers: Headers = ()
) -> Reply:
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return _json(status, {"error": error}, headers)


def _checked(sent: ChatBody) -> _Object:
    """The value of a body whose messages are a non-empty list of objects. Raises _BadRequest."""
    if sent.fault is not None:
        raise _BadRequest(f"We could not parse the JSON body of your request: {sent.fault}")
    body = sent.value
    if not isinstance(body, dict):
        raise _BadRequest("The body of your request must be a JSON object")
    messages = body.get("messages")
    if messages is None:
        raise _BadRequest("Missing required parameter: 'messages'.", "messages", "missing_required_parameter")
    if not isinstance(messages, list):
        raise _BadRequest("Invalid type for 'messages': expected an array.", "messages", "invalid_type")
    if not messages:
        raise _BadRequest("Invalid 'messages': empty array.", "messages", "empty_array")
    if not _are_messages(messages):
        param = f"messages[{next(at for at, each in enumerate(messages) if not isinstance(each, dict))}]"
        raise _BadRequest(f"Invalid type for '{param}': expected an object.", param, "invalid_type")
    return body


def _are_messages(messages: Value) -> bool:
    """Return True for a non-empty list of objects."""
    if not isinstance(messages, list):
        return False
    for message in messages:
        if not isinstance(message, dict):
            return False
    return bool(messages)


def _answer(body: _Object, digest: str) -> ModelAnswer:
    messages = body["messages"]
    text = _echoed_text(messages)
    call = None if _is_result(messages[-1]) else _call(body, text)
    limit = _limit(body)
    finish_reason = "stop"
    if call:
        text = ""
        finish_reason = "function_call" if call.kind == "function_call" else "tool_calls"
    else:
        text = _cut_at_stop(_formatted(body.get("response_format"), text), body.get("stop"))
    if limit is not None and (cut := first_tokens(text, limit)) is not None:
        text, finish_reason = cut, "length"
    audio_format = _audio_format(body) if call is None else None
    return ModelAnswer(
        digest=digest,
        model=_model_of(body),
        prompt_tokens=_prompt_tokens(messages),
        choices=_integer(body, "n", 1, _MAX_CHOICES) or 1,
        text=text,
        finish_reason=finish_reason,
        calls=() if call is None else (call,),
        audio_format=audio_format,
        top_logprobs=_top_logprobs(body),
        has_content=call is None and audio_format is None,
    )


def _given_answer(body: _Object, digest: str, given: GivenAnswer) -> ModelAnswer:
    return ModelAnswer(
        digest=digest,
        model=given.model or _model_of(body),
        prompt_tokens=(given.usage or {}).get("prompt_tokens", _prompt_tokens(body["messages"])),
        choices=_integer(body, "n", 1, _MAX_CHOICES) or 1,
        text="".join(given.tokens or ()),
        finish_reason=given.finish_reason or ("tool_calls" if given.calls else "stop"),
        calls=given.calls,
        audio_format=None,
        top_logprobs=_top_logprobs(body),
        has_content=given.tokens is not None,
        refusal=given.refusal,
        reasoning=given.reasoning,
        given_usage=given.usage,
        pieces=given.tokens or (),
    )


def _refuse_repetition(answer: ModelAnswer) -> None:
    """Raise _BadRequest for an answer that is large because of choices or log probabilities.

    A text alone is no larger than its request.
    """
    is_repeated = {"n": answer.choices > 1, "top_logprobs": bool(answer.top_logprobs)}
    names = [name for name, is_true in is_repeated.items() if is_true]
    if answer.top_logprobs == 0:
        names.append("logprobs")
    if names and answer.size > _MAX_REPEATED:
        listed = " and ".join(f"'{name}'" for name in names)
        what = f"The answer would be larger than {_MAX_REPEATED // 1_000_000} MB: lower {listed}"
        raise _BadRequest(f"{what}, or set 'max_tokens'.", names[0], "answer_too_large")


def _model_of(body: _Object) -> str:
    model = body.get("model")
    return model if isinstance(model, str) and model else MODEL


def _prompt_tokens(messages: list[_Object]) -> int:
    tokens = 0
    for message in messages:
        content = message.get("content")
        tokens += count_tokens(content if isinstance(content, str) else _text(message))
    return tokens


def _limit(body: _Object) -> int | None:
    """The most tokens of the answer, None for no limit. Raises _BadRequest."""
    limits = [_integer(body, name, 1, None) for name in _LIMITS if name in body]
    return min((limit for limit in limits if limit is not None), default=None)


def _top_logprobs(body: _Object) -> int | None:
    count = _integer(body, "top_logprobs", 0, _MAX_TOP_LOGPROBS) or 0
    return count if body.get("logprobs") is True else None


def _audio_format(body: _Object) -> str | None:
    """The audio format that the request asks for, or None. Raises _BadRequest."""
    if "modalities" not in body:
        return None
    modalities, audio = body["modalities"], body.get("audio")
    if not (isinstance(modalities, list) and "audio" in modalities):
        return None
    format_ = audio.get("format") if isinstance(audio, dict) else None
    if not isinstance(format_, str):
        return STREAMED_AUDIO
    if format_ != STREAMED_AUDIO and body.get("stream") is True:
        what = (
            f"Unsupported value: 'audio.format' does not support '{format_}' when stream=true."
            f" Supported values are: '{STREAMED_AUDIO}'."
        )
        raise _BadRequest(what, "audio.format", "unsupported_value")
    return format_


def _integer(body: _Object, name: str, low: int, high: int | None) -> int | None:
    """An integer parameter of the body; None if it is null or missing. Raises _BadRequest."""
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise _BadRequest(f"Invalid type for '{name}': expected an integer.", name, "invalid_type")
    if value < low:
        what = f"Invalid '{name}': expected a value >= {low}, but got {value} instead."
        raise _BadRequest(what, name, "integer_below_min_value")
    if high is not None and value > high:
        what = f"Invalid '{name}': expected a value <= {high}, but got {value} instead."
        raise _BadRequest(what, name, "integer_above_max_value")
    return value


def _echoed_text(messages: list[_Object]) -> str:
    """The tool results if they come last, otherwise the last user message, otherwise the last message."""
    if messages[-1].get("role") == "user":  # as nearly always
        return _text(messages[-1])
    results: list[str] = []
    for message in reversed(messages):
        if not _is_result(message):
            break
        results.insert(0, _text(message))
    if results:
        return "\n".join(results)
    users = [message for message in messages if message.get("role") == "user"]
    return _text((users or messages)[-1])


def _is_result(message: _Object) -> bool:
    return message.get("role") in ("tool", "function")


def _text(message: _Object) -> str:
    """The content of a message as text, with each part on its own line."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    return "\n".join(map(_part, content)) if isinstance(content, list) else ""


def _part(part: Value) -> str:
    """The text of a text or refusal part, or the type and size of others: `[image: image/png, 70 bytes]`."""
    if not isinstance(part, dict):
        return part if isinstance(part, str) else ""
    kind = part.get("type")
    content: Value = part.get(kind) if isinstance(kind, str) else None
    match kind, content:
        case (("text" | "refusal"), str()):
            return content
        case "image_url", {"url": str(url)} | str(url):
            return f"[image: {_describe(url)}]"
        case "input_audio", {"data": str(data)}:
            return f"[audio: {content.get('format')}, {quantity(_base64_size(data), 'byte')}]"
        case "file", {"file_data": str(data)}:
            name = content.get("filename")
            is_url = data.startswith(("data:", "https://", "http://"))
            description = _describe(data) if is_url else f"{quantity(_base64_size(data), 'byte')}"
            return f"[file: {name}, {description}]" if name else f"[file: {description}]"
        case "file", {"file_id": str(file_id)}:
            return f"[file: {file_id}]"
    return f"[{kind}]"


def _describe(url: str) -> str:
    """`image/png, 70 bytes` for a data URL (RFC 2397); any other URL unchanged."""
    if not url.startswith("data:"):
        return url
    head, _, data = url[len("data:") :].partition(",")
    media_type = head.partition(";")[0] or "text/plain"
    size = _base64_size(data) if head.endswith(";base64") else len(unquote_to_bytes(data))
    return f"{media_type}, {quantity(size, 'byte')}"


def _base64_size(data: str) -> int:
    """The number of bytes in base64 text, computed without decoding because images are large."""
    return len(data.rstrip("=")) * 3 // 4


def _cut_at_stop(text: str, stop: Value) -> str:
    """The text up to the first stop. Raises _BadRequest."""
    if stop is None:
        return text
    stops = [stop] if isinstance(stop, str) else stop if isinstance(stop, list) else []
    if len(stops) > _MAX_STOPS:
        what = f"Invalid 'stop': array too long. Expected at most {_MAX_STOPS}, but got {len(stops)} instead."
        raise _BadRequest(what, "stop", "array_above_max_length")
    found = [text.find(each) for each in stops if isinstance(each, str) and each]
    return text[: min((at for at in found if at >= 0), default=len(text))]


def _formatted(response_format: Value, text: str) -> str:
    if response_format is None:
        return text
    match response_format:
        case {"type": "json_schema", "json_schema": {"schema": schema}}:
            return values.dumps(sample_value(schema, text)).decode()
        case {"type": "json_object" | "json_schema"}:
            return values.dumps({"echo": text}).decode()
    return text


def _call(body: _Object, text: str) -> ModelCall | None:
    """A call of the tool that the request chooses, otherwise of the first tool; None without tools.

    Raises _BadRequest.
    """
    if "tools" not in body and "functions" not in body:
        return None
    tools = [(tool.get("type"), _definition_of(tool)) for tool in objects_in(body.get("tools"))]
    functions = [("function_call", function) for function in objects_in(body.get("functions"))]
    param, callables = ("tool_choice", tools) if tools else ("function_call", functions)
    choice = body.get(param)
    if not callables or choice == "none":
        return None
    name = _chosen_name(choice)
    for kind, definition in callables:
        if name is None or definition.get("name") == name:
            payload = text
            if kind != "custom":
                payload = values.dumps(
                    sample_value(definition.get("parameters", {"type": "object"}), text)
                ).decode()
            return ModelCall(str(kind), str(definition.get("name")), payload)
    raise _BadRequest(
        f"Invalid value for '{param}': '{name}' is not among the tools.", param, "invalid_value"
    )


def _chosen_name(choice: Value) -> Value:
    """The chosen name in any form of tool_choice or function_call; None if the model may choose."""
    match choice:
        case {"type": "allowed_tools", "allowed_tools": {"tools": [dict(first), *_]}}:
            return _definition_of(first).get("name")
        case {"type": "function" | "custom"}:
            return _definition_of(choice).get("name")
        case {"name": name}:
            return name
    return None


def _definition_of(tool: _Object) -> _Object:
    """The object under the key of its own type, in a tool or in an object that chooses a tool."""
    return as_object(tool.get(str(tool.get("type"))))
