"""Text in which characters are in another notation -> the characters, and where each of them stands."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator

_HEX = rb"[0-9A-Fa-f]{2}"
# One character of ASCII: a backslash of JSON and of other languages, URL, HTML. JSON inside of JSON has
# more backslashes.
_CHARACTER = (
    rb"\\+(?:u00|x|u\{0*)(?P<escape>" + _HEX + rb")\}?|%(?:25)*(?P<percent>" + _HEX + rb")"
    rb"|&\#[xX]0*(?P<entity>" + _HEX + rb");?|&\#0*(?P<decimal>[0-9]{2,3});?"
    rb"|&(?P<name>amp|apos|gt|lt|quot|sol|lowbar|dash|hyphen);"
)
# What a text may be broken by: white space, escaped line ends, tags, invisible characters.
_GAP = rb"(?P<gap>[\s\x00-\x1f\x7f]+|\\+[nrt]|<[^<>]*>|=\r?\n|\xc2\xad|\xe2\x80[\x8b-\x8d]|\xef\xbb\xbf)"
_PUNCTUATION = rb"\\+(?P<punctuation>[^\w\s])"
_ENTITIES = {
    b"amp": b"&",
    b"apos": b"'",
    b"gt": b">",
    b"lt": b"<",
    b"quot": b'"',
    b"sol": b"/",
    b"lowbar": b"_",
    b"dash": b"-",
    b"hyphen": b"-",
}

# Patterns, which are compiled on use: few texts need them, and this saves 1 ms at start-up.
CHARACTERS = rb"|".join((_CHARACTER, _PUNCTUATION))
CHARACTERS_AND_GAPS = rb"|".join((_CHARACTER, _GAP, _PUNCTUATION))


class EncodedText:
    """Data in any encoding that extends ASCII; plain is the same with its characters decoded.

    pattern is one of this module: with CHARACTERS_AND_GAPS the gaps are not in plain.
    """

    def __init__(self, data: bytes, pattern: bytes) -> None:
        self._segments = list(_segments(data, pattern))
        self._starts = [start for start, _, _, _ in self._segments]
        self.plain = b"".join(piece for _, _, _, piece in self._segments)

    @property
    def is_encoded(self) -> bool:
        return len(self._segments) > 1

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The span in the data of what stands at start to end in plain."""
        first = self._segments[bisect_right(self._starts, start) - 1]
        last = self._segments[bisect_right(self._starts, end - 1) - 1]
        is_whole = end == last[0] + len(last[3])
        return first[1] + start - first[0], last[2] if is_whole else last[1] + end - last[0]


def _segments(data: bytes, pattern: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """The data decoded: for each stretch its start when decoded, its start and end in data, its bytes."""
    done = decoded = 0
    for match in re.finditer(pattern, data):
        start, end = match.span()
        if start > done:
            yield decoded, done, start, data[done:start]
            decoded += start - done
        if piece := _decoded(match):
            yield decoded, start, end, piece
            decoded += 1
        done = end
    if done < len(data):
        yield decoded, done, len(data), data[done:]


def _decoded(match: re.Match[bytes]) -> bytes:
    """The character that an encoded one stands for; nothing for a gap."""
    kind = match.lastgroup or ""
    text = match[kind]
    if kind == "gap":
        return b""
    if kind == "name":
        return _ENTITIES[text]
    if kind == "punctuation":
        return text
    code = int(text, 10 if kind == "decimal" else 16)
    return bytes((code,)) if code < 256 else b"?"
