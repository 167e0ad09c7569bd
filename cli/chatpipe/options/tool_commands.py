"""Options of a conversation with tools, as a record. Kept light, because `--help` imports it too."""

from __future__ import annotations

import re

from chatpipe.errors import UsageFault
from chatpipe.named_tuple import NamedTuple

# Patterns are compiled when they are used: few calls have a command.
_QUOTED = r"""(?s)\\.|'[^']*'|"(?:\\.|[^"\\])*\""""
# Pipes, lists and redirections of a shell, as words of their own or at the end of one.
_OPERATOR = r"\|[|&]?|&&?|\S*;|\d*[<>]\S*|&>\S*"


class ToolOptions(NamedTuple):
    """The tool options. commands are (NAME, COMMAND) as typed, in that order; split() parses a COMMAND."""

    commands: tuple[tuple[str, str], ...] = ()
    timeout_s: float = 60.0
    max_turns: int = 8


def split_command(command: str, place: str) -> list[str]:
    """Split a command into words by a shell's quoting rules, and by none of its other rules.

    A word that begins with `#` is a word, not a comment. Raises UsageFault with the place if the command ends
    inside a quote or after a backslash, or has an operator of a shell that is not quoted.
    """
    import shlex  # takes 3 ms, and few calls have a command

    try:
        words = shlex.split(command)
    except ValueError as error:
        why = "a quote is not closed" if "quot" in str(error) else "nothing follows its last backslash"
        raise UsageFault(f"cannot be split into words: {why}", place=place) from error
    bare_words = re.sub(_QUOTED, "q", command).split()
    operator = next((word for word in bare_words if re.fullmatch(_OPERATOR, word)), None)
    if operator is not None:
        sign = re.sub(r"[^|&;<>]", "", operator)  # beside it there may be a key
        what = f"no shell runs the command, so '{sign}' would be an argument"
        raise UsageFault(what, place=place, fix="write sh -c 'COMMAND'")
    return words
