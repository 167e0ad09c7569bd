"""The process between a run and Ray: `python -m chatpipe.cluster.relay`.

    run -- socket at descriptor 0 --> relay -- Ray --> a worker on each node

Ray prints, installs handlers and ends its process when its cluster is gone. None of this may happen to a run.
The environment of this process, and so that of all that it starts, has no key. It ends when the run is gone,
however that ends, and takes a cluster that it started with it.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import traceback
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any, NoReturn

from chatpipe.cluster import ray_api
from chatpipe.cluster.frames import FrameKind, read_frame, write_frame
from chatpipe.cluster.hangup import call_at_hangup
from chatpipe.cluster.node_workers import NodeWorkers
from chatpipe.cluster.own_processes import end_descendants, own_children
from chatpipe.cluster.plain_faults import write_fault
from chatpipe.errors import ChatpipeError, Unreachable

_LOOK_S = 1.0
# Without these daemons a cluster is dead. Ray itself takes a minute to find out.
_DAEMONS = frozenset({"gcs_server", "raylet"})
# The head of a cluster may say nothing when it is left. Its nodes notice the end of this process, too.
_LEAVE_S = 2.0


class Relay:
    """The relay of one run, between its socket and the workers."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def report(self, kind: FrameKind, data: bytes = b"", worker: int = 0) -> None:
        """Send a message to the run."""
        self._writer.write(write_frame(kind, data, worker))

    async def run(self, workers: NodeWorkers) -> None:
        """Work until the run is gone. What goes wrong in a task is raised."""
        passing = asyncio.create_task(self._pass_on(workers))
        running = {passing, *map(asyncio.create_task, (workers.keep(), self._watch_daemons()))}
        while not passing.done():
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()

    async def _pass_on(self, workers: NodeWorkers) -> None:
        while (message := await read_frame(self._reader)) is not None:
            if message.kind is FrameKind.REQUESTS:
                workers.take(message.worker, message.data)

    async def _watch_daemons(self) -> None:
        """Tell the run when a daemon of a cluster of its own has ended."""
        daemons = {pid for pid, each in own_children().items() if each.name in _DAEMONS}
        while True:
            await asyncio.sleep(_LOOK_S)
            children = own_children()
            for pid in daemons:
                if pid not in children or children[pid].has_ended:
                    fault = Unreachable("Ray has ended on this machine", fix="run the same command again")
                    self.report(FrameKind.FAULT, write_fault(fault))
                    return


async def _main(link: socket.socket) -> None:
    reader, writer = await asyncio.open_connection(sock=link)
    message = await read_frame(reader)
    if message is None:
        return
    head, _, public = message.data.partition(b"\n")
    terms = json.loads(head)
    relay = Relay(reader, writer)
    try:
        with call_at_hangup(link.fileno(), partial(_leave, terms)):
            _connect(terms)
        cluster = ray_api.ConnectedCluster(terms["socket"] or public, terms["version"])
        await relay.run(NodeWorkers(cluster, relay.report))
        if terms["address"] is not None or not os.path.isdir("/proc"):
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.to_thread(ray_api.leave_cluster), _LEAVE_S)
    except ChatpipeError as fault:
        relay.report(FrameKind.FAULT, write_fault(fault))
        with suppress(ConnectionError):
            await writer.drain()
    except Exception:  # a bug: the run learns that the relay is gone, and the log has the rest
        traceback.print_exc()
    _leave(terms)


def _connect(terms: Mapping[str, Any]) -> None:
    """Join the cluster at an address, or start one. Raises ChatpipeError."""
    if terms["address"] is None:
        ray_api.start_cluster(terms["folder"])
    else:
        ray_api.join_cluster(terms["address"])


def _leave(terms: Mapping[str, Any]) -> NoReturn:
    """End this process, whatever Ray is doing in it, and a cluster that it has started."""
    if terms["address"] is None:
        end_descendants()
        shutil.rmtree(terms["folder"], ignore_errors=True)
    os._exit(0)


def main() -> None:
    """Run the relay. What Ray starts does not get the socket, nor a descriptor that keeps it open."""
    link = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    asyncio.run(_main(link))


if __name__ == "__main__":
    main()
