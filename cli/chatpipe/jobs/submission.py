"""One run of `jobs submit`: each part is uploaded, and a job is created of it, once.

The state is on the disk before each step. A create whose result is not known is looked up in the list of
jobs, by its file and our token, before it is made again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import BinaryIO

from chatpipe import __version__
from chatpipe.errors import BadInput, ChatpipeError, Status, TryLater, quantity
from chatpipe.inputs.values import Value
from chatpipe.jobs.foreign_jobs import file_name_of, foreign_jobs, metadata_of, new_token
from chatpipe.jobs.input_parts import InputPart
from chatpipe.jobs.job_api import JobApi, Unconfirmed, is_unseen
from chatpipe.jobs.job_dialects import ProviderJob, smaller
from chatpipe.jobs.job_reasons import NO_ROOM, TOO_LARGE
from chatpipe.jobs.job_search import JobSearch
from chatpipe.jobs.job_shapes import CreateOrder
from chatpipe.jobs.line_reasons import LineReasons
from chatpipe.jobs.part_record import OF_FILE, JobState, PartRecord
from chatpipe.named_tuple import NamedTuple
from chatpipe.system import secrets
from chatpipe.wire.retry import backoff

_LOOK_S = 5.0
_UNSEEN_TRIES = 6
_SHOWN = 3  # reasons of a job that failed
_PROCESSING_S = 900.0  # the provider may take this long for a file before a job can be created of it
_TOO_LARGE = 413
_MAY_BE_EARLY = frozenset({400, 404, 409, 422})


class SubmitTerms(NamedTuple):
    """The terms of a submission: the window of its jobs, and how long an unconfirmed one is looked for.

    giving_up is the way to do without a job that nobody can find, tokens the beginning of tokens.
    """

    server: str
    giving_up: str
    window: str = "24h"
    settle_s: float = 120.0
    tokens: str = OF_FILE


class PartNumber(NamedTuple):
    """The number of a part, from 1, among the parts of its file."""

    number: int
    total: int

    def __str__(self) -> str:
        return f"part {self.number} of {self.total}"

    def place_of(self, part: InputPart) -> str:
        """The place of its lines for messages, empty if it is the only one."""
        return f"{self}, lines {part.first} to {part.last}" if self.total > 1 else ""


class Submission:
    """A submission of a file whose parts are known. write gets a record for each job."""

    def __init__(
        self, api: JobApi, state: JobState, terms: SubmitTerms, write: Callable[[dict[str, Value]], None]
    ) -> None:
        self._api = api
        self._state = state
        self._terms = terms
        self._write = write
        self._context = api.connection.context
        self._search = JobSearch(api, state, settle_s=terms.settle_s, giving_up=terms.giving_up)

    def run(self, parts: Sequence[InputPart], file: BinaryIO) -> Status:
        """Submit what is not submitted yet. Raises BadInput for a file that is not the one of the state."""
        digests = {part.digest for part in parts}
        foreign = [
            record
            for record in self._state.records.values()
            if record.fields.get("sha256") not in digests
            and record.is_in_flight
            and not self._has_failed(record)
        ]
        if foreign:
            jobs = quantity(len(foreign), "job")
            what = f"the file or --job-lines was changed after {jobs} of it had been submitted"
            fix = f"submit the new one under another name, or move '{self._state.path}' away"
            raise BadInput(what, place=file.name, fix=fix)
        self._warn_of_others(parts)
        for index, part in enumerate(parts, 1):
            number = PartNumber(index, len(parts))
            try:
                job, is_new = self.submit(part, file, number)
            except ChatpipeError as fault:
                fault.place = fault.place or number.place_of(part)
                if number.number == 1:  # else jobs were created of this size
                    suggest_smaller(fault, part.count)
                raise
            self._write(_shown(job, part, number, is_new=is_new))
        return Status.OK

    def _warn_of_others(self, parts: Sequence[InputPart]) -> None:
        """Warn of jobs with lines of this file, which another FILE.jobs may have."""
        for found in foreign_jobs(self._api, self._state, parts, self._terms.server):
            self._api.connection.console.warning(found.warning(self._api, self._state.path))

    def _has_failed(self, record: PartRecord) -> bool:
        """Return True if the job of a part has failed as a whole, and take note: nothing of it was paid."""
        has_failed = record.job_id is not None and self._api.retrieve(record.job_id).status == "failed"
        if has_failed:
            self._state.note(record, "collected")
        return has_failed

    def submit(self, part: InputPart, file: BinaryIO, number: PartNumber) -> tuple[ProviderJob, bool]:
        """The job of a part, and True if it was created now."""
        record = self._state.with_digest(part.digest, self._terms.server)
        if record is not None and record.job_id is not None:
            job = self._api.retrieve(record.job_id)
            if job.status != "failed":
                return job, False
            if fix := self._bad_end(job, record, number):
                what = (
                    f"{job.id} has failed as a whole: {'; '.join(LineReasons(job, record).summary(_SHOWN))}"
                )
                raise BadInput(what, place=file.name, fix=fix)
            self._context.note(f"{job.id} has failed as a whole, and nothing of it was paid: submitted again")
            record = self._plan(part, number, record.file_id)
        if record is None:
            record = self._plan(part, number, None)
        if record.creating_at is not None and (found := self.look_for(record)) is not None:
            return found, False
        if record.file_id is None:
            self._upload(record, part, file)
        return self._create(record, part, file), True

    def _bad_end(self, job: ProviderJob, record: PartRecord, number: PartNumber) -> str:
        """The remedy for a job that failed as a whole, and would again. Empty for any other."""
        # With other parts in the queue there may be room for its tokens later.
        if job.has_too_many_lines or (job.is_too_large and number.total == 1):
            return smaller(record.size)
        if not job.has_bad_file:
            return ""
        away = f", or move '{self._state.path}' away to submit it again as it is"
        return "correct the file" + (away if number.total == 1 else "")  # else it has other jobs

    def _plan(self, part: InputPart, number: PartNumber, file_id: str | None) -> PartRecord:
        record = self._state.plan(
            new_token(self._terms.tokens),
            server=self._terms.server,
            chatpipe=__version__,
            part=number.number,
            parts=number.total,
            lines=part.count,
            first_line=part.first,
            last_line=part.last,
            sha256=part.digest,
            numbers=part.numbers,
        )
        if file_id is not None:
            self._state.note(record, "uploaded", file_id=file_id)
        return record

    def _upload(self, record: PartRecord, part: InputPart, file: BinaryIO) -> None:
        def pieces() -> Iterator[bytes]:
            return part.pieces(file.fileno())

        name = file_name_of(record.token, part, self._api.dialect)
        file_id = self._api.upload(name, part.size, pieces)
        self._search.uploaded.add(file_id)
        self._state.note(record, "uploaded", file_id=file_id)

    def _create(self, record: PartRecord, part: InputPart, file: BinaryIO) -> ProviderJob:
        tries = 0
        was_unconfirmed = record.creating_at is not None
        has_new_file = False
        while True:
            self._state.note(record, "creating", at=self._context.now())
            assert record.file_id is not None
            order = self._order(record.file_id, part, record.token)
            try:
                job = self._api.create(order)
            except Unconfirmed as unconfirmed:
                what = unconfirmed.fault.clause
                self._context.note(f"{what}: checking whether the job was created anyway")
                found = self.look_for(record)
                if found is not None:
                    return found
                was_unconfirmed = True
                tries += 1
                if tries > self._api.connection.retry.retries:
                    raise unconfirmed.fault from None
            except ChatpipeError as fault:
                self._state.note(record, "refused", why=secrets.hide(fault.what))
                if fault.http_status in _MAY_BE_EARLY and self._wait_for_file(record.file_id):
                    continue
                if not is_unseen(fault, record.file_id):
                    raise
                tries += 1
                if tries < _UNSEEN_TRIES:
                    self._api.sleep(backoff(tries, self._context.random))
                elif has_new_file:
                    raise
                else:  # the file of an earlier run may be gone
                    self._upload(record, part, file)
                    tries, has_new_file = 0, True
            else:
                created = self._created(record, job)
                return created if not was_unconfirmed else self.look_for(record) or created

    def _wait_for_file(self, file_id: str) -> bool:
        """Wait while the provider processes a file, as Azure does. Return False if it does not.

        Raises TryLater if that takes too long.
        """
        end: float | None = None
        while self._is_processing(file_id):
            now = self._context.monotonic()
            if end is None:
                self._context.note(f"the provider is processing {file_id}: the job is created after that")
                end = now + _PROCESSING_S
            elif now >= end:
                what = f"the provider has not processed {file_id} in {_PROCESSING_S:g} s"
                raise TryLater(what, fix="run the same command later")
            self._api.sleep(_LOOK_S)
        return end is not None

    def _is_processing(self, file_id: str) -> bool:
        with suppress(ChatpipeError):  # there may be no such call
            return self._api.is_processing(file_id)
        return False

    def _order(self, file_id: str, part: InputPart, token: str) -> CreateOrder:
        return CreateOrder(file_id, part.url, part.model, self._terms.window, metadata_of(token, part))

    def look_for(self, record: PartRecord) -> ProviderJob | None:
        """The job of a create that was not confirmed, which is confirmed now. See JobSearch.find()."""
        found = self._search.find(record)
        return None if found is None else self._created(record, found)

    def _created(self, record: PartRecord, job: ProviderJob) -> ProviderJob:
        self._state.note(record, "created", job_id=job.id)
        return job


def lacks_room(fault: ChatpipeError) -> bool:
    """Return True for a create that was refused because too many tokens of the account are in the queue."""
    return NO_ROOM.encode() in (fault.body or b"")


def suggest_smaller(fault: ChatpipeError, lines: int) -> None:
    """Name the option for smaller jobs if an upload or a create was refused because of its size."""
    smaller_text = smaller(lines)
    if fault.http_status == _TOO_LARGE:
        fault.fix = smaller_text or fault.fix
    elif smaller_text and any(code.encode() in (fault.body or b"") for code in TOO_LARGE):
        fault.fix = f"{fault.fix}, or {smaller_text}" if fault.fix else smaller_text


def _shown(job: ProviderJob, part: InputPart, number: PartNumber, *, is_new: bool) -> dict[str, Value]:
    return {
        "id": job.id,
        "status": job.status,
        "new": is_new,
        "part": number.number,
        "parts": number.total,
        "lines": part.count,
        "first_line": part.first,
        "last_line": part.last,
        "model": part.model,
        "url": part.url,
        "input_file_id": job.input_file_id,
    }
