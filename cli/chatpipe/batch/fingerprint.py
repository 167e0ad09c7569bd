"""A request body -> its fingerprint: what it is, where it would go, and the how-manieth of its like it is.

Two steps, since the body alone says which occurrence it is: `digest` once a line, then `mix`.

    digest       blake2b-128 of the canonical body
    fingerprint  blake2b-128 of `<digest in hex> <occurrence>`, and ` <base URL>` unless any server will do

Both are what `b2sum -l 128` prints for these bytes. Journals hold fingerprints, and answers are paid
for: changing a byte of this buys them all again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b

import orjson

from chatpipe.batch.index import Table
from chatpipe.inputs.values import Value

_SIZE_BYTES = 16
_BYTE = 255


def fingerprint(body: Mapping[str, Value], base_url: str | None, occurrence: int) -> str:
    """32 hex digits. occurrence: 1 for the first line of a run with this body; base_url None: any server."""
    return mix(digest(body), base_url, occurrence)


def digest(body: Mapping[str, Value]) -> bytes:
    """16 bytes that stand for a body, whatever the order of its keys. 1 and 1.0 are two bodies."""
    return blake2b(_canonical(body), digest_size=_SIZE_BYTES).digest()


def mix(body_digest: bytes, base_url: str | None, occurrence: int) -> str:
    """The fingerprint of a body by its digest."""
    text = (
        f"{body_digest.hex()} {occurrence}"
        if base_url is None
        else f"{body_digest.hex()} {occurrence} {base_url}"
    )
    return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=_SIZE_BYTES).hexdigest()


class Occurrences:
    """Counts equal bodies, in 11 bytes for each that differs.

    8 bytes of a digest stand for it. Two bodies that share them would be counted as one, so the
    second gets the fingerprint of an occurrence that is not its own: never another's answer.
    """

    def __init__(self) -> None:
        self._counts = Table("B")
        self._many: dict[int, int] = {}  # the counts that do not fit into a byte

    def next(self, body_digest: bytes) -> int:
        """1 for the first line with this body, 2 for the second."""
        key = int.from_bytes(body_digest[:8], "big")
        counts = self._counts.find(key)
        if not counts:
            self._counts.add(key, 1)
            return 1
        count = self._many.get(key, counts[0]) + 1
        if count <= _BYTE:
            self._counts.replace(key, counts[0], count)
        else:
            self._many[key] = count
        return count


def _canonical(body: Mapping[str, Value]) -> bytes:
    """JSON with sorted keys and no spaces; in escapes throughout where orjson cannot write it."""
    try:
        return orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # a lone surrogate, an integer beyond 64 bits, deep nesting: see inputs/values.py
        return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
