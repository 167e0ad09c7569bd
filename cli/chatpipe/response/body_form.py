"""The first bytes of a reply -> its form: a stream of chunks, or one piece.

The body decides. Its Content-Type only counts where the body leaves both open, because gateways send
completions, errors and web pages as text/event-stream, and streams as application/json.
"""

from __future__ import annotations

import re
from contextlib import suppress
from enum import Enum

from chatpipe.inputs import values
from chatpipe.inputs.place import texts
from chatpipe.inputs.text_decoder import BOM
from chatpipe.inputs.values import Value
from chatpipe.response.chunks import DONE, has_chunks, is_unusual, member_texts, payloads_of, with_messages
from chatpipe.response.server_error import ENVELOPES

# The first bytes of an event stream. `error` is no field of the standard, but some servers send it.
_STREAM_STARTS = (b"data:", b"event:", b"id:", b"retry:", b"error:", b":")
_LONGEST_START = max(map(len, _STREAM_STARTS))
_SPACE_BYTES = 4096  # read at a time
_MOST_UNKNOWN_BYTES = 1_000_000  # before the first event; then the body is no stream
_DATA_LINE = rb"[\r\n]data:"


class BodyForm(Enum):
    STREAM = "stream"
    PIECE = "piece"


def usual_form(data: bytes) -> BodyForm | None:
    """The form of a body from its first read, None if it is none of the usual ones. Nearly all are."""
    if data.startswith(b"data:"):
        return BodyForm.STREAM
    if data.startswith(b"{") and data.endswith(b"}"):
        return BodyForm.PIECE if data.find(b'"delta"') < 0 and data.find(b".chunk") < 0 else None
    return None


class FormDetector:
    """Detector of the form of one body: call feed() for each read until form is known, or end() once.

    is_declared: the Content-Type says that the body is an event stream. start holds all bytes so far.
    The time is linear in them.
    """

    def __init__(self, *, is_declared: bool) -> None:
        self.form: BodyForm | None = None
        self.start = bytearray()
        self._is_declared = is_declared
        self._head = 0  # where the byte order mark and the white space end, as far as they are read
        self._has_mark = False
        self._searched = 0

    def feed(self, data: bytes) -> BodyForm | None:
        """Add bytes. Returns the form, None if it needs more of them."""
        self.start += data
        self._skip_space()
        self.form = self._detect()
        return self.form

    def end(self) -> BodyForm:
        """The form of a body that ends here."""
        if self.form is None:
            self.form = _form_of_line(bytes(self.start[self._head :]))
        return self.form

    @property
    def is_idle(self) -> bool:
        """True if nothing but white space has come."""
        return self._head == len(self.start)

    def _skip_space(self) -> None:
        if self._head < len(self.start):
            # Some servers send white space to keep the connection alive.
            rest = bytes(self.start[self._head : self._head + _SPACE_BYTES])
            while rest and not rest.strip():
                self._head += len(rest)
                rest = bytes(self.start[self._head : self._head + _SPACE_BYTES])
            self._head += len(rest) - len(rest.lstrip())
            if self.start.startswith(BOM, self._head) and not self._has_mark:
                self._has_mark = True  # a second one is no mark, and a body may be nothing else
                self._head += len(BOM)
                self._skip_space()

    def _detect(self) -> BodyForm | None:
        head = bytes(self.start[self._head : self._head + _LONGEST_START])
        if not head or BOM.startswith(head):
            return None
        if head.startswith(_STREAM_STARTS):
            return BodyForm.STREAM
        if any(start.startswith(head) for start in _STREAM_STARTS):
            return None
        if head.startswith(b"{"):
            return self._form_of_object()
        if self._is_declared and not head.startswith((b"<", b"[")):
            return self._form_of_unknown_lines()
        return BodyForm.PIECE

    def _form_of_object(self) -> BodyForm | None:
        """The form by the first line: chunks come one a line, a completion often takes several."""
        begin = max(self._head, self._searched)
        found = [at for at in (self.start.find(b"\n", begin), self.start.find(b"\r", begin)) if at >= 0]
        self._searched = len(self.start)
        return _form_of_line(bytes(self.start[self._head : min(found)])) if found else None

    def _form_of_unknown_lines(self) -> BodyForm | None:
        """The form where the first line is no field of the standard: a stream if data follows."""
        found = re.compile(_DATA_LINE).search(self.start, self._searched)
        self._searched = max(len(self.start) - len(b"\ndata"), 0)
        if found:
            return BodyForm.STREAM
        return BodyForm.PIECE if len(self.start) > _MOST_UNKNOWN_BYTES else None


def without_prefix(body: bytes) -> bytes:
    """The body without white space and a byte order mark before its first character."""
    return body.lstrip().removeprefix(BOM).lstrip()


def begins_with_object_line(body: bytes) -> bool:
    """Return True if the first line of a body is a JSON object, and more follows."""
    head = without_prefix(body)
    line = head.split(b"\n", 1)[0].split(b"\r", 1)[0]
    if not line.startswith(b"{") or len(line) == len(head):
        return False
    try:
        values.loads(line)
    except values.NotJSON:
        return False
    return True


def _form_of_line(line: bytes) -> BodyForm:
    if b'"delta"' not in line and b"chat.completion.chunk" not in line:
        return BodyForm.PIECE  # most are: a completion need not be parsed twice
    try:
        value = values.loads(line)
    except values.NotJSON:
        return BodyForm.PIECE
    return BodyForm.STREAM if _is_chunk(value) else BodyForm.PIECE


def _is_chunk(value: Value) -> bool:
    """Return True for a chunk of a streamed answer, as opposed to a completion or an error."""
    if not isinstance(value, dict):
        return False
    choices = value.get("choices")
    if isinstance(choices, list) and choices:
        return any(isinstance(choice, dict) and "delta" in choice for choice in choices)
    return value.get("object") == "chat.completion.chunk" and not value.get("error")


def is_usual(value: Value) -> bool:
    """Return True for a completion that the functions below leave as it is, as nearly all are."""
    try:
        return type(value["choices"][0]["message"]) is dict
    except (LookupError, TypeError):
        return False


def sole_completion(value: Value, body: bytes) -> tuple[Value, bytes]:
    """A completion and its text, taken out of what is around it. Any other value as it is.

    That is an array with nothing else, or an object that a gateway puts around everything. A message that
    is text becomes an object.
    """
    value, body = _taken_out(value, body)
    usual = with_messages(value) if type(value) is dict else value
    return (value, body) if usual is value else (usual, values.dumps(usual))


def _taken_out(value: Value, body: bytes) -> tuple[Value, bytes]:
    if type(value) is list and len(value) == 1 and _is_completion(value[0]):
        with suppress(values.NotJSON):
            return value[0], payloads_of(body)[0]
    if type(value) is dict and "choices" not in value:
        name = next((name for name in ENVELOPES if _is_completion(value.get(name))), None)
        if name is not None:
            with suppress(values.NotJSON):
                return value[name], dict(member_texts(body))[name]
    return value, body


def texts_of(body: bytes) -> list[bytes]:
    """The JSON texts of a body that has several, one after the other; empty for any other body."""
    with suppress(ValueError, RecursionError):
        text = body.decode("utf-8-sig")
        if values.too_deep_at(text) is None:
            found = [text[start:end].encode() for start, end in texts(text)]
            return found if len(found) > 1 else []
    return []


def count_answers(items: list[Value]) -> int:
    """The number of completions in a list whose choices differ: some servers send one twice."""
    return len({values.dumps(item["choices"]) for item in items if _is_completion(item)})


def as_event_stream(value: Value, body: bytes) -> bytes | None:
    """The events that a body in one piece stands for: chunks in an array, or a text without a message.

    value is that of the body. None if it is neither, or if the array has several whole answers.
    """
    if type(value) is dict:
        return event_of(body) + event_of(DONE.encode()) if is_unusual(value) else None
    if not has_chunks(value) or not any("choices" in item for item in value) or count_answers(value) > 1:
        return None
    try:
        return b"".join(map(event_of, [*payloads_of(body), DONE.encode()]))
    except values.NotJSON:
        return None


def _is_completion(value: Value) -> bool:
    choices = value.get("choices") if type(value) is dict else None
    return type(choices) is list and any(
        type(choice) is dict and type(choice.get("message")) in (dict, str) and not choice.get("delta")
        for choice in choices
    )


def event_of(payload: bytes) -> bytes:
    """The event of a stream that has a JSON text as its data."""
    return b"data: " + values.one_line_json(payload) + b"\n\n"
