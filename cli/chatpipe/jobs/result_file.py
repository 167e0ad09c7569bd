"""A result file of a job: its lines, found by the custom_ids of their requests.

A usual line that seems whole is not parsed here, but by whoever asks for it.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any

from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.system.spool import Spool

# The beginning of nearly all results, unless it has a backslash. After it everything is inside of other
# members.
_HEAD = re.compile(rb'\{(?:"id": ?"[^"]*", ?|)"custom_id": ?"([^"]*)"')
_BACKSLASH, _LF = b"\\\n"
_END = b"}\n"
_MOST_BYTES = 4 << 20  # of lines that are read together


class ResultFile:
    """The file in a spool, which stays as it is. The index takes at most 40 bytes a line.

    broken counts the lines that are no JSON, and strange those that are no results, broken ones included.
    """

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self.broken = self.strange = 0
        self._starts = array("Q")
        self._sizes = array("I")
        self._hashes = array("q")  # of the custom_ids
        self._read()
        # A hash table with open addressing, because a dict takes 100 bytes a line. It has the number of the
        # first result with each hash, from 1, and 0 in a free slot.
        self._slots = array("I", bytes(4 << (2 * len(self)).bit_length()))
        self._others: dict[int, list[int]] = {}  # by hash
        for number, key in enumerate(self._hashes):
            slot = key % len(self._slots)  # free for most
            if self._slots[slot]:
                slot = self._slot(key)
            if self._slots[slot]:
                self._others.setdefault(key, []).append(number)
            else:
                self._slots[slot] = number + 1

    def __len__(self) -> int:
        """The number of results. They are numbered from 0, in the order of the file."""
        return len(self._starts)

    def find(self, custom_id: str) -> Sequence[int]:
        """The numbers of results that are for a request, or for one with the same hash, in their order."""
        key = hash(custom_id)
        first = self._slots[self._slot(key)]
        return (first - 1, *self._others.get(key, ())) if first else ()

    def find_all(self, custom_ids: Sequence[str]) -> Sequence[int] | None:
        """The numbers of results that are for several requests, or for others with the same hashes.

        None if a request of the file has several results, one of these requests has none, or all together
        take too much memory.
        """
        keys = array("q", map(hash, custom_ids))
        first = self._slots[self._slot(keys[0])] - 1
        if first < 0 or self._others:
            return None
        numbers: Sequence[int] = range(first, first + len(keys))
        if self._hashes[first : first + len(keys)] != keys:  # the results have another order
            numbers = [self._slots[self._slot(key)] - 1 for key in keys]
        if -1 in numbers or sum(map(self._sizes.__getitem__, numbers)) > _MOST_BYTES:
            return None
        return numbers

    def line(self, number: int) -> bytes:
        """The line of a result, with its newline."""
        return self.spool.read(self._starts[number], self._sizes[number])

    def lines(self, numbers: Sequence[int]) -> list[bytes]:
        """The lines of results that find_all() has found, with other lines that stand between them."""
        first, last = numbers[0], numbers[-1]
        size = self._starts[last] + self._sizes[last] - self._starts[first]
        if isinstance(numbers, range) and size <= _MOST_BYTES:
            return BytesIO(self.spool.read(self._starts[first], size)).readlines()
        return [*map(self.line, numbers)]

    def _slot(self, key: int) -> int:
        """The slot of a hash, or the free one for it."""
        slots, hashes = self._slots, self._hashes
        slot = key % len(slots)
        while (number := slots[slot]) and hashes[number - 1] != key:
            slot = (slot + 1) % len(slots)
        return slot

    def _read(self) -> None:
        for start, line in lines_of(self.spool):
            head = _HEAD.match(line)
            if head is not None and _BACKSLASH not in head[0] and _seems_whole(line):
                custom_id = head[1].decode()
            elif (record := record_of(line)) is not None:
                custom_id = record["custom_id"]
            else:
                if not line.isspace():
                    self.strange += 1
                    self.broken += not values.is_json(line)
                continue
            self._hashes.append(hash(custom_id))
            self._starts.append(start)
            self._sizes.append(len(line))


def _seems_whole(line: bytes) -> bool:
    """Return False for a line that was cut, or has bytes of something else: they are no text, or NULs."""
    if line[-2:] != _END or 0 in line:
        return False
    try:
        return line.isascii() or bool(line.decode())
    except UnicodeDecodeError:
        return False


def lines_of(spool: Spool) -> Iterator[tuple[int, bytes]]:
    """The lines of a file, blank ones too, each with its first byte. They have their newlines."""
    rest, start = b"", 0
    for piece in spool.pieces(0, spool.size):
        lines, rest = BytesIO(rest + piece), b""
        for line in lines:
            if line[-1] == _LF:
                yield start, line
                start += len(line)
            else:
                rest = line
    if rest:
        yield start, rest


def record_of(line: bytes) -> dict[str, Any] | None:
    """The result in a line, None if there is none."""
    try:
        value = values.loads(line)
    except values.NotJSON:
        return None
    return value if isinstance(value, dict) and isinstance(value.get("custom_id"), str) else None


def is_good_record(record: dict[str, Value]) -> bool:
    """Return True for an answer. An error may have the status 200, and then is in the body."""
    response = record.get("response")
    if record.get("error") or not isinstance(response, dict) or response.get("status_code") != 200:
        return False
    body = response.get("body")
    return not (isinstance(body, dict) and body.get("error"))
