"""The writers behind the output formats.

A writer is told of each piece of an answer as it comes and of the whole at its end, and hands bytes
to its sink. A new format is one class, one row here, and one in `options.FORMATS`, from which
`--format` and its completion are made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from chatpipe.errors import UsageFault
from chatpipe.inputs.values import Value
from chatpipe.output.audio import Audio
from chatpipe.output.options import FORMATS, Printing, Target
from chatpipe.output.raw import Chunks, EventStream
from chatpipe.output.records import Completion, Message, String, ToolCalls, Usage
from chatpipe.output.sink import Sink, is_terminal
from chatpipe.output.table import Logprobs
from chatpipe.output.text import Text


class Writer(Protocol):
    """What a format does with an answer. Of a streamed one chunk() gets each piece before end()."""

    def raw(self, data: bytes) -> None:
        """Bytes of the event stream, as they came from the server."""

    def chunk(self, payload: bytes, chunk: Mapping[str, Value]) -> None:
        """One event's data: its bytes, and what they say."""

    def end(self, completion: Mapping[str, Value], body: bytes | None) -> None:
        """The whole answer. body is its bytes when the server sent it whole, None when it was streamed."""


WRITERS: Mapping[str, Callable[[Sink, Printing, Callable[[str], None]], Writer]] = {
    "text": lambda out, how, aside: Text(out, how.null, how.reasoning, aside),
    "string": lambda out, how, aside: String(out, how.reasoning == "only"),
    "json": lambda out, how, aside: Completion(out),
    "chunks": lambda out, how, aside: Chunks(out),
    "sse": lambda out, how, aside: EventStream(out),
    "message": lambda out, how, aside: Message(out),
    "tool-calls": lambda out, how, aside: ToolCalls(out),
    "logprobs": lambda out, how, aside: Logprobs(out),
    "usage": lambda out, how, aside: Usage(out),
    "audio": lambda out, how, aside: Audio(out, aside),
}


def writer(printing: Printing, out: Sink, aside: Callable[[str], None]) -> Writer:
    """The writer of the format that was asked for. aside takes text for stderr, in pieces."""
    return WRITERS[printing.format](out, printing, aside)


def settle(printing: Printing, target: Target, body: Mapping[str, Value] | None = None) -> Printing:
    """The format that is written, and how, once the request is known; body is None where there is none.

    A spoken answer for a file is written as sound where no format was named. Sound is never escaped,
    and goes to a terminal only where `-o -` says so, as with curl. Raises UsageFault.
    """
    if body is not None and _is_spoken(body) and target.is_file and not (printing.named or printing.null):
        printing = printing._replace(format="audio")
    if printing.format != "audio":
        return printing
    if body is not None and isinstance(body.get("n"), int) and body["n"] > 1:
        raise UsageFault(f"{body['n']} choices in one sound", place="--n", fix="use -f json")
    if target.path is None and is_terminal():
        raise UsageFault("audio would go to a terminal", place="--format", fix="use -o FILE, or -o -")
    return printing._replace(escape=False)


def _is_spoken(body: Mapping[str, Value]) -> bool:
    modalities = body.get("modalities")
    return isinstance(modalities, list) and "audio" in modalities


def _can_be_streamed(body: Mapping[str, Value]) -> bool:
    """Servers stream sound as pcm16 only (seen of OpenAI, 2026)."""
    audio = body.get("audio")
    return not _is_spoken(body) or (isinstance(audio, dict) and audio.get("format") == "pcm16")


def decide_stream(body: dict[str, Value], printing: Printing, place: str = "--stream") -> None:
    """Set the body's `stream` where neither an option nor the request itself did, as the format wants it.

    Text of a spoken answer is streamed only where its sound can be. `--usage` on a stream asks the
    server for the counts. Raises UsageFault for a format of chunks when the answer is not to be streamed,
    which was said at place.
    """
    shape = FORMATS[printing.format]
    if body.get("stream") is None and shape.streams and (shape.needs_stream or _can_be_streamed(body)):
        body["stream"] = True
    if shape.needs_stream and body.get("stream") is False:
        what = f"format '{printing.format}' needs a stream"
        if place == "--stream":
            raise UsageFault(what, place="--no-stream", fix="use -f json")
        raise UsageFault(f"/stream: is false, and {what}", place=place, fix="use -f json, or add --stream")
    if printing.usage and body.get("stream") is True:
        options = body.get("stream_options") or {}
        if isinstance(options, dict):  # anything else is for the check to refuse
            body["stream_options"] = {"include_usage": True, **options}
