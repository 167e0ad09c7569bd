"""Output formats: the base class of their writers, and the format that a request gets.

A writer receives each piece of an answer as it arrives and the whole answer at the end, and writes bytes
to its sink. A new format needs one class and one row in `options.output.FORMATS`, which names the class.
`--format` and its completion are generated from that table.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING

from chatpipe.errors import ChatpipeError, UsageFault
from chatpipe.inputs.values import Value
from chatpipe.options.output import FORMATS, FormatOptions, OutputOptions
from chatpipe.system.descriptor import Sink
from chatpipe.system.terminal import is_terminal

if TYPE_CHECKING:
    from chatpipe.response.result_line import ResultLine

_AUDIO = next(name for name, format in FORMATS.items() if format.is_audio)


class FormatWriter(ABC):
    """The writer of one answer. For a streamed answer, chunk() gets each piece before end().

    writes_reasoning: it writes the reasoning to stderr itself if that is asked for, as it arrives.
    """

    writes_reasoning = False

    def __init__(self, out: Sink, options: FormatOptions, stderr: Callable[[str], None]) -> None:
        """Write to out. stderr prints text there, in pieces."""
        self.out = out
        self.options = options
        self.stderr = stderr

    @classmethod
    def head(cls, options: FormatOptions) -> bytes:
        """The bytes before the first of several answers."""
        return b""

    def stderr_line(self, text: str) -> None:
        """Print a text to stderr, with a newline at its end."""
        self.stderr(text if text.endswith("\n") else text + "\n")

    def recorded(self, line: ResultLine) -> None:  # noqa: B027 - most formats do not need it
        """Take the result line of a recording that holds the answer, or the reason why there is none."""

    def fail(self, fault: ChatpipeError, *, is_end: bool) -> None:  # noqa: B027 - as above
        """Take the reason why an answer is not whole. is_end: none of it came, and end() does not follow."""

    def raw(self, data: bytes) -> None:  # noqa: B027 - most formats do not need it
        """Take bytes of the event stream, exactly as the server sent them."""

    def chunk(self, payload: bytes, chunk: Mapping[str, Value]) -> None:  # noqa: B027 - as above
        """Take the data of one event: payload is its bytes, chunk the value parsed from them."""

    def expect_end(self) -> None:  # noqa: B027 - as above
        """Expect end() without delay: the last chunks may be written together with it."""

    @property
    def is_holding(self) -> bool:
        """True if a part of the answer is held back until end()."""
        return False

    @abstractmethod
    def end(self, completion: Mapping[str, Value], body: bytes | None) -> None:
        """Take the whole answer. body is its bytes if it came in one piece, None if it was streamed."""


class RunWriter(FormatWriter):
    """The writer of a format that runs offer too."""

    @classmethod
    @abstractmethod
    def record(cls, completion: Mapping[str, Value] | None, options: FormatOptions) -> bytes:
        """The one record of an answer in a run, with its terminator. The first choice counts.

        completion is None if there is no good answer.
        """


def writer_class(format: str) -> type[FormatWriter]:
    """The class of a format that has a writer. Its module is imported now: a call uses only one."""
    module, name = FORMATS[format].writer.split(":")
    found: type[FormatWriter] = getattr(import_module(f"chatpipe.output.{module}"), name)
    return found


def run_writer_class(format: str) -> type[RunWriter]:
    """The class of a format that runs offer."""
    found = writer_class(format)
    assert issubclass(found, RunWriter)
    return found


def create_writer(options: FormatOptions, out: Sink, stderr: Callable[[str], None]) -> FormatWriter:
    """Create the writer of the format asked for. stderr prints text there, in pieces."""
    return writer_class(options.format)(out, options, stderr)


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
        and not (options.is_format_given or options.null or options.reasoning == "only")
    ):
        options = options._replace(format=_AUDIO)
    if not options.properties.is_audio:
        return options
    if body is not None and isinstance(body.get("n"), int) and body["n"] > 1:
        what = f"the format audio writes one choice, not {body['n']}"
        raise UsageFault(what, place="--n", fix="use -f json")
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
    properties = options.properties
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
