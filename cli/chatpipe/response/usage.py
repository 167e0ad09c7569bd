"""Usage of completions: token counts for budgets and reports, and sums of whole usage objects.

Servers disagree on where the usage stands and on the words in it. reported_usage() reads all of them;
nothing else looks for it. Every answer of a conversation is paid for, so the usage of a result is that of
its last answer plus that of the earlier ones.

Source: the SDKs and public captures of Groq (`x_groq.usage`), Moonshot (`choices[0].usage`,
`cached_tokens`), DeepSeek (`prompt_cache_hit_tokens`), Anthropic and OpenAI's Responses API
(`input_tokens`, `output_tokens`), Gemini (`usageMetadata`, `promptTokenCount`), as of 2026-11.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress

from chatpipe.inputs.values import Value, as_list, as_object
from chatpipe.line_record import LineRecord

_PROMPT_WORDS = ("prompt_tokens", "input_tokens")
_COMPLETION_WORDS = ("completion_tokens", "output_tokens")
_DETAILS = ("prompt_tokens_details", "input_tokens_details")
_CACHED_WORDS = (
    "cached_tokens",
    "prompt_cache_hit_tokens",
    "cache_read_input_tokens",
    "cachedContentTokenCount",
    "cachedTokens",
)
_CACHED_NAMES = frozenset(_CACHED_WORDS)
_OTHER_CACHED_NAMES = _CACHED_NAMES - {"cached_tokens"}
# Anthropic does not count these among `input_tokens`.
_APART_FROM_INPUT = ("cache_read_input_tokens", "cache_creation_input_tokens")
_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")
# No answer has as many tokens. Sums of what is below it, and prices of them, are exact enough as floats.
_NO_COUNT = 10**15
_LEVELS = 20  # the depth to which usage objects are added; those of all servers have two levels
# Names of the object, and of the counts in it, that other servers and libraries use. They are compared
# without case, "_" and "-".
_NAMES = frozenset(
    {"usage", "usageinfo", "usagemetadata", "usagestats", "usagestatistics", "tokenusage", "modelusage"}
)
_OTHER_WORDS = {
    word: usual
    for usual, words in {
        "prompt_tokens": "prompttokens prompttokencount promptevalcount",
        "input_tokens": "inputtokens inputtokencount",
        "completion_tokens": "completiontokens completiontokencount candidatestokencount evalcount",
        "output_tokens": "outputtokens outputtokencount generatedtokens generatedtokencount",
        "total_tokens": "totaltokens totaltokencount",
        # Gemini does not count these among the candidates.
        "thoughts_tokens": "thoughtstokencount",
    }.items()
    for word in words.split()
}


class Usage(LineRecord):
    """Token counts. A count that the server does not state is 0.

    total may be more than prompt and completion: some servers count reasoning apart.
    """

    prompt: int = 0
    cached: int = 0
    completion: int = 0
    total: int = 0

    def plus(self, other: Usage) -> Usage:
        return Usage(
            self.prompt + other.prompt,
            self.cached + other.cached,
            self.completion + other.completion,
            self.total + other.total,
        )

    @property
    def generated(self) -> int:
        """The tokens that are not the prompt's: they are paid for like the completion."""
        return max(self.completion, self.total - self.prompt)


Counts = tuple[int, int, int, int]  # those of a Usage, in its order: a run has them for each line


def reported_usage(completion: Mapping[str, Value] | None) -> Value:
    """The `usage` object of a completion or chunk, wherever it stands; None if the server sent none.

    Its three counts have the names and types of the API; all other members are as sent. Of several
    objects the one with the most tokens counts, and those of different choices are added. Never raises.
    """
    if not completion:
        return None
    usage = completion.get("usage")
    if type(usage) is dict and _plain_counts(usage) is not None:
        return usage
    found = list(_usages_in(completion))
    of_choices = _distinct(_usages_of_choices(completion))
    if of_choices:
        found.append(total_usage(of_choices[-1], of_choices[:-1]))
    return max(found, key=lambda each: _parse_usage(each).total, default=None)


def _plain_counts(usage: dict[str, Value]) -> Counts | None:
    """The counts of a usage object of the form that the API documents, as nearly all have; None for others.

    It is read twice a line of a run, so that the ways of other vendors must not cost these anything.
    """
    try:
        prompt, completion, total = usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]
    except KeyError:
        return None
    if not (type(prompt) is type(completion) is type(total) is int):
        return None
    if prompt < 0 or completion < 0 or not 0 < total < _NO_COUNT or total < prompt + completion:
        return None
    cached = 0 if len(usage) == len(_COUNTS) else _cached_count(usage)
    return prompt, min(prompt, cached), completion, total


def _usages_in(holder: Mapping[str, Value]) -> Iterator[dict[str, Value]]:
    """The usage objects of a completion, or of one of its choices: its own, and those of its fields.

    Only names differ between vendors: x_groq, message and delta are known, any other may follow. The counts
    of a list are added.
    """
    for each in (holder, *holder.values()):
        for name, usage in each.items() if isinstance(each, Mapping) else ():
            if "usage" not in name.lower() or _squeeze(name) not in _NAMES:
                continue
            parts = [
                part for part in (usage if isinstance(usage, list) else [usage]) if isinstance(part, dict)
            ]
            if parts := _distinct(parts):
                yield _with_counts(total_usage(parts[-1], parts[:-1]))


def _squeeze(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def _usages_of_choices(completion: Mapping[str, Value]) -> Iterator[dict[str, Value]]:
    for choice in as_list(completion.get("choices")):
        if isinstance(choice, dict) and (found := list(_usages_in(choice))):
            yield max(found, key=lambda each: _parse_usage(each).total)


def _distinct(usages: Iterable[dict[str, Value]]) -> list[dict[str, Value]]:
    """The objects without repetitions: a server may repeat that of the whole answer in each choice."""
    found: list[dict[str, Value]] = []
    for usage in usages:
        if usage not in found:
            found.append(usage)
    return found


def _with_counts(usage: dict[str, Value]) -> dict[str, Value]:
    """A usage object with those of the three counts that it states in any words."""
    counts = _parse_usage(usage)
    values = zip(_COUNTS, (counts.prompt, counts.completion, counts.total), strict=True)
    # 0 is written only if the server wrote it: a number that cannot be a count says nothing.
    return {**{name: count for name, count in values if count or _states_zero(usage, name)}, **_rest(usage)}


def _states_zero(usage: Mapping[str, Value], name: str) -> bool:
    words = {"prompt_tokens": _PROMPT_WORDS, "completion_tokens": _COMPLETION_WORDS}.get(name, (name,))
    return any(
        _OTHER_WORDS.get(_squeeze(word)) in words and _number(value) == 0 for word, value in usage.items()
    )


def _rest(usage: Mapping[str, Value]) -> dict[str, Value]:
    return {key: value for key, value in usage.items() if key not in _COUNTS}


def counts_object(usage: Usage) -> dict[str, Value]:
    """Counts as the `usage` object of the API."""
    return dict(zip(_COUNTS, (usage.prompt, usage.generated, usage.total), strict=True))


def usage_of(completion: Mapping[str, Value] | None) -> Usage:
    """The counts in a completion. Never raises: a value that is not a count becomes 0."""
    return Usage(*counts_of(completion))


def counts_of(completion: Mapping[str, Value] | None) -> Counts:
    """Like usage_of, at half the cost."""
    usage = completion.get("usage") if completion else None
    counts = _plain_counts(usage) if type(usage) is dict else None
    return tuple(_parse_usage(reported_usage(completion))) if counts is None else counts


def _parse_usage(usage: Value) -> Usage:
    """The counts in a `usage` object. Never raises: a value that is not a count becomes 0."""
    if not isinstance(usage, dict):
        return Usage()
    counts = _parse_usual(usage)
    return counts if counts.prompt and counts.completion else _parse_usual(_with_usual_words(usage))


def _with_usual_words(usage: dict[str, Value]) -> dict[str, Value]:
    """A usage object with the counts that it states in other words alone, in those of the API, too."""
    usual = dict(usage)
    for word, value in usage.items():
        name = _OTHER_WORDS.get(_squeeze(word), word)
        if name != word and not _count(usual.get(name)):
            usual[name] = value
    if thoughts := _count(usual.pop("thoughts_tokens", None)):
        usual["completion_tokens"] = _count(usual.get("completion_tokens")) + thoughts
    return usual


def _parse_usual(usage: dict[str, Value]) -> Usage:
    prompt = _first_count(usage, _PROMPT_WORDS)
    if not _count(usage.get("prompt_tokens")):
        prompt += sum(_count(usage.get(name)) for name in _APART_FROM_INPUT)
    completion = _first_count(usage, _COMPLETION_WORDS)
    cached = _cached_count(usage)
    # A total below the sum of its parts would let a budget overrun.
    total = max(_count(usage.get("total_tokens")), prompt + completion)
    return Usage(prompt, min(cached, prompt), completion, total)


def merge_usage(known: Value, later: Value, levels: int = _LEVELS) -> Value:
    """The `usage` value of a stream that sends several: counts grow, so each that is not 0 replaces the last.

    Some servers report the prompt first and the completion at the end, with null or 0 for the other. known
    is a value that this function returned, or None. It is changed, because a copy of an object that grows
    with each chunk is quadratic; later is not.
    """
    if not isinstance(later, dict):
        return later if later or (later is not None and not isinstance(known, dict)) else known
    if not levels:
        return later
    merged = as_object(known)
    for key, value in later.items():
        if isinstance(value, dict):
            merged[key] = merge_usage(merged.get(key), value, levels - 1)
        elif value or merged.get(key) is None:
            merged[key] = value
    return merged


def spent_usage(completion: Mapping[str, Value] | None, earlier: Iterable[Value]) -> Usage:
    """The counts of all turns. earlier holds the `usage` values of the turns before the completion."""
    total = usage_of(completion)
    for usage in earlier:
        total = total.plus(_parse_usage(usage))
    return total


def total_usage(last: Value, earlier: Sequence[Value]) -> Value:
    """The `usage` value of all turns: the sum of all counts, nested ones included.

    Any value that is not a count comes from the last turn that has it.
    """
    total = last
    for usage in reversed(earlier):
        total = _sum(usage, total, _LEVELS)
    return total


def _sum(one: Value, other: Value, levels: int) -> Value:
    if levels and isinstance(one, dict) and isinstance(other, dict):
        total = {key: _sum(one.get(key), value, levels - 1) for key, value in other.items()}
        return {**total, **{key: value for key, value in one.items() if key not in total}}
    if _is_number(one) and _is_number(other):
        with suppress(OverflowError):  # an integer that no float holds, and a float
            return one + other
    return one if other is None else other


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cached_count(usage: Mapping[str, Value]) -> int:
    """The cached tokens that the details state, else those that the usage object itself states."""
    details = usage.get("prompt_tokens_details")
    if type(details) is dict and _OTHER_CACHED_NAMES.isdisjoint(details) and _CACHED_NAMES.isdisjoint(usage):
        return _count(details.get("cached_tokens"))  # nearly always
    for name in _DETAILS:
        details = usage.get(name)
        if type(details) is dict:
            return _first_count(details, _CACHED_WORDS) or _first_count(usage, _CACHED_WORDS)
    return _first_count(usage, _CACHED_WORDS)


def _first_count(usage: Mapping[str, Value], words: Sequence[str]) -> int:
    """The first of these counts that is not 0."""
    if not any(map(usage.get, words)):
        return 0  # nearly always
    for word in words:
        if word in usage and (count := _count(usage[word])):
            return count
    return 0


def _count(value: Value) -> int:
    """A count as the server wrote it: 5, 5.0 or "5". Part of a token counts as a whole one."""
    if type(value) is int:  # nearly always, and several times a line of a run
        return value if 0 < value < _NO_COUNT else 0
    if value is None:
        return 0
    number = _number(value)
    return math.ceil(number) if number is not None and 0 < number < _NO_COUNT else 0


def _number(value: Value) -> float | None:
    """A finite number, also as text; None for anything else."""
    if isinstance(value, str):
        try:
            value = int(value) if value.strip().isdecimal() else float(value)
        except ValueError:
            return None
    return value if _is_number(value) and (isinstance(value, int) or math.isfinite(value)) else None
