"""The options of a run, and the request of a line -> the request to send."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chatpipe.inputs.values import Value
from chatpipe.options.parameters import Edit
from chatpipe.request import edits

_HEAD_ROLES = ("system", "developer")


class LineTemplate:
    """The part of every request that the options give: fields, a head (system messages), examples.

    The values of a line take precedence, its system message too. With override, the options do: a field
    that they remove is removed from the line as well.
    """

    def __init__(
        self,
        body: Mapping[str, Value],
        *,
        override: bool = False,
        default_model: str | None = None,
        removals: Sequence[Edit] = (),
    ) -> None:
        """default_model, of the environment or the profile, applies to lines without a model.

        removals are the edits of `--unset`, which body has undergone already.
        """
        self._default_model = default_model
        self._removals = removals if override else ()
        messages = body.get("messages") or []
        length = _head_length(messages)
        self._head: list[Value] = messages[:length]
        self._examples: list[Value] = messages[length:]
        self._fields = {key: value for key, value in body.items() if key != "messages"}
        self._override = override

    @property
    def is_empty(self) -> bool:
        """True if requests stay as they are. Most runs of Batch lines have no such options."""
        has_messages = bool(self._head or self._examples)
        return not (has_messages or self._fields or self._removals or self._default_model is not None)

    def apply(self, body: dict[str, Value]) -> dict[str, Value]:
        """The request of a line's body, which stays as it is."""
        if self._removals:
            body = body.copy()
            for each in self._removals:
                edits.apply(body, each)
        merged = {**body, **self._fields} if self._override else {**self._fields, **body}
        if self._default_model is not None:
            merged.setdefault("model", self._default_model)
        messages = body.get("messages")
        if (self._head or self._examples) and isinstance(messages, list):
            merged["messages"] = self._conversation(messages)
        return merged

    def _conversation(self, messages: Sequence[Value]) -> list[Value]:
        length = _head_length(messages)
        own, rest = list(messages[:length]), messages[length:]
        winners, others = (self._head, own) if self._override else (own, self._head)
        roles = {message["role"] for message in winners}
        head = [message for message in others if message["role"] not in roles]
        return [*head, *winners, *self._examples, *rest]


def _head_length(messages: Sequence[Value]) -> int:
    for length, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in _HEAD_ROLES:
            return length
    return len(messages)
