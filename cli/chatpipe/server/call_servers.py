"""The connection options of a command -> its servers, and the files of these options that may be stdin."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from chatpipe.options.server import ServerOptions
from chatpipe.server import endpoints, keys
from chatpipe.server.config import Config
from chatpipe.server.endpoints import Endpoint
from chatpipe.server.profiles import ECHO


def stdin_claims(options: ServerOptions, environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """The files of the options and of the configuration, for stdin_owner()."""
    named = "" if options.profile == ECHO.name else environ.get("CHATPIPE_CONFIG", "")
    return [*options.stdin_claims, ("CHATPIPE_CONFIG", named)]


def find_servers(
    options: ServerOptions,
    environ: Mapping[str, str],
    note: Callable[[str], None],
    config: Config | None = None,
) -> tuple[Endpoint, ...]:
    """Read the file of headers, and resolve the servers: see resolve_endpoints(). Raises what both raise."""
    lines = keys.header_lines(options.header_file, note)
    return endpoints.resolve_endpoints(options, environ, lines, note, config)
