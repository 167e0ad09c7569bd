"""Chunks -> completion, rule by rule. Whole streams are in test_samples.py."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatpipe.inputs import values
from chatpipe.response.assemble import Assembly
from support.parametrize import cases

Json = dict[str, Any]


def chunk(*choices: Json, **fields: Any) -> Json:
    return {**fields, "choices": list(choices)}


def assembled(*chunks: Json) -> Json:
    assembly = Assembly()
    for each in chunks:
        assembly.add(each)
    return assembly.completion()


def choice(*choices: Json) -> Json:
    """The one choice that these pieces of choices come to."""
    [only] = assembled(*map(chunk, choices))["choices"]
    assert isinstance(only, dict)
    return only


def message(*deltas: Any) -> Json:
    made = choice(*({"index": 0, "delta": delta} for delta in deltas))["message"]
    assert isinstance(made, dict)
    return made


def calls(*deltas: Any) -> list[Json]:
    """The tool calls that deltas of one chunk each come to."""
    made = message(*({"tool_calls": delta} for delta in deltas)).get("tool_calls", [])
    assert isinstance(made, list)
    return made


def test_keys_stand_in_the_order_of_a_completion() -> None:
    made = assembled(
        {
            "usage": {"total_tokens": 1},
            "choices": [
                {"finish_reason": "stop", "x": 1, "delta": {"x": "y", "content": "a", "role": "assistant"}}
            ],
            "model": "m",
            "created": 5,
            "x": 1,
            "object": "chat.completion.chunk",
            "id": "i",
        }
    )
    assert list(made) == ["id", "object", "created", "model", "choices", "usage", "x"]
    assert list(made["choices"][0]) == ["index", "message", "logprobs", "finish_reason", "x"]
    assert list(made["choices"][0]["message"]) == ["role", "content", "refusal", "x"]


def test_nothing_is_made_up_for_keys_that_no_chunk_had() -> None:
    assert assembled() == {"object": "chat.completion", "choices": []}
    assert assembled(chunk({"delta": {"content": "a"}})) == {
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "a", "refusal": None},
                "logprobs": None,
                "finish_reason": None,
            }
        ],
    }


@cases(
    ("chunks", "fields"),
    {
        "the last stays": ([{"id": "a"}, {"id": "b"}], {"id": "b"}),
        "azure": ([{"id": "a", "created": 7}, {"id": "", "created": 0}], {"id": "a", "created": 7}),
        "azure 1st": ([{"id": "", "created": 0}, {"id": "a", "created": 7}], {"id": "a", "created": 7}),
        "nothing better came": ([{"id": "", "created": 0}], {"id": "", "created": 0}),
        "null alone": ([{"service_tier": None}], {"service_tier": None}),
        "late": ([{"system_fingerprint": None}, {"system_fingerprint": "f"}], {"system_fingerprint": "f"}),
        "empty does not win": ([{"x": "f"}, {"x": None}, {"x": ""}, {"x": []}, {"x": {}}], {"x": "f"}),
        "zero wins": ([{"left": 3}, {"left": 0}], {"left": 0}),
        "false wins": ([{"busy": True}, {"busy": False}], {"busy": False}),
        "no usage came": ([{"usage": None}, {"usage": None}], {}),
        "usage": ([{"usage": {"n": 1}}, {"usage": {"n": 2}}, {"usage": None}], {"usage": {"n": 2}}),
        "usage in pieces": (
            [{"usage": {"n": 1, "m": 2}}, {"usage": {"n": 0, "m": 3}}],
            {"usage": {"n": 1, "m": 3}},
        ),
        "usage of Groq": (
            [{"x_groq": {"id": "r", "usage": {"n": 1}}}, {"x_groq": {"id": "r"}}],
            {"x_groq": {"id": "r", "usage": {"n": 1}}},
        ),
        "obfuscation": ([{"obfuscation": "xyz"}], {}),
        "object": ([{"object": "other"}], {}),
        "not merged": ([{"timings": {"a": 1}}, {"timings": {"b": 2}}], {"timings": {"b": 2}}),
        "choices no list": ([{"choices": "x"}, {"choices": None}, {"choices": {"index": 0}}], {}),
        "choices no objects": ([{"choices": [None, 1, "x", []]}], {}),
    },
)
def test_chunks_make_the_top_level_fields(chunks: list[Json], fields: Json) -> None:
    assert assembled(*chunks) == {"object": "chat.completion", "choices": [], **fields}


@cases(
    ("deltas", "fields"),
    {
        "content": ([{"content": "a"}, {"content": "b"}], {"content": "ab"}),
        "nulls": ([{"content": None}, {"content": "b"}, {"content": None}], {"content": "b"}),
        "empty content stays": ([{"content": ""}], {"content": ""}),
        "no content": ([{"content": None}], {"content": None}),
        "content as numbers": ([{"content": 1}, {"content": 2}, {"content": 0.5}], {"content": "120.5"}),
        "content as numbers later": (
            [{"content": "a"}, {"content": 0}, {"content": False}, {"content": 2**70}],
            {"content": "a0false1180591620717411303424"},
        ),
        "content an object": (
            [{"content": "a"}, {"content": {"a": 1}}, {"content": "b"}],
            {"content": [{"type": "text", "text": "a"}, {"a": 1}, {"type": "text", "text": "b"}]},
        ),
        "refusal": ([{"refusal": "n"}, {"refusal": "o"}], {"refusal": "no"}),
        "refusal in any form": (
            [{"refusal": ["n"]}, {"refusal": 0}, {"refusal": False}, {"refusal": 5}, {"refusal": {"a": 1}}],
            {"refusal": 'n5{"a":1}'},
        ),
        "reasoning as numbers": ([{"reasoning": 1}, {"reasoning": 2}], {"reasoning": "12"}),
        "reasoning in parts": (
            [{"reasoning": [{"type": "text", "text": "h"}]}, {"reasoning": ["m"]}],
            {"reasoning": "hm"},
        ),
        "reasoning, each under its name": (
            [{"reasoning": "a"}, {"reasoning_content": "x"}, {"reasoning": "b", "reasoning_content": "y"}],
            {"reasoning": "ab", "reasoning_content": "xy"},
        ),
        "no reasoning": ([{"reasoning": None}], {}),
        "role repeated": ([{"role": "assistant"}, {"role": "assistant"}], {"role": "assistant"}),
        "role as it came": ([{"role": "tool"}, {"role": ""}], {"role": "tool"}),
        "role odd": ([{"role": None}, {"role": 3}], {"role": "assistant"}),
        "unknown strings concatenate": ([{"x": "a"}, {"x": "b"}], {"x": "ab"}),
        "unknown numbers add": ([{"x": 1}, {"x": 2}, {"x": 0.5}], {"x": 3.5}),
        "booleans do not add": ([{"x": True}, {"x": False}], {"x": False}),
        "null is replaced": ([{"x": None}, {"x": 2}], {"x": 2}),
        "objects merge": (
            [{"x": {"a": "1", "b": 1}}, {"x": {"a": "2", "c": []}}],
            {"x": {"a": "12", "b": 1, "c": []}},
        ),
        "lists grow": ([{"x": [1]}, {"x": ["b", None]}], {"x": [1, "b", None]}),
        "lists merge by index": (
            [
                {"x": [{"index": 1, "type": "t", "s": "b"}]},
                {"x": [{"index": 0, "s": "a"}, {"index": 1, "type": "t", "s": "c"}, {"index": 1, "id": "i"}]},
            ],
            {"x": [{"index": 1, "type": "t", "s": "bc", "id": "i"}, {"index": 0, "s": "a"}]},
        ),
        "no index": ([{"x": [{"a": "1"}]}, {"x": [{"a": "1"}]}], {"x": [{"a": "1"}, {"a": "1"}]}),
        "other type after a string": ([{"x": "a"}, {"x": 1}, {"x": {}}, {"x": []}], {"x": "a"}),
        "after an object": ([{"x": {"a": 1}}, {"x": "a"}, {"x": [1]}, {"x": 2}], {"x": {"a": 1}}),
        "after a list": ([{"x": [1]}, {"x": "a"}, {"x": {"a": 1}}, {"x": 2}], {"x": [1]}),
        "a sum that does not exist": ([{"x": 10**400}, {"x": 0.5}], {"x": 10**400}),
        "annotations": (
            [{"annotations": [{"n": 1}]}, {"annotations": [{"n": 2}]}],
            {"annotations": [{"n": 1}, {"n": 2}]},
        ),
        "function_call in pieces": (
            [
                {"function_call": {"name": "get_"}},
                {"function_call": {"name": "it", "arguments": "{"}},
                {"function_call": {"name": None, "arguments": "}"}},
            ],
            {"function_call": {"name": "get_it", "arguments": "{}"}},
        ),
        "function_call, its name in each piece": (
            [
                {"function_call": {"name": "f", "arguments": "{"}},
                {"function_call": {"name": "f", "arguments": 1}},
                {"function_call": {"name": "f", "arguments": "}"}},
            ],
            {"function_call": {"name": "f", "arguments": "{1}"}},
        ),
        "no function_call": ([{"function_call": None}], {}),
        "function_call odd": (
            [{"function_call": "f"}, {"content": "a"}],
            {"function_call": "f", "content": "a"},
        ),
        "delta no object": ([None, "x", 5, [{"content": "a"}]], {}),
        "delta empty": ([{}], {}),
        "content as parts": (
            [
                {
                    "content": [
                        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}, {"text": 1}, 2]},
                        {"type": "text", "text": "a"},
                        7,
                        {"type": "x"},
                    ]
                },
                {"content": "b"},
            ],
            {
                "content": [{"type": "text", "text": "a"}, 7, {"type": "x"}, {"type": "text", "text": "b"}],
                "reasoning_content": "hm12",
            },
        ),
        "text in parts alone": (
            [{"content": [{"type": "text", "text": "a"}, {"type": "text", "text": 1}]}, {"content": ["b"]}],
            {"content": "a1b"},
        ),
    },
)
def test_deltas_make_a_message(deltas: list[Any], fields: Json) -> None:
    assert message(*deltas) == {"role": "assistant", "content": None, "refusal": None, **fields}


def call(id: str | None = None, name: str | None = None, arguments: Any = None, **fields: Any) -> Json:
    function = {"name": name, "arguments": arguments}
    return {
        **fields,
        "id": id,
        "type": "function",
        "function": {k: v for k, v in function.items() if v is not None},
    }


def bare(index: int, arguments: str) -> Json:
    return {"index": index, "function": {"arguments": arguments}}


A = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{1}"}}
B = {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{2}"}}
A_WITHOUT_ID = {"type": "function", "function": {"name": "f", "arguments": "{1}"}}
B_WITHOUT_ID = {"type": "function", "function": {"name": "g", "arguments": "{2}"}}


@cases(
    ("deltas", "made"),
    {
        "plain": ([[call("a", "f", "{", index=0)], [bare(0, "1}")]], [A]),
        "whole, in one": ([[call("a", "f", "{1}", index=0), call("b", "g", "{2}", index=1)]], [A, B]),
        "in order of index": ([[call("b", "g", "{2}", index=1)], [call("a", "f", "{1}", index=0)]], [A, B]),
        "id and name repeated": (
            [[call("a", "f", "{", index=0)], [call("a", "f", "1", index=0)], [call("", "", "}", index=0)]],
            [A],
        ),
        "id and name late": ([[call(None, None, "{", index=0)], [call("a", "f", "1}", index=0)]], [A]),
        "another id, no name: same call": (
            [[call("a", "f", "{", index=0)], [{"index": 0, "id": "z", "function": {"arguments": "1}"}}]],
            [A],
        ),
        "another id and a name: another call": (
            [[call("a", "f", "{1}", index=0)], [call("b", "g", "{", index=0)], [bare(0, "2}")]],
            [A, B],
        ),
        "one index twice in a chunk": ([[call("a", "f", None, index=0), bare(0, "{1}")]], [A]),
        "no index, id empty: the last": ([[call("a", "f", "{")], [call("", None, "1}")]], [A]),
        "no index: by id": ([[call("a", "f", "{")], [call("a", "f", "1}")], [call("b", "g", "{2}")]], [A, B]),
        "no index: back to an id": (
            [[call("a", "f", "{")], [call("b", "g", "{2")], [call("a", None, "1}")], [call("b", None, "}")]],
            [A, B],
        ),
        "no index, no id: the last": (
            [
                [call("a", "f", "{")],
                [{"function": {"arguments": "1"}}],
                [{"id": None, "index": None, "function": {"arguments": "}"}}],
            ],
            [A],
        ),
        "names alone, in one chunk": (
            [[call(None, "f", "{1}"), call(None, "f", "{1}")]],
            [A_WITHOUT_ID, A_WITHOUT_ID],
        ),
        "names alone, one after the other": (
            [[call(None, "f", "{1}")], [call(None, "g", "{2}")]],
            [A_WITHOUT_ID, B_WITHOUT_ID],
        ),
        "index, then none": ([[call("a", "f", "{1}", index=3)], [call("b", "g", "{2}")]], [A, B]),
        "index odd: none": (
            [[call("a", "f", "{1}", index="0")], [call("b", "g", "{2}", index=True)]],
            [A, B],
        ),
        "a call that is not in a list": ([call("a", "f", "{1}")], [A]),
        "no type, no arguments": (
            [[{"index": 0, "function": {"name": "f"}}]],
            [{"type": "function", "function": {"name": "f", "arguments": ""}}],
        ),
        "arguments an object after a string": (
            [[call("a", "f", "", index=0)], [{"index": 0, "function": {"arguments": {"x": 1}}}]],
            [{**A, "function": {"name": "f", "arguments": '{"x":1}'}}],
        ),
        "arguments a string after an object": ([[call("a", "f", {}, index=0)], [bare(0, "{1}")]], [A]),
        "arguments in pieces that are numbers": (
            [
                [call("a", "f", "[", index=0)],
                [{"index": 0, "function": {"arguments": 1}}],
                [{"index": 0, "function": {"arguments": 2}}],
                [bare(0, "]")],
            ],
            [{**A, "function": {"name": "f", "arguments": "[12]"}}],
        ),
        "arguments an object": (
            [[call("a", "f", {"x": 1}, index=0)]],
            [{**A, "function": {"name": "f", "arguments": '{"x":1}'}}],
        ),
        "arguments an empty object": (
            [[call("a", "f", {}, index=0)]],
            [{**A, "function": {"name": "f", "arguments": "{}"}}],
        ),
        "custom": (
            [
                [{"index": 0, "id": "a", "custom": {"name": "q", "input": "x"}}],
                [{"index": 0, "custom": {"input": "y"}}],
            ],
            [{"id": "a", "type": "custom", "custom": {"name": "q", "input": "xy"}}],
        ),
        "unknown fields": (
            [
                [{**call("a", "f", "{1}", index=0), "extra": {"sig": "x"}}],
                [{"index": 0, "extra": {"sig": "y", "n": 1}}],
            ],
            [{**A, "extra": {"sig": "xy", "n": 1}}],
        ),
        "no calls": ([[], None, "x", 5, [None, 1, [], {}]], []),
        "whole, one index, no ids": (
            [[call(None, "f", "{1}", index=0)], [call(None, "g", "{2}", index=0)]],
            [A_WITHOUT_ID, B_WITHOUT_ID],
        ),
        "whole, one index, empty ids, one name": (
            [[call("", "f", "{1}", index=0)], [call("", "f", "{1}", index=0)]],
            [{"id": "", **A_WITHOUT_ID}] * 2,
        ),
        "whole, one index, one id": (
            [[call("a", "f", "{1}", index=0)], [call("a", "g", "{2}", index=0)]],
            [A, {**B, "id": "a"}],
        ),
        "in pieces, one id, one name": (
            [
                [call("a", "f", "", index=0)],
                [bare(0, "{1}")],
                [call("a", "f", "", index=1)],
                [bare(1, "{2}")],
            ],
            [A, {**A, "function": {"name": "f", "arguments": "{2}"}}],
        ),
        "an index, id and name for each piece": (
            [[call("a", "f", "{", index=0)], [call("a", "f", "1}", index=1)], [call("a", "f", "", index=2)]],
            [A],
        ),
        "whole, no index, no ids, one name": (
            [[call(None, "f", "{1}")], [call(None, "f", "{1}")]],
            [A_WITHOUT_ID, A_WITHOUT_ID],
        ),
        "in pieces, one index, no ids": (
            [
                [call(None, "f", "", index=0)],
                [bare(0, "{")],
                [bare(0, "1}")],
                [call(None, "f", None, index=0)],
                [bare(0, "{1}")],
            ],
            [A_WITHOUT_ID, A_WITHOUT_ID],
        ),
        "no arguments, one chunk": (
            [[call(None, "f", ""), call(None, "f", "")]],
            [{**A_WITHOUT_ID, "function": {"name": "f", "arguments": ""}}] * 2,
        ),
        "no arguments after a whole call": (
            [[call(None, "f", "{1}", index=0)], [call(None, "g", "", index=0)]],
            [A_WITHOUT_ID, {**B_WITHOUT_ID, "function": {"name": "g", "arguments": ""}}],
        ),
        "the name once more at the end": (
            [[call(None, "f", "{1}", index=0)], [call(None, "f", "", index=0)]],
            [A_WITHOUT_ID],
        ),
        "one index, ids, no arguments": (
            [[call("a", "f", "", index=0)], [call("b", "f", "", index=0)]],
            [{"id": id, "type": "function", "function": {"name": "f", "arguments": ""}} for id in ("a", "b")],
        ),
        "the same call once more": (
            [[call("a", "f", "{1}", index=0)], [call("a", "f", "{1}", index=0)], [call("a", "f", "{1}")]],
            [A],
        ),
        "a quote and a brace inside a string": (
            [
                [call(None, "f", '{"x":"}\\', index=0)],
                [call(None, "f", '"}', index=0)],
                [call(None, "f", '"}', index=0)],
            ],
            [{**A_WITHOUT_ID, "function": {"name": "f", "arguments": '{"x":"}\\"}"}'}}],
        ),
        "the name with each piece, no index": (
            [[call(None, "f", "{")], [call(None, "f", "1")], [call(None, "f", "}")]],
            [A_WITHOUT_ID],
        ),
        "an id for each piece, and the name": (
            [[call("a", "f", "{", index=0)], [call("x", "f", "1", index=0)], [call("y", "f", "}", index=0)]],
            [A],
        ),
        "an id for each piece, no index": (
            [[call("a", "f", "{")], [{"id": "x", "function": {"arguments": "1}"}}]],
            [A],
        ),
        "an index for each piece": (
            [[call("a", "f", "{", index=0)], [bare(1, "1")], [call("a", None, "}", index=2)]],
            [A],
        ),
        "an index for each piece, two calls": (
            [
                [call("a", "f", "{", index=0)],
                [bare(1, "1}")],
                [call("b", "g", "{", index=2)],
                [bare(3, "2}")],
            ],
            [A, B],
        ),
        "a name in pieces": (
            [
                [call("a", "ge", None, index=0)],
                [call(None, "t_", "", index=0)],
                [call("a", "it", "{1}", index=0)],
            ],
            [{**A, "function": {"name": "get_it", "arguments": "{1}"}}],
        ),
        "a name that grows": (
            [[call("a", "get_", None, index=0)], [call("a", "get_it", "{1}", index=0)]],
            [{**A, "function": {"name": "get_it", "arguments": "{1}"}}],
        ),
        "objects as arguments, one index, no ids": (
            [[call(None, "f", {"x": 1}, index=0)], [call(None, "f", {"x": 2}, index=0)]],
            [
                {"type": "function", "function": {"name": "f", "arguments": arguments}}
                for arguments in ('{"x":1}', '{"x":2}')
            ],
        ),
        "impossible types are kept": (
            [[{"index": 0, "id": 5, "function": "f"}]],
            [{"id": 5, "function": "f"}],
        ),
    },
)
def test_pieces_of_tool_calls_make_calls(deltas: list[Any], made: list[Json]) -> None:
    assert calls(*deltas) == made


@cases(
    ("pieces", "whole"),
    {
        "multiples of four": (["QUJD", "REVG"], "QUJDREVG"),
        "cut anywhere": (["QUJ", "DREV", "G"], "QUJDREVG"),
        "each padded": (["QUI=", "Q0RFRg=="], "QUJDREVG"),
        "padded and cut anywhere": (["QQ", "==Q", "kNERUY", "="], "QUJDREVG"),
        "padded at the end": (["QUJD", "RA=="], "QUJDRA=="),
        "not base64": (["Q=", "?=", "x"], "Q=?=x"),
        "not even ASCII": (["QUI=", "é"], "QUI=é"),
        "none": ([], ""),
    },
)
def test_audio_data_is_one_base64(pieces: list[str], whole: str) -> None:
    made = message({"audio": {"id": "i", "data": ""}}, *({"audio": {"data": piece}} for piece in pieces))
    assert made["audio"] == {"id": "i", "data": whole}


def test_pieces_of_audio_make_one_object() -> None:
    made = message(
        {"audio": {"id": "i", "transcript": "Hel"}},
        {"audio": {"id": "i", "transcript": "lo", "expires_at": 10}},
        {"audio": {"expires_at": 20}},
        {"audio": None},
    )
    assert made["audio"] == {"id": "i", "transcript": "Hello", "expires_at": 20}


@cases(
    ("pieces", "fields"),
    {
        "finish": ([{"finish_reason": "stop"}, {"finish_reason": None}], {"finish_reason": "stop"}),
        "last": ([{"finish_reason": "stop"}, {"finish_reason": "length"}], {"finish_reason": "length"}),
        "finish none": ([{"finish_reason": ""}, {"finish_reason": "null"}, {"finish_reason": []}], {}),
        "finish odd": ([{"finish_reason": ["stop"]}], {"finish_reason": ["stop"]}),
        "usage": ([{"usage": {"n": 1}}, {"usage": {"n": 2}}, {"usage": None}], {"usage": {"n": 2}}),
        "usage in a delta": (
            [{"delta": {"usage": {"n": 1}}}, {"delta": {"usage": {"n": 2}}}],
            {"usage": {"n": 2}},
        ),
        "no logprobs": ([{"logprobs": None}, {"logprobs": "x"}], {}),
        "logprobs": (
            [
                {"logprobs": {"content": None}},
                {"logprobs": {"content": [1]}},
                {"logprobs": {"content": [2], "refusal": None}},
                {"logprobs": {"content": None, "refusal": [3]}},
            ],
            {"logprobs": {"content": [1, 2], "refusal": [3]}},
        ),
        "unknown": ([{"stop_reason": None}, {"stop_reason": 7}, {"stop_reason": None}], {"stop_reason": 7}),
        "unknown and null": ([{"stop_reason": None}], {}),
        "unknown list grows": ([{"token_ids": [1]}, {"token_ids": [2, 3]}], {"token_ids": [1, 2, 3]}),
        "unknown object merges, the last stays": (
            [
                {"r": {"hate": {"filtered": False, "s": "safe"}, "l": [1]}},
                {"r": {"hate": {"filtered": True}, "l": [2]}},
            ],
            {"r": {"hate": {"filtered": True, "s": "safe"}, "l": [2]}},
        ),
        "unknown of many types": ([{"r": {"a": 1}}, {"r": 5}, {"r": [1]}, {"r": {"b": 2}}], {"r": {"b": 2}}),
        "message instead of deltas": (
            [{"message": {"role": "assistant", "content": "all", "x": 1}}],
            {"message": {"role": "assistant", "content": "all", "refusal": None, "x": 1}},
        ),
        "message beside the delta": (
            [
                {"delta": {"content": "a"}, "message": {"content": "a"}},
                {"delta": {"content": "b"}, "message": {"content": "ab"}},
            ],
            {"message": {"role": "assistant", "content": "ab", "refusal": None}},
        ),
        "message after the deltas": (
            [{"delta": {"content": "a"}}, {"message": {"content": "a"}}],
            {"message": {"role": "assistant", "content": "a", "refusal": None}},
        ),
        "message as it grows": (
            [{"message": {"content": text}} for text in ("", "a", "ab", "ab", "abc")],
            {"message": {"role": "assistant", "content": "abc", "refusal": None}},
        ),
        "message after a role": (
            [{"delta": {"role": "assistant"}}, {"message": {"content": "a"}}, {"message": 5}],
            {"message": {"role": "assistant", "content": "a", "refusal": None}},
        ),
    },
)
def test_pieces_make_a_choice(pieces: list[Json], fields: Json) -> None:
    empty = {"role": "assistant", "content": None, "refusal": None}
    assert choice(*pieces) == {
        "index": 0,
        "message": empty,
        "logprobs": None,
        "finish_reason": None,
        **fields,
    }


@cases(
    ("chunks", "contents"),
    {
        "interleaved": ([[(1, "b")], [(0, "a")], [(1, "d"), (0, "c")]], {0: "ac", 1: "bd"}),
        "by place": ([[(None, "a"), (None, "b")], [(None, "c"), (None, "d")]], {0: "ac", 1: "bd"}),
        "index odd": ([[("0", "a")], [(False, "b")], [(1.0, "c")]], {0: "abc"}),
        "numbers of their own": ([[(7, "a")], [(-1, "b")]], {-1: "b", 7: "a"}),
    },
)
def test_choices_by_index(chunks: list[list[tuple[Any, str]]], contents: dict[int, str]) -> None:
    made = assembled(*(chunk(*({"index": i, "delta": {"content": c}} for i, c in each)) for each in chunks))
    assert [(each["index"], each["message"]["content"]) for each in made["choices"]] == list(contents.items())


@cases(
    ("chunks", "finished"),
    {
        "nothing": ([], False),
        "no choice": ([chunk(usage={"n": 1})], False),
        "not yet": ([chunk({"index": 0, "finish_reason": None})], False),
        "one": ([chunk({"index": 0, "finish_reason": "stop"})], True),
        "after": ([chunk({"index": 0, "finish_reason": "stop"}), chunk({"index": 0, "delta": {}})], True),
        "one of two": ([chunk({"index": 0, "finish_reason": "stop"}, {"index": 1, "delta": {}})], False),
        "two": ([chunk({"index": 0, "finish_reason": "stop"}, {"index": 1, "finish_reason": "x"})], True),
    },
)
def test_a_stream_is_finished_when_every_choice_is(chunks: list[Json], finished: bool) -> None:
    assembly = Assembly()
    for each in chunks:
        assembly.add(each)
    assert assembly.is_finished() is finished


def test_completion_may_be_asked_on_the_way() -> None:
    assembly = Assembly()
    piece = {
        "index": 0,
        "delta": {"content": "a", "x": {"y": ["z"]}, "tool_calls": [call("a", "f", "{", index=0)]},
        "logprobs": {"content": [1]},
        "token_ids": [1],
        "r": {"s": {"t": 1}},
    }
    assembly.add(chunk(piece))
    early = assembly.completion()
    kept = copy.deepcopy(early)
    assembly.add(chunk(piece))
    assert early == kept
    [twice] = assembly.completion()["choices"]
    assert twice["message"]["content"] == "aa"
    assert twice["message"]["x"] == {"y": ["z", "z"]}
    assert twice["logprobs"] == {"content": [1, 1]}
    assert twice["token_ids"] == [1, 1]


def nested(levels: int) -> Any:
    """Objects and lists in turn; each list has two items of one index, to be merged."""
    deep: Any = "x"
    for level in range(levels):
        deep = [deep, {"index": 0, "b": "c"}] if level % 2 else {"index": 0, "a": deep}
    return deep


@pytest.mark.parametrize("levels", [200, 201])  # the bound lies at an object, at a list
def test_merging_ends_at_a_bound_and_changes_no_chunk(levels: int) -> None:
    piece = chunk({"index": 0, "delta": {"x": nested(levels)}, "r": nested(levels)})
    before = json.dumps(piece)
    made = assembled(piece, piece)["choices"][0]["message"]["x"]
    assert json.dumps(piece) == before
    for _ in range(10):
        made = made["a"] if type(made) is dict else made[0]
    assert (made["b"] if type(made) is dict else made[0]["b"]) == "cc"


def test_values_nested_beyond_all_reason_are_taken() -> None:
    deep = nested(900)
    fields = {"x": deep, "content": [{"text": deep}], "tool_calls": [{"index": 0, "x": deep}], "audio": deep}
    piece = {"index": 0, "delta": fields, "r": deep, "logprobs": {"content": deep}}
    made = assembled(chunk(piece, y=deep), chunk(piece, y=deep))
    assert made["choices"][0]["message"]["content"] == [{"text": deep}] * 2


scalars = st.none() | st.booleans() | st.integers() | st.floats(-1e9, 1e9) | st.text(max_size=3)
keys = (
    st.sampled_from(["index", "id", "type", "name", "role", "content", "refusal", "reasoning", "text", "x"])
    | st.sampled_from(["tool_calls", "function", "arguments", "custom", "input", "function_call", "thinking"])
    | st.sampled_from(["audio", "data", "transcript", "expires_at"])
    | st.sampled_from(["choices", "delta", "message", "finish_reason", "logprobs", "usage", "created"])
)
anything = st.recursive(
    scalars | st.just(0),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=20,
)
deltas = st.dictionaries(keys, anything, max_size=4)
choices = st.dictionaries(keys, anything, max_size=3) | st.builds(
    lambda delta, index: {"delta": delta, "index": index}, deltas, scalars
)
odd_chunks = st.dictionaries(keys, anything, max_size=3) | st.builds(
    lambda some: {"choices": some}, st.lists(choices, max_size=3)
)


@given(st.lists(odd_chunks, max_size=6))
def test_no_shape_of_chunk_raises_or_is_changed(chunks: list[Json]) -> None:
    before = copy.deepcopy(chunks)
    made = assembled(*chunks)
    assert chunks == before
    assert made["object"] == "chat.completion"
    assert json.loads(json.dumps(made)) == made, "a completion is plain JSON"
    for each in made["choices"]:
        assert type(each["message"]["content"]) in (type(None), str, list)


@pytest.mark.timeout(60)
@cases(
    "delta",
    {
        "content": {"content": "x" * 20},
        "text in a list": {"reasoning_details": [{"index": 0, "text": "x" * 20}]},
        "arguments": {"tool_calls": [{"index": 0, "function": {"arguments": "x" * 20}}]},
    },
)
def test_time_is_linear_in_the_number_of_chunks(delta: Json) -> None:
    assembly = Assembly()
    for _ in range(300_000):
        assembly.add({"choices": [{"index": 0, "delta": delta}]})
    assert len(values.dumps(assembly.completion())) > 6_000_000


@pytest.mark.timeout(60)
def test_time_is_linear_in_the_number_of_items_and_counts() -> None:
    assembly = Assembly()
    for number in range(50_000):
        delta = {"x": [{"index": number, "a": "b"}], "usage": {f"c{number}": 1}}
        assembly.add({"choices": [{"index": 0, "delta": delta}], "usage": {"d": {f"c{number}": 1}}})
    made = assembly.completion()
    [choice] = made["choices"]
    assert (len(choice["message"]["x"]), len(choice["usage"]), len(made["usage"]["d"])) == (50_000,) * 3


def test_calls_have_a_limit() -> None:
    assembly = Assembly()
    for number in range(2000):
        assembly.add({"choices": [{"index": 0, "delta": {"tool_calls": [call(f"c{number}", "f", "{}")]}}]})
    assert len(assembly.completion()["choices"][0]["message"]["tool_calls"]) == 1000
    assert assembly.excess.startswith("more than 1000 tool calls")


@cases(
    ("pieces", "is_second"),
    {
        "one": ([{"message": {"content": "a"}}], False),
        "the same again": ([{"message": {"content": "a"}}, {"message": {"content": "a"}}], False),
        "shorter": ([{"message": {"content": "ab"}}, {"message": {"content": "a"}}], False),
        "longer": ([{"message": {"content": "a"}}, {"message": {"content": "ab"}}], False),
        "another": ([{"message": {"content": "a"}}, {"message": {"content": "b"}}], True),
        "another behind deltas": ([{"delta": {"content": "a"}}, {"message": {"content": "b"}}], False),
        "no text": ([{"message": {"tool_calls": []}}, {"message": {"content": None}}], False),
    },
)
def test_a_second_message_that_differs_is_another_answer(pieces: list[Json], is_second: bool) -> None:
    assembly = Assembly()
    for piece in pieces:
        assembly.add(chunk({"index": 0, **piece}))
    assert assembly.has_second_answer() is is_second
