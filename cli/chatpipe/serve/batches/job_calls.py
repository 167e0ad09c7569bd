"""The calls of `/v1/batches`: a request -> its reply, which comes when the work that is due has been done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from chatpipe.inputs import values
from chatpipe.local.model import Reply
from chatpipe.options.serve import FaultRule
from chatpipe.serve.batches.api_route import ApiRoute
from chatpipe.serve.batches.file_calls import LIFE, bad_query, is_life
from chatpipe.serve.batches.job_fate import JobFate
from chatpipe.serve.batches.served_job import JobOrder, JobServices, ServedJob
from chatpipe.serve.batches.stored_files import BadQuery, list_object, page_of_ids, page_query
from chatpipe.serve.reply_faults import apply_faults
from chatpipe.serve.reply_steps import Pause, ReplyPlan, Step, plan_of
from chatpipe.serve.router import error_reply, json_reply
from chatpipe.serve.served_request import ServedRequest

_CHAT = "/chat/completions"
_WINDOW = "24h"
_MOST_PAIRS, _LONGEST_NAME, _LONGEST_VALUE = 16, 64, 512


class BadOrder(Exception):
    """A create that is refused."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        super().__init__()


class JobCalls:
    """Answers the calls for batches.

    services carry out the lines of a batch, which go the way of this request, with its headers.
    """

    def __init__(self, services: Callable[[ServedRequest], JobServices]) -> None:
        self._services = services
        self._jobs: dict[str, ServedJob] = {}

    def order(self, request: ServedRequest, now: float) -> JobOrder:
        """The batch that a create asks for. Raises BadOrder."""
        try:
            body = values.loads(request.body)
        except values.NotJSON as error:
            what = f"We could not parse the JSON body of your request: {error}"
            raise BadOrder(error_reply(400, what)) from error
        if not isinstance(body, dict):
            raise BadOrder(error_reply(400, "The body of your request must be a JSON object"))
        for name in ("input_file_id", "endpoint", "completion_window"):
            if not isinstance(body.get(name), str):
                what = f"Missing required parameter: '{name}'."
                raise _bad(what, name, "missing_required_parameter")
        _check_order(body)
        store = self._services(request).store
        file = store.get(body["input_file_id"], now)
        if file is None:
            raise BadOrder(unseen(body["input_file_id"]))
        if file.purpose != "batch":
            what = f"File '{file.id}' has the purpose '{file.purpose}', not 'batch'."
            raise _bad(what, "input_file_id")
        expires = body.get("output_expires_after")
        return JobOrder(
            store.new_id("batch_", now),
            file,
            body["endpoint"],
            body["completion_window"],
            body.get("metadata"),
            expires["seconds"] if expires else None,
            now,
        )

    def create(self, request: ServedRequest, order: JobOrder, fate: JobFate) -> ReplyPlan:
        job = self._jobs[order.id] = ServedJob(order, fate, self._services(request))
        return plan_of(json_reply(200, job.shown()))

    def list(self, route: ApiRoute, now: float) -> ReplyPlan:
        """A page of batches, each of which it takes a step further."""
        try:
            ids, has_more = page_of_ids(self._jobs, page_query(route.query, default=20, most=100))
        except BadQuery as error:
            return plan_of(bad_query(error))
        jobs = [self._jobs[id_] for id_ in ids]
        shown = lambda: list_object([job.shown() for job in jobs], has_more=has_more)  # noqa: E731
        return ReplyPlan(0, (), (), source=_Look(jobs, now, shown))

    def poll(self, route: ApiRoute, now: float) -> ReplyPlan:
        job = self._jobs.get(route.id)
        if job is None:
            return plan_of(_no_job(route.id))
        return ReplyPlan(0, (), (), source=_Look([job], now, job.shown))

    def cancel(self, route: ApiRoute, now: float) -> ReplyPlan:
        job = self._jobs.get(route.id)
        if job is None:
            return plan_of(_no_job(route.id))
        if not job.cancel(now):
            return plan_of(error_reply(409, f"Cannot cancel a batch with status '{job.status}'."))
        return plan_of(json_reply(200, job.shown()))


class _Look:
    """The source of a reply that shows jobs, each a step further than before."""

    def __init__(self, jobs: Sequence[ServedJob], now: float, shown: Callable[[], values.Value]) -> None:
        self._jobs = jobs
        self._now = now
        self._shown = shown
        self.faults: Sequence[FaultRule] = ()

    def begin(self, plan: ReplyPlan) -> Iterator[Step]:
        for job in self._jobs:
            for _ in job.step(self._now):
                yield Pause(0.0)
        reply = json_reply(200, self._shown())
        plan.status, plan.headers, plan.pieces = 200, (*reply.headers, *plan.headers), reply.pieces
        apply_faults(plan, self.faults)

    def close(self) -> None:
        """Nothing is left open."""


def _check_order(body: dict[str, Any]) -> None:
    """Raises BadOrder."""
    if not body["endpoint"].endswith(_CHAT):
        raise _bad(f"Invalid value: '{body['endpoint']}'. This server has '/v1{_CHAT}' only.", "endpoint")
    if body["completion_window"] != _WINDOW:
        what = f"Invalid value: '{body['completion_window']}'. Value must be '{_WINDOW}'."
        raise _bad(what, "completion_window")
    _check_metadata(body.get("metadata"))
    expires = body.get("output_expires_after")
    if expires is None:
        return
    if not isinstance(expires, dict) or expires.get("anchor") != "created_at":
        raise _bad("Invalid 'output_expires_after': its anchor is 'created_at'.", "output_expires_after")
    if not is_life(expires.get("seconds")):
        raise _bad(f"Invalid 'output_expires_after': {LIFE}.", "output_expires_after")


def _check_metadata(metadata: values.Value) -> None:
    """Raises BadOrder for anything but null and at most 16 pairs of short texts."""
    if metadata is None:
        return
    if not isinstance(metadata, dict):
        raise _bad("Invalid type for 'metadata': expected an object.", "metadata", "invalid_type")
    if len(metadata) > _MOST_PAIRS:
        raise _bad(f"Invalid 'metadata': too many properties, at most {_MOST_PAIRS} are allowed.", "metadata")
    for name, value in metadata.items():
        if not isinstance(value, str):
            what = f"Invalid type for 'metadata.{name}': expected a string."
            raise _bad(what, f"metadata.{name}", "invalid_type")
        if len(name) > _LONGEST_NAME or len(value) > _LONGEST_VALUE:
            what = (
                f"Invalid 'metadata': names have at most {_LONGEST_NAME} characters, values {_LONGEST_VALUE}."
            )
            raise _bad(what, "metadata", "string_above_max_length")


def _bad(message: str, param: str, code: str = "invalid_value") -> BadOrder:
    return BadOrder(error_reply(400, message, param=param, code=code))


def unseen(id_: str) -> Reply:
    """The refusal of a create whose file is not there, or not visible yet."""
    return error_reply(
        400,
        f"Cannot find file {id_}, or organization does not have access to it.",
        param="input_file_id",
        code="invalid_value",
    )


def _no_job(id_: str) -> Reply:
    return error_reply(404, f"No batch found with id '{id_}'.")
