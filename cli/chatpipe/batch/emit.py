"""Results of a run -> the output, the file of `--errors`, stderr and the tally."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from chatpipe.batch.expenses import Expenses
from chatpipe.batch.failures import FailureReporter, errors_file
from chatpipe.batch.progress import Progress
from chatpipe.batch.result import Result
from chatpipe.batch.run_spec import RunSpec
from chatpipe.batch.tally import Tally
from chatpipe.inputs.values import Value
from chatpipe.limits.prices import ModelPrice
from chatpipe.output.target import OpenOutput
from chatpipe.response.caveats import caveats


class ResultEmitter:
    """Writes results, then counts them: what the tally has is on disk or on stdout."""

    def __init__(
        self,
        spec: RunSpec,
        out: OpenOutput,
        tally: Tally,
        progress: Progress,
        write_error: Callable[[bytes], None] | None,
    ) -> None:
        self._run_format = spec.run_format
        self._writes_now = not spec.writes_at_the_end
        self._reporter = FailureReporter(spec.console, spec.input_name) if spec.reports_failures else None
        self._console = spec.console
        self._out = out
        self._tally = tally
        self._progress = progress
        self._write_error = write_error

    def use_prices(self, prices: Mapping[str, ModelPrice]) -> None:
        """Count the cost of the results by these prices, if there are any. Called before the first."""
        self._tally.spent = Expenses(prices)

    def emit_head(self, head: bytes) -> None:
        """Write the bytes before the first record."""
        if self._writes_now:
            self._out.write_head(head)

    def emit_missing(self) -> None:
        """Write the record of a line without a result, which the tally does not count. Raises CannotWrite."""
        if self._writes_now:
            self._progress.wipe_bar()
            self._out.write(self._run_format.missing)

    def emit(self, results: Sequence[Result]) -> None:
        """Write results that are recorded already: one, or plain answers of a job. Raises CannotWrite."""
        if len(results) > 1 and not self._writes_now:
            self._tally.add_plain(results)
            return
        for result in results:
            completion = result.completion
            if completion is not None and not result.is_plain:
                self._warn(result, completion)
            if not result.is_good:
                self._report(result)
            if self._writes_now:
                self._progress.wipe_bar()
                self._out.write(self._run_format.row(result))
            self._tally.add(result)

    def _warn(self, result: Result, completion: dict[str, Value]) -> None:
        format = self._run_format.properties
        only_first = not format.has_all_choices and result.is_good
        self._console.warn_once(caveats(completion, only_text=format.calls_are_final, only_first=only_first))

    def _report(self, result: Result) -> None:
        if self._write_error is not None:
            self._progress.wipe_bar()
            self._write_error(result.line + b"\n")
        if self._reporter is not None:
            self._reporter.report(result)


@contextmanager
def open_emitter(spec: RunSpec, out: OpenOutput, tally: Tally, progress: Progress) -> Iterator[ResultEmitter]:
    """Open the file of `--errors` for the length of a run. Raises CannotWrite."""
    with errors_file(spec.report.errors) as write_error:
        yield ResultEmitter(spec, out, tally, progress, write_error)
