"""Options of a conversation with tools, as a record. Kept light, because `--help` imports it too."""

from __future__ import annotations

from chatpipe.named_tuple import NamedTuple


class ToolOptions(NamedTuple):
    """The tool options. commands are (NAME, COMMAND) as typed, in that order; split() parses a COMMAND."""

    commands: tuple[tuple[str, str], ...] = ()
    timeout_s: float = 60.0
    max_turns: int = 8


def split_command(command: str) -> list[str]:
    """Split a command into words by a shell's quoting rules, and by none of its other rules.

    A word that begins with `#` is a word, not a comment. Raises ValueError, whose words are ours, if the
    command ends inside a quote or behind a backslash.
    """
    import shlex  # takes 3 ms, and few calls have a command

    try:
        return shlex.split(command)
    except ValueError as error:
        is_quote = "quot" in str(error)
        raise ValueError(
            "a quote is not closed" if is_quote else "nothing follows its last backslash"
        ) from error
