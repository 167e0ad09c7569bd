"""Read secrets: the API key from a file, command, descriptor or variable, and headers from a file."""

from __future__ import annotations

import os
from collections.abc import Mapping

from chatpipe.errors import MissingInput, NoAccess, UsageFault, reason
from chatpipe.options.server import KeySource
from chatpipe.server.profiles import SECRET_VARIABLES


def find_key(source: KeySource, key_env: str | None, environ: Mapping[str, str]) -> str | None:
    """The API key, or None if there is none. Raises NoAccess if a named source holds no usable key."""
    if source.file is not None:
        return _validated(_from_file(source.file), "--key-file")
    if source.command is not None:
        # The command gets no key, not even the one it replaces, and no headers that may contain one.
        dropped = {key_env, *SECRET_VARIABLES}
        child_environ = {name: value for name, value in environ.items() if name not in dropped}
        return _validated(_from_command(source.command, child_environ), "--key-command")
    if source.descriptor is not None:
        return _validated(_from_descriptor(source.descriptor), "--key-fd")
    if key_env is not None and environ.get(key_env, "").strip():
        return _validated(environ[key_env], key_env)
    return None


def header_lines(path: str | None) -> list[str]:
    """The lines of `--header-file` that are not blank. Raises MissingInput."""
    if path is None:
        return []
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return [line for line in file.read().split("\n") if line.strip()]
    except (OSError, ValueError) as error:
        raise MissingInput(f"cannot read '{path}': {reason(error)}", place="--header-file") from error


def _validated(text: str, place: str) -> str:
    """The key, stripped of surrounding white space. A header can hold only printable ASCII."""
    key = text.strip()
    if not key:
        raise NoAccess("the key is empty", place=place)
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise NoAccess(
            "the key has characters that no key has", place=place, fix="one line of printable ASCII is wanted"
        )
    return key


def _from_file(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(65536)
    except (OSError, ValueError) as error:
        raise NoAccess(f"cannot read '{path}': {reason(error)}", place="--key-file") from error


def _from_descriptor(descriptor: int) -> str:
    try:
        # Keep standard descriptors open: stderr is still needed, and no socket may get number 0, 1 or 2.
        with os.fdopen(descriptor, encoding="utf-8", errors="replace", closefd=descriptor > 2) as file:
            return file.read(65536)
    except (OSError, OverflowError, TypeError) as error:  # the last two: not a descriptor number
        raise NoAccess(
            f"cannot read descriptor {descriptor}: {_descriptor_message(error)}", place="--key-fd"
        ) from error


def _from_command(command: str, environ: Mapping[str, str]) -> str:
    import shlex  # this and subprocess take 10 ms, and few keys come from a command
    import subprocess

    try:
        arguments = shlex.split(command)
    except ValueError as error:
        raise UsageFault(f"cannot be split into words: {error}", place="--key-command") from error
    if not arguments:
        raise UsageFault("an empty command", place="--key-command")
    try:
        completed = subprocess.run(
            arguments, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False
        )
    except (OSError, ValueError) as error:
        raise NoAccess(f"cannot run '{arguments[0]}': {reason(error)}", place="--key-command") from error
    if completed.returncode:
        raise NoAccess(f"'{arguments[0]}' ended with status {completed.returncode}", place="--key-command")
    return completed.stdout.decode("utf-8", "replace")


def _descriptor_message(error: Exception) -> str:
    return reason(error) if isinstance(error, OSError) else "not a descriptor"
