"""Request files -> all their problems, each with its file, line and column.

A file holds one JSON document or JSONL; its first non-blank line decides which. JSONL is read line
by line, whatever its length.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chatpipe.inputs import values
from chatpipe.inputs.place import MAX_LINE_BYTES, TOO_LONG, Source, repeated_members
from chatpipe.inputs.values import NotJSON, Value, json_type
from chatpipe.named_tuple import NamedTuple
from chatpipe.request.batch_line import RequestLine, parse_line
from chatpipe.schema.check import Problem, check
from chatpipe.schema.line_problems import OWN_ID, envelope_problems, prompt_problems
from chatpipe.schema.phrases import quote


class LocatedProblem(NamedTuple):
    """A problem with its location. line and column count from 1."""

    file: str
    line: int
    column: int
    problem: Problem


def split_documents(lines: Iterator[Source]) -> Iterator[Source]:
    """The JSON texts in the lines of a file: one that spans all lines, or one for each non-blank line."""
    first = next((line for line in lines if line.data.strip()), None)
    if first is None:
        return
    if _spans_lines(first.data.strip()):
        yield Source(first.name, b"\n".join(line.data for line in (first, *lines)), first.line)
        return
    yield first
    yield from (line for line in lines if line.data.strip())


def _spans_lines(line: bytes) -> bool:
    """Return True if a first line begins a document of several lines, and is not a broken line of JSONL."""
    return line.endswith((b"{", b"[", b",", b":")) and not values.is_json(line)


class Checker:
    """Check of the documents of one file, one at a time.

    It remembers every custom_id, which must be unique, and the first url, which all lines must share.
    """

    def __init__(self, *, strict: bool) -> None:
        self._strict = strict
        self._lines_by_id: dict[str, int] = {}
        self._first_url: tuple[str, int] | None = None

    def check_lines(self, name: str, lines: Iterator[Source]) -> Iterator[LocatedProblem]:
        """All problems in the lines of the file called name. Raises what reading them raises."""
        is_empty = True
        for document in split_documents(lines):
            is_empty = False
            yield from self.problems(document)
        if is_empty:
            problem = Problem("", "empty", "is missing", "there is none in the input", "warning")
            yield LocatedProblem(name, 1, 1, self._judge(problem))

    def problems(self, source: Source) -> Iterator[LocatedProblem]:
        """All problems of one document. Never raises."""
        try:
            value = values.loads_strict(source.data)
        except NotJSON as error:
            is_cut = len(source.data) > MAX_LINE_BYTES  # see LineDecoder
            problem = Problem("", "json", f"is {TOO_LONG}" if is_cut else f"is not JSON: {error.what}")
            yield LocatedProblem(source.name, source.line + error.line - 1, error.column, problem)
            return
        if values.has_repeated_name(source.data):
            for pointer, line, column in repeated_members(source.data):
                problem = Problem(pointer, "repeated", "comes twice", "the last one counts", "warning")
                yield LocatedProblem(source.name, source.line + line - 1, column, self._judge(problem))
        for problem in self._check_value(value, source.line):
            line, column = source.at(problem.pointer)
            yield LocatedProblem(source.name, line, column, problem)

    def _judge(self, warning: Problem) -> Problem:
        return warning._replace(severity="error") if self._strict else warning

    def _check_value(self, value: Value, number: int) -> Iterator[Problem]:
        line = parse_line(value)
        if line is None:
            hint = "put one request on a line" if isinstance(value, list) else ""
            yield Problem("", "type", f"is {json_type(value)}, not an object", hint)
            return
        yield from envelope_problems(line)
        if line.format == "Batch line":
            yield from self._check_batch_line(value, line, number)
        if isinstance(line.custom_id, str) and line.custom_id:
            first = self._lines_by_id.setdefault(line.custom_id, number)
            if first != number:
                what = f"{quote(line.custom_id)} is on line {first}, too"
                yield Problem("/custom_id", "unique", what, OWN_ID)
        if not line.is_of_other_endpoint:
            yield from self._check_body(line)

    def _check_body(self, line: RequestLine) -> Iterator[Problem]:
        yield from prompt_problems(line)
        for problem in check(line.body, strict=self._strict, without_model=line.is_made):
            yield problem._replace(pointer=line.locate(problem.pointer))

    def _check_batch_line(self, value: dict[str, Any], line: RequestLine, number: int) -> Iterator[Problem]:
        """Check the members of a Batch line together. Some providers omit `method` and `url`."""
        if line.custom_id is None:
            yield Problem("", "required", "has no 'custom_id'", OWN_ID)
        if (method := value.get("method", "POST")) != "POST":
            text = method if isinstance(method, str) else values.dumps(method).decode("utf-8", "replace")
            yield Problem("/method", "enum", f"is {quote(text)}, not 'POST'", "write POST")
        if not isinstance(line.url, str) or not line.url or line.is_of_other_endpoint:
            return
        first_url, first_line = self._first_url = self._first_url or (line.url, number)
        if first_url != line.url:
            what = f"is {quote(line.url)}, but {quote(first_url)} on line {first_line}"
            yield Problem("/url", "one-url", what, "a file has one url")
