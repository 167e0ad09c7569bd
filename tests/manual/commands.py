"""What Click knows of the commands, in the manual's words."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import click

from chatpipe.commands.table import cli

INFO: dict[str, Any] = click.Context(cli, **cli.context_settings).to_info_dict()["command"]
COMMANDS: dict[str, Any] = INFO["commands"]


class Option(NamedTuple):
    """An option of a command: its names, those that switch it off behind them; info is Click's."""

    names: tuple[str, ...]
    info: dict[str, Any]
    metavar: str | None

    @property
    def default(self) -> str | None:
        """The default that `--help` shows, None where there is nothing to show."""
        if said := re.search(r"\[default: (.+)\]", self.info["help"] or ""):
            return said[1]
        value = self.info["default"]
        return None if value in (None, False, ()) else str(value)

    @property
    def choices(self) -> tuple[str, ...]:
        return tuple(self.info["type"].get("choices", ()))

    @property
    def variables(self) -> list[str]:
        """The environment variables that the help names."""
        said = re.search(r"\[env var: (.+?)\]", self.info["help"] or "")
        return said[1].split(", ") if said else []


def options(command: str) -> dict[tuple[str, ...], Option]:
    """The options that `--help` shows, by their names, the short one first. "" is chatpipe itself."""
    found = cli.get_command(click.Context(cli), command) if command else cli
    assert found is not None
    metavars = {parameter.name: parameter.metavar for parameter in found.params}
    params = (COMMANDS[command] if command else INFO)["params"]
    result = {}
    for info in params:
        if info["param_type_name"] == "option" and not info["hidden"]:
            names = (*sorted(info["opts"], key=len), *info["secondary_opts"])
            result[names] = Option(names, info, metavars.get(info["name"]))
    return result
