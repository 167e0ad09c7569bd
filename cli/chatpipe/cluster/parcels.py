"""Requests on their way to a worker, and replies on their way back: many in one block of bytes.

    block = length of the head (4 bytes) | head (JSON) | bodies, one after the other

A request travels without the headers that its server gets from every one of them, because a key may be among
those: the worker adds its own. No part of a block is a secret.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from chatpipe.named_tuple import NamedTuple

_LENGTH = struct.Struct(">I")


class Template(NamedTuple):
    """The parts of a request that many requests share.

    server is the index of the server. query is None for that of the base URL. With own, the worker adds the
    headers of the server, those named in without apart. headers are further ones. timeouts_s are the limits
    to connect, to read, to write and to get a connection. key counts the keys of the run so far.
    """

    server: int
    method: str
    path: str
    query: str | None
    own: bool
    without: Sequence[str]
    headers: Sequence[tuple[str, str]]
    timeouts_s: Sequence[float | None]
    max_reply: int | None
    key: int = 0


# No named tuples: one of each of these is made for each request.
@dataclass(slots=True)
class Parcel:
    """A request. number identifies its attempt in the run, deadline_s is the time that is left.

    wants_new is true if it is to get a new connection, because a kept one was lost.
    """

    number: int
    template: Template
    deadline_s: float | None
    body: bytes
    wants_new: bool


@dataclass(slots=True)
class WorkerReply:
    """A reply. status is None if none came; failure and reason: see RecordedReply.

    has_key is true if the server had sent a key back, which is no longer there. has_lost_kept is that of a
    FailedAttempt.
    """

    number: int
    status: int | None = None
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""
    failure: str = ""
    reason: str = ""
    has_key: bool = False
    has_lost_kept: bool = False


def write_parcels(parcels: Sequence[Parcel], cancelled: Sequence[int]) -> bytes:
    """A block with requests, and the numbers of those that nobody awaits."""
    templates: list[Template] = []
    rows, latest = [], None
    for each in parcels:
        if each.template is not latest:
            latest = each.template
            templates.append(latest)
        rows.append((each.number, len(templates) - 1, each.deadline_s, each.wants_new, len(each.body)))
    return _block([[tuple(each) for each in templates], rows, cancelled], [each.body for each in parcels])


def read_parcels(block: bytes) -> tuple[list[Parcel], list[int]]:
    """The requests and the numbers in a block."""
    (templates, rows, cancelled), start = _head(block)
    shared = [Template(*each) for each in templates]
    parcels = []
    for number, index, deadline_s, wants_new, size in rows:
        parcels.append(Parcel(number, shared[index], deadline_s, block[start : start + size], wants_new))
        start += size
    return parcels, cancelled


def write_replies(replies: Sequence[WorkerReply]) -> bytes:
    """A block with replies."""
    rows = [
        (
            *(each.number, each.status, each.headers, len(each.body)),
            *(each.failure, each.reason, each.has_key, each.has_lost_kept),
        )
        for each in replies
    ]
    return _block(rows, [each.body for each in replies])


def read_replies(block: bytes) -> list[WorkerReply]:
    """The replies in a block."""
    rows, start = _head(block)
    replies = []
    for number, status, headers, size, *others in rows:
        body = block[start : start + size]
        start += size
        replies.append(WorkerReply(number, status, headers, body, *others))
    return replies


def _block(head: Any, bodies: Iterable[bytes]) -> bytes:
    data = orjson.dumps(head)
    return b"".join((_LENGTH.pack(len(data)), data, *bodies))


def _head(block: bytes) -> tuple[Any, int]:
    """The head of a block, and where its bodies begin."""
    start = _LENGTH.size + _LENGTH.unpack_from(block)[0]
    return orjson.loads(block[_LENGTH.size : start]), start
