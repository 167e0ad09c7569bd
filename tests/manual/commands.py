"""What Click knows of the commands, in the manual's words."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

import click

from chatpipe.commands.table import cli
from chatpipe.flags.help_page import OptionRow, option_rows

INFO: dict[str, Any] = click.Context(cli, **cli.context_settings).to_info_dict()["command"]
COMMANDS: dict[str, Any] = INFO["commands"]


class Option(NamedTuple):
    """An option of a command: row is what its help shows, info is Click's."""

    row: OptionRow
    info: dict[str, Any]

    @property
    def names(self) -> tuple[str, ...]:
        return self.row.names


@cache  # several hundred tests look something up
def options(command: str) -> Mapping[tuple[str, ...], Option]:
    """The options that `--help` shows, by their names, the short one first. "" is chatpipe itself."""
    params = (COMMANDS[command] if command else INFO)["params"]
    infos = {each["name"]: each for each in params if each["param_type_name"] == "option"}
    if not command:
        return {
            names: Option(OptionRow("Output", names, None, info["help"], (), None, (), False, True), info)
            for info in infos.values()
            for names in [tuple(sorted(info["opts"], key=len))]
        }
    found = cli.get_command(click.Context(cli), command)
    assert found is not None
    named = {name: info for info in infos.values() for name in info["opts"]}
    return {row.names: Option(row, named[row.names[0]]) for row in option_rows(found)}
