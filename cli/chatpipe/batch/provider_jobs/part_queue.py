"""The parts of a run -> their jobs. A part that the provider has no room for waits until a job ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from chatpipe.batch.provider_jobs.job_journal import JobJournal
from chatpipe.batch.provider_jobs.job_parts import JobParts
from chatpipe.batch.provider_jobs.open_jobs import OpenJobs
from chatpipe.batch.provider_jobs.part_file import RunPart
from chatpipe.errors import ChatpipeError, quantity
from chatpipe.jobs.job_dialects import ProviderJob
from chatpipe.jobs.part_record import PartRecord
from chatpipe.jobs.submission import PartNumber, Submission, lacks_room, suggest_smaller


class PartQueue:
    """The parts, by their numbers. note gets a line for each that is submitted or held back."""

    def __init__(
        self,
        parts: JobParts,
        submission: Submission,
        records: JobJournal,
        open_jobs: OpenJobs,
        note: Callable[[str], None],
    ) -> None:
        self.currency = parts.currency
        self._parts = parts
        self._submission = submission
        self._records = records
        self._open_jobs = open_jobs
        self._note = note
        self._numbers: dict[str, int] = {}  # by the id of the job that this run has created of a part
        self._held: list[int] = []

    def submit_all(self) -> None:
        """Create the jobs of all parts. Raises the fault of a request."""
        self._submit(range(len(self._parts.parts)))

    def submit_held(self) -> None:
        """Create the jobs of the parts that were held back. Raises the fault of a request."""
        held, self._held = self._held, []
        self._submit(held)

    @property
    def held(self) -> list[RunPart]:
        """The parts that are held back."""
        return [self._parts.parts[number] for number in self._held]

    def makes_room(self, job: ProviderJob) -> bool:
        """Return True if a part can be submitted again because this job has ended."""
        return bool(self._held) and self._numbers.get(job.id) not in self._held

    def takes_back(self, record: PartRecord, job: ProviderJob) -> bool:
        """Hold the part of a job back again if the job has failed because others had all the room."""
        number = self._numbers.get(job.id)
        if number is None or not job.lacks_room:
            return False
        self._note(f"{job.id}: no room for it at the provider: submitted again when another has ended")
        self._records.note(record, "collected")
        self._held.append(number)
        return True

    def _submit(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            part = self._parts.parts[number]
            self._records.lines_of[part.digest] = part.planned_lines()
            part_number = PartNumber(number + 1, len(self._parts.parts))
            try:
                job, _ = self._submission.submit(part, self._parts.lines.file, part_number)
            except ChatpipeError as fault:
                if not lacks_room(fault) or not self._open_jobs.awaited():
                    suggest_smaller(fault, part.count)
                    fault.place = fault.place or part_number.place_of(part)
                    raise
                self._note(f"{fault.clause}: submitted again when another job has ended")
                self._held.append(number)
                continue
            self._numbers[job.id] = number
            self._note(f"{job.id}: {self._submitted_text(part, part_number)}")

    def _submitted_text(self, part: RunPart, number: PartNumber) -> str:
        """`100 lines submitted, part 1 of 3, expected cost 0.5 USD`."""
        part_text = f", {number}" if number.total > 1 else ""
        cost_text = "" if part.cost is None else f", expected cost {part.cost:.4g} {self.currency}"
        return f"{quantity(part.count, 'line')} submitted{part_text}{cost_text}"
