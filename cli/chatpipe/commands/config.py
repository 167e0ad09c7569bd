"""`chatpipe config`: the settings of a call, each with its origin, and a trial of them."""

from __future__ import annotations

import os

import click

from chatpipe.errors import UsageFault
from chatpipe.flags import console as console_flags
from chatpipe.flags import server as server_flags
from chatpipe.flags.command import Command
from chatpipe.flags.model_name import MODEL_NAME
from chatpipe.flags.option_groups import under
from chatpipe.flags.types import OneOf
from chatpipe.options.output import ConsoleOptions
from chatpipe.options.server import ServerOptions

option = under("Output")
_parameters = under("Parameters")
_connection = under("Connection")

_ACTIONS = ("show", "check", "path")
# Options of one action.
_OF_ACTION = {
    "profiles": ("show", "--profiles"),
    "as_json": ("show", "--json"),
    "call": ("check", "--call"),
    "no_send": ("check", "--no-send"),
}


@click.command(cls=Command)
@click.argument("action", metavar="[ACTION]", type=OneOf(_ACTIONS), default="show")
@_parameters(
    "--model",
    "-m",
    metavar="MODEL",
    type=MODEL_NAME,
    daily=True,
    help="Model to ask, such as gpt-4o-mini",
)
@option("--profiles", is_flag=True, daily=True, help="List all profiles instead of the settings")
@option("--json", "as_json", is_flag=True, daily=True, help="Write the settings as JSON")
@_connection("--call", is_flag=True, daily=True, help="Also ask the model for one token, which is billed")
@_connection("--no-send", is_flag=True, daily=True, help="Check the configuration only, and send nothing")
@server_flags.options
@console_flags.options
def config(
    action: str, model: str | None, server: ServerOptions, console: ConsoleOptions, **chosen: bool
) -> int:
    """Show the settings of a call, and where each comes from. Keys are never shown.

    ACTION check asks the server for its list of models; with --call it also calls one of them.
    ACTION path writes where the configuration is.

    \b
    chatpipe config
    chatpipe config check -p groq -m llama-3.1-8b-instant --call
    """
    from chatpipe.configuration import inspection, overview

    for name, (only, option) in _OF_ACTION.items():
        if chosen[name] and action != only:
            raise UsageFault(f"{option} is for {only}", fix=f"chatpipe config {only} {option}")
    if chosen["call"] and chosen["no_send"]:
        raise UsageFault("--call and --no-send exclude each other", fix="leave one of the two out")
    if action == "path":
        return overview.write_path(os.environ)
    if action == "check":
        sends, calls = not chosen["no_send"], chosen["call"]
        return inspection.check_configuration(server, model, os.environ, console, sends=sends, calls=calls)
    if chosen["profiles"]:
        return overview.list_profiles(os.environ, as_json=chosen["as_json"])
    return overview.write_settings(server, model, os.environ, console, as_json=chosen["as_json"])
