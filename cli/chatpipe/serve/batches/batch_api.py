"""Files and batches: a request -> the plan of its reply, with the faults that are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from chatpipe.options.serve import ServeOptions
from chatpipe.serve.batches.api_route import ApiRoute
from chatpipe.serve.batches.faulty_calls import plan_with_faults
from chatpipe.serve.batches.file_calls import FileCalls
from chatpipe.serve.batches.job_calls import BadOrder, JobCalls, unseen
from chatpipe.serve.batches.job_fate import fate_of
from chatpipe.serve.batches.line_answers import AnswerRequest, LineAnswers
from chatpipe.serve.batches.multipart import FormReader
from chatpipe.serve.batches.served_job import JobServices
from chatpipe.serve.batches.stored_files import FileStore
from chatpipe.serve.fault_rules import FaultRules
from chatpipe.serve.reply_steps import ReplyPlan, plan_of
from chatpipe.serve.router import error_reply
from chatpipe.serve.served_request import ServedRequest

_LIMIT = "Enqueued token limit reached for echo in organization org-chatpipe. Limit: 90,000 enqueued tokens."


class BatchApi:
    """Answers the calls. answer gives the reply to the request of a line."""

    def __init__(self, options: ServeOptions, rules: FaultRules, answer: AnswerRequest) -> None:
        self._options = options
        self._rules = rules
        self._answers = LineAnswers(rules, answer)
        self._store = FileStore(options.max_files)
        self._files = FileCalls(self._store)
        self._jobs = JobCalls(self._services)

    def open_form(self, method: str, target: str, headers: Mapping[bytes, bytes]) -> FormReader | None:
        """The reader of an upload, None for another request."""
        if b"multipart/" not in headers.get(b"content-type", b"").lower():  # as for nearly every request
            return None
        return self._files.open_form(ServedRequest(method, target, dict(headers), b""))

    def plan(self, request: ServedRequest, route: ApiRoute, now: float) -> ReplyPlan:
        """The plan of the reply at this Unix time."""
        if not route.name:
            allowed = ", ".join(route.methods)
            reply = error_reply(405, f"Not allowed to {request.method} on {request.path}: use {allowed}")
            return ReplyPlan(405, (*reply.headers, ("allow", allowed)), reply.pieces)
        if route.name == "create":
            return self._create(request, now)
        faults = self._rules.faults_of(_key(request), place=route.name)
        if any(fault.kind == "no-range" for fault in faults):
            request = replace(request, raw_headers={**request.raw_headers, b"range": b""})
        return plan_with_faults(faults, lambda: self._call(request, route, now))

    def _call(self, request: ServedRequest, route: ApiRoute, now: float) -> ReplyPlan:
        match route.name:
            case "poll":
                return self._jobs.poll(route, now)
            case "list":
                return self._jobs.list(route, now)
            case "cancel":
                return self._jobs.cancel(route, now)
        return self._files.plan(request, route, now)

    def _create(self, request: ServedRequest, now: float) -> ReplyPlan:
        try:
            order = self._jobs.order(request, now)
        except BadOrder as error:
            return plan_of(error.reply)
        faults = self._rules.faults_of(order.input.kind, place="create")
        kinds = {fault.kind for fault in faults}
        if "batch-unseen" in kinds:
            plan = plan_of(unseen(order.input.id))
        elif "batch-limit" in kinds:
            plan = plan_of(error_reply(429, _LIMIT, type="token_limit_exceeded", code="token_limit_exceeded"))
        else:
            return plan_with_faults(faults, lambda: self._jobs.create(request, order, fate_of(faults)))
        plan.faults = tuple(sorted(kinds))
        return plan

    def _services(self, request: ServedRequest) -> JobServices:
        answers = lambda endpoint: self._answers.like(request, endpoint)  # noqa: E731
        return JobServices(self._options.batch_life, self._options.batch_lines, self._store, answers)


def _key(request: ServedRequest) -> str:
    """A text that is the same for the tries of a call."""
    form = request.form
    if form is None or form.file is None:
        return f"{request.method} {request.target}"
    return f"{form.file.name} {form.file.spool.size} {form.file.spool.checksum()}"
