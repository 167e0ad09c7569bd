"""The servers of a live run, with their keys, and with its recordings around them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from chatpipe.batch.job import Job
from chatpipe.options.server import KeyWaits
from chatpipe.server.server import Server, open_servers, unasked_servers

Servers = tuple[Server, ...]


@contextmanager
def open_run_servers(job: Job) -> Iterator[Servers]:
    """The servers for the length of a run. Their keys are read now.

    With recorded replies alone no key is looked for.
    Raises NoAccess, BadConfiguration, UsageFault, and what open_recordings() raises.
    """
    recordings = job.options.recordings
    sends = not (job.resume.no_send or recordings.is_offline)
    with ExitStack() as stack:
        if sends and job.options.engine.is_cluster:
            servers = stack.enter_context(_open_clustered(job))
        elif recordings.is_offline:
            servers = unasked_servers(job.endpoints, job.connection)
        else:
            waits = KeyWaits(job.console.note_once)
            servers = open_servers(job.endpoints, job.connection, job.environ, waits, sends=sends)
        if recordings.are_used and not job.resume.no_send:
            from chatpipe.recordings.open_recordings import open_recordings  # few runs are recorded

            deadline_s = job.connection.limits.deadline_s
            opened = open_recordings(recordings, servers, job.console.note, deadline_s)
            servers = stack.enter_context(opened)
        yield servers


@contextmanager
def _open_clustered(job: Job) -> Iterator[Servers]:
    """The servers of a run whose workers are on a cluster. On one that is there they find the keys."""
    from chatpipe.cluster import open_cluster as cluster  # few runs have one

    cluster.refuse_missing_ray()
    address = job.options.engine.address or cluster.address_in(job.environ)
    if address is None:
        waits = KeyWaits(job.console.note_once)
        servers = open_servers(job.endpoints, job.connection, job.environ, waits)
    else:
        servers = tuple(Server(each, each.headers, None, job.connection) for each in job.endpoints)
    jobs = job.limits.jobs.limit
    with cluster.open_cluster(address, servers, jobs, job.environ, job.console) as clustered:
        yield clustered
