"""One request -> the turns that follow from its answers, until one is final.

    request -> answer -> it calls tools -----------> run them, ask again
                  ^   -> it violates a schema -----> quote the violation, ask again
                  |   -> final
                  +------------- next request

`ask` and runs share this code. They pass in the functions that send a request and run tools.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from chatpipe.conversation import tool_calls as tools
from chatpipe.conversation.history import history_message
from chatpipe.conversation.turns import Message, TurnRules
from chatpipe.inputs.values import Value
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.outcomes import Outcome
from chatpipe.response import judge
from chatpipe.response.completion import first_message
from chatpipe.response.usage import reported_usage
from chatpipe.wire.answer import Answer


class Conversation(NamedTuple):
    """A finished conversation.

    answer is the last one; its tries and its earlier usage cover all turns. steps are the messages
    that tool turns appended to those of the request: calls and results.
    """

    answer: Answer
    steps: tuple[Message, ...] = ()


async def converse(
    body: dict[str, Value], send: Callable[[dict[str, Value]], Awaitable[Answer]], rules: TurnRules
) -> Conversation:
    """Ask until an answer is final: good, or one that no further turn can improve. body is not modified.

    Only the first choice is followed, because one conversation cannot continue several.
    """
    steps: list[Message] = []
    failed: tuple[str, ...] = ()
    turns, reasks, tries = 1, rules.reasks, 0
    earlier: list[Value] = []
    while True:
        answer = await send(body)
        tries += answer.attempts
        answer = answer._replace(attempts=tries, earlier_usage=tuple(earlier), failed_tools=failed)
        completion = answer.completion
        if answer.fault is not None or completion is None:
            return Conversation(answer, tuple(steps))
        message = first_message(completion)
        if (
            rules.tools is not None
            and _has_complete_calls(completion)
            and rules.tools.can_answer(message, body)
        ):
            if turns == rules.tools.max_turns:
                return Conversation(answer._replace(turns_exhausted=True), tuple(steps))
            results = await rules.tools.run(message, body)
            failed = tuple(sorted({*failed, *results.failed}))
            step = [history_message(tools.repaired_message(message)), *results.messages]
            body = {**_unforced(body), "messages": [*body["messages"], *step]}
            steps += step
            turns += 1
        elif reasks and (violation := _violation(completion, rules)) is not None:
            if rules.detail is not None:
                rules.detail(f"{violation}: asking again")
            body = {**body, "messages": [*body["messages"], history_message(message), _complaint(violation)]}
            reasks -= 1
        else:
            return Conversation(answer, tuple(steps))
        earlier.append(reported_usage(completion))


def _has_complete_calls(completion: dict[str, Value]) -> bool:
    """Return True if the only finding is that tools are called. A call cut by the limit must not run."""
    verdict = judge.verdict(completion, allow=frozenset(), text_format=True)
    return verdict is not None and verdict.outcome is Outcome.tool_calls


def _violation(completion: dict[str, Value], rules: TurnRules) -> str | None:
    """The schema violation of an answer that has no other defect; None in all other cases."""
    verdict = judge.verdict(completion, allow=frozenset(), text_format=True, violation_of=rules.violation)
    if verdict is None or verdict.outcome is not Outcome.mismatch:
        return None
    return verdict.what


def _complaint(violation: str) -> Message:
    """The exact violation as a user message, which every server accepts."""
    return {"role": "user", "content": f"{violation}\nAnswer again, with JSON that fits the schema only."}


def _unforced(body: dict[str, Value]) -> dict[str, Value]:
    """The body with a forced call turned into a free choice, or the model would call tools forever."""
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
