"""Names that people type: the known name that an unknown one is likely meant for, and names that look alike.

A no-break space, a character of no width, an accent that is a character of its own, or a Cyrillic or Greek
letter among Latin ones makes two names different that look the same. Messages show it as an escape.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

# Patterns stay text, which re compiles on first use: few runs have such a name.
# Spaces other than U+0020, soft hyphens, fillers, and characters of no width; combining accents of the
# scripts whose letters also exist with them.
_UNSEEN = (
    "\xa0\xad\u034f\u115f\u1160\u1680\u180e\u2000-\u200b\u202f\u205f-\u2064\u206a-\u206f\u2800\u3000"
    "\u3164\ufeff\uffa0\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\ufe20-\ufe2f"
)
# Joiners, variation selectors and tags belong to emoji, and joiners to the scripts from Arabic to Sinhala.
_JOINING = "\u200c\u200d\ufe00-\ufe0f\u20d0-\u20ff\U000e0000-\U000e0fff"
_EMOJI = "\u2190-\u2bff\U0001f000-\U0001faff"
_SCRIPTS_WITH_JOINERS = "\u0600-\u0dff"
_LOOKALIKE = f"[{_UNSEEN}]|(?<![{_EMOJI}{_JOINING}{_SCRIPTS_WITH_JOINERS}])[{_JOINING}]"
_WORD = r"[^\W_]+"

# Letters that look like Latin ones. Source: the confusables of Unicode's UTS #39, the common ones.
_CONFUSABLE = str.maketrans(
    # Cyrillic
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0455\u0458\u04bb\u04cf\u0501\u051b\u051d\u043a\u043c\u0442\u0432\u043d"
    "\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0423\u0425\u0405\u0406\u0408"
    # Greek, and the dotless i
    "\u03b1\u03b9\u03ba\u03bd\u03bf\u03c1\u03c4\u03c5\u03c7"
    "\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7\u0131",
    "aeopcyxisjhldqwkmtbhABEKMHOPCTYXSIJaikvoptuxABEZHIKMNOPTYXi",
)


def show_lookalikes(text: str) -> str:
    """The text with an escape for each character that makes a name look like another one.

    A letter of another script is one if it stands in a word with Latin letters that it looks like.
    """
    if text.isascii():
        return text
    text = re.sub(_LOOKALIKE, lambda match: _escape(match[0]), text)
    return re.sub(_WORD, lambda match: _show_mixed(match[0]), text)


def reveal(name: str, other: str) -> str:
    """The name to show beside other: with escapes where it only looks like it."""
    if name == other or _skeleton(name) != _skeleton(other):
        return show_lookalikes(name)
    return "".join(each if each.isascii() else _escape(each) for each in name)


def _skeleton(name: str) -> str:
    """The look of a name: two names that look the same have the same skeleton."""
    if name.isascii():
        return name
    import unicodedata  # few names need it

    composed = unicodedata.normalize("NFKC", name)  # a no-break space becomes a space
    return re.sub(_LOOKALIKE, "", composed).translate(_CONFUSABLE)


def _show_mixed(word: str) -> str:
    if word.isascii() or not re.search("[A-Za-z]", word):
        return word
    return "".join(_escape(each) if ord(each) in _CONFUSABLE else each for each in word)


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def nearest(word: str, words: frozenset[str], least: int = 5) -> str | None:
    """The entry of words that word is likely a typo of, or None.

    A typo is a different case, a different dash, a missing plural s, or one wrong, missing, doubled or
    swapped letter (two in words of eight letters or more). Words shorter than least letters are
    compared only for case, dashes and plural.
    """
    return _nearest(word, words, least) if len(word) <= 64 else None


def did_you_mean(word: str, known: Iterable[str], otherwise: str) -> str:
    """The advice for an unknown word: the known one that is likely meant, or else another advice."""
    near = nearest(word, frozenset(known), least=3)
    return f"did you mean '{near}'?" if near else otherwise


@lru_cache(maxsize=1024)  # a batch may repeat the same unknown key a million times
def _nearest(word: str, words: frozenset[str], least: int) -> str | None:
    folded = _fold(word)
    for candidate in sorted(words):
        if folded and _fold(candidate) == folded:
            return candidate
    if len(word) < least:
        return None
    limit = 1 if len(word) < 8 else 2
    candidates = [other for other in sorted(words) if abs(len(other) - len(word)) <= limit]
    distances = {other: _edit_distance(word.lower(), other.lower()) for other in candidates}
    best = min(candidates, key=distances.__getitem__, default=None)
    return best if best is not None and distances[best] <= limit else None


def is_short_typo(word: str, other: str) -> bool:
    """Return True if a short word is other with one letter missing or two swapped.

    A wrong letter makes too many pairs of short words alike.
    """
    is_near = len(other) == len(word) + 1 or sorted(other) == sorted(word)
    return is_near and _edit_distance(word.lower(), other.lower()) == 1


def _fold(word: str) -> str:
    return "".join(filter(str.isalnum, _skeleton(word).lower())).removesuffix("s")


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
