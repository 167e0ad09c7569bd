"""The secrets of a process that crashed: all that its environment and arguments hold, used or not.

The words of an unforeseen exception may have anything in them, and it may come before a secret was read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from chatpipe.server import redact
from chatpipe.server.profiles import SECRET_VARIABLES
from chatpipe.system import secrets


def hide_everything(environ: Mapping[str, str], arguments: Iterable[str]) -> None:
    """Hide the values of variables and headers with secret names, and the secrets in URLs."""
    for name, value in environ.items():
        if name in SECRET_VARIABLES or redact.header(name, value) != value:
            secrets.add(value.strip())
    for text in (*environ.values(), *arguments):
        redact.hide_url(text)
        lines = (line.partition(":") for line in text.rpartition("--header=")[2].splitlines())
        redact.hide_headers((name.strip(), value.strip()) for name, _, value in lines if value)
