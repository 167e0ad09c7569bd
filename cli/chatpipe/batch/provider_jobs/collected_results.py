"""The result files of jobs -> the answer to each request, found by its fingerprint.

An index has 21 bytes for a line. A result is parsed once, when its answer is asked for.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Sequence
from typing import Any

import httpx

from chatpipe.batch.driver import CollectedAnswer
from chatpipe.batch.provider_jobs.job_answers import answer_of, reason_of, unsent
from chatpipe.batch.provider_jobs.job_records import JobRecords, key_of
from chatpipe.batch.provider_jobs.result_files import ResultFiles
from chatpipe.errors import BadInput, quantity
from chatpipe.inputs.values import Value
from chatpipe.jobs.file_download import GONE, FileDownload
from chatpipe.jobs.job_api import JobApi
from chatpipe.jobs.job_dialects import ProviderJob
from chatpipe.jobs.merged_results import is_good_record, record_of
from chatpipe.jobs.whole_results import ResultFile, is_old, whole_results
from chatpipe.system.line_index import SortedIndex
from chatpipe.system.spool import Spool

_FINGERPRINT = re.compile("[0-9a-f]{32}")
# The beginning of nearly all results. Behind it everything is inside of other members.
_HEAD = re.compile(rb'\{(?:"id": ?"[^"\\]*", ?)?"custom_id": ?"([0-9a-f]{32})"')


class CollectedResults:
    """The results of the jobs that were collected in this run. url is that of the requests, for messages.

    broken counts the lines that are no results of ours.
    """

    def __init__(self, records: JobRecords, url: str) -> None:
        self._records = records
        self._request = httpx.Request("POST", url)
        self._files = ResultFiles()
        self._file_tokens: list[str] = []  # that of the job, by the number of a file
        self._latencies: list[float] = []  # the seconds that the job took, by the number of a file
        self._index = SortedIndex("I")  # numbers of results
        self._locations = array("Q")  # by the number of a result
        self._used = bytearray()  # 1 for a result that find() has returned
        self._jobs: dict[str, ProviderJob] = {}  # by token
        self._gone: dict[str, str] = {}  # by token: the id of a file that the provider keeps no longer
        self.broken = 0

    def add(self, token: str, job: ProviderJob, files: Sequence[ResultFile]) -> None:
        """Add the files of a job. Of two results of a request the first good one counts."""
        self._jobs[token] = job
        latency_s = max(0.0, job.ended_at - job.created_at) if job.created_at else 0.0
        for file in files:
            fingerprint_of = _fingerprint_in_record if file.broken else _fingerprint_of
            self._file_tokens.append(token)
            self._latencies.append(latency_s)
            for location, line in self._files.add(file.spool):
                fingerprint = fingerprint_of(line)
                if fingerprint is None:
                    self.broken += 1
                else:
                    self._add(fingerprint, location)

    def collect(self, api: JobApi, token: str, job: ProviderJob) -> None:
        """Download the files of a job that has ended; one that is lost has none.

        Raises the fault of a request.
        """
        for fault in job.faults_by(self._records.records[token].number):
            api.connection.console.warning(f"{job.id} {job.status}: {fault}")

        def download(id_: str) -> Spool | None:
            try:
                return FileDownload(api, id_).run()
            except BadInput as fault:
                if fault.http_status not in GONE or not is_old(job, api.connection.context.now()):
                    raise
                api.connection.console.warning(f"{job.id}: {fault.what}")
                self._gone[token] = id_
                return None

        self.add(token, job, whole_results(api, job, download))

    def find(self, fingerprint: str) -> CollectedAnswer | None:
        """The answer to a request, also the reason why it has none. None if it was in none of the jobs."""
        found = self._found(fingerprint)
        if found is not None:
            number, line, record = found
            self._used[number] = 1
            return self._collected(number, line, record)
        part = self._records.job_of(fingerprint)
        if part is None or (job := self._jobs.get(part.token)) is None:
            return None
        gone = self._gone.get(part.token)
        why = (
            reason_of(job, part)
            if gone is None
            else f"{job.id}: the provider has not kept its results {gone}"
        )
        return CollectedAnswer(unsent(why), 0.0)

    def has_new(self, fingerprint: str) -> bool:
        """Return True if a job has given a good answer to a request, and find() has not returned it yet."""
        found = self._found(fingerprint)
        return found is not None and not self._used[found[0]] and is_good_record(found[2])

    def completion(self, fingerprint: str) -> dict[str, Value] | None:
        """The good answer of a job to a request, None without one."""
        found = self._found(fingerprint)
        body = found[2]["response"].get("body") if found is not None and is_good_record(found[2]) else None
        return body if isinstance(body, dict) else None

    def unused(self) -> Iterator[tuple[str, CollectedAnswer]]:
        """The results of our jobs that find() did not return, with their fingerprints."""
        number = -1
        while (number := self._used.find(0, number + 1)) >= 0:
            line = self._files.line(self._locations[number])
            record, fingerprint = record_of(line), _fingerprint_in_record(line)
            if record is not None and fingerprint is not None and self.holds(fingerprint):
                yield fingerprint, self._collected(number, line, record)

    def holds(self, fingerprint: str) -> bool:
        """Return True for a request of one of the jobs."""
        part = self._records.job_of(fingerprint)
        return part is not None and part.token in self._jobs

    @property
    def tokens(self) -> Sequence[str]:
        """Those of the parts whose jobs were collected."""
        return list(self._jobs)

    def job(self, token: str) -> ProviderJob | None:
        """The job of a part, None if it was not collected."""
        return self._jobs.get(token)

    def close(self) -> None:
        self._files.close()

    def _found(self, fingerprint: str) -> tuple[int, bytes, dict[str, Any]] | None:
        """The result of a request, if there is one: its number, its line, and what this says."""
        for number in self._index.find(key_of(fingerprint)):
            line = self._files.line(self._locations[number])
            record = record_of(line)
            if record is not None and record["custom_id"] == fingerprint:
                return number, line, record
        return None

    def _add(self, fingerprint: str, location: int) -> None:
        key, new = key_of(fingerprint), len(self._locations)
        found = self._index.find_or_add(key, new)
        for number in found:
            line = self._files.line(self._locations[number])
            if _fingerprint_of(line) != fingerprint:
                continue  # another request with the same 8 bytes
            if _is_good(self._files.line(location)) and not _is_good(line):
                self._locations[number] = location
            return
        if found:
            self._index.add(key, new)
        self._locations.append(location)
        self._used.append(0)

    def _collected(self, number: int, line: bytes, record: dict[str, Any]) -> CollectedAnswer:
        file = self._files.number(self._locations[number])
        answer = answer_of(record, line, self._request)
        if answer is None:
            token = self._file_tokens[file]
            answer = unsent(reason_of(self._jobs[token], self._records.records[token]))
        return CollectedAnswer(answer, self._latencies[file])


def _fingerprint_of(line: bytes) -> str | None:
    """The fingerprint that a result is for, None for a line that is no result of ours."""
    if (found := _HEAD.match(line)) is not None and line.endswith(b"}"):
        return found[1].decode()
    return _fingerprint_in_record(line)


def _fingerprint_in_record(line: bytes) -> str | None:
    """The same, for lines that may be damaged behind their beginning."""
    record = record_of(line)
    custom_id = "" if record is None else str(record["custom_id"])
    return custom_id if _FINGERPRINT.fullmatch(custom_id) else None


def _is_good(line: bytes) -> bool:
    record = record_of(line)
    return record is not None and is_good_record(record)


def broken_text(count: int) -> str:
    return f"{quantity(count, 'line')} of the result files that are no results of ours: left out"
