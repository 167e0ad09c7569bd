"""Fixtures of aimock, answered by aimock itself and by `serve --script`.

`make test` installs aimock into .venv-peer where npm is; CHATPIPE_AIMOCK names its dist/cli.js elsewhere.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from serve.client import serving
from support.process import environment
from support.programs import node_with

pytestmark = [pytest.mark.peer, pytest.mark.timeout(300)]

_INSTALLED = ".venv-peer/node_modules/@copilotkit/aimock/dist/cli.js"
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
FIXTURES: list[dict[str, Any]] = [
    {"match": {"userMessage": "again", "sequenceIndex": 0}, "response": {"content": "first"}},
    {"match": {"userMessage": "again", "sequenceIndex": 1}, "response": {"content": "second"}},
    {"match": {"toolCallId": "c1"}, "response": {"content": "It rains."}},
    {
        "match": {"toolName": "weather", "userMessage": "weather"},
        "response": {
            "toolCalls": [
                {"name": "weather", "arguments": '{"city":"Oslo"}'},
                {"name": "weather", "arguments": '{"city":"Rome"}'},
            ]
        },
    },
    {"match": {"systemMessage": "poet"}, "response": {"content": "A rhyme", "finishReason": "length"}},
    {
        "match": {"userMessage": "busy"},
        "response": {"error": {"message": "slow down", "type": "rate_limit_error"}, "status": 429},
    },
    {"match": {"responseFormat": "json_object"}, "response": {"content": '{"a":1}'}},
    {"match": {"userMessage": "long"}, "response": {"content": "one two three four"}, "chunkSize": 4},
    {"match": {"model": "m-2"}, "response": {"content": "the other model", "usage": {"prompt_tokens": 7}}},
]


def _user(text: str, **fields: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], **fields}


REQUESTS: list[dict[str, Any]] = [
    _user("again"),
    _user("again"),
    _user("the weather", tools=[WEATHER]),
    {
        "model": "m",
        "messages": [
            *_user("the weather")["messages"],
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c1", "content": "rain"},
        ],
    },
    {"model": "m", "messages": [{"role": "system", "content": "a poet"}, *_user("x")["messages"]]},
    _user("busy"),
    _user("x", response_format={"type": "json_object"}),
    _user("a long one"),
    _user("x", model="m-2"),
]


@pytest.fixture
def fixture_file(tmp_path: Path) -> Path:
    path = tmp_path / "fixtures.json"
    path.write_text(json.dumps({"fixtures": FIXTURES}))
    return path


@pytest.fixture
def aimock(fixture_file: Path) -> Iterator[str]:
    """The base URL of aimock with the fixtures."""
    script = Path(os.environ.get("CHATPIPE_AIMOCK", Path(__file__).parents[2] / _INSTALLED))
    command = [node_with(script), str(script), "-p", "0", "-f", str(fixture_file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment(), text=True) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                    break
            assert found is not None
            yield f"{found[0]}/v1"
        finally:
            process.terminate()


def answer(url: str, body: dict[str, Any]) -> dict[str, Any]:
    """The parts of a whole answer that a fixture names."""
    reply = httpx.post(f"{url}/chat/completions", json=body, headers={"authorization": "Bearer k"})
    value = reply.json()
    if reply.status_code != 200:
        error = value["error"]
        return {"status": reply.status_code, "message": error["message"], "type": error["type"]}
    choice = value["choices"][0]
    calls = [call["function"] for call in choice["message"].get("tool_calls") or []]
    return {
        "content": choice["message"]["content"],
        "calls": [(call["name"], json.loads(call["arguments"])) for call in calls],
        "finish_reason": choice["finish_reason"],
    }


def streamed(url: str, body: dict[str, Any]) -> tuple[list[str], str | None]:
    """The pieces of the content of a stream, and its finish reason."""
    reply = httpx.post(f"{url}/chat/completions", json={**body, "stream": True})
    events = [json.loads(line[6:]) for line in reply.text.splitlines() if line.startswith("data: {")]
    choices = [choice for event in events for choice in event["choices"]]
    pieces = [piece for choice in choices if (piece := choice["delta"].get("content"))]
    return pieces, next((choice["finish_reason"] for choice in choices if choice["finish_reason"]), None)


def test_both_answer_the_same(aimock: str, fixture_file: Path) -> None:
    with serving("--script", str(fixture_file)) as ours:
        for body in REQUESTS:
            assert answer(ours.url, body) == answer(aimock, body), body
        assert streamed(ours.url, _user("a long one")) == streamed(aimock, _user("a long one"))
