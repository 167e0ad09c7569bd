"""A provider whose calls for jobs have the form of Mistral, made of the planner of `serve`."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import httpx

from chatpipe.serve.served_request import ServedRequest
from jobs.provider import Provider, changed

_WORDS = {
    "validating": "QUEUED",
    "in_progress": "RUNNING",
    "finalizing": "RUNNING",
    "completed": "SUCCESS",
    "failed": "FAILED",
    "expired": "TIMEOUT_EXCEEDED",
    "cancelling": "CANCELLATION_REQUESTED",
    "cancelled": "CANCELLED",
}
_LINE = re.compile(rb'^\{"custom_id".*\}$', re.MULTILINE)
_NEEDED = {"model": str, "endpoint": str, "timeout_hours": int, "input_files": list}


class MistralProvider(Provider):
    """See Provider."""

    dialect = "mistral"

    def uploaded(self, form: bytes) -> bytes:
        """The planner wants a method, a url and one model in each line."""
        return _LINE.sub(lambda found: _line_for_planner(found[0]), form)

    def answer(self, request: ServedRequest) -> httpx.Response:
        path, _, query = request.target.partition("?")
        if not path.startswith("/v1/batch/jobs"):
            return super().answer(request)
        target = path.replace("/v1/batch/jobs", "/v1/batches", 1)
        if request.method == "POST" and target == "/v1/batches":
            request = replace(request, body=_order_for_planner(json.loads(request.body)))
        elif target == "/v1/batches":
            return self._page(request, dict(httpx.QueryParams(query)))
        reply = super().answer(replace(request, target=target))
        return reply if reply.status_code != 200 else changed(_shown(json.loads(reply.content)))

    def _page(self, request: ServedRequest, query: dict[str, str]) -> httpx.Response:
        assert query["order_by"] == "-created"
        reply = super().answer(replace(request, target="/v1/batches?limit=100"))
        if reply.status_code != 200:
            return reply
        jobs = json.loads(reply.content)["data"]
        size = int(query["page_size"])
        start = int(query["page"]) * size
        shown = [_shown(job) for job in jobs[start : start + size]]
        return changed({"object": "list", "data": shown, "total": len(jobs)})


def _line_for_planner(line: bytes) -> bytes:
    value = json.loads(line)
    assert "model" not in value["body"] or "url" in value, "the model is that of the job"
    body = {**value["body"], "model": "mistral-small"}
    return json.dumps(
        {"custom_id": value["custom_id"], "method": "POST", "url": "/v1/chat/completions", "body": body}
    ).encode()


def _order_for_planner(order: dict[str, Any]) -> bytes:
    for name, kind in _NEEDED.items():
        assert isinstance(order[name], kind), name
    assert order["timeout_hours"] == 24
    (file,) = order["input_files"]
    openai = {"input_file_id": file, "endpoint": order["endpoint"], "completion_window": "24h"}
    return json.dumps({**openai, "metadata": order["metadata"]}).encode()


def _shown(job: dict[str, Any]) -> dict[str, Any]:
    counts, errors = job["request_counts"], job["errors"] or {"data": []}
    ended = (job[f"{word}_at"] for word in ("completed", "failed", "expired", "cancelled"))
    return {
        "id": job["id"],
        "object": "batch",
        "input_files": [job["input_file_id"]],
        "endpoint": job["endpoint"],
        "errors": [{"message": each["message"], "count": 1} for each in errors["data"]],
        "status": _WORDS[job["status"]],
        "created_at": job["created_at"],
        "completed_at": next(filter(None, ended), None),
        "total_requests": counts["total"],
        "completed_requests": counts["completed"] + counts["failed"],
        "succeeded_requests": counts["completed"],
        "failed_requests": counts["failed"],
        "metadata": job["metadata"],
        "output_file": job.get("output_file_id"),
        "error_file": job.get("error_file_id"),
    }
