"""The options of a run, and the request of a line -> the request to send."""

from __future__ import annotations

from collections.abc import Sequence

from chatpipe.errors import BadInput
from chatpipe.inputs.place import pointer_of, pointer_steps
from chatpipe.inputs.values import Value, as_list
from chatpipe.options.parameters import Edit
from chatpipe.request import edits
from chatpipe.request.batch_line import RequestLine
from chatpipe.request.build import BuiltRequest
from chatpipe.schema.check import Problem
from chatpipe.schema.refuse import fault_of, line_fault, removed_key

_HEAD_ROLES = ("system", "developer")


class LineTemplate:
    """The part of every request that the options give: fields, a head (system messages), examples.

    The values of a line take precedence, its system message too. With override, the options do: a field
    that they remove is removed from the line as well.
    """

    def __init__(
        self,
        options: BuiltRequest,
        *,
        override: bool = False,
        default_model: str | None = None,
        removals: Sequence[Edit] = (),
    ) -> None:
        """default_model, of the environment or the profile, applies to lines without a model.

        removals are the edits of `--unset`, which the body of options has undergone already.
        """
        self._options = options
        self._default_model = default_model
        self._removals = removals if override else ()
        body = options.body
        messages = as_list(body.get("messages"))
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
        return self._merged(self._without_removals(body) if self._removals else body)

    def fault(self, problem: Problem, line: RequestLine) -> BadInput:
        """The error for a problem of the request of a line: where it is in the line, or the wrong option."""
        own, pointer = line.body, problem.pointer
        name, *rest = pointer_steps(pointer) or [""]
        is_ours = name in self._fields and (self._override or name not in own)
        if self._removals and removed_key(self._options, problem):
            is_ours = True
        if rest and name == "messages":
            is_ours, index = self._message_origin(own, int(rest[0]))
            pointer = pointer_of([name, index, *rest[1:]])
        if is_ours:
            return fault_of(self._options, problem._replace(pointer=pointer))
        return line_fault(problem._replace(pointer=line.locate(pointer)))

    def _message_origin(self, body: dict[str, Value], index: int) -> tuple[bool, int]:
        """True for a message of the options, and the index there or in body of a message of the request."""
        left = self._without_removals(body)
        message = self._merged(left)["messages"][index]
        if (own := _find(left["messages"], message)) is None:
            return True, [*map(id, (*self._head, *self._examples))].index(id(message))
        for each in reversed(self._removals):
            parent, last = each.path[:-1], each.path[-1]
            if parent == ("messages",) and isinstance(last, int) and last <= own:
                own += 1
        return False, own

    def _without_removals(self, body: dict[str, Value]) -> dict[str, Value]:
        body = body.copy()
        for each in self._removals:
            edits.apply(body, each)
        return body

    def _merged(self, body: dict[str, Value]) -> dict[str, Value]:
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


def _find(messages: Sequence[Value], message: Value) -> int | None:
    """The index of this very message; None if it is none of messages."""
    return next((index for index, each in enumerate(messages) if each is message), None)


def _head_length(messages: Sequence[Value]) -> int:
    for length, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in _HEAD_ROLES:
            return length
    return len(messages)
