"""The input of a run, a line at a time: before its event loop runs, and then under it."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest

from chatpipe.batch.input import RunInput
from chatpipe.batch.items import Item
from chatpipe.errors import BadInput, MissingInput
from chatpipe.inputs import lines as feed
from chatpipe.inputs.delimited import CsvDecoder
from chatpipe.inputs.line_decoder import InputForm
from chatpipe.inputs.lines import LineReader
from chatpipe.inputs.place import Source
from chatpipe.inputs.rows import CellRowDecoder
from chatpipe.options.output import ConsoleOptions
from chatpipe.options.run import InputOptions
from chatpipe.system.console import Console

DATA = b"one\r\n\ntwo\nthree"
SOURCES = [
    Source("in", b"one", 1, b"\r\n"),
    Source("in", b"", 2, b"\n"),
    Source("in", b"two", 3, b"\n"),
    Source("in", b"three", 4, b""),
]


def piped(data: bytes) -> int:
    """A descriptor that gives these bytes, and then the end."""
    read, write = os.pipe()
    os.write(write, data)
    os.close(write)
    return read


def opened(folder: Path, data: bytes) -> int:
    """The same from a regular file."""
    path = folder / "in"
    path.write_bytes(data)
    return os.open(path, os.O_RDONLY)


@pytest.fixture(params=["pipe", "file"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[bytes], LineReader]:
    def lines(data: bytes) -> LineReader:
        descriptor = piped(data) if request.param == "pipe" else opened(tmp_path, data)
        request.addfinalizer(lambda: os.close(descriptor))
        return LineReader(descriptor, "in")

    return lines


async def rest(lines: LineReader) -> list[Source]:
    return [line async for block in lines.blocks() for line in block]


@pytest.mark.parametrize("ahead", range(6))
def test_lines_are_the_same_however_many_are_read_ahead(
    source: Callable[[bytes], LineReader], ahead: int
) -> None:
    lines = source(DATA)
    before = [lines.read_line() for _ in range(ahead)]
    assert before[:4] == SOURCES[:ahead]
    assert before[4:] == [None] * (ahead - 4)
    assert asyncio.run(rest(lines)) == SOURCES[ahead:]


@pytest.mark.parametrize("most", range(1, 6))
def test_many_lines_of_a_block_come_in_several_parts(
    source: Callable[[bytes], LineReader], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "_MOST_LINES", most)
    lines = source(DATA)

    async def parts() -> list[list[Source]]:
        return [block async for block in lines.blocks()]

    found = asyncio.run(parts())
    assert max(map(len, found)) <= most
    assert [line for part in found for line in part] == SOURCES


TORTURE = (
    b'\xef\xbb\xbfid,"a ""b"""\r\n1,"x\r\ny,""z"""\n\n'
    + "2,é\u2028\n".encode()
    + b'3,"\n\n"\r\n"4",5" pipe\n5\n6,"open\n'
)


@pytest.mark.parametrize("size", [*range(1, 20), 1 << 16])
def test_a_table_is_the_same_in_blocks_of_any_size(
    source: Callable[[bytes], LineReader], size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "_BLOCK_BYTES", size)
    lines = source(TORTURE)
    table = CellRowDecoder(CsvDecoder())
    rows = [table.feed(line) for line in asyncio.run(rest(lines))]
    found = [row for row in [*rows, table.finish()] if row is not None]
    assert table.columns == ("id", 'a "b"')
    assert [(row.source.line, tuple(row.fields.values()), row.fault is None) for row in found] == [
        (2, ("1", 'x\r\ny,"z"'), True),
        (5, ("2", "é\u2028"), True),
        (6, ("3", "\n\n"), True),
        (9, ("4", '5" pipe'), True),
        (10, ("5", None), False),
        (11, ('6,"open\n', None), False),
    ]


def test_an_empty_input_has_no_line(source: Callable[[bytes], LineReader]) -> None:
    lines = source(b"")
    assert lines.read_line() is None
    assert asyncio.run(rest(lines)) == []


def test_a_descriptor_that_does_not_block_is_waited_for_all_the_same() -> None:
    read, write = os.pipe()
    os.set_blocking(read, False)
    writer = threading.Timer(0.05, os.write, (write, b"one\n"))
    writer.start()
    try:
        assert LineReader(read, "in").read_line() == Source("in", b"one")
    finally:
        writer.join()
        os.close(read)
        os.close(write)


def test_an_unreadable_input_is_missing(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(MissingInput, match="cannot read 'in': is a directory"):
            LineReader(descriptor, "in").read_line()
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("most", range(1, 4))
def test_the_lines_before_a_fault_of_the_input_are_read(
    tmp_path: Path, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "_MOST_LINES", most)
    (tmp_path / "in").write_bytes(b'[1,\n{"a":2}, oops, 3]')
    descriptor = os.open(tmp_path / "in", os.O_RDONLY)
    found: list[bytes] = []

    async def take() -> None:
        async for block in LineReader(descriptor, "in", InputForm.JSONL).blocks():
            found.extend(source.data for source in block)

    with pytest.raises(BadInput):
        asyncio.run(take())
    os.close(descriptor)
    assert found == [b"1", b'{"a":2}']


class Words:
    """A reader: the first line is a header, every other one an item called by it; `refuse` is refused."""

    form = InputForm.TEXT

    def __init__(self) -> None:
        self.header: str | None = None
        self.ended = 0

    @property
    def needs_head(self) -> bool:
        return self.header is None

    def item(self, source: Source) -> Item | None:
        text = source.data.decode()
        if text == "refuse":
            raise BadInput("refused")
        if self.header is None:
            self.header = text
            return None
        return Item(source.line, f"{self.header}-{text}", {}) if text else None

    def items(self, sources: Sequence[Source]) -> Iterable[Item | None]:
        return map(self.item, sources)

    def finish(self) -> Item | None:
        self.ended += 1
        return Item(99, "end", {}) if self.header is not None else None


def items(intake: RunInput) -> list[tuple[str, bool]]:
    async def collected() -> list[tuple[str, bool]]:
        return [(item.custom_id, item.is_ours) async for item in intake.items()]

    return asyncio.run(collected())


def test_the_head_is_read_before_anything_else(source: Callable[[bytes], LineReader]) -> None:
    reader = Words()
    intake = RunInput(source(DATA), reader, InputOptions(), Console(ConsoleOptions()))
    intake.read_head()
    assert (reader.header, reader.ended) == ("one", 0)
    assert items(intake) == [("one-two", True), ("one-three", True), ("end", True)]


def test_a_head_that_is_refused_is_raised_at_once(source: Callable[[bytes], LineReader]) -> None:
    intake = RunInput(source(b"refuse\nx\n"), Words(), InputOptions(), Console(ConsoleOptions()))
    with pytest.raises(BadInput):
        intake.read_head()


def test_the_reader_learns_that_an_empty_input_has_ended(source: Callable[[bytes], LineReader]) -> None:
    reader = Words()
    intake = RunInput(source(b""), reader, InputOptions(), Console(ConsoleOptions()))
    intake.read_head()
    assert reader.ended == 1


def test_shards_and_limits(source: Callable[[bytes], LineReader]) -> None:
    intake = RunInput(
        source(b"h\na\nb\nc\nd\n"), Words(), InputOptions(shard=(2, 2), limit=2), Console(ConsoleOptions())
    )
    intake.read_head()
    assert items(intake) == [("h-a", True), ("h-b", False), ("h-c", True)]


class Warned(Words):
    """A reader whose items have warnings, and which has those of a block in memory."""

    def items(self, sources: Sequence[Source]) -> list[Item | None]:
        return [_warned(self.item(source)) for source in sources]

    def finish(self) -> Item | None:
        return _warned(super().finish())


def _warned(item: Item | None) -> Item | None:
    if item is None:
        return None
    return item._replace(warnings=(BadInput(f"{item.custom_id} is odd"), BadInput("is long", place="--stop")))


def test_the_warnings_of_all_items_are_printed_and_those_about_an_option_once(
    source: Callable[[bytes], LineReader], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(Console, "warning", lambda _, text: said.append(text))
    intake = RunInput(source(b"h\na\nb\n"), Warned(), InputOptions(), Console(ConsoleOptions()))
    intake.read_head()
    items(intake)
    assert said == ["in:2: h-a is odd", "in:2: --stop: is long", "in:3: h-b is odd", "in:99: end is odd"]


class InMemory(Words):
    """A reader that has the items of a block in memory."""

    def items(self, sources: Sequence[Source]) -> list[Item | None]:
        return [self.item(source) for source in sources]


@pytest.mark.parametrize("reader", [Words, InMemory])
def test_a_shard_or_a_limit_alone(source: Callable[[bytes], LineReader], reader: type[Words]) -> None:
    def found(options: InputOptions) -> list[tuple[str, bool]]:
        intake = RunInput(source(b"h\na\nb\nc\n"), reader(), options, Console(ConsoleOptions()))
        intake.read_head()
        return items(intake)[:3]

    assert found(InputOptions(shard=(2, 2))) == [("h-a", True), ("h-b", False), ("h-c", True)]
    assert found(InputOptions(limit=2)) == [("h-a", True), ("h-b", True)]


class Named(Words):
    """A reader whose items have custom_ids of their own."""

    def item(self, source: Source) -> Item | None:
        item = super().item(source)
        return item and item._replace(has_own_id=True)


class NamedInMemory(Named, InMemory):
    """The same, which has the items of a block in memory."""


@pytest.mark.parametrize("reader", [Named, NamedInMemory])
def test_a_custom_id_that_has_to_be_unique(
    source: Callable[[bytes], LineReader], reader: type[Words]
) -> None:
    console = Console(ConsoleOptions())
    intake = RunInput(source(b"h\na\nb\na\n"), reader(), InputOptions(), console, own_ids_once=True)
    intake.read_head()

    async def faults() -> list[str]:
        return [str(item.fault or "") async for item in intake.items()]

    first, *others, second, _ = asyncio.run(faults())
    assert (first, others) == ("", [""])
    assert second.startswith("in:4: custom_id 'h-a' is on another line, too: ")
