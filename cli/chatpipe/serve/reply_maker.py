"""A request -> its reply: the bytes where nothing else is left to do, else the plan. The observer sees both.

A server without limits, delays, faults and other answers sends what the model says. Nearly all of its
replies then are small, begin at once and are good, so that nothing of them is to be planned, waited for
or given back: from the bytes of the request to the bytes of the reply is one step.
"""

from __future__ import annotations

import time

from chatpipe.local.chat_body import ChatBody
from chatpipe.local.model import plain_headers, plain_reply
from chatpipe.serve.cross_origin import let_page_read, preflight_reply
from chatpipe.serve.observer import Observer
from chatpipe.serve.planner import Planner, Times
from chatpipe.serve.reply_steps import MOST_WHOLE, ReplyPlan, head_of, plan_of
from chatpipe.serve.router import is_chat
from chatpipe.serve.served_request import ServedRequest

# The head of a plain reply, for its digest and the length of its body.
_PLAIN_HEAD = head_of(200, (*plain_headers("%b"), ("content-length", "%d")))


class ReplyMaker:
    """Makes the replies of one server, and has the observer note what a client did."""

    def __init__(self, planner: Planner, observer: Observer) -> None:
        self._planner = planner
        self._observer = observer
        self._is_plain = planner.is_plain and not observer.reports_each

    def reply_to(self, request: ServedRequest, connections: int) -> bytes | ReplyPlan:
        """The reply to a request, which can be written now. connections are those that are open."""
        body = ChatBody(request.body) if is_chat(request) else None
        is_usual = self._is_plain and request.keep_alive and request.can_chunk
        is_usual = is_usual and b"origin" not in request.raw_headers
        if is_usual and body is not None and (plain := plain_reply(body)) is not None:
            digest, data, usage = plain
            if len(data) <= MOST_WHOLE:
                self._planner.metrics.count(usage)
                self._observer.answered(request, body, connections, time.monotonic())
                return _PLAIN_HEAD % (digest.encode(), len(data)) + data
        return self._plan(request, body, connections)

    def plan(self, request: ServedRequest, connections: int) -> ReplyPlan:
        """The plan of the reply to a request that has to wait for others before it is written."""
        return self._plan(request, ChatBody(request.body) if is_chat(request) else None, connections)

    def _plan(self, request: ServedRequest, body: ChatBody | None, connections: int) -> ReplyPlan:
        now = time.monotonic()
        preflight = preflight_reply(request)
        if preflight is None:
            plan = self._planner.plan(request, Times(now, time.time()), body)
        else:
            plan = plan_of(preflight)
        let_page_read(plan, request)
        if body is not None:
            plan.attempt = self._observer.arrived(request, body, connections, now)
        return plan
