"""The request options as one bundle for each kind of command. Help lists them in this order."""

from __future__ import annotations

from chatpipe.errors import UsageFault
from chatpipe.flags import parameters, prompt, server, structured_output, tool_commands
from chatpipe.flags.option_groups import Decorator, bundle, option_group, under
from chatpipe.options.request import CheckOptions, RequestOptions

_diagnostic = under("Diagnostics")


def _read_check(strict: bool, no_check: bool) -> CheckOptions:
    if strict and no_check:
        raise UsageFault("--strict and --no-check contradict each other", fix="choose one")
    return CheckOptions(strict, no_check)


_check = option_group(
    "check",
    [
        _diagnostic("--strict", is_flag=True, help="Treat warnings and unknown fields as errors"),
        _diagnostic("--no-check", is_flag=True, help="Send the request without checking it"),
    ],
    _read_check,
)


def _bundle(prompt_group: Decorator) -> Decorator:
    """The bundle of a command that sends requests."""
    return bundle(
        "request",
        RequestOptions,
        {
            "prompt": prompt_group,
            "parameters": parameters.options,
            "schema": structured_output.options,
            "tools": tool_commands.options,
            "check": _check,
            "server": server.options,
        },
    )


options = _bundle(prompt.options)
line_defaults = _bundle(prompt.defaults)
row_defaults = _bundle(prompt.row_defaults)

# The bundle of a command that sends nothing: it runs no tools and re-asks for no answer.
unsent = bundle(
    "request",
    RequestOptions,
    {
        "prompt": prompt.options,
        "parameters": parameters.options,
        "schema": structured_output.writing,
        "check": _check,
        "server": server.options,
    },
)
