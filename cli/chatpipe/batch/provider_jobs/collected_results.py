"""The result files of jobs -> the answer to each request, found by its fingerprint.

The files are spools, and an index has 16 bytes for a line. The outcome is that of the line, never that of the
file which it stands in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import httpx

from chatpipe.batch.provider_jobs.job_records import FINGERPRINT_DIGITS, JobRecords, key_of
from chatpipe.errors import BadInput, ChatpipeError, SomeFailed, Status, quantity
from chatpipe.exchange import run_without_loop
from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.jobs.file_download import FileDownload
from chatpipe.jobs.job_api import JobApi
from chatpipe.jobs.job_dialects import ProviderJob
from chatpipe.jobs.merged_results import is_good_record, lines_of, record_of
from chatpipe.jobs.part_record import PartRecord
from chatpipe.named_tuple import NamedTuple
from chatpipe.response.body_form import is_usual
from chatpipe.system.line_index import SortedIndex
from chatpipe.system.spool import Spool
from chatpipe.wire.answer import Answer, NullReceiver
from chatpipe.wire.key_filter import completion_without_secrets, read_without_secrets

ENGINE = "batch-api"
_OFFSET_BITS = 47
_USED = 1 << 62
_FIRST_READ = 8192
_NOT_FOUND = 404
_KEPT_S = 86400.0  # a file of a job that ended later may be not visible yet


class Collected(NamedTuple):
    """The answer to a request of a job that has ended, and the seconds that the job took."""

    answer: Answer
    latency_s: float


class CollectedResults:
    """The results of the jobs that were collected in this run. url is that of the requests, for messages."""

    def __init__(self, records: JobRecords, url: str) -> None:
        self._records = records
        self._request = httpx.Request("POST", url)
        self._spools: list[Spool] = []
        self._index = SortedIndex()
        self._jobs: dict[str, ProviderJob] = {}  # by token
        self._gone: dict[str, str] = {}  # by token: the id of a file that the provider keeps no longer
        self.broken = 0

    def add(self, token: str, job: ProviderJob, spools: Sequence[Spool]) -> None:
        """Add the files of a job. Of two results of a request the first good one counts."""
        self._jobs[token] = job
        for spool in spools:
            number = len(self._spools)
            self._spools.append(spool)
            for start, line in lines_of(spool):
                record = record_of(line)
                if record is None or not _is_fingerprint(record["custom_id"]):
                    self.broken += 1
                else:
                    self._add(record, number << _OFFSET_BITS | start)

    def collect(self, api: JobApi, token: str, job: ProviderJob) -> None:
        """Download the files of a job that has ended; one that is lost has none.

        Raises the fault of a request.
        """
        for fault in job.faults_by(self._records.records[token].number):
            api.connection.console.warning(f"{job.id} {job.status}: {fault}")
        ids = [id_ for id_ in (job.output_file_id, job.error_file_id) if id_ is not None]
        spools = []
        for id_ in ids:
            try:
                spools.append(FileDownload(api, id_).run())
            except BadInput as fault:
                if fault.http_status != _NOT_FOUND or not _is_old(job, api.connection.context.now()):
                    raise
                api.connection.console.warning(f"{job.id}: {fault.what}")
                self._gone[token] = id_
        self.add(token, job, spools)

    def find(self, fingerprint: str) -> Collected | None:
        """The answer to a request, also the reason why it has none. None if it was in none of the jobs."""
        part = self._records.job_of(fingerprint)
        if part is None or (job := self._jobs.get(part.token)) is None:
            return None
        for location, record in self._located(fingerprint):
            if not location & _USED:
                self._index.replace(key_of(fingerprint), location, location | _USED)
            return self._collected(record, job, part)
        gone = self._gone.get(part.token)
        why = (
            _reason(job, part) if gone is None else f"{job.id}: the provider has not kept its results {gone}"
        )
        return Collected(_unsent(why), 0.0)

    def has_good(self, fingerprint: str) -> bool:
        """Return True if a job has given a good answer to a request."""
        return any(is_good_record(record) for _, record in self._located(fingerprint))

    def completion(self, fingerprint: str) -> dict[str, Value] | None:
        """The good answer of a job to a request, None without one."""
        for _, record in self._located(fingerprint):
            body = record["response"].get("body") if is_good_record(record) else None
            return body if isinstance(body, dict) else None
        return None

    def _located(self, fingerprint: str) -> Iterator[tuple[int, dict[str, Any]]]:
        """The result of a request, with its location, if there is one."""
        for location in self._index.find(key_of(fingerprint)):
            record = record_of(self._line(location))
            if record is not None and record["custom_id"] == fingerprint:
                yield location, record

    def unused(self) -> Iterator[tuple[str, Collected]]:
        """The results that find() did not return, with their fingerprints."""
        for location in self._index.values():
            if location & _USED:
                continue
            record = record_of(self._line(location)) or {}
            fingerprint = str(record.get("custom_id"))
            part = self._records.job_of(fingerprint)
            if part is not None and (job := self._jobs.get(part.token)) is not None:
                yield fingerprint, self._collected(record, job, part)

    def holds(self, fingerprint: str) -> bool:
        """Return True if find() has an answer."""
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
        for spool in self._spools:
            spool.close()

    def _add(self, record: dict[str, Any], location: int) -> None:
        key = key_of(record["custom_id"])
        for old in self._index.find(key):
            before = record_of(self._line(old))
            if before is None or before["custom_id"] != record["custom_id"]:
                continue  # another request with the same 8 bytes
            if is_good_record(record) and not is_good_record(before):
                self._index.replace(key, old, location)
            return
        self._index.add(key, location)

    def _collected(self, record: dict[str, Any], job: ProviderJob, part: PartRecord) -> Collected:
        return Collected(self._answer(record) or _unsent(_reason(job, part)), _seconds(job))

    def _line(self, location: int) -> bytes:
        location &= ~_USED
        spool, start = self._spools[location >> _OFFSET_BITS], location & (1 << _OFFSET_BITS) - 1
        size = _FIRST_READ
        while True:
            data = spool.read(start, size)
            if (end := data.find(b"\n")) >= 0:
                return data[:end]
            if len(data) < size:
                return data
            size *= 4

    def _answer(self, record: dict[str, Any]) -> Answer | None:
        """The answer of a line, read as the reply of a server is. None for a line that says nothing."""
        response: Any = record.get("response")
        status = response.get("status_code") if isinstance(response, dict) else None
        if not isinstance(status, int) or not 100 <= status <= 599 or response.get("body") is None:
            text = _error_text(record.get("error"))
            return _unsent(text) if text else None
        request_id, body = response.get("request_id"), response["body"]
        if not isinstance(request_id, str) or not request_id.isascii():
            request_id = None
        if status == 200 and is_usual(body):  # nearly all
            answer = completion_without_secrets(body, values.dumps(body), request_id, self._request)
        else:
            headers = {"content-type": "application/json"}
            headers |= {} if request_id is None else {"x-request-id": request_id}
            content = httpx.ByteStream(values.dumps(body))
            reply = httpx.Response(status, headers=headers, stream=content, request=self._request)
            reading = read_without_secrets(reply, headers, self._request, NullReceiver())
            answer, _, _ = run_without_loop(reading)
        return answer._replace(engine=ENGINE)


def _unsent(why: str) -> Answer:
    fault: ChatpipeError = SomeFailed(why, Status.SOME_FAILED)
    return Answer(None, None, fault, attempts=0)


def _reason(job: ProviderJob, part: PartRecord) -> str:
    """The reason why a line of a job has no answer."""
    if faults := job.faults_by(part.number):
        return f"{job.id} {job.status}: {faults[0]}"
    return (
        f"{job.id} {job.status}" if job.status != "completed" else f"{job.id}: it is in neither result file"
    )


def _error_text(error: Value) -> str:
    if not isinstance(error, dict):
        return ""
    return ": ".join(str(error[name]) for name in ("code", "message") if error.get(name))


def _seconds(job: ProviderJob) -> float:
    """The seconds from the creation of a job to its end, 0 if the provider does not say."""
    ended = _ended_at(job)
    return 0.0 if ended is None or not job.created_at else max(0.0, ended - job.created_at)


def _ended_at(job: ProviderJob) -> float | None:
    """The Unix time of the end of a job, None if the provider does not say."""
    for name in ("completed_at", "expired_at", "cancelled_at", "failed_at"):
        ended = job.value.get(name)
        if isinstance(ended, int | float):
            return float(ended)
    return None


def _is_old(job: ProviderJob, now: float) -> bool:
    """Return True if the results of a job were there for a while."""
    ended = _ended_at(job)
    return ended is not None and now - ended > _KEPT_S


def _is_fingerprint(text: str) -> bool:
    return len(text) == FINGERPRINT_DIGITS and not text.strip("0123456789abcdef")


def broken_text(count: int) -> str:
    return f"{quantity(count, 'line')} of the result files that are no results of ours: left out"
