"""What the user asks of the output, as records, and the names there are: light, for `--help`."""

from collections.abc import Mapping
from typing import NamedTuple

REASONING = ("drop", "stderr", "only")
ERROR_FORMATS = ("text", "json")
# What a run writes: its result lines, or one part of each answer.
RESULTS = "results"
RUN_SHAPES = (RESULTS, "json", "string", "message", "tool-calls", "text", "usage", "requests")
# What `map` writes.
ROW_SHAPES = ("rows", "requests")
# What `build` and `check` write.
REQUEST_SHAPES = ("body", "batch", "curl")
PROBLEM_SHAPES = ("text", "problems")
# Outcomes of an answer that the user may count as good.
ALLOWABLE = frozenset({"truncated", "refused", "empty", "mismatch", "tool-calls"})
# And of a run: lines that have no answer, too.
RUN_ALLOWABLE = ALLOWABLE | {"failed"}


class Format(NamedTuple):
    """streams: `stream` is asked for when nobody says otherwise. needs_stream: nothing to write without."""

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


class Printing(NamedTuple):
    """What is written of an answer, and which answers count as good though they are not.

    named: the user chose the format; else the request may (formats.settle).
    """

    format: str = "text"
    usage: bool = False
    reasoning: str = "drop"
    null: bool = False
    escape: bool = True
    allow: frozenset[str] = frozenset()
    named: bool = True


class Target(NamedTuple):
    """The output options as typed."""

    path: str | None = None
    if_changed: bool = False
    depfile: str | None = None
    depfile_target: str | None = None

    @property
    def is_file(self) -> bool:
        """Whether a file was named; `-` is stdout."""
        return self.path not in (None, "-")


class Telling(NamedTuple):
    """How much is told: the options of every command."""

    quiet: bool = False
    verbose: bool = False
    error_format: str = "text"
    debug: bool = False
