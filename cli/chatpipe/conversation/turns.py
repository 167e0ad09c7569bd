"""Rules for the turns of a conversation: TurnOptions as given by the user, TurnRules for the loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from chatpipe.inputs.values import Value
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.tool_commands import ToolOptions
from chatpipe.request.response_format import ResponseFormat

Message = dict[str, Value]


class TurnOptions(NamedTuple):
    """Turn options: the tools to run, the form that answers must have, and how often to ask again.

    The files that they name have been read.
    """

    tools: ToolOptions = ToolOptions()
    response_format: ResponseFormat | None = None
    reasks: int = 0

    @property
    def is_single_turn(self) -> bool:
        """True if the first answer is the last, and no form is checked."""
        return self.response_format is None and not self.tools.commands


class ToolResults(NamedTuple):
    """The results of all calls of a message, as messages, and the names of the tools whose command failed."""

    messages: Sequence[Message]
    failed: frozenset[str] = frozenset()


class ToolRunner(NamedTuple):
    """The tools of a conversation. Both functions take a message and the body that it answers.

    can_answer returns True if we are to answer all calls of the message. run answers them. max_turns limits
    the answers, counting the first and no re-asks.
    """

    can_answer: Callable[[Mapping[str, Value], Mapping[str, Value]], bool]
    run: Callable[[Mapping[str, Value], Mapping[str, Value]], Awaitable[ToolResults]]
    max_turns: int = 8


class TurnRules(NamedTuple):
    """The rules for further turns.

    violation checks a content and returns the violation, or None if the content fits. reasks limits
    how often a violation is answered by asking again. In a run, response_format is the one that
    violation checks: a line with another response format is not checked. detail, if set, receives
    the reason for each re-ask.
    """

    tools: ToolRunner | None = None
    violation: Callable[[Value], object | None] | None = None
    reasks: int = 0
    response_format: Value = None
    detail: Callable[[str], None] | None = None

    def for_line(self, body: Mapping[str, Value]) -> TurnRules:
        """The rules for one line of a run.

        The response formats are compared by value: a line may carry the same one itself.
        """
        asked_for = body.get("response_format")
        # Most lines share one object, which need not be compared.
        if self.violation is None or asked_for is self.response_format or asked_for == self.response_format:
            return self
        return self._replace(violation=None, reasks=0)
