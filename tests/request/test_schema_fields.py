"""The grammar of --schema-fields, to the letter, and the nearest right form for what it does not have."""

from __future__ import annotations

import re
from typing import Any

import pytest

from chatpipe.errors import UsageFault
from chatpipe.request.schema_fields import parse_fields
from support.parametrize import cases
from support.refusals import refused

STR, INT, NUMBER, BOOL = ({"type": name} for name in ("string", "integer", "number", "boolean"))
WORDS = {"type": "string", "enum": ["good", "bad"]}


@cases(
    ("field", "schema"),
    {
        "name alone": ("mood", STR),
        "str": ("mood str", STR),
        "int": ("score int", INT),
        "number": ("score number", NUMBER),
        "float": ("score float", NUMBER),
        "bool": ("good bool", BOOL),
        "words": ("mood good|bad", WORDS),
        "words like names of types": ("as text|date", {"type": "string", "enum": ["text", "date"]}),
        "more than true and false": ("a true|false|open", {**STR, "enum": ["true", "false", "open"]}),
        "words with marks inside": ("a b(c)|it's|d?e", {**STR, "enum": ["b(c)", "it's", "d?e"]}),
        "list": ("tags str[]", {"type": "array", "items": STR}),
        "list of words": ("tags good|bad[]", {"type": "array", "items": WORDS}),
        "null": ("score int?", {"type": ["integer", "null"]}),
        "words or null": ("mood good|bad?", {"type": ["string", "null"], "enum": ["good", "bad", None]}),
        "list or null": ("tags int[]?", {"type": ["array", "null"], "items": INT}),
        "description": ("why: one sentence", {**STR, "description": "one sentence"}),
        "type and description": ("n int : from 1", {**INT, "description": "from 1"}),
        "description with a colon": ("at: as 12:30", {**STR, "description": "as 12:30"}),
        "description of a word": ("at: date", {**STR, "description": "date"}),
        "description with a bar": ("mood: good|bad in short", {**STR, "description": "good|bad in short"}),
        "description with a type": ("n: an int", {**STR, "description": "an int"}),
        "type and a description that is one": ("mood str: good|bad", {**STR, "description": "good|bad"}),
        "question": ("ok: why?", {**STR, "description": "why?"}),
        "space around": ("  mood \t good|bad  ", WORDS),
        "name of other characters": ("größe-1.x int", INT),
    },
)
def test_a_field(field: str, schema: dict[str, Any]) -> None:
    name = field.split()[0].rstrip(":")
    assert parse_fields(field) == {
        "type": "object",
        "properties": {name: schema},
        "required": [name],
        "additionalProperties": False,
    }


@cases(
    ("text", "names"),
    {
        "commas": ("b,a int , c: x", "b a c"),
        "lines": ("b\na int\n\n  c: x, y\n", "b a c"),
        "lines of another system": ("b\r\na: x, y\r\n", "b a"),
        "a comma ends a description": ("why: in short, score", "why score"),
        "one line end is no second line": ("b, a\n", "b a"),
    },
)
def test_fields_stand_between_commas_or_one_a_line(text: str, names: str) -> None:
    made = parse_fields(text)
    assert made["required"] == list(made["properties"]) == names.split()


def test_a_description_keeps_its_commas_where_fields_have_lines() -> None:
    made = parse_fields("why: short, plain\nscore int")
    assert made["properties"]["why"]["description"] == "short, plain"


@cases(
    ("text", "nearest"),
    {
        "type of JSON Schema": ("a integer", "a int"),
        "its list": ("a string[]?", "a str[]?"),
        "capital letter": ("a Int", "a int"),
        "slip": ("a flaot", "a float"),
        "list of Python": ("a list[int]", "a int[]"),
        "list in brackets": ("a [str]", "a str[]"),
        "array": ("a array", "a str[]"),
        "list alone": ("a []", "a str[]"),
        "null alone": ("a ?", "a str?"),
        "wrong order": ("a int?[]", "a int[]?"),
        "wrong order of words": ("a x|y?[]", "a x|y[]?"),
        "null inside": ("a x?|y", "a x|y?"),
        "one word": ("a happy", "a_happy"),
        "one bar": ("a happy|", "a happy|other"),
        "a bar alone": ("a |", "a str"),
        "one word twice": ("a good|good", "a good|other"),
        "a type or null": ("a int|null", "a int?"),
        "null or a type": ("a None|str", "a str?"),
        "lists or null": ("a str[]|null", "a str[]?"),
        "words or null": ("a x|y|null", "a x|y?"),
        "a word or null": ("a x|null", "a x|other?"),
        "null, and a mark": ("a number|null?", "a number?"),
        "two numbers": ("a int|float?", "a number?"),
        "a type of two names": ("a float|number", "a number"),
        "two types": ("a int|str", "a str"),
        "a word and a type": ("a x|bool", "a str"),
        "true or false": ("a true|False", "a bool"),
        "true, false or null": ("a true|false|null", "a bool?"),
        "a type or null, with spaces": ("a int | null", "a int?"),
        "a type or null behind a colon": ("a: int|null", "a int?"),
        "a type or null without a name": ("int|null", "name int?"),
        "null as a type": ("a null", "a str?"),
        "null in a list": ("a null[]", "a str[]?"),
        "parentheses": ("a (x|y)?", "a x|y?"),
        "parentheses, list": ("a (x|y)[]", "a x|y[]"),
        "a quoted word": ('a "x"?', "a x|other?"),
        "quotes": ("""a "x"|'y'""", "a x|y"),
        "semicolons": ("a int;b int", "a int, b int"),
        "semicolons behind names": ("a;b; c", "a, b, c"),
        "a semicolon, and a description": ("a int; b: the rest", "a int, b: the rest"),
        "empty word": ("a x||y", "a x|y"),
        "a word twice": ("a x|y|x", "a x|y"),
        "space around bars": ("a x | y", "a x|y"),
        "words of two words": ("a very good | bad", "a very_good|bad"),
        "space before the list": ("a str []", "a str[]"),
        "space before null": ("a int ?", "a int?"),
        "space before both": ("a int [] ?", "a int[]?"),
        "words, space before null": ("a good|bad ?", "a good|bad?"),
        "words, space before the list": ("a good | bad []: mood", "a good|bad[]: mood"),
        "a name of two words": ("first name str", "first_name str"),
        "a name of two words, a type behind the colon": ("first name: str", "first_name str"),
        "names of two words": ("first name: str, last name: int?", "first_name str, last_name int?"),
        "a name of two words, no type": ("first name", "first_name"),
        "a misspelt type": ("a nubmer", "a number"),
        "a name of two words, a list": ("first name int []: x", "first_name int[]: x"),
        "lost colon": ("a int from 1 to 5", "a int: from 1 to 5"),
        "lost colon, no type": ("a what it is", "a: what it is"),
        "words without bars": ("a good bad: mood", "a good|bad: mood"),
        "words between quotes": ('a "good bad"', "a good|bad"),
        "comma at the end": ("a, b,", "a, b"),
        "no name": (": what it is", "name: what it is"),
        "nothing behind the colon": ("a int:", "a int"),
        "YAML": ("mood: good|bad, score: int", "mood good|bad, score int"),
        "YAML in part": ("why, mood: good|bad", "why, mood good|bad"),
        "YAML without a space": ("mood:good|bad?", "mood good|bad?"),
        "YAML with spaces": ("mood: good | bad", "mood good|bad"),
        "YAML on lines": ("why: short, plain\nscore: int", "score int"),
        "type of JSON Schema behind a colon": ("a: string", "a str"),
        "type in capitals behind a colon": ("a: Boolean", "a bool"),
        "list behind a colon": ("a: str[]", "a str[]"),
        "list or null behind a colon": ("a: int[]?", "a int[]?"),
        "list of Python behind a colon": ("a: list[int]", "a int[]"),
        "words without a name": ("good|bad", "name good|bad"),
    },
)
def test_what_the_grammar_does_not_have_is_refused_with_the_nearest(text: str, nearest: str) -> None:
    with pytest.raises(UsageFault) as caught:
        parse_fields(text)
    assert caught.value.place == "--schema-fields"
    suggested = re.fullmatch(r"did you mean '(.*)'\?", caught.value.fix)
    assert suggested is not None
    assert suggested[1] == nearest
    parse_fields(nearest)


@cases(
    ("text", "line"),
    {
        "nothing": ("", "there is no field: write one, such as 'mood good|bad'"),
        "space": (" \n ", "there is no field: write one, such as 'mood good|bad'"),
        "commas": (" , ,", "there is no field: write one, such as 'mood good|bad'"),
        "a name twice": ("a, a int", "the field 'a' is there twice: give each field a name of its own"),
        "a file": ("s.json", "'s.json' is the name of a file: give a JSON Schema by --schema s.json"),
        "JSON": (
            '{"type": "object"}',
            "this is JSON, not a list of fields: give a JSON Schema by --schema-json",
        ),
        "an object": ("a object", "'object' is not a type: give a JSON Schema by --schema-json"),
        "objects": ("a list[dict]", "'list[dict]' is not a type: give a JSON Schema by --schema-json"),
        "null among words": ("a int|null", "'int' in 'int|null' would be a text: did you mean 'a int?'?"),
        "a quoted name": ('"mood" str', "a quote in the name '\"mood\"': write names without quotes"),
        "commas and lines": (
            "a, b\nc",
            "a comma in 'a, b': write each field on a line of its own, or none",
        ),
    },
)
def test_fields_that_nobody_can_guess_are_refused(text: str, line: str) -> None:
    with refused(UsageFault, f"--schema-fields: {line}"):
        parse_fields(text)
