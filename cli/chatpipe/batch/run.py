"""A run of many requests, from its options to its exit status.

input -> refuse conflicts -> dry run
-> Batch lines only
-> live run: live_run.py
"""

from __future__ import annotations

from chatpipe.batch import dry_run, live_run, requests_only
from chatpipe.batch.conflicts import refuse_conflicts, refuse_engine_conflicts
from chatpipe.batch.input import RunInput, open_lines
from chatpipe.batch.job import Job
from chatpipe.batch.progress import ProgressOptions
from chatpipe.batch.watch import progress_options
from chatpipe.inputs.sources import Sources
from chatpipe.output.target import open_target
from chatpipe.wire.transports import check_transport


class Run:
    """A run of a job."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def run(self, sources: Sources) -> int:
        """Returns the status. Raises the ChatpipeError that the run ends in, and Interrupted."""
        job = self._job
        inputs = [*sources.names, *job.input_files]
        refuse_engine_conflicts(job)
        with open_lines(job.file, sources, job.reader.form) as lines:
            source = RunInput(
                lines, job.reader, job.input, job.console, own_ids_once=job.resume.match == "id"
            )
            refuse_conflicts(job)
            if not (job.only_requests or job.report.dry_run or job.options.recordings.is_offline):
                for endpoint in job.endpoints:
                    check_transport(endpoint, job.connection, job.environ)
            watch = self._watch()  # it looks at stdin, so it precedes read_head()
            source.read_head()
            if job.report.dry_run:
                return dry_run.print_estimate(source.items(), job)
            with open_target(job.target, inputs, escape=True) as out:
                if job.only_requests:
                    return requests_only.write_requests(
                        source.items(), out, job.console, job.endpoint.patches
                    )
                return live_run.answer(job, source.items(), out, watch)

    def _watch(self) -> ProgressOptions:
        job = self._job
        return progress_options(
            job.report,
            job.console,
            job.environ,
            file=job.file,
            output=job.target.path,
            limit=job.input.limit,
        )
