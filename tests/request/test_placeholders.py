"""`{{field}}` in a text: what is filled, what stays, what is refused."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from chatpipe.errors import BadInput
from chatpipe.request.placeholders import Missing, named, parse, written
from refusals import refused

ROW: dict[str, Any] = {
    "text": "hello",
    "n": 3,
    "price": orjson.Fragment("1.10"),
    "no": None,
    "yes": True,
    "list": ["a", 2],
    "a": {"b": {"c": "deep"}, "d.e": "dotted"},
    "a.b": "flat",
    "my field": "spaced",
    "": "nameless",
    "0": "zero",
    "brace}d": "odd",
    "tricky": "{{text}} {{{{",
    'say "hi"': "quoted",
    "é": "accent",
}


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        pytest.param("plain", "plain", id="no placeholder"),
        pytest.param("", "", id="empty"),
        pytest.param("<{{text}}>", "<hello>", id="a string"),
        pytest.param("{{text}}{{text}}", "hellohello", id="twice, side by side"),
        pytest.param("{{ text }}", "hello", id="space inside"),
        pytest.param("{{n}} {{yes}}", "3 true", id="other values are JSON"),
        pytest.param("{{price}}", "1.10", id="a number as it came"),
        pytest.param("[{{no}}]", "[]", id="null is nothing"),
        pytest.param("{{list}}", '["a",2]', id="an array"),
        pytest.param("{{list.0}} {{list.1}}", "a 2", id="items of an array"),
        pytest.param("{{a.b}}", "flat", id="a name with a dot goes before a path"),
        pytest.param("{{a.b.c}}", "deep", id="a path"),
        pytest.param('{{"a".b}}', '{"c":"deep"}', id="quotes: never the whole name"),
        pytest.param('{{a."d.e"}}', "dotted", id="a quoted step"),
        pytest.param("{{my field}}", "spaced", id="a name with a space"),
        pytest.param('{{"my field"}}', "spaced", id="the same, quoted"),
        pytest.param('{{""}}', "nameless", id="the empty name"),
        pytest.param("{{0}}", "zero", id="a name of digits"),
        pytest.param("{{brace}d}}", "odd", id="one brace in a name"),
        pytest.param(r'{{"say \"hi\""}}', "quoted", id="quotes in a name"),
        pytest.param(r'{{"\u00e9"}}{{é}}', "accentaccent", id="any character"),
        pytest.param("{{tricky}}", "{{text}} {{{{", id="a value is never a template"),
        pytest.param("{text} {}", "{text} {}", id="one brace is itself"),
        pytest.param('{"a":{"b":1}}', '{"a":{"b":1}}', id="JSON"),
        pytest.param("{{{{text}}", "{{text}}", id="four braces are two"),
        pytest.param("{{{text}}}", "{hello}", id="a value in braces"),
        pytest.param("{{{{{text}}}", "{{{text}}}", id="five braces: two, and one"),
        pytest.param("}} {{text}} }}", "}} hello }}", id="braces that close nothing"),
        pytest.param("a\n{{text}}\n", "a\nhello\n", id="lines"),
    ],
)
def test_filled(template: str, filled: str) -> None:
    assert parse(template, "TEMPLATE").fill(ROW) == filled


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("{{nothing}}", "nothing"),
        ("{{a.x}}", "a.x"),
        ("{{text.0}}", "text.0"),
        ("{{list.2}}", "list.2"),
        ("{{list.-1}}", "list.-1"),
        ("{{list.x}}", "list.x"),
        pytest.param("{{list." + "9" * 5000 + "}}", "list." + "9" * 5000, id="more digits than int() takes"),
        ("{{no.x}}", "no.x"),
        ("{{Text}}", "Text"),
        ('{{"a.b.c"}}', '"a.b.c"'),
        ("{{text}} {{gone}}", "gone"),
    ],
)
def test_a_field_that_is_not_there_is_missing_under_its_written_name(template: str, name: str) -> None:
    with refused(Missing, name=name):
        parse(template, "TEMPLATE").fill(ROW)


@pytest.mark.parametrize(
    ("template", "what"),
    [
        ("a {{text", "'{{text' is never closed"),
        ("{{text}", "'{{text}' is never closed"),
        ("{{a {{b}}", "'{{a {{b}}' is never closed"),
        ('{{"text}}', "'{{\"text}}' is never closed"),
        ("{{}}", "'{{}}' names no field"),
        ("{{ }}", "'{{}}' names no field"),
        ('{{"a"b}}', "'{{\"a\"b}}' names no field"),
        ('{{"a".}}', "'{{\"a\".}}' names no field"),
        (r'{{"\x"}}', r"""'{{"\x"}}' names no field"""),
    ],
)
def test_braces_that_make_no_sense_are_refused(template: str, what: str) -> None:
    with refused(BadInput, place="--system", what=what):
        parse(template, "--system")


@pytest.mark.parametrize(
    ("name", "columns", "expected"),
    [
        ("a", {"a", "b"}, True),
        ("a.b", {"a.b"}, True),
        ("a.b", {"a"}, False),
        ('"a"', {"a"}, True),
        ('"a.b"', {"a.b"}, True),
        ("A", {"a"}, False),
        ("a", set(), False),
    ],
)
def test_columns_hold_texts_which_have_no_insides(name: str, columns: set[str], expected: bool) -> None:
    assert named(name, "TEMPLATE").is_in(frozenset(columns)) is expected


def test_placeholders_are_told_in_order() -> None:
    assert [each.name for each in parse("{{b}} {{a.c}} {{{{x}} {{b}}", "T").placeholders] == ["b", "a.c", "b"]


@pytest.mark.parametrize("name", ["a", "a.b", " a", "a ", "", 'say "a"', "{a}", "a\\", "\u00e9", "a\tb"])
def test_the_name_of_a_field_can_be_written(name: str) -> None:
    text = parse("{{" + written(name) + "}}", "t")
    assert text.fill({name: "value"}) == "value"


def test_a_plain_name_is_written_as_it_is() -> None:
    assert (written("first name"), written(" a")) == ("first name", '" a"')
