"""The words of a line as the completion script of a shell sends them, and the candidates as it takes them.

Without Click, so that a name is completed in half the time; see known_names.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from chatpipe.named_tuple import NamedTuple


class Candidate(NamedTuple):
    """A word that fits. type is `plain`, or `file` for the files with one of the suffixes."""

    value: str
    help: str = ""
    type: str = "plain"
    suffixes: tuple[str, ...] = ()


class Shell(NamedTuple):
    """A shell. words are those after the program, and the one to complete, which may be empty."""

    words: Callable[[Mapping[str, str]], tuple[list[str], str]]
    line: Callable[[Candidate], str]


def _bash_words(environ: Mapping[str, str]) -> tuple[list[str], str]:
    """The line as typed, up to the cursor. The scripts of older versions send the words of bash."""
    line = environ.get("COMP_LINE")
    if line is None:
        return _numbered_words(environ)
    # The mark is a part of the last word, or a word of its own after a space, whatever quotes are open.
    *words, last = _split(f"{line}.")
    return words[1:], last.removesuffix(".")


def _numbered_words(environ: Mapping[str, str]) -> tuple[list[str], str]:
    """The words up to the one with this number. Without a number, as by hand, a new word is completed."""
    words, number = _split(environ.get("COMP_WORDS", "")), environ.get("COMP_CWORD", "")
    at = int(number) if re.fullmatch("[0-9]{1,9}", number) else len(words)
    return words[1:at], "".join(words[at : at + 1])


def _fish_words(environ: Mapping[str, str]) -> tuple[list[str], str]:
    """The word to complete is also the last of the words, unless it is empty."""
    words = _split(environ.get("COMP_WORDS", ""))[1:]
    last = "".join(_split(environ.get("COMP_CWORD", ""))[:1])
    return (words[:-1] if last and words[-1:] == [last] else words), last


def _split(line: str) -> list[str]:
    """Split as a shell does. A quote may be open, and a backslash may be the last character."""
    import shlex

    lexer = shlex.shlex(line, posix=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    words: list[str] = []
    try:
        words.extend(lexer)
    except ValueError:
        words.append(lexer.token)
    return words


def _bash_line(candidate: Candidate) -> str:
    """`TYPE,VALUE`. For a file the value is the wanted suffixes."""
    is_file = candidate.type == "file"
    return f"{candidate.type},{' '.join(candidate.suffixes) if is_file else candidate.value}"


def _zsh_line(candidate: Candidate) -> str:
    """Three lines: type, value, and description, which is `_` if there is none."""
    help_text = " ".join(candidate.suffixes) or candidate.help
    value = candidate.value
    if candidate.help:
        value = value.replace(":", r"\:")  # the script gives zsh `VALUE:DESCRIPTION`
    return f"{candidate.type}\n{value}\n{help_text or '_'}"


def _fish_line(candidate: Candidate) -> str:
    """`TYPE,VALUE`, a tab, and the description."""
    help_text = " ".join(candidate.suffixes) or candidate.help
    return f"{candidate.type},{candidate.value}" + (f"\t{help_text}" if help_text else "")


SHELLS = {
    "bash": Shell(_bash_words, _bash_line),
    "zsh": Shell(_numbered_words, _zsh_line),
    "fish": Shell(_fish_words, _fish_line),
}
