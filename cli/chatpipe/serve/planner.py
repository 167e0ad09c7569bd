"""A request -> the plan of its reply: who may have an answer, when it begins, and how it is written.

    router, or other answers -> quota -> slots -> latency -> faults

Only requests for a completion count for limits, and only they have a latency.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Protocol

from chatpipe.local.model import Reply, request_id_of
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.serve import ServeOptions
from chatpipe.serve.batches.api_route import api_route
from chatpipe.serve.batches.batch_api import BatchApi
from chatpipe.serve.batches.multipart import FormReader
from chatpipe.serve.draws import draw, latency_s
from chatpipe.serve.fault_rules import FaultRules
from chatpipe.serve.quota import Quota
from chatpipe.serve.reply_faults import apply_ahead, apply_faults
from chatpipe.serve.reply_steps import LaterReply, ReplyPlan, TimedReply, note_cut
from chatpipe.serve.router import OwnRoutes, Router, error_reply, is_chat, is_own
from chatpipe.serve.served_request import ServedRequest
from chatpipe.serve.server_metrics import Metrics
from chatpipe.serve.slots_in_use import Slots

_LATER = Reply(0, (), ())


class Times(NamedTuple):
    """The clocks at one moment: monotonic seconds, and Unix time."""

    monotonic: float
    unix: float


class OtherAnswers(Protocol):
    """A source of answers in place of the model."""

    @property
    def answers_all(self) -> bool:
        """True if it answers also what is not of the API."""

    def reply_to(self, request: ServedRequest) -> LaterReply: ...

    def is_at(self, port: int) -> bool:
        """Return True if it asks the server at this port of this machine."""

    async def aclose(self) -> None: ...


class ScriptedModel(Protocol):
    """A script, which answers some requests in place of the model."""

    def reply_to(self, data: bytes) -> Reply | None: ...

    def unused(self) -> Iterator[str]:
        """Lines to report at the end: the rules that answered nothing."""


class Planner:
    """Plans the replies of one server. key is what clients have to send, None if they need none.

    own are routes outside the API. script answers in place of the model.
    """

    def __init__(
        self,
        options: ServeOptions,
        key: str | None = None,
        other: OtherAnswers | None = None,
        own: OwnRoutes | None = None,
        script: ScriptedModel | None = None,
    ) -> None:
        self._options = options
        self._other = other
        self._slots = Slots(options.slots, queues=options.queue)
        self._metrics = Metrics(self._slots)
        own_routes = {**(own or {}), "/metrics": self._metrics.reply}
        self._router = Router(key, own_routes, None if script is None else script.reply_to)
        self._quota = Quota(options.rpm, options.tpm, options.dialect)
        self._rules = FaultRules(options.faults, options.seed)
        self._seen: Counter[str] = Counter()
        self._draws = bool(options.faults or options.latency.sigma)
        self._batches = BatchApi(options, self._rules, self._router.reply_to)

    def open_form(self, method: str, target: str, headers: Mapping[str, str]) -> FormReader | None:
        """The reader of an upload, None for another request. Another server reads its forms itself."""
        return None if self._other is not None else self._batches.open_form(method, target, headers)

    def plan(self, request: ServedRequest, now: Times) -> ReplyPlan:
        """The plan of the reply. Its ticket is a place in a slot or in the queue, and is to be given back."""
        route = api_route(request) if self._other is None else None
        if route is not None and request.method != "OPTIONS":
            refusal = self._router.refusal(request)
            return self._batches.plan(request, route, now.unix) if refusal is None else _plan(refusal)
        reply, source = self._answer(request)
        timed = reply if isinstance(reply, TimedReply) else None
        if not is_chat(request) or (reply.status == 401 and timed is None):
            return _plan(reply, source=source)
        too_many = self._quota.take(sum(reply.usage), now.monotonic)
        limits = self._quota.headers(now.unix)
        if too_many is not None:
            refused = error_reply(429, too_many.message, type=too_many.type, code="rate_limit_exceeded")
            return _plan(refused, (*limits, *too_many.headers))
        ticket = self._slots.enter()
        if ticket is None:
            return _plan(_no_slot(self._slots.running), limits)
        plan = _plan(reply, limits, source)
        plan.ticket = ticket
        plan.chunk_delay_s = self._options.chunk_delay_s
        plan.latency_s = self._options.latency.median_s
        if timed is None and source is None and not self._draws:
            return plan
        body = (timed is None and plan.request_id) or request_id_of(request.body)
        plan.latency_s = self._latency_s(body)
        faults = self._rules.faults_of(request, body) if source is not None or plan.status == 200 else []
        if timed is not None:
            plan.latency_s += timed.latency_s
            plan.chunk_delay_s = plan.chunk_delay_s if timed.chunk_delay_s is None else timed.chunk_delay_s
            faults = [*timed.faults, *faults]
            plan.pieces = note_cut(plan, plan.pieces)
        if source is not None:
            source.faults = apply_ahead(plan, faults)
        else:
            apply_faults(plan, faults)
        return plan

    def _answer(self, request: ServedRequest) -> tuple[Reply, LaterReply | None]:
        """The reply to a request, or the source of it. A script comes before another server, too."""
        if self._other is None:
            return self._router.reply_to(request), None
        is_passed_on = self._other.answers_all and not is_own(request)
        own = self._router.scripted(request) if is_passed_on else self._router.own_reply(request)
        return (_LATER, self._other.reply_to(request)) if own is None else (own, None)

    def count(self, plan: ReplyPlan) -> None:
        """Count a reply that was sent whole."""
        if plan.ticket is not None and plan.status == 200:
            self._metrics.count(plan.usage)

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


def _no_slot(running: int) -> Reply:
    message = f"The server is busy: all of its {running} slots are in use"
    return error_reply(429, message, type="server_busy", code="no_slot")
