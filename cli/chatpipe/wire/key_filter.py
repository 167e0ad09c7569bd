"""An answer as it came from the server -> the same answer without secrets.

In a failure every secret is hidden; in content only a key that cannot be a word: see system/secrets.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import httpx

from chatpipe.errors import BrokenAnswer, ChatpipeError, Interrupted
from chatpipe.inputs import values
from chatpipe.inputs.values import NotJSON, Value
from chatpipe.response.key_pieces import HeldChunk, KeyPieces, masked, without_keys
from chatpipe.response.key_spans import may_hold
from chatpipe.response.sse import EventDecoder
from chatpipe.system import secrets
from chatpipe.wire.answer import Answer, Receiver
from chatpipe.wire.reply_reader import read_arrived, read_reply
from chatpipe.wire.retry import FailedAttempt

# The members of a completion that are the answer. In a failure the others may explain it.
_ANSWER = frozenset({"choices", "model", "usage"})
_EVENT_END = rb"\r\n\r\n|\n\n|\r\r"
# An AttemptResult without secrets, and True if its content had a key.
CleanResult = tuple[Answer, FailedAttempt | None, bool]


def read_arrived_without_secrets(
    response: httpx.Response, headers: Mapping[str, str], request: httpx.Request
) -> CleanResult | None:
    """Like read_arrived(), without secrets, and with the request id."""
    read = read_arrived(response, headers, request)
    return None if read is None else _completed(*read, headers.get("x-request-id"))


async def read_without_secrets(
    response: httpx.Response, headers: Mapping[str, str], request: httpx.Request, receiver: Receiver
) -> CleanResult:
    """Like read_reply, without secrets, and with the request id."""
    pieces = None
    if secrets.are_known() and receiver.takes != "nothing":
        receiver = pieces = KeyFilter(receiver, secrets.in_content())
    try:
        answer, failure = await read_reply(response, headers, request, receiver)
    except Interrupted as interruption:
        _hide_in_part(interruption)
        raise
    if pieces is not None:
        pieces.end()
    return _completed(answer, failure, headers.get("x-request-id"))


def _completed(answer: Answer, failure: FailedAttempt | None, request_id: str | None) -> CleanResult:
    if answer.fault is not None:  # also one in a stream, which knows no headers
        answer.fault.request_id = answer.fault.request_id or request_id
    if request_id is not None:
        answer = answer._replace(request_id=request_id)
    if not secrets.are_known():
        return answer, failure, False
    answer, has_key = answer_without_secrets(answer)
    return answer, failure, has_key


class KeyFilter:
    """A receiver that passes on a stream without keys: at once, but for chunks that may hold a part of one.

    Bytes of the stream come event by event. end() must follow.
    """

    def __init__(self, receiver: Receiver, keys: list[str]) -> None:
        self.takes = receiver.takes
        self._receiver = receiver
        self._pieces = KeyPieces(keys)
        # Bound once: this is done for each chunk.
        self._is_free, self._take = self._pieces.is_free, receiver.chunk
        self._events = _EventPieces(receiver, keys) if receiver.takes == "bytes" else None

    @property
    def started(self) -> bool:
        held = bool(self._pieces.held) or (self._events is not None and self._events.started)
        return held or self._receiver.started

    def raw(self, data: bytes) -> None:
        """Take bytes of the stream."""
        self._pieces.see(data)
        if self._events is not None:
            self._events.feed(data)

    def chunk(self, payload: bytes, chunk: Mapping[str, Value]) -> None:
        """Take a chunk."""
        if self._is_free(chunk):
            self._take(payload, chunk)
        else:
            self._pass_on(self._pieces.hold(payload, chunk))

    def expect_end(self) -> None:
        self._receiver.expect_end()

    def end(self) -> None:
        """Pass on what is held."""
        if self._events is not None:
            self._events.end()
        self._pass_on(self._pieces.end())

    def _pass_on(self, chunks: Iterable[HeldChunk]) -> None:
        for each in chunks:
            self._take(each.payload if each.is_changed else each.event, each.chunk)


class _EventPieces:
    """The bytes of an event stream, passed on event by event."""

    def __init__(self, receiver: Receiver, keys: list[str]) -> None:
        self._receiver = receiver
        self._keys = keys
        self._pieces = KeyPieces(keys)
        self._rest = bytearray()  # of an event that is not complete
        self._searched = 0  # bytes of it that have no end of an event

    @property
    def started(self) -> bool:
        return bool(self._rest or self._pieces.held)

    def feed(self, data: bytes) -> None:
        self._pieces.see(data)
        self._rest += data
        done = 0
        for match in re.compile(_EVENT_END).finditer(self._rest, self._searched):
            self._event(bytes(self._rest[done : match.end()]))
            done = match.end()
        del self._rest[:done]
        self._searched = max(len(self._rest) - 3, 0)  # an end may be cut, too

    def end(self) -> None:
        if self._rest:
            self._event(bytes(self._rest), is_end=True)
            self._rest.clear()
        self._write(self._pieces.end())

    def _event(self, event: bytes, *, is_end: bool = False) -> None:
        chunk = _chunk_of(event)
        if chunk is None:  # a comment, [DONE], an event that is no JSON
            text = secrets.hide_bytes(event, words=False)
            if self._pieces.held:
                self._pieces.held.append(HeldChunk(text, {}))
            else:
                self._receiver.raw(text)
        elif self._pieces.is_free(chunk):
            self._receiver.raw(event)
        else:
            self._write(self._pieces.hold(event, chunk))

    def _write(self, chunks: Iterable[HeldChunk]) -> None:
        for each in chunks:
            self._receiver.raw(_with_data(each.event, each.payload) if each.is_changed else each.event)


def _chunk_of(event: bytes) -> dict[str, Value] | None:
    """The JSON object in an event; None if it has none."""
    decoder = EventDecoder()
    payloads = [*decoder.feed(event), *decoder.end()]
    try:
        value = values.loads_exact(payloads[0]) if payloads else None
    except NotJSON:
        return None
    return value if isinstance(value, dict) else None


def _with_data(event: bytes, payload: bytes) -> bytes:
    """The event with other data. Its other fields and its line ends stay."""
    lines = []
    for line in event.splitlines(keepends=True):
        if not line.startswith(b"data"):
            lines.append(line)
        elif payload:
            lines.append(b"data: " + payload + line[len(line.rstrip(b"\r\n")) :])
            payload = b""
    return b"".join(lines)


def answer_without_secrets(answer: Answer) -> tuple[Answer, bool]:
    """The answer without secrets, and whether a key was in its content."""
    if answer.request_id is not None:
        answer = answer._replace(request_id=_clean_id(answer.request_id, answer.fault))
    if answer.fault is not None:
        _hide_in_fault(answer.fault)
    if answer.completion is None:
        body = None if answer.body is None else secrets.hide_body(answer.body)
        return answer._replace(body=body), False
    keys = secrets.in_content()
    completion = answer.completion
    if keys and may_hold(keys, answer.body):
        completion = without_keys(completion, keys)
        if answer.fault is not None:
            completion = _without_cut_keys(completion, keys)
    has_key = completion != answer.completion
    if answer.fault is not None or not completion.get("choices") or completion.get("error"):
        completion = {
            name: value if name in _ANSWER else secrets.hide_value(value)
            for name, value in completion.items()
        }
    if completion == answer.completion:
        return answer, False
    body = None if answer.body is None else values.dumps(completion)
    return answer._replace(completion=completion, body=body), has_key


def _clean_id(request_id: str, fault: ChatpipeError | None) -> str:
    """The request id of an answer: searched in every way after a failure only, because there are many."""
    return secrets.hide(request_id) if fault else str(without_keys(request_id, secrets.in_content()))


def _hide_in_part(interruption: Interrupted) -> None:
    """Hide secrets in the part of an answer that a signal cut, as in one that the connection cut."""
    if secrets.are_known() and interruption.completion is not None:
        cut = Answer(interruption.completion, None, BrokenAnswer("the stream was cut"))
        interruption.completion = answer_without_secrets(cut)[0].completion


def _hide_in_fault(fault: ChatpipeError) -> None:
    """Hide secrets in a fault. Its words were made without them."""
    if fault.request_id is not None:
        fault.request_id = secrets.hide(fault.request_id)
    if fault.body is not None:
        fault.body = secrets.hide_body(fault.body)


def may_need_filter(completion: Mapping[str, Value], text: bytes) -> bool:
    """Return False if a completion has no secret to replace. text has it, and may have more."""
    if not secrets.are_known():
        return False
    return bool(completion.get("error")) or may_hold(secrets.in_content(), text)


def _without_cut_keys(completion: dict[str, Value], keys: list[str]) -> dict[str, Value]:
    """A completion that was cut, without the beginnings of keys at the ends of its contents."""
    for choice in completion.get("choices") or ():
        message = choice.get("message")
        if isinstance(message, dict) and isinstance(text := message.get("content"), str):
            message["content"] = masked([text], keys, is_end=True)[0]
    return completion
