"""Rows -> items: ids, places, faults, and the rules for names of columns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from chatpipe.batch.items import Item
from chatpipe.batch.tables.bodies import RowTemplate, read_image_field
from chatpipe.batch.tables.row_items import ColumnRules, RowReader
from chatpipe.errors import BadInput, UsageFault
from chatpipe.inputs.delimited import CsvDecoder, TsvDecoder
from chatpipe.inputs.place import Source
from chatpipe.inputs.rows import CellRowDecoder, JsonRowDecoder, LineRowDecoder, RowDecoder
from chatpipe.options.request import CheckOptions
from chatpipe.request.build import RequestParts, TypedPart, build
from support.parametrize import cases
from support.refusals import refused


def reader(
    rows: RowDecoder,
    text: str = "{{a}}",
    check: CheckOptions | None = None,
    rules: ColumnRules | None = None,
    *,
    skips_empty: bool = False,
    **fields: Any,
) -> RowReader:
    turn = TypedPart({"role": "user", "content": text}, "TEMPLATE")
    built = build(RequestParts(typed_messages=[turn], default_model="m"))
    template = RowTemplate(built._replace(body={**built.body, **fields}))
    return RowReader(rows, template, check or CheckOptions(), rules or ColumnRules(), skips_empty=skips_empty)


def items(rows: RowReader, *lines: bytes) -> list[Item]:
    found = [rows.item(Source("t", line, number)) for number, line in enumerate(lines, 1)]
    return [item for item in [*found, rows.finish()] if item is not None]


def prompts(found: Iterable[Item]) -> list[str | None]:
    """The text of each request; None for an item without one."""
    return [None if item.body is None else item.body["messages"][0]["content"] for item in found]


def faults(found: Iterable[Item]) -> list[str | None]:
    return [None if item.fault is None else str(item.fault) for item in found]


def csv(columns: tuple[str, ...] | None = None) -> CellRowDecoder:
    return CellRowDecoder(CsvDecoder(), columns)


def test_an_item_has_the_line_the_number_and_the_row() -> None:
    first, second = items(reader(csv()), b"a,b", b"1,2", b"", b"3,4")
    assert (first.line, first.row_number, second.line, second.row_number) == (2, 1, 4, 2)
    assert [item.row and item.row.fields for item in (first, second)] == [
        {"a": "1", "b": "2"},
        {"a": "3", "b": "4"},
    ]
    assert prompts([first, second]) == ["1", "3"]
    assert faults([first, second]) == [None, None]


@cases(
    ("cell", "custom_id", "is_own"),
    {
        "text": ('"x"', "x", True),
        "empty": ('""', "line-1", False),
        "a number": ("5", "line-1", False),
        "null": ("null", "line-1", False),
    },
)
def test_an_id_of_its_own_is_text(cell: str, custom_id: str, is_own: bool) -> None:
    [item] = items(reader(JsonRowDecoder()), f'{{"a":"1","custom_id":{cell}}}'.encode())
    assert (item.custom_id, item.has_own_id) == (custom_id, is_own)


def test_a_row_without_an_id_is_called_by_its_line() -> None:
    found = items(reader(LineRowDecoder(), "{{line}}"), b"x", b"", b"y")
    assert [(item.custom_id, item.has_own_id) for item in found] == [("line-1", False), ("line-3", False)]


def test_a_row_that_is_broken_is_an_item_with_its_fault() -> None:
    found = items(reader(csv()), b"a,b", b"1", b"2,3")
    assert faults(found) == ["t:2: 1 cell, where there are 2 columns", None]
    assert prompts(found) == [None, "2"]


@cases(
    ("text", "fault"),
    {
        "an index": ("{{a.b[0].c}}", "t:1: no field 'a.b[0].c': write {{a.b.0.c}}"),
        "an index of another": ("{{x[0]}}", "t:1: no field 'x[0]'"),
        "signs alone": ("{{_}}", "t:1: no field '_'"),
    },
)
def test_a_field_that_is_missing_has_the_nearest_one(text: str, fault: str) -> None:
    assert faults(items(reader(JsonRowDecoder(), text), b'{"":1,"a":{"b":[{"c":2}]}}')) == [fault]


def test_a_field_that_is_missing_is_a_fault_at_its_line() -> None:
    found = items(reader(JsonRowDecoder()), b'{"a":"1"}', b'{"b":"1"}')
    assert faults(found) == [None, "t:2: no field 'a'"]


def test_a_request_that_cannot_be_made_is_a_fault_at_its_line() -> None:
    """The image is no image."""
    turn = TypedPart({"role": "user", "content": "{{a}}"}, "TEMPLATE")
    template = RowTemplate(build(RequestParts(typed_messages=[turn])), read_image_field("b", ".", None))
    rows = RowReader(JsonRowDecoder(), template, CheckOptions(off=True), ColumnRules())
    [item] = items(rows, b'{"a":"1","b":"no-such-image.png"}')
    assert item.fault is not None
    assert item.fault.place == "t:1"
    assert item.body is None


@cases(
    ("check", "fault"),
    {
        "checked": (CheckOptions(), "t:1: /temperature: is 9, not from 0 to 2"),
        "off": (CheckOptions(off=True), None),
    },
)
def test_a_request_is_checked(check: CheckOptions, fault: str | None) -> None:
    [item] = items(reader(JsonRowDecoder(), check=check, temperature=9), b'{"a":"1"}')
    assert (None if item.fault is None else str(item.fault)) == fault


@pytest.mark.parametrize("strict", [False, True])
def test_a_warning_is_a_fault_if_the_check_is_strict(strict: bool) -> None:
    rows = reader(JsonRowDecoder(), check=CheckOptions(strict=strict), no_such_field=1)
    [item] = items(rows, b'{"a":"1"}')
    assert (item.fault is not None) == strict


@cases(
    ("rows", "lines", "expected"),
    {
        "cells": (csv(), [b"a,b", b" ,", b"1,", b",2"], ["1", None]),
        "ragged": (csv(), [b"a,b", b",,,", b"1,,"], [None]),
        "JSON": (
            JsonRowDecoder(),
            [b'{"a":"","b":null}', b'{"a":" \\t"}', b"{}", b'{"a":0}', b"5"],
            ["0", None],
        ),
    },
)
def test_rows_without_any_text_are_left_out(
    rows: RowDecoder, lines: list[bytes], expected: list[str | None]
) -> None:
    assert prompts(items(reader(rows, skips_empty=True), *lines)) == expected


def test_rows_without_any_text_are_kept_otherwise() -> None:
    assert prompts(items(reader(csv()), b"a,b", b",")) == [None]


def test_the_last_row_comes_at_the_end() -> None:
    found = items(reader(csv()), b"a,b", b'1,"2', b'3"')
    assert [item.row and item.row.fields["b"] for item in found] == ["2\n3"]
    found = items(reader(csv()), b"a,b", b'1,"2')
    assert len(found) == 1
    assert found[0].fault is not None


def test_a_head_is_needed_until_the_columns_are_known() -> None:
    rows = reader(csv())
    assert rows.needs_head
    assert rows.item(Source("t", b"a,b", 1)) is None
    assert not rows.needs_head


# Names of columns

HEAD = "TEMPLATE names 'a', which is not a column"


@cases(
    ("head", "fix"),
    {
        "one": (b"b,c", "choose from b, c"),
        "near": (b"aa,c", "did you mean 'aa'?"),
        "near, in quotes": (b"a ,c", 'write {{"a "}}'),
        "eight": (b"1,2,3,4,5,6,7,8", "choose from 1, 2, 3, 4, 5, 6, 7, 8"),
        "nine": (b"1,2,3,4,5,6,7,8,9", "choose from 1, 2, 3, 4, 5, 6, 7, 8, ..."),
        "twice": (b"b,b,c,", "choose from b, c"),
        "no names": (b",", "no column has a name: name them with --fields"),
        "another delimiter": (b"x;y", "the only column is 'x;y': read it with --delimiter ';'"),
        "a tab": (b"x\ty", "the only column is 'x\ty': read it with --tsv"),
        "bars": (b"x|y", "the only column is 'x|y': read it with --delimiter '|'"),
        "one column": (b"x", "choose from x"),
    },
)
def test_a_column_that_is_missing_ends_it_at_the_head(head: bytes, fix: str) -> None:
    rows = reader(csv())
    with refused(BadInput, what=HEAD, place="t:1", fix=fix):
        rows.item(Source("t", head, 1))


def test_commas_in_the_only_column_of_tsv_are_those_of_csv() -> None:
    with refused(BadInput, what=HEAD, fix="the only column is 'x,y': read it with --csv"):
        reader(CellRowDecoder(TsvDecoder())).item(Source("t", b"x,y", 1))


def test_a_column_that_is_missing_among_given_names_ends_it_at_once() -> None:
    with refused(BadInput, what=HEAD, place=""):
        reader(csv(("b", "c")))


def test_names_are_checked_once() -> None:
    rows = reader(csv(), rules=ColumnRules(is_keyed=True))
    with refused(BadInput, what="two columns are called 'b'"):
        rows.item(Source("t", b"a,b,b", 1))
    assert prompts(items(rows, b"1,2,3")) == ["1"]


@cases(
    ("rules", "head", "what"),
    {
        "used by nothing": (ColumnRules(), b"a,b,b,,", None),
        "used by the template": (ColumnRules(), b"a,a", "two columns are called 'a'"),
        "the id": (ColumnRules(), b"a,custom_id,custom_id", "two columns are called 'custom_id'"),
        "written": (ColumnRules(written=("b",)), b"a,b,b", "two columns are called 'b'"),
        "written, others come twice": (ColumnRules(written=("c",)), b"a,b,b", None),
        "keyed": (ColumnRules(is_keyed=True), b"a,b,b", "two columns are called 'b'"),
        "keyed, once each": (ColumnRules(is_keyed=True), b"a,b,c", None),
        "the first that matters": (ColumnRules(written=("c",)), b"b,b,a,c,c", "two columns are called 'c'"),
    },
)
def test_two_columns_of_one_name(rules: ColumnRules, head: bytes, what: str | None) -> None:
    rows = reader(csv(), rules=rules)
    if what is None:
        assert rows.item(Source("t", head, 1)) is None
        return
    with refused(BadInput, what=what, place="t:1", fix="rename one"):
        rows.item(Source("t", head, 1))


def test_two_given_names_that_are_one_are_wrong_usage() -> None:
    with refused(UsageFault, what="'a' comes twice", place="--fields"):
        reader(csv(("a", "a")))


def test_a_field_that_the_answer_unpacks_into_is_taken() -> None:
    """In the first row the option is wrong, in a later one the row."""
    rules = ColumnRules(unpacked=("mood", "score"))
    first = reader(JsonRowDecoder(), rules=rules)
    assert first.needs_head
    with refused(
        UsageFault,
        what="there is a field 'score'",
        place="--unpack",
        fix="name the new ones with --unpack=PREFIX",
    ):
        items(first, b"", b'{"a":"1","score":2}')
    assert not first.needs_head
    found = items(reader(JsonRowDecoder(), rules=rules), b'{"a":"1"}', b'{"a":"1","score":2}')
    assert faults(found) == [
        None,
        "t:2: there is a field 'score': name the new ones with --unpack=PREFIX",
    ]
    with refused(
        UsageFault,
        what="there is a column 'mood'",
        place="--unpack",
        fix="name the new ones with --unpack=PREFIX",
    ):
        reader(csv(), rules=rules).item(Source("t", b"score,a,mood", 1))


def test_rows_of_json_need_no_common_columns() -> None:
    """With columns of the first row, too: a row says itself what it lacks."""
    rows = reader(JsonRowDecoder(has_columns=True), rules=ColumnRules(is_keyed=True))
    assert faults(items(rows, b'{"b":"1"}')) == ["t:1: no field 'a'"]
