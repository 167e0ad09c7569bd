"""The job of a create that was not confirmed: it is looked for before the create is made again.

The list of jobs has it by its file, or by our token. A list may lag behind, and that of another account
says nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from chatpipe.errors import BadConfiguration, ChatpipeError, SomeFailed, Status
from chatpipe.jobs.foreign_jobs import token_of
from chatpipe.jobs.job_api import JobApi
from chatpipe.jobs.job_dialects import ProviderJob
from chatpipe.jobs.part_record import JobState, PartRecord

_CLOCKS_S = 600.0  # the clock of the provider may be that far behind ours
_LOOK_S = 5.0
_NOT_SHOWN = frozenset({403, 404, 410})  # the refusals of a file of another account


class JobSearch:
    """Searches for such jobs. uploaded holds the files that this process has uploaded: its key can see them.

    A list that is read settle_s after a create contains its job. giving_up is the advice for a job that
    nobody can find.
    """

    def __init__(self, api: JobApi, state: JobState, *, settle_s: float, giving_up: str) -> None:
        self._api = api
        self._state = state
        self._settle_s = settle_s
        self._giving_up = giving_up
        self._context = api.connection.context
        self.uploaded: set[str] = set()

    def find(self, record: PartRecord) -> ProviderJob | None:
        """The job of a part whose create was not confirmed. None if it is not in the list after a while.

        If there are two, the younger is cancelled. Raises SomeFailed if the list cannot have it.
        """
        end = self._context.monotonic() + self._settle_s
        if self._context.now() - (record.creating_at or 0.0) > self._settle_s:
            end = 0.0  # a list that is read now is newer than the create by that much
        while True:
            found = sorted(self._listed(record), key=lambda job: job.created_at)
            if found:
                for extra in (job for job in found[1:] if not job.has_ended):
                    self._context.note(f"{extra.id} is a second job of the same lines: cancelled")
                    self._api.cancel(extra.id)
                return found[0]
            if self._context.monotonic() >= end:
                self._refuse_foreign(record)
                return None
            self._api.sleep(min(_LOOK_S, max(0.1, end - self._context.monotonic())))

    def _refuse_foreign(self, record: PartRecord) -> None:
        """Raise SomeFailed if the file of a create does not belong to the account of the key, or is gone.

        The list of another account says nothing about the job.
        """
        id_ = record.file_id
        if id_ is None or id_ in self.uploaded:
            return
        try:
            self._api.file_size(id_)
        except ChatpipeError as fault:
            if fault.http_status not in _NOT_SHOWN:
                raise
            what = (
                f"a job of {id_} may have been created, and the provider does not show that file to this key"
            )
            fix = f"use the key that created it, or {self._giving_up}"
            raise SomeFailed(what, Status.SOME_FAILED, fix=fix) from fault

    def _listed(self, record: PartRecord) -> Iterator[ProviderJob]:
        """The jobs of a part in the list, as far back as the create may lie.

        Raises SomeFailed if the provider has no list, or its jobs name neither their file nor a token.
        """
        others = {each.job_id for each in self._state.records.values() if each is not record}
        oldest = (record.first_creating_at or 0.0) - _CLOCKS_S
        for job in (each for each in self._newest(oldest) if each.id not in others):
            if job.is_nameless and not 0.0 < job.created_at < oldest:
                raise self._unlisted("the list of jobs does not name their files")
            if record.token == token_of(job) or (record.file_id and job.input_file_id == record.file_id):
                yield job

    def _newest(self, oldest: float) -> Iterator[ProviderJob]:
        """The jobs that may have been created at a Unix time or later. Raises SomeFailed without a list."""
        try:
            for page in self._api.pages(oldest):
                yield from page.jobs
        except BadConfiguration as fault:  # a create was accepted there
            raise self._unlisted(f"the provider shows no list of jobs ({fault.clause})") from fault

    def _unlisted(self, why: str) -> SomeFailed:
        """The fault of a list that does not show whether a job was created."""
        fix = f"look for it in the provider's console, and if it is not there, {self._giving_up}"
        return SomeFailed(f"{why}, and a job may have been created", Status.SOME_FAILED, fix=fix)
