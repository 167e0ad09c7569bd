"""The servers of a live run, with their keys, inside its recordings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from chatpipe.batch.run_spec import RunSpec
from chatpipe.options.server import KeyWaits
from chatpipe.server.server import Server, open_servers, unasked_servers

Servers = tuple[Server, ...]


@contextmanager
def open_run_servers(spec: RunSpec) -> Iterator[Servers]:
    """The servers for the length of a run. Their keys are read now.

    With recorded replies alone no key is looked for.
    Raises NoAccess, BadConfiguration, UsageFault, and what open_recordings() raises.
    """
    recordings = spec.options.recordings
    sends = not (spec.resume.no_send or recordings.is_offline)
    with ExitStack() as stack:
        if sends and spec.options.engine.is_cluster:
            servers = stack.enter_context(_open_clustered(spec))
        elif recordings.is_offline:
            servers = unasked_servers(spec.endpoints, spec.server_options)
        else:
            waits = KeyWaits(spec.console.note_once)
            servers = open_servers(spec.endpoints, spec.server_options, spec.environ, waits, sends=sends)
        if recordings.are_used and not spec.resume.no_send:
            from chatpipe.recordings.open_recordings import open_recordings  # few runs are recorded

            deadline_s = spec.server_options.limits.deadline_s
            opened = open_recordings(recordings, servers, spec.console.note, deadline_s)
            servers = stack.enter_context(opened)
        yield servers


@contextmanager
def _open_clustered(spec: RunSpec) -> Iterator[Servers]:
    """The servers of a run whose workers are on a cluster. On one that is there they find the keys."""
    from chatpipe.cluster import open_cluster as cluster  # few runs have one

    cluster.refuse_missing_ray()
    address = spec.options.engine.address or cluster.address_in(spec.environ)
    if address is None:
        waits = KeyWaits(spec.console.note_once)
        servers = open_servers(spec.endpoints, spec.server_options, spec.environ, waits)
    else:
        servers = tuple(Server(each, each.headers, None, spec.server_options) for each in spec.endpoints)
    jobs = spec.limits.jobs.limit
    with cluster.open_cluster(address, servers, jobs, spec.environ, spec.console) as clustered:
        yield clustered
