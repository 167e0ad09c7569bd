"""Any JSON value from a server -> the error inside it, if there is one."""

from typing import NamedTuple

from chatpipe.inputs import values
from chatpipe.inputs.values import Value


class ServerError(NamedTuple):
    """An error as a server reports it. Servers disagree on code: 429, "429", "rate_limit_exceeded"."""

    message: str
    type: str | None = None
    code: str | int | None = None
    param: str | None = None


def error_of(value: Value) -> ServerError | None:
    """The error inside a chunk, a completion or an error body; None if there is none. Never raises.

    Known shapes: {"error": {...}} with or without choices next to it (OpenRouter sends both in one
    chunk), {"error": "text"}, {"detail": ...} (FastAPI: text, or a list of {"msg", "loc"}), the error
    itself without a wrapper ({"message": "text", ...}, older vLLM and gateways), and any of these as
    the only item of a list (Gemini). `error: null` and `error: {}` are not errors.
    """
    if type(value) is list and len(value) == 1:
        value = value[0]
    if type(value) is not dict:
        return None
    error = value.get("error")
    if error:
        return _error(error)
    if "choices" in value:
        return None
    if value.get("detail"):
        return _error(value["detail"])
    if type(value.get("message")) is str and value["message"]:
        return _error(value)
    return None


def _error(error: Value) -> ServerError:
    if type(error) is not dict:
        return ServerError(_message(error))
    metadata = error.get("metadata")
    kinds = (
        error.get("type"),
        metadata.get("error_type") if type(metadata) is dict else None,  # OpenRouter
        error.get("status"),  # Google: "RESOURCE_EXHAUSTED"
    )
    code = error.get("code")
    return ServerError(
        message=_message(error.get("message") or error.get("detail") or error),
        type=next((kind for kind in kinds if type(kind) is str), None),
        code=code if type(code) in (str, int) else None,
        param=error["param"] if type(error.get("param")) is str else None,
    )


def _message(value: Value) -> str:
    if type(value) is str:
        return value
    if type(value) is list and value and all(type(item) is dict and "msg" in item for item in value):
        return "; ".join(_validation_message(item) for item in value)
    try:
        return values.dumps(value).decode()
    except RecursionError:
        return "an error nested too deeply to show"


def _validation_message(item: dict[str, Value]) -> str:
    """The text of one FastAPI validation error: {"loc": ["body", "messages", 0], "msg": "..."}."""
    loc = item.get("loc")
    location = ".".join(str(step) for step in loc) if type(loc) is list else ""
    return f"{location}: {item['msg']}" if location else str(item["msg"])
