"""Secrets from where they are kept: the key, from a file, a command, a descriptor or a variable; headers."""

from __future__ import annotations

import os
from collections.abc import Mapping

from chatpipe.errors import MissingInput, NoAccess, UsageFault, reason
from chatpipe.wire.options import KeySource

_KEY_VARIABLES = ("OPENAI_API_KEY", "OPENAI_CUSTOM_HEADERS")


def find(source: KeySource, key_env: str | None, environ: Mapping[str, str]) -> str | None:
    """The key, None when there is none. Raises NoAccess when a place that was named has no usable key."""
    if source.file is not None:
        return _usable(_from_file(source.file), "--key-file")
    if source.command is not None:
        # A child gets no key, not even the one that it is to replace, nor the headers that may hold one.
        dropped = {key_env, *_KEY_VARIABLES}
        others = {name: value for name, value in environ.items() if name not in dropped}
        return _usable(_from_command(source.command, others), "--key-command")
    if source.descriptor is not None:
        return _usable(_from_descriptor(source.descriptor), "--key-fd")
    if key_env is not None and environ.get(key_env, "").strip():
        return _usable(environ[key_env], key_env)
    return None


def header_lines(path: str | None) -> list[str]:
    """The lines of `--header-file`, blank ones left out. Raises MissingInput."""
    if path is None:
        return []
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return [line for line in file.read().split("\n") if line.strip()]
    except (OSError, ValueError) as error:
        raise MissingInput(f"cannot read '{path}': {reason(error)}", place="--header-file") from error


def _usable(text: str, place: str) -> str:
    """The key without the line end that files have. A header cannot hold anything but printable ASCII."""
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
        # The standard ones stay open: stderr is still wanted, and no socket is to get such a number.
        with os.fdopen(descriptor, encoding="utf-8", errors="replace", closefd=descriptor > 2) as file:
            return file.read(65536)
    except (OSError, OverflowError, TypeError) as error:  # the last two: a number that is no descriptor
        raise NoAccess(f"cannot read descriptor {descriptor}: {_why(error)}", place="--key-fd") from error


def _from_command(command: str, environ: Mapping[str, str]) -> str:
    import shlex  # these two cost 10 ms, and few keys come from a command
    import subprocess

    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageFault(f"cannot be split into words: {error}", place="--key-command") from error
    if not words:
        raise UsageFault("an empty command", place="--key-command")
    try:
        done = subprocess.run(
            words, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False
        )
    except (OSError, ValueError) as error:
        raise NoAccess(f"cannot run '{words[0]}': {reason(error)}", place="--key-command") from error
    if done.returncode:
        raise NoAccess(f"'{words[0]}' ended with status {done.returncode}", place="--key-command")
    return done.stdout.decode("utf-8", "replace")


def _why(error: Exception) -> str:
    return reason(error) if isinstance(error, OSError) else "not a descriptor"
