"""`--set` and `--unset`: what a path is, what it changes, and where it cannot go."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from chatpipe.errors import Status, UsageFault
from chatpipe.options.parameters import Edit
from chatpipe.request import edits
from support.parametrize import cases
from support.refusals import refused


@cases(
    ("text", "steps"),
    {
        "a key": ("a", ("a",)),
        "keys": ("a.b.c", ("a", "b", "c")),
        "an index": ("a[0]", ("a", 0)),
        "indexes and a key": ("a[0][12].b", ("a", 0, 12, "b")),
        "digits without brackets are keys": ("0.1", ("0", "1")),
        "a dot in a key": ("a\\.b.c", ("a.b", "c")),
        "brackets in a key": ("a\\[0\\]", ("a[0]",)),
        "a backslash in a key": ("a\\\\b", ("a\\b",)),
        "a dot at the end of a key": ("a\\.", ("a.",)),
        "anything else": ("a b-c/ä", ("a b-c/ä",)),
        "blanks count": (" a", (" a",)),
    },
)
def test_a_path_is_split_into_steps(text: str, steps: tuple[str | int, ...]) -> None:
    assert edits.parse_path(text, "--set") == steps


@pytest.mark.parametrize(
    "text",
    [
        "",
        *[
            ".",
            ".a",
            "a.",
            "a..b",
            "[0]",
            "a.[0]",
            "a[",
            "a[]",
            "a[x]",
            "a[-1]",
            "a[0",
            "a]",
            "a[0]b",
            "a\\",
            "a[0].",
            f"a[{'9' * 19}]",
        ],
    ],
)
@pytest.mark.parametrize("option", ["--set", "--unset"])
def test_a_text_that_is_no_path_is_refused(text: str, option: str) -> None:
    with refused(UsageFault, f"{option}: '{text}' is not a path: write a.b or a.b[0]"):
        edits.parse_path(text, option)


def test_a_long_text_is_not_shown() -> None:
    with refused(UsageFault, "--set: a text of 5003 characters is not a path: write a.b or a.b[0]"):
        edits.parse_set(f"a[{'9' * 5000}]=1")
    with refused(UsageFault, "--set: a text of 5000 characters has no '=': write PATH=TEXT or PATH:=JSON"):
        edits.parse_set("x" * 5000)
    with refused(UsageFault, "--set: 'a.b=...': 'b' needs an object, and there is a number"):
        edits.apply({"a": 1}, edits.parse_set(f"a.b={'x' * 5000}"))


@cases(
    ("text", "path", "value"),
    {
        "text": ("a=b", ("a",), "b"),
        "empty text": ("a=", ("a",), ""),
        "text that looks like a number": ("a=1", ("a",), "1"),
        "the first = counts": ("a=b=c", ("a",), "b=c"),
        "an escaped = is of the path": ("a\\=b=c", ("a=b",), "c"),
        "an escaped : is of the path": ("a\\:=1", ("a:",), "1"),
        "a colon in the path": ("a::=1", ("a:",), 1),
        "lines": ("a=b\nc", ("a",), "b\nc"),
        "blanks stay": ("a= b ", ("a",), " b "),
        "a path": ("a.b[0]=ä", ("a", "b", 0), "ä"),
        "integer": ("a:=40", ("a",), 40),
        "number": ("a:=1.5", ("a",), 1.5),
        "string": ('a:="b"', ("a",), "b"),
        "null": ("a:=null", ("a",), None),
        "array, blanks around": ("a:= [1, {}] ", ("a",), [1, {}]),
        "beyond 64 bits": ("a:=123456789012345678901", ("a",), 123456789012345678901),
        "text that begins with :=": ("a=:=b", ("a",), ":=b"),
    },
)
def test_an_assignment_has_a_path_and_a_value(text: str, path: tuple[str | int, ...], value: Any) -> None:
    assert edits.parse_set(text) == Edit(path, value, False, text)


TEXT = "PATH=TEXT takes text without quotes"


@cases(
    ("text", "line"),
    {
        "no =": ("a", "--set: 'a' has no '=': write PATH=TEXT or PATH:=JSON"),
        "no path": ("=b", "--set: '' is not a path: write a.b or a.b[0]"),
        "no path before :=": (":=1", "--set: '' is not a path: write a.b or a.b[0]"),
        "no JSON": ("a:=b", f"--set: 'b' is not JSON: expecting value: {TEXT}"),
        "nothing": ("a:=", f"--set: '' is not JSON: nothing there: {TEXT}"),
        "NaN": ("a:=NaN", f"--set: 'NaN' is not JSON: 'NaN' is not JSON: {TEXT}"),
    },
)
def test_a_text_that_is_no_assignment_is_refused(text: str, line: str) -> None:
    with refused(UsageFault, line, status=Status.USAGE):
        edits.parse_set(text)


def test_a_removal_has_a_path() -> None:
    assert edits.parse_unset("a.b[0]") == Edit(("a", "b", 0), None, True, "a.b[0]")


@cases(
    ("body", "text", "after"),
    {
        "new key": ({}, "a=b", {"a": "b"}),
        "old key, in its place": ({"a": 1, "c": 2}, "a:=3", {"a": 3, "c": 2}),
        "missing parents are made": ({}, "a.b.c=d", {"a": {"b": {"c": "d"}}}),
        "an array among them": ({}, "a[0].b=c", {"a": [{"b": "c"}]}),
        "a null parent is replaced": ({"a": None}, "a.b=c", {"a": {"b": "c"}}),
        "an item": ({"a": [1, 2]}, "a[1]:=3", {"a": [1, 3]}),
        "one behind the last": ({"a": [1]}, "a[1]:=3", {"a": [1, 3]}),
        "beside others": ({"a": {"b": 1}}, "a.c:=2", {"a": {"b": 1, "c": 2}}),
        "a whole object": ({"a": {"b": 1}}, "a:=2", {"a": 2}),
        "array in array": ({"a": [[1]]}, "a[0][1]:=2", {"a": [[1, 2]]}),
    },
)
def test_an_assignment_changes_one_value(body: dict[str, Any], text: str, after: dict[str, Any]) -> None:
    edits.apply(body, edits.parse_set(text))
    assert body == after
    assert list(body) == list(after)


@cases(
    ("body", "text", "line"),
    {
        "string": ({"a": "x"}, "a.b=c", "'b' needs an object, and there is a string"),
        "array": ({"a": [1]}, "a.b=c", "'b' needs an object, and there is an array"),
        "object": ({"a": {}}, "a[0]=c", "'0' needs an array, and there is an object"),
        "past the end": ({"a": [1]}, "a[2]=c", "[2] is past the end of an array of 1"),
        "past no end": ({}, "a[1]=c", "[1] is past the end of an array of 0"),
        "on the way": ({"a": 0}, "a[0].b=c", "'0' needs an array, and there is a number"),
    },
)
def test_an_assignment_where_it_cannot_go_is_refused(body: dict[str, Any], text: str, line: str) -> None:
    with refused(UsageFault, f"--set: '{text}': {line}"):
        edits.apply(body, edits.parse_set(text))


@cases(
    ("path", "after"),
    {
        "a key": ("a", {"b": [1, {"c": 2}]}),
        "an item: the others move up": ("b[0]", {"a": 1, "b": [{"c": 2}]}),
        "deep: its parent stays": ("b[1].c", {"a": 1, "b": [1, {}]}),
        "a whole array": ("b", {"a": 1}),
    },
)
def test_a_removal_takes_one_value_away(path: str, after: dict[str, Any]) -> None:
    body = {"a": 1, "b": [1, {"c": 2}]}
    edits.apply(body, edits.parse_unset(path))
    assert body == after


@pytest.mark.parametrize("path", ["x", "a.x", "a[0]", "b.x", "b[9]", "b[1].x", "x.y.z", "b[0].c"])
def test_unset_of_what_is_not_there_changes_nothing(path: str) -> None:
    body = {"a": 1, "b": [1, {"c": 2}]}
    before = copy.deepcopy(body)
    edits.apply(body, edits.parse_unset(path))
    assert body == before
