"""Bytes of text/event-stream, in pieces of any size -> the data of each event, as bytes.

Nothing is decoded. Lines are split on bytes, at CR, LF and CRLF only, so it does not matter if two
reads split a character, or if a JSON string contains U+2028.

Source: WHATWG HTML, "Server-sent events", 9.2.5 and 9.2.6.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from chatpipe.inputs import values
from chatpipe.inputs.text_decoder import BOM
from chatpipe.response.json_depth import DocumentLines

_LF, _CR, _BRACE, _COLON = b"\n\r{:"
# Names of events whose data may be plain text: that of an error, or of a sign of life.
_ERROR_NAMES = (b"error", b"exception")
_IDLE_NAMES = (
    b"ping",
    b"heartbeat",
    b"keep-alive",
    b"keepalive",
    b"keep_alive",
    b"status",
    b"queue",
    b"progress",
)
# An object under such a name is a part of the answer, or an error, if it has one of these.
_IN_EVENTS = (b"choices", b"error", b"fail", b'code"')
# Names of an event that ends a stream, if it has no data.
_END_NAMES = (b"done", b"end", b"complete", b"close")
# The marker as some servers write it, in any case and in quotes.
_ENDS = (b"[done]", b"done")
_END_BYTES = 20
# The last event in its usual form, and the end of a body in which it is looked for.
_LAST_EVENT, _TAIL_BYTES = re.compile(rb"(?:\A|[\r\n])(?:data:)? *\[DONE\]"), 64
# A document that some server prints over several lines is no longer than this: it is an error.
_DOCUMENT_BYTES = 64 * 1024
_IDLE_EVENT_BYTES = 4  # of an event without data, besides those of its other lines


class EventDecoder:
    """Push decoder for one body: call feed() for each read, then end() once.

    Each payload is the data of one event, with its data lines joined by LF. Comments, other fields and
    events without data produce no payload. An event whose data says nothing, see is_nothing(), produces none
    either: the standard would dispatch it, but it can only be a keep-alive. The name of an event counts if
    its data is plain text: it is then an error, in the shape of an error event, or a keep-alive.

    After end(), is_incomplete is True if the body stopped inside an event, which was then dropped.
    idle_bytes counts what is no part of an event with data. The caller sets it back to 0.
    """

    __slots__ = (
        "_after_cr",
        "_data",
        "_document",
        "_is_first_line",
        "_name",
        "_partial_line",
        "idle_bytes",
        "is_incomplete",
    )

    def __init__(self) -> None:
        self.is_incomplete = False
        self.idle_bytes = 0
        self._is_first_line = True  # no complete line yet: the first one may begin with a byte order mark
        self._after_cr = False  # a LF at the start of the next read completes a CRLF
        self._partial_line = bytearray()  # the incomplete last line; appending to a bytearray stays linear
        self._data: list[bytes] = []  # the data lines of the incomplete event
        self._name = b""  # its name, if that may say what its data are
        self._document: DocumentLines | None = None  # an incomplete one without field names

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads of the events that these bytes complete."""
        if self._after_cr and data:
            self._after_cr = False
            if data[0] == _LF:
                data = data[1:]
        if not data:
            return []
        lines = data.splitlines()  # on bytes, so at CR, LF and CRLF only
        last = data[-1]
        if last == _LF:
            rest = b""
        elif last == _CR:
            rest = b""
            self._after_cr = True
        else:
            rest = lines.pop()
        if self._partial_line and lines:
            self._partial_line += lines[0]
            lines[0] = bytes(self._partial_line)
            self._partial_line.clear()
        if rest:
            self._partial_line += rest
            if self._partial_line[0] == _COLON:
                self._drop_comment()
        return self._parse_lines(lines)

    def _drop_comment(self) -> None:
        """Forget a comment whose line has not ended, which may never end."""
        self.idle_bytes += len(self._partial_line) - 1
        del self._partial_line[1:]

    def end(self) -> list[bytes]:
        """The payload of an unterminated last event, if it is certainly complete.

        The standard drops an unterminated event, but some servers end without the blank line, and that
        must not lose an answer. `[DONE]` and a whole JSON object or array are kept: no prefix of one is
        valid JSON.
        """
        rest = bytes(self._partial_line)
        self._partial_line.clear()
        payloads = self._parse_lines([rest]) if rest else []
        payload = _usual_form(self._end_event() if self._name else b"\n".join(self._data))
        if is_done(payload) or _is_document(payload):
            self._data.clear()
            return [*payloads, payload]
        self.is_incomplete = bool(self._data) or (rest != b"" and b"data:".startswith(rest))
        self._data.clear()
        return payloads

    def _parse_lines(self, lines: list[bytes]) -> list[bytes]:
        if self._is_first_line and lines:
            self._is_first_line = False
            lines[0] = lines[0].removeprefix(BOM)
        payloads = []
        data = self._data
        for line in lines:
            if line.startswith(b"data: "):
                if data:
                    payloads += self._unseparated_event()
                data.append(line[6:])
            elif not line:
                payload = self._end_event() if self._name else b"\n".join(data)
                data.clear()
                if payload and payload[0] == _BRACE:
                    payloads.append(payload)
                elif payload and (usual := _usual_form(payload)):
                    payloads.append(usual)
                else:
                    self.idle_bytes += len(payload) + _IDLE_EVENT_BYTES
            elif line.startswith(b"data:"):
                payloads += self._unseparated_event()
                data.append(line[5:])
            elif line == b"data":  # a field without a colon has the empty value
                data.append(b"")
            elif line.startswith(b"event:"):
                self.idle_bytes += len(line) + 1
                self._name = _known_name(line)
            elif line.startswith((b":", b"event", b"id", b"retry")):
                self.idle_bytes += len(line) + 1
            else:
                self._parse_odd_line(line, payloads)
        return payloads

    def _unseparated_event(self) -> list[bytes]:
        """The event before a data line, if no blank line ended it: no JSON goes on behind a whole object."""
        if len(self._data) != 1 or self._name or not _is_document(self._data[0]):
            return []
        return [self._data.pop()]

    def _end_event(self) -> bytes:
        """The payload of an event whose name counts."""
        payload, name = b"\n".join(self._data), self._name
        self._name = b""
        if name in _ERROR_NAMES:
            return payload if is_done(payload) else _error_object(payload)
        if name in _END_NAMES:
            return b"[DONE]" if is_nothing(payload) or payload.strip() == b"{}" else payload
        if payload.lstrip().startswith(b"{") and any(word in payload.lower() for word in _IN_EVENTS):
            return payload
        self.idle_bytes += len(payload)
        return b""

    def _parse_odd_line(self, line: bytes, payloads: list[bytes]) -> None:
        """Take a line that the standard would ignore, but that some server sends in place of an event.

        These are a data line after white space or a byte order mark, an object or `[DONE]` without a field
        name, and the field `error`. An object may take several lines.
        """
        is_inside = self._document is not None and line.startswith((b" ", b"\t"))
        unstripped, line = line, line.lstrip().removeprefix(BOM)
        if line.startswith(b"data:"):
            payloads += self._unseparated_event()
            self._data.append(line[5:].removeprefix(b" "))
            return
        error = line.startswith(b"error:") and line[6:].strip()
        if error:
            line = _error_object(error)
        elif is_inside or (line.rstrip() != b"[DONE]" and not _is_document(line)):
            line = self._add_to_document(unstripped)
            if not line:
                self.idle_bytes += len(unstripped) + 1
                return
        self._document = None
        payloads += filter(None, (b"\n".join(self._data), line))  # no blank line ended the event before
        self._data.clear()

    def _add_to_document(self, line: bytes) -> bytes:
        """Add a line to the document that it begins or continues. Returns the document if it is complete."""
        if self._document is None:
            if not line.lstrip().startswith((b"{", b"[")):
                return b""
            self._document = DocumentLines()
        if not self._document.add(line) and self._document.size <= _DOCUMENT_BYTES:
            return b""
        text, self._document = self._document.text, None
        return text if _is_document(text) else b""


def is_done(payload: bytes) -> bool:
    """Return True for the `[DONE]` payload. As in the SDK, other text may follow the marker."""
    return payload.startswith(b"[DONE]")


def has_last_event(pieces: Sequence[bytes]) -> bool:
    """Return True if a body that has come so far ends with `[DONE]`: a client may read no further.

    The body is in pieces of any size. After the event there may be a comment or an empty line.
    """
    tail = b"".join(pieces[-_TAIL_BYTES:])[-_TAIL_BYTES:]
    return b"[DONE]" in tail and _LAST_EVENT.search(tail) is not None


def is_nothing(payload: bytes) -> bool:
    """Return True for data that say nothing: white space, JSON's null, and a string of white space."""
    bare = payload.strip()
    if bare.startswith(b'"') and bare.endswith(b'"'):
        return not bare[1:-1].replace(b"\\n", b"").replace(b"\\r", b"").replace(b"\\t", b"").strip()
    return bare in (b"", b"null", b"[]")


def _usual_form(payload: bytes) -> bytes:
    """Data that are no object, empty if they say nothing, the marker `[DONE]` in its usual form."""
    if is_nothing(payload):
        return b""
    is_end = len(payload) < _END_BYTES and payload.strip(b" \t\r\n\"'").lower() in _ENDS
    return b"[DONE]" if is_end else payload


def _known_name(line: bytes) -> bytes:
    """The name of an event, as far as it says something: `error` for `response.error`, too."""
    name = line[6:].strip().lower()
    if name in _END_NAMES:
        return name
    return next((known for known in (*_ERROR_NAMES, *_IDLE_NAMES) if known in name), b"")


def _error_object(error: bytes) -> bytes:
    """The value of a field `error`, or the data of such an event, in the shape of an error event."""
    try:
        value = values.loads(error)
    except values.NotJSON:
        value = error.decode("utf-8", "replace").strip() or "an error event without data"
        error = values.dumps(value)
    if type(value) is dict and (value.get("error") or value.get("choices")):
        return error
    return b'{"error":' + error + b"}"


def _is_document(payload: bytes) -> bool:
    """Return True for a whole JSON object, or array of objects."""
    if not payload.lstrip().startswith((b"{", b"[")):
        return False
    try:
        value = values.loads(payload)
    except values.NotJSON:
        return False
    return type(value) is dict or (bool(value) and all(type(item) is dict for item in value))
