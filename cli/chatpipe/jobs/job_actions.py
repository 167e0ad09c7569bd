"""The actions of `jobs`: submit, list, status, wait, results, cancel. Each writes one line of JSON a job."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import BinaryIO

from chatpipe.errors import BadInput, MissingInput, OutcomeFault, Status, reason
from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.jobs.input_parts import PartReader
from chatpipe.jobs.job_api import JobApi
from chatpipe.jobs.job_dialects import LOST, ProviderJob
from chatpipe.jobs.job_lookup import JobLookup
from chatpipe.jobs.job_watch import JobWatch
from chatpipe.jobs.jobs_file import SUFFIX, JobsFile
from chatpipe.jobs.merged_results import MergedCounts, MergedResults
from chatpipe.jobs.part_record import PartRecord
from chatpipe.jobs.submission import Submission, SubmitTerms
from chatpipe.options.jobs import JobsOptions
from chatpipe.server.identity import recorded_name
from chatpipe.system.console import Console

_JOURNAL_START = b'{"chatpipe_journal":'  # of the journal of a run
_BAD_ENDS = ("failed", "expired", "cancelled", LOST)

Write = Callable[[bytes], None]


class JobActions:
    """The actions over one connection. write gets what they write, line by line."""

    def __init__(self, api: JobApi, options: JobsOptions, console: Console, write: Write) -> None:
        self._api = api
        self._options = options
        self._console = console
        self._out = write
        self._lookup = JobLookup(api)

    def submit(self, path: str, server: str) -> Status:
        """Submit the lines of a file, once."""
        with _open_input(path) as file:
            parts = PartReader(path, self._api.dialect, self._api.connection.command).read(file)
            with JobsFile(path + SUFFIX, self._console.note, create=True) as state:
                giving_up = f"move '{state.path}' away"
                terms = SubmitTerms(server, giving_up, self._options.window, self._options.waits.settle_s)
                return Submission(self._api, state, terms, self._write).run(parts, file)

    def list(self) -> Status:
        """Write the newest jobs."""
        left, size, cursor = self._options.limit, min(self._options.limit, 100), ""
        while True:
            page = self._api.page(size, cursor)
            for job in page.jobs[:left]:
                self._write(job.shown())
            left -= len(page.jobs)
            if left <= 0 or page.next is None:
                break
            cursor = page.next
        return Status.OK

    def status(self, ids: Sequence[str]) -> Status:
        """Write jobs as they are now. SOME_FAILED if one has not come to a good end. Raises like cancel()."""
        return _status_of(self._show_each(ids, self._api.retrieve))

    def cancel(self, ids: Sequence[str]) -> Status:
        """Cancel jobs. Those that have ended stay as they are.

        Raises the fault of the first one that is refused, after the others.
        """
        self._show_each(ids, self._cancelled)
        return Status.OK

    def _show_each(self, ids: Sequence[str], act: Callable[[str], ProviderJob]) -> Sequence[ProviderJob]:
        """Do it with each job, and write it. Raises the first refusal, after the others."""
        jobs = []
        for id_ in ids:
            try:
                jobs.append(self._show(act(id_)))
            except BadInput as fault:
                self._lookup.refusals.append(fault)
        self._lookup.raise_refusals()
        return jobs

    def _cancelled(self, id_: str) -> ProviderJob:
        job = self._api.retrieve(id_)
        if not job.has_ended:
            job = self._api.cancel(id_)
        if job.has_ended:
            self._console.note(f"{id_} has ended: {job.status}")
        return job

    def wait(self, ids: Sequence[str], records: Mapping[str, PartRecord]) -> Status:
        """Write each job at its end. Raises OutcomeFault at the end of the wait.

        Jobs with a record are known to be there, and may be not visible yet. For one that stays so, the
        refusal of the provider is raised after the others have ended.
        """
        waits = self._options.waits
        patience_s = waits.settle_s if all(id_ in records for id_ in ids) else None
        watch = JobWatch(self._api, self._console, waits, patience_s)
        ends = []
        for end in watch.ends(ids):
            job = self._lookup.job(end.id, records.get(end.id)) if end.status == LOST else end
            if job.status != LOST:
                ends.append(self._show(job))
        self._lookup.raise_refusals()
        return _status_of(ends)

    def results(self, ids: Sequence[str], input_: str | None, records: Mapping[str, PartRecord]) -> Status:
        """Write the results of jobs that have ended, in the order of an input if it is known.

        records has the parts by the ids of their jobs, as far as they are known. What the provider
        does not have any more is missing. Raises the first refusal if it has nothing.
        """
        jobs = [self._lookup.job(id_, records.get(id_)) for id_ in ids]
        for job in jobs:
            if not job.has_ended:
                fix = self._api.command("wait", job.id)
                raise OutcomeFault(f"{job.id} has not ended: {job.progress}", Status.OUT_OF_TIME, fix=fix)
        files = [self._lookup.files(job, records.get(job.id)) for job in jobs]
        if not any(each.spools for each in files):
            self._lookup.raise_refusals()
        self._lookup.warn_of_gone()
        server = recorded_name(self._api.connection.server.endpoint)
        merged = MergedResults(files, server, self._console.warning)
        if input_ is None:
            counts = merged.write_as_they_come(self._out)
        else:
            with _open_input(input_) as file:
                counts = merged.write_in_order(file, self._out)
        self._console.note(_summary(counts))
        ended_well = _status_of(jobs) is Status.OK
        return Status.OK if ended_well and counts.are_all_good else Status.SOME_FAILED

    def _show(self, job: ProviderJob) -> ProviderJob:
        self._write(job.shown())
        return job

    def _write(self, record: dict[str, Value]) -> None:
        self._out(values.dumps(record) + b"\n")


def _status_of(jobs: Sequence[ProviderJob]) -> Status:
    return Status.SOME_FAILED if any(job.status in _BAD_ENDS for job in jobs) else Status.OK


def _summary(counts: MergedCounts) -> str:
    texts = [f"{counts.good} good"]
    texts += [
        f"{number} {name}"
        for name, number in (("failed", counts.failed), ("missing", counts.missing))
        if number
    ]
    return f"results: {', '.join(texts)}"


@contextmanager
def _open_input(path: str) -> Iterator[BinaryIO]:
    """The input file. It is read more than once, so it has to be a regular one. Raises MissingInput."""
    if path == "-":
        raise MissingInput("stdin can be read only once", place="FILE", fix="save it in a file first")
    try:
        file = open(path, "rb")  # noqa: SIM115 - closed below
    except (OSError, ValueError) as error:
        raise MissingInput(f"cannot read '{path}': {reason(error)}", place="FILE") from error
    with file:
        if not os.path.isfile(path):
            raise MissingInput(f"'{path}' is not a regular file", place="FILE", fix="save it in one first")
        yield file


def jobs_in(path: str, api: JobApi) -> dict[str, PartRecord]:
    """The parts of an input file, by the ids of their jobs. Raises MissingInput if it has none."""
    state_path, console = path + SUFFIX, api.connection.console
    submit = api.command("submit", path)
    if not os.path.isfile(state_path):
        if _is_journal(path):
            raise MissingInput(f"'{path}' is the journal of a run", fix="run its command again")
        raise MissingInput(f"there is no '{state_path}'", fix=f"{submit} makes it")
    with JobsFile(state_path, console.note, create=False) as state:
        records = [record for record in state.records.values() if not record.is_collected]
    newest = {record.fields.get("sha256"): record for record in records}
    for record in newest.values():
        if record.job_id is None:
            lines = f"lines {record.fields.get('first_line')} to {record.fields.get('last_line')}"
            console.warning(f"{lines} have no job yet: {submit}")
    found = {record.job_id: record for record in newest.values() if record.job_id is not None}
    if not found:
        raise MissingInput(f"'{state_path}' has no jobs", fix=submit)
    return found


def unique_words(words: Iterable[str]) -> list[str]:
    """Ids of jobs and input files, each once. `FILE.jobs` stands for its input file.

    A link to a file has a state of its own: `LINK.jobs`.
    """
    return list({_state_path(each): each for each in map(_input_of, words)}.values())


def _state_path(word: str) -> str:
    try:
        return os.path.realpath(word + SUFFIX)
    except OSError:  # the working directory is deleted: no relative name leads to a file
        return word


def _input_of(word: str) -> str:
    """The input file of a file with jobs, `FILE.jobs`; any other word as it is."""
    is_state = word.endswith(SUFFIX) and os.path.isfile(word) and not os.path.isfile(word + SUFFIX)
    return word.removesuffix(SUFFIX) if is_state else word


def has_jobs(path: str) -> bool:
    """Return True for an input file that was submitted, or could be."""
    return os.path.isfile(path + SUFFIX) or os.path.isfile(path)


def _is_journal(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(len(_JOURNAL_START)) == _JOURNAL_START
    except OSError:
        return False
