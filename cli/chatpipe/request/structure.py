"""The form of the answer as the command line gives it, nothing read yet: light, for `--help`."""

from typing import NamedTuple

# What the API takes for the name of a schema, by its published description of 2026-08-21.
LONGEST_NAME = 64
NAME_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


class Structure(NamedTuple):
    """`--schema` and what goes with it. file: its value, `-` for stdin; text: the value of --schema-json.

    strict: the server is asked to hold to the schema. reask: how often an answer that does not fit
    is sent back.
    """

    file: str | None = None
    text: str | None = None
    name: str | None = None
    strict: bool = True
    reask: int = 0

    @property
    def option(self) -> str | None:
        """The option that names the schema; None when there is none."""
        if self.file is not None:
            return "--schema"
        return "--schema-json" if self.text is not None else None
