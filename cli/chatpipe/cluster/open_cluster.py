"""The servers of a run whose requests are sent by workers on a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec

import httpx

from chatpipe.cluster.cluster_transport import ClusterTransport
from chatpipe.cluster.relay_process import RelayProcess
from chatpipe.cluster.stand_in_keys import with_stand_in_key
from chatpipe.cluster.terms import private_terms, public_terms
from chatpipe.cluster.workers import ClusterWords, Workers
from chatpipe.errors import BadConfiguration
from chatpipe.options.engines import is_cluster_address
from chatpipe.server.server import Server
from chatpipe.server.variables import variable
from chatpipe.system.console import Console
from chatpipe.system.extras import installation


def refuse_missing_ray() -> None:
    """Raise BadConfiguration if Ray is not installed. It is not imported: that takes half a second."""
    if find_spec("ray") is None:
        raise BadConfiguration("Ray is not installed", place="--engine", fix=installation("ray"))


def address_in(environ: Mapping[str, str]) -> str | None:
    """The address in RAY_ADDRESS, None for a cluster of the run's own. Raises BadConfiguration."""
    address = variable(environ, "RAY_ADDRESS")
    if not address or address == "local":
        return None
    if not is_cluster_address(address):
        fix = "write HOST:PORT, or unset it"
        raise BadConfiguration(f"'{address}' is not the address of a cluster", place="RAY_ADDRESS", fix=fix)
    return address


@contextmanager
def open_cluster(
    address: str | None, servers: Sequence[Server], jobs: int, environ: Mapping[str, str], console: Console
) -> Iterator[tuple[Server, ...]]:
    """The servers with the workers of the cluster at an address around them, None for a cluster of their own.

    Nothing is started before the first request. Raises BadConfiguration for a secret that no worker can get.
    """
    verbose = bool(console.options.verbose)
    make_terms = private_terms if address is None else public_terms
    terms = make_terms(servers, jobs, verbose=verbose)
    relay = RelayProcess(address, terms, environ, console.note if console.options.debug else None)
    note = console.note if console.on_terminal else _ignore
    workers = Workers(relay.start, _words(address), note, console.warning)

    if address is not None:
        servers = [with_stand_in_key(each, environ) for each in servers]

    def open_around(index: int, open_below: Callable[[], httpx.AsyncBaseTransport]) -> ClusterTransport:
        return ClusterTransport(workers, servers[index], index, relay.renew, console.warn_once)

    try:
        yield tuple(
            server._replace(around=partial(open_around, index), ready=workers.ready)
            for index, server in enumerate(servers)
        )
    finally:
        relay.close()


def _words(address: str | None) -> ClusterWords:
    again = "run the same command again"
    if address is None:
        return ClusterWords("Ray to start on this machine", "Ray has ended on this machine", again)
    return ClusterWords(
        f"the Ray cluster at '{address}'",
        "the connection to the Ray cluster is lost",
        f"look at it with ray status, and {again}",
    )


def _ignore(text: str) -> None:
    """Print nothing: only a person at a terminal wonders why nothing happens."""
