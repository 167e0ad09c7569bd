"""The journal and the options of a run -> its jobs at a provider, if it has any or asks for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager

from chatpipe.batch.journal.store import RunStore
from chatpipe.batch.provider_jobs.engine_jobs import EngineJobs
from chatpipe.batch.provider_jobs.job_journal import JobJournal
from chatpipe.batch.provider_jobs.job_lifecycle import JobLifecycle
from chatpipe.batch.provider_jobs.job_records import refuse_fresh, refuse_open_jobs
from chatpipe.batch.provider_jobs.run_jobs import RunJobs
from chatpipe.batch.run_spec import RunSpec
from chatpipe.errors import BadConfiguration
from chatpipe.jobs.job_api import JobApi
from chatpipe.jobs.job_dialects import WITHOUT_ENGINE, dialect_of
from chatpipe.models.connections import connect
from chatpipe.server.identity import comparable_name
from chatpipe.server.server import Server


@contextmanager
def open_run_jobs(spec: RunSpec, servers: Sequence[Server], store: RunStore) -> Iterator[RunJobs | None]:
    """The jobs of a run; None for a run that has none and asks for none.

    Raises UsageFault for `--fresh` and `--reuse` with jobs that have not been collected, and BadConfiguration
    for a provider without a Batch API.
    """
    options = spec.options.engine
    records = _read_records(spec, store)
    if records is None or (not options.is_jobs and records.is_empty):
        yield None
        return
    if spec.resume.fresh:
        refuse_fresh(records)
    number = _number_of_server(spec, records)
    name = spec.server_names[number]
    records.server = comparable_name(name)
    try:
        dialect = dialect_of(spec.endpoints[number], WITHOUT_ENGINE).with_job_lines(options.job_lines)
    except BadConfiguration:
        if options.is_jobs:
            raise
        yield RunJobs(spec, store, records, None, name)
        return
    with ExitStack() as stack:
        connection = stack.enter_context(
            connect(servers[number], spec.retry_policy, spec.console, spec.environ, words=_words(spec, name))
        )
        lifecycle = JobLifecycle(JobApi(connection, dialect, WITHOUT_ENGINE), records, options)
        stack.callback(lifecycle.results.close)
        kind = EngineJobs if options.is_jobs and not spec.resume.no_send else RunJobs
        yield stack.enter_context(closing(kind(spec, store, records, lifecycle, name)))


def _read_records(spec: RunSpec, store: RunStore) -> JobJournal | None:
    """The records of jobs in the journal, None without one. Raises UsageFault for open jobs in --reuse."""
    journal, recorded, _ = store.files
    events = () if recorded is None else recorded.events.of_journal()
    records = None if journal is None else JobJournal(journal, events)
    if recorded is not None and not spec.resume.no_send:
        refuse_open_jobs(recorded.events.of_reused(), () if records is None else records.records)
    return records


def _number_of_server(spec: RunSpec, records: JobJournal) -> int:
    """The number of the first server of the run that has open jobs, 0 without any."""
    with_jobs = {each.fields.get("server") for each in records.in_flight()}
    names = map(comparable_name, spec.server_names)
    return next((number for number, name in enumerate(names) if name in with_jobs), 0)


def _words(spec: RunSpec, server: str) -> tuple[str, ...]:
    """The options with which `jobs` finds this server, which may be one of several."""
    options = spec.server_options
    if len(spec.endpoints) > 1:
        options = options._replace(base_urls=(server,))
    return options.words
