"""The path of a request -> the part of the files and batches that it asks for. Pure."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, unquote

from chatpipe.named_tuple import NamedTuple
from chatpipe.serve.served_request import ServedRequest

_PATH = re.compile(r"(?:/[^?]*)?/(files|batches)(?:/([^/]+)(?:/(content|cancel))?)?/?")
# (collection, with an id, what follows it) -> method -> the name of the call
_CALLS = {
    ("files", False, ""): {"POST": "upload", "GET": "files"},
    ("files", True, ""): {"GET": "file", "DELETE": "delete"},
    ("files", True, "content"): {"GET": "content"},
    ("batches", False, ""): {"POST": "create", "GET": "list"},
    ("batches", True, ""): {"GET": "poll"},
    ("batches", True, "cancel"): {"POST": "cancel"},
}


class ApiRoute(NamedTuple):
    """A call of the API of files and batches: its name, the id in its path, and its query.

    name is empty if the path has no such method; then methods has those that it has.
    """

    name: str
    id: str
    query: dict[str, str]
    methods: tuple[str, ...]


def api_route(request: ServedRequest) -> ApiRoute | None:
    """The call of a request, None for another path."""
    if "/files" not in request.target and "/batches" not in request.target:  # as of nearly every request
        return None
    found = _PATH.fullmatch(request.path)
    if found is None:
        return None
    collection, id_, rest = found[1], unquote(found[2] or ""), found[3] or ""
    calls = _CALLS.get((collection, bool(id_), rest))
    if calls is None:
        return None
    method = "GET" if request.method == "HEAD" else request.method
    query = dict(parse_qsl(request.target.partition("?")[2], keep_blank_values=True))
    return ApiRoute(calls.get(method, ""), id_, query, tuple(calls))
