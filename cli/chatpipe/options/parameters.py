"""Every parameter of the API, the option that sets it, and its path in the body.

The table has one row per parameter. The options, their help, the manual's test and the hints of
`--unset` are made from it. Messages are not in it: they have options of their own (`request/build.py`).

Source: the provider's published description of 2026-08-21. The defaults are the server's, because
chatpipe sends nothing that was not asked for.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Any, Literal

from chatpipe.named_tuple import NamedTuple


class ParameterKind(Enum):
    """The conversion of an option's text to a JSON value."""

    TEXT = auto()
    INTEGER = auto()
    NUMBER = auto()
    BOOLEAN = auto()  # --x / --no-x
    EMPTY_OBJECT = auto()  # --x: an empty object, whose presence turns something on
    TEXTS = auto()  # repeatable
    ONE_OR_MORE = auto()  # repeatable; a single value is sent bare, not in an array
    NUMBERS_BY_KEY = auto()  # repeatable KEY=NUMBER
    TEXTS_BY_KEY = auto()  # repeatable KEY=TEXT
    TYPE = auto()  # an object with this type, replacing any other
    CHOICE_OF_TOOL = auto()  # a word, a name, or JSON
    CHOICE_OF_FUNCTION = auto()
    TOOL_FILES = auto()  # repeatable
    FUNCTION_FILES = auto()  # repeatable
    TEXT_FILE = auto()


# Options of these kinds name files; the content becomes the value.
FILE_KINDS = (ParameterKind.TOOL_FILES, ParameterKind.FUNCTION_FILES, ParameterKind.TEXT_FILE)


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


_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_LEVELS = ("low", "medium", "high")
_VOICES = (
    *("alloy", "ash", "ballad", "coral", "echo", "fable", "nova", "onyx", "sage", "shimmer", "verse"),
    *("marin", "cedar"),
)


_DAILY: dict[str, bool | tuple[str, ...]] = {
    "temperature": ("ask", "build"),
    "max-completion-tokens": ("ask", "build"),
    "reasoning-effort": ("ask", "build"),
}


def _field(
    option: str,
    kind: ParameterKind,
    text: str,
    *words: str,
    metavar: str | None = None,
    is_daily: bool = False,
) -> Parameter:
    """A parameter whose option is the name of its top-level field with dashes."""
    daily = _DAILY.get(option, False)
    return Parameter(option, (option.replace("-", "_"),), kind, text, words, metavar, daily=daily)


def _tool_field(
    option: str, field: str, kind: ParameterKind, text: str, *words: str, metavar: str
) -> Parameter:
    return Parameter(option, (field,), kind, text, words, metavar, heading="Tools")


TABLE: tuple[Parameter, ...] = (
    Parameter(
        "model",
        ("model",),
        ParameterKind.TEXT,
        "Model to ask, such as gpt-4o-mini",
        (),
        "MODEL",
        "m",
        daily=True,
    ),
    _field("temperature", ParameterKind.NUMBER, "Sampling temperature, 0 to 2"),
    _field("top-p", ParameterKind.NUMBER, "Share of the probability mass to sample from, 0 to 1"),
    Parameter(
        "n", ("n",), ParameterKind.INTEGER, "Number of answers, 1 to 128; each is billed", (), "N", "n"
    ),
    _field(
        "max-completion-tokens",
        ParameterKind.INTEGER,
        "Limit of the answer in tokens, reasoning included",
    ),
    _field(
        "max-tokens",
        ParameterKind.INTEGER,
        "Older name of --max-completion-tokens, the only one on many servers",
    ),
    _field(
        "stop", ParameterKind.ONE_OR_MORE, "End the answer before this text; up to 4 of them", metavar="TEXT"
    ),
    _field("seed", ParameterKind.INTEGER, "Seed for repeatable sampling, as far as the server supports it"),
    _field(
        "frequency-penalty",
        ParameterKind.NUMBER,
        "Penalty that grows with each repetition of a token, -2 to 2",
    ),
    _field("presence-penalty", ParameterKind.NUMBER, "Penalty for any repetition of a token, -2 to 2"),
    _field(
        "logit-bias", ParameterKind.NUMBERS_BY_KEY, "Bias for a token ID, -100 to 100", metavar="TOKEN=BIAS"
    ),
    _field("logprobs", ParameterKind.BOOLEAN, "Return the log probability of each token, or not"),
    _field(
        "top-logprobs",
        ParameterKind.INTEGER,
        "Alternatives to return for each token, 0 to 20; needs --logprobs",
    ),
    Parameter(
        "response-format",
        ("response_format",),
        ParameterKind.TYPE,
        "Form of the answer: text or json_object",
        ("text", "json_object"),
        "TYPE",
        heading="Structured output",
    ),
    _tool_field(
        "tool",
        "tools",
        ParameterKind.TOOL_FILES,
        "JSON file with a tool, a function, or an array of them",
        metavar="FILE",
    ),
    _tool_field(
        "tool-choice",
        "tool_choice",
        ParameterKind.CHOICE_OF_TOOL,
        "Tool that the model calls: auto, none, required, a name, or JSON",
        *("auto", "none", "required"),
        metavar="CHOICE",
    ),
    Parameter(
        "parallel-tool-calls",
        ("parallel_tool_calls",),
        ParameterKind.BOOLEAN,
        "Allow several tool calls in one answer, or not",
        heading="Tools",
    ),
    _field("stream", ParameterKind.BOOLEAN, "Request the answer as a stream, or whole"),
    Parameter(
        "include-usage",
        ("stream_options", "include_usage"),
        ParameterKind.BOOLEAN,
        "Request the token counts at the end of a stream, or not",
    ),
    Parameter(
        "include-obfuscation",
        ("stream_options", "include_obfuscation"),
        ParameterKind.BOOLEAN,
        "Pad stream chunks against traffic analysis, or not",
    ),
    _field(
        "service-tier",
        ParameterKind.TEXT,
        "Service tier: auto, default, flex, scale, priority or fast",
        *("auto", "default", "flex", "scale", "priority", "fast"),
        metavar="TIER",
    ),
    _field("store", ParameterKind.BOOLEAN, "Allow the provider to store the answer, or not"),
    _field(
        "metadata",
        ParameterKind.TEXTS_BY_KEY,
        "Tag of the stored answer; up to 16 of them",
        metavar="KEY=VALUE",
    ),
    Parameter(
        "user-id",
        ("user",),
        ParameterKind.TEXT,
        "ID of the end user (deprecated by the API)",
        (),
        "ID",
    ),
    _field(
        "safety-identifier",
        ParameterKind.TEXT,
        "Hashed ID of the end user, up to 64 characters",
        metavar="ID",
    ),
    _field("prompt-cache-key", ParameterKind.TEXT, "Cache key that similar prompts share", metavar="KEY"),
    Parameter(
        "prompt-cache-mode",
        ("prompt_cache_options", "mode"),
        ParameterKind.TEXT,
        "Breakpoints of the prompt cache: implicit or explicit",
        ("implicit", "explicit"),
        "MODE",
    ),
    Parameter(
        "prompt-cache-ttl",
        ("prompt_cache_options", "ttl"),
        ParameterKind.TEXT,
        "Minimum lifetime of a cached prompt, such as 30m",
        ("30m",),
        "TTL",
    ),
    _field(
        "prompt-cache-retention",
        ParameterKind.TEXT,
        "Prompt cache in_memory or for 24h (older than --prompt-cache-ttl)",
        *("in_memory", "24h"),
        metavar="POLICY",
    ),
    _field(
        "reasoning-effort",
        ParameterKind.TEXT,
        "Reasoning effort: none, minimal, low, medium, high, xhigh or max",
        *_EFFORTS,
        metavar="EFFORT",
    ),
    _field(
        "verbosity",
        ParameterKind.TEXT,
        "Length of the answer: low, medium or high",
        *_LEVELS,
        metavar="LEVEL",
    ),
    Parameter(
        "modality",
        ("modalities",),
        ParameterKind.TEXTS,
        "Kind of output: text or audio",
        ("text", "audio"),
        "KIND",
    ),
    Parameter(
        "audio-voice", ("audio", "voice"), ParameterKind.TEXT, "Voice of a spoken answer", _VOICES, "VOICE"
    ),
    Parameter(
        "audio-format",
        ("audio", "format"),
        ParameterKind.TEXT,
        "Format of a spoken answer: wav, aac, mp3, flac, opus or pcm16",
        ("wav", "aac", "mp3", "flac", "opus", "pcm16"),
        "FORMAT",
    ),
    Parameter(
        "prediction-file",
        ("prediction",),
        ParameterKind.TEXT_FILE,
        "File with text that most of the answer will repeat",
        (),
        "FILE",
    ),
    Parameter(
        "moderation-model",
        ("moderation", "model"),
        ParameterKind.TEXT,
        "Model that moderates the request and the answer",
        (),
        "MODEL",
    ),
    Parameter(
        "moderation-input",
        ("moderation", "policy", "input", "mode"),
        ParameterKind.TEXT,
        "Moderation of the request: score or block",
        ("score", "block"),
        "MODE",
    ),
    Parameter(
        "moderation-output",
        ("moderation", "policy", "output", "mode"),
        ParameterKind.TEXT,
        "Moderation of the answer: score or block",
        ("score", "block"),
        "MODE",
    ),
    Parameter(
        "web-search", ("web_search_options",), ParameterKind.EMPTY_OBJECT, "Allow the model to search the web"
    ),
    Parameter(
        "web-search-context-size",
        ("web_search_options", "search_context_size"),
        ParameterKind.TEXT,
        "Amount of web content to read: low, medium or high",
        _LEVELS,
        "SIZE",
    ),
    Parameter(
        "web-search-country",
        ("web_search_options", "user_location", "approximate", "country"),
        ParameterKind.TEXT,
        "Country of the user for the web search, such as SE",
        (),
        "CODE",
    ),
    Parameter(
        "web-search-region",
        ("web_search_options", "user_location", "approximate", "region"),
        ParameterKind.TEXT,
        "Region of the user for the web search",
        (),
        "REGION",
    ),
    Parameter(
        "web-search-city",
        ("web_search_options", "user_location", "approximate", "city"),
        ParameterKind.TEXT,
        "City of the user for the web search",
        (),
        "CITY",
    ),
    Parameter(
        "web-search-timezone",
        ("web_search_options", "user_location", "approximate", "timezone"),
        ParameterKind.TEXT,
        "Time zone of the user, such as Europe/Stockholm",
        (),
        "ZONE",
    ),
    _tool_field(
        "function",
        "functions",
        ParameterKind.FUNCTION_FILES,
        "JSON file with a function, for servers without --tool",
        metavar="FILE",
    ),
    _tool_field(
        "function-call",
        "function_call",
        ParameterKind.CHOICE_OF_FUNCTION,
        "The same as --tool-choice, for --function: auto, none or a name",
        *("auto", "none"),
        metavar="CHOICE",
    ),
)

# Path prefix -> (companion path, value): what the API requires beside a value, if an option sets only a
# part of an object.
COMPANIONS: dict[tuple[str, ...], tuple[tuple[str, ...], str]] = {
    ("web_search_options", "user_location"): (("web_search_options", "user_location", "type"), "approximate"),
}
