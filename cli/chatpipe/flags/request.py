"""The request options as one bundle for each kind of command. Help lists them in this order."""

from __future__ import annotations

from chatpipe.flags import check, parameters, prompt, server, structured_output, tool_commands
from chatpipe.flags.types import Decorator, bundle
from chatpipe.options.request import RequestOptions


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
            "check": check.options,
            "server": server.options,
        },
    )


options = _bundle(prompt.options)
line_defaults = _bundle(prompt.defaults)
row_defaults = _bundle(prompt.row_defaults)

# Nothing is answered, so there are no tools to run and no answers to send back.
unsent = bundle(
    "request",
    RequestOptions,
    {
        "prompt": prompt.options,
        "parameters": parameters.options,
        "schema": structured_output.writing,
        "check": check.options,
        "server": server.options,
    },
)
