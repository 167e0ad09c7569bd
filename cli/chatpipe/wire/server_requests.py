"""A body or a route, and a server -> the request to it, as httpx has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import httpx

from chatpipe.inputs import values
from chatpipe.inputs.messages import without_empty_calls
from chatpipe.inputs.values import Value
from chatpipe.server.patches import Patch, patch_body
from chatpipe.server.request_extensions import CHOICES, DEADLINE, RECORDED_AS
from chatpipe.server.server import Server


def completion_request(
    server: Server,
    body: Mapping[str, Value],
    detail: Callable[[str], None] | None = None,
    deadline: float | None = None,
) -> httpx.Request:
    """The POST that requests a completion of body. detail gets what the patches of the server change.

    deadline is given if the request continues an earlier one, which had it.
    """
    sent = body_to_send(body, server.endpoint.patches, detail)
    continued = {} if deadline is None else {DEADLINE: deadline}
    return httpx.Request(
        "POST",
        server.completions_url(sent.get("model")),
        headers=list(server.headers),
        content=values.dumps(sent),
        extensions={**server.extensions, **extensions_of(sent), **continued},
    )


def body_to_send(
    body: Mapping[str, Value], patches: Sequence[Patch] = (), detail: Callable[[str], None] | None = None
) -> Mapping[str, Value]:
    """The body as the server takes it: patched, without the empty lists of tool calls in its messages."""
    if patches:
        body = patch_body(body, patches, detail)
    messages = body.get("messages")
    if isinstance(messages, list):
        for message in messages:
            if isinstance(message, dict) and "tool_calls" in message:
                return {**body, "messages": [without_empty_calls(each) for each in messages]}
    return body


def extensions_of(body: Mapping[str, Value]) -> dict[str, Value]:
    """The extensions of a request that the reader of its reply needs."""
    choices = body.get("n")
    return {CHOICES: choices if isinstance(choices, int) else 1}


def get_request(server: Server, url: str, deadline: float | None = None) -> httpx.Request:
    """The GET of a URL of the server. deadline: see completion_request()."""
    headers = [each for each in server.headers if each[0].lower() != "content-type"]
    extensions = server.extensions
    if deadline is not None:
        extensions[DEADLINE] = deadline
    return httpx.Request("GET", url, headers=headers, extensions=extensions)


def deadline_of(request: httpx.Request) -> float | None:
    """The deadline of a request that was sent, on the clock of time.monotonic(). None if it has none."""
    deadline: float | None = request.extensions.get(DEADLINE)
    return deadline


def was_replayed(request: httpx.Request) -> bool:
    """Return True if the last attempt had its reply from a recording: no server needs time."""
    attempt = request.extensions.get(RECORDED_AS)
    return attempt is not None and attempt.is_replayed
