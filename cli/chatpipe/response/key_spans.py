"""The places of a key in the text of an answer, also where characters of it are encoded.

A server may quote a header inside of JSON, a URL or HTML, whose reader decodes it. Other disguises are not
noticed, such as base64 or a key written backwards: there are more of them than a filter can know.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache

from chatpipe.system.encoded_text import CHARACTERS, EncodedText
from chatpipe.system.secrets import cut_at_end

Span = tuple[int, int]

# The patterns are compiled on use, which few texts need. This saves 1.5 ms at start-up.

# A letter or a digit that is encoded, by the character with which it begins: then a search is fast. Few
# texts have one, because none has to be encoded.
_ALPHANUMERIC = rb"(?:3[0-9]|4[1-9A-Fa-f]|5[0-9Aa]|6[1-9A-Fa-f]|7[0-9Aa])"
_ENCODED = {
    ord("\\"): rb"\\(?:u00|x|u\{0*)" + _ALPHANUMERIC,
    ord("%"): rb"%(?:25)*" + _ALPHANUMERIC,
    ord("&"): rb"&\#[xX]?[0-9]",
}
# The same for any character, and for the part of one that ends a string of JSON or the bytes.
_BEGINNING = {
    ord("\\"): rb"\\(?:\\(?:[^\w\s]|[ux]|\Z)|u00[2-7]|u0{0,2}\Z|\Z)",
    ord("%"): rb"%(?:[0-9A-Fa-f\"]|\Z)",
    ord("&"): rb"&(?:[\#a-z\"]|\Z)",
}
# The beginning of an encoded character where the text ends.
_CUT_CHARACTER = (
    rb"(?:\\{1,32}(?:u(?:00?[0-9A-Fa-f]?|\{[0-9A-Fa-f]{0,6})?|x[0-9A-Fa-f]?)?"
    rb"|%(?:25){0,8}[0-9A-Fa-f]?|&(?:\#[xX]?[0-9A-Fa-f]{0,6}|[a-z]{0,6}))\Z"
)
_LONGEST_CUT = 48  # characters of it; longer ones are rare, and not waited for
_MOST_PER_CHARACTER = 16  # characters in which one of a key is encoded
_BLOCK = 1 << 16  # characters; a text is decoded in blocks because that takes a hundred times its memory


def may_hold(keys: Iterable[str], body: bytes | None) -> bool:
    """Return False for most bodies of JSON without a key, by a search that costs next to nothing."""
    if body is None:
        return True
    for key in keys:  # `in` would first try bytes as a number, which takes most of its time
        if body.find(_distinctive(key)) >= 0:
            return True
    return _finds(_ENCODED, body)


def may_begin(data: bytes) -> bool:
    """Return True if a key with an encoded character may begin in these bytes of a stream of JSON."""
    return _finds(_BEGINNING, data)


def _finds(patterns: dict[int, bytes], data: bytes) -> bool:
    for mark, pattern in patterns.items():  # noqa: SIM110  a generator takes longer than the search
        if mark in data and re.search(pattern, data):
            return True
    return False


def plain_spans(text: str, key: str) -> Iterator[Span]:
    """The spans in text where key stands as it is."""
    start = text.find(key)
    while start >= 0:
        yield start, start + len(key)
        start = text.find(key, start + len(key))


def encoded_spans(text: str, key: str) -> list[Span]:
    """The spans in text of key with at least one character encoded."""
    spans: list[Span] = []
    if has_mark(text):
        data, start, longest = _as_bytes(text), 0, _MOST_PER_CHARACTER * len(key)
        while start < len(data):
            block = data[start : start + _BLOCK + longest]
            spans += [
                (start + first, start + last) for first, last in _spans_in(block, key) if first < _BLOCK
            ]
            start = max(start + _BLOCK, spans[-1][1] if spans else 0)
    return spans


def _spans_in(data: bytes, key: str) -> Iterator[Span]:
    if data.find(_distinctive(key)) < 0 and not _finds(_ENCODED, data):
        return
    decoded = EncodedText(data, CHARACTERS)
    for span in plain_spans(decoded.plain.decode("latin-1"), key):
        start, end = decoded.span(*span)
        if end - start > len(key):
            yield start, end


def cut_span(text: str, key: str) -> Span | None:
    """The span of a beginning of key with which text ends, if it is long enough to say something."""
    if rest := cut_at_end(text, key):
        return len(text) - rest, len(text)
    end = text[-_MOST_PER_CHARACTER * len(key) :]
    if not has_mark(end):
        return None
    data = _as_bytes(end)
    decoded = EncodedText(data[: _cut_character_at(data)], CHARACTERS)
    rest = cut_at_end(decoded.plain.decode("latin-1"), key)
    if not rest:
        return None
    start, _ = decoded.span(len(decoded.plain) - rest, len(decoded.plain))
    return len(text) - len(end) + start, len(text)


def beginning_at_end(text: str, key: str, least: int) -> int:
    """The number of characters at the end of text with which key may begin; 0 if it does not begin there.

    At least `least` characters of the key have come, or fewer if one is encoded or a part of an encoded one.
    """
    plain = _beginning_at_end(text, key, least)
    end = text[-_MOST_PER_CHARACTER * len(key) :]
    if not has_mark(end):
        return plain
    data = _as_bytes(end)
    cut = _cut_character_at(data)
    decoded = EncodedText(data[:cut], CHARACTERS)
    size = _beginning_at_end(decoded.plain.decode("latin-1"), key, 1)
    if cut == len(data) and size <= _beginning_at_end(end, key, 1):
        return plain
    start = decoded.span(len(decoded.plain) - size, len(decoded.plain))[0] if size else cut
    return max(plain, len(end) - start)


def _beginning_at_end(text: str, key: str, least: int) -> int:
    """The number of characters from the first of key in which text ends: least or more, but not all; or 0."""
    start = text.find(key[:least], max(len(text) - len(key) + 1, 0))
    while start >= 0:
        if key.startswith(text[start:]):
            return len(text) - start
        start = text.find(key[:least], start + 1)
    return 0


def has_mark(text: str) -> bool:
    """Return True if text has a character with which an encoded one begins."""
    return "\\" in text or "%" in text or "&" in text


def _as_bytes(text: str) -> bytes:
    """One byte for each character. A key has none beyond these."""
    return text.encode("latin-1", "replace")


def _cut_character_at(data: bytes) -> int:
    """The start of an encoded character that the end cuts; the length of data if there is none."""
    start = max(len(data) - _LONGEST_CUT, 0)
    match = re.search(_CUT_CHARACTER, data[start:])
    return start + match.start() if match else len(data)


@cache
def _distinctive(key: str) -> bytes:
    """The longest part of the key that is the same in all notations, unless letters or digits are encoded."""
    parts: list[str] = re.findall("[A-Za-z0-9]*", key)
    return max(parts, key=len).encode()
