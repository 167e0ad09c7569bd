"""The engines of runs: their names, in `--engine` and in records, and their options."""

from __future__ import annotations

from chatpipe.named_tuple import NamedTuple
from chatpipe.options.jobs import JobWaits

LOCAL_ENGINE = "local"
JOB_ENGINE = "batch-api"
CLUSTER_ENGINE = "ray"
ENGINES = (LOCAL_ENGINE, JOB_ENGINE, CLUSTER_ENGINE)


class EngineOptions(NamedTuple):
    """The engine that answers the requests of a run.

    waits are for jobs of the Batch API. job_lines is the largest number of lines of one, None for the
    provider's. With creates_only the run ends once they are created. address names a cluster, None if it is
    not given.
    """

    name: str = LOCAL_ENGINE
    waits: JobWaits = JobWaits()
    creates_only: bool = False
    job_lines: int | None = None
    address: str | None = None

    @property
    def is_jobs(self) -> bool:
        """True if jobs at the provider answer the requests."""
        return self.name == JOB_ENGINE

    @property
    def is_cluster(self) -> bool:
        """True if workers of a cluster send the requests."""
        return self.name == CLUSTER_ENGINE


def is_cluster_address(text: str) -> bool:
    """True for HOST:PORT, and for `auto`. Ray itself takes `local`, too, and would start a cluster."""
    host, _, port = text.rpartition(":")
    return text == "auto" or (bool(host) and "/" not in host and port.isascii() and port.isdecimal())
