"""The process between a run and Ray, and the only module that imports it: `python -m chatpipe.cluster.relay`.

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
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from chatpipe.cluster.frames import FrameKind, read_frame, write_frame
from chatpipe.cluster.hangup import call_at_hangup
from chatpipe.cluster.own_processes import end_descendants, own_children
from chatpipe.cluster.plain_faults import write_fault
from chatpipe.errors import BadConfiguration, ChatpipeError, Unreachable

# One of the object store, which Ray wants to be at least as large. It holds blocks on their way.
_STORE_BYTES = 100 << 20
_CONNECT_S = 5.0
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"  # RFC 9113, section 3.4
_OTHER = b"HTTP/"
_LOOK_S = 1.0
# Without these daemons a cluster is dead. Ray itself takes a minute to find out.
_DAEMONS = frozenset({"gcs_server", "raylet"})
# A worker that has said nothing for so long, although it does every second, is taken for lost.
_SILENCE_S = 30.0
# A head that does not answer for so long is reported.
_HEAD_SILENCE_S = 10.0
# A node whose workers end at once gets no more than this number of them.
_MOST_STARTS = 5


class _WorkerActor:
    """The actor around a worker. Its code travels with the run, so that it can say what a machine lacks.

    terms are the bytes of the terms, or the path of the socket that has them.
    """

    def __init__(self, terms: bytes | str, version: str) -> None:
        self._terms = terms
        self._version = version
        self._worker: Any = None

    async def open(self) -> bytes:
        """Get ready. Returns the bytes of a fault, none if the worker can work."""
        import json
        import platform

        node = platform.node()
        try:
            import chatpipe
            from chatpipe.cluster.open_worker import open_worker
        except ImportError as error:
            fix = f"install chatpipe {self._version} there"
            return json.dumps((78, f"no chatpipe on the node '{node}' ({error})", "", fix)).encode()
        if chatpipe.__version__ != self._version:
            what = f"the node '{node}' has chatpipe {chatpipe.__version__}, and this is {self._version}"
            return json.dumps((78, what, "", "install the same version there")).encode()
        self._worker, fault = await open_worker(self._terms, node)
        return fault

    async def take(self, block: bytes) -> None:
        await self._worker.take(block)

    async def replies(self) -> bytes:
        block: bytes = await self._worker.replies()
        return block


class Relay:
    """The relay of one run."""

    def __init__(self, terms: Mapping[str, Any], public: bytes, writer: asyncio.StreamWriter) -> None:
        self._terms: bytes | str = terms["socket"] or public
        self._version: str = terms["version"]
        self._writer = writer
        self._actors: dict[int, Any] = {}
        self._nodes: dict[str, asyncio.Task[None]] = {}
        self._starts: dict[str, int] = {}
        self._next = 1

    async def run(self, reader: asyncio.StreamReader) -> None:
        """Work until the run is gone."""
        looking = asyncio.create_task(self._look_for_nodes())
        watching = asyncio.create_task(self._watch_daemons())
        while (message := await read_frame(reader)) is not None:
            if message.kind is FrameKind.REQUESTS and (actor := self._actors.get(message.worker)) is not None:
                actor.take.remote(message.data)
            for task in (looking, watching):
                if task.done():
                    task.result()

    def _report(self, kind: FrameKind, data: bytes = b"", worker: int = 0) -> None:
        self._writer.write(write_frame(kind, data, worker))

    async def _watch_daemons(self) -> None:
        """Tell the run when a daemon of a cluster of its own has ended."""
        daemons = {pid for pid, each in own_children().items() if each.name in _DAEMONS}
        while True:
            await asyncio.sleep(_LOOK_S)
            children = own_children()
            for pid in daemons:
                if pid not in children or children[pid].has_ended:
                    fault = Unreachable("Ray has ended on this machine", fix="run the same command again")
                    self._report(FrameKind.FAULT, write_fault(fault))
                    return

    async def _look_for_nodes(self) -> None:
        """Keep one worker on each node that has a CPU."""
        is_first = True
        while True:
            nodes = [each for each in await self._list_nodes() if _can_work(each)]
            if is_first:
                if not nodes:
                    fix = "add a node with one"
                    self._report(FrameKind.FAULT, write_fault(BadConfiguration("no node has a CPU", fix=fix)))
                    return
                self._report(FrameKind.NODES, json.dumps(len(nodes)).encode())
                is_first = False
            for node in nodes:
                name = node["NodeID"]
                task = self._nodes.get(name)
                if (task is None or task.done()) and self._starts.get(name, 0) < _MOST_STARTS:
                    self._starts[name] = self._starts.get(name, 0) + 1
                    self._nodes[name] = asyncio.create_task(self._serve_node(name))
            await asyncio.sleep(_LOOK_S)

    async def _list_nodes(self) -> list[dict[str, Any]]:
        """The nodes, as the head of the cluster knows them. A head that does not answer is reported.

        Workers go on without it, and it may come back: Ray itself ends this process after a minute.
        """
        listing = asyncio.ensure_future(asyncio.to_thread(ray.nodes))
        done, _ = await asyncio.wait([listing], timeout=_HEAD_SILENCE_S)
        if not done:
            what = "the head of the Ray cluster does not answer: the workers go on without it for a minute"
            self._report(FrameKind.WARNING, what.encode())
            await listing
            self._report(FrameKind.WARNING, b"the head of the Ray cluster answers again")
        nodes: list[dict[str, Any]] = await listing
        return nodes

    async def _serve_node(self, node: str) -> None:
        """Start a worker on a node, and pass on its replies until it is lost.

        It reserves no CPU: it waits for the network nearly all of its time, and may share a node with tasks
        and servers that hold all CPUs.
        """
        number, self._next = self._next, self._next + 1
        place = NodeAffinitySchedulingStrategy(node, soft=False)
        actor = (
            ray.remote(_WorkerActor)
            .options(num_cpus=0, max_concurrency=1000, scheduling_strategy=place)
            .remote(self._terms, self._version)
        )
        try:
            fault = await actor.open.remote()
            if fault:
                self._report(FrameKind.UNUSABLE, fault, number)
                return
            self._actors[number] = actor
            self._report(FrameKind.JOINED, b"", number)
            while True:
                block = await _within(_SILENCE_S, actor.replies.remote())
                self._starts[node] = 0
                if block:
                    self._report(FrameKind.REPLIES, block, number)
        except (RayError, TimeoutError) as error:
            if self._actors.pop(number, None) is not None:
                self._report(FrameKind.LOST, _clause(error).encode(), number)
            with suppress(Exception):
                ray.kill(actor)


async def _within(seconds: float, ref: Any) -> bytes:
    """The result of a call. The limit is looked at twice: a machine that slept has much to catch up with."""
    future = asyncio.ensure_future(ref)
    for limit_s in (seconds, 2.0):
        done, _ = await asyncio.wait([future], timeout=limit_s)
        if done:
            result: bytes = future.result()
            return result
    raise TimeoutError(f"no sign of life for {seconds:.0f} s")


def _can_work(node: Mapping[str, Any]) -> bool:
    return bool(node["Alive"]) and node["Resources"].get("CPU", 0) > 0


def _clause(error: BaseException) -> str:
    """The first line of the words of Ray, without a full stop."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].strip().removesuffix(".")[:300]


def _connect(terms: Mapping[str, Any]) -> None:
    """Join the cluster at an address, or start one. Raises ChatpipeError."""
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
    address = terms["address"]
    try:
        if address is None:
            ray.init(
                address="local",
                num_cpus=1,
                include_dashboard=False,
                object_store_memory=_STORE_BYTES,
                _temp_dir=terms["folder"],
                **quiet,
            )
            return
        _knock(address)
        ray.init(address=address, **quiet)
    except ChatpipeError:
        raise
    except Exception as error:
        raise _fault_of(error, address) from error


def _knock(address: str) -> None:
    """Raise Unreachable if nothing listens at an address, or a server of HTTP/1: Ray would try for a minute.

    Ray speaks HTTP/2, also under TLS.
    """
    host, _, port = address.rpartition(":")
    if not port.isdecimal():
        return  # `auto`
    what = "it is another server"
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S) as link:
            link.sendall(_HELLO)
            if not link.recv(len(_OTHER)).startswith(_OTHER):
                return
    except TimeoutError:
        return  # nothing is certain
    except OSError as error:
        what = error.strerror or str(error)
    fix = "look at the cluster with ray status"
    raise Unreachable(f"no Ray at '{address}': {what}", place="--engine", fix=fix)


def _fault_of(error: Exception, address: str | None) -> ChatpipeError:
    text = str(error)
    if address is None:
        return Unreachable(f"Ray does not start here: {_clause(error)}", place="--engine")
    if "ersion mismatch" in text:
        there, here = _versions(text, "cluster"), f"Ray {ray.__version__}, Python {sys.version.split()[0]}"
        what = f"the cluster at '{address}' has {there}, and here is {here}"
        return BadConfiguration(what, place="--engine", fix="use the same versions")
    what = f"cannot join the cluster at '{address}': {_clause(error)}"
    return Unreachable(what, place="--engine", fix="run ray status on this machine")


def _versions(text: str, default: str) -> str:
    """The versions of the cluster in the words of Ray: the first `Ray:` and `Python:`."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.strip().partition(":")
        if colon and name in ("Ray", "Python"):
            found.setdefault(name, value.strip())
    return ", ".join(f"{name} {value}" for name, value in found.items()) or f"another {default}"


async def _main(link: socket.socket) -> None:
    reader, writer = await asyncio.open_connection(sock=link)
    message = await read_frame(reader)
    if message is None:
        return
    head, _, public = message.data.partition(b"\n")
    terms = json.loads(head)
    try:
        with call_at_hangup(link.fileno(), partial(_leave, terms)):
            _connect(terms)
        await Relay(terms, public, writer).run(reader)
        if terms["address"] is not None or not os.path.isdir("/proc"):
            ray.shutdown()
    except ChatpipeError as fault:
        writer.write(write_frame(FrameKind.FAULT, write_fault(fault)))
        with suppress(ConnectionError):
            await writer.drain()
    finally:
        _end_own_cluster(terms)


def _end_own_cluster(terms: Mapping[str, Any]) -> None:
    """End a cluster that this process has started, also after a run that was killed."""
    if terms["address"] is None:
        end_descendants()
        shutil.rmtree(terms["folder"], ignore_errors=True)


def _leave(terms: Mapping[str, Any]) -> None:
    """End this process, whatever Ray is doing in it."""
    _end_own_cluster(terms)
    os._exit(0)


def main() -> None:
    """Run the relay. What Ray starts does not get the socket, nor a descriptor that keeps it open."""
    link = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    asyncio.run(_main(link))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # Ray has nothing more to do


if __name__ == "__main__":
    main()
