"""Results of a run -> one record a request: the result line, or one part of the answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from chatpipe.batch.result import Result
from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.options.output import RESULTS
from chatpipe.output.records import usage_line
from chatpipe.response.completion import call_records, content_of, messages


class RunFormat(Protocol):
    """The output format of a run: one record a result.

    is_whole: records are the result lines themselves, so the output can serve as a journal.
    needs_order: a record is a bare value, which only its position in the output identifies.
    calls_are_final: the output is text, so nobody can answer a tool call.
    """

    writes_result_lines: bool
    needs_order: bool
    calls_are_final: bool

    def head(self) -> bytes:
        """The bytes before the first record."""

    def row(self, result: Result) -> bytes:
        """The record of a result, with its terminator."""

    @property
    def from_result_line(self) -> Callable[[bytes], bytes] | None:
        """The function from a recorded result line to its record.

        None if there is none: then a file, too, is written while results arrive.
        """


class PartFormat:
    """The formats with the result line or one part of the answer: see Writing. null: end texts with NUL."""

    def __init__(self, format: str, *, null: bool = False) -> None:
        self._format = format
        self._null = null
        self.writes_result_lines = format == RESULTS
        self.needs_order = format != RESULTS
        self.calls_are_final = format in ("text", "string")

    def head(self) -> bytes:
        return b""

    def row(self, result: Result) -> bytes:
        if self.writes_result_lines:
            return result.line + b"\n"
        return self._part(result.completion if result.is_good else None)

    def from_result_line(self, line: bytes) -> bytes:
        """The record of a result line, without its item."""
        if self.writes_result_lines:
            return line + b"\n"
        record = values.loads(line)
        response = None if record.get("error") else record.get("response")
        body = response.get("body") if isinstance(response, dict) else None
        is_answer = isinstance(body, dict) and "choices" in body
        return self._part(body if is_answer else None)

    def _part(self, completion: dict[str, Value] | None) -> bytes:
        """The part of a completion: null or an empty text if there is none. The first choice counts."""
        format = self._format
        message = next(messages(completion), {}) if completion is not None else {}
        if format == "text":
            text = (content_of(message) or "").encode("utf-8", "replace")
            return text + (b"\0" if self._null else b"" if text.endswith(b"\n") else b"\n")
        if completion is None:
            return b"null\n"
        if format == "usage":
            return usage_line(completion) + b"\n"
        value: Value = completion
        if format == "string":
            value = content_of(message)
        elif format == "message":
            value = message
        elif format == "tool-calls":
            value = list(call_records(message))
        return values.dumps(value) + b"\n"


def error_message(result: Result) -> str:
    """The reason why a line failed, as its result line states it."""
    error = values.loads(result.line).get("error")
    message = error.get("message") if isinstance(error, dict) else None
    return message if isinstance(message, str) else str(result.outcome)
