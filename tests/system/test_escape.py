"""What a terminal must not be sent is written out; all else is left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatpipe.system.escape import ByteEscaper, escape_controls, one_line, shorten

ESCAPED = {
    "nul": ("a\0b", r"a\x00b"),
    "colour": ("\x1b[31mred", r"\x1b[31mred"),
    "title-ends-with-bell": ("\x1b]0;t\x07", r"\x1b]0;t\x07"),
    "backspace": ("a\x08b", r"a\x08b"),
    "vertical-tab-and-form-feed": ("\x0b\x0c", r"\x0b\x0c"),
    "carriage-return": ("safe\rbad", r"safe\rbad"),
    "crlf": ("a\r\nb", "a\\r\nb"),
    "unit-separator": ("\x1f", r"\x1f"),
    "delete": ("\x7f", r"\x7f"),
    "c1-first": ("\x80", r"\u0080"),
    "c1-csi": ("\x9b31m", r"\u009b31m"),
    "c1-last": ("\x9f", r"\u009f"),
    "arabic-letter-mark": ("\u061c", r"\u061c"),
    "marks": ("\u200e\u200f", r"\u200e\u200f"),
    "embeddings-and-overrides": ("\u202a\u202b\u202c\u202d\u202e", r"\u202a\u202b\u202c\u202d\u202e"),
    "isolates": ("\u2066\u2067\u2068\u2069", r"\u2066\u2067\u2068\u2069"),
    "lone-surrogate": ("\ud83d", r"\ud83d"),
    "byte-that-was-not-utf-8": ("name\udcff\udc80", r"name\xff\x80"),
}

LEFT_ALONE = {
    "empty": "",
    "newline-and-tab": "a\tb\n\n",
    "printable-ascii": " !~\\x1b",
    "no-break-space-is-no-c1": "\xa0",
    "joiners": "\u200b\u200c\u200d",
    "around-the-overrides": "\u2029\u202f",
    "around-the-isolates": "\u2065\u206a",
    "emoji-and-cjk": "👩‍💻 你好 שלום",
    "private-use-and-last": "\ue000\U0010ffff",
}


@pytest.mark.parametrize(("text", "shown"), ESCAPED.values(), ids=ESCAPED)
def test_visible_escapes(text: str, shown: str) -> None:
    assert escape_controls(text) == shown


@pytest.mark.parametrize("text", LEFT_ALONE.values(), ids=LEFT_ALONE)
def test_visible_leaves_alone(text: str) -> None:
    assert escape_controls(text) is text


LINES = {
    "newline": ("a\nb\n", r"a\nb\n"),
    "tab": ("a\tb", r"a\tb"),
    "crlf": ("a\r\nb", r"a\r\nb"),
    "line-and-paragraph-separator": ("a\u2028b\u2029", r"a\u2028b\u2029"),
    "next-line": ("a\x85b", r"a\u0085b"),
    "colour": ("\x1b[0m", r"\x1b[0m"),
    "plain": ("café 'x'", "café 'x'"),
}


@pytest.mark.parametrize(("text", "shown"), LINES.values(), ids=LINES)
def test_a_line_is_escaped_whole(text: str, shown: str) -> None:
    assert one_line(text) == shown


@given(st.text())
def test_a_line_is_one_line_and_can_be_encoded(text: str) -> None:
    shown = one_line(text)
    assert shown.encode().decode().splitlines() in ([], [shown])


BYTES = {
    "text": (b"plain\tand\n", b"plain\tand\n"),
    "escape": (b"\x1b[2J", rb"\x1b[2J"),
    "two-bytes": ("é".encode(), "é".encode()),
    "four-bytes": ("x👍y".encode(), "x👍y".encode()),
    "c1-in-utf-8": (b"a\xc2\x9bb", rb"a\u009bb"),
    "override": ("\u202e".encode(), rb"\u202e"),
    "c1-as-a-lone-byte": (b"a\x9bb", rb"a\x9bb"),
    "never-valid": (b"\xff\xfe", rb"\xff\xfe"),
    "overlong-escape": (b"\xc1\x9b", rb"\xc1\x9b"),
    "surrogate": (b"\xed\xa0\xbd", rb"\xed\xa0\xbd"),
    "cut-by-text": (b"\xf0\x9f\x91x", rb"\xf0\x9f\x91x"),
    "cut-by-the-end": (b"x\xf0\x9f\x91", rb"x\xf0\x9f\x91"),
    "cut-by-an-escape": (b"\xe4\xbd\x1b", rb"\xe4\xbd\x1b"),
    "above-unicode": (b"\xf4\x90\x80\x80", rb"\xf4\x90\x80\x80"),
}


@pytest.mark.parametrize(("data", "shown"), BYTES.values(), ids=BYTES)
def test_bytes_whole_byte_by_byte_and_cut_at_each_place(data: bytes, shown: bytes) -> None:
    cuts = [[data], [data[i : i + 1] for i in range(len(data))]]
    cuts += [[data[:i], data[i:]] for i in range(len(data) + 1)]
    for pieces in cuts:
        escaper = ByteEscaper()
        assert b"".join([*map(escaper.feed, pieces), escaper.end()]) == shown


def test_only_an_unfinished_character_is_held_back() -> None:
    escaper = ByteEscaper()
    assert escaper.feed(b"abc\xe4\xbd") == b"abc"
    assert escaper.feed(b"\xa0d") == "你d".encode()
    assert escaper.end() == b""


@given(st.lists(st.binary(max_size=6)))
def test_cutting_bytes_changes_nothing(pieces: list[bytes]) -> None:
    cut, whole = ByteEscaper(), ByteEscaper()
    data = b"".join(pieces)
    assert b"".join(map(cut.feed, pieces)) + cut.end() == whole.feed(data) + whole.end()


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("a\n b\t\tc ", "a b c"),
        ("x" * 500, "x" * 500),
        ("x" * 501, "x" * 497 + "..."),
        (" " * 2000 + "y", "y"),
        ("", ""),
    ],
)
def test_words_of_the_server_are_shortened(text: str, short: str) -> None:
    assert shorten(text) == short
