"""item_file.py: items come back as they were, but for the messages of their requests."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import orjson
import pytest

from chatpipe.batch.items import Item
from chatpipe.batch.provider_jobs.item_file import ItemFile
from chatpipe.errors import BadInput, CannotWrite
from chatpipe.inputs.place import Source
from chatpipe.inputs.rows import JsonRowDecoder

HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture
def file() -> Iterator[ItemFile]:
    made = ItemFile()
    yield made
    made.close()


def read(file: ItemFile) -> list[Item]:
    async def found() -> list[Item]:
        return [item async for block in file.read() for item in block]

    return asyncio.run(found())


def test_items_of_several_blocks_in_their_order(file: ItemFile) -> None:
    body = {"model": "m", "messages": HELLO, "max_tokens": 3}
    for line in range(1, 1001):
        item = Item(line, f"id-{line}", {**body}, has_own_id=True)
        file.add([item], [f"fingerprint {line}"], [0])
    assert read(file) == [
        Item(
            line,
            f"id-{line}",
            {"model": "m", "max_tokens": 3},
            has_own_id=True,
            fingerprint=f"fingerprint {line}",
        )
        for line in range(1, 1001)
    ]


def test_items_are_left_out_by_their_part(file: ItemFile) -> None:
    for line in range(1, 1001):
        file.add([Item(line, f"id-{line}", {"model": "m"})], [""], [line % 3])

    async def found() -> list[int]:
        blocks = file.read(lambda item, part: part == 1 or item.line > 7)
        return [item.line async for block in blocks for item in block]

    assert asyncio.run(found()) == [2, 3, 5, 6]


def test_every_field_comes_back(file: ItemFile) -> None:
    """No field of these items has the value that it has if nobody gives it."""
    items = [
        Item(line, f"id-{line}", {"model": "m"}, True, None, (), False, None, line + 1, f"f{line}")
        for line in (1, 2)
    ]
    defaults = Item(3, "line-3", None)
    kept = {name for name in Item._fields if getattr(items[0], name) != getattr(defaults, name)}
    assert kept == {*Item._fields} - {"fault", "row", "warnings"}  # the tests below keep these
    file.add(items, [item.fingerprint for item in items], [0, 0])
    assert read(file) == items


def test_a_line_keeps_its_fault_and_its_warnings(file: ItemFile) -> None:
    fault = BadInput("is null, not a request", place="in:2", fix="leave it out")
    warning = BadInput("is odd", place="--stop")
    file.add([Item(2, "line-2", None, fault=fault, warnings=(warning,))], [""], [0])
    (found,) = read(file)
    assert found.fault is not None
    assert (str(found.fault), found.fault.place, found.body) == (str(fault), "in:2", None)
    assert [*map(str, found.warnings)] == ["--stop: is odd"]


def test_a_row_keeps_its_numbers_as_they_were_typed(file: ItemFile) -> None:
    row = JsonRowDecoder(None, has_columns=False).feed(Source("in", b'{"price": 1.10, "id": 7}'))
    assert row is not None
    file.add([Item(1, "line-1", {"messages": HELLO}, row=row, row_number=1)], ["f"], [0])
    (found,) = read(file)
    assert found.row is not None
    assert (found.row.data, found.row.source) == (row.data, row.source)
    assert orjson.dumps(found.row.fields) == orjson.dumps(row.fields) == b'{"price":1.10,"id":7}'


def test_a_full_disk_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """/dev/full takes no byte."""
    with open("/dev/full", "r+b", buffering=0) as full:
        monkeypatch.setattr("chatpipe.batch.provider_jobs.item_file.open_temporary", lambda: full)
        file = ItemFile()
        file.add([Item(1, "line-1", {"messages": HELLO})], ["f"], [0])
        with pytest.raises(CannotWrite, match="no space left on device: set TMPDIR to a folder on a larger"):
            read(file)
        file.close()
