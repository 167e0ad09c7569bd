"""Check the commands of `--exec` before anything is sent: each has a tool, and the system can start it."""

from __future__ import annotations

import codecs
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence

from chatpipe.conversation import tool_calls
from chatpipe.errors import MissingInput, UsageFault
from chatpipe.inputs.names import did_you_mean
from chatpipe.inputs.values import Value


def check_commands(commands: Mapping[str, Sequence[str]]) -> None:
    """Raise MissingInput for a command that cannot be run, before anything is sent."""
    for name, words in commands.items():
        path = shutil.which(words[0])
        if path is None:
            raise MissingInput(
                f"no program '{words[0]}'",
                place=f"--exec {name}",
                fix="check that it is executable and on PATH",
            )
        if fault := _script_fault(path):
            what, fix = fault
            raise MissingInput(f"'{path}' {what}", place=f"--exec {name}", fix=fix)


def _script_fault(path: str) -> tuple[str, str] | None:
    """The reason why the system cannot start a script, and what helps; None if none is known.

    A shell interprets a file without `#!` itself; the system does not.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(256)
    except OSError:  # executable, but not readable
        return None
    if head.startswith(codecs.BOM_UTF8):
        return "begins with a byte order mark", "remove it"
    if not head.startswith(b"#!"):
        return None if b"\0" in head else ("does not say what runs it", "begin it with '#!/bin/sh'")
    # Only a blank or a line feed ends the name for the system.
    line = head[2:].split(b"\n", 1)[0].strip(b" \t")
    interpreter = re.split(rb"[ \t]", line, maxsplit=1)[0].decode("utf-8", "replace")
    if line.endswith(b"\r") and interpreter.endswith(("\r", "/env")):  # env looks for such a name, too
        return "ends its lines with CR LF", "end them with LF"
    if shutil.which(interpreter) is not None:
        return None
    return f"is to be run by '{interpreter}', which is not there", "correct its first line"


def check_names(commands: Iterable[str], body: Mapping[str, Value]) -> None:
    """Raise UsageFault for a command whose tool is not in the request, and for more than one choice."""
    offered = tool_calls.tool_names(body)
    for name in commands:
        if name not in offered:
            fix = did_you_mean(name, offered, "offer it with --tool FILE")
            raise UsageFault(f"the request has no tool '{name}'", place="--exec", fix=fix)
    choices = body.get("n")
    if commands and isinstance(choices, int) and choices > 1:
        raise UsageFault("tools are run for one choice only", place="--exec", fix="ask for one with -n 1")
