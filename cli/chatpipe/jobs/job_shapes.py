"""The forms that the calls for jobs have: that of OpenAI and of those like it, and those of others. Pure.

Source: the vendors' own SDKs and pages, as of November 2026.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from chatpipe.inputs.values import Value
from chatpipe.named_tuple import NamedTuple

_MISTRAL_COUNTS = {
    "total": "total_requests",
    "completed": "succeeded_requests",
    "failed": "failed_requests",
}


class CreateOrder(NamedTuple):
    """The job to create. endpoint is the url of its lines, window the time for it: `24h`, `7d`."""

    input_file_id: str
    endpoint: str
    model: str | None
    window: str
    metadata: Mapping[str, str]


class JobShape(NamedTuple):
    """The form of the calls.

    route is the path of the jobs. create_body makes the body of a create, without its metadata. job_value
    makes a job one of OpenAI's. page_query makes the query of a page of the list, from its size and its
    cursor, which is empty for the first page. next_cursor finds the cursor of the next page, None at the end,
    from a reply and the size and cursor that it was asked with. model_is_of_job: the model is named by the
    job, and not by its lines.
    """

    route: str
    create_body: Callable[[CreateOrder], dict[str, Value]]
    job_value: Callable[[Mapping[str, Value]], Mapping[str, Value]]
    page_query: Callable[[int, str], dict[str, str]]
    next_cursor: Callable[[Value, int, str], str | None]
    model_is_of_job: bool = False


def _openai_body(order: CreateOrder) -> dict[str, Value]:
    return {
        "input_file_id": order.input_file_id,
        "endpoint": order.endpoint,
        "completion_window": order.window,
    }


def _as_it_is(value: Mapping[str, Value]) -> Mapping[str, Value]:
    return value


def _openai_query(size: int, cursor: str) -> dict[str, str]:
    return {"limit": str(size), **({"after": cursor} if cursor else {})}


def _openai_next(value: Value, size: int, cursor: str) -> str | None:
    """The id of the last job of a page, if another page follows."""
    jobs = _page_before_another(value, size)
    found = jobs[-1].get("id") if jobs and isinstance(jobs[-1], dict) else None
    return found if isinstance(found, str) else None


def _page_before_another(value: Value, size: int) -> list[Value]:
    """The jobs of a page, none if it is the last. A full one may have another after it, unless it says no."""
    data = value.get("data") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(data, list):
        return []
    has_more = value.get("has_more")
    return data if (len(data) >= size if has_more is None else has_more is True) else []


def _morph_next(value: Value, size: int, cursor: str) -> str | None:
    """The number of jobs before the next page. A job that is created meanwhile moves others to that page."""
    return str(int(cursor or 0) + size) if _page_before_another(value, size) else None


def _mistral_body(order: CreateOrder) -> dict[str, Value]:
    return {
        "input_files": [order.input_file_id],
        "endpoint": order.endpoint,
        "model": order.model,
        "timeout_hours": _hours(order.window),
    }


def _hours(window: str) -> int:
    return int(window[:-1]) * (24 if window.endswith("d") else 1)


def _mistral_value(value: Mapping[str, Value]) -> Mapping[str, Value]:
    files = value.get("input_files")
    return {
        **value,
        "input_file_id": files[0] if isinstance(files, list) and files else None,
        "output_file_id": value.get("output_file"),
        "error_file_id": value.get("error_file"),
        "request_counts": {name: value.get(own) for name, own in _MISTRAL_COUNTS.items()},
    }


def _mistral_query(size: int, cursor: str) -> dict[str, str]:
    """A page of the list by its number. A job that is created meanwhile moves others to the next page."""
    return {"page": cursor or "0", "page_size": str(size), "order_by": "-created"}


def _mistral_next(value: Value, size: int, cursor: str) -> str | None:
    number = int(cursor or 0) + 1
    total = value.get("total") if isinstance(value, dict) else None
    return str(number) if isinstance(total, int) and number * size < total else None


OPENAI_SHAPE = JobShape("/batches", _openai_body, _as_it_is, _openai_query, _openai_next)
MORPH_SHAPE = OPENAI_SHAPE._replace(next_cursor=_morph_next)
MISTRAL_SHAPE = JobShape(
    "/batch/jobs", _mistral_body, _mistral_value, _mistral_query, _mistral_next, model_is_of_job=True
)
