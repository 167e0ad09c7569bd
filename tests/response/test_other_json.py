"""JSON that is no completion: an answer of another API, or an input."""

from __future__ import annotations

from typing import Any

from chatpipe.response.other_json import KINDS, other_json, other_reply
from support.parametrize import cases

SAID = {"role": "assistant", "content": "Hi"}

EXAMPLES: dict[str, tuple[Any, str]] = {
    "Ollama": ({"model": "m", "created_at": "t", "message": SAID, "done": True}, "Ollama's own API"),
    "Ollama, generate": ({"model": "m", "response": "Hi", "done": False}, "Ollama's own API"),
    "llama.cpp": ({"content": "Hi", "stop": True, "model": "m"}, "llama.cpp's own API"),
    "TGI": ([{"generated_text": "Hi"}], "Text Generation Inference's own API"),
    "TGI, a piece": (
        {"index": 1, "token": {}, "generated_text": None},
        "Text Generation Inference's own API",
    ),
    "Anthropic": ({"type": "message", "content": [{"type": "text"}]}, "Anthropic's Messages API"),
    "Anthropic, a stream": ({"type": "message_stop", "index": 0}, "Anthropic's Messages API"),
    "Responses": ({"object": "response", "output": []}, "the Responses API"),
    "Responses, a stream": ({"type": "response.completed", "response": {}}, "the Responses API"),
    "Gemini": ({"candidates": [{"content": {}}]}, "Gemini's own API"),
    "Cloudflare": ({"result": {"response": "Hi"}, "success": True, "messages": []}, "Cloudflare's own API"),
    "Cloudflare, a stream": ({"response": "Hi", "p": "abc"}, "Cloudflare's own API"),
    "Bedrock": ({"output": {"message": SAID}, "stopReason": "end_turn"}, "Bedrock's Converse API"),
    "DashScope": ({"output": {"text": "Hi"}, "request_id": "r"}, "DashScope's own API"),
    "Cohere": ({"id": "i", "message": {"role": "assistant", "content": []}}, "Cohere's own API"),
    "a job": ({"id": "j", "status": "pending-evaluation"}, "a job that is not done"),
    "a job that runs": ({"status": "in_progress", "message": "m"}, "a job that is not done"),
    "a job whose answer is empty": ({"status": "queued", "choices": []}, "a job that is not done"),
    "models": ({"object": "list", "data": []}, "a list, such as one of models or embeddings"),
    "Batch input": ({"custom_id": "a", "body": {"messages": []}}, "a line of a Batch input"),
    "exchange": ({"v": 1, "request": {"body": {}}, "response": {"status": 200}}, "a recorded exchange"),
    "request": ({"model": "m", "messages": []}, "a request body"),
    "row": ({"prompt": "Hi"}, "a row with a prompt"),
    "message": (SAID, "a message"),
    "messages": ([SAID, SAID], "a message"),
}


@cases(("value", "what"), EXAMPLES)
def test_json_is_named(value: Any, what: str) -> None:
    kind = other_json(value)
    assert kind is not None
    assert kind.what.removeprefix("an answer of ") == what
    assert bool(kind.use) is not kind.what.startswith(("an answer", "a list", "a job"))


@cases(
    ("value", "what"),
    {
        "another API": ({"candidates": []}, "the reply is an answer of Gemini's own API"),
        "in an array": ([{"candidates": []}], "the reply is an answer of Gemini's own API"),
        "an unknown object": ({"status": "up"}, "the answer has no choices"),
        "a completion without choices": ({"model": "m", "choices": []}, None),
        "usage alone": ({"usage": {}}, None),
        "nothing": ({}, None),
        "a number": (1, None),
    },
)
def test_a_reply_is_no_completion(value: Any, what: str | None) -> None:
    other = other_reply(value)
    assert (other and other.what) == what


def test_every_row_has_an_example() -> None:
    found = [kind for value, _ in EXAMPLES.values() if (kind := other_json(value)) is not None]
    assert {kind for _, kind in KINDS} == set(found)


@cases(
    "value",
    {
        "an empty object": {},
        "an empty array": [],
        "a number": 1,
        "a number in an array": [1],
        "a completion": {"object": "chat.completion", "choices": [{"message": SAID}]},
        "usage": {"usage": {}},
        "an unknown object": {"hello": "world"},
        "the error of a job": {"status": "pending", "error": {"message": "m"}},
        "members of other types": {
            "done": 1,
            "message": "m",
            "candidates": {},
            "output": "Hi",
            "messages": 1,
        },
    },
)
def test_other_values_have_no_name(value: Any) -> None:
    assert other_json(value) is None
