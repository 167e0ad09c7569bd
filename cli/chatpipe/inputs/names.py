"""Names that people type: the known name that an unknown one is likely a typo of."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache


def nearest(word: str, words: frozenset[str], least: int = 5) -> str | None:
    """The entry of words that word is likely a typo of, or None.

    A typo is a different case, a different dash, a missing plural s, or one wrong, missing, doubled or
    swapped letter (two in words of eight letters or more). Words shorter than least letters are
    compared only for case, dashes and plural.
    """
    return _nearest(word, words, least) if len(word) <= 64 else None


@lru_cache(maxsize=1024)  # a batch may repeat the same unknown key a million times
def _nearest(word: str, words: frozenset[str], least: int) -> str | None:
    folded = _fold(word)
    for candidate in sorted(words):
        if _fold(candidate) == folded:
            return candidate
    if len(word) < least:
        return None
    limit = 1 if len(word) < 8 else 2
    candidates = [other for other in sorted(words) if abs(len(other) - len(word)) <= limit]
    distances = {other: _edit_distance(word.lower(), other.lower()) for other in candidates}
    best = min(candidates, key=distances.__getitem__, default=None)
    return best if best is not None and distances[best] <= limit else None


def _fold(word: str) -> str:
    return "".join(filter(str.isalnum, word.lower())).removesuffix("s")


def _edit_distance(a: str, b: str) -> int:
    """The edit distance: letters to add, drop, replace or swap (optimal string alignment)."""
    two_back: list[int] = []
    previous = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row = [i]
        for j, y in enumerate(b, 1):
            row.append(min(previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (x != y)))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                row[j] = min(row[j], two_back[j - 2] + 1)
        two_back, previous = previous, row
    return previous[-1]


def or_list(words: Iterable[str]) -> str:
    """`a, b or c`."""
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last
