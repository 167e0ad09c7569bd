"""The secrets of this process, and the words of servers without them.

Keys, secret headers and passwords are added where they are read. A server may send one back in an error.
hide() finds it there in every case, escaped, percent-encoded, in base64 or hexadecimal, broken by white
space or by tags, and cut at the end of the text. How much is hidden depends on the length of the secret,
because keys of local servers are words such as `ollama` or `1234`:

    characters   in text about a failure                  in the content of an answer
    20 or more   anywhere, in every form                  replaced: response/key_filter.py
    8 to 19      anywhere, in every form                  unchanged
    4 to 7       as a word of its own, in server's words  unchanged
    fewer        unchanged                                unchanged
"""

from __future__ import annotations

import re
from binascii import b2a_base64
from collections.abc import Iterator
from functools import cache
from typing import Any, AnyStr

from chatpipe.system.encoded_text import CHARACTERS_AND_GAPS, EncodedText

MASK = "***"
# The beginnings of keys, as the providers give them out. As of 2026-11. A name of a file may begin so,
# too, but has no 16 letters and digits in a row, with a digit.
KEY = (
    r"(?<![A-Za-z0-9])(?:c?sk-|gsk_|xai-|hf_|pplx-|nvapi-|AIza)"
    r"(?=[\w-]*[A-Za-z0-9]{16})(?=[\w-]*[0-9])[A-Za-z0-9_-]{16,}"
)
_SHORTEST_WORD = 4
_SHORTEST_ANYWHERE = 8
_SHORTEST_IN_CONTENT = 20
_LONG_BODY = 1 << 16  # bytes; its strings are searched one by one only if one search of it finds something

# Global to the process: the code that ends it prints the error, and does not know the keys.
_known: list[str] = []

_BASE64 = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=")

_Span = tuple[int, int]


def add(secret: str | None) -> None:
    """Hide secret from now on, in all that this process writes about a failure."""
    if secret and secret not in _known:
        _known.append(secret)


def are_known() -> bool:
    """Return True if there is a secret to hide."""
    return bool(_known)


def all_known() -> list[str]:
    """The secrets of this process, for another process that has to hide them."""
    return list(_known)


def in_content() -> list[str]:
    """The secrets that are replaced in the content of an answer."""
    return [secret for secret in _known if len(secret) >= _SHORTEST_IN_CONTENT]


def hide(text: str, *, words: bool = True) -> str:
    """Text about a failure, without secrets. words: hide short secrets, too, where they stand as a word.

    words is for text of a server. In our own lines such a word has another meaning.
    """
    if not _known:
        return text
    data = text.encode("utf-8", "surrogatepass")
    hidden = hide_bytes(data, words=words)
    return text if hidden is data else hidden.decode("utf-8", "surrogatepass")


def hide_bytes(data: bytes, *, words: bool = True) -> bytes:
    """Like hide, for bytes in any encoding that extends ASCII. Returns data itself if there is no secret."""
    long = [secret for secret in _known if len(secret) >= _SHORTEST_ANYWHERE]
    spans = list(_long_spans(data, long)) if long else []
    if words:
        for word in (each for each in _known if _SHORTEST_WORD <= len(each) < _SHORTEST_ANYWHERE):
            pattern = rb"(?<![\w-])" + re.escape(word.encode()) + rb"(?![\w-])"
            spans += [match.span() for match in re.finditer(pattern, data)]
    return _masked(data, spans)


def hide_body(body: bytes) -> bytes:
    """The body of a failure without secrets. JSON stays JSON, and is unchanged if it has none."""
    from chatpipe.inputs import values  # it loads orjson, which --help does not need

    if not _known or (len(body) > _LONG_BODY and hide_bytes(body) is body):
        return body
    try:
        value = values.loads(body)
        hidden = hide_value(value)
        return body if hidden == value else values.dumps(hidden)
    except (values.NotJSON, RecursionError):
        return hide_bytes(body)


def hide_value(value: Any, *, words: bool = True) -> Any:
    """A JSON value about a failure without secrets. Words of a few characters are never names of members."""
    if isinstance(value, str):
        return hide(value, words=words)
    if isinstance(value, dict):
        return {hide(name, words=False): hide_value(each, words=words) for name, each in value.items()}
    if isinstance(value, list):
        return [hide_value(each, words=words) for each in value]
    if type(value) is int and len(text := str(value)) >= _SHORTEST_ANYWHERE:
        return value if hide(text) == text else MASK
    return value


def is_in(text: str) -> bool:
    """Return True if text is a secret, or holds one that is long enough not to be there by chance."""
    whole = f"{text}."  # which ends no secret: the beginning of one is none
    return text in _known or hide(whole, words=False) != whole


def _long_spans(data: bytes, long: list[str]) -> Iterator[_Span]:
    """The spans of the secrets in data. They may overlap."""
    for start, end, is_encoded in _found(data, long):
        yield _word_around(data, start, end) if is_encoded else (start, end)
    text = EncodedText(data, CHARACTERS_AND_GAPS)
    if text.is_encoded:
        for found, found_end, is_encoded in _found(text.plain, long):
            start, end = text.span(found, found_end)
            yield _word_around(data, start, end) if is_encoded else (start, end)


def _found(data: bytes, long: list[str]) -> Iterator[tuple[int, int, bool]]:
    """The spans of the secrets themselves, True for one of an encoding, and of a secret that the end cuts."""
    lower = data.lower()
    for secret in long:
        plain, *encodings = _forms(secret)
        for form in (plain, *encodings):
            start = lower.find(form)
            while start >= 0:
                yield start, start + len(form), form is not plain
                start = lower.find(form, start + len(form))
        if rest := cut_at_end(lower, plain):
            yield len(lower) - rest, len(lower), False


def cut_at_end(text: AnyStr, secret: AnyStr) -> int:
    """The number of characters at the end of text with which secret begins, if they are a third of it."""
    least = max(_SHORTEST_ANYWHERE, len(secret) // 3)
    lengths = range(min(len(secret) - 1, len(text)), least - 1, -1)
    return next((length for length in lengths if text.endswith(secret[:length])), 0)


@cache
def _forms(secret: str) -> tuple[bytes, ...]:
    """The secret, its hexadecimal form, and what base64 makes of it at each of the three positions.

    All are in lower case: header names and host names are shown so.
    """
    data = secret.encode()
    forms = [data, data.hex().encode()]
    for offset in range(3):
        encoded = b2a_base64(bytes(offset) + data + b"\0\0", newline=False)
        first, last = -(-offset * 8 // 6), (offset + len(data)) * 8 // 6
        stable = encoded[first:last]  # without the characters that also depend on the neighbours
        forms += [stable, stable.translate(bytes.maketrans(b"+/", b"-_"))]
    return tuple(dict.fromkeys(form.lower() for form in forms))


def _word_around(data: bytes, start: int, end: int) -> _Span:
    """The whole word of base64: its other characters hold the rest of the secret."""
    while start > 0 and data[start - 1] in _BASE64:
        start -= 1
    while end < len(data) and data[end] in _BASE64:
        end += 1
    return start, end


def _masked(data: bytes, spans: list[_Span]) -> bytes:
    """The data with each span replaced. Spans that overlap or touch are one."""
    if not spans:
        return data
    pieces, done = [], 0
    open_end = -1
    for start, end in sorted(spans):
        if start > open_end:
            pieces += [data[done:start], MASK.encode()]
        done = open_end = max(open_end, end)
    return b"".join([*pieces, data[done:]])
