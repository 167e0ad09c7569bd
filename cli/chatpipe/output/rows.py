"""Results of a run -> one record a request: the result line itself, or one part of the answer."""

from __future__ import annotations

from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.output.options import RESULTS
from chatpipe.output.records import calls_of, content_of, messages, usage_line


def row(shape: str, line: bytes, completion: dict[str, Value] | None, *, null: bool = False) -> bytes:
    """The record, with its end. What failed is null, or an empty text; of choices the first counts."""
    if shape == RESULTS:
        return line + b"\n"
    message = next(messages(completion), {}) if completion is not None else {}
    if shape == "text":
        text = (content_of(message) or "").encode("utf-8", "replace")
        return text + (b"\0" if null else b"" if text.endswith(b"\n") else b"\n")
    if completion is None:
        return b"null\n"
    if shape == "usage":
        return usage_line(completion) + b"\n"
    value: Value = completion
    if shape == "string":
        value = content_of(message)
    elif shape == "message":
        value = message
    elif shape == "tool-calls":
        value = list(calls_of(message))
    return values.dumps(value) + b"\n"


def recorded_row(shape: str, line: bytes, *, null: bool = False) -> bytes:
    """The same from a recorded result line."""
    if shape == RESULTS:
        return line + b"\n"
    record = values.loads(line)
    response = None if record.get("error") else record.get("response")
    body = response.get("body") if isinstance(response, dict) else None
    is_answer = isinstance(body, dict) and "choices" in body
    return row(shape, line, body if is_answer else None, null=null)
