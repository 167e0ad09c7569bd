"""The description of a run: its input, its requests, its options and its output."""

from __future__ import annotations

from collections.abc import Mapping

from chatpipe.batch.items import ItemReader
from chatpipe.batch.run_format import RunFormat
from chatpipe.conversation.turns import TurnOptions
from chatpipe.inputs.stdin import STDIN, STDIN_NAME
from chatpipe.inputs.values import Value
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.output import FORMATS, OutputOptions
from chatpipe.options.run import (
    JOURNAL_SUFFIX,
    InputOptions,
    ReportOptions,
    ResumeOptions,
    RunLimits,
    RunOptions,
    SharedLimits,
)
from chatpipe.options.server import RetryPolicy, ServerOptions
from chatpipe.prepare import Draft, Prepared
from chatpipe.server.endpoints import Endpoint
from chatpipe.server.identity import recorded_name
from chatpipe.system.console import Console


class RunSpec(NamedTuple):
    """The description of a run. prepared has the servers, and the body that all lines share.

    draft has the console, the environment and the open sources that prepared was made with.
    reader makes items of input lines, run_format makes records of results. With reports_failures each
    failed line is also reported on stderr.
    """

    file: str
    input: InputOptions
    reader: ItemReader
    run_format: RunFormat
    draft: Draft
    prepared: Prepared
    options: RunOptions
    output: OutputOptions
    reports_failures: bool = False

    @property
    def console(self) -> Console:
        return self.draft.console

    @property
    def environ(self) -> Mapping[str, str]:
        return self.draft.environ

    @property
    def server_options(self) -> ServerOptions:
        return self.draft.options.server._replace(uses_jobs=self.options.engine.is_jobs)

    @property
    def endpoint(self) -> Endpoint:
        """The first server."""
        return self.prepared.endpoint

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """The servers of the run."""
        return self.prepared.endpoints

    @property
    def server_names(self) -> tuple[str, ...]:
        """The servers as the records of the run name them."""
        return tuple(map(recorded_name, self.endpoints))

    @property
    def turns(self) -> TurnOptions:
        return self.prepared.turns

    @property
    def defaults(self) -> Mapping[str, Value]:
        return self.prepared.body

    @property
    def input_name(self) -> str:
        """The name of the input in places of lines."""
        return STDIN_NAME if self.file == STDIN else self.file

    @property
    def input_files(self) -> list[str]:
        """The name of the input if it is a file."""
        return [] if self.file == STDIN else [self.file]

    @property
    def retry_policy(self) -> RetryPolicy:
        return self.options.retry

    @property
    def limits(self) -> RunLimits:
        """The limits of the run. Without --prices they have those of the profile.

        Where nothing is sent there are none per minute.
        """
        limits, prices = self.options.limits, self.endpoint.profile.prices
        if self.options.recordings.is_offline:
            limits = limits._replace(shared=SharedLimits())
        return limits if limits.prices or prices is None else limits._replace(prices=prices)

    @property
    def resume(self) -> ResumeOptions:
        return self.options.resume

    @property
    def report(self) -> ReportOptions:
        return self.options.report

    @property
    def allow(self) -> frozenset[str]:
        return self.options.results.allow

    @property
    def only_requests(self) -> bool:
        """True if the run writes Batch lines and sends nothing."""
        return not FORMATS[self.options.results.format].sends

    @property
    def to_file(self) -> bool:
        """True if results go into a file that is replaced at the end. A device gets them as they come."""
        return self.output.is_file and not self.output.is_special

    @property
    def writes_at_the_end(self) -> bool:
        """True if the output is written at the end of a successful run, from the recorded answers."""
        return self.to_file and self.run_format.from_result_lines is not None

    @property
    def journal_path(self) -> str | None:
        return self.resume.journal or (f"{self.output.path}{JOURNAL_SUFFIX}" if self.to_file else None)

    @property
    def keeps_leftovers(self) -> bool:
        """True if answers in OUT that this run did not use are kept when OUT is replaced."""
        return self.writes_at_the_end and self.resume.keep_journal is not False and not self.resume.fresh
