"""A result file of a job that was collected: its results, and those that the run has used."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chatpipe.batch.provider_jobs.result_answer import plain_answers
from chatpipe.batch.result import PlainAnswers
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

    def find_plain(self, fingerprints: Sequence[str]) -> PlainAnswers | None:
        """The answers to several requests, which are used now. None if the file has others, or not all."""
        numbers = self.file.find_all(fingerprints)
        if numbers is None:
            return None
        answers = plain_answers(self.file.lines(numbers), fingerprints, self.latency_s, self.at)
        if answers is not None:
            for number in numbers:
                self.used[number] = 1
        return answers
