"""The messages between a run and its relay, which speaks with Ray: both ends of a pair of sockets.

message = length of its data (4 bytes) | kind (1 byte) | number of the worker (4 bytes) | data
"""

from __future__ import annotations

import asyncio
import struct
from enum import IntEnum

from chatpipe.named_tuple import NamedTuple

_HEAD = struct.Struct(">IBI")


class FrameKind(IntEnum):
    """The kinds of messages. Of the data, that of requests and replies is a block (parcels.py)."""

    START = 1  # to the relay: a line of JSON, and the terms of the workers if Ray passes them on
    REQUESTS = 2  # to a worker
    NODES = 3  # from the relay, once it is connected: the number of workers to expect
    JOINED = 4  # a worker is there
    UNUSABLE = 5  # a worker cannot work: a fault
    LOST = 6  # a worker is gone: a reason
    REPLIES = 7  # from a worker
    FAULT = 8  # the relay ends: a fault
    WARNING = 9  # from the relay: a text


class Frame(NamedTuple):
    """A message. worker is 0 for one that is about none."""

    kind: FrameKind
    worker: int
    data: bytes


def write_frame(kind: FrameKind, data: bytes, worker: int = 0) -> bytes:
    """The bytes of a message."""
    return _HEAD.pack(len(data), kind, worker) + data


async def read_frame(reader: asyncio.StreamReader) -> Frame | None:
    """The next message. None if the other end is gone."""
    try:
        size, kind, worker = _HEAD.unpack(await reader.readexactly(_HEAD.size))
        return Frame(FrameKind(kind), worker, await reader.readexactly(size))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
