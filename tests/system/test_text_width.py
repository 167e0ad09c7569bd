"""The columns that a text takes."""

from __future__ import annotations

from chatpipe.system.text_width import columns_of, cut
from support.parametrize import cases


@cases(
    "text, columns, first_three",
    {
        "nothing": ("", 0, ""),
        "ASCII": ("abcd", 4, "abc"),
        "an accent": ("äbcd", 4, "äbc"),
        "an accent of its own": ("a\u0308bcd", 4, "a\u0308bc"),
        "wide": ("円円", 4, "円"),
        "full width": ("\uff21b", 3, "\uff21b"),
        "an emoji": ("a\N{GRINNING FACE}b", 4, "a\N{GRINNING FACE}"),
        "joined": ("\u200da", 1, "\u200da"),
    },
)
def test_wide_characters_take_two_columns(text: str, columns: int, first_three: str) -> None:
    assert (columns_of(text), cut(text, 3)) == (columns, first_three)
