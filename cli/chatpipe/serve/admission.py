"""Admission of requests: limits a minute, then slots. Pure: time is passed in."""

from __future__ import annotations

from chatpipe.local.model import Reply
from chatpipe.options.serve import ServeOptions
from chatpipe.serve.quota import Headers, Quota
from chatpipe.serve.router import error_reply
from chatpipe.serve.server_metrics import Metrics
from chatpipe.serve.slots_in_use import Slots, Ticket


class Admission:
    """The limits of one server, and the counts of what it answered."""

    def __init__(self, options: ServeOptions) -> None:
        self._quota = Quota(options.rpm, options.tpm, options.dialect)
        self._slots = Slots(options.slots, queues=options.queue)
        self.metrics = Metrics(self._slots)

    @property
    def has_limits(self) -> bool:
        """False if every request is admitted at once."""
        return self._quota.has_limits or self._slots.has_limit

    def enter(self, tokens: int, monotonic: float, unix: float) -> tuple[Ticket | Reply, Headers]:
        """The place of a request in a slot or in the queue, or its refusal, and headers for its reply."""
        headers: Headers = ()
        if self._quota.has_limits:
            refusal = self._quota.take(tokens, monotonic)
            headers = self._quota.headers(unix)
            if refusal is not None:
                reply = error_reply(429, refusal.message, type=refusal.type, code="rate_limit_exceeded")
                return reply, (*headers, *refusal.headers)
        return self._slots.enter() or self._no_slot(), headers

    def _no_slot(self) -> Reply:
        message = f"The server is busy: all of its {self._slots.running} slots are in use"
        return error_reply(429, message, type="server_busy", code="no_slot")
