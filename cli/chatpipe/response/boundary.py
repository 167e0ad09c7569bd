"""The boundary between one streamed answer and the next, in a recording that may hold several.

`[DONE]` and the end of a file end an answer. Without them another one begins with content for a choice
after every choice has ended. A finish_reason alone is no end: servers send usage, filter results or the
finish_reason once more after it, under other ids, and some send the last piece of content after it, or a
finish_reason with every piece. So the content must look like a beginning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from chatpipe.inputs.values import Value, as_list
from chatpipe.response.choice_indexes import index_of
from chatpipe.response.chunks import REASONING_FIELDS
from chatpipe.response.finish_reasons import has_ended

_CONTENT = ("content", "refusal", "tool_calls", "function_call", "images", *REASONING_FIELDS)
_AUDIO = ("data", "transcript")


class _SeenChoice:
    """The chunks of one choice so far. has_role is about the first, repeats_role about later content."""

    __slots__ = ("chunks", "ended", "has_role", "id", "id_changes", "repeats_role")

    def __init__(self) -> None:
        self.chunks = 0
        self.id: Value = None
        self.id_changes = False
        self.has_role = False
        self.repeats_role = False
        self.ended = False

    def add(self, choice: Mapping[str, Value], id_: Value) -> None:
        if self.chunks == 0:
            self.has_role = has_role(choice)
        elif has_role(choice) and has_content(choice):
            self.repeats_role = True
        self.chunks += 1
        self.id_changes = self.id_changes or bool(id_ and self.id and id_ != self.id)
        self.id = id_ or self.id
        self.ended = self.ended or has_ended(choice.get("finish_reason"))

    def role_says(self, choice: Mapping[str, Value]) -> bool | None:
        """True if the role of a chunk says that it begins an answer, False if that it does not, or None."""
        if not has_role(choice):
            return False if self.has_role else None
        if self.repeats_role or (self.has_role and self.chunks == 1):
            return None
        return True


class AnswerBoundary:
    """The end of one answer.

    add() takes each chunk of it, hold() each chunk after its end that has no content and may belong to
    another. begins_another() looks at the next.
    """

    __slots__ = ("_choices", "_has_opening", "id")

    def __init__(self) -> None:
        self._choices: dict[int, _SeenChoice] = {}
        self._has_opening = False  # a chunk after the end opens another answer, if content follows
        self.id: Value = None  # the last that was not empty

    def add(self, chunk: Mapping[str, Value]) -> None:
        id_ = chunk.get("id")
        self.id = id_ or self.id
        for index, choice in _choices(chunk):
            self._choices.setdefault(index, _SeenChoice()).add(choice, id_)

    def hold(self, chunk: Mapping[str, Value]) -> None:
        repeats_role = any(choice.repeats_role for choice in self._choices.values())
        self._has_opening = self._has_opening or (not repeats_role and _opens(chunk))

    def is_over(self) -> bool:
        """Return True if every choice has ended."""
        return bool(self._choices) and all(choice.ended for choice in self._choices.values())

    def begins_another(self, chunk: Mapping[str, Value], *, is_event: bool) -> bool:
        """Return True if a chunk does not belong to this answer.

        is_event: it came in an event stream. What looks like neither a beginning nor a continuation goes
        on with its stream, which is one reply of a server; of single lines that is unknown.
        """
        is_over = self.is_over()
        id_ = chunk.get("id")
        for index, choice in _choices(chunk):
            seen = self._choices.get(index)
            if seen is None:  # another choice of this answer
                continue
            is_other_id = bool(id_ and seen.id and id_ != seen.id and not seen.id_changes)
            role_says = seen.role_says(choice)
            if not is_over:  # the answer may have been cut
                begins = is_other_id and role_says is True
            elif not has_content(choice):
                begins = False
            elif is_other_id or self._has_opening:
                begins = True
            elif "delta" not in choice:  # a whole message; some servers repeat the answer as one at the end
                begins = not id_ or id_ != seen.id
            else:
                begins = not is_event if role_says is None else role_says
            if begins:
                return True
        return False

    def precedes(self, chunk: Mapping[str, Value], next_id: Value) -> bool:
        """Return True if a chunk without content belongs to the answer with next_id, and not to this one."""
        id_ = chunk.get("id")
        if id_ and id_ != self.id:
            return bool(id_ == next_id)
        if id_ and next_id and id_ != next_id:
            return False
        return _opens(chunk) or "prompt_filter_results" in chunk  # Azure's first chunk has no choices


def _opens(chunk: Mapping[str, Value]) -> bool:
    """Return True if a chunk without content has the role that stands at the beginning of an answer."""
    return any(has_role(choice) and not choice.get("finish_reason") for _, choice in _choices(chunk))


def adds_content(chunk: Mapping[str, Value]) -> bool:
    """Return True if a chunk has content, or an error, which is not to be missed."""
    return bool(chunk.get("error")) or any(has_content(choice) for _, choice in _choices(chunk))


def is_tail(chunk: Mapping[str, Value]) -> bool:
    """Return True if a chunk alone makes no answer: it has neither content nor a role."""
    return not any(has_content(choice) or has_role(choice) for _, choice in _choices(chunk))


def has_content(choice: Mapping[str, Value]) -> bool:
    """Return True if a choice has content: text, calls, a refusal, reasoning, images or sound."""
    message = _message(choice)
    audio = message.get("audio")
    if isinstance(audio, dict) and any(audio.get(field) for field in _AUDIO):
        return True
    return any(message.get(field) not in (None, "", [], {}) for field in _CONTENT)


def has_role(choice: Mapping[str, Value]) -> bool:
    return bool(_message(choice).get("role"))


def _message(choice: Mapping[str, Value]) -> Mapping[str, Value]:
    for field in ("delta", "message"):
        if isinstance(message := choice.get(field), dict):
            return message
    return {}


def _choices(chunk: Mapping[str, Value]) -> Iterator[tuple[int, Mapping[str, Value]]]:
    for position, choice in enumerate(as_list(chunk.get("choices"))):
        if isinstance(choice, dict):
            yield index_of(choice, position), choice
