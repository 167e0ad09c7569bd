"""Bytes of text/event-stream, in pieces of any size -> the data of each event, as bytes.

Nothing is decoded. Lines are split on bytes, at CR, LF and CRLF only, so it does not matter if two
reads split a character, or if a JSON string contains U+2028.

Source: WHATWG HTML, "Server-sent events", 9.2.5 and 9.2.6.
"""

from __future__ import annotations

from chatpipe.inputs import values

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# A longer payload than this is not null with a blank or two.
_NULL_BYTES = 10
_LF, _CR = b"\n\r"


class EventDecoder:
    """Push decoder for one body: call feed() for each read, then end() once.

    Each payload is the data of one event, with its data lines joined by LF. Comments, other fields and
    events without data produce no payload. An event with empty data or `null` produces none either: the
    standard would dispatch it, but it can only be a keep-alive.

    After end(), pending is True if the body stopped inside an event, which was then dropped.
    """

    __slots__ = ("_after_cr", "_data", "_is_first_line", "_partial_line", "is_incomplete")

    def __init__(self) -> None:
        self.is_incomplete = False
        self._is_first_line = True  # no complete line yet: the first one may begin with a byte order mark
        self._after_cr = False  # a LF at the start of the next read completes a CRLF
        self._partial_line = bytearray()  # the incomplete last line; appending to a bytearray stays linear
        self._data: list[bytes] = []  # the data lines of the incomplete event

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
        return self._parse_lines(lines)

    def end(self) -> list[bytes]:
        """The payload of an unterminated last event, if it is certainly complete.

        The standard drops an unterminated event, but some servers end without the blank line, and that
        must not lose an answer. `[DONE]` and a whole JSON object are kept: no prefix of an object is
        valid JSON.
        """
        rest = bytes(self._partial_line)
        self._partial_line.clear()
        payloads = self._parse_lines([rest]) if rest else []
        payload = b"\n".join(self._data)
        if is_done(payload) or _is_object(payload):
            self._data.clear()
            return [*payloads, payload]
        self.is_incomplete = bool(self._data) or (rest != b"" and b"data:".startswith(rest))
        self._data.clear()
        return payloads

    def _parse_lines(self, lines: list[bytes]) -> list[bytes]:
        if self._is_first_line and lines:
            self._is_first_line = False
            lines[0] = lines[0].removeprefix(_BYTE_ORDER_MARK)
        payloads = []
        data = self._data
        for line in lines:
            if line.startswith(b"data: "):
                data.append(line[6:])
            elif not line:
                payload = b"\n".join(data)
                data.clear()
                if payload and (len(payload) >= _NULL_BYTES or not is_null(payload)):
                    payloads.append(payload)
            elif line.startswith(b"data:"):
                data.append(line[5:])
            elif line == b"data":  # a field without a colon has the empty value
                data.append(b"")
            elif not line.startswith((b":", b"event", b"id", b"retry")):
                self._parse_odd_line(line, payloads)
        return payloads

    def _parse_odd_line(self, line: bytes, payloads: list[bytes]) -> None:
        """Take a line that the standard would ignore, but that some server sends in place of an event.

        These are a data line behind white space or a byte order mark, an object or `[DONE]` without a field
        name, and the field `error`.
        """
        line = line.lstrip().removeprefix(_BYTE_ORDER_MARK)
        if line.startswith(b"data:"):
            self._data.append(line[5:].removeprefix(b" "))
            return
        error = line.startswith(b"error:") and line[6:].strip()
        if error:
            line = _error_object(error)
        elif not (line.startswith(b"{") and _is_object(line)) and line.rstrip() != b"[DONE]":
            return
        payloads += filter(None, (b"\n".join(self._data), line))  # no blank line ended the event before
        self._data.clear()


def is_done(payload: bytes) -> bool:
    """Return True for the `[DONE]` payload. As in the SDK, other text may follow the marker."""
    return payload.startswith(b"[DONE]")


def is_null(payload: bytes) -> bool:
    """Return True for JSON's null, which says nothing."""
    return len(payload) < _NULL_BYTES and payload.strip() == b"null"


def _error_object(error: bytes) -> bytes:
    """The value of a field `error`, an object or text, in the shape of an error event."""
    if not _is_object(error):
        return values.dumps({"error": error.decode("utf-8", "replace")})
    return error if values.loads(error).get("error") else b'{"error":' + error + b"}"


def _is_object(payload: bytes) -> bool:
    if not payload.lstrip().startswith(b"{"):
        return False
    try:
        values.loads(payload)
    except values.NotJSON:
        return False
    return True
