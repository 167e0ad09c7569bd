"""The answers to the lines of batches: each goes the way of a live request, with the faults of lines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from chatpipe.inputs import values
from chatpipe.local.model import Reply
from chatpipe.serve.batches.job_results import Answer, LineReply
from chatpipe.serve.fault_rules import FaultRules
from chatpipe.serve.reply_faults import apply_faults
from chatpipe.serve.reply_steps import plan_of
from chatpipe.serve.served_request import ServedRequest

AnswerRequest = Callable[[ServedRequest], Reply]


class LineAnswers:
    """answer gives the reply to a request."""

    def __init__(self, rules: FaultRules, answer: AnswerRequest) -> None:
        self._rules = rules
        self._answer = answer

    def like(self, request: ServedRequest, endpoint: str) -> Answer:
        """The answers to bodies that are sent to endpoint with the headers of request."""

        def answer(body: dict[str, Any]) -> LineReply:
            return self._reply(replace(request, target=endpoint, body=values.dumps(body)), body)

        return answer

    def _reply(self, request: ServedRequest, body: dict[str, Any]) -> LineReply:
        reply = self._answer(request)
        request_id = dict(reply.headers).get("x-request-id", "")
        faults = self._rules.faults_of(request_id, body, "line") if reply.status == 200 else ()
        if not faults:  # as nearly always: no plan is needed
            return LineReply(reply.status, request_id, b"".join(reply.pieces), reply.usage)
        plan = plan_of(reply)
        apply_faults(plan, faults)
        data = b"".join(piece for piece in plan.pieces if isinstance(piece, bytes))
        return LineReply(plan.status, request_id, data, reply.usage)
