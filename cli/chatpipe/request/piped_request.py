"""A text on standard input that is a request, but is taken for a prompt -> the option that was meant."""

from __future__ import annotations

from chatpipe.inputs import values
from chatpipe.inputs.values import NotJSON, Value
from chatpipe.request.batch_line import parse_line


def meant_option(text: str) -> str:
    """One line about a text that is a request, requests or messages; "" for any other.

    A text of several lines is judged by its first one, if it is not one JSON value.
    """
    value, is_only = _loads(text), True
    if value is None:
        value, is_only = _loads(text.partition("\n")[0]), False
    first = value[0] if isinstance(value, list) and value else value
    if isinstance(first, dict) and "role" in first and "content" in first:
        return "stdin has messages, sent as a prompt: --messages - sends them as a conversation"
    line = parse_line(first)
    if line is None or not isinstance(line.body, dict) or not isinstance(line.body.get("messages"), list):
        return ""
    if line.format == "body" and is_only and first is value:
        return "stdin is a request, sent as a prompt: -r - sends what it asks"
    if line.format in ("body", "Batch line"):
        return "stdin has requests, sent as a prompt: chatpipe batch sends each"
    return ""


def _loads(text: str) -> Value:
    """The value of a JSON text, None if it is not one."""
    try:
        return values.loads(text.encode())
    except NotJSON:
        return None
