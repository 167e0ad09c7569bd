"""The key of a request, by which its recording is found: the same for the same request at any server.

    a completion   the digest of its body, as the fingerprints of a run have it: without `stream` and
                   `stream_options`, whatever the order of its members
    any other      a digest of its method, its route and its body

A completion whose body names no model is one of the others: there the route names the model, as in
deployments of Azure, or the server does.
"""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import blake2b

from chatpipe.inputs.values import Value
from chatpipe.recordings.exchange_record import RecordedRequest
from chatpipe.request.fingerprint import body_digest

# Members of a body that do not change the answer, or only by chance. `--replay-match loose` leaves them out.
LOOSE = frozenset(
    {
        *("user", "metadata", "store", "seed", "service_tier", "stream", "stream_options"),
        *("prompt_cache_key", "prompt_cache_retention", "safety_identifier"),
    }
)
_STREAMING = frozenset({"stream", "stream_options"})

# The part of a path that does not depend on the server: after it the base URL may have any prefix.
_ROUTE = re.compile(
    r"(?:/deployments/[^/]+|/v\d+)?/(?:chat/completions|completions|responses|embeddings|moderations|models"
    r"|files|batches|uploads|audio|images)(?:/.*)?\Z"
)


@lru_cache(maxsize=64)
def route_of(path: str) -> str:
    """The part of a path, without query, that names the resource and not the server."""
    path = path.partition("?")[0]
    found = _ROUTE.search(path)
    return found[0] if found else path


def request_key(request: RecordedRequest, *, loose: bool = False) -> str:
    """The key of a request, 32 hex digits. With loose, members of the body that are in LOOSE are left out."""
    body, route = request.body, route_of(request.path)
    if isinstance(body, dict):
        if loose and not LOOSE.isdisjoint(body):
            body = {name: value for name, value in body.items() if name not in LOOSE}
        digest = body_digest(body)
        if request.method == "POST" and "model" in body and route.endswith("/chat/completions"):
            return digest.hex()
    else:
        digest = _digest(body)
    line = f"{request.method} {route} {digest.hex()}".encode("utf-8", "surrogatepass")
    return blake2b(line, digest_size=16).hexdigest()


def compared_members(body: dict[str, Value], *, loose: bool) -> dict[str, Value]:
    """The members of a body that its key depends on."""
    left_out = LOOSE if loose else _STREAMING
    return {name: value for name, value in body.items() if name not in left_out}


def _digest(body: Value) -> bytes:
    if isinstance(body, bytes):
        data = body
    elif isinstance(body, str):
        data = body.encode("utf-8", "surrogatepass")
    else:
        return body_digest({"": body})
    return blake2b(data, digest_size=16).digest()
