"""Rules for request bodies that no schema expresses: relations of fields, likely typos, server extensions.

Each *_rules.py has a table of those about its subject. This module chooses the ones for a body by its keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import Any

from chatpipe.schema.key_rules import ACCEPTED_KEYS, KEY_RULES, KEYS_OF_OBJECTS
from chatpipe.schema.parameter_rules import PARAMETER_RULES, USUAL_VALUES
from chatpipe.schema.rule import Rule

_TOOL_KEYS = frozenset(
    ("tools", "tool_choice", "parallel_tool_calls", "functions", "function_call", "response_format")
)
_PLAIN_ROLES = frozenset(("user", "system", "assistant", "developer"))
_ROLE, _CONTENT = itemgetter("role"), itemgetter("content")


def rules_of(keys: Set[str], traits: Set[str]) -> Iterator[Rule]:
    """The rules that one of these keys, or traits of messages, triggers, and all that have no trigger.

    Few calls have tools, or messages with more than a text: the rules about them are imported on demand.
    """
    tables = [(KEY_RULES, keys), (PARAMETER_RULES, keys)]
    if traits:
        from chatpipe.schema.message_rules import MESSAGE_RULES
        from chatpipe.schema.part_rules import PART_RULES

        tables += [(MESSAGE_RULES, traits), (PART_RULES, traits)]
    if not _TOOL_KEYS.isdisjoint(keys):
        from chatpipe.schema.tool_rules import TOOL_RULES

        tables.append((TOOL_RULES, keys))
    for table, present in tables:
        for rule in table:
            if not rule.triggers or not present.isdisjoint(rule.triggers):
                yield rule


@lru_cache(maxsize=64)  # most lines of a run have the same keys
def rules_for(keys: tuple[str, ...], traits: frozenset[str] | None, strict: bool) -> tuple[Rule, ...]:
    """The rules that may find something in bodies with these keys, in the order of the tables.

    traits describe the messages, None if they are plain: no rule finds anything in them. Rules
    without a trigger find nothing if all keys are known.
    """
    triggers = set(keys)
    if traits is None:
        triggers.discard("messages")
    is_usual = triggers.isdisjoint(KEYS_OF_OBJECTS) and ACCEPTED_KEYS.issuperset(keys)
    return tuple(
        rule
        for rule in rules_of(triggers, traits or frozenset())
        if (strict or rule.severity != "strict") and (rule.triggers or not is_usual)
    )


def rules_for_usual_values(keys: tuple[str, ...], strict: bool) -> tuple[Rule, ...]:
    """The rules for bodies with these keys, plain messages and USUAL_VALUES."""
    triggers = USUAL_VALUES.keys() & set(keys)
    return tuple(
        rule
        for rule in rules_for(keys, None, strict)
        if not rule.triggers or not triggers.issuperset(set(rule.triggers).intersection(keys))
    )


def are_plain(messages: Any) -> bool:
    """Return True for messages with a role and a text each: the schema accepts them, no rule concerns them.

    Nearly all messages are. The check takes a microsecond.
    """
    try:
        for message in messages:
            if (
                message["role"] not in _PLAIN_ROLES
                or type(message["content"]) is not str
                or len(message) != 2
            ):
                return False
    except (KeyError, TypeError):  # TypeError: it is no object, its role no text, or messages are no array
        return False
    return type(messages) is list and len(messages) > 0


def are_all_plain(conversations: Sequence[Any]) -> bool:
    """Return True if are_plain() is true of the messages of each of several bodies.

    It looks at one trait of all messages after the other. For one body that takes longer than are_plain().
    """
    try:
        messages = [*chain.from_iterable(conversations)]
        return (
            {*map(len, messages)} == {2}
            and {*map(type, map(_CONTENT, messages))} == {str}
            and _PLAIN_ROLES.issuperset(map(_ROLE, messages))
            and {*map(type, conversations)} == {list}
            and all(conversations)
        )
    except (KeyError, TypeError):  # as in are_plain()
        return False
