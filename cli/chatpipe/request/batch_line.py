"""Lines of requests: a value of a JSONL stream -> the request in it, and a body -> its Batch line.

A request is recognized by its keys:

{"custom_id", "method", "url", "body"}     a Batch line
{"prompt", "system"?, "custom_id"?, ...}   a row; its other fields are fields of the body
{"messages", ...}                          a request body
"text"                                     a prompt
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any, Literal

from chatpipe.inputs.values import Value
from chatpipe.line_record import LineRecord

_PATH = "/v1/chat/completions"
# The urls of nearly all lines.
USUAL_URLS = (None, _PATH)
_ID_URL_BODY = itemgetter("custom_id", "url", "body")
# The words after the url of a line that is not for Chat Completions.
OTHER_ENDPOINT = f"is another endpoint, not {_PATH}"


class RequestLine(LineRecord):
    """A recognized line.

    pointer leads to the body inside the value. It is empty if the value is the body, and if the body was
    made from a row or a string. url is what a Batch line says.
    """

    format: Literal["Batch line", "row", "body", "string"]
    body: Value
    custom_id: Value = None
    pointer: str = ""
    url: Value = None

    @property
    def is_of_other_endpoint(self) -> bool:
        """True if the url says that the body is no Chat Completions request.

        The url is a path, with the deployment of Azure or without it, or a whole URL. Some providers omit it.
        """
        if self.url == _PATH or not isinstance(self.url, str) or not self.url:
            return False
        path = re.split("[?#]", self.url, maxsplit=1)[0].rstrip("/").lower()
        return not f"/{path}".endswith("/chat/completions")

    @property
    def is_made(self) -> bool:
        """True if the messages were made from a row or a string."""
        return self.format in ("row", "string")

    def locate(self, pointer: str) -> str:
        """A pointer into the body as one into the value of the line."""
        if not (self.is_made and pointer.startswith("/messages/")):
            return self.pointer + pointer
        _, _, number, *rest = pointer.split("/", 4)
        is_prompt = int(number) == len(self.body["messages"]) - 1
        field = "" if self.format == "string" else "/prompt" if is_prompt else "/system"
        return field + "".join(f"/{step}" for step in rest[1:])


def parse_line(value: Value) -> RequestLine | None:
    """The request in a value; None if the value cannot hold a request."""
    if isinstance(value, dict):
        if "messages" not in value:
            if "body" in value:
                body, custom_id, url = value["body"], value.get("custom_id"), value.get("url")
                return RequestLine("Batch line", body, custom_id, "/body", url)
            if "prompt" in value:
                return RequestLine("row", _body_of_row(value), value.get("custom_id"))
        return RequestLine("body", value)
    if isinstance(value, str):
        return RequestLine("string", {"messages": [{"role": "user", "content": value}]})
    return None


def parse_batch_lines(values: Sequence[Value]) -> tuple[Sequence[str], Sequence[dict[str, Value]]] | None:
    """The custom_ids and the bodies of values that are all Batch lines with an id and the usual url.

    None if one is not, and if there are no values.
    """
    try:
        ids, urls, bodies = zip(*map(_ID_URL_BODY, values), strict=True)
        are_usual = {*urls} == {_PATH} and {*map(type, ids)} == {str} and {*map(type, bodies)} == {dict}
    except (KeyError, TypeError, ValueError):  # a ValueError without any values
        return None
    if not are_usual or not all(ids) or any("messages" in each for each in values):
        return None
    return ids, bodies


def batch_line(custom_id: str, body: Mapping[str, Value], url: str) -> dict[str, Value]:
    """The line of the Batch API's input file for one request.

    url is the same in all lines for a provider. Source: the Batch API guide of OpenAI.
    """
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": body}


def _body_of_row(row: dict[str, Value]) -> dict[str, Any]:
    """The body of a row: the prompt and system text become messages, all other fields stay as they are."""
    messages = [{"role": "system", "content": row["system"]}] if row.get("system") is not None else []
    messages.append({"role": "user", "content": row["prompt"]})
    fields = {key: value for key, value in row.items() if key not in ("prompt", "system", "custom_id")}
    return {"messages": messages, **fields}
