"""A request as the local server received it, and the refusal of one that it cannot read."""

from __future__ import annotations

from dataclasses import dataclass

from chatpipe.named_tuple import NamedTuple
from chatpipe.serve.batches.multipart import FormReader


@dataclass(slots=True)  # frozen, or as a tuple, it takes three times as long to make
class ServedRequest:
    """One HTTP request. target is as on the request line; names of headers are in lower case.

    Headers stay bytes, because few requests are asked for them. can_chunk is False for a client of HTTP/1.0,
    which knows no chunked reply. form is the body of an upload, which then is empty.
    """

    method: str
    target: str
    raw_headers: dict[bytes, bytes]
    body: bytes
    keep_alive: bool = True
    can_chunk: bool = True
    form: FormReader | None = None

    @property
    def headers(self) -> dict[str, str]:
        """The headers as text. It is made at each call."""
        return {name.decode("latin-1"): value.decode("latin-1") for name, value in self.raw_headers.items()}

    @property
    def path(self) -> str:
        """The target without its query, which may hold a key, and without the server that a proxy is told."""
        path = self.target.partition("?")[0]
        return f"/{path.split('/', 3)[3]}" if path.startswith("http://") and path.count("/") > 2 else path


class RequestRefusal(NamedTuple):
    """A request that is not read to its end: the status of the refusal, its reason, and perhaps a code."""

    status: int
    message: str
    code: str | None = None
