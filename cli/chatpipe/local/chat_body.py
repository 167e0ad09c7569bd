"""The body of a request for a completion. It is parsed once, for all that ask what is in it. Pure."""

from __future__ import annotations

from hashlib import blake2b

from chatpipe.inputs import values
from chatpipe.inputs.values import Value

_DIGEST_BYTES = 12


class ChatBody:
    """The bytes of a body, and their value. value is None for what is no JSON, and fault then says why."""

    __slots__ = ("data", "fault", "value")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.fault: values.NotJSON | None = None
        try:
            self.value: Value = values.loads(data)
        except values.NotJSON as error:
            self.value, self.fault = None, error

    @property
    def digest(self) -> str:
        """The digest of the bytes, from which all ids of an answer derive. It is computed at each call."""
        return blake2b(self.data, digest_size=_DIGEST_BYTES).hexdigest()

    @property
    def request_id(self) -> str:
        """The id of all requests with this body."""
        return f"req_{self.digest}"
