"""Compressed bytes of a reply -> its bytes.

We do not ask for compression, but some servers and proxies compress all the same.
"""

from __future__ import annotations

from collections.abc import Iterator

import httpx

from chatpipe.inputs.decompress import BrokenData, Decompressor, open_decompressor
from chatpipe.inputs.text_decoder import BOM, GZIP_START
from chatpipe.system.escape import shorten
from chatpipe.system.extras import installation

# The extras with the libraries of codings.
_EXTRAS = {"br": "brotli", "zstd": "zstd"}
_MOST_NAMED = 50  # characters of a Content-Encoding in a message
_AT_THE_SERVER = "turn off compression at the server, which chatpipe does not ask for"
# Bytes that tell compressed data from text.
START_BYTES = 16
_TEXT = bytes([9, 10, 13, *range(32, 127)])


class UnreadableBody(httpx.DecodingError):
    """A body in a coding that cannot be read here. fix says what to do about it."""

    def __init__(self, message: str, fix: str = _AT_THE_SERVER) -> None:
        super().__init__(message)
        self.fix = fix


class Unpacker:
    """A decoder of one body. is_complete is true if the data may end here."""

    def __init__(self, decompressor: Decompressor) -> None:
        self._decompressor = decompressor

    @property
    def is_complete(self) -> bool:
        return self._decompressor.is_complete

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The bytes that these data unpack to, in pieces. Raises httpx.DecodingError for broken data."""
        try:
            yield from self._decompressor.feed(data)
        except BrokenData as error:
            raise httpx.DecodingError("its compressed data are broken") from error


def open_unpacker(coding: str, start: bytes) -> Unpacker | None:
    """The decoder of a body with this Content-Encoding, None if the body is plain.

    start is its first START_BYTES. Text is plain whatever the header says: some proxies unpack a body and
    leave the header, and some servers name a character set there. A body that begins as gzip is gzip, unless
    the header names several codings. Raises UnreadableBody.
    """
    if not start.removeprefix(BOM).translate(None, _TEXT):
        return None
    is_gzip = start.startswith(GZIP_START) and "," not in coding
    decompressor = open_decompressor("gzip" if is_gzip else coding, start)
    if decompressor is None:
        fix = f"{installation(_EXTRAS[coding])}, or {_AT_THE_SERVER}" if coding in _EXTRAS else _AT_THE_SERVER
        raise UnreadableBody(
            f"it is compressed with '{shorten(coding, _MOST_NAMED)}', which cannot be read here", fix
        )
    return Unpacker(decompressor)
