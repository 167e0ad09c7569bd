"""Where recorded answers are: 8 bytes of a key -> 8 bytes that say file and offset, and the files themselves.

A `Table` is sorted arrays, not a hash table: search, insertion and growth then run in C, there are
no empty slots to pay for, and the peak while growing is that of one small array. 1,000,000 entries
take 18 MB, 21 resident; a dict of str to int takes 150.
"""

from __future__ import annotations

import os
import stat
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Literal

from chatpipe.errors import MissingInput, reason

# Entries of a bucket, on average, at which all buckets are halved. An insertion moves half a bucket,
# 4 KB: 50 ns. Smaller ones would save little of that and cost an array object (80 bytes) each.
_BUCKET_ENTRIES = 1024
_KEY_BITS = 64

_BLOCK_BYTES = 1 << 18
# Most result lines fit into this. A longer one is read again, in full.
_FIRST_READ_BYTES = 4096

_OFFSET_BITS = 47  # 128 TiB


class Table:
    """Unsigned 8-byte keys, evenly spread, to values of 8 bytes ("Q"), 4 ("I") or one ("B").

    A key may stand for several values: who shortens names to 8 bytes has to tell them apart.
    """

    def __init__(self, typecode: Literal["Q", "I", "B"] = "Q") -> None:
        self._typecode = typecode
        # bucket i holds the keys that begin with the bits of i, in order, and beside them their values
        self._keys = [array("Q")]
        self._values = [array(typecode)]
        self._shift = _KEY_BITS
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def find(self, key: int) -> list[int]:
        """The values of a key, in the order in which they were added."""
        bucket = key >> self._shift
        keys = self._keys[bucket]
        start = bisect_left(keys, key)
        if start == len(keys) or keys[start] != key:
            return []
        return self._values[bucket][start : bisect_right(keys, key, start)].tolist()

    def add(self, key: int, value: int) -> None:
        """One more value of a key."""
        bucket = key >> self._shift
        slot = bisect_right(self._keys[bucket], key)
        self._keys[bucket].insert(slot, key)
        self._values[bucket].insert(slot, value)
        self._length += 1
        if self._length > _BUCKET_ENTRIES * len(self._keys):
            self._halve_buckets()

    def replace(self, key: int, old: int, new: int) -> None:
        """Put new in the place of old, which find has given for key."""
        bucket = key >> self._shift
        values = self._values[bucket]
        values[values.index(old, bisect_left(self._keys[bucket], key))] = new

    def values(self) -> Iterator[int]:
        """Every value, in no order."""
        for values in self._values:
            yield from values

    def _halve_buckets(self) -> None:
        self._shift -= 1
        keys, self._keys = self._keys[::-1], []
        values, self._values = self._values[::-1], []
        while keys:  # each old pair of arrays goes as its halves come, so that the peak is one bucket
            old_keys, old_values = keys.pop(), values.pop()
            cut = bisect_left(old_keys, (len(self._keys) + 1) << self._shift)
            self._keys += (old_keys[:cut], old_keys[cut:])
            self._values += (old_values[:cut], old_values[cut:])


def pack(file: int, offset: int, *, is_good: bool) -> int:
    """A place in 64 bits: a file's number on its Shelf in 15, an offset in bytes in 47, is_good, is_used."""
    return file << (_OFFSET_BITS + 2) | offset << 2 | is_good


def unpack(place: int) -> tuple[int, int]:
    """File and offset."""
    return place >> (_OFFSET_BITS + 2), place >> 2 & (1 << _OFFSET_BITS) - 1


def is_good(place: int) -> bool:
    """Whether the answer there is a success."""
    return bool(place & 1)


def used(place: int) -> int:
    """The same place, of an answer that this run has handed on."""
    return place | 2


def is_used(place: int) -> bool:
    return bool(place & 2)


class Shelf:
    """Regular files of lines: each open once, under one number, read by place."""

    def __init__(self) -> None:
        self._descriptors: list[int] = []
        self._names: list[str] = []
        self._numbers: dict[tuple[int, int], int] = {}

    def __len__(self) -> int:
        """How many files there are; their numbers count from 0."""
        return len(self._descriptors)

    def add(self, fd: int, name: str) -> tuple[int, bool]:
        """Take over a descriptor: the number of its file, and whether it is new here, by any name or link."""
        found = os.fstat(fd)
        inode = (found.st_dev, found.st_ino)
        if inode in self._numbers:
            os.close(fd)
            return self._numbers[inode], False
        self._numbers[inode] = len(self._descriptors)
        self._descriptors.append(fd)
        self._names.append(name)
        return self._numbers[inode], True

    def line(self, file: int, offset: int) -> bytes:
        """The line that begins there, without its end; nothing behind the last. Raises MissingInput."""
        size = _FIRST_READ_BYTES
        data = self._read(file, size, offset)
        while (end := data.find(b"\n")) < 0 and len(data) == size:
            size *= 8
            data = self._read(file, size, offset)
        return data if end < 0 else data[:end]

    def lines(self, file: int, start: int = 0) -> Iterator[tuple[int, bytes]]:
        """Offset and bytes of each line from start on, without its end, which the last may lack.

        Raises MissingInput.
        """
        read = start
        blocks: list[bytes] = []  # of a line that spans several: joined once, not grown
        while block := self._read(file, _BLOCK_BYTES, read):
            read += len(block)
            blocks.append(block)
            if b"\n" not in block:
                continue
            *whole, rest = b"".join(blocks).split(b"\n")
            blocks = [rest]
            for line in whole:
                yield start, line
                start += len(line) + 1
        if last := b"".join(blocks):
            yield start, last

    def close(self) -> None:
        """Close what was added. May be called again."""
        while self._descriptors:
            os.close(self._descriptors.pop())
        self._numbers.clear()

    def _read(self, file: int, size: int, offset: int) -> bytes:
        try:
            return os.pread(self._descriptors[file], size, offset)
        except OSError as error:
            raise MissingInput(f"cannot read '{self._names[file]}': {reason(error)}") from error


def open_regular(path: str) -> int | None:
    """A descriptor of a regular file; None for any other kind, and a FIFO is not waited for.

    Raises OSError, and ValueError for a NUL in the name.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    return None
