"""Lines of a help page."""

from __future__ import annotations

from chatpipe.flags.help_layout import definitions, wrap
from support.parametrize import cases

PAIRS = [("-o, --output FILE", "Write to FILE"), ("    --a-name-that-is-much-too-long X", "Do it")]


@cases(
    ("text", "width", "lines"),
    {
        "short": ("one two", 20, ["one two"]),
        "exactly as wide": ("one two", 7, ["one two"]),
        "one too many": ("one two", 6, ["one", "two"]),
        "a long word has its own line": ("a incomprehensible b", 5, ["a", "incomprehensible", "b"]),
        "lines and spaces of the source do not count": (" one\n  two ", 20, ["one two"]),
        "nothing": ("", 20, [""]),
    },
)
def test_text_is_wrapped_at_the_width(text: str, width: int, lines: list[str]) -> None:
    assert wrap(text, width) == lines


def test_meanings_stand_in_a_column_and_below_a_long_name() -> None:
    assert list(definitions(PAIRS, 60)) == [
        "  -o, --output FILE  Write to FILE",
        "      --a-name-that-is-much-too-long X",
        "                     Do it",
    ]


def test_narrow_pages_have_the_meaning_below_the_name() -> None:
    assert list(definitions(PAIRS[:1], 14)) == ["  -o, --output FILE", "    Write to", "    FILE"]
