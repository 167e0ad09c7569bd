"""The quick look at a completion agrees with the long one."""

from __future__ import annotations

from typing import Any

from chatpipe.response.caveats import caveats
from chatpipe.response.completion import is_plain_text
from chatpipe.response.judge import verdict
from support.parametrize import cases


def answer(message: Any, finish: Any = "stop", **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": message, "finish_reason": finish}], **fields}


PLAIN = {"role": "assistant", "content": "a"}


@cases(
    ("completion", "is_plain"),
    {
        "text": (answer(PLAIN), True),
        "white space": (answer({"content": "\n"}), True),
        "empty fields": (answer({**PLAIN, "refusal": None, "tool_calls": [], "function_call": None}), True),
        "reasoning and audio beside it": (answer({**PLAIN, "reasoning": "h", "audio": {"id": "x"}}), True),
        "other fields": (answer(PLAIN, usage={"total_tokens": 1}, base_url="x"), True),
        "no text": (answer({"content": ""}), False),
        "null": (answer({"content": None}), False),
        "no content": (answer({"role": "assistant"}), False),
        "parts": (answer({"content": [{"type": "text", "text": "a"}]}), False),
        "a number": (answer({"content": 1}), False),
        "a refusal": (answer({**PLAIN, "refusal": "no"}), False),
        "a call": (answer({**PLAIN, "tool_calls": [{"id": "c"}]}), False),
        "a list of nothing": (answer({**PLAIN, "tool_calls": [None]}), False),
        "a function's call": (answer({**PLAIN, "function_call": {"name": "f"}}), False),
        "images": (answer({**PLAIN, "images": [1]}), False),
        "cut": (answer(PLAIN, "length"), False),
        "filtered": (answer(PLAIN, "content_filter"), False),
        "another end": (answer(PLAIN, "eos"), False),
        "null as the end": (answer(PLAIN, None), False),
        "a list as the end": (answer(PLAIN, ["stop"]), False),
        "no end": ({"choices": [{"message": PLAIN}]}, False),
        "an error beside it": (answer(PLAIN, error={"message": "m"}), False),
        "an error of MiniMax": (answer(PLAIN, base_resp={"status_code": 1002}), False),
        "two choices": ({"choices": answer(PLAIN)["choices"] * 2}, False),
        "no choice": ({"choices": []}, False),
        "no choices": ({}, False),
        "choices of no list": ({"choices": {"a": 1}}, False),
        "choices as text": ({"choices": "a"}, False),
        "a choice as text": ({"choices": ["a"]}, False),
        "choices of null": ({"choices": None}, False),
        "a message as a list": (answer([PLAIN]), False),
        "a message as text": (answer("a"), False),
    },
)
def test_a_plain_text_is_good_and_has_no_caveats(completion: dict[str, Any], is_plain: bool) -> None:
    assert is_plain_text(completion) is is_plain
    if is_plain:
        assert verdict(completion, allow=frozenset(), text_format=True) is None
        assert list(caveats(completion, only_text=True)) == []
