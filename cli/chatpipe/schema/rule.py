"""A rule about request bodies, its breaches, and the parts of a body that rules read.

A top-level key of the body triggers a rule, or a trait of its messages; some rules always apply. A rule
yields its breaches. It checks the type of every value that it reads, because it also gets bodies that the
schema rejects. Sources: the API description of 2026-08-21, and the code or documentation of the named
servers, as of 2026.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

from chatpipe.inputs.values import as_list
from chatpipe.line_record import LineRecord
from chatpipe.named_tuple import NamedTuple

Object = dict[str, Any]
# The hint of a warning about what OpenAI refuses.
OTHER_SERVER = "ignore this if your server accepts it"


class Breach(NamedTuple):
    """A breach of a rule. pointer is a JSON Pointer into the body. A hint replaces the hint of the rule."""

    pointer: str
    message: str
    hint: str = ""


class Rule(LineRecord):
    """A rule about request bodies. Those of most requests make no generators, which cost a microsecond.

    triggers holds the top-level keys of which one triggers the rule, and for a rule about messages the
    traits that message_traits() finds. Without any it always applies.
    Breaches of severity "strict" are reported only under --strict, and then as errors.
    """

    name: str
    severity: Literal["error", "warning", "strict"]
    triggers: tuple[str, ...]
    check: Callable[[Object], Iterable[Breach]]
    hint: str


def word_set(text: str) -> frozenset[str]:
    return frozenset(text.split())


def objects(value: object) -> list[tuple[int, Object]]:
    """The objects in an array with their indexes; none if value is not an array."""
    return [(index, item) for index, item in enumerate(as_list(value)) if isinstance(item, dict)]


def parts(body: Object) -> Iterator[tuple[str, object, Object]]:
    """(pointer, role of the message, part) for every content part."""
    for index, message in objects(body.get("messages")):
        for part_index, part in objects(message.get("content")):
            yield f"/messages/{index}/content/{part_index}", message.get("role"), part


def message_traits(messages: object) -> frozenset[str]:
    """The keys and the roles of messages, and the types of their parts."""
    found: set[str] = set()
    for message in as_list(messages):
        if not isinstance(message, dict):
            continue
        found.update(message)
        content = message.get("content")
        for each in (message, *content) if isinstance(content, list) else (message,):
            if isinstance(each, dict):
                word = each.get("role" if each is message else "type")
                if isinstance(word, str):
                    found.add(word)
    return frozenset(found)


def string_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None
