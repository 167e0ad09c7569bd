"""Output options as records, and the table of formats. Kept light, because `--help` imports it."""

from __future__ import annotations

from collections.abc import Mapping

from chatpipe.named_tuple import NamedTuple
from chatpipe.options.files import FileUse, Role, optional_uses

REASONING = ("drop", "stderr", "only")
ERROR_FORMATS = ("text", "json")
# Formats of `check`.
PROBLEM_FORMATS = ("text", "problems")


class Format(NamedTuple):
    """A row of FORMATS. It answers every question about a format, so no code compares a format's name.

    Where it is offered:
    writer is `module:Class` in chatpipe.output, imported on first use. `ask` and `show` offer each format
    that has one. for_recordings: `show` offers it, `ask` does not. run_position is the position among the
    formats of `batch`, from 1, or 0 if `batch` does not offer it. If there is a writer, too, its class has
    record(). in_map: `map` offers it.

    What it does with one answer:
    streams: the request asks for a stream by default. needs_stream: the format cannot be written without.
    is_event_stream: the output is the bytes of the event stream.
    is_text: a NUL can end each text. Lines may follow the text in a partial file.
    can_be_reasoning: the output can be the reasoning in place of the content.
    is_code: the output is the first code block of each text. A text without one is a mismatch.
    is_audio: the output is the audio of one choice. It is never escaped or printed among lines.
    omits_calls: tool calls are not in the output, so they go to stderr or into the partial file.
    is_verbatim: the output has whatever the server sent, even if it has no choices.
    counts_all_turns: the usage in the output counts all turns, not only the last.
    note_if_empty is printed if nothing was written of a complete answer.

    What it does in a run:
    sends: requests are sent. writes_result_lines: a record is a result line, so the output can serve as
    a journal. needs_order: only its position in the output identifies a record. calls_are_final: the
    output has only the text of an answer, so nobody who reads it can answer tool calls: they are a fault.
    has_all_choices: a record has every choice of an answer, not the first alone.
    """

    writer: str = ""
    for_recordings: bool = False
    run_position: int = 0
    in_map: bool = False
    streams: bool = False
    needs_stream: bool = False
    is_event_stream: bool = False
    is_text: bool = False
    can_be_reasoning: bool = False
    is_code: bool = False
    is_audio: bool = False
    omits_calls: bool = False
    is_verbatim: bool = False
    counts_all_turns: bool = False
    note_if_empty: str = ""
    sends: bool = True
    writes_result_lines: bool = False
    needs_order: bool = True
    calls_are_final: bool = False
    has_all_choices: bool = False


FORMATS: Mapping[str, Format] = {
    "text": Format(
        "text:TextWriter",
        run_position=6,
        streams=True,
        is_text=True,
        can_be_reasoning=True,
        omits_calls=True,
        calls_are_final=True,
    ),
    "string": Format("records:StringWriter", run_position=3, can_be_reasoning=True, calls_are_final=True),
    "json": Format("records:CompletionWriter", run_position=2, is_verbatim=True, has_all_choices=True),
    "chunks": Format("raw:ChunksWriter", streams=True, needs_stream=True, is_verbatim=True),
    "sse": Format(
        "raw:EventStreamWriter", streams=True, needs_stream=True, is_event_stream=True, is_verbatim=True
    ),
    "message": Format("records:MessageWriter", run_position=4),
    "tool-calls": Format("records:ToolCallsWriter", run_position=5),
    "logprobs": Format(
        "logprobs:LogprobsWriter", note_if_empty="no log probabilities in the answer: ask with --logprobs"
    ),
    "usage": Format("records:UsageWriter", run_position=7, counts_all_turns=True, has_all_choices=True),
    "code": Format(
        "code:CodeWriter", run_position=8, is_text=True, is_code=True, omits_calls=True, calls_are_final=True
    ),
    "table": Format("table:TableWriter", for_recordings=True, is_verbatim=True),
    "audio": Format("audio:AudioWriter", is_audio=True, omits_calls=True),
    "results": Format(run_position=1, writes_result_lines=True, needs_order=False, has_all_choices=True),
    "rows": Format(in_map=True, needs_order=False, calls_are_final=True),
    "requests": Format(run_position=9, in_map=True, sends=False),
}
# Formats of `show`.
SHOW_FORMATS = tuple(name for name, format in FORMATS.items() if format.writer)
# Formats of `ask`.
ANSWER_FORMATS = tuple(name for name in SHOW_FORMATS if not FORMATS[name].for_recordings)
# Formats of `batch`, the default first.
RUN_FORMATS = tuple(
    sorted(
        (name for name, format in FORMATS.items() if format.run_position),
        key=lambda name: FORMATS[name].run_position,
    )
)
# Formats of `map`, the default first.
MAP_FORMATS = tuple(name for name, format in FORMATS.items() if format.in_map)


class RequestFormat(NamedTuple):
    """A row of REQUEST_FORMATS.

    needs_model: a request without a model is refused. has_custom_id: the output has a custom_id.
    """

    needs_model: bool = True
    has_custom_id: bool = False


# Formats of `build`, the default first. output/curl.py has a function for each.
REQUEST_FORMATS: Mapping[str, RequestFormat] = {
    "body": RequestFormat(needs_model=False),  # whoever sends it may add the model
    "batch": RequestFormat(has_custom_id=True),
    "curl": RequestFormat(),
}


class FormatOptions(NamedTuple):
    """Format options: the parts of an answer to write, and the outcomes to accept as good.

    is_format_given: the user chose the format. Otherwise the request may choose it: see choose_format.
    columns is the width of a table.
    """

    format: str = "text"
    usage: bool = False
    reasoning: str = "drop"
    null: bool = False
    escape: bool = True
    allow: frozenset[str] = frozenset()
    is_format_given: bool = True
    columns: int = 80

    @property
    def properties(self) -> Format:
        """The row of the format."""
        return FORMATS[self.format]


# The end of the name of a partial file. Nobody else uses it, so such a file may be replaced and removed.
PART_SUFFIX = ".chatpipe-part"


class OutputOptions(NamedTuple):
    """The output options. path is as typed, but `-` for every name of stdout.

    is_special: path is a descriptor, a device, a FIFO or a socket, which is written directly. It is
    decided once for a command, so that a file that changes meanwhile cannot change what the command does.
    None: not decided yet.
    """

    path: str | None = None
    if_changed: bool = False
    depfile: str | None = None
    depfile_target: str | None = None
    is_special: bool | None = None

    @property
    def is_file(self) -> bool:
        """True if a file was named. `-` is stdout."""
        return self.path not in (None, "-")

    def uses(self, stdout: Role) -> list[FileUse]:
        """The output, its partial file and that of the rule. stdout is its role if it is the output."""
        rule = optional_uses(("--depfile", self.depfile, "writes"))
        if not self.is_file:
            return [FileUse("", "/dev/fd/1", stdout, "standard output"), *rule]
        output = FileUse("--output", self.path or "", "results")
        part = FileUse("--output", f"{self.path}{PART_SUFFIX}", "writes", "partial file")
        return [output, *rule] if self.is_special else [output, *rule, part]


class ConsoleOptions(NamedTuple):
    """Console options, which every command has."""

    quiet: bool = False
    verbose: bool = False
    error_format: str = "text"
    debug: bool = False
