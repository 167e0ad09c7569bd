"""The result files of jobs -> the answer to each request, found by its fingerprint.

A result is parsed once, when its answer is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache, partial
from typing import Any

import httpx

from chatpipe.batch.driver import CollectedAnswer
from chatpipe.batch.provider_jobs.collected_file import CollectedFile
from chatpipe.batch.provider_jobs.job_journal import JobJournal
from chatpipe.batch.provider_jobs.result_answer import answer_of, unsent
from chatpipe.errors import BadInput, BrokenAnswer, quantity
from chatpipe.inputs.values import Value
from chatpipe.jobs.file_download import GONE, FileDownload
from chatpipe.jobs.job_api import JobApi
from chatpipe.jobs.job_dialects import LOST, ProviderJob, smaller
from chatpipe.jobs.line_reasons import LineReasons
from chatpipe.jobs.part_record import PartRecord
from chatpipe.jobs.result_file import is_good_record, record_of
from chatpipe.jobs.whole_results import has_its_size, is_old, settled_job, whole_results
from chatpipe.system.spool import Spool

_FINGERPRINT = re.compile("[0-9a-f]{32}")
# The option that sends each line by itself: one that is refused then holds up no other.
_ALONE = "add --engine local"


# A result: its file, its number there, its line, and the object in the line. There is one for each line of
# a run.
_FoundResult = tuple[CollectedFile, int, bytes, dict[str, Any]]


class CollectedResults:
    """The results of the jobs that were collected in this run. url is where the requests go, for messages.

    Of several results of a request the first good one counts.
    """

    def __init__(self, records: JobJournal, url: str) -> None:
        self._records = records
        self._request = httpx.Request("POST", url)
        self._files: list[CollectedFile] = []
        self._search_order: list[CollectedFile] = []  # that in which a result was found last comes first
        self._jobs: dict[str, ProviderJob] = {}  # by token
        self._reasons: dict[str, LineReasons] = {}  # by token
        self._strange = 0

    def collect(self, api: JobApi, token: str, job: ProviderJob) -> None:
        """Download the files of a job that has ended; one that is lost has none.

        Raises the fault of a request, and BrokenAnswer for files that stay in doubt, or are not named.
        """
        job = settled_job(api, job)
        now = api.connection.context.now()
        are_old = is_old(job, now)
        part = self._records.records[token]
        reasons = self._reasons[token] = LineReasons(job, part)
        api.connection.console.warnings(f"{job.id} {job.status}: {text}" for text in reasons.summary())

        def download(id_: str) -> Spool | None:
            try:
                return FileDownload(api, id_).run()
            except BadInput as fault:
                if fault.http_status not in GONE:
                    raise
                if not are_old:  # it may be not visible yet
                    raise BrokenAnswer(fault.what, place=job.id, fix="run the same command later") from fault
                api.connection.console.warning(f"{job.id}: {fault.what}")
                reasons.missing_file = id_
                return None

        latency_s = max(0.0, job.ended_at - job.created_at) if job.created_at else 0.0
        for id_, file in whole_results(api, job, download, part.size).items():
            is_final = (lambda: True) if are_old else cache(partial(has_its_size, api, id_, file))
            self._files.append(CollectedFile(file, token, latency_s, now, is_final))
            self._strange += file.strange
        self._search_order = list(self._files)
        self._jobs[token] = job

    def find(self, fingerprint: str) -> CollectedAnswer | None:
        """The answer to a request, also the reason why it has none. None if it was in none of the jobs.

        Raises BrokenAnswer for a result that cannot be read, but may be whole at the provider.
        """
        found = self._found(fingerprint)
        if found is not None:
            return self._take(found)
        place = self._records.place_of(fingerprint)
        part = None if place is None else self._records.part_at(place)
        if place is None or part is None or part.token not in self._jobs:
            return None
        why = self._reasons[part.token].of(place.position)
        return unsent(why, self._fix(part)), 0.0

    @property
    def files(self) -> Sequence[CollectedFile]:
        """The files, in the order in which they are searched."""
        return self._search_order

    def _fix(self, part: PartRecord) -> str:
        """The option with which a line gets an answer that its job could not have, empty without one."""
        job = self._jobs[part.token]
        if job.is_too_large:
            return smaller(part.size)
        return _ALONE if job.has_bad_file else ""

    def has_new(self, fingerprint: str) -> bool:
        """Return True if a job has given a good answer to a request, and find() has not returned it yet.

        Raises like find().
        """
        found = self._found(fingerprint)
        if found is None:
            return False
        job_file, number, _, record = found
        return not job_file.used[number] and is_good_record(record)

    def completion(self, fingerprint: str) -> dict[str, Value] | None:
        """The good answer of a job to a request, None without one. Raises like find()."""
        found = self._found(fingerprint)
        if found is None or not is_good_record(found[3]):
            return None
        body = found[3]["response"].get("body")
        return body if isinstance(body, dict) else None

    def unused(self) -> Iterator[tuple[str, CollectedAnswer]]:
        """The results of our jobs that find() did not return, with their fingerprints. Raises like find()."""
        for job_file in self._files:
            number = -1
            while (number := job_file.used.find(0, number + 1)) >= 0:
                record = record_of(job_file.file.line(number))
                if record is None:
                    self._pass_over(job_file)
                fingerprint = "" if record is None else record["custom_id"]
                if not _FINGERPRINT.fullmatch(fingerprint) or not self.holds(fingerprint):
                    self._strange += 1
                elif (found := self._found(fingerprint)) is not None and not found[0].used[found[1]]:
                    yield fingerprint, self._take(found)

    def holds(self, fingerprint: str) -> bool:
        """Return True for a request of one of the jobs."""
        part = self._records.job_of(fingerprint)
        return part is not None and part.token in self._jobs

    def is_lost(self, fingerprint: str) -> bool:
        """Return True for a request of a job that the provider does not know: the next run may find it."""
        part = self._records.job_of(fingerprint)
        job = None if part is None else self._jobs.get(part.token)
        return job is not None and job.status == LOST

    def strange_text(self) -> str:
        """The warning about lines that are no results of our requests, empty if there are none.

        Call it after unused(), which goes through those that find() did not return.
        """
        if not self._strange:
            return ""
        lines = quantity(self._strange, "line")
        return f"{lines} of the result files left out: they answer no request of this run"

    @property
    def tokens(self) -> Sequence[str]:
        """Those of the parts whose jobs were collected."""
        return list(self._jobs)

    def job(self, token: str) -> ProviderJob | None:
        """The job of a part, None if it was not collected."""
        return self._jobs.get(token)

    def close(self) -> None:
        for job_file in self._files:
            job_file.file.spool.close()

    def _found(self, fingerprint: str) -> _FoundResult | None:
        """The first good result of a request, else the first. None without one."""
        first: _FoundResult | None = None
        for at, job_file in enumerate(self._search_order):
            for number in job_file.file.find(fingerprint):
                line = job_file.file.line(number)
                record = record_of(line)
                if record is None:
                    self._pass_over(job_file)
                elif record["custom_id"] == fingerprint:
                    found = job_file, number, line, record
                    if is_good_record(record):
                        if at:
                            self._search_order.insert(0, self._search_order.pop(at))
                        return found
                    first = first or found
        return first

    def _pass_over(self, job_file: CollectedFile) -> None:
        """Leave out a result that cannot be read. Raises BrokenAnswer if the provider may have it whole."""
        if not job_file.is_final():
            what = "a line of its result files cannot be read"
            place = self._jobs[job_file.token].id
            raise BrokenAnswer(what, place=place, fix="run the same command later")

    def _take(self, found: _FoundResult) -> CollectedAnswer:
        job_file, number, line, record = found
        job_file.used[number] = 1
        answer = answer_of(record, line, self._request, job_file.at)
        if answer is None:
            answer = unsent(self._reasons[job_file.token].of_empty_result)
        return answer, job_file.latency_s
