"""A worker, from what the relay passes on to its place on a node."""

from __future__ import annotations

import socket
from functools import partial

from chatpipe.cluster.plain_faults import write_fault
from chatpipe.cluster.worker import Worker
from chatpipe.errors import ChatpipeError

_WAIT_S = 30.0
_PIECE = 1 << 16


async def open_worker(terms: bytes | str, node: str) -> tuple[Worker, bytes]:
    """The worker with these terms, or those of the socket with this path, and its fault, if it has one."""
    worker = Worker(partial(_from_socket, terms) if isinstance(terms, str) else lambda: terms)
    try:
        await worker.open()
    except ChatpipeError as fault:
        fault.what = f"on the node '{node}': {fault.what}"
        return worker, write_fault(fault)
    return worker, b""


def _from_socket(path: str) -> bytes:
    """The bytes that a socket gives. Raises OSError."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(_WAIT_S)
        link.connect(path)
        pieces = []
        while piece := link.recv(_PIECE):
            pieces.append(piece)
        return b"".join(pieces)
