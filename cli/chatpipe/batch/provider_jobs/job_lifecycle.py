"""The jobs of a run, before its results are made: those that are there are looked up, new ones are created.

    unconfirmed creates -> jobs that have ended      collect_ended()
    parts of the input -> jobs -> results            submit()
    results in the journal                           finish()

Then the driver gets the items, and JobAnswerStore has their answers.
"""

from __future__ import annotations

from chatpipe.batch.progress import ProgressOptions
from chatpipe.batch.provider_jobs.collected_results import CollectedResults
from chatpipe.batch.provider_jobs.job_budget import LATER
from chatpipe.batch.provider_jobs.job_journal import JobJournal
from chatpipe.batch.provider_jobs.job_parts import JobParts
from chatpipe.batch.provider_jobs.job_wait import JobWait
from chatpipe.batch.provider_jobs.open_jobs import OpenJobs
from chatpipe.batch.provider_jobs.part_queue import PartQueue
from chatpipe.errors import BadInput, BrokenAnswer, ChatpipeError, OutcomeFault, Status, quantity
from chatpipe.jobs.job_api import JobApi
from chatpipe.jobs.job_dialects import LOST, ProviderJob, lost_job
from chatpipe.jobs.part_record import OF_RUN, PartRecord
from chatpipe.jobs.submission import Submission, SubmitTerms
from chatpipe.options.engines import EngineOptions

_NOT_FOUND = 404


class JobLifecycle:
    """Looks up, creates and awaits the jobs of a run.

    late is the reason why jobs have not ended. doubt is the fault of the first job whose results were not
    whole when collect_ended() came to them.
    """

    def __init__(self, api: JobApi, records: JobJournal, options: EngineOptions) -> None:
        self._api = api
        self.dialect = api.dialect
        self._records = records
        self._creates_only = options.creates_only
        self._note = api.connection.context.note
        self._waits = options.waits
        giving_up = "give the job up with another --journal"
        terms = SubmitTerms(records.server, giving_up, settle_s=options.waits.settle_s, tokens=OF_RUN)
        self._submission = Submission(api, records, terms, lambda record: None)
        url = str(api.connection.server.completions_url())
        self.results = CollectedResults(records, url)
        self.open_jobs = OpenJobs(api, records, self.results)
        self.late: ChatpipeError | None = None
        self.doubt: BrokenAnswer | None = None

    def collect_ended(self) -> None:
        """Look for jobs that were not confirmed, and collect those that have ended.

        Raises the fault of a request.
        """
        for record in self._records.unconfirmed():
            if self._records.is_own(record) and self._submission.look_for(record) is None:
                self._records.note(record, "refused", why="it is not in the list")
        self._find_lost()
        ended = []
        for record in self.open_jobs.records():
            job = self._look(record)
            if job is not None and job.has_ended:
                self.open_jobs.note_end(record)
                ended.append((record, job))
        for record, job in ended:
            try:
                self.results.collect(self._api, record.token, job)
            except BrokenAnswer as fault:  # it holds up no other job
                self.doubt = self.doubt or fault

    def submit(self, parts: JobParts, display_options: ProgressOptions) -> None:
        """Create the jobs of parts, and wait for all jobs.

        Raises the fault of a request. What was created before it is in the journal.
        """
        queue = PartQueue(parts, self._submission, self._records, self.open_jobs, self._note)
        queue.submit_all()
        if not self._creates_only:
            self.late = JobWait(self._api, self._waits, self.open_jobs, self.results).run(
                queue, display_options
            )
        elif counts := self.open_jobs.counts():
            what = f"{quantity(counts.lines, 'line')} in {quantity(counts.jobs, 'job')} at the provider"
            self.late = self.doubt or OutcomeFault(what, Status.OUT_OF_TIME, fix=LATER)

    def finish(self) -> None:
        """Take note that all results are recorded."""
        if text := self.results.strange_text():
            self._api.connection.console.warning(text)
        for token in self.results.tokens:
            record, job = self._records.records[token], self.results.job(token)
            is_lost = job is not None and job.status == LOST
            self._records.note(record, "lost" if is_lost else "collected")

    def _find_lost(self) -> None:
        """Look for jobs that an earlier run did not find: it may have had the key of another account."""
        for record in filter(self._records.is_own, self._records.lost_records()):
            job = self._look(record)
            if job is not None and job.status != LOST:
                self._note(f"{job.id}: the provider knows it again")
                self._records.note(record, "created", job_id=job.id)

    def _look(self, record: PartRecord) -> ProviderJob | None:
        """The job of a part, None for one that was just created and is not visible yet."""
        try:
            return self._api.retrieve(str(record.job_id))
        except BadInput as fault:
            if fault.http_status != _NOT_FOUND:
                raise
        age_s = self._api.connection.context.now() - (record.first_creating_at or 0.0)
        return lost_job(str(record.job_id)) if age_s >= self._waits.settle_s else None
