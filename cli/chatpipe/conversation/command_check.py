"""Check the commands of `--exec` before anything is sent: each has a tool, and the system can start it."""

from __future__ import annotations

import codecs
import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence

from chatpipe.conversation import tool_calls
from chatpipe.errors import MissingInput, UsageFault
from chatpipe.inputs.names import did_you_mean
from chatpipe.inputs.values import Value

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, "#!".encode("utf-16-le"), "#!".encode("utf-16-be"))


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
    if head.startswith(_UTF_16):
        return "is UTF-16, which the system cannot run", "save it as UTF-8"
    if not re.match(rb"#![ \t]*[^ \t\n]", head):
        return None if b"\0" in head else ("names no interpreter", "begin it with '#!/bin/sh'")
    # Only a blank or a line feed ends the name for the system, which takes the rest as one argument.
    line = head[2:].split(b"\n", 1)[0].strip(b" \t").decode("utf-8", "replace")
    interpreter, argument = (*re.split(r"[ \t]+", line, maxsplit=1), "")[:2]
    if line.endswith("\r") and interpreter.endswith(("\r", "/env")):  # env looks for such a name, too
        return "ends its lines with CR LF", "end them with LF"
    return _interpreter_fault(interpreter, argument)


def _interpreter_fault(interpreter: str, argument: str) -> tuple[str, str] | None:
    """The reason why a script has no interpreter, and what helps. argument is that of the interpreter."""
    # The system takes a name without a slash for a file of the working directory.
    if shutil.which(os.path.join(os.curdir, interpreter)) is None:
        if "/" not in interpreter and shutil.which(interpreter) is not None:
            return f"names '{interpreter}' without its path", f"begin it with '#!/usr/bin/env {interpreter}'"
        return f"is to be run by '{interpreter}', which does not exist", "correct its first line"
    is_program = interpreter.endswith("/env") and re.fullmatch(r"[^-=\s][^=\s]*", argument)
    if not is_program or shutil.which(argument) is not None:
        return None
    return f"is to be run by '{argument}', which does not exist", "correct its first line"


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
