"""An option of several commands has one help, unless it does something else in one of them."""

from __future__ import annotations

import click

from chatpipe.commands.table import cli

# Options with another help in some commands, and what they do there.
OTHERS = {
    "--allow-http": {"serve": "the keys are those of clients"},
    "--base-url": {"jobs": "it takes one server"},
    "--json": {"config": "there is no -f"},
    "--limit": {"batch": "lines", "map": "rows, which may be several lines", "jobs": "a list of jobs"},
    "--lines": {"map": "a line is a row"},
    "--no-send": {"config": "there is no run"},
    "--profile": {"jobs": "echo has no Batch API"},
    "--record": {"serve": "replies of another server"},
    "--replay": {"serve": "to clients"},
    "--rpm": {"serve": "a limit for clients"},
    "--tpm": {"serve": "a limit for clients"},
    "--seed": {"serve": "of the server itself"},
    "--shard": {"batch": "lines", "map": "rows"},
    "--window": {"jobs": "the window of the Batch API, whose name this is"},
}


def helps() -> dict[str, dict[str, str]]:
    """The help of each option in each command: helps()["--json"]["show"]."""
    context = click.Context(cli)
    found: dict[str, dict[str, str]] = {}
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        for option in command.params:
            if isinstance(option, click.Option):
                found.setdefault(option.opts[0], {})[name] = option.help or ""
    return found


def test_an_option_has_one_help() -> None:
    for option, of_command in helps().items():
        others = OTHERS.get(option, {})
        assert len({text for name, text in of_command.items() if name not in others}) <= 1, option


def test_every_exception_is_in_use() -> None:
    found = helps()
    for option, others in OTHERS.items():
        texts = list(found[option].values())
        assert all(texts.count(found[option][name]) == 1 for name in others), option
