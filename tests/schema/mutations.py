"""Request bodies that are nearly right: the samples, each with one to three things changed."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SAMPLES: dict[str, dict[str, Any]] = {
    sample["name"]: sample["body"]
    for sample in map(json.loads, Path(__file__).with_name("samples.jsonl").read_text("utf-8").splitlines())
}

# Where engines tend to differ: booleans and numbers, 1.0 and 1, numbers beyond 64 bits, nulls, empty things.
ODD: list[Any] = [
    None, True, False, 0, 1, 1.0, 1.5, -1, -1.0, 2, 129, 2**63, 2**63 - 1, -(2**63) - 1, 10**40, 1e300, 0.0,
    "", "x", "1", "auto", "any", "none", "text", "image_url", "user", "assistant", "tool", "function",
    "custom", "max", "image", "on_demand", "default", "grammar", "json_schema", "json_object",
    "\ud83d", "x" * 65,
    [], [None], [[]], ["a"], [{}], ["a"] * 5, {}, {"a": None}, {"a": 1}, {"type": "text"},
    {"name": "weather"},
    {"type": "text", "text": "a"}, {"type": "function", "function": {"name": "f", "arguments": "{}"}},
    {"type": "image_url", "image_url": "https://example.com/a.png"}, {"id": "v"}, {"role": "user"},
]  # fmt: skip
KEYS = [
    "role", "content", "name", "type", "text", "refusal", "function", "custom", "arguments", "id",
    "tool_calls", "tool_call_id", "function_call", "audio", "image_url", "input_audio", "file",
    "detail", "url", "format", "grammar", "json_schema", "schema", "strict", "description",
    "parameters", "allowed_tools", "mode", "x",
]  # fmt: skip


def mutated(count: int, seed: int) -> Iterator[Any]:
    """Count bodies, the same for the same seed."""
    draw = random.Random(seed)
    bodies = list(SAMPLES.values())
    for _ in range(count):
        body = copy.deepcopy(draw.choice(bodies))
        for _ in range(draw.choice((1, 1, 1, 2, 3))):
            _mutate(draw, body)
        yield body


def _mutate(draw: random.Random, body: dict[str, Any]) -> None:
    place: Any = draw.choice([body, *_containers(body)])  # half of the time: any depth
    keys = list(place) if isinstance(place, dict) else list(range(len(place)))
    change = draw.choice(("odd", "odd", "odd", "delete", "add", "rename", "repeat"))
    if change == "add" or not keys:
        if isinstance(place, dict):
            place[draw.choice(KEYS)] = copy.deepcopy(draw.choice(ODD))
        else:
            place.append(copy.deepcopy(draw.choice(ODD)))
        return
    key = draw.choice(keys)
    if change == "odd":
        place[key] = copy.deepcopy(draw.choice(ODD))
    elif change == "delete":
        del place[key]
    elif change == "rename" and isinstance(place, dict):
        place[draw.choice(KEYS)] = place.pop(key)
    elif isinstance(place, list):
        place.extend(copy.deepcopy(place) * 2)


def _containers(value: Any) -> Iterator[Any]:
    children = value.values() if isinstance(value, dict) else value
    for child in children:
        if isinstance(child, (dict, list)):
            yield child
            yield from _containers(child)
