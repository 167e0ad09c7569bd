"""The required form of the answer as given on the command line, before any file is read.

The module is light because `--help` imports it, too.
"""

from __future__ import annotations

from chatpipe.named_tuple import NamedTuple

# The names that the API accepts for a schema, by its published description of 2026-08-21.
MAX_NAME_LENGTH = 64
NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


class SchemaOptions(NamedTuple):
    """`--schema` and its companions.

    file is the value of --schema, `-` for stdin. text is the value of --schema-json, fields that of
    --schema-fields. strict asks the server to enforce the schema. reask is the number of times that an
    invalid answer is sent back.
    """

    file: str | None = None
    text: str | None = None
    fields: str | None = None
    name: str | None = None
    strict: bool = True
    reask: int = 0

    @property
    def option(self) -> str | None:
        """The option that gives the schema; None if there is none."""
        return next(iter(self.options), None)

    @property
    def options(self) -> list[str]:
        """All options that give a schema. More than one contradict each other."""
        given = {"--schema": self.file, "--schema-json": self.text, "--schema-fields": self.fields}
        return [option for option, value in given.items() if value is not None]
