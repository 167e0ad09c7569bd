"""Format `table`: a row for each recorded answer or failure, for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from chatpipe.errors import ChatpipeError
from chatpipe.inputs.values import Value
from chatpipe.options.outcomes import Outcome
from chatpipe.options.output import FormatOptions
from chatpipe.output.formats import FormatWriter
from chatpipe.response import judge
from chatpipe.response.completion import call_records, content_of, first_message, refusal_of
from chatpipe.response.result_line import ResultLine
from chatpipe.response.usage import spent_usage
from chatpipe.system.descriptor import Sink
from chatpipe.system.escape import escape_in_line
from chatpipe.system.text_width import columns_of

_HEAD = ("id", "outcome", "tokens", "seconds", "text")
_UNKNOWN = "-"
_OUTCOME = max(len(outcome) for outcome in Outcome)
_NUMBER = 8  # columns of tokens and of seconds
_GAP = "  "
_FEWEST = 8  # columns of an id, however narrow the table is
_LEAST_TEXT = 8  # columns of a text, for which a narrow table has neither seconds nor tokens
_CUT = "\N{HORIZONTAL ELLIPSIS}"
_CHARACTERS = 4  # a column has no more than these, so that a letter with a thousand accents is cut, too


class TableWriter(FormatWriter):
    """One row: id, outcome, tokens of all turns, seconds, and the text as far as it fits into the width.

    A narrow table leaves out seconds, and then tokens, so that some of the text is left.
    The text is the content of the first choice, else its refusal, its tool calls, or the reason of a failure.
    Control characters are escaped, so that a row is one line and does not drive a terminal. Of an id that
    is too long the end is shown, because ids that people choose begin alike.
    """

    def __init__(self, out: Sink, options: FormatOptions, stderr: Callable[[str], None]) -> None:
        super().__init__(out, options, stderr)
        self._line = ResultLine({})
        self._fault: ChatpipeError | None = None

    @classmethod
    def head(cls, options: FormatOptions) -> bytes:
        return _row(_HEAD, options.columns)

    def recorded(self, line: ResultLine) -> None:
        self._line = line

    def fail(self, fault: ChatpipeError, *, is_end: bool) -> None:
        self._fault = fault
        if is_end:
            self._write({}, fault.what)

    def end(self, completion: Mapping[str, Value], body: bytes | None) -> None:
        self._write(dict(completion), _text(first_message(completion)))

    def _write(self, completion: dict[str, Value], text: str) -> None:
        line = self._line
        name = line.custom_id or completion.get("id")
        total = spent_usage(completion, line.earlier_usage).total
        cells = (
            name if isinstance(name, str) else _UNKNOWN,
            self._outcome(completion),
            str(total) if total else _UNKNOWN,
            _UNKNOWN if line.latency_s is None else f"{line.latency_s:.2f}",
            text,
        )
        self.out.write(_row(cells, self.options.columns))

    def _outcome(self, completion: dict[str, Value]) -> str:
        """The outcome that a run recorded; otherwise that of the answer, and network if it did not come."""
        if recorded := self._line.outcome:
            return recorded
        if self._fault is not None:
            return Outcome.network
        verdict = judge.verdict(completion, allow=frozenset(), text_format=True)
        return Outcome.ok if verdict is None else verdict.outcome


def _text(message: Mapping[str, Value]) -> str:
    calls = (f"{call['name']} {call.get('arguments', call.get('raw'))}" for call in call_records(message))
    return content_of(message) or refusal_of(message) or ", ".join(calls)


def _row(cells: tuple[str, ...], columns: int) -> bytes:
    name, outcome, tokens, seconds, text = cells
    name_columns = max(columns // 5, _FEWEST)
    start = (
        _padded(_end_of(escape_in_line(name[-_CHARACTERS * name_columns :]), name_columns), name_columns),
        _padded(_start_of(escape_in_line(outcome), _OUTCOME), _OUTCOME),
    )
    rest = columns - name_columns - _OUTCOME - 2 * len(_GAP)
    fitting = max(rest - _LEAST_TEXT, 0) // (_NUMBER + len(_GAP))
    numbers = (tokens.rjust(_NUMBER), seconds.rjust(_NUMBER))[:fitting]
    rest = max(rest - len(numbers) * (_NUMBER + len(_GAP)), 1)
    row = _GAP.join((*start, *numbers, _start_of(escape_in_line(text[: _CHARACTERS * rest + 1]), rest)))
    return _start_of(row.rstrip(" "), columns).encode("utf-8", "replace") + b"\n"


def _start_of(text: str, columns: int) -> str:
    """The start of a text, with an ellipsis in the place of what does not fit."""
    used = fitting = 0
    for at, character in enumerate(text):
        used += columns_of(character)
        if used > columns or at >= _CHARACTERS * columns:
            return text[:fitting] + _CUT
        if used < columns:
            fitting = at + 1
    return text


def _end_of(text: str, columns: int) -> str:
    """The end of a text, with an ellipsis in the place of what does not fit."""
    return _start_of(text[::-1], columns)[::-1]


def _padded(text: str, columns: int) -> str:
    return text + " " * (columns - columns_of(text))
