"""A secret in what a process wrote, decoded in every way that a reader may try."""

from __future__ import annotations

import html
import re
from base64 import b64decode
from collections.abc import Iterator
from urllib.parse import unquote


def has_key(data: bytes, key: str) -> bool:
    """True if data has a key, as it stands, escaped, percent-encoded, in base64 or hexadecimal, or broken."""
    text = data.decode("utf-8", "replace")
    for _ in range(3):
        text = html.unescape(
            unquote(re.sub(r"\\+u00([0-9a-fA-F]{2})", lambda code: chr(int(code[1], 16)), text))
        )
    plain = re.sub(r"<[^<>]*>|\\+[rn]|\s|\\", "", text).lower()
    tokens = [*re.findall(r"[A-Za-z0-9+/_-]{16,}", text), *re.findall(r"[0-9a-f]{16,}", text)]
    return key.lower() in plain or any(key.encode() in each for token in tokens for each in _bytes_of(token))


def _bytes_of(token: str) -> Iterator[bytes]:
    for start in range(4):
        whole = token[start:].translate(str.maketrans("-_", "+/"))
        yield b64decode(whole[: len(whole) & ~3])
    if re.fullmatch("(?:[0-9a-f]{2})+", token):
        yield bytes.fromhex(token)
