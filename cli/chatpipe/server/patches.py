"""Patches: changes of a request for a provider that has another name for a field, or refuses it.

A patch is applied after the check and before sending, so fingerprints and records do not know it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from chatpipe.named_tuple import NamedTuple

Value = Any  # any JSON value
Body = Mapping[str, Value]


class Patch(NamedTuple):
    """Changes of a body, for the models that the pattern model matches: None means all.

    They apply in the order of the fields. rename gives a field another name, roles those of messages.
    replace has other values by field and value. set gives fields a value, whatever the body says. drop
    removes fields. logprobs_as_count sends the number of alternatives as logprobs.
    """

    model: str | None = None
    rename: Mapping[str, str] = {}
    roles: Mapping[str, str] = {}
    replace: Mapping[str, Mapping[str, Value]] = {}
    logprobs_as_count: bool = False
    set: Mapping[str, Value] = {}
    drop: tuple[str, ...] = ()


class Patched(NamedTuple):
    """A body as it is sent, and the changes as phrases: `max_completion_tokens -> max_tokens`."""

    body: Body
    changes: tuple[str, ...] = ()


def patched(body: Body, patches: Iterable[Patch]) -> Patched:
    """Apply the patches whose pattern is found in the model of the body. The body itself stays as it is."""
    model = body.get("model")
    name = model if isinstance(model, str) else ""
    changes: list[str] = []
    new = dict(body)
    for patch in patches:
        if patch.model is None or re.search(patch.model, name):
            for step in _STEPS:
                step(new, patch, changes)
    return Patched(new, tuple(changes)) if changes else Patched(body)


def _rename(body: dict[str, Value], patch: Patch, changes: list[str]) -> None:
    """Rename fields, but never over a field that is there: the server has to say which one it wants."""
    for old, new in patch.rename.items():
        if old in body and new not in body:
            items = [(new if name == old else name, value) for name, value in body.items()]
            body.clear()
            body.update(items)
            changes.append(f"{old} -> {new}")


def _rename_roles(body: dict[str, Value], patch: Patch, changes: list[str]) -> None:
    messages = body.get("messages")
    if not patch.roles or not isinstance(messages, list):
        return
    found = {each.get("role"): None for each in messages if isinstance(each, dict)}
    for old, new in patch.roles.items():
        if old in found:
            body["messages"] = messages = [
                {**each, "role": new} if isinstance(each, dict) and each.get("role") == old else each
                for each in messages
            ]
            changes.append(f"role {old} -> {new}")


def _replace(body: dict[str, Value], patch: Patch, changes: list[str]) -> None:
    for field, table in patch.replace.items():
        value = body.get(field)
        if isinstance(value, str) and value in table:
            body[field] = table[value]
            changes.append(f"{field} {value} -> {table[value]}")


def _count_logprobs(body: dict[str, Value], patch: Patch, changes: list[str]) -> None:
    if patch.logprobs_as_count and body.get("logprobs") is True:
        body["logprobs"] = body.pop("top_logprobs", None) or 1
        changes.append(f"logprobs true -> {body['logprobs']}")


def _set(body: dict[str, Value], patch: Patch, changes: list[str]) -> None:
    for field, value in patch.set.items():
        if field not in body or body[field] != value:
            body[field] = value
            changes.append(f"{field} set")


def _drop(body: dict[str, Value], patch: Patch, changes: list[str]) -> None:
    for field in patch.drop:
        if field in body:
            del body[field]
            changes.append(f"{field} left out")


_STEPS: tuple[Callable[[dict[str, Value], Patch, list[str]], None], ...] = (
    _rename,
    _rename_roles,
    _replace,
    _count_logprobs,
    _set,
    _drop,
)
