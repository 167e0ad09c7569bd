"""Keys that stand for those that the workers of a cluster read on their own machines.

A key by command may expire during a run. The run renews it as it renews a key of its own: it asks for the
next stand-in, whose number then reaches the workers (cluster_transport.py), and they run the command again.
A stand-in never leaves the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from secrets import token_hex

from chatpipe.options.server import KeyWaits
from chatpipe.server.keys import find_key
from chatpipe.server.server import Server, with_key


def with_stand_in_key(server: Server, environ: Mapping[str, str]) -> Server:
    """The server with a stand-in for a key by command, itself if its key has no other source.

    Raises BadConfiguration if the key would go unencrypted over a network.
    """
    source = next((each for each in server.endpoint.keys if not each.is_optional), None)
    if source is None or source.way.names != "command":
        return server
    source = source._replace(way=source.way._replace(read=_next_stand_in))
    endpoint = server.endpoint._replace(keys=(source,))
    return with_key(endpoint, server.options, environ, find_key(endpoint.keys, environ))


def _next_stand_in(command: str, environ: Mapping[str, str], waits: KeyWaits) -> str:
    return f"stand-in-{token_hex(16)}"
