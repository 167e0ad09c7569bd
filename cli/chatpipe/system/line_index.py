"""Index of recorded answers: an 8-byte key -> an 8-byte location (file and offset), and the files.

A SortedIndex consists of sorted arrays and is not a hash table. Search, insertion and growth therefore run
in C, no memory goes into empty slots, and growth needs memory for only one more small array.
1,000,000 entries take 18 MB (21 MB resident); a dict of str to int takes 150 MB.
"""

from __future__ import annotations

import os
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from io import BytesIO
from itertools import accumulate
from typing import Literal

from chatpipe.errors import MissingInput, reason
from chatpipe.inputs.place import LineSplitter
from chatpipe.system.descriptor import close_quietly
from chatpipe.system.line_window import LineWindow
from chatpipe.system.regular_file import read_at
from chatpipe.system.signals import raise_if_received

# Average entries per bucket at which all buckets are split. An insertion moves half a bucket, 4 KB,
# in 50 ns. Smaller buckets would save little of that, and each costs an array object (80 bytes).
_BUCKET_ENTRIES = 1024

_BLOCK_BYTES = 1 << 18

_OFFSET_BITS = 47  # 128 TiB
_MARK_BITS = 2


class SortedIndex:
    """Multimap from unsigned, evenly distributed keys to unsigned integers.

    Keys take 8 bytes ("Q") or 4 ("I"), values 8, 4 or 1 ("B"). A key may have several values: a caller that
    shortens names to keys must tell them apart.
    """

    def __init__(self, typecode: Literal["Q", "I", "B"] = "Q", key_typecode: Literal["Q", "I"] = "Q") -> None:
        # Bucket i has the keys whose leading bits are i, sorted, and their values at the same indexes.
        self._keys = [array(key_typecode)]
        self._values = [array(typecode)]
        self._shift = self._keys[0].itemsize * 8
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def find(self, key: int) -> list[int]:
        """The values of a key, oldest first."""
        if not self._length:
            return []
        bucket = key >> self._shift
        keys = self._keys[bucket]
        start = bisect_left(keys, key)
        if start == len(keys) or keys[start] != key:
            return []
        return self._values[bucket][start : bisect_right(keys, key, start)].tolist()

    def add(self, key: int, value: int) -> None:
        """Add a value to a key."""
        bucket = key >> self._shift
        self._insert(bucket, bisect_right(self._keys[bucket], key), key, value)

    def put(self, key: int, value: int) -> None:
        """Set the value of a key that has at most one."""
        bucket = key >> self._shift
        keys = self._keys[bucket]
        index = bisect_left(keys, key)
        if index < len(keys) and keys[index] == key:
            self._values[bucket][index] = value
        else:
            self._insert(bucket, index, key, value)

    def find_or_add(self, key: int, value: int) -> list[int]:
        """The values of a key, like find(). If there are none, the value is added."""
        bucket = key >> self._shift
        keys = self._keys[bucket]
        index = bisect_left(keys, key)
        if index < len(keys) and keys[index] == key:
            return self.find(key)
        self._insert(bucket, index, key, value)
        return []

    def _insert(self, bucket: int, index: int, key: int, value: int) -> None:
        self._keys[bucket].insert(index, key)
        self._values[bucket].insert(index, value)
        self._length += 1
        if self._length > _BUCKET_ENTRIES * len(self._keys):
            self._split_buckets()

    def replace(self, key: int, old: int, new: int) -> None:
        """Replace old, one of the values of key, by new."""
        bucket = key >> self._shift
        values = self._values[bucket]
        values[values.index(old, bisect_left(self._keys[bucket], key))] = new

    def values(self) -> Iterator[int]:
        """All values, in no particular order."""
        for values in self._values:
            yield from values

    def _split_buckets(self) -> None:
        self._shift -= 1
        keys, self._keys = self._keys[::-1], []
        values, self._values = self._values[::-1], []
        while keys:  # each old bucket is freed once it is split: the peak is one extra bucket
            old_keys, old_values = keys.pop(), values.pop()
            cut = bisect_left(old_keys, (len(self._keys) + 1) << self._shift)
            self._keys += (old_keys[:cut], old_keys[cut:])
            self._values += (old_values[:cut], old_values[cut:])


def pack_location(file: int, offset: int, *, is_good: bool) -> int:
    """A location in 64 bits: 15 for the number of the file, 47 for the byte offset, is_used, is_good."""
    return file << (_OFFSET_BITS + _MARK_BITS) | offset << _MARK_BITS | is_good


def unpack_location(location: int) -> tuple[int, int]:
    """File number and offset."""
    return location >> (_OFFSET_BITS + _MARK_BITS), location >> _MARK_BITS & (1 << _OFFSET_BITS) - 1


def is_good(location: int) -> bool:
    """Return True if the answer there is a success."""
    return bool(location & 1)


def mark_used(location: int) -> int:
    """The same location, marked as used by this run."""
    return location | 2


def is_used(location: int) -> bool:
    return bool(location & 2)


class LineFiles:
    """Regular files of lines, each opened once and known by a number, with random access to lines."""

    def __init__(self) -> None:
        self._descriptors: list[int] = []
        self._names: list[str] = []
        self._numbers: dict[tuple[int, int], int] = {}
        self._window = LineWindow(self._read)

    def __len__(self) -> int:
        """Number of files; they are numbered from 0."""
        return len(self._descriptors)

    def name(self, file: int) -> str:
        return self._names[file]

    def add(self, fd: int, name: str) -> tuple[int, bool]:
        """Take over a descriptor. Returns the number of its file, and True if the file is new.

        A file that was added under another name or link is not new. Raises MissingInput.
        """
        try:
            status = os.fstat(fd)
        except OSError as error:
            close_quietly(fd)
            raise MissingInput(f"cannot read '{name}': {reason(error)}") from error
        inode = (status.st_dev, status.st_ino)
        if inode in self._numbers:
            close_quietly(fd)
            return self._numbers[inode], False
        self._numbers[inode] = len(self._descriptors)
        self._descriptors.append(fd)
        self._names.append(name)
        return self._numbers[inode], True

    def line(self, file: int, offset: int) -> bytes:
        """The line at offset, without its newline; empty at the end of the file. Raises MissingInput."""
        return self._window.line(file, offset)

    def neighbours(self, locations: Sequence[int]) -> bytes | None:
        """The lines at locations, at least one, with a newline each, if they follow one another in a file.

        None if they do not, or are long. Raises MissingInput.
        """
        first = locations[0] >> _MARK_BITS
        size = (locations[-1] >> _MARK_BITS) - first  # without the last line
        if not 0 <= size <= _BLOCK_BYTES:
            return None
        file, start = unpack_location(locations[0])
        lines = self._read(file, size, start)
        starts = accumulate(map(len, BytesIO(lines)), initial=first)
        if lines[-1:] not in (b"", b"\n") or list(starts) != [each >> _MARK_BITS for each in locations]:
            return None
        return b"%b%b\n" % (lines, self.line(file, start + size))

    def lines(self, file: int, start: int = 0) -> Iterator[tuple[int, bytes]]:
        """Offset and bytes of each line from start on, without its newline, which the last may lack.

        Raises MissingInput.
        """
        position = start
        splitter = LineSplitter()
        while block := self._read(file, _BLOCK_BYTES, position):
            position += len(block)
            raise_if_received()  # a file may be large
            for line in splitter.feed(block):
                yield start, line
                start += len(line) + 1
        if last := splitter.end():
            yield start, last

    def number(self, file: int, offset: int) -> int:
        """The number of the line at offset, from 1. Reads the file up to there. Raises MissingInput."""
        number, position = 1, 0
        while position < offset:
            block = self._read(file, min(_BLOCK_BYTES, offset - position), position)
            if not block:
                break
            number += block.count(b"\n")
            position += len(block)
        return number

    def is_torn(self, file: int, offset: int) -> bool:
        """Return True if the line at offset is the last one and has no newline. Raises MissingInput."""
        return not self._read(file, 1, offset + len(self.line(file, offset)))

    def close(self) -> None:
        """Close all files. May be called again."""
        while self._descriptors:
            close_quietly(self._descriptors.pop())
        self._numbers.clear()

    def _read(self, file: int, size: int, offset: int) -> bytes:
        try:
            return read_at(self._descriptors[file], size, offset)
        except OSError as error:
            raise MissingInput(f"cannot read '{self._names[file]}': {reason(error)}") from error
