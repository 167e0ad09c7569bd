"""The turns of a conversation: tools, schemas, and when an answer is final. No I/O: answers are scripted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from chatpipe.conversation.loop import Conversation, converse
from chatpipe.conversation.turns import ToolResults, ToolRunner, TurnRules
from chatpipe.errors import TryLater
from chatpipe.exchange import run_without_loop
from chatpipe.wire.answer import Answer
from exchange.scripted import content
from support.parametrize import cases

ASKED = {"role": "user", "content": "Weather in Oslo?"}


def call(name: str, arguments: str = "{}", call_id: str = "c1") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def says(content: str | None, *calls: dict[str, Any], reason: str = "", tokens: int = 10) -> Answer:
    message: dict[str, Any] = {"role": "assistant", "content": content}
    if calls:
        message["tool_calls"] = list(calls)
    reason = reason or ("tool_calls" if calls else "stop")
    choice = {"index": 0, "message": message, "finish_reason": reason}
    return Answer({"choices": [choice], "usage": {"total_tokens": tokens}})


class Server:
    """Gives its answers one after another, and remembers the bodies it was asked."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.bodies: list[dict[str, Any]] = []

    async def send(self, body: dict[str, Any]) -> Answer:
        self.bodies.append(body)
        return self.answers.pop(0)


def talk(server: Server, rules: TurnRules, **body: Any) -> Conversation:
    return run_without_loop(converse({"model": "m", "messages": [ASKED], **body}, server.send, rules))


def tools(*, max_turns: int = 8, foreign: str = "") -> ToolRunner:
    """Every call gets `ran NAME`; those of the tool called foreign are not ours to answer."""

    def can_answer(message: Mapping[str, Any], body: Mapping[str, Any]) -> bool:
        calls = message.get("tool_calls") or []
        return bool(calls) and all(each["function"]["name"] != foreign for each in calls)

    async def run(message: Mapping[str, Any], body: Mapping[str, Any]) -> ToolResults:
        names = [each["function"]["name"] for each in message["tool_calls"]]
        messages = [
            {"role": "tool", "tool_call_id": each["id"], "content": f"ran {each['function']['name']}"}
            for each in message["tool_calls"]
        ]
        return ToolResults(messages, frozenset(name for name in names if name.startswith("broken")))

    return ToolRunner(can_answer, run, max_turns)


def only_json(content: Any) -> str | None:
    return None if content.startswith("{") else "is not JSON"


def test_without_calls_the_first_answer_is_final() -> None:
    server = Server(says("12 degrees"))
    result = talk(server, TurnRules(tools()))
    assert content(result.answer) == "12 degrees"
    assert (result.steps, result.answer.earlier_usage, len(server.bodies)) == ((), (), 1)


def test_results_of_calls_are_asked_with_behind_the_calls() -> None:
    server = Server(says(None, call("a", call_id="1"), call("b", call_id="2")), says("done"))
    result = talk(server, TurnRules(tools()))
    steps = [
        {"role": "assistant", "tool_calls": [call("a", call_id="1"), call("b", call_id="2")]},
        {"role": "tool", "tool_call_id": "1", "content": "ran a"},
        {"role": "tool", "tool_call_id": "2", "content": "ran b"},
    ]
    assert [m for m in server.bodies[1]["messages"] if m.get("content") != ""] == [ASKED, *steps]
    assert len(result.steps) == 3
    assert result.answer.earlier_usage == ({"total_tokens": 10},)


def test_the_first_body_stays_as_it_was() -> None:
    server = Server(says(None, call("a")), says("done"))
    talk(server, TurnRules(tools()))
    assert server.bodies[0]["messages"] == [ASKED]


def test_the_last_turn_that_still_calls_is_exhausted() -> None:
    server = Server(*[says(None, call("a"))] * 3)
    result = talk(server, TurnRules(tools(max_turns=3)))
    assert result.answer.turns_exhausted
    assert len(server.bodies) == 3
    assert [message["role"] for message in result.steps] == ["assistant", "tool"] * 2


def test_calls_that_are_not_ours_end_it() -> None:
    server = Server(says(None, call("a"), call("theirs")))
    result = talk(server, TurnRules(tools(foreign="theirs")))
    assert not result.answer.turns_exhausted
    assert (len(server.bodies), result.steps) == (1, ())


@pytest.mark.parametrize("reason", ["length", "content_filter", "error"])
def test_calls_in_an_answer_that_broke_off_are_not_run(reason: str) -> None:
    server = Server(says(None, call("a", '{"x": '), reason=reason))
    assert talk(server, TurnRules(tools())).steps == ()


def test_a_fault_ends_the_conversation_with_the_usage_of_earlier_turns() -> None:
    fault = TryLater("rate limit")
    server = Server(says(None, call("a")), Answer(None, None, fault, attempts=5))
    result = talk(server, TurnRules(tools()))
    assert result.answer.fault is fault
    assert (result.answer.attempts, result.answer.earlier_usage) == (6, ({"total_tokens": 10},))


def allowed(mode: str) -> dict[str, Any]:
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [1]}}


@cases(
    "forced, afterwards",
    {
        "required": ("required", "auto"),
        "function": ({"type": "function", "function": {"name": "a"}}, "auto"),
        "custom": ({"type": "custom", "custom": {"name": "a"}}, "auto"),
        "auto": ("auto", "auto"),
        "none": ("none", "none"),
        "nothing": (None, None),
        "allowed_tools": (allowed("required"), allowed("auto")),
    },
)
def test_a_forced_choice_holds_for_the_first_turn(forced: Any, afterwards: Any) -> None:
    server = Server(says(None, call("a")), says("done"))
    talk(server, TurnRules(tools()), **({} if forced is None else {"tool_choice": forced}))
    assert [body.get("tool_choice") for body in server.bodies] == [forced, afterwards]
    assert ["tool_choice" in body for body in server.bodies] == [forced is not None] * 2


def test_a_forced_function_call_holds_for_the_first_turn() -> None:
    server = Server(says(None, call("a")), says("done"))
    talk(server, TurnRules(tools()), function_call={"name": "a"})
    assert [body["function_call"] for body in server.bodies] == [{"name": "a"}, "auto"]


def test_a_complaint_follows_the_answer_that_does_not_fit() -> None:
    server = Server(says("no"), says("{}"))
    result = talk(server, TurnRules(violation=only_json, reasks=1))
    answer, complaint = server.bodies[1]["messages"][1:]
    assert answer == {"role": "assistant", "content": "no"}
    assert complaint["role"] == "user"
    assert "is not JSON" in complaint["content"]
    assert result.steps == ()
    assert result.answer.earlier_usage == ({"total_tokens": 10},)


def test_the_reason_for_reasking_is_a_detail() -> None:
    details: list[str] = []
    talk(Server(says("no"), says("{}")), TurnRules(violation=only_json, reasks=1, detail=details.append))
    assert details == ["the answer does not fit the schema: is not JSON: asking again"]


@pytest.mark.parametrize(("reasks", "asked"), [(0, 1), (1, 2), (3, 4)])
def test_reasking_stops_at_its_limit(reasks: int, asked: int) -> None:
    server = Server(*[says("no")] * 9)
    result = talk(server, TurnRules(violation=only_json, reasks=reasks))
    assert len(server.bodies) == asked
    assert len(result.answer.earlier_usage) == asked - 1


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_an_answer_that_is_bad_otherwise_is_not_asked_for_again(reason: str) -> None:
    server = Server(says("no", reason=reason))
    talk(server, TurnRules(violation=only_json, reasks=2))
    assert len(server.bodies) == 1


def test_tools_and_a_schema_together() -> None:
    server = Server(says(None, call("a")), says("no"), says("{}"))
    result = talk(server, TurnRules(tools(), only_json, 1))
    assert [message["role"] for message in server.bodies[2]["messages"]] == [
        *("user", "assistant", "tool", "assistant", "user"),
    ]
    assert [message["role"] for message in result.steps] == ["assistant", "tool"]


def test_a_line_with_its_own_format_is_not_checked_against_ours() -> None:
    ours = {"type": "json_schema"}
    rules = TurnRules(violation=only_json, reasks=2, response_format=ours)
    assert rules.for_line({"response_format": ours}) is rules
    assert rules.for_line({"response_format": {"type": "json_object"}}) == TurnRules(None, None, 0, ours)
    assert rules.for_line({}).violation is None


def test_a_line_with_an_equal_format_of_its_own_is_checked() -> None:
    """A body that was copied, pickled or read from a file has another object with the same value."""
    rules = TurnRules(violation=only_json, reasks=2, response_format={"type": "json_schema"})
    assert rules.for_line({"response_format": {"type": "json_schema"}}) is rules


def test_the_answer_names_the_tools_that_failed_in_any_turn() -> None:
    server = Server(says(None, call("broken b")), says(None, call("fine")), says("done"))
    assert talk(server, TurnRules(tools())).answer.failed_tools == ("broken b",)
