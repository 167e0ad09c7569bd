"""A completion -> what its reader should know although the answer counts as good. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from chatpipe.inputs.values import Value
from chatpipe.response import finish_reasons
from chatpipe.response.completion import choices
from chatpipe.system.escape import shorten

_WORD_CHARS = 80


def caveats(completion: Mapping[str, Value]) -> Iterator[str]:
    """The text of a warning for each oddity. Never raises."""
    for choice in choices(completion):
        if isinstance(choice, dict) and finish_reasons.meaning(choice.get("finish_reason")) is None:
            word = shorten(str(choice["finish_reason"]), _WORD_CHARS)
            yield f"unknown finish_reason '{word}': the answer is taken as complete"
