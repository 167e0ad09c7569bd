"""Every parameter of the API, the option that sets it, and its path in the body.

The table has one row per parameter. The options, their help, the manual's test and the hints of
`--unset` are made from it. Messages are not in it: they have options of their own (`request/build.py`).

Source: the provider's published description of 2026-08-21. The defaults are the server's, because
chatpipe sends nothing that was not asked for.
"""

from __future__ import annotations

from typing import Any, Literal

from chatpipe.named_tuple import NamedTuple

# The conversion of an option's text to a JSON value.
ParameterKind = Literal[
    "text",
    "integer",
    "number",
    "boolean",  # --x / --no-x
    "empty object",  # --x: an empty object, whose presence turns something on
    "texts",  # repeatable
    "one or more",  # repeatable; a single value is sent bare, not in an array
    "numbers by key",  # repeatable KEY=NUMBER
    "texts by key",  # repeatable KEY=TEXT
    "type",  # an object with this type, or JSON, replacing any other
    "name or object",  # a name, or JSON
    "choice of tool",  # a word, a name, or JSON
    "choice of function",
    "tool files",  # repeatable
    "function files",  # repeatable
    "text file",
]
# Options of these kinds name files; the content becomes the value.
FILE_KINDS: tuple[ParameterKind, ...] = ("tool files", "function files", "text file")


class Parameter(NamedTuple):
    """A row of the table.

    option is the name without the leading dashes. path leads from the top of the body to the value.
    words are the values that completion offers. heading and daily say where the help shows the option.
    """

    option: str
    path: tuple[str, ...]
    kind: ParameterKind
    help: str
    words: tuple[str, ...] = ()
    metavar: str | None = None
    short_option: str | None = None
    heading: Literal["Parameters", "Structured output", "Tools"] = "Parameters"
    daily: bool | tuple[str, ...] = False

    @property
    def name(self) -> str:
        """The option as an identifier, unique in the table. A top-level field may have several options."""
        return self.option.replace("-", "_")


class Edit(NamedTuple):
    """One `--set PATH=TEXT`, `--set PATH:=JSON` or `--unset PATH`. text is the text as typed, for errors."""

    path: tuple[str | int, ...]
    value: Any
    is_removal: bool
    text: str


class Parameters(NamedTuple):
    """The parameters of a request: (parameter, command-line value) pairs, then edits in the order typed."""

    values: tuple[tuple[Parameter, Any], ...] = ()
    edits: tuple[Edit, ...] = ()

    @property
    def removals(self) -> tuple[Edit, ...]:
        return tuple(edit for edit in self.edits if edit.is_removal)


_EFFORTS = "none minimal low medium high xhigh max"
_LEVELS = "low medium high"
_VOICES = "alloy ash ballad coral echo fable nova onyx sage shimmer verse marin cedar"
# The commands whose `-h` shows the parameters that are tuned most.
_ONE_REQUEST = ("ask", "build")


def _row(
    option: str, kind: ParameterKind, text: str, *, path: str = "", words: str = "", **others: Any
) -> Parameter:
    """A row. path has dots between its names; without one the option sets the field of its own name."""
    names = tuple(path.split(".")) if path else (option.replace("-", "_"),)
    return Parameter(option, names, kind, text, tuple(words.split()), **others)


TABLE: tuple[Parameter, ...] = (
    _row("model", "text", "Model to ask, such as gpt-4o-mini", metavar="MODEL", short_option="m", daily=True),
    _row("temperature", "number", "Sampling temperature, 0 to 2", daily=_ONE_REQUEST),
    _row("top-p", "number", "Share of the probability mass to sample from, 0 to 1"),
    _row("n", "integer", "Number of answers, 1 to 128; each is billed", metavar="N", short_option="n"),
    _row(
        "max-completion-tokens",
        "integer",
        "Limit of the answer in tokens, reasoning included",
        daily=_ONE_REQUEST,
    ),
    _row("max-tokens", "integer", "Older name of --max-completion-tokens, the only one on many servers"),
    _row("stop", "one or more", "End the answer before this text; up to 4 of them", metavar="TEXT"),
    _row("seed", "integer", "Seed for repeatable sampling, as far as the server supports it"),
    _row("frequency-penalty", "number", "Penalty that grows with each repetition of a token, -2 to 2"),
    _row("presence-penalty", "number", "Penalty for any repetition of a token, -2 to 2"),
    _row("logit-bias", "numbers by key", "Bias for a token ID, -100 to 100", metavar="TOKEN=BIAS"),
    _row("logprobs", "boolean", "Return the log probability of each token, or not"),
    _row("top-logprobs", "integer", "Alternatives to return for each token, 0 to 20; needs --logprobs"),
    _row(
        "response-format",
        "type",
        "Form of the answer: text, json_object, or JSON",
        words="text json_object",
        metavar="TYPE",
        heading="Structured output",
    ),
    _row(
        "tool",
        "tool files",
        "JSON file with a tool, a function, or an array of them",
        path="tools",
        heading="Tools",
    ),
    _row(
        "tool-choice",
        "choice of tool",
        "Tool that the model calls: auto, none, required, a name, or JSON",
        words="auto none required",
        metavar="CHOICE",
        heading="Tools",
    ),
    _row("parallel-tool-calls", "boolean", "Allow several tool calls in one answer, or not", heading="Tools"),
    _row("stream", "boolean", "Request the answer as a stream, or whole"),
    _row(
        "include-usage",
        "boolean",
        "Request the token counts at the end of a stream, or not",
        path="stream_options.include_usage",
    ),
    _row(
        "include-obfuscation",
        "boolean",
        "Pad stream chunks against traffic analysis, or not",
        path="stream_options.include_obfuscation",
    ),
    _row(
        "service-tier",
        "text",
        "Service tier: auto, default, flex, scale, priority or fast",
        words="auto default flex scale priority fast",
        metavar="TIER",
    ),
    _row("store", "boolean", "Allow the provider to store the answer, or not"),
    _row("metadata", "texts by key", "Tag of the stored answer; up to 16 of them", metavar="KEY=VALUE"),
    _row("user-id", "text", "ID of the end user (deprecated by the API)", path="user", metavar="ID"),
    _row("safety-identifier", "text", "Hashed ID of the end user, up to 64 characters", metavar="ID"),
    _row("prompt-cache-key", "text", "Cache key that similar prompts share", metavar="KEY"),
    _row(
        "prompt-cache-mode",
        "text",
        "Breakpoints of the prompt cache: implicit or explicit",
        words="implicit explicit",
        path="prompt_cache_options.mode",
        metavar="MODE",
    ),
    _row(
        "prompt-cache-ttl",
        "text",
        "Minimum lifetime of a cached prompt, such as 30m",
        words="30m",
        path="prompt_cache_options.ttl",
        metavar="TTL",
    ),
    _row(
        "prompt-cache-retention",
        "text",
        "Prompt cache in_memory or for 24h (older than --prompt-cache-ttl)",
        words="in_memory 24h",
        metavar="POLICY",
    ),
    _row(
        "reasoning-effort",
        "text",
        "Reasoning effort: none, minimal, low, medium, high, xhigh or max",
        words=_EFFORTS,
        metavar="EFFORT",
        daily=_ONE_REQUEST,
    ),
    _row("verbosity", "text", "Length of the answer: low, medium or high", words=_LEVELS, metavar="LEVEL"),
    _row(
        "modality",
        "texts",
        "Kind of output: text or audio",
        words="text audio",
        path="modalities",
        metavar="KIND,...",
    ),
    _row(
        "audio-voice",
        "name or object",
        'Voice of a spoken answer: a name, or JSON such as {"id":"voice_1"}',
        words=_VOICES,
        path="audio.voice",
        metavar="VOICE",
    ),
    _row(
        "audio-format",
        "text",
        "Format of a spoken answer: wav, aac, mp3, flac, opus or pcm16",
        words="wav aac mp3 flac opus pcm16",
        path="audio.format",
        metavar="FORMAT",
    ),
    _row(
        "prediction-file",
        "text file",
        "File with text that most of the answer will repeat",
        path="prediction",
    ),
    _row(
        "moderation-model",
        "text",
        "Model that moderates the request and the answer",
        path="moderation.model",
        metavar="MODEL",
    ),
    _row(
        "moderation-input",
        "text",
        "Moderation of the request: score or block",
        words="score block",
        path="moderation.policy.input.mode",
        metavar="MODE",
    ),
    _row(
        "moderation-output",
        "text",
        "Moderation of the answer: score or block",
        words="score block",
        path="moderation.policy.output.mode",
        metavar="MODE",
    ),
    _row("web-search", "empty object", "Allow the model to search the web", path="web_search_options"),
    _row(
        "web-search-context-size",
        "text",
        "Amount of web content to read: low, medium or high",
        words=_LEVELS,
        path="web_search_options.search_context_size",
        metavar="SIZE",
    ),
    _row(
        "web-search-country",
        "text",
        "Country of the user for the web search, such as SE",
        path="web_search_options.user_location.approximate.country",
        metavar="CODE",
    ),
    _row(
        "web-search-region",
        "text",
        "Region of the user for the web search",
        path="web_search_options.user_location.approximate.region",
        metavar="REGION",
    ),
    _row(
        "web-search-city",
        "text",
        "City of the user for the web search",
        path="web_search_options.user_location.approximate.city",
        metavar="CITY",
    ),
    _row(
        "web-search-timezone",
        "text",
        "Time zone of the user, such as Europe/Stockholm",
        path="web_search_options.user_location.approximate.timezone",
        metavar="ZONE",
    ),
    _row(
        "function",
        "function files",
        "JSON file with a function, for servers without --tool",
        path="functions",
        heading="Tools",
    ),
    _row(
        "function-call",
        "choice of function",
        "The same as --tool-choice, for --function: auto, none or a name",
        words="auto none",
        metavar="CHOICE",
        heading="Tools",
    ),
)

# Path prefix -> (companion path, value): what the API requires with a value, if an option sets only a
# part of an object.
COMPANIONS: dict[tuple[str, ...], tuple[tuple[str, ...], str]] = {
    ("web_search_options", "user_location"): (("web_search_options", "user_location", "type"), "approximate")
}
