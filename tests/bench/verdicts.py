"""What checking one request costs: {request: microseconds of CPU} as JSON."""

from __future__ import annotations

import json
import time
from typing import Any

from chatpipe.schema.accept import accepts
from chatpipe.schema.check import check

_SECONDS = 0.3  # of each measurement
_ROUNDS = 7


def request(messages: int, tools: int) -> dict[str, Any]:
    """A conversation as agents have them: every fourth message calls a tool, the next one answers it."""
    body: dict[str, Any] = {"model": "gpt-4o-mini", "temperature": 0.2, "max_completion_tokens": 500}
    if tools:
        body["tools"] = [_tool(number) for number in range(tools)]
        body["tool_choice"] = "auto"
    body["messages"] = [_message(number, calls=bool(tools)) for number in range(messages)]
    return body


def _tool(number: int) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {"place": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
        "required": ["place"],
    }
    function = {"name": f"tool_{number}", "description": "Looks something up", "parameters": schema}
    return {"type": "function", "function": function}


def _message(number: int, *, calls: bool) -> dict[str, Any]:
    if number == 0:
        return {"role": "system", "content": "You answer in one sentence."}
    if calls and number % 4 == 2:
        function = {"name": f"tool_{number % 10}", "arguments": '{"place":"Rome"}'}
        call = {"id": f"call_{number}", "type": "function", "function": function}
        return {"role": "assistant", "content": None, "tool_calls": [call]}
    if calls and number % 4 == 3:
        return {"role": "tool", "tool_call_id": f"call_{number - 1}", "content": "Sunny, 25 degrees"}
    if calls and number % 4 == 0:
        return {"role": "assistant", "content": "It will be sunny in Rome."}
    return {"role": "user", "content": "What will the weather be in Rome tomorrow?"}


def main() -> None:
    requests = {"2 messages": request(2, 0), "50 messages, 10 tools": request(50, 10)}
    figures = {}
    for name, body in requests.items():
        assert check(body) == [], check(body)
        figures[name] = _microseconds(check, body)
        figures[f"{name}: of which the schema"] = _microseconds(accepts, body)
    print(json.dumps(figures))


def _microseconds(function: Any, body: dict[str, Any]) -> float:
    """The least of several runs."""
    before = time.process_time()
    function(body)
    calls = max(1, int(_SECONDS / _ROUNDS / max(time.process_time() - before, 1e-6)))
    costs = []
    for _ in range(_ROUNDS):
        before = time.process_time()
        for _ in range(calls):
            function(body)
        costs.append((time.process_time() - before) / calls)
    return min(costs) * 1e6


if __name__ == "__main__":
    main()
