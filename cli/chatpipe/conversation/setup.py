"""Turn options -> the rules of a conversation: commands that answer tool calls, and a schema to fit.

`ask` and runs share this code.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from chatpipe.conversation import command_check, tool_calls
from chatpipe.conversation.execute import Toolbox
from chatpipe.conversation.turns import ToolResults, ToolRunner, TurnOptions, TurnRules
from chatpipe.inputs.values import Value
from chatpipe.options.tool_commands import ToolOptions, split_command
from chatpipe.server.children import child_environment
from chatpipe.system.console import Console, FirstFew
from chatpipe.system.signals import interruptible


@contextmanager
def open_rules(
    options: TurnOptions,
    body: Mapping[str, Value],
    console: Console,
    *,
    environ: Mapping[str, str],
    key_names: frozenset[str],
    workers: int | None = None,
) -> Iterator[TurnRules | None]:
    """Make the rules, or None if the first answer is the last. No tool is running when the block ends.

    body is the request, or the part that every line of a run has. It offers the tools that have a command.
    Commands get environ without secrets and without the variables key_names, which hold keys. They run in the
    thread that asks, or in as many workers next to the event loop of a run. Raises UsageFault, MissingInput,
    BadInput.
    """
    if options.is_single_turn:
        yield None
        return
    rules = schema_rules(options, body)._replace(detail=_detail(console))
    if not options.tools.commands:
        yield rules
        return
    _check_tools(options.tools, body, is_run=workers is not None)
    clean = child_environment(environ, key_names)
    with _open_tools(options.tools, clean, console, workers) as tools:
        yield rules._replace(tools=tools)


def schema_rules(options: TurnOptions, body: Mapping[str, Value]) -> TurnRules:
    """The rules of a schema, with the response format that asks for it. Raises BadInput."""
    if options.response_format is None:
        return TurnRules()
    from chatpipe.schema.expected import AnswerSchema  # jsonschema, which most calls do without

    schema = AnswerSchema(options.response_format.schema.value, options.response_format.place)
    return TurnRules(
        violation=schema.violation, reasks=options.reasks, response_format=body.get("response_format")
    )


def _detail(console: Console) -> Callable[[str], None] | None:
    return console.detail if console.options.verbose else None


def _check_tools(options: ToolOptions, body: Mapping[str, Value], *, is_run: bool) -> None:
    """Raise UsageFault for a command whose tool nobody offers, and MissingInput for one that cannot run."""
    commands = _commands(options)
    if not is_run or tool_calls.tool_names(body):  # the lines of a run may have tools of their own
        command_check.check_names(commands, body)
    command_check.check_commands(commands)


def _commands(options: ToolOptions) -> dict[str, list[str]]:
    return {name: split_command(command, "--exec") for name, command in options.commands}


@contextmanager
def _open_tools(
    options: ToolOptions, environ: Mapping[str, str], console: Console, workers: int | None
) -> Iterator[ToolRunner]:
    """Yield a runner of the commands, and stop them at the end."""
    is_run = workers is not None
    toolbox = Toolbox(
        _commands(options),
        timeout_s=options.timeout_s,
        environ=environ,
        detail=_detail(console),
        # A run may report as many failures as it has lines.
        note=FirstFew(console.note, console.note, "-v shows each").report if is_run else console.note,
    )
    pool = ThreadPoolExecutor(workers, "tool") if is_run else None
    try:
        yield ToolRunner(toolbox.can_answer, _ThreadedTools(toolbox, pool).run, options.max_turns)
    finally:
        toolbox.stop()
        if pool is not None:
            pool.shutdown(cancel_futures=True)


class _ThreadedTools:
    """Tools that run in a thread of pool, or without a pool in the thread that asks."""

    def __init__(self, toolbox: Toolbox, pool: ThreadPoolExecutor | None) -> None:
        self._toolbox = toolbox
        self._pool = pool

    async def run(self, message: Mapping[str, Value], body: Mapping[str, Value]) -> ToolResults:
        offered = tool_calls.tool_names(body)
        if self._pool is None:
            with interruptible():  # a signal does not wait for the tool, as it does for the end of an answer
                return self._toolbox.run(message, offered)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, self._toolbox.run, message, offered)
