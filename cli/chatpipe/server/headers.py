"""Headers: parsed from options, files and variables, and merged."""

from __future__ import annotations

import re
from collections.abc import Sequence

from chatpipe import __version__
from chatpipe.errors import UsageFault

# RFC 9110 section 5.6.2: a header name is a token.
_HEADER_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
# A wrong value makes the server split the request in two, or wait for bytes that never come.
_FRAMING = frozenset({"content-length", "transfer-encoding"})
_CONTROL = r"[\x00-\x08\x0a-\x1f\x7f]"

Headers = tuple[tuple[str, str], ...]

OWN_HEADERS: Headers = (
    ("Content-Type", "application/json"),
    ("User-Agent", f"chatpipe/{__version__}"),
    # Compression gains nothing for an answer of a few kB, and it delays a stream.
    ("Accept-Encoding", "identity"),
)


def parse_header(line: str, place: str) -> tuple[str, str]:
    """Split `Name: value`. Raises UsageFault, whose text omits the value because it may be secret."""
    name, colon, value = line.partition(":")
    if not colon or not re.fullmatch(_HEADER_NAME, name.strip()):
        raise UsageFault("not a header", place=place, fix="write 'Name: value'")
    if name.strip().lower() in _FRAMING:
        what = f"header '{name.strip()}' says where the body ends, which follows from the body"
        raise UsageFault(what, place=place, fix="leave it out")
    value = value.strip()
    if re.search(_CONTROL, value) or not value.isascii():
        raise UsageFault(f"header '{name.strip()}' has a character that cannot be sent", place=place)
    return name.strip(), value


def merge_headers(headers: Sequence[tuple[str, str]]) -> Headers:
    """The headers with the last value per name, at its position. An empty value drops the name."""
    merged: dict[str, tuple[str, str]] = {}
    for name, value in headers:
        merged.pop(name.lower(), None)
        if value:
            merged[name.lower()] = (name, value)
    return tuple(merged.values())
