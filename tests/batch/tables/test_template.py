"""`{{field}}` in a text: what is filled, what stays, what is refused."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from chatpipe.batch.tables.template import MissingField, parse_placeholder, parse_template, quote_name
from chatpipe.errors import BadInput
from support.parametrize import cases
from support.refusals import refused

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


@cases(
    ("template", "filled"),
    {
        "no placeholder": ("plain", "plain"),
        "empty": ("", ""),
        "a string": ("<{{text}}>", "<hello>"),
        "twice, side by side": ("{{text}}{{text}}", "hellohello"),
        "space inside": ("{{ text }}", "hello"),
        "other values are JSON": ("{{n}} {{yes}}", "3 true"),
        "a number as it came": ("{{price}}", "1.10"),
        "null is nothing": ("[{{no}}]", "[]"),
        "an array": ("{{list}}", '["a",2]'),
        "items of an array": ("{{list.0}} {{list.1}}", "a 2"),
        "a name with a dot goes before a path": ("{{a.b}}", "flat"),
        "a path": ("{{a.b.c}}", "deep"),
        "quotes: never the whole name": ('{{"a".b}}', '{"c":"deep"}'),
        "a quoted step": ('{{a."d.e"}}', "dotted"),
        "a name with a space": ("{{my field}}", "spaced"),
        "the same, quoted": ('{{"my field"}}', "spaced"),
        "the empty name": ('{{""}}', "nameless"),
        "a name of digits": ("{{0}}", "zero"),
        "one brace in a name": ("{{brace}d}}", "odd"),
        "quotes in a name": (r'{{"say \"hi\""}}', "quoted"),
        "any character": (r'{{"\u00e9"}}{{é}}', "accentaccent"),
        "a value is never a template": ("{{tricky}}", "{{text}} {{{{"),
        "one brace is itself": ("{text} {}", "{text} {}"),
        "JSON": ('{"a":{"b":1}}', '{"a":{"b":1}}'),
        "four braces are two": ("{{{{text}}", "{{text}}"),
        "a value in braces": ("{{{text}}}", "{hello}"),
        "five braces: two, and one": ("{{{{{text}}}", "{{{text}}}"),
        "braces that close nothing": ("}} {{text}} }}", "}} hello }}"),
        "lines": ("a\n{{text}}\n", "a\nhello\n"),
    },
)
def test_placeholders_are_filled(template: str, filled: str) -> None:
    assert parse_template(template, "TEMPLATE").fill(ROW) == filled


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
    with refused(MissingField, name=name):
        parse_template(template, "TEMPLATE").fill(ROW)


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
        parse_template(template, "--system")


@pytest.mark.parametrize(
    ("name", "columns", "expected"),
    [
        ("a", {"a", "b"}, "a"),
        ("a.b", {"a.b"}, "a.b"),
        ("a.b", {"a"}, None),
        ('"a"', {"a"}, "a"),
        ('"a.b"', {"a.b"}, "a.b"),
        ('""', {"a", ""}, ""),
        ("A", {"a"}, None),
        ("a", set(), None),
    ],
)
def test_columns_hold_texts_which_have_no_insides(name: str, columns: set[str], expected: str | None) -> None:
    assert parse_placeholder(name, "TEMPLATE").column(columns) == expected


def test_placeholders_are_listed_in_order() -> None:
    assert [each.name for each in parse_template("{{b}} {{a.c}} {{{{x}} {{b}}", "T").placeholders] == [
        "b",
        "a.c",
        "b",
    ]


@pytest.mark.parametrize("name", ["a", "a.b", " a", "a ", "", 'say "a"', "{a}", "a\\", "\u00e9", "a\tb"])
def test_the_name_of_a_field_can_be_written(name: str) -> None:
    text = parse_template("{{" + quote_name(name, is_ascii=False) + "}}", "t")
    assert text.fill({name: "value"}) == "value"


def test_a_plain_name_is_written_as_it_is() -> None:
    assert (quote_name("first name", is_ascii=False), quote_name(" a", is_ascii=False)) == (
        "first name",
        '" a"',
    )
