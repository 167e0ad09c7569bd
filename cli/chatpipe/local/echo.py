"""The model `echo`: the bytes of a request -> the bytes of the reply, without socket, clock or dice.

It repeats the last user message, or calls a tool, or makes a value that fits a schema, and shapes
that as the API would: the same request gets the same bytes for ever. A token is a run of
non-space characters with the white space before it, so that tokens joined are the text.
What it does not know it ignores; what the API would refuse for its shape, it refuses as the API does.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.local.fit import fit

MODEL = "echo"
CREATED = 1_700_000_000  # 2023-11-14: any moment will do, so long as it is always that one

_Object = dict[str, Any]

_STREAMED_SOUND = "pcm16"  # the one format of audio that the API streams, and ours where none is named
_SAMPLES = 2400
_AUDIO_END = {"expires_at": CREATED + 3600}

_TOKEN = re.compile(r"\s*\S+|\s+")
_MOST_CHOICES = 128
_MOST_ALTERNATIVES = 20
_ARGUMENTS_PIECE = 16  # characters of a call's arguments in one chunk: JSON has too few spaces to cut at


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP reply. pieces is the body, to be read once: one piece of JSON, or one an event."""

    status: int
    headers: tuple[tuple[str, str], ...]  # lower-case names; framing is left to whoever sends it
    pieces: Iterable[bytes]


@dataclass(frozen=True, slots=True)
class _Call:
    """A tool or function call. kind is where the API writes it; payload its arguments or its input."""

    kind: str  # "function", "custom", or "function_call" for the deprecated form
    name: str
    payload: str

    @property
    def field(self) -> str:
        return "input" if self.kind == "custom" else "arguments"


@dataclass(frozen=True, slots=True)
class _Answer:
    """What every choice says (tokens of content or transcript, or a call), and how it is wrapped."""

    digest: str  # of the request's bytes: all ids are made from it
    model: str
    prompt_tokens: int
    choices: int
    tokens: Sequence[str]
    finish_reason: str
    call: _Call | None
    spoken: str | None  # the format of the sound that the text is said in; None for text
    alternatives: int | None  # to each token's log probability; None for no log probabilities

    @property
    def usage(self) -> _Object:
        said = _tokens(self.call.payload) if self.call else self.tokens
        completion_tokens = self.choices * (len(said) + (self.call is not None))  # a name is a token
        return {
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


class _Refused(Exception):
    """A request that the API answers with 400."""

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
        wanted = "POST"
    elif models and (not model or model.startswith("/")):
        wanted = "GET"
    else:
        return _error(404, f"Unknown request URL: {method} {path}", code="unknown_url")
    if method != wanted:
        return _error(405, f"Not allowed to {method} on {path}: use {wanted}", headers=(("allow", wanted),))
    return _chat(body) if wanted == "POST" else _models(unquote(model[1:]))


def _models(model: str) -> Reply:
    """The list, or one model's object: any name is taken in a request, only MODEL is offered."""
    offered = {"id": MODEL, "object": "model", "created": CREATED, "owned_by": "chatpipe"}
    if not model:
        return _json(200, {"object": "list", "data": [offered]})
    if model == MODEL:
        return _json(200, offered)
    return _error(404, f"The model '{model}' does not exist", "model", "model_not_found")


def _chat(data: bytes) -> Reply:
    digest = hashlib.sha256(data).hexdigest()[:24]
    headers = (("x-request-id", f"req_{digest}"),)
    try:
        body = _body(data)
        said = _answer(body, digest)
    except _Refused as error:
        return _error(400, error.message, error.param, error.code, headers)
    if body.get("stream") is not True:
        return _json(200, _completion(said), headers)
    options = body.get("stream_options")
    with_usage = isinstance(options, dict) and options.get("include_usage") is True
    return Reply(
        200, (("content-type", "text/event-stream; charset=utf-8"), *headers), _events(said, with_usage)
    )


def _json(status: int, value: Value, headers: tuple[tuple[str, str], ...] = ()) -> Reply:
    return Reply(status, (("content-type", "application/json"), *headers), (values.dumps(value),))


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
    """The request's body, its messages a list of objects and not empty. Raises _Refused."""
    try:
        body = values.loads(data)
    except values.NotJSON as error:
        raise _Refused(f"We could not parse the JSON body of your request: {error}") from error
    if not isinstance(body, dict):
        raise _Refused("The body of your request must be a JSON object")
    messages = body.get("messages")
    if messages is None:
        raise _Refused("Missing required parameter: 'messages'.", "messages", "missing_required_parameter")
    if not isinstance(messages, list):
        raise _Refused("Invalid type for 'messages': expected an array.", "messages", "invalid_type")
    if not messages:
        raise _Refused("Invalid 'messages': empty array.", "messages", "empty_array")
    for at, message in enumerate(messages):
        if not isinstance(message, dict):
            param = f"messages[{at}]"
            raise _Refused(f"Invalid type for '{param}': expected an object.", param, "invalid_type")
    return body


def _answer(body: _Object, digest: str) -> _Answer:
    messages = body["messages"]
    text = _text_to_repeat(messages)
    call = None if _is_result(messages[-1]) else _call(body, text)
    limits = [_whole(body, name, 1, None) for name in ("max_completion_tokens", "max_tokens")]
    tokens = (
        [] if call else _tokens(_before_stop(_in_format(body.get("response_format"), text), body.get("stop")))
    )
    limit = min((limit for limit in limits if limit is not None), default=len(tokens))
    finish_reason = "length" if len(tokens) > limit else "stop"
    if call:
        finish_reason = "function_call" if call.kind == "function_call" else "tool_calls"
    model = body.get("model")
    alternatives = _whole(body, "top_logprobs", 0, _MOST_ALTERNATIVES) or 0
    return _Answer(
        digest=digest,
        model=model if isinstance(model, str) and model else MODEL,
        prompt_tokens=sum(len(_tokens(_text(message))) for message in messages),
        choices=_whole(body, "n", 1, _MOST_CHOICES) or 1,
        tokens=tokens[:limit],
        finish_reason=finish_reason,
        call=call,
        spoken=_sound(body) if call is None else None,
        alternatives=alternatives if body.get("logprobs") is True else None,
    )


def _sound(body: _Object) -> str | None:
    """The format of the audio that the request asks for, None for none. Raises _Refused."""
    modalities, audio = body.get("modalities"), body.get("audio")
    if not (isinstance(modalities, list) and "audio" in modalities):
        return None
    style = audio.get("format") if isinstance(audio, dict) else None
    if not isinstance(style, str):
        return _STREAMED_SOUND
    if style != _STREAMED_SOUND and body.get("stream") is True:
        what = (
            f"Unsupported value: 'audio.format' does not support '{style}' when stream=true."
            f" Supported values are: '{_STREAMED_SOUND}'."
        )
        raise _Refused(what, "audio.format", "unsupported_value")
    return style


def _whole(body: _Object, name: str, low: int, high: int | None) -> int | None:
    """An integer of the body; None when it is null or not there. Raises _Refused."""
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise _Refused(f"Invalid type for '{name}': expected an integer.", name, "invalid_type")
    if value < low:
        what = f"Invalid '{name}': expected a value >= {low}, but got {value} instead."
        raise _Refused(what, name, "integer_below_min_value")
    if high is not None and value > high:
        what = f"Invalid '{name}': expected a value <= {high}, but got {value} instead."
        raise _Refused(what, name, "integer_above_max_value")
    return value


def _text_to_repeat(messages: list[_Object]) -> str:
    """The results of tools when they came last, else the last user message, else the last message."""
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
    """A message's content as text, each part on a line of its own."""
    content = message.get("content")
    if isinstance(content, list):
        return "\n".join(_part(part) for part in content)
    return content if isinstance(content, str) else ""


def _part(part: Value) -> str:
    """The text of a text or refusal part; of others their type and size, `[image: image/png, 70 bytes]`."""
    if not isinstance(part, dict):
        return part if isinstance(part, str) else ""
    kind = part.get("type")
    held: Value = part.get(kind) if isinstance(kind, str) else None
    match kind, held:
        case (("text" | "refusal"), str()):
            return held
        case "image_url", {"url": str(url)} | str(url):
            return f"[image: {_described(url)}]"
        case "input_audio", {"data": str(data)}:
            return f"[audio: {held.get('format')}, {_base64_size(data)} bytes]"
        case "file", {"file_data": str(data)}:
            name = held.get("filename")
            is_url = data.startswith(("data:", "https://", "http://"))
            described = _described(data) if is_url else f"{_base64_size(data)} bytes"
            return f"[file: {name}, {described}]" if name else f"[file: {described}]"
        case "file", {"file_id": str(file_id)}:
            return f"[file: {file_id}]"
    return f"[{kind}]"


def _described(url: str) -> str:
    """`image/png, 70 bytes` of a data URL (RFC 2397), any other URL as it is."""
    if not url.startswith("data:"):
        return url
    head, _, data = url[len("data:") :].partition(",")
    media_type = head.partition(";")[0] or "text/plain"
    size = _base64_size(data) if head.endswith(";base64") else len(unquote_to_bytes(data))
    return f"{media_type}, {size} bytes"


def _base64_size(data: str) -> int:
    """Bytes that base64 text stands for, counted rather than decoded: images are large."""
    return len(data.rstrip("=")) * 3 // 4


def _tokens(text: str) -> list[str]:
    return _TOKEN.findall(text)


def _before_stop(text: str, stop: Value) -> str:
    stops = [stop] if isinstance(stop, str) else stop if isinstance(stop, list) else []
    found = [text.find(each) for each in stops if isinstance(each, str) and each]
    return text[: min((at for at in found if at >= 0), default=len(text))]


def _in_format(response_format: Value, text: str) -> str:
    match response_format:
        case {"type": "json_schema", "json_schema": {"schema": schema}}:
            return values.dumps(fit(schema, text)).decode()
        case {"type": "json_object" | "json_schema"}:
            return values.dumps({"echo": text}).decode()
    return text


def _call(body: _Object, text: str) -> _Call | None:
    """The call that the request asks for: of the tool it chooses, else of the first. Raises _Refused."""
    tools = [(tool.get("type"), _definition(tool)) for tool in _objects(body.get("tools"))]
    functions = [("function_call", function) for function in _objects(body.get("functions"))]
    param, callables = ("tool_choice", tools) if tools else ("function_call", functions)
    choice = body.get(param)
    if not callables or choice == "none":
        return None
    name = _chosen(choice)
    for kind, definition in callables:
        if name is None or definition.get("name") == name:
            payload = text
            if kind != "custom":
                payload = values.dumps(fit(definition.get("parameters", {"type": "object"}), text)).decode()
            return _Call(str(kind), str(definition.get("name")), payload)
    raise _Refused(f"Invalid value for '{param}': '{name}' is not among the tools.", param, "invalid_value")


def _chosen(choice: Value) -> Value:
    """The name in any form of tool_choice or function_call; None when it is left to the model."""
    match choice:
        case {"type": "allowed_tools", "allowed_tools": {"tools": [dict(first), *_]}}:
            return _definition(first).get("name")
        case {"type": "function" | "custom"}:
            return _definition(choice).get("name")
        case {"name": name}:
            return name
    return None


def _definition(tool: _Object) -> _Object:
    """What a tool, or a choice of one, says under the key of its own type."""
    held = tool.get(str(tool.get("type")))
    return held if isinstance(held, dict) else {}


def _objects(value: Value) -> list[_Object]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _completion(said: _Answer) -> _Object:
    choices = [
        {
            "index": index,
            "message": _message(said, index),
            "logprobs": _logprobs(said, said.tokens),
            "finish_reason": said.finish_reason,
        }
        for index in range(said.choices)
    ]
    return {**_envelope(said, "chat.completion"), "choices": choices, "usage": said.usage}


def _envelope(said: _Answer, kind: str) -> _Object:
    return {
        "id": f"chatcmpl-{said.digest}",
        "object": kind,
        "created": CREATED,
        "model": said.model,
        "service_tier": "default",
        "system_fingerprint": "fp_echo",
    }


def _message(said: _Answer, index: int) -> _Object:
    text = "".join(said.tokens)
    content = None if said.call or said.spoken else text
    message: _Object = {"role": "assistant", "content": content, "refusal": None, "annotations": []}
    if said.call:
        message |= _calling(said, index, said.call, said.call.payload)
    if said.spoken:
        data = base64.b64encode(_silence(said.spoken)).decode()
        message["audio"] = {**_audio_id(said, index), "transcript": text, "data": data, **_AUDIO_END}
    return message


def _calling(said: _Answer, index: int, call: _Call, payload: str) -> _Object:
    """The key of a message that makes the call, with payload for its arguments or input."""
    inner = {"name": call.name, call.field: payload}
    if call.kind == "function_call":
        return {"function_call": inner}
    return {"tool_calls": [{"id": f"call_{said.digest}{index}", "type": call.kind, call.kind: inner}]}


def _audio_id(said: _Answer, index: int) -> _Object:
    return {"id": f"audio_{said.digest}{index}"}


def _silence(style: str) -> bytes:
    """A tenth of a second of silence: pcm16 as it is, in a WAV for every other format.

    24 kHz, 16 bits, mono, the least significant byte first, as the API has it.
    """
    samples = bytes(2 * _SAMPLES)
    if style == _STREAMED_SOUND:
        return samples
    head = bytes.fromhex("666d7420 10000000 01000100 c05d0000 80bb0000 02001000")  # the `fmt ` chunk
    wave = b"WAVE" + head + b"data" + len(samples).to_bytes(4, "little") + samples
    return b"RIFF" + len(wave).to_bytes(4, "little") + wave


def _sound_pieces(tokens: int) -> Iterator[str]:
    """The samples in one piece for each token, each encoded for itself, as servers do."""
    pieces = max(tokens, 1)
    for piece in range(pieces):
        samples = _SAMPLES * (piece + 1) // pieces - _SAMPLES * piece // pieces
        yield base64.b64encode(bytes(2 * samples)).decode()


def _events(said: _Answer, with_usage: bool) -> Iterator[bytes]:
    """One event a chunk: the choices take turns, delta by delta; then their ends, the usage, [DONE]."""
    envelope = _envelope(said, "chat.completion.chunk")
    usage = {"usage": None} if with_usage else {}
    everyone = range(said.choices)
    for turn in zip(*(_deltas(said, index) for index in everyone), strict=True):
        for index, (delta, tokens) in enumerate(turn):
            choice = {
                "index": index,
                "delta": delta,
                "logprobs": _logprobs(said, tokens),
                "finish_reason": None,
            }
            yield _event({**envelope, "choices": [choice], **usage})
    for index in everyone:
        choice = {"index": index, "delta": {}, "logprobs": None, "finish_reason": said.finish_reason}
        yield _event({**envelope, "choices": [choice], **usage})
    if with_usage:
        yield _event({**envelope, "choices": [], "usage": said.usage})
    yield b"data: [DONE]\n\n"


def _event(value: Value) -> bytes:
    return b"data: " + values.dumps(value) + b"\n\n"


def _deltas(said: _Answer, index: int) -> Iterator[tuple[_Object, Sequence[str]]]:
    """One choice's deltas, each with the tokens of content in it; as many for every choice."""
    call = said.call
    yield {"role": "assistant", "content": None if call or said.spoken else "", "refusal": None}, ()
    if call:
        yield from ((delta, ()) for delta in _call_deltas(said, index, call))
    elif said.spoken:
        yield {"audio": _audio_id(said, index)}, ()
        yield from (({"audio": {"transcript": token}}, (token,)) for token in said.tokens)
        yield from (({"audio": {"data": data}}, ()) for data in _sound_pieces(len(said.tokens)))
        yield {"audio": _AUDIO_END}, ()
    else:
        yield from (({"content": token}, (token,)) for token in said.tokens)


def _call_deltas(said: _Answer, index: int, call: _Call) -> Iterator[_Object]:
    opening = _calling(said, index, call, "")
    pieces = [
        call.payload[at : at + _ARGUMENTS_PIECE] for at in range(0, len(call.payload), _ARGUMENTS_PIECE)
    ]
    if call.kind == "function_call":
        yield opening
        yield from ({"function_call": {call.field: piece}} for piece in pieces)
    else:
        yield {"tool_calls": [{"index": 0, **opening["tool_calls"][0]}]}
        yield from ({"tool_calls": [{"index": 0, call.kind: {call.field: piece}}]} for piece in pieces)


def _logprobs(said: _Answer, tokens: Sequence[str]) -> _Object | None:
    """The log probabilities of tokens, or None when none were asked for or nothing was said."""
    if said.alternatives is None or not tokens:
        return None
    return {"content": [_logprob(token, said.alternatives) for token in tokens], "refusal": None}


def _logprob(token: str, alternatives: int) -> _Object:
    """Made up, but a distribution: the token has 0.6 to 1, each alternative half of what is left.

    Rounded, because the last digits of a logarithm differ between machines.
    """
    probability = 0.6 + zlib.crc32(_bytes(token)) % 4000 / 10_000
    left = 1 - probability
    chances = [(token, probability), *((f"{token}~{n}", left / 2**n) for n in range(1, alternatives))]
    ranked = [
        {"token": said, "logprob": round(math.log(chance), 6), "bytes": list(_bytes(said))}
        for said, chance in chances
    ]
    return {**ranked[0], "top_logprobs": ranked[:alternatives]}


def _bytes(token: str) -> bytes:
    return token.encode("utf-8", "surrogatepass")  # half an emoji may come in a request as its escape
