"""A recorded reply without the compression that it arrived with."""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from chatpipe.inputs.text_decoder import GZIP_START
from chatpipe.recordings.exchange_record import RecordedReply
from chatpipe.wire.unpack import START_BYTES, UnreadableBody, open_unpacker


def unpacked(reply: RecordedReply, headers: Mapping[str, str]) -> RecordedReply:
    """The reply with its pieces as they were before the server compressed them.

    headers are all that came, by their names in lower case: a record keeps only some of them.
    """
    coding = headers.get("content-encoding", "").strip().lower()
    if coding in ("", "identity") and not reply.body.startswith(GZIP_START):
        return reply
    pieces: list[tuple[int, bytes]] = []
    try:
        unpacker = open_unpacker(coding, reply.body[:START_BYTES])
        if unpacker is None:
            return reply
        for ms, data in reply.pieces:
            if plain := b"".join(unpacker.feed(data)):
                pieces.append((ms, plain))
    except httpx.DecodingError as error:
        failure = "unreadable" if isinstance(error, UnreadableBody) else "broken"
        return reply._replace(pieces=tuple(pieces), failure=failure, reason=str(error))
    return reply._replace(pieces=tuple(pieces))
