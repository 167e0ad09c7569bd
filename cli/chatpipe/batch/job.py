"""What a run of many requests was asked for, put together of the options."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from chatpipe.batch.items import ItemReader
from chatpipe.batch.run_format import RunFormat
from chatpipe.conversation.wanted import TurnOptions
from chatpipe.inputs.values import Value
from chatpipe.options.output import OutputOptions
from chatpipe.options.run import InputOptions, ReportOptions, ResumeOptions, RunLimits
from chatpipe.options.server import RetryPolicy, ServerOptions
from chatpipe.server.endpoints import Endpoint
from chatpipe.system.console import Console


class Job(NamedTuple):
    """What was asked for. reader makes items of lines, writing makes records of their results.

    only_requests: the Batch lines are written, and nothing is sent. tells_failures: each is told on
    stderr, too. wanted: what may follow an answer; defaults: the body of every line that has no other.
    """

    file: str
    reader: ItemReader
    run_format: RunFormat
    only_requests: bool
    reports_failures: bool
    endpoint: Endpoint
    connection: ServerOptions
    policy: RetryPolicy
    input: InputOptions
    limits: RunLimits
    resume: ResumeOptions
    report: ReportOptions
    target: OutputOptions
    allow: frozenset[str]
    console: Console
    environ: Mapping[str, str]
    turns: TurnOptions = TurnOptions()
    defaults: Mapping[str, Value] = {}

    @property
    def to_file(self) -> bool:
        """Whether results go into a file that is replaced at the end. A device gets them as they come."""
        path = self.target.path
        return self.target.is_file and path is not None and (os.path.isfile(path) or not os.path.exists(path))

    @property
    def writes_at_the_end(self) -> bool:
        """Whether the output is written when all is good, from what was recorded."""
        return self.to_file and self.run_format.from_result_line is not None

    @property
    def journal_path(self) -> str | None:
        return self.resume.journal or (f"{self.target.path}.journal" if self.to_file else None)

    @property
    def keeps_leftovers(self) -> bool:
        """Whether OUT, which is replaced, may hold what is worth keeping, and nobody said that it is not."""
        return self.writes_at_the_end and self.resume.keep_journal is not False and not self.resume.fresh
