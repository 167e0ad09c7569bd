"""A result file of a job: its lines, found by the custom_ids of their requests.

A usual line that seems whole is not parsed here, but by whoever asks for it.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from typing import Any

from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.system.line_window import LineWindow
from chatpipe.system.spool import Spool

# The beginning of nearly all results, unless it has a backslash. After it everything is inside of other
# members.
_HEAD = re.compile(rb'\{(?:"id": ?"[^"]*", ?)?"custom_id": ?"([^"]*)"')
_BACKSLASH, _BRACE = b"\\}"

# An entry of the index has 26 bits of a hash and the first byte of a line. Of 50,000 lines some 40 pairs
# have the same bits.
_START_BITS = 38
_START_MASK = (1 << _START_BITS) - 1
_HASH_MASK = (1 << 64 - _START_BITS) - 1


class ResultFile:
    """The file in a spool, which stays as it is. The index takes 8 bytes a line.

    broken counts the lines that are no JSON, and strange those that are no results, broken ones included.
    """

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self.broken = self.strange = 0
        self._index = array("Q", sorted(self._entries()))
        self._window = LineWindow(lambda _, size, offset: spool.read(offset, size))

    def __len__(self) -> int:
        """The number of results. They are numbered from 0, in no particular order."""
        return len(self._index)

    def find(self, custom_id: str) -> range:
        """The numbers of results that are for a request, or for one with the same hash, in their order."""
        index = self._index
        entry = _entry(custom_id.encode(errors="surrogatepass"), 0)
        first = end = bisect_left(index, entry)
        while end < len(index) and index[end] - entry <= _START_MASK:
            end += 1
        return range(first, end)

    def line(self, number: int) -> bytes:
        """The line of a result, without its newline."""
        return self._window.line(0, self._index[number] & _START_MASK)

    def _entries(self) -> Iterator[int]:
        for start, line in lines_of(self.spool):
            if (head := _HEAD.match(line)) is not None and _BACKSLASH not in head[0] and _seems_whole(line):
                yield _entry(head[1], start)
            elif (record := record_of(line)) is not None:
                yield _entry(record["custom_id"].encode(errors="surrogatepass"), start)
            else:
                self.strange += 1
                self.broken += not values.is_json(line)


def _seems_whole(line: bytes) -> bool:
    """Return False for a line that was cut, or has bytes of something else: they are no text, or NULs."""
    if line[-1] != _BRACE or 0 in line:
        return False
    try:
        return line.isascii() or bool(line.decode())
    except UnicodeDecodeError:
        return False


def _entry(custom_id: bytes, start: int) -> int:
    return (hash(custom_id) & _HASH_MASK) << _START_BITS | start


def lines_of(spool: Spool) -> Iterator[tuple[int, bytes]]:
    """The lines of a file, each with its first byte. Blank ones are left out."""
    rest, start = b"", 0
    for piece in spool.pieces(0, spool.size):
        data, at = rest + piece, 0
        while (end := data.find(b"\n", at)) >= 0:  # faster than a split, which goes byte by byte
            line = data[at:end]
            if line and not line.isspace():
                yield start + at, line
            at = end + 1
        rest, start = data[at:], start + at
    if rest.strip():
        yield start, rest


def record_of(line: bytes) -> dict[str, Any] | None:
    """The result in a line, None if there is none."""
    try:
        value = values.loads(line)
    except values.NotJSON:
        return None
    return value if isinstance(value, dict) and isinstance(value.get("custom_id"), str) else None


def is_good_record(record: dict[str, Value]) -> bool:
    response = record.get("response")
    return not record.get("error") and isinstance(response, dict) and response.get("status_code") == 200
