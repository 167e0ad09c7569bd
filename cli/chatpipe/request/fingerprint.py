"""Fingerprint of a request: its body, and its occurrence number among identical bodies.

It takes two steps, because the occurrence number depends on the body: body_digest(), then fingerprint_of().

    digest       blake2b-128 of the canonical body, without the fields of streaming
    fingerprint  blake2b-128 of `<digest in hex> <occurrence>`, then ` <scope>` if the body does not decide
                 which model answers: the scope is the server then

Both are what `b2sum -l 128` prints for these bytes. Journals contain fingerprints: if a byte of this
changes, no recorded answer is found, and all of them are paid for again.
"""

from __future__ import annotations

import json
from binascii import hexlify
from collections.abc import Mapping
from hashlib import blake2b

import orjson

from chatpipe.inputs.values import Value
from chatpipe.system.key_set import KEY_BYTES, KeySet
from chatpipe.system.line_index import SortedIndex

_EMPTY_HASH = blake2b(digest_size=16)  # its copy takes four fifths of the time that a new one does
_BYTE = 255
_STREAMING = frozenset({"stream", "stream_options"})


def fingerprint(body: Mapping[str, Value], scope: str | None, occurrence: int) -> str:
    """Fingerprint of a body, 32 hex digits.

    occurrence is 1 for the first line of a run with this body. scope is None for any server.
    """
    return fingerprint_of(body_digest(body), scope, occurrence)


def body_digest(body: Mapping[str, Value]) -> bytes:
    """Digest of a body, 16 bytes.

    It covers JSON with sorted keys and no spaces; ASCII with escapes if orjson cannot serialise the body. So
    the order of keys does not matter; 1 and 1.0 are different. Streaming changes no answer, so its fields are
    left out.
    """
    if "stream" in body or "stream_options" in body:
        body = {key: value for key, value in body.items() if key not in _STREAMING}
    hashed = _EMPTY_HASH.copy()
    try:
        hashed.update(orjson.dumps(body, option=orjson.OPT_SORT_KEYS))
    except TypeError:  # a lone surrogate, an integer beyond 64 bits, deep nesting: see inputs/values.py
        hashed.update(json.dumps(body, sort_keys=True, separators=(",", ":")).encode())
    return hashed.digest()


def fingerprint_of(body_digest: bytes, scope: str | None, occurrence: int) -> str:
    """Fingerprint of the body with this digest."""
    hashed = _EMPTY_HASH.copy()
    number = b" 1" if occurrence == 1 else b" %d" % occurrence  # nearly all are the first
    hashed.update(hexlify(body_digest) + number)
    if scope is not None:
        hashed.update(f" {scope}".encode("utf-8", "surrogateescape"))
    return hashed.hexdigest()


class OccurrenceCounter:
    """Counter of identical bodies, in 11 bytes of memory per distinct body, and as much for one that repeats.

    It keeps only 8 bytes of each digest. Two bodies that share these are counted as one. The second
    then gets the fingerprint of a wrong occurrence number, but never the answer of another body.
    """

    def __init__(self) -> None:
        self._seen = KeySet()
        self._counts = SortedIndex("B")  # of those that were seen twice or more
        self._large: dict[int, int] = {}  # counts that do not fit into a byte

    def count(self, body_digest: bytes) -> int:
        """Count a body: 1 for the first with this digest, 2 for the second."""
        if self._seen.add(body_digest[:KEY_BYTES]):
            return 1
        key = int.from_bytes(body_digest[:KEY_BYTES], "big")
        counts = self._counts.find_or_add(key, 2)
        if not counts:
            return 2
        count = self._large.get(key, counts[0]) + 1
        if count <= _BYTE:
            self._counts.replace(key, counts[0], count)
        else:
            self._large[key] = count
        return count
