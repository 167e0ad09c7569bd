"""Results of a run -> the output, the file of `--errors`, stderr and the tally."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from chatpipe.batch.failures import FailureReporter, errors_file
from chatpipe.batch.job import Job
from chatpipe.batch.progress import Progress
from chatpipe.batch.result import Result
from chatpipe.batch.tally import Tally
from chatpipe.output.target import OpenOutput
from chatpipe.response.caveats import caveats


class ResultEmitter:
    """Writes results, then counts them: what the tally has is on disk or on stdout."""

    def __init__(
        self,
        job: Job,
        out: OpenOutput,
        tally: Tally,
        progress: Progress,
        write_error: Callable[[bytes], None] | None,
    ) -> None:
        self._run_format = job.run_format
        self._writes_now = not job.writes_at_the_end
        self._reporter = FailureReporter(job.console, job.input_name) if job.reports_failures else None
        self._console = job.console
        self._out = out
        self._tally = tally
        self._progress = progress
        self._write_error = write_error

    def emit_head(self, head: bytes) -> None:
        """Write the bytes before the first record."""
        if self._writes_now:
            self._out.write_head(head)

    def emit(self, result: Result) -> None:
        """Write a result that is recorded already. Raises CannotWrite."""
        self._progress.make_room()
        if result.completion is not None:
            self._console.warn_once(caveats(result.completion, only_text=self._run_format.calls_are_final))
        if not result.is_good:
            if self._write_error is not None:
                self._write_error(result.line + b"\n")
            if self._reporter is not None:
                self._reporter.report(result)
        if self._writes_now:
            self._out.write(self._run_format.row(result))
        self._tally.add(result)


@contextmanager
def open_emitter(job: Job, out: OpenOutput, tally: Tally, progress: Progress) -> Iterator[ResultEmitter]:
    """Open the file of `--errors` for the length of a run. Raises CannotWrite."""
    with errors_file(job.report.errors) as write_error:
        yield ResultEmitter(job, out, tally, progress, write_error)
