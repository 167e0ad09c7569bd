"""A list of models, in the form of any server -> its models, with the facts that each states.

    {"data": [...]}        OpenAI, and nearly all
    [...]                  Together, GitHub
    {"models": [...]}      Gemini, Cohere; llama.cpp and Ollama beside `data`
    {"endpoints": [...]}   Databricks

Never raises: a part of any other form is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

from chatpipe.inputs.values import Value, dumps
from chatpipe.named_tuple import NamedTuple
from chatpipe.response.result_line import parse_timestamp, timestamp

COLUMNS = ("id", "owner", "created", "context_length", "input_price", "output_price")

_LISTS = ("data", "models", "endpoints")
_NAMES = ("id", "name")
_OWNERS = ("owned_by", "organization", "publisher", "creator", "owner")
_TIMES = ("created", "created_at", "creation_timestamp", "createdAt")
# Each is a path of members. The first that is there counts.
_CONTEXTS = (
    ("context_length",),
    ("max_model_len",),  # vLLM, SGLang
    ("context_window",),  # Groq
    ("max_context_length",),  # Mistral, LM Studio
    ("context_size",),
    ("inputTokenLimit",),  # Gemini's own form
    ("max_input_tokens",),
    ("top_provider", "context_length"),
    ("limits", "max_input_tokens"),  # GitHub
    ("meta", "n_ctx_train"),  # llama.cpp
    ("metadata", "context_length"),  # DeepInfra
    ("model_info", "max_input_tokens"),  # litellm
    ("model_spec", "availableContextTokens"),  # Venice
)
_INPUT_PRICES = (("pricing", "prompt"), ("pricing", "input"), ("metadata", "pricing", "input_tokens"))
_OUTPUT_PRICES = (("pricing", "completion"), ("pricing", "output"), ("metadata", "pricing", "output_tokens"))
_MILLION = 1_000_000
# A price below this one is that of a token, as OpenRouter has it; others name that of a million tokens.
# The dearest token in a list of 2026 costs 0.0006, and the cheapest million more than a cent.
_PRICE_OF_A_TOKEN = 0.002
_MILLISECONDS_FROM = 1e11  # as seconds, the year 5138


class Page(NamedTuple):
    """One reply. models are its objects, each with a name. unnamed counts the entries that have none.

    The next page begins after the id `after`, which is None on the last page.
    """

    models: tuple[dict[str, Value], ...]
    unnamed: int = 0
    after: str | None = None


def model_page(value: Value) -> Page | None:
    """The page of a reply, None if the value is not a list of models."""
    entries = _entries(value)
    if entries is None:
        return None
    models = [model for model in map(_model, entries) if model is not None]
    return Page(tuple(models), len(entries) - len(models), _after(value, models))


def sole_model(value: Value) -> dict[str, Value] | None:
    """The model of a reply about one model, which an envelope `data` may hold. None if it is none."""
    if isinstance(value, dict) and isinstance(value.get("data"), dict):
        value = value["data"]
    return _model(value) if isinstance(value, dict) and _entries(value) is None else None


def name_of(model: Mapping[str, Value]) -> str:
    """The name to ask for: `id`, else `name`."""
    return next(_texts(model, _NAMES))


def distinct(models: Iterable[dict[str, Value]]) -> list[dict[str, Value]]:
    """The models, each object once."""
    return list({dumps(model): model for model in models}.values())


def cells(model: Mapping[str, Value]) -> list[str]:
    """The values of COLUMNS, each empty if the server does not say it.

    Times are in the form of RFC 3339, prices those of a million tokens in the currency of the server.
    """
    context = next((each for each in _numbers(model, _CONTEXTS) if each > 0), None)
    return [
        name_of(model),
        next(_texts(model, _OWNERS), ""),
        _created(model),
        "" if context is None else f"{context:.0f}",
        _price(model, _INPUT_PRICES),
        _price(model, _OUTPUT_PRICES),
    ]


def _entries(value: Value) -> list[Value] | None:
    """The entries of a list, None if the value is none. A list that is null is empty: Go writes it so."""
    if isinstance(value, list):
        return value
    if not isinstance(value, dict):
        return None
    found = [value[name] for name in _LISTS if isinstance(value.get(name, 0), list | None)]
    if "id" in value or not found:
        return None
    return next((each for each in found if each), [])


def _model(entry: Value) -> dict[str, Value] | None:
    if isinstance(entry, str) and entry:
        return {"id": entry}
    if isinstance(entry, dict) and next(_texts(entry, _NAMES), None):
        return entry
    return None


def _after(value: Value, models: list[dict[str, Value]]) -> str | None:
    """The id of the last model of a page that is not the last. Source: Anthropic's list of models."""
    if not isinstance(value, dict) or value.get("has_more") is not True:
        return None
    return next(_texts(value, ("last_id",)), name_of(models[-1]) if models else None)


def _texts(value: Mapping[str, Value], names: Iterable[str]) -> Iterator[str]:
    found = (value.get(name) for name in names)
    return (each for each in found if isinstance(each, str) and each)


def _numbers(value: Value, paths: Iterable[tuple[str, ...]]) -> Iterator[float]:
    for path in paths:
        found = value
        for name in path:
            found = found.get(name) if isinstance(found, dict) else None
        if (number := _number(found)) is not None:
            yield number


def _number(value: Value) -> float | None:
    """A finite number, which may be in a text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _created(model: Mapping[str, Value]) -> str:
    """The time of creation. 0 is none: servers that do not know it send that."""
    for name in _TIMES:
        value = model.get(name)
        seconds = _number(value)
        if seconds is None and isinstance(value, str):
            seconds = parse_timestamp(value)
        if seconds is not None and seconds >= _MILLISECONDS_FROM:
            seconds /= 1000
        if seconds is not None and 0 < seconds < _MILLISECONDS_FROM:
            return timestamp(seconds)
    return ""


def _price(model: Mapping[str, Value], paths: Iterable[tuple[str, ...]]) -> str:
    """The price of a million tokens. A negative one is none: OpenRouter has it for models that vary."""
    price = next(_numbers(model, paths), None)
    if price is None or price < 0:
        return ""
    return f"{price * _MILLION if price < _PRICE_OF_A_TOKEN else price:.10g}"
