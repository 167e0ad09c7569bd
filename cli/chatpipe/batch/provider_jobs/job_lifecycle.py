"""The jobs of a run, before its results are made: those that are there are looked up, new ones are created.

    unconfirmed creates -> jobs that have ended; then parts of the input -> jobs -> results

Then the driver gets the items, and JobAnswerStore has their answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from chatpipe.batch.progress import ProgressOptions
from chatpipe.batch.provider_jobs.collected_results import CollectedResults, strange_text
from chatpipe.batch.provider_jobs.job_budget import LATER
from chatpipe.batch.provider_jobs.job_journal import JobJournal
from chatpipe.batch.provider_jobs.job_parts import JobParts
from chatpipe.batch.provider_jobs.wait_display import WaitCounts, WaitDisplay
from chatpipe.batch.tally import OpenCounts
from chatpipe.errors import BadInput, ChatpipeError, OutcomeFault, Status, quantity
from chatpipe.jobs.job_api import JobApi
from chatpipe.jobs.job_dialects import LOST, ProviderJob, lost_job
from chatpipe.jobs.job_watch import JobWatch
from chatpipe.jobs.part_record import PartRecord
from chatpipe.jobs.submission import PartNumber, Submission, SubmitTerms, lacks_room, smaller_fix
from chatpipe.options.run import EngineOptions

_NOT_FOUND = 404


class JobLifecycle:
    """Looks up, creates and awaits the jobs of a run. late is the reason why jobs have not ended."""

    def __init__(self, api: JobApi, records: JobJournal, options: EngineOptions) -> None:
        self._api = api
        self.dialect = api.dialect
        self._records = records
        self._creates_only = options.creates_only
        self._note = api.connection.context.note
        self._waits = options.waits
        giving_up = "give the job up with another --journal"
        terms = SubmitTerms(records.server, giving_up, settle_s=options.waits.settle_s)
        self._submission = Submission(api, records, terms, lambda record: None)
        self._parts: JobParts
        self._numbers: dict[str, int] = {}  # of the part of a job that this run has created
        self._ended: set[str] = set()  # tokens of the parts whose jobs have ended, as far as is known
        self._held: list[int] = []  # parts for which the provider had no room
        url = str(api.connection.server.completions_url())
        self.results = CollectedResults(records, url, is_engine=options.is_jobs)
        self.late: ChatpipeError | None = None

    def collect_ended(self) -> None:
        """Look for jobs that were not confirmed, and collect those that have ended.

        Raises the fault of a request.
        """
        for record in self._records.unconfirmed():
            if self._records.is_own(record) and self._submission.look_for(record) is None:
                self._records.note(record, "refused", why="it is not in the list")
        self._find_lost()
        ended = []
        for record in self._own_open():
            job = self._look(record)
            if job is not None and job.has_ended:
                self._ended.add(record.token)
                ended.append((record, job))
        for record, job in ended:
            self._collect(record, job)

    def _find_lost(self) -> None:
        """Look for jobs that an earlier run did not find: it may have had the key of another account."""
        for record in filter(self._records.is_own, self._records.lost_records()):
            job = self._look(record)
            if job is not None and job.status != LOST:
                self._note(f"{job.id}: the provider knows it again")
                self._records.note(record, "created", job_id=job.id)

    def submit(self, parts: JobParts, display_options: ProgressOptions) -> None:
        """Create the jobs of parts, and wait for all jobs.

        Raises the fault of a request. What was created before it is in the journal.
        """
        self._parts = parts
        for number in range(len(parts.parts)):
            self._create(number)
        if not self._creates_only:
            context = self._api.connection.context
            display = WaitDisplay(display_options, context.monotonic, self._api.sleep)
            with display.open():
                self._wait(None if display_options.kind == "none" else display)
        elif counts := self.open_counts():
            what = f"{quantity(counts.lines, 'line')} in {quantity(counts.jobs, 'job')} at the provider"
            self.late = OutcomeFault(what, Status.OUT_OF_TIME, fix=LATER)

    def finish(self) -> None:
        """Take note that all results are recorded."""
        if self.results.strange:
            self._api.connection.console.warning(strange_text(self.results.strange))
        for token in self.results.tokens:
            record, job = self._records.records[token], self.results.job(token)
            if job is not None and job.status == LOST:
                self._records.note(record, "lost")
            else:
                self._records.note(record, "collected")

    def interrupted_text(self) -> str:
        """The message after a signal: the jobs go on, or have ended and are collected later."""
        waiting = self._waiting()
        running = [each for each in waiting if each.token not in self._ended]
        if running:
            jobs, them = ("the job goes", "it") if len(running) == 1 else (f"{len(running)} jobs go", "them")
            return f"{jobs} on at the provider: {LATER}, or stop {them} with {self._cancel_command(running)}"
        if waiting:
            jobs = "the job has ended" if len(waiting) == 1 else f"{len(waiting)} jobs have ended"
            return f"{jobs}, and not all results are here: run the same command again"
        is_unsure = bool(self._records.unconfirmed())
        return f"a job may have been created at the provider: {LATER}, which finds it" if is_unsure else ""

    def ways_out(self, *, in_reach: bool) -> str:
        """The ways out of the wait for jobs that another engine does not end, empty if there are none.

        in_reach: the provider has answered this run.
        """
        waiting = self._waiting()
        if not waiting:
            return ""
        cancel = self._cancel_command(waiting) if in_reach else "another --journal"
        ids, them = " ".join(str(each.job_id) for each in waiting), "it" if len(waiting) == 1 else "them"
        return f"--engine batch-api waits for {ids}, {cancel} gives {them} up"

    def open_counts(self) -> OpenCounts | None:
        """The counts of the jobs that have not ended, None without any."""
        waiting = self._waiting()
        if not waiting:
            return None
        costs = [each.fields.get("expected_cost") for each in waiting]
        known = [float(cost) for cost in costs if isinstance(cost, int | float)]
        return OpenCounts(
            len(waiting),
            sum(each.size for each in waiting),
            round(sum(known), 6) if known else None,
        )

    def _cancel_command(self, waiting: Sequence[PartRecord]) -> str:
        return self._api.command("cancel", *(str(record.job_id) for record in waiting))

    def _look(self, record: PartRecord) -> ProviderJob | None:
        """The job of a part, None for one that was just created and is not visible yet."""
        try:
            return self._api.retrieve(str(record.job_id))
        except BadInput as fault:
            if fault.http_status != _NOT_FOUND:
                raise
        age_s = self._api.connection.context.now() - (record.first_creating_at or 0.0)
        return lost_job(str(record.job_id)) if age_s >= self._waits.settle_s else None

    def _own_open(self) -> list[PartRecord]:
        return [each for each in self._records.open_records() if self._records.is_own(each)]

    def _waiting(self) -> list[PartRecord]:
        """The records of the jobs that have not ended, as far as is known."""
        return [each for each in self._own_open() if each.token not in self.results.tokens]

    def _create(self, number: int) -> None:
        """Create the job of a part, or hold the part back while other jobs have all the room."""
        part = self._parts.parts[number]
        self._records.lines_of[part.digest] = part.planned_lines()
        part_number = PartNumber(number + 1, len(self._parts.parts))
        try:
            job, _ = self._submission.submit(part, self._parts.file, part_number)
        except ChatpipeError as fault:
            if not lacks_room(fault) or not self._waiting():
                fault.fix = ", or ".join(filter(None, (fault.fix, smaller_fix(fault, part.count))))
                raise
            self._note(f"{fault.what.removesuffix('.')}: submitted again when another job has ended")
            self._held.append(number)
            return
        self._numbers[job.id] = number
        part_text = f", {part_number}" if part_number.total > 1 else ""
        cost = part.cost
        cost_text = "" if cost is None else f", expected cost {cost:.4g} {self._parts.currency}"
        self._note(f"{job.id}: {quantity(part.count, 'line')} submitted{part_text}{cost_text}")

    def _wait(self, display: WaitDisplay | None) -> None:
        """Wait until all jobs have ended, and create those again for which there was no room."""

        def pause(seconds: float, seen: Mapping[str, ProviderJob]) -> None:
            assert display is not None
            display.pause(seconds, self._counts(seen))

        console, settle_s = self._api.connection.console, self._waits.settle_s
        watch = JobWatch(self._api, console, self._waits, settle_s, None if display is None else pause)
        while waiting := {str(record.job_id): record for record in self._waiting()}:
            try:
                for job in watch.ends(list(waiting)):
                    self._end(waiting.pop(job.id), job, others=len(waiting))
                    if self._held and job.id not in self._numbers_held():
                        break
            except OutcomeFault as fault:
                self.late = fault
                return
            for number in self._take_held():
                self._create(number)

    def _counts(self, seen: Mapping[str, ProviderJob]) -> WaitCounts:
        """The counts of all jobs of this run. seen are those that it waits for, by their ids."""
        records = self._own_open()
        jobs = [self.results.job(each.token) or seen.get(str(each.job_id)) for each in records]
        lines = [each.size for each in records]
        held = [self._parts.parts[number].count for number in self._held]
        costs = [each.fields.get("expected_cost") for each in records]
        known = [float(cost) for cost in costs if isinstance(cost, int | float)]
        known += [cost for number in self._held if (cost := self._parts.parts[number].cost) is not None]
        return WaitCounts(
            len(records),
            len(self.results.tokens),
            len(held),
            sum(lines) + sum(held),
            sum(job.completed_of(count) for job, count in zip(jobs, lines, strict=True) if job is not None),
            sum(job.counts.failed for job in jobs if job is not None),
            Counter(job.status for job in jobs if job is not None and not job.has_ended),
            sum(known) if known else None,
            self._parts.currency,
        )

    def _numbers_held(self) -> Sequence[str]:
        return [id_ for id_, number in self._numbers.items() if number in self._held]

    def _take_held(self) -> list[int]:
        held, self._held = self._held, []
        return held

    def _end(self, record: PartRecord, job: ProviderJob, others: int) -> None:
        number = self._numbers.get(job.id)
        if number is not None and others and job.lacks_room:
            self._note(f"{job.id}: no room for it at the provider: submitted again when another has ended")
            self._records.note(record, "collected")
            self._held.append(number)
        else:
            self._collect(record, job)

    def _collect(self, record: PartRecord, job: ProviderJob) -> None:
        self._ended.add(record.token)
        self.results.collect(self._api, record.token, job)
