"""Keys on the command line, in the place of another value: `--key-env $OPENAI_API_KEY`, `-p sk-...`.

An error shows the value that is wrong, and a log keeps the error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from chatpipe.server.profiles import secret_variables
from chatpipe.system import secrets

_SHORTEST = 8  # characters of a key that is no word


def hide_stray_keys(environ: Mapping[str, str], arguments: Iterable[str]) -> None:
    """Hide the keys in the arguments in all that is written about a failure from now on."""
    text = "\n".join(arguments)
    for each in (*re.findall(secrets.KEY, text, re.ASCII), *_own_keys(environ)):
        if each in text:
            secrets.add(each)


def hide_everything(environ: Mapping[str, str], arguments: Iterable[str]) -> None:
    """Hide the values of variables and headers with secret names, and the secrets in URLs.

    It is for an unforeseen exception, whose words may have anything in them, and which may come before a
    secret was read.
    """
    from chatpipe.server import redact  # a bug is rare

    for name, value in environ.items():
        if name in secret_variables() or redact.header(name, value) != value:
            secrets.add(value.strip())
    for text in (*environ.values(), *arguments):
        redact.hide_url(text)
        lines = (line.partition(":") for line in text.rpartition("--header=")[2].splitlines())
        redact.hide_headers((name.strip(), value.strip()) for name, _, value in lines if value)


def is_key(text: str, environ: Mapping[str, str]) -> bool:
    """Return True if text looks like a key, or is the value of a variable that holds one."""
    return re.fullmatch(secrets.KEY, text, re.ASCII) is not None or text in _own_keys(environ)


def _own_keys(environ: Mapping[str, str]) -> Iterator[str]:
    values = (environ.get(name, "").strip() for name in secret_variables())
    return (value for value in values if len(value) >= _SHORTEST)
