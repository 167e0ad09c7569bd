"""The wait for the jobs of a run: each is collected when it has ended, and makes room for parts held back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from chatpipe.batch.progress import ProgressOptions
from chatpipe.batch.provider_jobs.collected_results import CollectedResults
from chatpipe.batch.provider_jobs.open_jobs import OpenJobs
from chatpipe.batch.provider_jobs.part_queue import PartQueue
from chatpipe.batch.provider_jobs.wait_display import WaitCounts, WaitDisplay
from chatpipe.errors import BrokenAnswer, ChatpipeError, OutcomeFault
from chatpipe.jobs.job_api import JobApi
from chatpipe.jobs.job_dialects import ProviderJob
from chatpipe.jobs.job_watch import JobWatch, Pause
from chatpipe.jobs.part_record import PartRecord
from chatpipe.options.jobs import JobWaits


class JobWait:
    """The wait for all open jobs. results gets those that end."""

    def __init__(self, api: JobApi, waits: JobWaits, open_jobs: OpenJobs, results: CollectedResults) -> None:
        self._api = api
        self._waits = waits
        self._open_jobs = open_jobs
        self._results = results
        self._doubts: dict[str, BrokenAnswer] = {}  # by the tokens of jobs whose results were not whole

    def run(self, queue: PartQueue, display_options: ProgressOptions) -> ChatpipeError | None:
        """Wait until all jobs have ended, those of parts that were held back included.

        Returns the fault of a wait that is over before, or of a job whose results stay in doubt, else None.
        Raises the fault of a request.
        """
        display = WaitDisplay(display_options, self._api.connection.context.monotonic, self._api.sleep)
        pause = None if display_options.kind == "none" else self._shown_pause(queue, display)
        watch = JobWatch(self._api, self._api.connection.console, self._waits, self._waits.settle_s, pause)
        with display.open():
            while awaited := self._awaited():
                try:
                    self._collect_ends(awaited, watch, queue)
                except OutcomeFault as fault:
                    return fault
                queue.submit_held()
        return next(iter(self._doubts.values()), None)

    def _awaited(self) -> dict[str, PartRecord]:
        """The records of the jobs to wait for, by the ids of these."""
        records = self._open_jobs.awaited()
        return {str(each.job_id): each for each in records if each.token not in self._doubts}

    def _collect_ends(self, awaited: dict[str, PartRecord], watch: JobWatch, queue: PartQueue) -> None:
        """Collect jobs as they end, until all have ended or one has made room for a part."""
        have_others_ended = False
        for job in watch.ends(list(awaited)):
            record = awaited.pop(job.id)
            # A job that was alone would not find more room.
            if not ((awaited or have_others_ended) and queue.takes_back(record, job)):
                self._open_jobs.note_end(record)
                try:
                    self._results.collect(self._api, record.token, job)
                except BrokenAnswer as fault:
                    self._doubts[record.token] = fault
                have_others_ended = True
            if queue.makes_room(job):
                return

    def _shown_pause(self, queue: PartQueue, display: WaitDisplay) -> Pause:
        """A pause between two looks at the jobs, with the display."""

        def pause(seconds: float, seen: Mapping[str, ProviderJob]) -> None:
            display.pause(seconds, self._counts(queue, seen))

        return pause

    def _counts(self, queue: PartQueue, seen: Mapping[str, ProviderJob]) -> WaitCounts:
        """The counts of all jobs of this run. seen are those that it waits for, by their ids."""
        records, held = self._open_jobs.records(), queue.held
        lines = [each.size for each in records]
        jobs = [self._results.job(each.token) or seen.get(str(each.job_id)) for each in records]
        costs = [*(each.expected_cost for each in records), *(part.cost for part in held)]
        known = [cost for cost in costs if cost is not None]
        return WaitCounts(
            len(records),
            len(self._results.tokens),
            len(held),
            sum(lines) + sum(part.count for part in held),
            sum(job.completed_of(count) for job, count in zip(jobs, lines, strict=True) if job is not None),
            sum(job.counts.failed for job in jobs if job is not None),
            Counter(job.status for job in jobs if job is not None and not job.has_ended),
            sum(known) if known else None,
            queue.currency,
        )
