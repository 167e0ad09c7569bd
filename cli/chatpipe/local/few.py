"""What a run could tell a million times is told ten times."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

_MOST_TOLD = 10

_T = TypeVar("_T")


class Few(Generic[_T]):
    """Tells the first of many, then once that there are more, and where all of them are. From any thread."""

    def __init__(self, tell: Callable[[_T], None], note: Callable[[str], None], where: str) -> None:
        self._tell = tell
        self._note = note
        self._where = where
        self._lock = threading.Lock()  # what runs tools has threads
        self.count = 0

    def tell(self, thing: _T) -> None:
        with self._lock:
            self.count += 1
            if self.count <= _MOST_TOLD:
                self._tell(thing)
            elif self.count == _MOST_TOLD + 1:
                self._note(f"there are more like these: {self._where}")
