"""A connection to a server for single requests, outside of calls and runs.

They have the same retries, time limits, proxy, TLS, key and errors as all other requests.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from chatpipe import exchange
from chatpipe.exchange import ExchangeContext, run_without_loop, sleep_without_loop
from chatpipe.inputs.sources import stdin_owner
from chatpipe.inputs.values import Value
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.server import KeyWaits, RetryPolicy, ServerOptions
from chatpipe.server.call_servers import find_servers, stdin_claims
from chatpipe.server.config import Config
from chatpipe.server.endpoints import Endpoint
from chatpipe.server.keys import KeyReader
from chatpipe.server.server import Server, renewed, with_key
from chatpipe.system.console import Console
from chatpipe.wire import server_requests
from chatpipe.wire.answer import Answer, NullReceiver, TimedAnswer
from chatpipe.wire.transports import open_transport


class Connection(NamedTuple):
    """An open server, and what its requests need.

    words are the options with which another command finds it. renew gives the server with the key that its
    command prints now, None if no command did.
    """

    server: Server
    console: Console
    context: ExchangeContext
    retry: RetryPolicy
    words: tuple[str, ...] = ()
    renew: Callable[[], Server] | None = None

    def command(self, *words: str) -> str:
        """A command for the same server, as it can be typed."""
        return shlex.join(["chatpipe", *words, *self.words])

    def get(self, url: str, deadline: float | None = None) -> tuple[Answer, float | None]:
        """The answer to a GET, and its deadline. It is given if the request continues an earlier one."""
        request = server_requests.get_request(self.server, url, deadline)
        answer = run_without_loop(exchange.fetch(request, self.context, self.server.limits, self.retry))
        return answer, server_requests.deadline_of(request)

    def complete(self, body: Mapping[str, Value]) -> TimedAnswer:
        """The answer to a request for a completion, and the seconds until it was there."""
        request = server_requests.completion_request(self.server, body, self.context.detail)
        started = self.context.monotonic()
        limits = self.server.limits
        answer = run_without_loop(exchange.send(request, self.context, NullReceiver(), limits, self.retry))
        return answer, self.context.monotonic() - started


class Connections:
    """Connections to the servers of a command. A key that several of them get is read once."""

    def __init__(
        self, options: ServerOptions, retry: RetryPolicy, console: Console, environ: Mapping[str, str]
    ) -> None:
        self.environ = environ
        self._options = options
        self._retry = retry
        self._console = console
        self._keys = KeyReader(environ, KeyWaits(console.note))

    def servers(self, config: Config | None = None) -> tuple[Endpoint, ...]:
        """The servers of the command. Raises what resolve_endpoints() raises, and config is as there.

        Two files of its options that are stdin are a UsageFault, too.
        """
        stdin_owner(stdin_claims(self._options, self.environ))
        return find_servers(self._options, self.environ, self._console.note, config)

    @contextmanager
    def open(self, endpoint: Endpoint) -> Iterator[Connection]:
        """The connection to a server. Raises what opening the server raises."""
        server = with_key(endpoint, self._options, self.environ, self._keys.find(endpoint.keys))
        with connect(
            server, self._retry, self._console, self.environ, words=self._options.words
        ) as connection:
            yield connection


@contextmanager
def connect(
    server: Server,
    retry: RetryPolicy,
    console: Console,
    environ: Mapping[str, str],
    *,
    words: tuple[str, ...] = (),
) -> Iterator[Connection]:
    """The connection to an open server. words: see Connection."""
    transport = open_transport(server, environ)
    detail = console.detail if console.options.verbose else None
    context = ExchangeContext(transport, sleep_without_loop, console.note, detail, console.warn_once)
    renew = partial(renewed, server, environ, KeyWaits(console.note)) if server.may_renew_key else None
    try:
        yield Connection(server, console, context, retry, words, renew)
    finally:
        run_without_loop(transport.aclose())
