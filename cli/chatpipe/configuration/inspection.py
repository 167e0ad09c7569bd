"""`config check`: check the whole configuration, then try the settings of a call."""

from __future__ import annotations

from collections.abc import Mapping

from chatpipe.configuration.trial import Trial
from chatpipe.errors import Status, quantity
from chatpipe.models.connections import Connections
from chatpipe.models.inquiry import ask_each
from chatpipe.options.output import ConsoleOptions, OutputOptions
from chatpipe.options.server import RetryPolicy, ServerOptions
from chatpipe.output.target import open_target
from chatpipe.server.config import Config, config_path, parse_config
from chatpipe.system.console import Console, once

# A check reports at once that a server is busy, instead of waiting for it.
_NO_RETRIES = RetryPolicy(retries=0)


def check_configuration(
    options: ServerOptions,
    model: str | None,
    environ: Mapping[str, str],
    console_options: ConsoleOptions,
    *,
    sends: bool,
    calls: bool,
) -> Status:
    """Write a line for everything that works, and print a line for everything that does not.

    Without sends only the configuration is checked; with calls, a model is asked, too. Raises UsageFault,
    BadConfiguration for a file that cannot be read, and the fault of an only server.
    """
    console = Console(console_options)
    config = parse_config(environ, once(console.note) or console.note)
    faults = [] if config.profiles is None else list(config.profiles.all_faults())
    for fault in faults:
        console.error(fault)
    if faults:
        return Status.BAD_CONFIGURATION
    with open_target(OutputOptions(), (), escape=True) as out:

        def write(text: str) -> None:
            out.write(f"{text}\n".encode("utf-8", "surrogateescape"))

        write(_describe(config, environ))
        connections = Connections(options, _NO_RETRIES, console, environ)
        servers = connections.servers(config)
        status = Status.OK
        if sends:
            status = ask_each(servers, Trial(connections, model, write, calls=calls).run, console)
        out.replace()
    return status


def _describe(config: Config, environ: Mapping[str, str]) -> str:
    """The line that says where the configuration is."""
    if config.profiles is None:
        path, _ = config_path(environ)
        return f"configuration: none, '{path}' does not exist" if path else "configuration: none"
    count = quantity(len(config.profiles.tables), "profile")
    return f"configuration: {config.path}: {count}, no fault"
