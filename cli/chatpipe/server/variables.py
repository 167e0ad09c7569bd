"""Variables of the environment, as they were meant."""

from __future__ import annotations

from collections.abc import Mapping


def variable(environ: Mapping[str, str], name: str) -> str | None:
    """The value of a variable, None if it is not set.

    A line ending behind the value goes: a shell that sources a file with Windows line ends leaves a
    carriage return there, and no variable that is read here may end in one.
    """
    value = environ.get(name)
    return value.rstrip("\r\n") if value else value
