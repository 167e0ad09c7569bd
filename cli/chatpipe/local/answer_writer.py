"""The answer of a model -> its completion, or the events of its stream, as the API writes them. Pure.

The same answer always gets the same bytes. A token is a run of non-space characters with the white space
before it, so the joined tokens are the text.
"""

from __future__ import annotations

import base64
import math
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any

from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.named_tuple import NamedTuple

CREATED = 1_700_000_000  # 2023-11-14: any moment works if it never changes
STREAMED_AUDIO = "pcm16"  # the only audio format that the API streams, and our default

_Object = dict[str, Any]

_SAMPLES = 2400
_AUDIO_END = {"expires_at": CREATED + 3600}

_MOST_EVENTS = 50_000  # of the text of a streamed answer
_PROMPT_DETAILS = {"cached_tokens": 0, "audio_tokens": 0}
_COMPLETION_DETAILS = {
    "reasoning_tokens": 0,
    "audio_tokens": 0,
    "accepted_prediction_tokens": 0,
    "rejected_prediction_tokens": 0,
}

_TOKEN = re.compile(r"\s*\S+|\s+")
_COUNTED_AT_ONCE = 1 << 20  # characters: the words of a text take 30 times the memory of its characters
# Bytes of one entry of log probabilities: its JSON without the token, and those of each byte of the token.
_ENTRY_BYTES = 60
_TOKEN_BYTES = 5
_MARK = "the delta"
_ARGUMENTS_PIECE = 16  # characters of a call's arguments in a chunk: JSON has too few spaces to cut at


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


class ModelAnswer(NamedTuple):
    """The content of every choice (tokens of content or transcript, or calls), and its metadata."""

    digest: str  # of the request's bytes; all ids derive from it
    model: str
    prompt_tokens: int
    choices: int
    text: str
    finish_reason: str
    calls: tuple[ModelCall, ...]
    audio_format: str | None  # the audio format of a spoken answer; None for text
    top_logprobs: int | None  # number of top_logprobs for each token; None for no log probabilities
    has_content: bool  # False if the content is null
    refusal: str | None = None
    reasoning: str | None = None
    given_usage: Mapping[str, Value] | None = None
    pieces: Sequence[str] | None = None  # the tokens of the text, None for those of the model

    @property
    def tokens(self) -> Iterable[str]:
        """The tokens of the text, made one by one: those of a long text take much memory."""
        return (found[0] for found in _TOKEN.finditer(self.text)) if self.pieces is None else self.pieces

    @property
    def token_count(self) -> int:
        return count_tokens(self.text) if self.pieces is None else len(self.pieces)

    @property
    def size(self) -> int:
        """About the bytes that it takes to write all choices: their texts and their log probabilities."""
        payloads = sum(len(call.payload) for call in self.calls)
        text_bytes = len(_bytes(self.text))
        size = text_bytes + payloads + len(self.refusal or "") + len(self.reasoning or "")
        if self.top_logprobs is not None:
            entries = 1 + self.top_logprobs
            size += entries * (_ENTRY_BYTES * self.token_count + _TOKEN_BYTES * text_bytes)
        return self.choices * size

    @property
    def completion_tokens(self) -> int:
        if self.given_usage and "completion_tokens" in self.given_usage:
            return int(self.given_usage["completion_tokens"])
        tokens = self.token_count
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
            "prompt_tokens_details": _PROMPT_DETAILS,
            "completion_tokens_details": _COMPLETION_DETAILS,
        }
        return usage if self.given_usage is None else {**usage, **self.given_usage}


def tokens_of(text: str) -> list[str]:
    """The tokens of the model: joined, they are the text."""
    return _TOKEN.findall(text)


def count_tokens(text: str) -> int:
    """The number of tokens_of(text), in a quarter of its time."""
    if len(text) > _COUNTED_AT_ONCE:
        return _count_in_parts(text)
    return len(text.split()) + text[-1:].isspace()


def _count_in_parts(text: str) -> int:
    """The number of tokens of a long text, without all of its words in memory at one time."""
    count = int(text[-1:].isspace())
    for at in range(0, len(text), _COUNTED_AT_ONCE):
        part = text[at : at + _COUNTED_AT_ONCE]
        goes_on = at > 0 and not text[at - 1].isspace() and not part[0].isspace()
        count += len(part.split()) - goes_on
    return count


def first_tokens(text: str, limit: int) -> str | None:
    """The first tokens of a text, None if it has no more than limit."""
    last = next(islice(_TOKEN.finditer(text), limit - 1, None), None)
    return None if last is None or last.end() == len(text) else text[: last.end()]


def plain_completion(digest: str, model: str, text: str, tokens: tuple[int, int]) -> bytes:
    """The text of completion_of() an answer of one text. tokens has the counts of the prompt and of the text.

    Filling in a form takes a sixth of the time.
    """
    to_id, to_model, to_text, to_usage, end = _plain_form()
    prompt, completion = tokens
    usage = b'%d,"completion_tokens":%d,"total_tokens":%d' % (prompt, completion, prompt + completion)
    model_json, text_json = values.dumps(model), values.dumps(text)
    return b"".join((to_id, digest.encode(), to_model, model_json, to_text, text_json, to_usage, usage, end))


def plain_answer(digest: str, model: str, prompt_tokens: int, text: str) -> ModelAnswer:
    """An answer of one text."""
    return ModelAnswer(digest, model, prompt_tokens, 1, text, "stop", (), None, None, has_content=True)


@cache
def _plain_form() -> list[bytes]:
    """The completion of a plain answer without what differs from one to another: the text between that."""
    form = values.dumps(completion_of(plain_answer("ID", "MODEL", 0, "TEXT")))
    return re.split(rb'ID|"MODEL"|"TEXT"|(?<="prompt_tokens":)0,"completion_tokens":1,"total_tokens":1', form)


def completion_of(answer: ModelAnswer) -> _Object:
    """The completion, as a whole answer has it."""
    logprobs = _logprobs(answer, tuple(answer.tokens)) if answer.top_logprobs is not None else None
    choices = [
        {
            "index": index,
            "message": _message(answer, index),
            "logprobs": logprobs,
            "finish_reason": answer.finish_reason,
        }
        for index in range(answer.choices)
    ]
    return {**_envelope(answer, "chat.completion"), "choices": choices, "usage": answer.usage}


def _envelope(answer: ModelAnswer, kind: str) -> _Object:
    return {
        "id": f"chatcmpl-{answer.digest}",
        "object": kind,
        "created": CREATED,
        "model": answer.model,
        "service_tier": "default",
        "system_fingerprint": "fp_chatpipe",
    }


def _message(answer: ModelAnswer, index: int) -> _Object:
    text = answer.text
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


def _call_fields(answer: ModelAnswer, index: int) -> _Object:
    """The message fields that make the calls of a choice."""
    if answer.calls[0].kind == "function_call":
        return {"function_call": _call_inside(answer.calls[0], answer.calls[0].payload)}
    calls = enumerate(answer.calls)
    return {"tool_calls": [_call_value(answer, index, at, call.payload) for at, call in calls]}


def _call_value(answer: ModelAnswer, index: int, at: int, payload: str) -> _Object:
    """The call at this place of a choice, with payload as its arguments or input."""
    call = answer.calls[at]
    call_id = call.id or f"call_{answer.digest}{index}{f'_{at}' if at else ''}"
    return {"id": call_id, "type": call.kind, call.kind: _call_inside(call, payload)}


def _call_inside(call: ModelCall, payload: str) -> _Object:
    return {"name": call.name, call.field: payload}


def _audio_id(answer: ModelAnswer, index: int) -> _Object:
    return {"id": f"audio_{answer.digest}{index}"}


def _silence(format_: str) -> bytes:
    """A tenth of a second of silence: raw samples for pcm16, a WAV file for every other format.

    The samples are 24 kHz, 16 bits, mono and little-endian, as in the API.
    """
    samples = bytes(2 * _SAMPLES)
    if format_ == STREAMED_AUDIO:
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


def events_of(answer: ModelAnswer, with_usage: bool) -> Iterator[bytes]:
    """The event stream. A piece has one delta of each choice, as one event each.

    The last piece has the finish reasons, the usage and [DONE], too, as a fast server sends them.
    """
    envelope = _envelope(answer, "chat.completion.chunk")
    usage = {"usage": None} if with_usage else {}
    indexes = range(answer.choices)
    frames = [_frame({**envelope, "choices": [_choice(index, _MARK, None)], **usage}) for index in indexes]
    piece = b""
    plain = len(frames) == 1 and answer.top_logprobs is None
    pieces = _plain_pieces(answer, *frames[0]) if plain else _pieces(answer, frames, {**envelope, **usage})
    for following in pieces:
        if piece:
            yield piece
        piece = following
    for index in indexes:
        choice = _choice(index, {}, None) | {"finish_reason": answer.finish_reason}
        piece += _event({**envelope, "choices": [choice], **usage})
    if with_usage:
        piece += _event({**envelope, "choices": [], "usage": answer.usage})
    yield piece + b"data: [DONE]\n\n"


def _plain_pieces(answer: ModelAnswer, before: bytes, after: bytes) -> Iterator[bytes]:
    """The deltas of one choice without log probabilities, one event each, in a frame."""
    for delta, _ in _deltas(answer, 0):
        yield before + values.dumps(delta) + after


def _pieces(answer: ModelAnswer, frames: Sequence[tuple[bytes, bytes]], envelope: _Object) -> Iterator[bytes]:
    """The deltas of all choices, one event each, in the frame of its choice."""
    for deltas in zip(*(_deltas(answer, index) for index in range(answer.choices)), strict=True):
        piece = b""
        logprobs = _logprobs(answer, deltas[0][1])
        for index, (delta, _) in enumerate(deltas):
            if answer.top_logprobs is None:
                before, after = frames[index]
                piece += before + values.dumps(delta) + after
            else:
                choice = _choice(index, delta, logprobs)
                piece += _event({**envelope, "choices": [choice]})
        yield piece


def _choice(index: int, delta: Value, logprobs: Value) -> _Object:
    return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": None}


def _frame(value: Value) -> tuple[bytes, bytes]:
    """The event before and after _MARK. Writing each chunk of a stream as a whole costs more."""
    before, _, after = _event(value).rpartition(values.dumps(_MARK))  # the model may have its name
    return before, after


def _event(value: Value) -> bytes:
    return b"data: " + values.dumps(value) + b"\n\n"


def _deltas(answer: ModelAnswer, index: int) -> Iterator[tuple[_Object, Sequence[str]]]:
    """The deltas of one choice, each with its content tokens. Every choice has the same number of deltas."""
    yield {"role": "assistant", "content": "" if answer.has_content else None, "refusal": None}, ()
    if answer.audio_format:
        yield {"audio": _audio_id(answer, index)}, ()
        yield from (({"audio": {"transcript": token}}, (token,)) for token in answer.tokens)
        yield from (({"audio": {"data": data}}, ()) for data in _audio_pieces(answer.token_count))
        yield {"audio": _AUDIO_END}, ()
    else:
        if answer.reasoning:
            yield from (({"reasoning_content": token}, ()) for token in tokens_of(answer.reasoning))
        yield from (({"content": "".join(tokens)}, tokens) for tokens in _events_of_text(answer))
        if answer.refusal:
            yield from (({"refusal": token}, ()) for token in tokens_of(answer.refusal))
        for at in range(len(answer.calls)):
            yield from ((delta, ()) for delta in _call_deltas(answer, index, at))


def _events_of_text(answer: ModelAnswer) -> Iterator[Sequence[str]]:
    """The tokens of the text, by event: one each, or more of a very long text.

    An event takes some 250 bytes more than its text. Of millions of them, these would reach --max-reply.
    """
    tokens = iter(answer.tokens)
    step = 1 if answer.pieces is not None else -(-answer.token_count // _MOST_EVENTS) or 1
    while group := tuple(islice(tokens, step)):
        yield group


def _call_deltas(answer: ModelAnswer, index: int, at: int) -> Iterator[_Object]:
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


def _logprobs(answer: ModelAnswer, tokens: Sequence[str]) -> _Object | None:
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
