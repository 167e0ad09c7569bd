"""A line of the input -> an item: the request of the line, merged with the options for all lines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import repeat
from typing import Protocol

from chatpipe.batch.line_template import LineTemplate
from chatpipe.errors import BadInput
from chatpipe.inputs import values
from chatpipe.inputs.line_decoder import InputForm
from chatpipe.inputs.messages import not_json_input
from chatpipe.inputs.place import MAX_LINE_BYTES, TOO_LONG, Source
from chatpipe.inputs.rows import Row
from chatpipe.inputs.text_decoder import not_utf8
from chatpipe.inputs.values import NotJSON, Value, json_type
from chatpipe.line_record import LineRecord
from chatpipe.options.request import CheckOptions
from chatpipe.request.batch_line import RequestLine, parse_batch_lines, parse_line
from chatpipe.schema.check import Problem, are_valid, check
from chatpipe.schema.line_problems import envelope_problems, prompt_problems
from chatpipe.schema.refuse import line_fault


class Item(LineRecord):
    """One line of the input. line counts physical lines, from 1. body is None if there is a fault.

    is_ours is False for an item of another shard, which is only counted. row holds the columns that
    `map` copies to the output. row_number, from 1, selects the shard if a row may span several lines.
    warnings have no place, or the option that they are about.
    fingerprint identifies the request, once it is known; see LineFingerprints.
    """

    line: int
    custom_id: str
    body: dict[str, Value] | None
    has_own_id: bool = False
    fault: BadInput | None = None
    warnings: tuple[BadInput, ...] = ()
    is_ours: bool = True
    row: Row | None = None
    row_number: int | None = None
    fingerprint: str = ""


class ItemReader(Protocol):
    """A reader that makes items of the lines of the input."""

    @property
    def needs_head(self) -> bool:
        """True until the reader has seen the lines that it needs before a run begins."""

    @property
    def form(self) -> InputForm:
        """The form in which the reader expects the input."""

    def item(self, source: Source) -> Item | None:
        """The item that ends with this line, or None. An error in the line is the fault of its item.

        Raises BadInput, while needs_head only, for an error that affects all lines.
        """

    def items(self, sources: Sequence[Source]) -> Iterable[Item | None]:
        """The items of a block of lines, as item() makes them."""

    def finish(self) -> Item | None:
        """The unfinished item at the end of the input, or None. Raises like item()."""


class ItemSource(Protocol):
    """The items of a run: one of the two methods is called, once."""

    def items(self) -> AsyncIterator[Item]:
        """The items of this shard, up to the limit. Items of other shards have is_ours False."""

    def blocks(self) -> AsyncIterator[Iterable[Item]]:
        """The same items in blocks. All of a block must be taken before the next one.

        A block that is a list has its items in memory. Those of another are made as they are taken.
        """


class RequestReader:
    """An ItemReader for lines that hold requests. With plain, every line is a prompt."""

    needs_head = False

    def __init__(self, template: LineTemplate, *, plain: bool, check: CheckOptions) -> None:
        self.form = InputForm.TEXT if plain else InputForm.JSONL
        self._template = template
        self._is_merged = not template.is_empty
        self._plain = plain
        self._is_checked = not check.off
        self._is_strict = check.strict

    def item(self, source: Source) -> Item | None:
        """The item of a line, None for a blank line. Never raises: an error is the fault of the item."""
        if not source.data.strip():
            return None
        try:
            line = self._line(source)
        except BadInput as fault:
            return Item(source.line, f"line-{source.line}", None, fault=fault)
        return self._item_of(source, line)

    def items(self, sources: Sequence[Source]) -> Iterable[Item | None]:
        """The items of a block of lines. Batch lines without a problem, as most are, are read together."""
        texts = [source.data for source in sources]
        if self._plain or max(map(len, texts), default=0) > MAX_LINE_BYTES:
            return map(self.item, sources)
        try:
            found = values.loads_all(texts)
        except NotJSON:
            return map(self.item, sources)
        return self._good_items(sources, found) or map(self._item_of_value, sources, found)

    def _good_items(self, sources: Sequence[Source], found: Sequence[Value]) -> list[Item] | None:
        """The items of Batch lines without a problem, None if there may be other lines among them."""
        lines = parse_batch_lines(found)
        if lines is None:
            return None
        ids, bodies = lines
        if self._is_merged:
            bodies = [*map(self._template.apply, bodies)]
        if self._is_checked and not are_valid(bodies, strict=self._is_strict):
            return None
        return [*map(Item, (source.line for source in sources), ids, bodies, repeat(True))]

    def _item_of_value(self, source: Source, value: Value) -> Item:
        """The item of a line that holds this value."""
        try:
            line = _request_line(source, value)
        except BadInput as fault:
            return Item(source.line, f"line-{source.line}", None, fault=fault)
        return self._item_of(source, line)

    def _item_of(self, source: Source, line: RequestLine) -> Item:
        """The item of a line with a request."""
        own_id = line.custom_id if isinstance(line.custom_id, str) else ""
        name, body = own_id or f"line-{source.line}", line.body
        if found := self._line_problems(line):
            item = Item(source.line, name, None, bool(own_id))
            return with_problems(item, [(each, line_fault(each)) for each in found], source)
        if self._is_merged:
            body = self._template.apply(body)
        item = Item(source.line, name, body, bool(own_id))
        if self._is_checked and (found := check(body, strict=self._is_strict)):
            problems = [(each, self._template.fault(each, line)) for each in found]
            return with_problems(item, problems, source)
        return item

    def _line_problems(self, line: RequestLine) -> Sequence[Problem]:
        """The problems of a line that cannot be merged with the options, or has nothing to ask."""
        if not isinstance(line.body, dict):
            return [Problem(line.pointer, "type", f"is {json_type(line.body)}, not an object")]
        return envelope_problems(line) or (prompt_problems(line) if self._is_checked else ())

    def finish(self) -> None:
        """Return None: no item spans lines."""

    def _line(self, source: Source) -> RequestLine:
        if len(source.data) > MAX_LINE_BYTES:
            raise BadInput(TOO_LONG, place=source.place())
        if self._plain:
            return RequestLine("string", {"messages": [{"role": "user", "content": _text(source)}]})
        try:
            value = values.loads_strict(source.data)
        except NotJSON as error:
            raise not_json_input(source, error) from error
        return _request_line(source, value)


def _request_line(source: Source, value: Value) -> RequestLine:
    """The request in the value of a line. Raises BadInput."""
    line = parse_line(value)
    if line is None:
        raise BadInput(f"is {json_type(value)}, not a request", place=source.place())
    return line


def with_problems(item: Item, problems: Sequence[tuple[Problem, BadInput]], source: Source) -> Item:
    """An item with its problems and their errors: warnings are added, and errors become its fault."""
    if errors := [fault for problem, fault in problems if problem.severity == "error"]:
        return item._replace(body=None, fault=_at_line(errors, source.place()))
    return item._replace(warnings=tuple(fault for _, fault in problems))


def _at_line(errors: Sequence[BadInput], place: str) -> BadInput:
    """The error for all that is wrong with a line. What helps with one of several is no fix of the line."""
    if len(errors) > 1:
        return BadInput("; ".join(map(str, errors)), place=place)
    [error] = errors
    return BadInput(": ".join(filter(None, (error.place, error.clause))), place=place, fix=error.fix)


def _text(source: Source) -> str:
    if b"\0" in source.data:
        raise BadInput("binary data, a NUL", place=source.place())
    try:
        return source.data.decode()
    except UnicodeDecodeError as error:
        raise not_utf8(error, source.name, source.place()) from error


def in_shard(line: int, shard: tuple[int, int] | None) -> bool:
    """Return True if `--shard K/N` takes this line: (line - 1) mod N = K - 1."""
    return shard is None or (line - 1) % shard[1] == shard[0] - 1
