"""The routes of a call to its servers, opened within the limits that it shares with other processes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from chatpipe.exchange import ExchangeContext, SendRequest, run_without_loop, sleep_without_loop
from chatpipe.limits.route import Route
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.run import CallOptions
from chatpipe.options.server import KeyWaits
from chatpipe.server.server import Server, renewed
from chatpipe.system.console import Console
from chatpipe.wire.transports import open_transport

if TYPE_CHECKING:
    from chatpipe.limits.call_pacer import CallPacer
    from chatpipe.limits.turn_pause import TurnPause


class RouteSetup(NamedTuple):
    """The parts of a call that its routes share. detail prints a line of -v, None without.

    With buffers_answer nothing is written to standard output before the end of the answer.
    """

    options: CallOptions
    console: Console
    environ: Mapping[str, str]
    detail: Callable[[str], None] | None
    has_turns: bool
    buffers_answer: bool = False
    sleep: Callable[[float], Awaitable[None]] = sleep_without_loop


@contextmanager
def open_routes(servers: Sequence[Server], setup: RouteSetup) -> Iterator[SendRequest]:
    """The function that sends a request to the first server that can be reached.

    On a terminal a line says what a long call waits for. Raises MissingInput, BadInput, BadConfiguration
    and CannotWrite.
    """
    if setup.console.on_terminal and not setup.console.options.quiet and setup.environ.get("TERM") != "dumb":
        from chatpipe.limits.call_wait import CallWait  # a call off a terminal needs no thread
        from chatpipe.system.status_line import StatusLine

        wait = CallWait(StatusLine(80), buffers_answer=setup.buffers_answer)
        with wait.shown(), _open_all(servers, setup._replace(sleep=wait.sleep)) as send:
            yield wait.watch(send)
        return
    with _open_all(servers, setup) as send:
        yield send


@contextmanager
def _open_all(servers: Sequence[Server], setup: RouteSetup) -> Iterator[SendRequest]:
    if len(servers) == 1:
        with _open_route(servers[0], setup) as route:
            yield route.send
        return
    from chatpipe.limits.fallback import Fallback  # most calls have one server

    with ExitStack() as stack:
        opened = (stack.enter_context(_open_route(server, setup)) for server in servers)
        yield Fallback(opened, len(servers), setup.console.note).send


@contextmanager
def _open_route(server: Server, setup: RouteSetup) -> Iterator[Route]:
    """Open the route to one server, within the limits of the pace file if there is one."""
    console = setup.console
    transport = open_transport(server, setup.environ)
    context = ExchangeContext(transport, setup.sleep, console.note, setup.detail, console.warn_once)
    pause = _turn_pause(server, context, setup)
    try:
        with _open_pacer(server, context, setup.options) as pacer:
            yield Route(server, context, setup.options.retry, pacer, pause, _renewal(server, setup))
    finally:
        run_without_loop(transport.aclose())


def _renewal(server: Server, setup: RouteSetup) -> Callable[[Server], Server] | None:
    """The function that gives a server its next key, None for a key that stays or a call of one turn."""
    if not setup.has_turns or not server.may_renew_key:
        return None
    waits = KeyWaits(setup.console.note_once)
    return lambda server: renewed(server, setup.environ, waits)


def _turn_pause(server: Server, context: ExchangeContext, setup: RouteSetup) -> TurnPause | None:
    """The pauses between turns, None if there is one turn. It is unused with a pace file."""
    if not setup.has_turns:
        return None
    from chatpipe.limits.turn_pause import TurnPause  # most calls have one turn

    longest_s, deadline_s = setup.options.retry.max_delay_s, server.limits.deadline_s
    return TurnPause(context, longest_s if deadline_s is None else min(longest_s, deadline_s))


@contextmanager
def _open_pacer(server: Server, context: ExchangeContext, options: CallOptions) -> Iterator[CallPacer | None]:
    """The limits that other processes share with this call, None without a pace file."""
    if options.limits.pace_file is None or options.recordings.is_offline:
        yield None
        return
    from chatpipe.limits.call_pacer import open_call_pacer  # few calls share their limits

    with open_call_pacer(context, options.limits, server.origin, server.limits.deadline_s) as pacer:
        yield pacer
