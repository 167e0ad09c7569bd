"""TOML: the same tables as tomllib reads, the line of every key, and our own words for what is wrong."""

from __future__ import annotations

import sys
import tomllib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chatpipe.inputs.toml import NotTOML, Path, read_document
from support.parametrize import cases

PLAIN = """\
# a comment with "quotes" and [brackets]
profile = "work"   # behind a value

[profiles.work]
base_url = 'https://a.example/v1'
allow_http = true
base_urls = [
  "https://b.example/#]",  # ] a comment
  { url = "https://c.example", headers = { "X-Team" = "a=b" } },
]
[profiles.work.headers]
"X.Y" = "1"

[[profiles.work.patch]]
model = "^(a|b)[0-9]$"
[[profiles.work.patch]]
drop = ["n"]
[profiles."odd name"]
count = 12
"""
OTHER = '''\
a.b.c = 1.5
a.d = [[1, 2], [
  3]]
text = """
[not.a.table]
key = "value"
"""
raw = \'\'\'
x = 1 \'\'\'
quotes = """a"""""
escaped = "a\\"b # c"
day = 1979-05-27 07:32:00
[[x]]
[x.y]
z = 0x10
[[x]]
[x.y]
z = 1
'''


@cases(
    ("text", "path", "line"),
    {
        "top": (PLAIN, ("profile",), 2),
        "heading": (PLAIN, ("profiles", "work"), 4),
        "parent that only headings name": (PLAIN, ("profiles",), 4),
        "key": (PLAIN, ("profiles", "work", "allow_http"), 6),
        "array": (PLAIN, ("profiles", "work", "base_urls"), 7),
        "item behind a bracket in a string": (PLAIN, ("profiles", "work", "base_urls", 1), 9),
        "key of an inline table": (PLAIN, ("profiles", "work", "base_urls", 1, "headers", "X-Team"), 9),
        "quoted key with a dot": (PLAIN, ("profiles", "work", "headers", "X.Y"), 12),
        "first of an array of tables": (PLAIN, ("profiles", "work", "patch", 0, "model"), 15),
        "second of an array of tables": (PLAIN, ("profiles", "work", "patch", 1), 16),
        "item of an array there": (PLAIN, ("profiles", "work", "patch", 1, "drop", 0), 17),
        "quoted heading": (PLAIN, ("profiles", "odd name", "count"), 19),
        "what is missing has the line of its table": (PLAIN, ("profiles", "odd name", "model", 3), 18),
        "nothing": (PLAIN, ("nothing",), 1),
        "dotted key": (OTHER, ("a", "b", "c"), 1),
        "parent of a dotted key": (OTHER, ("a", "b"), 1),
        "item of an array in an array": (OTHER, ("a", "d", 1, 0), 3),
        "behind text of many lines": (OTHER, ("raw",), 8),
        "behind literal text of many lines": (OTHER, ("quotes",), 10),
        "behind five quotes": (OTHER, ("escaped",), 11),
        "behind an escaped quote": (OTHER, ("day",), 12),
        "table in the first item": (OTHER, ("x", 0, "y", "z"), 15),
        "table in the second item": (OTHER, ("x", 1, "y", "z"), 18),
    },
)
def test_every_key_knows_its_line(text: str, path: Path, line: int) -> None:
    assert read_document(text).line(path) == line
    assert read_document(text.replace("\n", "\r\n")).line(path) == line


@pytest.mark.parametrize("text", [PLAIN, OTHER, "", "\n", "#", "a=1", '"" = 1', "a = []\nb = [ ]\nc = {}"])
def test_tables_are_those_of_tomllib(text: str) -> None:
    assert read_document(text).tables == tomllib.loads(text)


def test_ordinary_text_needs_no_tomllib(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would take longer than all else that is done for a settings file."""
    monkeypatch.setitem(sys.modules, "tomllib", None)
    assert read_document(PLAIN).tables["profile"] == "work"
    with pytest.raises(ImportError):
        read_document(OTHER)


# Pieces of which some combinations are TOML and many are not.
_LINES = st.lists(
    st.sampled_from(
        [
            *("[a]", "[b]", "[a.b]", "[a.b.c]", "[[a]]", "[[a.b]]", "[ b . a ]", '["a"]', "[a]]", "[]"),
            *("a = 1", "b = 1", "a.b = 1", "b.a.c = 1", '"a" = 1', "a = 01", "a = -1", "a = +1", "a = 1_0"),
            *("a = {}", "a = {b = 1}", "b = {a = 1, a = 2}", "a = {b = 1,}", "b = {a.b = 1}", "b = {a = {}}"),
            *("a = []", "b = [1, [2],]", "b = [,]", "b = [1 2]", "b = [", "]", "c = [{a = 1}, {a = 2}]"),
            *(
                "a = 'x'",
                "b = 'x\ty'",
                'b = "\\u00e9"',
                'b = "\\q"',
                "a = '''",
                "'''",
                'b = """x"""""',
                "a =",
            ),
            *(
                "c = true",
                "c = True",
                "c = 1.0",
                "c = 07:32:00",
                "# é\ttab",
                "#\x01",
                "c = 'é' # x",
                "c d = 1",
            ),
            *("a = 1 b = 2", "\t", "a = 'x' y", "\x00", "a = \u201cx\u201d", "a = 99999999999999999999"),
        ]
    ),
    max_size=5,
)


@given(_LINES)
def test_any_lines_are_read_or_refused_as_by_tomllib(lines: list[str]) -> None:
    text = "\n".join(lines)
    try:
        expected = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        with pytest.raises(NotTOML) as caught:
            read_document(text)
        assert 1 <= caught.value.line <= max(1, text.count("\n") + 1)
    else:
        assert read_document(text).tables == expected


@given(st.text(alphabet="[]{}=.,#'\"\\\n\r a1", max_size=40))
@example("\r\r\n")
def test_any_text_is_read_or_refused_as_by_tomllib(text: str) -> None:
    try:
        expected = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        with pytest.raises(NotTOML):
            read_document(text)
    else:
        assert read_document(text).tables == expected


@cases(
    ("text", "line", "words"),
    {
        "table twice": ("[a.b]\nx = 1\n\n[a.b]\n", 4, "[a.b] is on line 1 already: leave one of the two out"),
        "key twice": ("a = 1\nb = 2\na = 3", 3, "'a' is on line 1 already: leave one of the two out"),
        "key twice, over lines": (
            "a = 1\na = [\n1\n]",
            2,
            "'a' is on line 1 already: leave one of the two out",
        ),
        "key as a table": ("[a]\nb = 1\n[a.b]", 3, "[a.b] is on line 2 already: leave one of the two out"),
        "fault before a repetition": ("a = 1\nb == 2\na = 3", 2, 'not TOML: write text as "text"'),
        "text without quotes": ("a = 1\nb = https://x", 2, 'not TOML: write text as "text"'),
        "YAML": ("\n\na: b", 3, "not TOML: write KEY = VALUE"),
        "nothing behind =": ("a =\n", 1, 'not TOML: write text as "text"'),
        "quotes of a text processor": (
            "a = \u201cx\u201d",
            1,
            'not TOML: write straight quotes, as in "text"',
        ),
        "True": ("a = True", 1, "not TOML: write true or false in small letters"),
        "backslashes": ('a = "C:\\keys"', 1, "not TOML: write text with backslashes as 'text'"),
        "quote that is not closed": (
            "b = 1\na = 'x\nb = 1",
            2,
            "not TOML: the file ends too early: close the bracket or the quote",
        ),
        "quote that is closed later": ('a = "x\nb = "y"', 1, "not TOML: close the quote"),
        "heading that is not closed": ("[a\nb = 1", 1, "not TOML: close the bracket"),
        "array that is not closed": (
            "a = 1\nb = [\n1,\n",
            3,
            "not TOML: the file ends too early: close the bracket or the quote",
        ),
        "deep": ("a = " + "[" * 50_000, 1, "its values are nested too deeply"),
    },
)
def test_words_for_what_is_wrong(text: str, line: int, words: str) -> None:
    with pytest.raises(NotTOML) as caught:
        read_document(text)
    fault = caught.value
    shown = ": ".join(part for part in (fault.what, fault.fix) if part)
    assert (fault.line, shown) == (line, words)


def test_values_are_never_shown() -> None:
    for text in (
        "key = sk-secret",
        'key = "sk-secret',
        "[sk-secret",
        'key = "\\sk-secret"',
        "key: sk-secret",
    ):
        with pytest.raises(NotTOML) as caught:
            read_document(text)
        assert "secret" not in caught.value.what + caught.value.fix
