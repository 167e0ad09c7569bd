"""Results of a run -> one record a request: the result line, or one part of the answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from chatpipe.batch.result import Result, fault_message
from chatpipe.inputs import values
from chatpipe.options.outcomes import Outcome
from chatpipe.options.output import Format, FormatOptions
from chatpipe.output.formats import run_writer_class
from chatpipe.response.result_line import ResultLine


class RunFormat(ABC):
    """The output format of a run: one record a result. properties is its row of FORMATS.

    from_result_lines turns recorded result lines into their records. All end in a newline. It is None if
    there is no such function: then a file, too, is written while results arrive. Answers with one of the
    outcomes in unacceptable have no place in a record, so that `--allow` cannot accept them. missing is the
    record of a line without a result, empty if records say themselves which line they are of.
    """

    missing = b""
    from_result_lines: Callable[[bytes], bytes] | None = None
    unacceptable: frozenset[Outcome] = frozenset()

    def __init__(self, properties: Format) -> None:
        self.properties = properties

    def head(self) -> bytes:
        """The bytes before the first record."""
        return b""

    @abstractmethod
    def row(self, result: Result) -> bytes:
        """The record of a result, with its terminator."""


class ResultLines(RunFormat):
    """The result lines as they are."""

    def __init__(self, properties: Format) -> None:
        super().__init__(properties)
        self.from_result_lines = bytes

    def row(self, result: Result) -> bytes:
        return result.line + b"\n"


class AnswerRecords(RunFormat):
    """One part of each good answer. A result without one gives null or an empty text."""

    def __init__(self, options: FormatOptions) -> None:
        super().__init__(options.properties)
        self._options = options
        self._record = run_writer_class(options.format).record
        self.from_result_lines = self._from_result_lines
        self.missing = self._record(None, options)

    def row(self, result: Result) -> bytes:
        return self._record(result.completion if result.is_good else None, self._options)

    def _from_result_lines(self, lines: bytes) -> bytes:
        results = (ResultLine(values.loads_exact(line)) for line in lines.removesuffix(b"\n").split(b"\n"))
        return b"".join(self._record(each.good_answer, self._options) for each in results)


def create_run_format(options: FormatOptions) -> RunFormat:
    """Create the format asked for, one of RUN_FORMATS."""
    properties = options.properties
    return AnswerRecords(options) if properties.writer else ResultLines(properties)


def error_message(result: Result) -> str:
    """The reason why a line failed, as its result line states it.

    With `--allow failed` a result line has no error, and the fault has the reason.
    """
    if result.is_good and result.item.fault is not None:
        return str(result.item.fault)
    if result.is_good and result.fault is not None:
        return fault_message(result.fault)
    return ResultLine(values.loads(result.line)).error(str(result.outcome)).message
