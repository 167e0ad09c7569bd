"""A line that has no result -> the reason, with the numbers that lines have for the user. Pure."""

from __future__ import annotations

from chatpipe.jobs.job_dialects import ProviderJob
from chatpipe.jobs.job_reasons import JobReason
from chatpipe.jobs.part_record import PartRecord

_SHOWN = 10


class LineReasons:
    """The reasons why lines of a job have no result.

    part knows the lines of the input, None if nobody does. missing_file is the id of a result file that the
    provider does not have, None without one.
    """

    def __init__(self, job: ProviderJob, part: PartRecord | None = None) -> None:
        self._job = job
        self._part = part
        self.missing_file: str | None = None
        reasons = job.reasons
        self._texts = [self._text(each) for each in reasons]
        # The first reason of a line counts.
        self._of_lines = {
            each.line: text for each, text in zip(reversed(reasons), reversed(self._texts), strict=True)
        }

    def summary(self, most: int = _SHOWN) -> list[str]:
        """The reasons why the job failed as a whole, each as a phrase, and the number of those left out."""
        left_out = len(self._texts) - most
        return [*self._texts[:most], *([f"{left_out} more like these"] if left_out > 0 else [])]

    def of(self, position: int) -> str:
        """The reason of a line of the job's file, by its number from 1."""
        if (own := self._of_lines.get(position)) is not None:
            return f"{self._job.id} {self._job.status}: {own}"
        return self.of_all or f"{self._job.id}: it is in neither result file"

    @property
    def of_empty_result(self) -> str:
        """The reason of a line that has a result which says nothing."""
        return self.of_all or f"{self._job.id}: its result has neither an answer nor an error"

    @property
    def of_all(self) -> str:
        """The reason of a line about which the provider says nothing. Empty for a job that ended well."""
        job = self._job
        if self._texts:
            return f"{job.id} {job.status}: {self._texts[0]}"
        if self.missing_file is not None:
            return f"{job.id}: the provider has not kept its results {self.missing_file}"
        return "" if job.status == "completed" else f"{job.id} {job.status}"

    def _text(self, reason: JobReason) -> str:
        if reason.line is None:
            return reason.text
        line = reason.line if self._part is None else self._part.lines.number(reason.line)
        return f"line {line}: {reason.text}"
