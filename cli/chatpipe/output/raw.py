"""Formats that pass on what the server sent: `chunks` and `sse`."""

from __future__ import annotations

from collections.abc import Mapping

from chatpipe.inputs.values import Value, one_line_json
from chatpipe.output.formats import FormatWriter


class ChunksWriter(FormatWriter):
    """Every chunk exactly as received, one a line. An answer that was not streamed is a single line."""

    def chunk(self, payload: bytes, chunk: Mapping[str, Value]) -> None:
        if b"\n" in payload or b"\r" in payload:
            payload = one_line_json(payload)
        self.out.write(payload + b"\n")

    def end(self, completion: Mapping[str, Value], body: bytes | None) -> None:
        if body is not None:
            self.out.write(one_line_json(body) + b"\n")


class EventStreamWriter(FormatWriter):
    """The bytes of the event stream, unchanged. An answer that was not streamed becomes one event.

    An answer in one piece that the server calls an event stream is left as it is, too.
    """

    has_bytes = False

    def raw(self, data: bytes) -> None:
        self.has_bytes = True
        self.out.write(data)

    def end(self, completion: Mapping[str, Value], body: bytes | None) -> None:
        if body is not None and not self.has_bytes:
            self.out.write(b"data: " + one_line_json(body) + b"\n\ndata: [DONE]\n\n")
