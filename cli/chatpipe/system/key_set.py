"""A set of keys of 8 bytes that are evenly distributed, in 8 to 11 bytes of memory each.

A key is looked for, and put, by one search and one copy in C: a tenth of a SortedIndex, which also takes
the memory, and of the memory of a set.
"""

from __future__ import annotations

KEY_BYTES = 8
_BUCKETS = 1 << 12  # a million keys take 2 KB in each, which are searched in a microsecond


class KeySet:
    """The set. It is empty at first, and grows only."""

    def __init__(self) -> None:
        # The keys of each bucket, one after the other. Their first 12 bits are the number of the bucket.
        self._buckets = [b""] * _BUCKETS

    def add(self, key: bytes) -> bool:
        """Add a key. Returns False if the set has it."""
        number = key[0] << 4 | key[1] >> 4
        bucket = self._buckets[number]
        at = bucket.find(key)
        while at >= 0 and at % KEY_BYTES:  # between two keys
            at = bucket.find(key, at + 1)
        if at < 0:
            self._buckets[number] = bucket + key
        return at < 0
