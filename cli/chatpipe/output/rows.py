"""Results of a run -> one record a request: the result line itself, or one part of the answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from chatpipe.batch.results import Result
from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.output.options import RESULTS
from chatpipe.output.records import calls_of, content_of, messages, usage_line


class Writing(Protocol):
    """What a run writes: one record a result.

    is_whole: records are the result lines themselves, so that an output is as good as a journal.
    needs_order: a record is a bare value, which only its place among the others gives a meaning.
    calls_are_final: text is written, so nobody can answer a tool call.
    """

    is_whole: bool
    needs_order: bool
    calls_are_final: bool

    def head(self) -> bytes:
        """What stands before the records."""

    def row(self, result: Result) -> bytes:
        """The record of a result, with its end."""

    @property
    def recorded(self) -> Callable[[bytes], bytes] | None:
        """The same of a recorded result line. None: a file, too, is written as results come."""


class Parts:
    """The result line itself, or one part of the answer: see Writing. null: a NUL ends each text."""

    def __init__(self, shape: str, *, null: bool = False) -> None:
        self._shape = shape
        self._null = null
        self.is_whole = shape == RESULTS
        self.needs_order = shape != RESULTS
        self.calls_are_final = shape in ("text", "string")

    def head(self) -> bytes:
        return b""

    def row(self, result: Result) -> bytes:
        if self.is_whole:
            return result.line + b"\n"
        return self._part(result.completion if result.is_good else None)

    def recorded(self, line: bytes) -> bytes:
        """The record of a result line, without its item."""
        if self.is_whole:
            return line + b"\n"
        record = values.loads(line)
        response = None if record.get("error") else record.get("response")
        body = response.get("body") if isinstance(response, dict) else None
        is_answer = isinstance(body, dict) and "choices" in body
        return self._part(body if is_answer else None)

    def _part(self, completion: dict[str, Value] | None) -> bytes:
        """What failed is null, or an empty text; of choices the first counts."""
        shape = self._shape
        message = next(messages(completion), {}) if completion is not None else {}
        if shape == "text":
            text = (content_of(message) or "").encode("utf-8", "replace")
            return text + (b"\0" if self._null else b"" if text.endswith(b"\n") else b"\n")
        if completion is None:
            return b"null\n"
        if shape == "usage":
            return usage_line(completion) + b"\n"
        value: Value = completion
        if shape == "string":
            value = content_of(message)
        elif shape == "message":
            value = message
        elif shape == "tool-calls":
            value = list(calls_of(message))
        return values.dumps(value) + b"\n"


def message_of(result: Result) -> str:
    """Why a line failed, in the words of its result line."""
    error = values.loads(result.line).get("error")
    message = error.get("message") if isinstance(error, dict) else None
    return message if isinstance(message, str) else str(result.outcome)
