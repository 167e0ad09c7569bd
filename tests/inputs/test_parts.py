"""Tables of content parts as servers send them: what is text, what is reasoning, and what is neither."""

from __future__ import annotations

from typing import Any

from chatpipe.inputs.parts import may_be_text, parts_of, split_parts, without_reasoning
from support.parametrize import cases

TEXT = {"type": "text", "text": "a"}
IMAGE = {"type": "image_url", "image_url": {"url": "data:,"}}
THOUGHT = {"type": "thinking", "thinking": "h"}
REDACTED = {"type": "redacted_thinking", "data": "x"}


@cases(
    ("part", "text", "reasoning"),
    {
        "text": (TEXT, "a", ""),
        "text of the Responses API": ({"type": "output_text", "text": "a"}, "a", ""),
        "a string": ("a", "a", ""),
        "no type": ({"text": "a"}, "a", ""),
        "the type in capitals": ({"type": "TEXT", "text": "a"}, "a", ""),
        "a type we do not know, with a text": ({"type": "answer", "text": "a"}, "a", ""),
        "text as an object": ({"type": "text", "text": {"value": "a"}}, "a", ""),
        "text as a list": ({"type": "text", "text": [TEXT, TEXT]}, "aa", ""),
        "a list in the list": ([TEXT, [TEXT]], "aa", ""),
        "empty text": ({"type": "text", "text": ""}, "", ""),
        "Mistral": ({"type": "thinking", "thinking": [{"type": "text", "text": "h"}]}, "", "h"),
        "Mistral, several texts": (
            {"type": "thinking", "thinking": [TEXT, {"text": 1}, 2, TEXT]},
            "",
            "a12a",
        ),
        "Anthropic": ({"type": "thinking", "thinking": "h", "signature": "s"}, "", "h"),
        "Databricks": ({"type": "reasoning", "summary": [{"type": "summary_text", "text": "h"}]}, "", "h"),
        "reasoning under its name": ({"type": "reasoning", "reasoning": "h"}, "", "h"),
        "reasoning as text": ({"type": "reasoning", "text": "h"}, "", "h"),
        "reasoning as content": ({"type": "reasoning", "content": [{"text": "h"}]}, "", "h"),
        "reasoning of the Responses API": ({"type": "reasoning_text", "text": "h"}, "", "h"),
        "the long form before the summary": ({"type": "reasoning", "summary": "s", "text": "h"}, "", "h"),
        "an empty field before another": ({"type": "thinking", "thinking": "", "text": "h"}, "", "h"),
        "no type, the field says it": ({"thinking": "h"}, "", "h"),
        "Gemini": ({"text": "h", "thought": True}, "", "h"),
        "Gemini, no thought": ({"text": "a", "thought": False}, "a", ""),
    },
)
def test_a_part_is_text_or_reasoning(part: Any, text: str, reasoning: str) -> None:
    assert split_parts([part]) == (text, reasoning, [])


@cases(
    ("content", "parts"),
    {
        "a list": ([TEXT, "b"], [TEXT, "b"]),
        "a text without a list": (TEXT, [TEXT]),
        "an image without a list": (IMAGE, [IMAGE]),
        "reasoning without a list": (THOUGHT, [THOUGHT]),
        "nothing but a text": ({"text": "a"}, [{"text": "a"}]),
        "Gemini's own": ({"parts": [{"text": "a"}], "role": "model"}, [{"text": "a"}]),
        "an answer in JSON": ({"answer": 42}, None),
        "an answer in JSON that has a text": ({"text": "a", "score": 1}, None),
        "an answer in JSON that has a type": ({"type": "circle", "text": "a"}, None),
        "an answer in JSON that has parts": ({"parts": ["wheel"], "total": 1}, None),
        "nothing in it": ({}, None),
        "text": ("a", None),
        "a number": (1, None),
    },
)
def test_a_content_has_parts_with_or_without_a_list(content: Any, parts: list[Any] | None) -> None:
    assert parts_of(content) == parts
    assert may_be_text(content) == (parts is not None or not isinstance(content, dict))


def test_each_kind_of_part_keeps_its_order() -> None:
    parts = [{"thinking": "1"}, TEXT, IMAGE, {"thinking": "2"}, "b", 5, None, REDACTED]
    assert split_parts(parts) == ("ab", "12", [IMAGE, 5, REDACTED])
    assert without_reasoning([{"thinking": "1"}, TEXT, IMAGE, "b"]) == [TEXT, IMAGE, "b"]


def test_parts_nested_beyond_all_reason_are_no_text() -> None:
    deep: Any = "a"
    for _ in range(500):
        deep = {"type": "text", "text": [deep]}
    assert split_parts([deep]).others == [deep]
    for _ in range(500):
        deep = [deep]
    assert len(split_parts(deep).others) == 1
