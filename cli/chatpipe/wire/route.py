"""An endpoint -> the way there: the built-in model, or the network. Nothing here needs an event loop."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import httpx

from chatpipe.exchange import ExchangeContext, run_without_loop
from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.options.server import ServerOptions
from chatpipe.server import tls
from chatpipe.server.endpoints import COMPLETIONS, Endpoint, Headers
from chatpipe.system.console import Console
from chatpipe.wire import transports


@contextmanager
def opened(
    endpoint: Endpoint, connection: ServerOptions, environ: Mapping[str, str], console: Console
) -> Iterator[ExchangeContext]:
    """The world as an exchange sees it, its connections closed at the end. `echo` opens no socket."""
    transport = _transport(endpoint, connection, environ)
    try:
        yield ExchangeContext(
            transport, _sleep, console.note, console.detail if console.options.verbose else None
        )
    finally:
        run_without_loop(transport.aclose())


def request(url: str, headers: Headers, body: Mapping[str, Value]) -> httpx.Request:
    """The POST that asks for a completion of body."""
    return httpx.Request("POST", url, headers=list(headers), content=values.dumps(body))


def _transport(
    endpoint: Endpoint, connection: ServerOptions, environ: Mapping[str, str]
) -> httpx.AsyncBaseTransport:
    if endpoint.in_process:
        from chatpipe.local.transport import EchoTransport

        return EchoTransport()
    return transports.open_transport(
        tls.transport_options(connection), httpx.URL(endpoint.url(COMPLETIONS)), environ
    )


async def _sleep(seconds: float) -> None:
    time.sleep(seconds)
