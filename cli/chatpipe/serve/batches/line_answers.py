"""The answers to the lines of batches: each goes the way of a live request, with the faults of lines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chatpipe.inputs import values
from chatpipe.serve.batches.job_results import Answer, LineReply
from chatpipe.serve.fault_rules import FaultRules
from chatpipe.serve.reply_faults import apply_faults
from chatpipe.serve.reply_steps import ReplyPlan
from chatpipe.serve.served_request import ServedRequest


class LineAnswers:
    """answer gives the plan of the reply to a request."""

    def __init__(self, rules: FaultRules, answer: Callable[[ServedRequest], ReplyPlan]) -> None:
        self._rules = rules
        self._answer = answer

    def like(self, request: ServedRequest, endpoint: str) -> Answer:
        """The answers to bodies that are sent to endpoint with the headers of request."""

        def answer(body: dict[str, Any]) -> LineReply:
            return self._reply(request._replace(target=endpoint, body=values.dumps(body)))

        return answer

    def _reply(self, request: ServedRequest) -> LineReply:
        plan = self._answer(request)
        request_id = plan.request_id
        if plan.status == 200:
            apply_faults(plan, self._rules.faults_of(request, request_id, "line"))
        body = b"".join(piece for piece in plan.pieces if isinstance(piece, bytes))
        return LineReply(plan.status, request_id, body, plan.usage)
