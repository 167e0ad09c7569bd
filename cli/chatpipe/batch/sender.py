"""One request of a run -> its final answer from one server, within the limits of the run."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx

from chatpipe import exchange
from chatpipe.batch.engine import RunRequest
from chatpipe.batch.failures import FailureNotice
from chatpipe.exchange import Hooks
from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.limits.run_pacer import RunPacer
from chatpipe.options.server import RetryPolicy
from chatpipe.server.server import Server
from chatpipe.system.console import once
from chatpipe.wire import server_requests
from chatpipe.wire.answer import Answer, NullReceiver, TimedAnswer
from chatpipe.wire.light_messages import LightRequest
from chatpipe.wire.reply_memory import ReplyMemory

if TYPE_CHECKING:
    from chatpipe.batch.fleet.line_tries import LineTries
    from chatpipe.batch.key_renewal import KeyRenewal


class Sender:
    """Sends the requests of one run to one server. notice gets failed tries that are repeated.

    memory holds replies of the run; without one the sender has its own. read_key returns the server with its
    current key, and is None for a key that stays: see KeyRenewal.
    """

    def __init__(
        self,
        server: Server,
        policy: RetryPolicy,
        pacer: RunPacer,
        notice: FailureNotice,
        memory: ReplyMemory | None = None,
        read_key: Callable[[], Server] | None = None,
    ) -> None:
        self._endpoint = server.endpoint
        self._url_names_model = server.endpoint.url_names_model
        self._patches = server.endpoint.patches
        self._url = httpx.URL(server.completions_url())
        # httpx adds the header Host to requests with a body, but not to those with a stream.
        self._headers = self._headers_of(server)
        self._renewal = None if read_key is None else self._key_renewal(read_key, pacer)
        self._limits = server.limits
        self._policy = policy
        self._pacer = pacer
        self._report = once(pacer.context.detail)  # of patches
        self._notice = notice
        self._receiver = NullReceiver()
        self._extensions = {**server.extensions, **(memory or ReplyMemory()).extensions}

    def _key_renewal(self, read_key: Callable[[], Server], pacer: RunPacer) -> KeyRenewal:
        from chatpipe.batch.key_renewal import KeyRenewal  # few keys come from a command

        return KeyRenewal(self._headers, lambda: self._headers_of(read_key()), pacer)

    def _headers_of(self, server: Server) -> httpx.Headers:
        return httpx.Headers([("Host", self._url.netloc.decode()), *server.headers])

    def _url_for(self, model: Value) -> httpx.URL:
        return httpx.URL(self._endpoint.url(self._endpoint.profile.path, model))

    def stop(self) -> None:
        """Send nothing more. This cancels what waits for a start, a pause or another attempt."""
        self._pacer.waits.stop()

    async def send(self, request: RunRequest, tries: LineTries | None = None) -> TimedAnswer:
        """Send a request until its answer is final.

        With tries there is one attempt, of those that the line makes at several servers.
        """
        body, context = request.body, self._pacer.context
        sent = server_requests.body_to_send(body, self._patches, self._report)
        data = values.dumps(sent)
        url = self._url_for(sent.get("model")) if self._url_names_model else self._url
        extensions = {**self._extensions, **server_requests.extensions_of(sent)}
        post = LightRequest(url, self._headers, data, extensions)
        if tries is not None:
            tries.prepare(post)
        elif self._notice.wants_tries:
            context = context._replace(note=partial(self._notice.try_failed, request.line))

        def send_with(hooks: Hooks) -> Coroutine[Any, Any, Answer]:
            hooks = hooks if tries is None else tries.around(hooks)
            return exchange.send(post, context, self._receiver, self._limits, self._policy, hooks)

        if self._renewal is None:
            return await self._pacer.pace(body, len(data), send_with, request.line)
        pace = partial(self._pacer.pace, body, len(data), line=request.line)
        return await self._renewal.send(post, send_with, pace)
