"""Writers of the output formats.

A writer receives each piece of an answer as it arrives and the whole answer at the end, and writes bytes
to its sink. A new format needs one class, one row here, and one row in `options.FORMATS`, from which
`--format` and its completion are generated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from chatpipe.errors import UsageFault
from chatpipe.inputs.values import Value
from chatpipe.options.output import FORMATS, FormatOptions, OutputOptions
from chatpipe.output.audio import AudioWriter
from chatpipe.output.logprobs import LogprobsWriter
from chatpipe.output.raw import ChunksWriter, EventStreamWriter
from chatpipe.output.records import (
    CompletionWriter,
    MessageWriter,
    StringWriter,
    ToolCallsWriter,
    UsageWriter,
)
from chatpipe.output.text import TextWriter
from chatpipe.system.descriptor import Sink, is_terminal


class FormatWriter(Protocol):
    """The interface of an output format. For a streamed answer, chunk() gets each piece before end()."""

    def raw(self, data: bytes) -> None:
        """Take bytes of the event stream, exactly as the server sent them."""

    def chunk(self, payload: bytes, chunk: Mapping[str, Value]) -> None:
        """Take the data of one event: payload is its bytes, chunk the value parsed from them."""

    def end(self, completion: Mapping[str, Value], body: bytes | None) -> None:
        """Take the whole answer. body is its bytes if it came in one piece, None if it was streamed."""


WRITERS: Mapping[str, Callable[[Sink, FormatOptions, Callable[[str], None]], FormatWriter]] = {
    "text": lambda out, options, aside: TextWriter(out, options.null, options.reasoning, aside),
    "string": lambda out, options, aside: StringWriter(out, options.reasoning == "only"),
    "json": lambda out, options, aside: CompletionWriter(out),
    "chunks": lambda out, options, aside: ChunksWriter(out),
    "sse": lambda out, options, aside: EventStreamWriter(out),
    "message": lambda out, options, aside: MessageWriter(out),
    "tool-calls": lambda out, options, aside: ToolCallsWriter(out),
    "logprobs": lambda out, options, aside: LogprobsWriter(out),
    "usage": lambda out, options, aside: UsageWriter(out),
    "audio": lambda out, options, aside: AudioWriter(out, aside),
}


def create_writer(options: FormatOptions, out: Sink, aside: Callable[[str], None]) -> FormatWriter:
    """Create the writer of the format asked for. aside takes text for stderr, in pieces."""
    return WRITERS[options.format](out, options, aside)


def choose_format(
    options: FormatOptions, target: OutputOptions, body: Mapping[str, Value] | None = None
) -> FormatOptions:
    """The format options to use once the request is known; body is None if there is no request.

    A spoken answer is written as audio if it goes to a file and no format was named. Audio is never
    escaped. It goes to a terminal only with `-o -`, as in curl. Raises UsageFault.
    """
    if (
        body is not None
        and _is_spoken(body)
        and target.is_file
        and not (options.is_format_given or options.null)
    ):
        options = options._replace(format="audio")
    if options.format != "audio":
        return options
    if body is not None and isinstance(body.get("n"), int) and body["n"] > 1:
        raise UsageFault(f"{body['n']} choices in one sound", place="--n", fix="use -f json")
    if target.path is None and is_terminal():
        raise UsageFault("audio would go to a terminal", place="--format", fix="use -o FILE, or -o -")
    return options._replace(escape=False)


def _is_spoken(body: Mapping[str, Value]) -> bool:
    modalities = body.get("modalities")
    return isinstance(modalities, list) and "audio" in modalities


def _can_be_streamed(body: Mapping[str, Value]) -> bool:
    """Return True unless the answer is audio other than pcm16, which OpenAI does not stream (seen 2026)."""
    audio = body.get("audio")
    return not _is_spoken(body) or (isinstance(audio, dict) and audio.get("format") == "pcm16")


def decide_stream(body: dict[str, Value], options: FormatOptions, place: str = "--stream") -> None:
    """Set the body's `stream` as the format requires, if neither an option nor the request has set it.

    The text of a spoken answer is streamed only if its audio can be. With `--usage`, a streamed request
    asks the server for the counts. Raises UsageFault if the format needs a stream and `stream` is false;
    place is the option or the `file:line` that set it.
    """
    properties = FORMATS[options.format]
    if (
        body.get("stream") is None
        and properties.streams
        and (properties.needs_stream or _can_be_streamed(body))
    ):
        body["stream"] = True
    if properties.needs_stream and body.get("stream") is False:
        what = f"format '{options.format}' needs a stream"
        if place == "--stream":
            raise UsageFault(what, place="--no-stream", fix="use -f json")
        raise UsageFault(f"/stream: is false, and {what}", place=place, fix="use -f json, or add --stream")
    if options.usage and body.get("stream") is True:
        stream_options = body.get("stream_options") or {}
        if isinstance(stream_options, dict):  # the schema check rejects anything else
            body["stream_options"] = {"include_usage": True, **stream_options}
