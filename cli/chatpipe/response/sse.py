"""Bytes of text/event-stream, in pieces of any size -> the data of each event, as bytes.

Nothing is decoded: lines are split on bytes, at CR, LF and CRLF only, so a character cut between
two reads, or a U+2028 inside a JSON string, cannot matter here.

Source: WHATWG HTML, "Server-sent events", 9.2.5 and 9.2.6.
"""

from __future__ import annotations

from chatpipe.inputs import values

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LF, _CR = b"\n\r"


class Decoder:
    """Push decoder for one body: feed() each read, then end() once.

    Each payload is the data of one event, several data lines joined by LF. Comments, other fields
    and events without data give nothing. So does an event whose data is empty, which the standard
    would dispatch: it can only be a keep-alive.

    pending, after end(), says whether the body stopped inside an event that was then dropped.
    """

    __slots__ = ("_after_cr", "_data", "_fresh", "_rest", "pending")

    def __init__(self) -> None:
        self.pending = False
        self._fresh = True  # no line is complete yet: the first may begin with a byte order mark
        self._after_cr = False  # a LF that comes next belongs to a line end already seen
        self._rest = bytearray()  # the line without an end so far; appending to it stays linear
        self._data: list[bytes] = []  # the data lines of the event without an end so far

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads of the events that these bytes complete."""
        if self._after_cr and data:
            self._after_cr = False
            if data[0] == _LF:
                data = data[1:]
        if not data:
            return []
        lines = data.splitlines()  # of bytes, hence at CR, LF and CRLF only
        last = data[-1]
        if last == _LF:
            rest = b""
        elif last == _CR:
            rest = b""
            self._after_cr = True
        else:
            rest = lines.pop()
        if self._rest and lines:
            self._rest += lines[0]
            lines[0] = bytes(self._rest)
            self._rest.clear()
        if rest:
            self._rest += rest
        return self._take(lines)

    def end(self) -> list[bytes]:
        """The payload of an event that the end of the body cut, if nothing can be missing from it.

        The standard drops an unterminated event. Some servers end without the blank line, and an
        answer is not thrown away for that: `[DONE]` is kept, and so is one whole JSON object, as no
        prefix of an object is JSON.
        """
        rest = bytes(self._rest)
        self._rest.clear()
        if rest:
            self._take([rest])
        payload = b"\n".join(self._data)
        if is_done(payload) or _is_object(payload):
            self._data.clear()
            return [payload]
        self.pending = bool(self._data) or (rest != b"" and b"data:".startswith(rest))
        self._data.clear()
        return []

    def _take(self, lines: list[bytes]) -> list[bytes]:
        if self._fresh and lines:
            self._fresh = False
            lines[0] = lines[0].removeprefix(_BYTE_ORDER_MARK)
        payloads = []
        data = self._data
        for line in lines:
            if line.startswith(b"data: "):
                data.append(line[6:])
            elif not line:
                payload = b"\n".join(data)
                data.clear()
                if payload:
                    payloads.append(payload)
            elif line.startswith(b"data:"):
                data.append(line[5:])
            elif line == b"data":  # a field without a colon has the empty value
                data.append(b"")
        return payloads


def is_done(payload: bytes) -> bool:
    """Whether the server says that the stream is complete. As in the SDK, more may follow `[DONE]`."""
    return payload.startswith(b"[DONE]")


def _is_object(payload: bytes) -> bool:
    if not payload.lstrip().startswith(b"{"):
        return False
    try:
        values.loads(payload)
    except values.NotJSON:
        return False
    return True
