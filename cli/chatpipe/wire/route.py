"""An endpoint -> the way there: the built-in model, or the network. Nothing here needs an event loop."""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.options.server import ServerOptions
from chatpipe.server import tls
from chatpipe.server.endpoints import COMPLETIONS, Endpoint, Headers
from chatpipe.wire import transports


def transport_for(
    endpoint: Endpoint, connection: ServerOptions, environ: Mapping[str, str]
) -> httpx.AsyncBaseTransport:
    """The transport for one request at a time. `echo` opens no socket."""
    if endpoint.in_process:
        from chatpipe.local.transport import EchoTransport

        return EchoTransport()
    return transports.open_transport(
        tls.transport_options(connection), httpx.URL(endpoint.url(COMPLETIONS)), environ
    )


def request(url: str, headers: Headers, body: Mapping[str, Value]) -> httpx.Request:
    """The POST that asks for a completion of body."""
    return httpx.Request("POST", url, headers=list(headers), content=values.dumps(body))
