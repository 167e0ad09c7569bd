"""A head that llhttp refuses -> the same head in a form that it takes.

Some servers and gateways send such heads, and other clients take them:
a Content-Length that is repeated, if all values are equal   one of them
a header that continues in the next line                     the header in one line

Source: RFC 9110, section 8.6; RFC 9112, section 5.2.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_HEAD_END = re.compile(rb"\r?\n\r?\n")
_INTERIM = b"HTTP/1.1 1"
_LENGTH = b"content-length"
_FOLD = re.compile(rb"[ \t]*\r?\n[ \t]+")
# In messages of llhttp. The last one is for a header whose value begins in its second line.
_REPAIRABLE = ("content-length", "whitespace after header value", "header value char")


def is_repairable(error: Exception) -> bool:
    """Return True if llhttp refused a head for a reason that can be repaired."""
    return any(words in str(error).lower() for words in _REPAIRABLE)


class HeadRepair:
    """Stands in for the parser that refused a head: error is its error.

    It collects the head, then calls resume with all bytes from there on, in which the head is repaired.
    Interim heads before it are left out.
    """

    def __init__(self, error: Exception, resume: Callable[[bytes], None]) -> None:
        self._error = error
        self._resume = resume
        self._data = b""

    def feed_data(self, data: bytes | memoryview) -> None:
        """Take bytes. Raises the error if the lengths differ or are no numbers, and what resume raises."""
        self._data = (self._data + data).lstrip(b"\r\n")
        while (end := _HEAD_END.search(self._data)) is not None:
            if not self._data.startswith(_INTERIM):
                head = _repaired(self._data[: end.start()])
                if head is None:
                    raise self._error
                self._resume(head + self._data[end.start() :])
                return
            self._data = self._data[end.end() :]


def _repaired(head: bytes) -> bytes | None:
    """The head, without its end, in the usual form. None if its lengths differ or are no numbers."""
    lines: list[bytes] = []
    lengths: set[bytes] = set()
    for line in _FOLD.sub(b" ", head).split(b"\n"):
        name, _, value = line.partition(b":")
        if name.lower() == _LENGTH:
            lengths.update(each.strip() for each in value.split(b","))
        else:
            lines.append(line)
    if lengths:
        length = lengths.pop() if len(lengths) == 1 else b""
        if not length.isdigit():
            return None
        lines.append(b"Content-Length: " + length)
    return b"\n".join(lines)
