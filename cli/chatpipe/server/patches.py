"""Patches: changes of a request for a provider that has another name for a field, or refuses it.

A patch is applied after the check and before sending, so fingerprints and records do not know it.
A field is a name, or a path of names such as `stream_options.include_usage`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from chatpipe.named_tuple import NamedTuple

Value = Any  # any JSON value
Body = Mapping[str, Value]


class Patch(NamedTuple):
    """Changes of a body, for the models in whose names the pattern model is found: None means all.

    having are fields that the body must have, none of them null. The changes apply in the order of the
    rest. rename gives a field another name, roles those of messages. replace has other values by field
    and value. logprobs_as_count sends the number of alternatives as logprobs. set gives fields a value,
    whatever the body says. drop removes fields.
    """

    model: str | None = None
    having: tuple[str, ...] = ()
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


def patched(body: Body, patches: Sequence[Patch]) -> Patched:
    """Apply the patches whose pattern is found in the model of the body. The body itself stays as it is."""
    model = body.get("model")
    found = _found(tuple([each.model for each in patches]), model if isinstance(model, str) else "")
    changes: list[str] = []
    new = dict(body)
    for index in found:
        if all(_value(new, field) is not None for field in patches[index].having):
            for step in _STEPS:
                step(new, patches[index], changes)
    return Patched(new, tuple(changes)) if changes else Patched(body)


def patch_body(body: Body, patches: Sequence[Patch], report: Callable[[str], None] | None) -> Body:
    """The body as it is sent. report gets a line with the changes: `patched: seed -> random_seed`."""
    new, changes = patched(body, patches)
    if changes and report is not None:
        report(f"patched: {', '.join(changes)}")
    return new


@lru_cache(maxsize=256)  # a run has few models
def _found(patterns: tuple[str | None, ...], model: str) -> tuple[int, ...]:
    """The indexes of the patterns that are found in the name of a model."""
    return tuple(
        index
        for index, pattern in enumerate(patterns)
        if pattern is None or re.search(pattern, model) is not None
    )


def _rename(body: dict[str, Value], patch: Patch, changes: list[str]) -> None:
    """Rename fields. Of two that are equal one is left; two that differ stay, and the server has its say."""
    for old, new in patch.rename.items():
        holder, name = _holder(body, old)
        if holder is None or name not in holder:
            continue
        there = _value(body, new)
        if there is None and old.rpartition(".")[0] == new.rpartition(".")[0]:
            _rename_in_place(holder, name, new.rpartition(".")[2])
        elif there is None:
            _put(body, new, holder[name])
            _remove(body, old)
        elif holder[name] is None or holder[name] == there:
            _remove(body, old)
        else:
            continue
        changes.append(f"{old} -> {new}")


def _rename_in_place(holder: dict[str, Value], old: str, new: str) -> None:
    holder.pop(new, None)  # a null
    items = [(new if name == old else name, value) for name, value in holder.items()]
    holder.clear()
    holder.update(items)


def _rename_roles(body: dict[str, Value], patch: Patch, changes: list[str]) -> None:
    messages = body.get("messages")
    if not patch.roles or not isinstance(messages, list):
        return
    found: dict[str, None] = {}

    def renamed(message: Value) -> Value:
        role = message.get("role") if isinstance(message, dict) else None
        if not isinstance(role, str) or role not in patch.roles:
            return message
        found[role] = None
        return {**message, "role": patch.roles[role]}

    new = [renamed(each) for each in messages]
    if found:
        body["messages"] = new
        changes += [f"role {role} -> {patch.roles[role]}" for role in found]


def _replace(body: dict[str, Value], patch: Patch, changes: list[str]) -> None:
    for field, table in patch.replace.items():
        value = _value(body, field)
        if isinstance(value, str) and value in table:
            _put(body, field, table[value])
            changes.append(f"{field} {value} -> {table[value]}")


def _count_logprobs(body: dict[str, Value], patch: Patch, changes: list[str]) -> None:
    wanted = body.get("logprobs")
    if not patch.logprobs_as_count or not isinstance(wanted, bool):
        return
    if wanted:
        body["logprobs"] = body.pop("top_logprobs", None) or 1
        changes.append(f"logprobs true -> {body['logprobs']}")
    else:
        del body["logprobs"]
        changes.append("logprobs false left out")


def _set(body: dict[str, Value], patch: Patch, changes: list[str]) -> None:
    for field, value in patch.set.items():
        holder, name = _holder(body, field)
        if holder is None or name not in holder or not _is_same(holder[name], value):
            _put(body, field, value)
            changes.append(f"{field} set")


def _drop(body: dict[str, Value], patch: Patch, changes: list[str]) -> None:
    changes += [f"{field} left out" for field in patch.drop if _remove(body, field)]


_STEPS: tuple[Callable[[dict[str, Value], Patch, list[str]], None], ...] = (
    _rename,
    _rename_roles,
    _replace,
    _count_logprobs,
    _set,
    _drop,
)


def _holder(body: dict[str, Value], path: str) -> tuple[dict[str, Value] | None, str]:
    """The object that holds the last name of a path, None if there is none, and that name.

    An object below the body becomes a copy, which may be changed.
    """
    *parents, name = path.split(".")
    holder = body
    for parent in parents:
        inner = holder.get(parent)
        if not isinstance(inner, dict):
            return None, name
        holder[parent] = inner = dict(inner)
        holder = inner
    return holder, name


def _value(body: dict[str, Value], path: str) -> Value:
    """The value at a path, None if there is none."""
    value: Value = body
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _put(body: dict[str, Value], path: str, value: Value) -> None:
    """Give a path a value. Objects on the way are made."""
    *parents, name = path.split(".")
    holder = body
    for parent in parents:
        inner = holder.get(parent)
        holder[parent] = inner = dict(inner) if isinstance(inner, dict) else {}
        holder = inner
    holder[name] = value


def _remove(body: dict[str, Value], path: str) -> bool:
    """Remove a path, and an object that it leaves empty. False if it was not there."""
    holder, name = _holder(body, path)
    if holder is None or name not in holder:
        return False
    del holder[name]
    outer = path.rpartition(".")[0]
    if outer and not holder:
        _remove(body, outer)
    return True


def _is_same(one: Value, other: Value) -> bool:
    """Equality of JSON values: true is not 1."""
    return type(one) is type(other) and bool(one == other)
