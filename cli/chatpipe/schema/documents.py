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
from chatpipe.request.batch_line import OTHER_ENDPOINT, RequestLine, parse_line
from chatpipe.schema.check import Problem, check

_ID_HINT = "results come in any order, it tells them apart"


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
        self._first_url: tuple[Value, int] | None = None

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
        if line.format == "Batch line":
            yield from self._check_envelope(value, line, number)
        if line.has_empty_prompt:
            yield Problem("/prompt" if line.format == "row" else "", "minLength", "is empty")
        if line.format == "row" and line.custom_id is not None:
            yield from self._check_custom_id(line.custom_id, number)
        if not line.is_of_other_endpoint:
            yield from self._check_body(line)

    def _check_body(self, line: RequestLine) -> Iterator[Problem]:
        for problem in check(line.body, strict=self._strict, without_model=line.is_made):
            yield problem._replace(pointer=line.locate(problem.pointer))

    def _check_envelope(self, value: dict[str, Any], line: RequestLine, number: int) -> Iterator[Problem]:
        """Check the envelope. Some providers omit `method` and `url`, so only wrong values are errors."""
        if "custom_id" in value:
            yield from self._check_custom_id(value["custom_id"], number)
        else:
            yield Problem("", "required", "has no 'custom_id'", _ID_HINT)
        if value.get("method", "POST") != "POST":
            yield Problem("/method", "enum", f"is {_quote(value['method'])}, not 'POST'")
        url = line.url
        if url is not None and not isinstance(url, str):
            yield Problem("/url", "type", f"is {json_type(url)}, not a string")
        elif line.is_of_other_endpoint:
            yield Problem("/url", "endpoint", f"{_quote(url)} {OTHER_ENDPOINT}")
        elif url and self._first_url is None:
            self._first_url = (url, number)
        elif url and self._first_url is not None and self._first_url[0] != url:
            first = f"{_quote(self._first_url[0])} on line {self._first_url[1]}"
            yield Problem("/url", "one-url", f"is {_quote(url)}, but {first}", "a file has one url")

    def _check_custom_id(self, custom_id: Value, number: int) -> Iterator[Problem]:
        if not isinstance(custom_id, str):
            yield Problem("/custom_id", "type", f"is {json_type(custom_id)}, not a string")
        elif not custom_id:
            yield Problem("/custom_id", "minLength", "is empty", _ID_HINT)
        elif custom_id in self._lines_by_id:
            first = self._lines_by_id[custom_id]
            yield Problem(
                "/custom_id",
                "unique",
                f"{_quote(custom_id)} is on line {first}, too",
                "give each line its own",
            )
        else:
            self._lines_by_id[custom_id] = number


def _quote(value: Value) -> str:
    text = value if isinstance(value, str) else values.dumps(value).decode("utf-8", "replace")
    return f"'{text[:60]}'"
