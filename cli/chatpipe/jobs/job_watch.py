"""The wait for jobs: they are looked at again and again, less often while nothing changes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress

from chatpipe.errors import (
    BadConfiguration,
    BadInput,
    BrokenAnswer,
    ChatpipeError,
    OutcomeFault,
    Status,
    TryLater,
    Unreachable,
    quantity,
)
from chatpipe.jobs.job_api import JobApi
from chatpipe.jobs.job_dialects import KNOWN, ProviderJob, lost_job
from chatpipe.options.jobs import JobWaits
from chatpipe.system.console import Console

_FIRST_POLL_S = 5.0
_GROWTH = 1.5
_FEW = 2  # jobs that are asked for one by one; more are looked up in the list
_MOST_PAGES = 3
_OVERDUE_S = 3600.0
_NOT_FOUND = 404


Pause = Callable[[float, Mapping[str, ProviderJob]], None]


class JobWatch:
    """Waits for jobs. An id that the server does not know is a fault, unless patience_s is given: jobs that
    were just created may stay invisible for that long, and one that is not visible later is lost.

    pause waits until the next look, and shows the jobs as they were seen, by their ids. Without it what has
    changed is noted.
    """

    def __init__(
        self,
        api: JobApi,
        console: Console,
        waits: JobWaits,
        patience_s: float | None = None,
        pause: Pause | None = None,
    ) -> None:
        self._api = api
        self._console = console
        self._waits = waits
        self._patience_s = patience_s
        self._unseen: dict[str, float] = {}  # the time of the first look that did not find a job
        self._pause = pause
        self._seen: dict[str, ProviderJob] = {}
        self._looks = 0  # at the list

    def ends(self, ids: Sequence[str]) -> Iterator[ProviderJob]:
        """Each job when it has ended. Raises OutcomeFault at the end of the wait."""
        monotonic = self._api.connection.context.monotonic
        limit = self._waits.max_wait_s
        end = math.inf if limit is None else monotonic() + limit
        left = list(dict.fromkeys(ids))
        first_s = pause_s = min(_FIRST_POLL_S, self._waits.poll_s)
        while True:
            jobs = self._look(left)
            for job in jobs:
                self._refuse_unknown(job)
            yield from (job for job in jobs if job.has_ended)
            ended = {job.id for job in jobs if job.has_ended}
            left = [id_ for id_ in left if id_ not in ended]
            if not left:
                return
            if self._has_news(jobs):
                pause_s = first_s
            wait_s = max(pause_s, self._api.pause_s)
            if monotonic() + wait_s > end:
                raise self._late(left)
            if self._pause is None:
                self._api.sleep(wait_s)
            else:
                self._pause(wait_s, self._seen)
            pause_s = min(pause_s * _GROWTH, self._waits.poll_s)

    def _look(self, ids: Sequence[str]) -> list[ProviderJob]:
        """The jobs as they are now, as far as the server says it: its faults do not end the wait."""
        try:
            if len(ids) <= _FEW:
                return list(filter(None, map(self._retrieve, ids)))
            return self._listed(ids)
        except (TryLater, Unreachable, BrokenAnswer) as fault:
            self._note(fault)
            return []

    def _listed(self, ids: Sequence[str]) -> list[ProviderJob]:
        """The jobs as the list shows them. Those that it does not show are retrieved, and one of the others.

        The list of a proxy such as LiteLLM's may show a job as it was when it was retrieved last.
        """
        found = self._pages(ids)
        running = [id_ for id_, job in found.items() if not job.has_ended]
        self._looks += 1
        checked = running[self._looks % len(running)] if running else ""
        if checked and (job := self._retrieve(checked)) is not None and job.has_ended:
            found[checked] = job
        jobs = (found.get(id_) or self._retrieve(id_) for id_ in ids)
        return list(filter(None, jobs))

    def _pages(self, ids: Sequence[str]) -> dict[str, ProviderJob]:
        """The jobs that the newest pages of the list show, by their ids; none if the provider has no list."""
        found: dict[str, ProviderJob] = {}
        cursor = ""
        with suppress(BadConfiguration):
            for _ in range(_MOST_PAGES):
                page = self._api.page(cursor=cursor)
                found.update((job.id, job) for job in page.jobs if job.id in ids)
                if len(found) == len(ids) or page.next is None:
                    break
                cursor = page.next
        return found

    def _retrieve(self, id_: str) -> ProviderJob | None:
        """A job, None for one that is not visible yet."""
        try:
            job = self._api.retrieve(id_)
        except BadInput as fault:
            if fault.http_status != _NOT_FOUND or self._patience_s is None:
                raise
            now = self._api.connection.context.monotonic()
            if now - self._unseen.setdefault(id_, now) >= self._patience_s:
                return lost_job(id_)
            self._note(fault)
            return None
        self._unseen.pop(id_, None)
        return job

    def _refuse_unknown(self, job: ProviderJob) -> None:
        """Raise BrokenAnswer for an unknown status, when the job has to have ended."""
        if job.has_ended or job.status in KNOWN or not job.expires_at:
            return
        if self._api.connection.context.now() > job.expires_at + _OVERDUE_S:
            what = f"the status of {job.id} is '{job.status}', an hour after its end was due"
            raise BrokenAnswer(what, fix="ask the provider about it")

    def _note(self, fault: ChatpipeError) -> None:
        self._console.note(f"{fault.clause}: still waiting")

    def _has_news(self, jobs: Sequence[ProviderJob]) -> bool:
        """Note what has changed."""
        has_news = False
        for job in jobs:
            before = self._seen.get(job.id)
            if before is None or before.progress != job.progress:
                has_news = True
                self._seen[job.id] = job
                if not job.has_ended and self._pause is None:
                    self._console.note(f"{job.id}: {job.progress}")
        return has_news

    def _late(self, ids: Sequence[str]) -> OutcomeFault:
        what = f"{quantity(len(ids), 'job')} not ended after {self._waits.max_wait_s:g} s"
        return OutcomeFault(what, Status.OUT_OF_TIME, fix="run the same command later")
