"""A request -> the plan of its reply: who may have an answer, when it begins, and how it is written.

    router, or other answers -> admission -> latency -> faults

Only requests for a completion count for limits, and only they have a latency.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from chatpipe.local.chat_body import ChatBody
from chatpipe.local.model import Reply
from chatpipe.options.serve import ServeOptions
from chatpipe.serve.admission import Admission
from chatpipe.serve.batches.api_route import api_route
from chatpipe.serve.batches.batch_api import BatchApi
from chatpipe.serve.batches.multipart import FormReader
from chatpipe.serve.draws import draw, latency_s
from chatpipe.serve.fault_rules import FaultRules
from chatpipe.serve.reply_faults import apply_ahead, apply_faults
from chatpipe.serve.reply_steps import LaterReply, ReplyPace, ReplyPlan, TimedReply, note_cut
from chatpipe.serve.router import OwnRoutes, Router, error_reply, is_chat, is_own
from chatpipe.serve.served_request import ServedRequest

if TYPE_CHECKING:
    from chatpipe.serve.answer_source import AnswerSource

_LATER = Reply(0, (), ())


@dataclass(slots=True)
class Times:
    """The clocks at one moment: monotonic seconds, and Unix time."""

    monotonic: float
    unix: float


class ScriptedModel(Protocol):
    """A script, which answers some requests in place of the model."""

    def reply_to(self, sent: ChatBody) -> Reply | None: ...

    def unused(self) -> Iterator[str]:
        """Lines to report at the end: the rules that answered nothing."""


class Planner:
    """Plans the replies of one server. key is what clients have to send, None if they need none.

    own are routes outside the API. other answers in place of the model, and script before either. is_plain is
    True if every request for a completion gets what the model says, at once and unchanged.
    """

    def __init__(
        self,
        options: ServeOptions,
        key: str | None = None,
        other: AnswerSource | None = None,
        own: OwnRoutes | None = None,
        script: ScriptedModel | None = None,
    ) -> None:
        self._options = options
        self._other = other
        self._admission = Admission(options)
        self.metrics = self._admission.metrics
        own_routes = {**(own or {}), "/metrics": self.metrics.reply}
        self._router = Router(key, own_routes, None if script is None else script.reply_to)
        self._rules = FaultRules(options.faults, options.seed)
        self._pace = ReplyPace(options.latency.median_s, options.chunk_delay_s)
        self._seen: Counter[str] = Counter()
        self._draws = bool(options.faults or options.latency.sigma)
        self._batches = BatchApi(options, self._rules, self._router.reply_to)
        self.is_plain = (key, script, other) == (None, None, None) and not (
            self._admission.has_limits or self._draws or options.latency.median_s
        )

    def open_form(self, method: str, target: str, headers: Mapping[bytes, bytes]) -> FormReader | None:
        """The reader of an upload, None for another request. Another server reads its forms itself."""
        return None if self._other is not None else self._batches.open_form(method, target, headers)

    def plan(self, request: ServedRequest, now: Times, body: ChatBody | None = None) -> ReplyPlan:
        """The plan of the reply. Its ticket is a place in a slot or in the queue, and is to be given back.

        body is given for a request for a completion, if it is parsed already.
        """
        if body is None:
            if not is_chat(request):
                return self._plan_other(request, now)
            body = ChatBody(request.body)
        reply, source = self._answer(request, body)
        timed = reply if isinstance(reply, TimedReply) else None
        if reply.status == 401 and timed is None:
            plan = _plan(reply)
        else:
            plan = self._admitted(reply, source, now)
            if plan.ticket is not None and (timed is not None or source is not None or self._draws):
                self._add_faults(plan, timed, body)
        return plan

    def _plan_other(self, request: ServedRequest, now: Times) -> ReplyPlan:
        """The plan of the reply to a request for anything else than a completion."""
        if self._other is None:
            route = api_route(request)
            if route is None or request.method == "OPTIONS":
                return _plan(self._router.reply_to(request))
            refusal = self._router.refusal(request)
            return self._batches.plan(request, route, now.unix) if refusal is None else _plan(refusal)
        if not self._other.answers_all or is_own(request):
            own = self._router.own_reply(request)
            if own is not None:
                return _plan(own)
        return _plan(_LATER, source=self._other.reply_to(request))

    def _answer(self, request: ServedRequest, body: ChatBody) -> tuple[Reply, LaterReply | None]:
        """The reply to a request for a completion, or its source. A script comes before another server, too.

        Another server has keys of its own.
        """
        if self._other is None:
            return self._router.chat_reply(request, body), None
        if self._other.answers_all and not is_own(request):
            own = self._router.scripted(body)
        else:
            own = self._router.own_chat_reply(request, body)
        return (_LATER, self._other.reply_to(request)) if own is None else (own, None)

    def _admitted(self, reply: Reply, source: LaterReply | None, now: Times) -> ReplyPlan:
        """The plan of a reply, or of the refusal if there are too many requests. That has no ticket."""
        ticket, limits = self._admission.enter(sum(reply.usage), now.monotonic, now.unix)
        if isinstance(ticket, Reply):
            return _plan(ticket, limits)
        headers = (*reply.headers, *limits)
        plan = ReplyPlan(reply.status, headers, reply.pieces, usage=reply.usage, source=source)
        plan.ticket = ticket
        plan.pace = self._pace
        return plan

    def _add_faults(self, plan: ReplyPlan, timed: TimedReply | None, body: ChatBody) -> None:
        """Add the latency that is drawn, and the faults: those of the reply, and those of the rules."""
        source = plan.source
        body_id = (timed is None and plan.request_id) or body.request_id
        plan.pace = self._pace_of(body_id, timed)
        is_good = source is not None or plan.status == 200
        faults = self._rules.faults_of(body_id, body.value) if is_good else []
        if timed is not None:
            faults = [*timed.faults, *faults]
            plan.pieces = note_cut(plan, plan.pieces)
        if source is not None:
            source.faults = apply_ahead(plan, faults)
        else:
            apply_faults(plan, faults)

    def _pace_of(self, body_id: str, timed: TimedReply | None) -> ReplyPace:
        """The pace of the server, with the latency that is drawn, and the times that a reply itself has."""
        latency_s, chunk_delay_s = self._latency_s(body_id), self._pace.chunk_delay_s
        if timed is not None:
            latency_s += timed.latency_s
            chunk_delay_s = chunk_delay_s if timed.chunk_delay_s is None else timed.chunk_delay_s
        return ReplyPace(latency_s, chunk_delay_s)

    def count(self, plan: ReplyPlan) -> None:
        """Count a reply that was sent whole."""
        if plan.ticket is not None and plan.status == 200:
            self.metrics.count(plan.usage)

    def _latency_s(self, body: str) -> float:
        """The latency of the next request with a body, which its id stands for."""
        latency = self._options.latency
        if not latency.sigma:
            return latency.median_s
        self._seen[body] += 1
        return latency_s(latency, draw(self._options.seed, "latency", body, self._seen[body]))


def bug_plan(message: str) -> ReplyPlan:
    """The reply to a request that a bug of ours keeps from being answered."""
    return _plan(error_reply(500, message, type="server_error"))


def _plan(
    reply: Reply, more: tuple[tuple[str, str], ...] = (), source: LaterReply | None = None
) -> ReplyPlan:
    return ReplyPlan(reply.status, (*reply.headers, *more), reply.pieces, usage=reply.usage, source=source)
