"""Ray, as the relay uses it: a cluster that is joined or started, its nodes, and a worker on one of them.

No other module imports it. Its errors leave here as ChatpipeError or WorkerLost.
"""

from __future__ import annotations

import socket
import sys
from contextlib import suppress
from typing import Any

import ray
from ray import cloudpickle
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from chatpipe.cluster import worker_actor
from chatpipe.cluster.node_workers import WorkerLost
from chatpipe.errors import BadConfiguration, ChatpipeError, Unreachable

# One of the object store, which Ray wants to be at least as large. It holds blocks on their way.
_STORE_BYTES = 100 << 20
_CONNECT_S = 5.0
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"  # RFC 9113, section 3.4
_OTHER = b"HTTP/"
_QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}


class ConnectedCluster:
    """The cluster that this process is connected to. Its workers get these terms."""

    def __init__(self, terms: bytes | str, version: str) -> None:
        self._terms = terms
        self._version = version
        cloudpickle.register_pickle_by_value(worker_actor)

    def nodes(self) -> list[str]:
        """The nodes with a CPU that are alive. Waits for the head of the cluster."""
        return [
            each["NodeID"] for each in ray.nodes() if each["Alive"] and each["Resources"].get("CPU", 0) > 0
        ]

    def start_worker(self, node: str) -> RayWorker:
        """Start a worker on a node.

        It reserves no CPU: it waits for the network nearly all of its time, and may share a node with tasks
        and servers that hold all CPUs.
        """
        place = NodeAffinitySchedulingStrategy(node, soft=False)
        actor = ray.remote(worker_actor.WorkerActor).options(
            num_cpus=0, max_concurrency=1000, scheduling_strategy=place
        )
        return RayWorker(actor.remote(self._terms, self._version))


class RayWorker:
    """A worker on a node. See ClusterWorker."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    async def open(self) -> bytes:
        return await self._result(self._actor.open.remote())

    def take(self, block: bytes) -> None:
        self._actor.take.remote(block)

    async def replies(self) -> bytes:
        return await self._result(self._actor.replies.remote())

    def end(self) -> None:
        with suppress(Exception):
            ray.kill(self._actor)

    async def _result(self, ref: Any) -> bytes:
        try:
            result: bytes = await ref
        except RayError as error:
            raise WorkerLost(_clause(error)) from error
        return result


def start_cluster(folder: str) -> None:
    """Start a cluster on this machine, with its files in folder. Raises Unreachable."""
    try:
        ray.init(
            address="local",
            num_cpus=1,
            include_dashboard=False,
            object_store_memory=_STORE_BYTES,
            _temp_dir=folder,
            **_QUIET,
        )
    except Exception as error:
        raise Unreachable(f"Ray does not start here: {_clause(error)}", place="--engine") from error


def join_cluster(address: str) -> None:
    """Join the cluster at an address. Raises Unreachable and BadConfiguration."""
    _knock(address)
    try:
        ray.init(address=address, **_QUIET)
    except Exception as error:
        raise _fault_of(error, address) from error


def leave_cluster() -> None:
    """Disconnect this process. Waits for the head of the cluster."""
    ray.shutdown()


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


def _fault_of(error: Exception, address: str) -> ChatpipeError:
    """The fault for an error of Ray while it joins a cluster."""
    text = str(error)
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


def _clause(error: BaseException) -> str:
    """The first line of the words of Ray, without a full stop."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].strip().removesuffix(".")[:300]
