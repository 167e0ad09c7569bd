"""What the user asks of a conversation with tools, as a record: light, as `--help` imports it too."""

from typing import NamedTuple


class Tooling(NamedTuple):
    """commands are (NAME, COMMAND) as typed, in that order; split() takes a COMMAND apart."""

    commands: tuple[tuple[str, str], ...] = ()
    timeout_s: float = 60.0
    max_turns: int = 8


def split(command: str) -> list[str]:
    """The words of a command, by a shell's rules of quoting and by no other of its rules.

    Raises ValueError for a quote that is not closed. A word that begins with `#` is a word.
    """
    import shlex  # it costs 3 ms, and few calls have a command

    return shlex.split(command)
