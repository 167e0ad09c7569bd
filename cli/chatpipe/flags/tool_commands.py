"""Options that run tools."""

from __future__ import annotations

from chatpipe.errors import UsageFault
from chatpipe.flags.option_groups import option_group, under
from chatpipe.flags.types import Count, Seconds
from chatpipe.options.tool_commands import ToolOptions, split_command

option = under("Tools")

_DEFAULTS = ToolOptions()


def _read(commands: tuple[str, ...], exec_timeout: float | None, max_turns: int | None) -> ToolOptions:
    for value, option in ((exec_timeout, "--exec-timeout"), (max_turns, "--max-turns")):
        if value is not None and not commands:
            raise UsageFault("there is no tool to run", place=option, fix="add --exec NAME=COMMAND")
    pairs = [_pair(text) for text in commands]
    names = [name for name, _ in pairs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageFault(f"'{twice[0]}' has two commands", place="--exec", fix="give it one")
    return ToolOptions(
        tuple(pairs),
        _DEFAULTS.timeout_s if exec_timeout is None else exec_timeout,
        _DEFAULTS.max_turns if max_turns is None else max_turns,
    )


def _pair(text: str) -> tuple[str, str]:
    name, separator, command = text.partition("=")
    if not separator or not name:
        raise UsageFault(f"'{text}' names no tool", place="--exec", fix="write NAME=COMMAND")
    words = split_command(command, f"--exec {name}")
    if not words or not words[0]:
        raise UsageFault("an empty command", place=f"--exec {name}", fix="write NAME=COMMAND")
    return name, command


# None means not typed: either of the last two says something about commands only.
options = option_group(
    "tools",
    [
        option(
            "--exec",
            "commands",
            multiple=True,
            metavar="NAME=COMMAND",
            daily=("ask",),
            help="Run COMMAND when the model calls the tool NAME: arguments on stdin, result on stdout",
        ),
        option(
            "--exec-timeout",
            type=Seconds(),
            default_text=f"{_DEFAULTS.timeout_s:g}",
            help="Stop a tool that runs longer than S seconds",
        ),
        option(
            "--max-turns",
            type=Count(1),
            default_text=str(_DEFAULTS.max_turns),
            help="Send at most N requests in one conversation",
        ),
    ],
    _read,
)
