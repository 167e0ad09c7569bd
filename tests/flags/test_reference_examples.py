"""The five examples of the API's reference page, each from flags alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

EXAMPLES = Path(__file__).parents[2].parent / "shared" / "api" / "examples"

WEATHER = """{
  "name": "get_current_weather",
  "description": "Get the current weather in a given location",
  "parameters": {
    "type": "object",
    "properties": {
      "location": {"type": "string", "description": "The city and state, e.g. San Francisco, CA"},
      "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}
    },
    "required": ["location"]
  }
}"""
PICTURE = (
    "https://upload.wikimedia.org/wikipedia/commons/thumb/d/dd/"
    "Gfp-wisconsin-madison-the-nature-boardwalk.jpg/2560px-Gfp-wisconsin-madison-the-nature-boardwalk.jpg"
)
GREETING = [
    {"role": "system", "content": "You are a helpful assistant."},
    {"role": "user", "content": "Hello!"},
]

WORDS = {
    "default": ["-m", "gpt-4o", "-s", "You are a helpful assistant.", "Hello!"],
    "image": ["-m", "gpt-4-turbo", "--max-tokens", "300", "--image", PICTURE, "What's in this image?"],
    "stream": ["-m", "gpt-4o", "-s", "You are a helpful assistant.", "--stream", "Hello!"],
    "functions": [
        *("-m", "gpt-4o", "--tool", "weather.json", "--tool-choice", "auto"),
        "What's the weather like in Boston today?",
    ],
    "logprobs": ["-m", "gpt-4o", "--logprobs", "--top-logprobs", "2", "Hello!"],
}
BODIES: dict[str, Any] = {
    "default": {"model": "gpt-4o", "messages": GREETING},
    "image": {
        "model": "gpt-4-turbo",
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What's in this image?"},
                    {"type": "image_url", "image_url": {"url": PICTURE}},
                ],
            }
        ],
        "max_tokens": 300,
    },
    "stream": {"model": "gpt-4o", "messages": GREETING, "stream": True},
    "functions": {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": "What's the weather like in Boston today?"}],
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "get_current_weather",
                    "description": "Get the current weather in a given location",
                    "parameters": {
                        "type": "object",
                        "properties": {
                            "location": {
                                "type": "string",
                                "description": "The city and state, e.g. San Francisco, CA",
                            },
                            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
                        },
                        "required": ["location"],
                    },
                },
            }
        ],
        "tool_choice": "auto",
    },
    "logprobs": {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": "Hello!"}],
        "logprobs": True,
        "top_logprobs": 2,
    },
}


@pytest.mark.parametrize("name", WORDS)
def test_example_from_flags_alone(chatpipe: Callable[..., Any], tmp_path: Path, name: str) -> None:
    (tmp_path / "weather.json").write_text(WEATHER)
    ran = chatpipe("build", *WORDS[name])
    assert ran.body == BODIES[name]
    assert ran.stderr == ""  # the check has nothing to say


@pytest.mark.parametrize("name", BODIES)
def test_example_is_the_one_of_the_page(name: str) -> None:
    path = EXAMPLES / f"seed-{name}.request.json"
    if not path.exists():
        pytest.skip("the API notes are not here")
    published = orjson.loads(path.read_bytes())
    if name == "image":  # the page sends a bare string; the description of the API wants an object
        part = published["messages"][0]["content"][1]
        part["image_url"] = {"url": part["image_url"]}
    assert BODIES[name] == published
