"""What may follow an answer, made of the options: tools that run, a schema to fit. For `ask` and for runs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from chatpipe.conversation import execute, tool_calls
from chatpipe.conversation.loop import Message, ToolRunner, TurnRules
from chatpipe.conversation.wanted import TurnOptions
from chatpipe.inputs.values import Value
from chatpipe.options.tool_commands import split_command
from chatpipe.system.console import Console, FirstFew


@contextmanager
def open_rules(
    wanted: TurnOptions,
    body: Mapping[str, Value],
    console: Console,
    *,
    environ: Mapping[str, str],
    secrets: Sequence[str],
    key_names: Iterable[str],
    workers: int | None = None,
) -> Iterator[TurnRules | None]:
    """The rules, None where there are none. At the end no tool runs any more.

    body is the request, or what every line of a run has: it offers the tools that have a command.
    They get environ without the variables named or holding a secret, and run in the thread that asks,
    or in so many workers beside an event loop. Raises UsageFault, MissingInput, BadInput.
    """
    if wanted.is_single_turn:
        yield None
        return
    detail = console.detail if console.options.verbose else None
    rules = TurnRules(detail=detail)
    if wanted.response_format is not None:
        from chatpipe.schema.expected import AnswerSchema

        expected = AnswerSchema(wanted.response_format.schema.value, wanted.response_format.place)
        asked_for = body.get("response_format")
        rules = rules._replace(violation=expected.violation, reasks=wanted.reasks, response_format=asked_for)
    if not wanted.tools.commands:
        yield rules
        return
    commands = {name: split_command(command) for name, command in wanted.tools.commands}
    if workers is None or tool_calls.offered_names(body):  # the lines of a run may have tools of their own
        execute.check_names(commands, body)
    execute.check_commands(commands)
    toolbox = execute.Toolbox(
        commands,
        timeout_s=wanted.tools.timeout_s,
        environ=execute.clean_environment(environ, secrets, key_names),
        detail=detail,
        note=console.note
        if workers is None
        else FirstFew(console.note, console.note, "-v shows each").report,
    )
    pool = None if workers is None else ThreadPoolExecutor(workers, "tool")

    async def run(message: Mapping[str, Value], body: Mapping[str, Value]) -> Sequence[Message]:
        offered = tool_calls.offered_names(body)
        if pool is None:
            return toolbox.run(message, offered)
        return await asyncio.get_running_loop().run_in_executor(pool, toolbox.run, message, offered)

    try:
        yield rules._replace(tools=ToolRunner(toolbox.can_answer, run, wanted.tools.max_turns))
    finally:
        toolbox.stop()
        if pool is not None:
            pool.shutdown(cancel_futures=True)
