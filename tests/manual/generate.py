"""Writes into the page of each command the list of its options that chatpipe-options(7) describes.

`make manual`. The order, the headings and the names come from that page, a line of help for each
from the program. `--check` only reports whether the pages are current.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from manual import commands, pages

_INTRODUCTION = """\
.Ss Shared options
.Xr chatpipe-options 7
describes these options in full, under the same headings."""


def shared_list(command: str) -> str:
    """The generated lines of the page, markers included, each with its newline."""
    own = pages.options(pages.page_of(command))
    lines = [pages.BEGIN, *_INTRODUCTION.splitlines()]
    for heading, entries in pages.shared_options().items():
        wanted = commands.options(command).keys() & entries.keys() - own.keys()
        if wanted:
            lines += [f".Ss {heading}", ".Bl -tag -width Ds -compact"]
            for names in sorted(wanted, key=list(entries).index):
                meaning = commands.options(command)[names].row.short_meaning
                lines += [f".It {entries[names].source}", _sentence(meaning)]
            lines.append(".El")
    return "".join(f"{line}\n" for line in (*lines, pages.END))


def _sentence(help_text: str) -> str:
    text = help_text.replace("\\", r"\e").replace("'", r"\(aq")
    return re.sub(r"(?<!\w)-[\w-]*", lambda name: name[0].replace("-", r"\-"), text) + "."


def current(command: str) -> str:
    """The page with its list as it should be."""
    text = pages.source(pages.page_of(command))
    head, _, rest = text.partition(f"{pages.BEGIN}\n")
    _, end, tail = rest.partition(f"{pages.END}\n")
    assert end, f"{command}: no place for the list of shared options"
    return head + shared_list(command) + tail


def outdated() -> Iterator[tuple[Path, str]]:
    """The pages that differ from what would be written now, each with that."""
    for command in commands.COMMANDS:
        page = pages.page_of(command)
        if current(command) != pages.source(page):
            yield pages.FOLDER / f"{page}.1", current(command)


def main() -> int:
    found = list(outdated())
    for path, text in found:
        if "--check" in sys.argv[1:]:
            print(f"{path.name} is outdated: run make manual", file=sys.stderr)
        else:
            path.write_text(text, encoding="utf-8")
    return int(bool(found) and "--check" in sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
