"""The manual's sources, taken apart: sections, the entries of their lists, examples.

Only as much of mdoc(7) as our pages use: a macro a line, text of one sentence a line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from chatpipe.flags.help_page import HEADINGS

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "man"
WHOLE = "chatpipe"
SHARED = "chatpipe-options"
# Between these a page lists its options that SHARED describes: tests/manual/generate.py writes them.
BEGIN = r'.\" Begin of what "make manual" writes: do not edit.'
END = r'.\" End of what "make manual" writes.'

_ESCAPES = {
    r"\-": "-",
    r"\e": "\\",
    r"\&": "",
    r"\:": "",
    r"\(aq": "'",
    r"\(dq": '"',
    r"\(ti": "~",
}
_ESCAPE = re.compile("|".join(re.escape(escape) for escape in _ESCAPES))


class Entry(NamedTuple):
    """An `.It` of a list: what stands behind the macro, and the lines below it, inner lists included."""

    source: str
    text: tuple[str, ...]

    @property
    def head(self) -> str:
        """The source without escapes."""
        return plain(self.source)


class Example(NamedTuple):
    """A display of examples: what is typed, all that is then shown, and the status of the last command."""

    page: str
    sentence: str
    commands: str
    output: str
    status: int


def names() -> list[str]:
    """The pages of the program and of its commands."""
    return sorted(path.stem for path in FOLDER.glob("*.1"))


def page_of(command: str) -> str:
    """The page of a command, "" being chatpipe itself."""
    return f"{WHOLE}-{command}" if command else WHOLE


def all_files() -> list[Path]:
    """The files of all pages, with those about a subject."""
    return sorted(FOLDER.glob("*.[0-9]"))


@cache
def source(name: str) -> str:
    (path,) = FOLDER.glob(f"{name}.[0-9]")
    return path.read_text(encoding="utf-8")


def plain(text: str) -> str:
    """The characters that roff's escapes stand for."""
    return _ESCAPE.sub(lambda match: _ESCAPES[match[0]], text)


@cache
def sections(name: str) -> Mapping[str, list[str]]:
    """The lines of each `.Sh`, by its title, in order."""
    return _divided(source(name).splitlines(), ".Sh ")


def subsections(lines: Sequence[str]) -> dict[str, list[str]]:
    """The lines of each `.Ss`, by its title; those before the first one under ""."""
    return _divided(lines, ".Ss ")


def _divided(lines: Sequence[str], macro: str) -> dict[str, list[str]]:
    parts: dict[str, list[str]] = {"": []}
    title = ""
    for line in lines:
        if line.startswith(macro):
            title = line.removeprefix(macro)
            assert title not in parts, f"{title} twice"
            parts[title] = []
        else:
            parts[title].append(line)
    return parts


def entries(lines: Sequence[str]) -> list[Entry]:
    """The entries of all outermost lists."""
    found: list[tuple[str, list[str]]] = []
    depth = 0
    for line in lines:
        depth -= line == ".El"
        if depth == 1 and line.startswith(".It "):
            found.append((line.removeprefix(".It "), []))
        elif depth > 0:
            found[-1][1].append(line)
        depth += line.startswith(".Bl ")
    return [Entry(source, tuple(text)) for source, text in found]


@cache  # several hundred tests look something up
def options(name: str) -> Mapping[tuple[str, ...], Entry]:
    """The options that a page describes itself, by all their names, with dashes; no operands."""
    lines = sections(name)["OPTIONS"]
    if BEGIN in lines:
        lines = lines[: lines.index(BEGIN)] + lines[lines.index(END) :]
    return _options(entries(lines))


@cache
def shared_options() -> Mapping[str, Mapping[tuple[str, ...], Entry]]:
    """The options that chatpipe-options(7) describes, by heading and names."""
    lines = sections(SHARED)
    return {each: _options(entries(lines[each.upper()])) for each in HEADINGS if each.upper() in lines}


@cache
def listed_options(name: str) -> Mapping[tuple[str, ...], Entry]:
    """The options in the generated list of a page."""
    lines = sections(name)["OPTIONS"]
    return _options(entries(lines[lines.index(BEGIN) : lines.index(END)]))


def _options(found: Sequence[Entry]) -> Mapping[tuple[str, ...], Entry]:
    options: dict[tuple[str, ...], Entry] = {}
    for entry in found:
        if entry.head.startswith("Fl "):
            names = tuple(f"-{flag}" for flag in re.findall(r"Fl (\S+)", entry.head))
            assert names not in options, f"{names} twice"
            options[names] = entry
    return options


def variables(name: str) -> set[str]:
    """The variables of ENVIRONMENT."""
    heads = [entry.head for entry in entries(sections(name)["ENVIRONMENT"])]
    return {word for head in heads for word in head.removeprefix("Ev ").split(" , ")}


def statuses(name: str) -> dict[int, Entry]:
    """The entries of EXIT STATUS by number."""
    found: dict[int, Entry] = {}
    for entry in entries(sections(name)["EXIT STATUS"]):
        found.update((int(number), entry) for number in entry.head.split(", "))
    return found


def display(name: str, beginning: str) -> str:
    """The one display of a page, in any section, that begins so."""
    displays = re.findall(r"^\.Bd .*\n((?:.*\n)*?)\.Ed$", source(name), re.MULTILINE)
    found = [each for each in map(plain, displays) if each.startswith(beginning)]
    assert len(found) == 1, f"{len(found)} displays of {name} begin with {beginning}"
    return str(found[0])


def examples(name: str, titles: Sequence[str] = ("QUICK START", "EXAMPLES")) -> Iterator[Example]:
    """The examples in the sections of these titles.

    `$ ` begins a command, `> ` goes on with it, and what has neither is shown by the commands above.
    """
    before: list[str] = []
    display: list[str] | None = None
    parts = sections(name)
    for line in (line for title in titles for line in parts.get(title, ())):
        if line.startswith(".Bd "):
            display = []
        elif line == ".Ed" and display is not None:
            yield _example(name, " ".join(before), display)
            before, display = [], None
        elif display is not None:
            display.append(plain(line))
        elif line != ".Pp":
            before.append(line)


def _example(name: str, sentence: str, lines: list[str]) -> Example:
    typed = [line[2:] for line in lines if line.startswith(("$ ", "> "))]
    shown = [line for line in lines if not line.startswith(("$ ", "> "))]
    stated = re.search(r"\bstatus (\d+)", sentence)
    return Example(
        name,
        sentence,
        "".join(f"{line}\n" for line in typed),
        "".join(f"{line}\n" for line in shown),
        int(stated[1]) if stated else 0,
    )
