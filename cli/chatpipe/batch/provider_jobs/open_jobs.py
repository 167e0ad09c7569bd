"""The jobs of a run whose results are not in its journal, and the messages about them."""

from __future__ import annotations

from collections.abc import Sequence

from chatpipe.batch.provider_jobs.collected_results import CollectedResults
from chatpipe.batch.provider_jobs.job_budget import LATER
from chatpipe.batch.provider_jobs.job_journal import JobJournal
from chatpipe.batch.provider_jobs.job_parts import JobParts
from chatpipe.batch.tally import OpenCounts
from chatpipe.errors import UsageFault
from chatpipe.jobs.foreign_jobs import ForeignJob, foreign_jobs
from chatpipe.jobs.job_api import JobApi
from chatpipe.jobs.part_record import PartRecord


class OpenJobs:
    """The jobs at the server of the run that are not recorded as collected, by the records of their parts."""

    def __init__(self, api: JobApi, records: JobJournal, results: CollectedResults) -> None:
        self._api = api
        self._records = records
        self._results = results
        self._ended: set[str] = set()  # tokens, as far as is known

    def records(self) -> list[PartRecord]:
        """Those of all open jobs, also of those that this run has collected."""
        return [each for each in self._records.open_records() if self._records.is_own(each)]

    def awaited(self) -> list[PartRecord]:
        """Those of the jobs that this run has not collected."""
        return [each for each in self.records() if each.token not in self._results.tokens]

    def note_end(self, record: PartRecord) -> None:
        """Take note that the job of a part has ended."""
        self._ended.add(record.token)

    def counts(self) -> OpenCounts | None:
        """The counts of the jobs that this run has not collected, None without any."""
        awaited = self.awaited()
        if not awaited:
            return None
        costs = [cost for each in awaited if (cost := each.expected_cost) is not None]
        lines = sum(each.size for each in awaited)
        return OpenCounts(len(awaited), lines, round(sum(costs), 6) if costs else None)

    def interrupted_text(self) -> str:
        """The message after a signal: the jobs are still open, or have ended and are collected later."""
        awaited = self.awaited()
        running = [each for each in awaited if each.token not in self._ended]
        if running:
            jobs, them = "the job continues", "it"
            if len(running) > 1:
                jobs, them = f"{len(running)} jobs continue", "them"
            return f"{jobs} at the provider: {LATER}, or stop {them} with {self._cancel_command(running)}"
        if awaited:
            jobs = "the job has ended" if len(awaited) == 1 else f"{len(awaited)} jobs have ended"
            return f"{jobs}, and not all results are here: run the same command again"
        is_unsure = bool(self._records.unconfirmed())
        return f"a job may have been created at the provider: {LATER}, which finds it" if is_unsure else ""

    def ways_out(self, *, in_reach: bool) -> str:
        """The ways out of the wait for jobs that another engine does not end, empty if there are none.

        in_reach: the provider has answered this run.
        """
        awaited = self.awaited()
        if not awaited:
            return "another --journal gives the job up" if self._records.unconfirmed() else ""
        cancel = self._cancel_command(awaited) if in_reach else "another --journal"
        ids, them = " ".join(str(each.job_id) for each in awaited), "it" if len(awaited) == 1 else "them"
        return f"--engine batch-api waits for {ids}, {cancel} gives {them} up"

    def refuse_foreign(self, parts: JobParts) -> None:
        """Raise UsageFault if most lines of parts lie in open jobs which the journal does not know.

        It was moved or deleted, or is another one, and the lines would be paid twice. Warns of other jobs
        with such lines: a run may well send again what another one has collected.
        """
        api, records = self._api, self._records
        found = foreign_jobs(api, records, parts.parts, records.server, parts.is_recorded)
        if refused := [each for each in found if each.has_most and not each.job.has_ended]:
            raise self._foreign_fault(refused, has_answers=not parts.are_new)
        api.connection.console.warnings(each.warning(api, records.path) for each in found)

    def _foreign_fault(self, found: Sequence[ForeignJob], *, has_answers: bool) -> UsageFault:
        """The fault of lines that lie in these jobs. has_answers: the journal has some of its own."""
        ids = [each.job.id for each in found]
        has, it = ("has", "it") if len(found) == 1 else ("have", "them")
        what = f"{' '.join(ids)} {has} lines of this run, and '{self._records.path}' does not know {it}"
        results, cancel = self._api.command("results", *ids, "-o", "FILE"), self._api.command("cancel", *ids)
        match = "" if all(each.is_of_run for each in found) else " --match id"
        take = f"get the answers by {results} and --reuse FILE{match}"
        # It would pay for those answers again, too.
        twice = "" if has_answers else ", or pay for these lines twice with --fresh"
        fix = f"name the journal that does with --journal, or {take}{twice}, or give {it} up by {cancel}"
        return UsageFault(what, place="--journal", fix=fix)

    def _cancel_command(self, records: Sequence[PartRecord]) -> str:
        return self._api.command("cancel", *(str(each.job_id) for each in records))
