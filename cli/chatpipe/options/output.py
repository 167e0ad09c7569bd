"""Output options as records, and the names of formats. Kept light, because `--help` imports it."""

from collections.abc import Mapping
from typing import NamedTuple

REASONING = ("drop", "stderr", "only")
ERROR_FORMATS = ("text", "json")
# Formats of a run: its result lines, or one part of each answer.
RESULTS = "results"
RUN_FORMATS = (RESULTS, "json", "string", "message", "tool-calls", "text", "usage", "requests")
# Formats of `map`.
MAP_FORMATS = ("rows", "requests")
# Formats of `build` and of `check`.
REQUEST_FORMATS = ("body", "batch", "curl")
PROBLEM_FORMATS = ("text", "problems")
# Outcomes of an answer that the user may accept as good.
ALLOWABLE = frozenset({"truncated", "refused", "empty", "mismatch", "tool-calls"})
# The same for a run, in which a line may also have no answer.
RUN_ALLOWABLE = ALLOWABLE | {"failed"}


class Format(NamedTuple):
    """An output format. streams: stream by default. needs_stream: it cannot be written without a stream."""

    streams: bool = False
    needs_stream: bool = False


FORMATS: Mapping[str, Format] = {
    "text": Format(streams=True),
    "string": Format(),
    "json": Format(),
    "chunks": Format(streams=True, needs_stream=True),
    "sse": Format(streams=True, needs_stream=True),
    "message": Format(),
    "tool-calls": Format(),
    "logprobs": Format(),
    "usage": Format(),
    "audio": Format(),
}


class FormatOptions(NamedTuple):
    """Format options: the parts of an answer to write, and the outcomes to accept as good.

    named: the user chose the format. Otherwise the request may choose it (formats.settle).
    """

    format: str = "text"
    usage: bool = False
    reasoning: str = "drop"
    null: bool = False
    escape: bool = True
    allow: frozenset[str] = frozenset()
    is_format_given: bool = True


class OutputOptions(NamedTuple):
    """The output options as typed."""

    path: str | None = None
    if_changed: bool = False
    depfile: str | None = None
    depfile_target: str | None = None

    @property
    def is_file(self) -> bool:
        """True if a file was named. `-` is stdout."""
        return self.path not in (None, "-")


class ConsoleOptions(NamedTuple):
    """Console options, which every command has."""

    quiet: bool = False
    verbose: bool = False
    error_format: str = "text"
    debug: bool = False
