"""The sample streams beside this file: NAME.sse as a server sends it, NAME.json what it comes to.

The expected values were written by hand. events counts the payloads, `[DONE]` and errors among them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chatpipe.response import assemble, chunks, sse
from chatpipe.response.server_error import error_of

FOLDER = Path(__file__).parent / "samples"
NAMES = sorted(path.stem for path in FOLDER.glob("*.sse"))

# Of an error; the others follow from them.
ERROR_FIELDS = ("message", "type", "code", "param")

# What this project's API notes ship with; not part of the project.
SHARED = Path(__file__).parents[2].parent / "shared" / "api" / "examples"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the API notes are not here")


def raw(name: str) -> bytes:
    return (FOLDER / f"{name}.sse").read_bytes()


def expected(name: str) -> dict[str, Any]:
    value = json.loads((FOLDER / f"{name}.json").read_text())
    assert isinstance(value, dict)
    return value


@dataclass
class Fold:
    """What a client learns from one stream, as the exchange does it."""

    events: int
    done: bool
    finished: bool
    pending: bool
    error: dict[str, Any] | None
    completion: dict[str, Any]


def decode(pieces: list[bytes]) -> tuple[list[bytes], bool]:
    """The payloads of a body that arrives in these pieces, and whether it ended inside an event."""
    decoder = sse.EventDecoder()
    payloads = [payload for piece in pieces for payload in decoder.feed(piece)]
    payloads += decoder.end()
    return payloads, decoder.is_incomplete


def fold(pieces: list[bytes]) -> Fold:
    payloads, pending = decode(pieces)
    assembly = assemble.Assembly()
    error = None
    for payload in payloads:
        if error or sse.is_done(payload):
            break
        chunk = chunks.parse(payload)
        found = error_of(chunk)
        error = {name: getattr(found, name) for name in ERROR_FIELDS} if found else None
        if not error:
            assembly.add(chunk)
    return Fold(
        events=len(payloads),
        done=any(map(sse.is_done, payloads)),
        finished=assembly.is_finished(),
        pending=pending,
        error=error,
        completion=assembly.completion(),
    )
