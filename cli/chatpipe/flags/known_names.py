"""Completion of the names of commands and options, from a table.

Most words that are completed are names, and Click, which makes all options of a command, needs almost three
times as long. `make completions` writes the table. It has a section for the commands, which has no name, and
one for the options of each command. A line has the names of an option, `many` if it may be given again, and
its help.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from chatpipe.flags.shell_answers import Candidate
from chatpipe.system.package_data import read_package_data


def known_names(words: Sequence[str], incomplete: str) -> list[Candidate] | None:
    """The names that incomplete, the word after words, may become. None if it is no name."""
    is_option = incomplete.startswith("-") and "=" not in incomplete and "--" not in words
    if words and not is_option:
        return None
    given = {word.partition("=")[0] if word.startswith("--") else word[:2] for word in words}
    return [
        Candidate(name, help_text)
        for names, count, help_text in _rows(words[0] if words else "")
        if count == "many" or given.isdisjoint(names)
        for name in names
        if name.startswith(incomplete) and (is_option or not name.startswith("-"))
    ]


def _rows(command: str) -> Iterator[tuple[list[str], str, str]]:
    """The names, the count and the help of each row in the section of a command."""
    table = read_package_data(__name__, "known_names.tsv").decode()
    _, _, rest = table.partition(f"[{command}]\n")
    for line in rest.partition("\n[")[0].splitlines():
        names, count, help_text = line.split("\t")
        yield names.split(), count, help_text
