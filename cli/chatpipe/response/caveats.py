"""A completion -> what its reader should know although the answer counts as good. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from chatpipe.inputs.parts import parts_of, split_parts
from chatpipe.inputs.values import Value, json_type
from chatpipe.response import finish_reasons
from chatpipe.response.completion import choices, is_refusal
from chatpipe.system.escape import shorten

_WORD_CHARS = 80
_ONLY_FIRST = "an answer has several choices, and the output has only the first"


def caveats(completion: Mapping[str, Value], *, only_text: bool, only_first: bool = False) -> Iterator[str]:
    """The text of a warning for each oddity. Never raises.

    only_text: the output has the text of the answer and nothing else. only_first: it has one choice alone.
    """
    answers = choices(completion)
    if only_first and len(answers) > 1:
        yield _ONLY_FIRST
    for choice in answers:
        if not isinstance(choice, dict):
            continue
        if finish_reasons.meaning(choice.get("finish_reason")) is None:
            word = shorten(str(choice["finish_reason"]), _WORD_CHARS)
            yield f"unknown finish_reason '{word}': the answer is taken as complete"
        if only_text and isinstance(message := choice.get("message"), dict):
            yield from _left_out(message)


def _left_out(message: Mapping[str, Value]) -> Iterator[str]:
    """A warning for each kind of content that has no place in a text."""
    if parts := parts_of(message.get("content")):
        for part in split_parts(parts).others:
            if not is_refusal(part):
                yield f"a part of the answer is left out, because it is not text ({_kind(part)})"
    if message.get("images"):
        yield "images of the answer are left out, because they are not text"


def _kind(part: Value) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    return f"type '{shorten(kind, _WORD_CHARS)}'" if isinstance(kind, str) else json_type(part)
