"""The pages are good mdoc, and their parts are where a reader looks for them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from manual import pages
from support.programs import program

SECTIONS = (
    *("NAME", "SYNOPSIS", "QUICK START", "DESCRIPTION", "OPTIONS", "ENVIRONMENT", "FILES", "EXIT STATUS"),
    *("EXAMPLES", "SEE ALSO"),
)
# A sentence is a source line here, however long, so that a change of one is a change of one line.
# Which other manuals there are depends on the machine.
_LEFT_OUT = ("input text line longer than 80 bytes", "referenced manual not found")


EACH = pytest.mark.parametrize("path", pages.all_files(), ids=lambda path: path.name)


@EACH
def test_mandoc_has_nothing_to_say(path: Path) -> None:
    command = [program("mandoc"), "-Tlint", "-Wstyle", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = [line for line in done.stdout.splitlines() if not any(words in line for words in _LEFT_OUT)]
    assert said == []


@pytest.mark.parametrize("name", pages.names())
def test_page_has_the_usual_sections_in_order(name: str) -> None:
    """The order is mdoc(7)'s. chatpipe(1) has more of them, between OPTIONS and ENVIRONMENT."""
    titles = [title for title in pages.sections(name) if title]
    assert [title for title in titles if title in SECTIONS] == [
        title for title in SECTIONS if title in titles or title != "QUICK START"
    ]
    assert name == pages.WHOLE or set(titles) <= set(SECTIONS)


@EACH
def test_page_is_named_for_its_file(path: Path) -> None:
    assert f".Dt {path.stem.upper()} {path.suffix[1]}" in pages.source(path.stem)
    assert pages.sections(path.stem)["NAME"][0] == f".Nm {path.stem}"


@EACH
def test_references_lead_to_pages_that_exist(path: Path) -> None:
    text = pages.source(path.stem)
    referred = {".".join(pair) for pair in re.findall(r"^\.Xr (chatpipe\S*) (\d)", text, re.MULTILINE)}
    assert referred
    assert referred <= {each.name for each in pages.all_files()}


def test_every_page_about_a_subject_is_referred_to_by_chatpipe_1() -> None:
    others = [path for path in pages.all_files() if path.suffix != ".1"]
    assert others
    for path in others:
        assert f".Xr {path.stem} {path.suffix[1]}" in pages.source(pages.WHOLE)


@EACH
def test_subjects_referred_to_are_titles(path: Path) -> None:
    """`.Sx` names a section or a subsection of this page, or, before an `in` and `.Xr`, of that one."""
    text = pages.source(path.stem)
    for title, other in re.findall(r"^\.Sx (.+?)(?: [.,;:])?\n(?:in\n\.Xr (\S+) \d)?", text, re.MULTILINE):
        parts = pages.sections(other or path.stem)
        assert title in parts or any(title in pages.subsections(lines) for lines in parts.values())


@EACH
def test_options_that_are_spoken_of_exist(path: Path) -> None:
    """In running text, too: every `.Fl` of a page is one of some command, `-f` for short included."""
    groups = [*map(pages.options, pages.names()), *pages.shared_options().values()]
    known = {flag for group in groups for names in group for flag in names}
    spoken = {
        f"-{flag}"
        for line in pages.source(path.stem).splitlines()
        if line.startswith(".")
        for flag in re.findall(r"\bFl (\S+)", pages.plain(line))
    }
    assert spoken <= known
