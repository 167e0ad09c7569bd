"""A file to upload -> the body of the request that uploads it, as a form of several parts."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Iterator

import httpx

from chatpipe.jobs.job_dialects import JobDialect


class UploadForm(httpx.AsyncByteStream, httpx.SyncByteStream):
    """The form of an upload, made from its file at each try. A way through a proxy needs the second base."""

    def __init__(
        self, name: str, size: int, pieces: Callable[[], Iterator[bytes]], dialect: JobDialect
    ) -> None:
        """name, size in bytes and pieces are those of the file. pieces may be called again."""
        self._pieces = pieces
        # The name has a token that nobody can know before, so that no line holds this.
        self.boundary = hashlib.sha256(name.encode()).hexdigest()[:40]
        name = name.replace("\\", "_").replace('"', "_")
        fields = {"purpose": dialect.purpose} | ({"file_name": name} if dialect.names_file else {})
        self._head = (
            "".join(map(self._field, fields, fields.values()))
            + f'--{self.boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
            "Content-Type: application/jsonl\r\n\r\n"
        ).encode()
        self._tail = f"\r\n--{self.boundary}--\r\n".encode()
        self.size = len(self._head) + size + len(self._tail)

    def _field(self, name: str, value: str) -> str:
        return f'--{self.boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        yield from self._pieces()
        yield self._tail

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece
