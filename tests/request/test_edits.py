"""`--set` and `--unset`: what a path is, what it changes, and where it cannot go."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from chatpipe.errors import Status, UsageFault
from chatpipe.request import edits
from chatpipe.request.parameters import Edit
from refusals import refused


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        pytest.param("a", ("a",), id="a key"),
        pytest.param("a.b.c", ("a", "b", "c"), id="keys"),
        pytest.param("a[0]", ("a", 0), id="an index"),
        pytest.param("a[0][12].b", ("a", 0, 12, "b"), id="indexes and a key"),
        pytest.param("0.1", ("0", "1"), id="digits without brackets are keys"),
        pytest.param("a\\.b.c", ("a.b", "c"), id="a dot in a key"),
        pytest.param("a\\[0\\]", ("a[0]",), id="brackets in a key"),
        pytest.param("a\\\\b", ("a\\b",), id="a backslash in a key"),
        pytest.param("a\\.", ("a.",), id="a dot at the end of a key"),
        pytest.param("a b-c/ä", ("a b-c/ä",), id="anything else"),
        pytest.param(" a", (" a",), id="blanks count"),
    ],
)
def test_a_path_is_split_into_steps(text: str, steps: tuple[str | int, ...]) -> None:
    assert edits.steps(text, "--set") == steps


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
        ],
    ],
)
@pytest.mark.parametrize("option", ["--set", "--unset"])
def test_a_text_that_is_no_path_is_refused(text: str, option: str) -> None:
    with refused(UsageFault, f"{option}: '{text}' is not a path: write a.b or a.b[0]"):
        edits.steps(text, option)


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        pytest.param("a=b", ("a",), "b", id="text"),
        pytest.param("a=", ("a",), "", id="empty text"),
        pytest.param("a=1", ("a",), "1", id="text that looks like a number"),
        pytest.param("a=b=c", ("a",), "b=c", id="the first = counts"),
        pytest.param("a= b ", ("a",), " b ", id="blanks stay"),
        pytest.param("a.b[0]=ä", ("a", "b", 0), "ä", id="a path"),
        pytest.param("a:=40", ("a",), 40, id="integer"),
        pytest.param("a:=1.5", ("a",), 1.5, id="number"),
        pytest.param('a:="b"', ("a",), "b", id="string"),
        pytest.param("a:=null", ("a",), None, id="null"),
        pytest.param("a:= [1, {}] ", ("a",), [1, {}], id="array, blanks around"),
        pytest.param("a:=123456789012345678901", ("a",), 123456789012345678901, id="beyond 64 bits"),
        pytest.param("a=:=b", ("a",), ":=b", id="text that begins with :="),
    ],
)
def test_an_assignment_has_a_path_and_a_value(text: str, path: tuple[str | int, ...], value: Any) -> None:
    assert edits.assignment(text) == Edit(path, value, False, text)


TEXT = "PATH=TEXT takes text without quotes"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param("a", "--set: 'a' has no '=': write PATH=TEXT or PATH:=JSON", id="no ="),
        pytest.param("=b", "--set: '' is not a path: write a.b or a.b[0]", id="no path"),
        pytest.param(":=1", "--set: '' is not a path: write a.b or a.b[0]", id="no path before :="),
        pytest.param("a:=b", f"--set: 'b' is not JSON: expecting value: {TEXT}", id="no JSON"),
        pytest.param("a:=", f"--set: '' is not JSON: nothing there: {TEXT}", id="nothing"),
        pytest.param("a:=NaN", f"--set: 'NaN' is not JSON: 'NaN' is not JSON: {TEXT}", id="NaN"),
    ],
)
def test_a_text_that_is_no_assignment_is_refused(text: str, line: str) -> None:
    with refused(UsageFault, line, status=Status.USAGE):
        edits.assignment(text)


def test_a_removal_has_a_path() -> None:
    assert edits.removal("a.b[0]") == Edit(("a", "b", 0), None, True, "a.b[0]")


@pytest.mark.parametrize(
    ("body", "text", "after"),
    [
        pytest.param({}, "a=b", {"a": "b"}, id="new key"),
        pytest.param({"a": 1, "c": 2}, "a:=3", {"a": 3, "c": 2}, id="old key, in its place"),
        pytest.param({}, "a.b.c=d", {"a": {"b": {"c": "d"}}}, id="missing parents are made"),
        pytest.param({}, "a[0].b=c", {"a": [{"b": "c"}]}, id="an array among them"),
        pytest.param({"a": None}, "a.b=c", {"a": {"b": "c"}}, id="a null parent is replaced"),
        pytest.param({"a": [1, 2]}, "a[1]:=3", {"a": [1, 3]}, id="an item"),
        pytest.param({"a": [1]}, "a[1]:=3", {"a": [1, 3]}, id="one behind the last"),
        pytest.param({"a": {"b": 1}}, "a.c:=2", {"a": {"b": 1, "c": 2}}, id="beside others"),
        pytest.param({"a": {"b": 1}}, "a:=2", {"a": 2}, id="a whole object"),
        pytest.param({"a": [[1]]}, "a[0][1]:=2", {"a": [[1, 2]]}, id="array in array"),
    ],
)
def test_an_assignment_changes_one_value(body: dict[str, Any], text: str, after: dict[str, Any]) -> None:
    edits.apply(body, edits.assignment(text))
    assert body == after
    assert list(body) == list(after)


@pytest.mark.parametrize(
    ("body", "text", "line"),
    [
        pytest.param({"a": "x"}, "a.b=c", "'b' is looked for in a string, not an object", id="string"),
        pytest.param({"a": [1]}, "a.b=c", "'b' is looked for in an array, not an object", id="array"),
        pytest.param({"a": {}}, "a[0]=c", "'0' is looked for in an object, not an array", id="object"),
        pytest.param({"a": [1]}, "a[2]=c", "[2] is past the end, there are 1", id="past the end"),
        pytest.param({}, "a[1]=c", "[1] is past the end, there are 0", id="past no end"),
        pytest.param({"a": 0}, "a[0].b=c", "'0' is looked for in a number, not an array", id="on the way"),
    ],
)
def test_an_assignment_where_it_cannot_go_is_refused(body: dict[str, Any], text: str, line: str) -> None:
    with refused(UsageFault, f"--set: '{text}': {line}"):
        edits.apply(body, edits.assignment(text))


@pytest.mark.parametrize(
    ("path", "after"),
    [
        pytest.param("a", {"b": [1, {"c": 2}]}, id="a key"),
        pytest.param("b[0]", {"a": 1, "b": [{"c": 2}]}, id="an item: the others move up"),
        pytest.param("b[1].c", {"a": 1, "b": [1, {}]}, id="deep: its parent stays"),
        pytest.param("b", {"a": 1}, id="a whole array"),
    ],
)
def test_a_removal_takes_one_value_away(path: str, after: dict[str, Any]) -> None:
    body = {"a": 1, "b": [1, {"c": 2}]}
    edits.apply(body, edits.removal(path))
    assert body == after


@pytest.mark.parametrize("path", ["x", "a.x", "a[0]", "b.x", "b[9]", "b[1].x", "x.y.z", "b[0].c"])
def test_unset_of_what_is_not_there_changes_nothing(path: str) -> None:
    body = {"a": 1, "b": [1, {"c": 2}]}
    before = copy.deepcopy(body)
    edits.apply(body, edits.removal(path))
    assert body == before
