"""A completion -> the outcome of each choice, and a verdict with the exit status if one is not acceptable.

Outcomes depend only on the completion. `allow` names the outcomes that the user accepts anyway.
"""

from __future__ import annotations

from collections.abc import Callable

from chatpipe.errors import Status
from chatpipe.inputs.parts import may_be_text, parts_of, split_parts, text_of
from chatpipe.inputs.values import Value, as_list
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.outcomes import ALLOWABLE, OK, OUTCOMES, PRECEDENCE, Outcome
from chatpipe.response import finish_reasons
from chatpipe.response.completion import NOT_TEXT, choices, content_of, refusal_of
from chatpipe.response.server_error import error_of
from chatpipe.system.escape import shorten

NO_CODE = "there is no fenced code block in the answer"
_SHORTEN = "shorten the messages, which fill the context of the model, or --allow truncated"
_ASK_FOR_CODE = "ask for one, or --allow mismatch"
_ASK_FOR_AUDIO = "ask with --modality audio, --audio-voice and --audio-format"


class Verdict(NamedTuple):
    """The reason why an answer is not acceptable.

    choice is the index of the choice at fault, or None if no choice is. has_mismatch: this or another choice
    does not fit the schema, or has no code block.
    """

    outcome: Outcome
    choice: int | None
    status: Status
    what: str
    fix: str
    has_mismatch: bool = False


def outcome_of(choice: Value) -> Outcome:
    """The outcome of one of a completion's choices. Never raises.

    A filter or refusal takes precedence over the length limit, and the limit over missing content: a
    reasoning model that spent the limit on reasoning is truncated, not empty. White space is content.
    An unknown finish_reason, or null, which some servers send, is a good end.
    """
    if type(choice) is not dict:
        return Outcome.broken
    reason = choice.get("finish_reason")
    end = OK if reason == "stop" else finish_reasons.meaning(reason)
    message = choice.get("message")
    if end is not OK and (end is Outcome.broken or end is Outcome.refused):
        return end  # Azure may omit the message of a filtered answer
    if type(message) is not dict:
        return Outcome.broken
    content = message.get("content")
    is_text = type(content) is str  # nearly all
    if (message.get("refusal") or not is_text) and refusal_of(message):
        return Outcome.refused
    if end is not OK and end is Outcome.truncated:
        return end
    if ("tool_calls" in message or "function_call" in message) and _has_calls(message):
        return Outcome.tool_calls
    if is_text and content:
        return OK
    if not may_be_text(content):
        return Outcome.broken
    # images: OpenRouter, for models that draw
    if _has_content(content) or message.get("audio") or message.get("images"):
        return Outcome.ok
    return Outcome.empty


def useless_outcome(completion: dict[str, Value]) -> Outcome | None:
    """The outcome of a completion of no use: broken if a choice is, if there is none, or an error beside it.

    It is empty if all choices are. None for any other completion. Never raises.
    """
    outcomes = [*map(outcome_of, choices(completion))]
    if not outcomes or Outcome.broken in outcomes or error_of(completion) is not None:
        return Outcome.broken
    return Outcome.empty if all(each is Outcome.empty for each in outcomes) else None


def _has_calls(message: dict[str, Value]) -> bool:
    """Return True if there is a call in a message: some servers send `[]`, `[null]` or `{}` for none."""
    calls = message.get("tool_calls")
    has_call = any(calls) if type(calls) is list else bool(calls)
    return has_call or bool(message.get("function_call"))


def _has_content(content: Value) -> bool:
    """Return True if there is more than reasoning in a content, which may have parts."""
    parts = None if type(content) is str else parts_of(content)
    if parts is None:
        return bool(text_of(content))
    found = split_parts(parts)
    return bool(found.text or found.others)


def verdict(
    completion: dict[str, Value],
    *,
    allow: frozenset[str],
    text_format: bool,
    needs_code: bool = False,
    violation_of: Callable[[Value], object | None] | None = None,
) -> Verdict | None:
    """The verdict for the first of the statuses 76, 4, 3, 5, 6 that applies to any choice, or None.

    allow holds names of outcomes. A broken answer cannot be allowed. Tool calls are a fault only if the
    output is text (text_format), because every other format includes them. needs_code: a text without
    a code block is a mismatch. violation_of gets the content of each choice whose outcome is ok, and returns
    the schema violation, or None. Never raises.
    """
    error = error_of(completion)  # OpenRouter sends some with HTTP 200
    if error:
        return _verdict(Outcome.broken, None, f"the server reports an error: {shorten(error.message)}")
    answers = as_list(completion.get("choices"))
    if not answers:
        return _no_choices(completion)
    faults: list[tuple[Outcome, int, object]] = []
    for position, choice in enumerate(answers):
        outcome = outcome_of(choice)
        violation = violation_of(choice["message"].get("content")) if violation_of and outcome is OK else None
        accepted = outcome is OK or _is_allowed(outcome, allow, text_format=text_format)
        if violation is not None or (needs_code and accepted and _lacks_code(choice)):
            outcome = Outcome.mismatch
            accepted = _is_allowed(outcome, allow, text_format=text_format)
        if not accepted:
            faults.append((outcome, position, violation))
    if not faults:
        return None
    return _worst(answers, faults)


def _is_allowed(outcome: Outcome, allow: frozenset[str], *, text_format: bool) -> bool:
    if outcome is Outcome.tool_calls and not text_format:
        return True
    return outcome in allow and outcome in ALLOWABLE


def _worst(answers: list[Value], faults: list[tuple[Outcome, int, object]]) -> Verdict:
    """The verdict for the leading one of some faults: outcome, position of the choice, schema violation."""
    outcome, position, violation = min(faults, key=lambda fault: PRECEDENCE.index(OUTCOMES[fault[0]].status))
    index = _index(answers[position], position)
    what = _description(outcome, answers[position], violation)
    found = _verdict(outcome, index, f"choice {index}: {what}" if len(answers) > 1 else what)
    found = found._replace(has_mismatch=any(fault[0] is Outcome.mismatch for fault in faults))
    if outcome is Outcome.mismatch and violation is None:
        return found._replace(fix=_ASK_FOR_CODE)
    if outcome is Outcome.truncated and finish_reasons.is_context_full(answers[position]["finish_reason"]):
        return found._replace(fix=_SHORTEN)
    return found


def _no_choices(completion: dict[str, Value]) -> Verdict:
    from chatpipe.response.other_json import other_reply  # hardly any reply needs its table

    found = _verdict(Outcome.broken, None, "the answer has no choices")
    other = other_reply(completion)
    return found if other is None else found._replace(what=other.what, fix=other.fix)


def lacks_code(completion: dict[str, Value]) -> bool:
    """Return True if a choice has a text without a fenced code block."""
    return any(_lacks_code(choice) for choice in choices(completion))


def _lacks_code(choice: Value) -> bool:
    from chatpipe.response.code_block import first_code_block  # for one format only

    message = choice.get("message") if type(choice) is dict else None
    text = content_of(message) if type(message) is dict else None
    return bool(text) and first_code_block(text or "") is None


def turns_verdict(found: Verdict | None, turns: int) -> Verdict | None:
    """The verdict on the answer of the last allowed turn. Its tool calls can no longer be executed."""
    if found is None or found.outcome is not Outcome.tool_calls:
        return found
    return found._replace(what=f"it still calls tools in turn {turns}", fix="raise --max-turns")


def audio_verdict(completion: dict[str, Value], *, allow: frozenset[str]) -> Verdict | None:
    """The verdict on an answer that must contain audio, after verdict() accepted it."""
    first = completion["choices"][0]
    audio = first["message"].get("audio") if type(first.get("message")) is dict else None
    if allow & {Outcome.empty, outcome_of(first)} or (type(audio) is dict and audio.get("data")):
        return None
    what = "there is no audio in the answer"
    return _verdict(Outcome.empty, None, what)._replace(fix=_ASK_FOR_AUDIO)


def _verdict(outcome: Outcome, choice: int | None, what: str) -> Verdict:
    row = OUTCOMES[outcome]
    return Verdict(outcome, choice, row.status, what, row.fix)


def _reason(choice: dict[str, Value]) -> str:
    """The finish_reason as the server wrote it, for an error line."""
    return shorten(str(choice.get("finish_reason")))


def _index(choice: Value, position: int) -> int:
    index = choice.get("index") if type(choice) is dict else None
    return index if type(index) is int else position


def _description(outcome: Outcome, choice: Value, violation: object) -> str:
    if outcome is Outcome.mismatch and violation is None:
        return NO_CODE
    if outcome is Outcome.mismatch:
        return f"the answer does not fit the schema: {violation}"
    if outcome is Outcome.broken:
        return _broken_description(choice)
    if outcome is Outcome.refused:
        return _refused_description(choice)
    if outcome is Outcome.truncated:
        return f"the answer was cut off (finish_reason '{_reason(choice)}')"
    if outcome is Outcome.empty:
        return "the answer is empty"
    return "tool calls are waiting for an answer"


def _broken_description(choice: Value) -> str:
    if type(choice) is dict and finish_reasons.meaning(choice.get("finish_reason")) is Outcome.broken:
        error = error_of(choice)  # OpenRouter puts the cause into the choice
        cause = f": {shorten(error.message)}" if error else ""
        return f"the server gave up (finish_reason '{_reason(choice)}'){cause}"
    if type(choice) is dict and type(choice.get("message")) is dict:
        return NOT_TEXT
    return "the answer has no message"


def _refused_description(choice: dict[str, Value]) -> str:
    if finish_reasons.meaning(choice.get("finish_reason")) is Outcome.refused:
        return f"the answer was filtered (finish_reason '{_reason(choice)}')"
    return "the model refused"  # its text is printed in full on stdout or stderr, not in this line
