"""A script of `serve` under the official library: parallel calls in a stream, then their results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from peer.openai_python import run_with_openai
from serve.client import serving

pytestmark = [pytest.mark.peer, pytest.mark.timeout(300)]

CALLS = [{"name": "weather", "arguments": {"city": city}} for city in ("Rome", "Oslo")]
RULES = [
    {"match": {"tool_results": True, "turn": 1}, "answer": {"content": "Sun and snow."}},
    {"match": {"user": "weather"}, "answer": {"content": "Let me see.", "tool_calls": CALLS}},
    {"match": {"user": "secret"}, "answer": {"refusal": "I can't."}},
    {"answer": {"error": {"status": 400, "message": "no", "code": "not_scripted"}}},
]
SCRIPT = """
import json, sys
import openai
client = openai.OpenAI(base_url=sys.argv[1], api_key="k-1")
create = lambda messages, **fields: client.chat.completions.create(model="m", messages=messages, **fields)
user = lambda text: {"role": "user", "content": text}
calls, text, reason = {}, "", None
for chunk in create([user("the weather?")], stream=True):
    choice = chunk.choices[0]
    text += choice.delta.content or ""
    reason = choice.finish_reason or reason
    for piece in choice.delta.tool_calls or ():
        call = calls.setdefault(piece.index, {"id": piece.id, "name": piece.function.name, "arguments": ""})
        call["arguments"] += piece.function.arguments
asked = {"role": "assistant", "content": text, "tool_calls": [
    {"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": call["arguments"]}}
    for call in calls.values()]}
results = [{"role": "tool", "tool_call_id": call["id"], "content": "x"} for call in calls.values()]
answer = create([user("the weather?"), asked, *results])
try:
    create([user("other")])
except openai.BadRequestError as error:
    code = error.code
print(json.dumps({
    "calls": [[at, call["name"], json.loads(call["arguments"])["city"]] for at, call in calls.items()],
    "ids": len({call["id"] for call in calls.values()}), "text": text, "reason": reason,
    "answer": answer.choices[0].message.content,
    "refusal": create([user("a secret")]).choices[0].message.refusal, "code": code}))
"""


def test_what_the_library_makes_of_a_script(tmp_path: Path) -> None:
    file = tmp_path / "script.jsonl"
    file.write_bytes(b"\n".join(json.dumps(rule).encode() for rule in RULES))
    with serving("--script", str(file)) as server:
        found = json.loads(run_with_openai(SCRIPT, server.url))
        server.process.terminate()
        _, errors = server.process.communicate()
    assert found == {
        "calls": [[0, "weather", "Rome"], [1, "weather", "Oslo"]],
        "ids": 2,
        "text": "Let me see.",
        "reason": "tool_calls",
        "answer": "Sun and snow.",
        "refusal": "I can't.",
        "code": "not_scripted",
    }
    assert b"nothing is wrong with the client" in errors
