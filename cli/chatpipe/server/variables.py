"""Variables of the environment, as they were meant."""

from __future__ import annotations

from collections.abc import Mapping

from chatpipe.errors import BadConfiguration


def variable(environ: Mapping[str, str], name: str) -> str | None:
    """The value of a variable, None if it is not set.

    A line ending after the value goes: a shell that sources a file with Windows line ends leaves a
    carriage return there, and no variable that is read here may end in one.
    """
    value = environ.get(name)
    return value.rstrip("\r\n") if value else value


def choice(environ: Mapping[str, str], name: str, chosen: str) -> str | None:
    """The value of a variable that chooses who is asked, None if it is not set. chosen is what it names.

    Raises BadConfiguration if it is empty: a command that was to give its value gave none, and what is
    next in order, often api.openai.com, would get a prompt that was meant for another server.
    """
    value = variable(environ, name)
    if value is not None and not value.strip():
        raise BadConfiguration("is empty", place=name, fix=f"unset it, or name a {chosen}")
    return value
