"""The servers of a live run, with their keys, and with its recordings around them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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
    if recordings.is_offline:
        servers = unasked_servers(job.endpoints, job.connection)
    else:
        waits, sends = KeyWaits(job.console.note_once), not job.resume.no_send
        servers = open_servers(job.endpoints, job.connection, job.environ, waits, sends=sends)
    if not recordings.are_used or job.resume.no_send:
        yield servers
        return
    from chatpipe.recordings.open_recordings import open_recordings  # few runs are recorded

    deadline_s = job.connection.limits.deadline_s
    with open_recordings(recordings, servers, job.console.note, deadline_s) as recorded:
        yield recorded
