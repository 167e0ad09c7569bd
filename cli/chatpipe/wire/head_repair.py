"""A head whose Content-Length is repeated -> the same head with one, if all values are equal.

llhttp refuses such a head. Some servers and gateways send it, and other clients take it.

Source: RFC 9110, section 8.6.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_HEAD_END = re.compile(rb"\r?\n\r?\n")
_INTERIM = b"HTTP/1.1 1"
_LENGTH = b"content-length"


def is_about_length(error: Exception) -> bool:
    """Return True if llhttp refused a head for its Content-Length."""
    return "content-length" in str(error).lower()


class HeadRepair:
    """Stands in for the parser that refused a head: error is its error.

    It collects the head, then calls resume with all bytes from there on, in which the length stands once.
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
                head = _with_one_length(self._data[: end.start()])
                if head is None:
                    raise self._error
                self._resume(head + self._data[end.start() :])
                return
            self._data = self._data[end.end() :]


def _with_one_length(head: bytes) -> bytes | None:
    """The head, without its end, with one length. None if there are several, or none that is a number."""
    lines: list[bytes] = []
    lengths: set[bytes] = set()
    for line in head.split(b"\n"):
        name, _, value = line.partition(b":")
        if name.lower() == _LENGTH:
            lengths.update(each.strip() for each in value.split(b","))
        else:
            lines.append(line)
    length = lengths.pop() if len(lengths) == 1 else b""
    return b"\n".join([*lines, b"Content-Length: " + length]) if length.isdigit() else None
