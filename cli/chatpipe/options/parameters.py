"""Every parameter of the API, the option that sets it, and its path in the body.

The table has one row per parameter. The options, their help, the manual's test and the hints of
`--unset` are made from it. Messages are not in it: they have options of their own (`request/build.py`).

Source: the provider's published description of 2026-08-21. The defaults are the server's, because
chatpipe sends nothing that was not asked for.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Any

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
    words are the values that completion offers.
    """

    option: str
    path: tuple[str, ...]
    kind: ParameterKind
    help: str
    words: tuple[str, ...] = ()
    metavar: str | None = None
    short_option: str | None = None

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


def _field(option: str, kind: ParameterKind, text: str, *words: str, metavar: str | None = None) -> Parameter:
    """A parameter whose option is the name of its top-level field with dashes."""
    return Parameter(option, (option.replace("-", "_"),), kind, text, words, metavar)


TABLE: tuple[Parameter, ...] = (
    Parameter("model", ("model",), ParameterKind.TEXT, "Model to ask, e.g. gpt-4o-mini", (), "MODEL", "m"),
    _field("temperature", ParameterKind.NUMBER, "Sampling temperature, 0 to 2"),
    _field("top-p", ParameterKind.NUMBER, "Nucleus sampling: share of the probability mass, 0 to 1"),
    Parameter(
        "n", ("n",), ParameterKind.INTEGER, "Number of choices, 1 to 128; each is billed", (), "N", "n"
    ),
    _field(
        "max-completion-tokens", ParameterKind.INTEGER, "Limit of the answer in tokens, reasoning included"
    ),
    _field("max-tokens", ParameterKind.INTEGER, "The older limit, which many servers know alone"),
    _field("stop", ParameterKind.ONE_OR_MORE, "End the answer before this text; up to 4", metavar="TEXT"),
    _field("seed", ParameterKind.INTEGER, "Ask for the same sample each time, as far as the server can"),
    _field("frequency-penalty", ParameterKind.NUMBER, "Against repeating a token by its count, -2 to 2"),
    _field("presence-penalty", ParameterKind.NUMBER, "Against repeating a token at all, -2 to 2"),
    _field(
        "logit-bias", ParameterKind.NUMBERS_BY_KEY, "Bias of a token id, -100 to 100", metavar="TOKEN=BIAS"
    ),
    _field("logprobs", ParameterKind.BOOLEAN, "Return the log probability of each token"),
    _field(
        "top-logprobs",
        ParameterKind.INTEGER,
        "Return that many alternatives a token, 0 to 20; needs --logprobs",
    ),
    Parameter(
        "response-format",
        ("response_format",),
        ParameterKind.TYPE,
        "Form of the answer: text or json_object",
        ("text", "json_object"),
        "TYPE",
    ),
    Parameter(
        "tool", ("tools",), ParameterKind.TOOL_FILES, "Tool, function or array of them, as JSON", (), "FILE"
    ),
    Parameter(
        "tool-choice",
        ("tool_choice",),
        ParameterKind.CHOICE_OF_TOOL,
        "Tool to call: auto, none, required, a name, or JSON",
        ("auto", "none", "required"),
        "CHOICE",
    ),
    _field("parallel-tool-calls", ParameterKind.BOOLEAN, "Allow several tool calls in one answer"),
    _field("stream", ParameterKind.BOOLEAN, "Ask for the answer piece by piece, or whole"),
    Parameter(
        "include-usage",
        ("stream_options", "include_usage"),
        ParameterKind.BOOLEAN,
        "Ask for usage at the end of a stream",
    ),
    Parameter(
        "include-obfuscation",
        ("stream_options", "include_obfuscation"),
        ParameterKind.BOOLEAN,
        "Padding in stream chunks against traffic analysis",
    ),
    _field(
        "service-tier",
        ParameterKind.TEXT,
        "Tier to be served in: auto, default, flex, scale, priority or fast",
        *("auto", "default", "flex", "scale", "priority", "fast"),
        metavar="TIER",
    ),
    _field("store", ParameterKind.BOOLEAN, "Let the provider keep the completion"),
    _field(
        "metadata", ParameterKind.TEXTS_BY_KEY, "Tag of the stored completion; up to 16", metavar="KEY=VALUE"
    ),
    Parameter(
        "user-id",
        ("user",),
        ParameterKind.TEXT,
        "The API's 'user' (deprecated there for the next two)",
        (),
        "ID",
    ),
    _field(
        "safety-identifier",
        ParameterKind.TEXT,
        "Hashed id of the end user, up to 64 characters",
        metavar="ID",
    ),
    _field("prompt-cache-key", ParameterKind.TEXT, "Key under which like prompts are cached", metavar="KEY"),
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
        "Least life of a cached prompt",
        ("30m",),
        "TTL",
    ),
    _field(
        "prompt-cache-retention",
        ParameterKind.TEXT,
        "Cache in_memory or for 24h (deprecated for --prompt-cache-ttl)",
        *("in_memory", "24h"),
        metavar="POLICY",
    ),
    _field(
        "reasoning-effort",
        ParameterKind.TEXT,
        "Effort to reason with: none, minimal, low, medium, high, xhigh or max",
        *_EFFORTS,
        metavar="EFFORT",
    ),
    _field(
        "verbosity", ParameterKind.TEXT, "How much to say: low, medium or high", *_LEVELS, metavar="LEVEL"
    ),
    Parameter(
        "modality",
        ("modalities",),
        ParameterKind.TEXTS,
        "Kind of output: text, audio",
        ("text", "audio"),
        "KIND",
    ),
    Parameter("audio-voice", ("audio", "voice"), ParameterKind.TEXT, "Voice of an audio answer", (), "VOICE"),
    Parameter(
        "audio-format",
        ("audio", "format"),
        ParameterKind.TEXT,
        "Format of an audio answer: wav, aac, mp3, flac, opus or pcm16",
        ("wav", "aac", "mp3", "flac", "opus", "pcm16"),
        "FORMAT",
    ),
    Parameter(
        "prediction-file",
        ("prediction",),
        ParameterKind.TEXT_FILE,
        "Text that much of the answer will repeat",
        (),
        "FILE",
    ),
    Parameter(
        "moderation-model",
        ("moderation", "model"),
        ParameterKind.TEXT,
        "Moderate with this model",
        (),
        "MODEL",
    ),
    Parameter(
        "moderation-input",
        ("moderation", "policy", "input", "mode"),
        ParameterKind.TEXT,
        "Moderation of what is sent: score or block",
        ("score", "block"),
        "MODE",
    ),
    Parameter(
        "moderation-output",
        ("moderation", "policy", "output", "mode"),
        ParameterKind.TEXT,
        "Moderation of what is answered: score or block",
        ("score", "block"),
        "MODE",
    ),
    Parameter(
        "web-search", ("web_search_options",), ParameterKind.EMPTY_OBJECT, "Let the model search the web"
    ),
    Parameter(
        "web-search-context-size",
        ("web_search_options", "search_context_size"),
        ParameterKind.TEXT,
        "How much of the web is read: low, medium or high",
        _LEVELS,
        "SIZE",
    ),
    Parameter(
        "web-search-country",
        ("web_search_options", "user_location", "approximate", "country"),
        ParameterKind.TEXT,
        "Where to search from: two letters, e.g. SE",
        (),
        "CODE",
    ),
    Parameter(
        "web-search-region",
        ("web_search_options", "user_location", "approximate", "region"),
        ParameterKind.TEXT,
        "Where to search from: region",
        (),
        "REGION",
    ),
    Parameter(
        "web-search-city",
        ("web_search_options", "user_location", "approximate", "city"),
        ParameterKind.TEXT,
        "Where to search from: city",
        (),
        "CITY",
    ),
    Parameter(
        "web-search-timezone",
        ("web_search_options", "user_location", "approximate", "timezone"),
        ParameterKind.TEXT,
        "Where to search from: time zone, e.g. Europe/Stockholm",
        (),
        "ZONE",
    ),
    Parameter("function", ("functions",), ParameterKind.FUNCTION_FILES, "The API's older --tool", (), "FILE"),
    Parameter(
        "function-call",
        ("function_call",),
        ParameterKind.CHOICE_OF_FUNCTION,
        "The API's older --tool-choice: auto, none or a name",
        ("auto", "none"),
        "CHOICE",
    ),
)

# Path prefix -> (companion path, value): what the API requires beside a value, if an option sets only a
# part of an object.
COMPANIONS: dict[tuple[str, ...], tuple[tuple[str, ...], str]] = {
    ("web_search_options", "user_location"): (("web_search_options", "user_location", "type"), "approximate"),
}
