"""A table of the entries that were added last, whose number is bounded."""

from __future__ import annotations

from typing import Generic, TypeVar

_Value = TypeVar("_Value")


class LatestEntries(Generic[_Value]):
    """Keeps the latest entries, at least most // 2 - 1 and no more than most of them.

    They are in two tables. When the newer one is full, the older one is dropped as a whole: to drop one entry
    for each that is added takes ten times as long.
    """

    def __init__(self, most: int) -> None:
        self._most_new = most // 2
        self._new: dict[bytes, _Value] = {}
        self._old: dict[bytes, _Value] = {}

    def __len__(self) -> int:
        return len(self._new) + len(self._old)

    def __contains__(self, key: bytes) -> bool:
        return key in self._new or key in self._old

    def add(self, key: bytes, value: _Value) -> None:
        """Add an entry under a key that has none."""
        if len(self._new) >= self._most_new:
            self._old, self._new = self._new, {}
        self._new[key] = value

    def take(self, key: bytes) -> _Value | None:
        """The entry, which is no longer kept. None for a key without one."""
        return self._new.pop(key, None) or self._old.pop(key, None)
