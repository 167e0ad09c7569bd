"""`--set` and `--unset`: what a path is, what it changes, and where it cannot go."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from chatpipe.errors import Status, UsageFault
from chatpipe.request import edits
from chatpipe.request.parameters import Edit


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
def test_path(text: str, steps: tuple[str | int, ...]) -> None:
    assert edits.steps(text, "--set") == steps


@pytest.mark.parametrize(
    "text",
    [
        "",
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
)
@pytest.mark.parametrize("option", ["--set", "--unset"])
def test_no_path(text: str, option: str) -> None:
    with pytest.raises(UsageFault) as fault:
        edits.steps(text, option)
    assert str(fault.value) == f"{option}: '{text}' is not a path: write a.b or a.b[0]"


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
def test_assignment(text: str, path: tuple[str | int, ...], value: Any) -> None:
    assert edits.assignment(text) == Edit(path, value, False, text)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param("a", "--set: 'a' has no '=': write PATH=TEXT or PATH:=JSON", id="no ="),
        pytest.param("=b", "--set: '' is not a path: write a.b or a.b[0]", id="no path"),
        pytest.param(":=1", "--set: '' is not a path: write a.b or a.b[0]", id="no path before :="),
        pytest.param(
            "a:=b",
            "--set: 'b' is not JSON: expecting value: PATH=TEXT takes text without quotes",
            id="no JSON",
        ),
        pytest.param(
            "a:=", "--set: '' is not JSON: nothing there: PATH=TEXT takes text without quotes", id="nothing"
        ),
        pytest.param(
            "a:=NaN",
            "--set: 'NaN' is not JSON: 'NaN' is not JSON: PATH=TEXT takes text without quotes",
            id="NaN",
        ),
    ],
)
def test_no_assignment(text: str, line: str) -> None:
    with pytest.raises(UsageFault) as fault:
        edits.assignment(text)
    assert fault.value.status == Status.USAGE
    assert str(fault.value) == line


def test_removal() -> None:
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
def test_set(body: dict[str, Any], text: str, after: dict[str, Any]) -> None:
    edits.apply(body, edits.assignment(text))
    assert body == after
    assert list(body) == list(after)


@pytest.mark.parametrize(
    ("body", "text", "line"),
    [
        pytest.param(
            {"a": "x"}, "a.b=c", "--set: 'a.b=c': 'b' is looked for in a string, not an object", id="string"
        ),
        pytest.param(
            {"a": [1]}, "a.b=c", "--set: 'a.b=c': 'b' is looked for in an array, not an object", id="array"
        ),
        pytest.param(
            {"a": {}}, "a[0]=c", "--set: 'a[0]=c': '0' is looked for in an object, not an array", id="object"
        ),
        pytest.param(
            {"a": [1]}, "a[2]=c", "--set: 'a[2]=c': [2] is past the end, there are 1", id="past the end"
        ),
        pytest.param({}, "a[1]=c", "--set: 'a[1]=c': [1] is past the end, there are 0", id="past no end"),
        pytest.param(
            {"a": 0},
            "a[0].b=c",
            "--set: 'a[0].b=c': '0' is looked for in a number, not an array",
            id="on the way",
        ),
    ],
)
def test_set_where_it_cannot_be(body: dict[str, Any], text: str, line: str) -> None:
    with pytest.raises(UsageFault) as fault:
        edits.apply(body, edits.assignment(text))
    assert str(fault.value) == line


@pytest.mark.parametrize(
    ("path", "after"),
    [
        pytest.param("a", {"b": [1, {"c": 2}]}, id="a key"),
        pytest.param("b[0]", {"a": 1, "b": [{"c": 2}]}, id="an item: the others move up"),
        pytest.param("b[1].c", {"a": 1, "b": [1, {}]}, id="deep: its parent stays"),
        pytest.param("b", {"a": 1}, id="a whole array"),
    ],
)
def test_unset(path: str, after: dict[str, Any]) -> None:
    body = {"a": 1, "b": [1, {"c": 2}]}
    edits.apply(body, edits.removal(path))
    assert body == after


@pytest.mark.parametrize("path", ["x", "a.x", "a[0]", "b.x", "b[9]", "b[1].x", "x.y.z", "b[0].c"])
def test_unset_of_what_is_not_there_changes_nothing(path: str) -> None:
    body = {"a": 1, "b": [1, {"c": 2}]}
    before = copy.deepcopy(body)
    edits.apply(body, edits.removal(path))
    assert body == before
