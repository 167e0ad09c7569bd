"""A result file of a job that was collected: its results, and those that the run has used."""

from __future__ import annotations

from collections.abc import Callable

from chatpipe.jobs.result_file import ResultFile
from chatpipe.response.result_line import timestamp


class CollectedFile:
    """A result file of the job with this token. latency_s is the time that the job took.

    at is the time of its answers. is_final returns True if the provider has no more of the file than this.
    used has 1 for each result that the run has used.
    """

    __slots__ = ("at", "file", "is_final", "latency_s", "token", "used")

    def __init__(
        self, file: ResultFile, token: str, latency_s: float, now: float, is_final: Callable[[], bool]
    ) -> None:
        """The file was collected now, in seconds since 1970."""
        self.file = file
        self.token = token
        self.latency_s = latency_s
        self.at = timestamp(now)
        self.is_final = is_final
        self.used = bytearray(len(file))
