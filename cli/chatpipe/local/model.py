"""The model `echo`: the bytes of a request -> the bytes of the reply, without socket, clock or randomness.

It repeats the last user message, calls a tool, or makes a value that fits a schema, and formats it
as the API would. The same request always gets the same bytes. A token is a run of non-space
characters with the white space before it, so the joined tokens are the text. It ignores parameters
that it does not know, and rejects a malformed request as the API does.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

from chatpipe.errors import quantity
from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.local.sample import sample_value
from chatpipe.named_tuple import NamedTuple

MODEL = "echo"
CREATED = 1_700_000_000  # 2023-11-14: any moment works if it never changes

_Object = dict[str, Any]

_STREAMED_AUDIO = "pcm16"  # the only audio format that the API streams, and our default
_SAMPLES = 2400
_AUDIO_END = {"expires_at": CREATED + 3600}

_JSON = ("content-type", "application/json")

_TOKEN = re.compile(r"\s*\S+|\s+")
_LIMITS = ("max_completion_tokens", "max_tokens")
_MAX_CHOICES = 128
_MAX_TOP_LOGPROBS = 20
_MARK = "the delta"
_ARGUMENTS_PIECE = 16  # characters of a call's arguments in a chunk: JSON has too few spaces to cut at


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP reply. pieces is the body and can be read once: one piece of JSON, or one piece an event.

    usage is the number of prompt and completion tokens of an answer.
    """

    status: int
    headers: tuple[tuple[str, str], ...]  # names in lower case; the sender adds the framing headers
    pieces: Iterable[bytes]
    usage: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class ModelCall:
    """A tool or function call. kind is its key in the API; payload is its arguments or input.

    Without an id it gets one that derives from the request.
    """

    kind: str  # "function", "custom", or "function_call" for the deprecated form
    name: str
    payload: str
    id: str | None = None

    @property
    def field(self) -> str:
        return "input" if self.kind == "custom" else "arguments"


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


class _EchoAnswer(NamedTuple):
    """The content of every choice (tokens of content or transcript, or calls), and its metadata."""

    digest: str  # of the request's bytes; all ids derive from it
    model: str
    prompt_tokens: int
    choices: int
    tokens: Sequence[str]
    finish_reason: str
    calls: tuple[ModelCall, ...]
    audio_format: str | None  # the audio format of a spoken answer; None for text
    top_logprobs: int | None  # number of top_logprobs for each token; None for no log probabilities
    has_content: bool  # False if the content is null
    refusal: str | None = None
    reasoning: str | None = None
    given_usage: Mapping[str, Value] | None = None

    @property
    def completion_tokens(self) -> int:
        if self.given_usage and "completion_tokens" in self.given_usage:
            return int(self.given_usage["completion_tokens"])
        tokens = len(self.tokens)
        if self.calls:
            tokens += sum(len(tokens_of(call.payload)) + 1 for call in self.calls)  # a name is one token
        if self.refusal or self.reasoning:
            tokens += len(tokens_of(self.refusal or "")) + len(tokens_of(self.reasoning or ""))
        return self.choices * tokens

    @property
    def usage(self) -> _Object:
        completion_tokens = self.completion_tokens
        usage = {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": self.prompt_tokens + completion_tokens,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }
        return usage if self.given_usage is None else {**usage, **self.given_usage}


class _BadRequest(Exception):
    """A request that the API rejects with 400."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        self.message = message
        self.param = param
        self.code = code
        super().__init__(message)


def answer(method: str, path: str, body: bytes) -> Reply:
    """The reply to one HTTP request. path may have any prefix, and a query. Never raises."""
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
    return answer_chat(body) if allowed == "POST" else _models(unquote(model[1:]))


def _models(model: str) -> Reply:
    """The list of models, or one model's object. Only MODEL is listed, but a request may name any model."""
    offered = {"id": MODEL, "object": "model", "created": CREATED, "owned_by": "chatpipe"}
    if not model:
        return _json(200, {"object": "list", "data": [offered]})
    if model == MODEL:
        return _json(200, offered)
    return _error(404, f"The model '{model}' does not exist", "model", "model_not_found")


def request_id_of(body: bytes) -> str:
    """The id of all requests with this body."""
    return _request_id(_digest(body))


def _request_id(digest: str) -> str:
    return f"req_{digest}"


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:24]


def answer_chat(data: bytes, given: GivenAnswer | None = None) -> Reply:
    """The reply to a request for a completion: an echo, or what is given. Never raises."""
    digest = _digest(data)
    headers = (("x-request-id", _request_id(digest)),)
    try:
        body = _body(data)
        answer = _answer(body, digest) if given is None else _given_answer(body, digest, given)
    except _BadRequest as error:
        return _error(400, error.message, error.param, error.code, headers)
    usage = (answer.prompt_tokens, answer.completion_tokens)
    if body.get("stream") is not True:
        return Reply(200, (_JSON, *headers), (values.dumps(_completion(answer)),), usage)
    options = body.get("stream_options")
    with_usage = isinstance(options, dict) and options.get("include_usage") is True
    kind = ("content-type", "text/event-stream; charset=utf-8")
    return Reply(200, (kind, *headers), _events(answer, with_usage), usage)


def _json(status: int, value: Value, headers: tuple[tuple[str, str], ...] = ()) -> Reply:
    return Reply(status, (_JSON, *headers), (values.dumps(value),))


def _error(
    status: int,
    message: str,
    param: str | None = None,
    code: str | None = None,
    headers: tuple[tuple[str, str], ...] = (),
) -> Reply:
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return _json(status, {"error": error}, headers)


def _body(data: bytes) -> _Object:
    """The request body; its messages are a non-empty list of objects. Raises _BadRequest."""
    try:
        body = values.loads(data)
    except values.NotJSON as error:
        raise _BadRequest(f"We could not parse the JSON body of your request: {error}") from error
    if not isinstance(body, dict):
        raise _BadRequest("The body of your request must be a JSON object")
    messages = body.get("messages")
    if messages is None:
        raise _BadRequest("Missing required parameter: 'messages'.", "messages", "missing_required_parameter")
    if not isinstance(messages, list):
        raise _BadRequest("Invalid type for 'messages': expected an array.", "messages", "invalid_type")
    if not messages:
        raise _BadRequest("Invalid 'messages': empty array.", "messages", "empty_array")
    for at, message in enumerate(messages):
        if not isinstance(message, dict):
            param = f"messages[{at}]"
            raise _BadRequest(f"Invalid type for '{param}': expected an object.", param, "invalid_type")
    return body


def _answer(body: _Object, digest: str) -> _EchoAnswer:
    messages = body["messages"]
    text = _echoed_text(messages)
    call = None if _is_result(messages[-1]) else _call(body, text)
    limits = [_integer(body, name, 1, None) for name in _LIMITS if name in body]
    tokens = (
        []
        if call
        else tokens_of(_cut_at_stop(_formatted(body.get("response_format"), text), body.get("stop")))
    )
    limit = min((limit for limit in limits if limit is not None), default=len(tokens))
    finish_reason = "length" if len(tokens) > limit else "stop"
    if call:
        finish_reason = "function_call" if call.kind == "function_call" else "tool_calls"
    audio_format = _audio_format(body) if call is None else None
    return _EchoAnswer(
        digest=digest,
        model=_model_of(body),
        prompt_tokens=_prompt_tokens(messages),
        choices=_integer(body, "n", 1, _MAX_CHOICES) or 1,
        tokens=tokens[:limit],
        finish_reason=finish_reason,
        calls=() if call is None else (call,),
        audio_format=audio_format,
        top_logprobs=_top_logprobs(body),
        has_content=call is None and audio_format is None,
    )


def _given_answer(body: _Object, digest: str, given: GivenAnswer) -> _EchoAnswer:
    return _EchoAnswer(
        digest=digest,
        model=given.model or _model_of(body),
        prompt_tokens=(given.usage or {}).get("prompt_tokens", _prompt_tokens(body["messages"])),
        choices=_integer(body, "n", 1, _MAX_CHOICES) or 1,
        tokens=given.tokens or (),
        finish_reason=given.finish_reason or ("tool_calls" if given.calls else "stop"),
        calls=given.calls,
        audio_format=None,
        top_logprobs=_top_logprobs(body),
        has_content=given.tokens is not None,
        refusal=given.refusal,
        reasoning=given.reasoning,
        given_usage=given.usage,
    )


def _model_of(body: _Object) -> str:
    model = body.get("model")
    return model if isinstance(model, str) and model else MODEL


def _prompt_tokens(messages: list[_Object]) -> int:
    return sum(len(tokens_of(_text(message))) for message in messages)


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
        return _STREAMED_AUDIO
    if format_ != _STREAMED_AUDIO and body.get("stream") is True:
        what = (
            f"Unsupported value: 'audio.format' does not support '{format_}' when stream=true."
            f" Supported values are: '{_STREAMED_AUDIO}'."
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
    if isinstance(content, list):
        return "\n".join(_part(part) for part in content)
    return content if isinstance(content, str) else ""


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


def tokens_of(text: str) -> list[str]:
    """The tokens of the model: joined, they are the text."""
    return _TOKEN.findall(text)


def _cut_at_stop(text: str, stop: Value) -> str:
    if stop is None:
        return text
    stops = [stop] if isinstance(stop, str) else stop if isinstance(stop, list) else []
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
    tools = [(tool.get("type"), _definition_of(tool)) for tool in _objects(body.get("tools"))]
    functions = [("function_call", function) for function in _objects(body.get("functions"))]
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
    definition = tool.get(str(tool.get("type")))
    return definition if isinstance(definition, dict) else {}


def _objects(value: Value) -> list[_Object]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _completion(answer: _EchoAnswer) -> _Object:
    choices = [
        {
            "index": index,
            "message": _message(answer, index),
            "logprobs": _logprobs(answer, answer.tokens),
            "finish_reason": answer.finish_reason,
        }
        for index in range(answer.choices)
    ]
    return {**_envelope(answer, "chat.completion"), "choices": choices, "usage": answer.usage}


def _envelope(answer: _EchoAnswer, kind: str) -> _Object:
    return {
        "id": f"chatcmpl-{answer.digest}",
        "object": kind,
        "created": CREATED,
        "model": answer.model,
        "service_tier": "default",
        "system_fingerprint": "fp_chatpipe",
    }


def _message(answer: _EchoAnswer, index: int) -> _Object:
    text = "".join(answer.tokens)
    content = text if answer.has_content else None
    message: _Object = {"role": "assistant", "content": content, "refusal": answer.refusal, "annotations": []}
    if answer.reasoning is not None:
        message["reasoning_content"] = answer.reasoning
    if answer.calls:
        message |= _call_fields(answer, index)
    if answer.audio_format:
        data = base64.b64encode(_silence(answer.audio_format)).decode()
        message["audio"] = {**_audio_id(answer, index), "transcript": text, "data": data, **_AUDIO_END}
    return message


def _call_fields(answer: _EchoAnswer, index: int) -> _Object:
    """The message fields that make the calls of a choice."""
    if answer.calls[0].kind == "function_call":
        return {"function_call": _call_inside(answer.calls[0], answer.calls[0].payload)}
    calls = enumerate(answer.calls)
    return {"tool_calls": [_call_value(answer, index, at, call.payload) for at, call in calls]}


def _call_value(answer: _EchoAnswer, index: int, at: int, payload: str) -> _Object:
    """The call at this place of a choice, with payload as its arguments or input."""
    call = answer.calls[at]
    call_id = call.id or f"call_{answer.digest}{index}{f'_{at}' if at else ''}"
    return {"id": call_id, "type": call.kind, call.kind: _call_inside(call, payload)}


def _call_inside(call: ModelCall, payload: str) -> _Object:
    return {"name": call.name, call.field: payload}


def _audio_id(answer: _EchoAnswer, index: int) -> _Object:
    return {"id": f"audio_{answer.digest}{index}"}


def _silence(format_: str) -> bytes:
    """A tenth of a second of silence: raw samples for pcm16, a WAV file for every other format.

    The samples are 24 kHz, 16 bits, mono and little-endian, as in the API.
    """
    samples = bytes(2 * _SAMPLES)
    if format_ == _STREAMED_AUDIO:
        return samples
    head = bytes.fromhex("666d7420 10000000 01000100 c05d0000 80bb0000 02001000")  # the `fmt ` chunk
    wave = b"WAVE" + head + b"data" + len(samples).to_bytes(4, "little") + samples
    return b"RIFF" + len(wave).to_bytes(4, "little") + wave


def _audio_pieces(tokens: int) -> Iterator[str]:
    """The samples, split into one piece a token. Each piece is encoded separately, as servers do."""
    pieces = max(tokens, 1)
    for piece in range(pieces):
        samples = _SAMPLES * (piece + 1) // pieces - _SAMPLES * piece // pieces
        yield base64.b64encode(bytes(2 * samples)).decode()


def _events(answer: _EchoAnswer, with_usage: bool) -> Iterator[bytes]:
    """The event stream. A piece has one delta of each choice, as one event each.

    The last piece has the finish reasons, the usage and [DONE], too, as a fast server sends them.
    """
    envelope = _envelope(answer, "chat.completion.chunk")
    usage = {"usage": None} if with_usage else {}
    indexes = range(answer.choices)
    frames = [_frame({**envelope, "choices": [_choice(index, _MARK, None)], **usage}) for index in indexes]
    piece = b""
    for deltas in zip(*(_deltas(answer, index) for index in indexes), strict=True):
        if piece:
            yield piece
        piece = b""
        for index, (delta, tokens) in enumerate(deltas):
            if answer.top_logprobs is None:
                before, after = frames[index]
                piece += before + values.dumps(delta) + after
            else:
                choice = _choice(index, delta, _logprobs(answer, tokens))
                piece += _event({**envelope, "choices": [choice], **usage})
    for index in indexes:
        choice = _choice(index, {}, None) | {"finish_reason": answer.finish_reason}
        piece += _event({**envelope, "choices": [choice], **usage})
    if with_usage:
        piece += _event({**envelope, "choices": [], "usage": answer.usage})
    yield piece + b"data: [DONE]\n\n"


def _choice(index: int, delta: Value, logprobs: Value) -> _Object:
    return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": None}


def _frame(value: Value) -> tuple[bytes, bytes]:
    """The event before and after _MARK. Writing each chunk of a stream as a whole costs more."""
    before, _, after = _event(value).rpartition(values.dumps(_MARK))  # the model may have its name
    return before, after


def _event(value: Value) -> bytes:
    return b"data: " + values.dumps(value) + b"\n\n"


def _deltas(answer: _EchoAnswer, index: int) -> Iterator[tuple[_Object, Sequence[str]]]:
    """The deltas of one choice, each with its content tokens. Every choice has the same number of deltas."""
    yield {"role": "assistant", "content": "" if answer.has_content else None, "refusal": None}, ()
    if answer.audio_format:
        yield {"audio": _audio_id(answer, index)}, ()
        yield from (({"audio": {"transcript": token}}, (token,)) for token in answer.tokens)
        yield from (({"audio": {"data": data}}, ()) for data in _audio_pieces(len(answer.tokens)))
        yield {"audio": _AUDIO_END}, ()
    else:
        if answer.reasoning:
            yield from (({"reasoning_content": token}, ()) for token in tokens_of(answer.reasoning))
        yield from (({"content": token}, (token,)) for token in answer.tokens)
        if answer.refusal:
            yield from (({"refusal": token}, ()) for token in tokens_of(answer.refusal))
        for at in range(len(answer.calls)):
            yield from ((delta, ()) for delta in _call_deltas(answer, index, at))


def _call_deltas(answer: _EchoAnswer, index: int, at: int) -> Iterator[_Object]:
    """The deltas of the call at this place of a choice."""
    call = answer.calls[at]
    starts = range(0, len(call.payload), _ARGUMENTS_PIECE)
    pieces = [call.payload[start : start + _ARGUMENTS_PIECE] for start in starts]
    if call.kind == "function_call":
        yield {"function_call": _call_inside(call, "")}
        yield from ({"function_call": {call.field: piece}} for piece in pieces)
    else:
        yield {"tool_calls": [{"index": at, **_call_value(answer, index, at, "")}]}
        yield from ({"tool_calls": [{"index": at, call.kind: {call.field: piece}}]} for piece in pieces)


def _logprobs(answer: _EchoAnswer, tokens: Sequence[str]) -> _Object | None:
    """The log probabilities of tokens; None if the request asks for none or there are no tokens."""
    if answer.top_logprobs is None or not tokens:
        return None
    return {"content": [_logprob(token, answer.top_logprobs) for token in tokens], "refusal": None}


def _logprob(token: str, top_logprobs: int) -> _Object:
    """An invented distribution: the token has 0.6 to 1, and each alternative half of the remainder.

    Values are rounded, because the last digits of a logarithm differ between machines.
    """
    probability = 0.6 + zlib.crc32(_bytes(token)) % 4000 / 10_000
    remainder = 1 - probability
    probabilities = [
        (token, probability),
        *((f"{token}~{n}", remainder / 2**n) for n in range(1, top_logprobs)),
    ]
    ranked = [
        {"token": text, "logprob": round(math.log(chance), 6), "bytes": list(_bytes(text))}
        for text, chance in probabilities
    ]
    return {**ranked[0], "top_logprobs": ranked[:top_logprobs]}


def _bytes(token: str) -> bytes:
    return token.encode("utf-8", "surrogatepass")  # a request may contain half an emoji as an escape
