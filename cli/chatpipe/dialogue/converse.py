"""One request -> the turns that follow from its answers, until one is final.

    request -> answer -> it calls tools -----------> they run, ask again
                  ^   -> it does not fit a schema -> say so, ask again
                  |   -> final
                  +------------- next request

Written once for `ask` and for runs: how a request is sent and how tools are run is passed in.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

from chatpipe.dialogue import tools
from chatpipe.exchange import Answer
from chatpipe.inputs.values import Value
from chatpipe.response import judge
from chatpipe.response.reply import as_message

Message = dict[str, Value]


class Tools(NamedTuple):
    """can_answer: whether all calls of a message, the answer to a body, are ours to answer.

    run: their results as messages.
    """

    can_answer: Callable[[Mapping[str, Value], Mapping[str, Value]], bool]
    run: Callable[[Mapping[str, Value], Mapping[str, Value]], Awaitable[Sequence[Message]]]
    max_turns: int = 8


class Rules(NamedTuple):
    """What may follow an answer.

    violation tells why a content does not fit, None when it does. In a run response_format is what
    asked for that form: a line that asks for another one is not held to it. detail, where there is
    one, is told why an answer is asked for again.
    """

    tools: Tools | None = None
    violation: Callable[[Value], object | None] | None = None
    reasks: int = 0
    response_format: Value = None
    detail: Callable[[str], None] | None = None

    def of(self, body: Mapping[str, Value]) -> "Rules":
        """The rules for one line of a run."""
        if self.violation is None or body.get("response_format") is self.response_format:
            return self
        return self._replace(violation=None, reasks=0)


class Talk(NamedTuple):
    """How it ended. The answer is the last one; its tries and its usage of earlier turns are of all.

    steps are the messages that tool turns put behind the request's: calls and results.
    """

    answer: Answer
    steps: tuple[Message, ...] = ()


async def converse(
    body: dict[str, Value], send: Callable[[dict[str, Value]], Awaitable[Answer]], rules: Rules
) -> Talk:
    """Ask until an answer is final: good, or not to be helped by asking again. body stays as it is.

    One choice is followed, the first: several cannot go on in one conversation.
    """
    steps: list[Message] = []
    turns, reasks, tries = 1, rules.reasks, 0
    earlier: list[Value] = []
    while True:
        answer = await send(body)
        tries += answer.tries
        answer = answer._replace(tries=tries, earlier=tuple(earlier))
        completion = answer.completion
        if answer.fault is not None or completion is None:
            return Talk(answer, tuple(steps))
        message = _message(completion)
        if rules.tools is not None and _is_whole(completion) and rules.tools.can_answer(message, body):
            if turns == rules.tools.max_turns:
                return Talk(answer._replace(is_exhausted=True), tuple(steps))
            results = await rules.tools.run(message, body)
            step = [as_message(tools.mended(message)), *results]
            body = {**_unforced(body), "messages": [*body["messages"], *step]}
            steps += step
            turns += 1
        elif reasks and (violation := _violation(completion, rules)) is not None:
            if rules.detail is not None:
                rules.detail(f"{violation}: asking again")
            body = {**body, "messages": [*body["messages"], as_message(message), _complaint(violation)]}
            reasks -= 1
        else:
            return Talk(answer, tuple(steps))
        earlier.append(completion.get("usage"))


def _message(completion: Mapping[str, Any]) -> Message:
    """The message of the first choice, empty where a server has something else there."""
    choices = completion.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    return message if isinstance(message, dict) else {}


def _is_whole(completion: dict[str, Value]) -> bool:
    """Whether nothing is wrong but that tools are called: half a call, cut by the limit, is not run."""
    verdict = judge.verdict(completion, allow=frozenset(), text_format=True)
    return verdict is not None and verdict.outcome is judge.Outcome.tool_calls


def _violation(completion: dict[str, Value], rules: Rules) -> str | None:
    """What does not fit, of an answer with which nothing else is wrong."""
    verdict = judge.verdict(completion, allow=frozenset(), text_format=True, fits=rules.violation)
    if verdict is None or verdict.outcome is not judge.Outcome.mismatch:
        return None
    return verdict.what


def _complaint(violation: str) -> Message:
    """The exact violation, as the user's next words: every server takes a user message."""
    return {"role": "user", "content": f"{violation}\nAnswer again, with JSON that fits the schema only."}


def _unforced(body: dict[str, Value]) -> dict[str, Value]:
    """A tool that had to be called was called: from now on the model chooses, else it calls for ever."""
    choice = body.get("tool_choice")
    if choice == "required" or (isinstance(choice, dict) and choice.get("type") != "allowed_tools"):
        return {**body, "tool_choice": "auto"}
    if isinstance(choice, dict):
        allowed = choice.get("allowed_tools")
        if isinstance(allowed, dict) and allowed.get("mode") == "required":
            return {**body, "tool_choice": {**choice, "allowed_tools": {**allowed, "mode": "auto"}}}
    if isinstance(body.get("function_call"), dict):
        return {**body, "function_call": "auto"}
    return body


def total_usage(last: Value, earlier: Sequence[Value]) -> Value:
    """The usage of all turns: counts added, also those inside details; what is no count is the last's."""
    total = last
    for usage in reversed(earlier):
        total = _added(usage, total)
    return total


def _added(one: Value, other: Value) -> Value:
    if isinstance(one, dict) and isinstance(other, dict):
        both = {key: _added(one.get(key), value) for key, value in other.items()}
        return {**both, **{key: value for key, value in one.items() if key not in both}}
    if _is_count(one) and _is_count(other):
        return one + other
    return one if other is None else other


def _is_count(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
