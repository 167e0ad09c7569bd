"""A provider whose calls for jobs have the form of Together, made of the planner of `serve`."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx

from chatpipe.serve.served_request import ServedRequest
from jobs.provider import Provider, changed

_NAME = re.compile(rb'name="file_name"\r\n\r\n[\w-]+\.jsonl\r\n')


class TogetherProvider(Provider):
    """See Provider."""

    dialect = "together"

    def planner_target(self, target: str) -> str:
        """An upload goes to a route of its own."""
        return {"/v1/files": "/v1/none", "/v1/files/upload": "/v1/files"}.get(target, target)

    def uploaded(self, form: bytes) -> bytes:
        assert _NAME.search(form), "an upload without the field file_name"
        head, purpose, rest = form.partition(b"batch-api")
        assert purpose
        return head + b"batch" + rest

    def answer(self, request: ServedRequest) -> httpx.Response:
        path = request.target.partition("?")[0]
        if not path.startswith("/v1/batches"):
            return super().answer(request)
        is_create = (request.method, path) == ("POST", "/v1/batches")
        if is_create:
            assert set(json.loads(request.body)) == {"input_file_id", "endpoint", "completion_window"}
        elif path == "/v1/batches":
            request = replace(request, target="/v1/batches?limit=100")
        reply = super().answer(request)
        if reply.status_code != 200:
            return reply
        value = json.loads(reply.content)
        if "data" in value:
            return changed([_shown(job) for job in value["data"]])
        return changed({"job": _shown(value), "warning": "beta"} if is_create else _shown(value))


def _shown(job: dict[str, Any]) -> dict[str, Any]:
    ended = (job[f"{word}_at"] for word in ("completed", "failed", "expired", "cancelled"))
    ended_at = next(filter(None, ended), None)
    errors, counts = (job["errors"] or {"data": []})["data"], job["request_counts"]
    return {
        "id": job["id"],
        "user_id": "u",
        "input_file_id": job["input_file_id"],
        "endpoint": job["endpoint"],
        "status": {"finalizing": "IN_PROGRESS"}.get(job["status"], job["status"].upper()),
        "progress": 100.0 * counts["completed"] / max(1, counts["total"]),
        "created_at": _time(job["created_at"]),
        "completed_at": ended_at and _time(ended_at),
        "output_file_id": job.get("output_file_id"),
        "error_file_id": job.get("error_file_id"),
        "error": "; ".join(each["message"] for each in errors),
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
