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


@pytest.mark.parametrize(
    ("chunks", "fields"),
    [
        pytest.param([{"id": "a"}, {"id": "b"}], {"id": "b"}, id="the last stays"),
        pytest.param(
            [{"id": "a", "created": 7}, {"id": "", "created": 0}], {"id": "a", "created": 7}, id="azure"
        ),
        pytest.param(
            [{"id": "", "created": 0}, {"id": "a", "created": 7}], {"id": "a", "created": 7}, id="azure 1st"
        ),
        pytest.param([{"id": "", "created": 0}], {"id": "", "created": 0}, id="nothing better came"),
        pytest.param([{"service_tier": None}], {"service_tier": None}, id="null alone"),
        pytest.param(
            [{"system_fingerprint": None}, {"system_fingerprint": "f"}],
            {"system_fingerprint": "f"},
            id="late",
        ),
        pytest.param(
            [{"x": "f"}, {"x": None}, {"x": ""}, {"x": []}, {"x": {}}], {"x": "f"}, id="empty does not win"
        ),
        pytest.param([{"left": 3}, {"left": 0}], {"left": 0}, id="zero wins"),
        pytest.param([{"busy": True}, {"busy": False}], {"busy": False}, id="false wins"),
        pytest.param([{"usage": None}, {"usage": None}], {}, id="no usage came"),
        pytest.param(
            [{"usage": {"n": 1}}, {"usage": {"n": 2}}, {"usage": None}], {"usage": {"n": 2}}, id="usage"
        ),
        pytest.param([{"obfuscation": "xyz"}], {}, id="obfuscation"),
        pytest.param([{"object": "other"}], {}, id="object"),
        pytest.param([{"timings": {"a": 1}}, {"timings": {"b": 2}}], {"timings": {"b": 2}}, id="not merged"),
        pytest.param(
            [{"choices": "x"}, {"choices": None}, {"choices": {"index": 0}}], {}, id="choices no list"
        ),
        pytest.param([{"choices": [None, 1, "x", []]}], {}, id="choices no objects"),
    ],
)
def test_top_level_fields(chunks: list[Json], fields: Json) -> None:
    assert assembled(*chunks) == {"object": "chat.completion", "choices": [], **fields}


@pytest.mark.parametrize(
    ("deltas", "fields"),
    [
        pytest.param([{"content": "a"}, {"content": "b"}], {"content": "ab"}, id="content"),
        pytest.param([{"content": None}, {"content": "b"}, {"content": None}], {"content": "b"}, id="nulls"),
        pytest.param([{"content": ""}], {"content": ""}, id="empty content stays"),
        pytest.param([{"content": None}], {"content": None}, id="no content"),
        pytest.param(
            [{"content": 5}, {"content": {"a": 1}}, {"content": "b"}], {"content": "b"}, id="content odd"
        ),
        pytest.param(
            [{"content": "a"}, {"content": 5}, {"content": True}], {"content": "a"}, id="content odd later"
        ),
        pytest.param([{"refusal": "n"}, {"refusal": "o"}], {"refusal": "no"}, id="refusal"),
        pytest.param([{"refusal": ["n"]}], {"refusal": None}, id="refusal odd"),
        pytest.param(
            [{"reasoning": "a"}, {"reasoning_content": "x"}, {"reasoning": "b", "reasoning_content": "y"}],
            {"reasoning": "ab", "reasoning_content": "xy"},
            id="reasoning, each under its name",
        ),
        pytest.param([{"reasoning": None}], {}, id="no reasoning"),
        pytest.param(
            [{"role": "assistant"}, {"role": "assistant"}], {"role": "assistant"}, id="role repeated"
        ),
        pytest.param([{"role": "tool"}, {"role": ""}], {"role": "tool"}, id="role as it came"),
        pytest.param([{"role": None}, {"role": 3}], {"role": "assistant"}, id="role odd"),
        pytest.param([{"x": "a"}, {"x": "b"}], {"x": "ab"}, id="unknown strings concatenate"),
        pytest.param([{"x": 1}, {"x": 2}, {"x": 0.5}], {"x": 3.5}, id="unknown numbers add"),
        pytest.param([{"x": True}, {"x": False}], {"x": False}, id="booleans do not add"),
        pytest.param([{"x": None}, {"x": 2}], {"x": 2}, id="null is replaced"),
        pytest.param(
            [{"x": {"a": "1", "b": 1}}, {"x": {"a": "2", "c": []}}],
            {"x": {"a": "12", "b": 1, "c": []}},
            id="objects merge",
        ),
        pytest.param([{"x": [1]}, {"x": ["b", None]}], {"x": [1, "b", None]}, id="lists grow"),
        pytest.param(
            [
                {"x": [{"index": 1, "type": "t", "s": "b"}]},
                {"x": [{"index": 0, "s": "a"}, {"index": 1, "type": "t", "s": "c"}, {"index": 1, "id": "i"}]},
            ],
            {"x": [{"index": 1, "type": "t", "s": "bc", "id": "i"}, {"index": 0, "s": "a"}]},
            id="lists merge by index",
        ),
        pytest.param(
            [{"x": [{"a": "1"}]}, {"x": [{"a": "1"}]}], {"x": [{"a": "1"}, {"a": "1"}]}, id="no index"
        ),
        pytest.param(
            [{"x": "a"}, {"x": 1}, {"x": {}}, {"x": []}], {"x": "a"}, id="other type after a string"
        ),
        pytest.param(
            [{"x": {"a": 1}}, {"x": "a"}, {"x": [1]}, {"x": 2}], {"x": {"a": 1}}, id="after an object"
        ),
        pytest.param([{"x": [1]}, {"x": "a"}, {"x": {"a": 1}}, {"x": 2}], {"x": [1]}, id="after a list"),
        pytest.param([{"x": 10**400}, {"x": 0.5}], {"x": 10**400}, id="a sum that does not exist"),
        pytest.param(
            [{"annotations": [{"n": 1}]}, {"annotations": [{"n": 2}]}],
            {"annotations": [{"n": 1}, {"n": 2}]},
            id="annotations",
        ),
        pytest.param(
            [
                {"function_call": {"name": "get_"}},
                {"function_call": {"name": "it", "arguments": "{"}},
                {"function_call": {"name": None, "arguments": "}"}},
            ],
            {"function_call": {"name": "get_it", "arguments": "{}"}},
            id="function_call in pieces",
        ),
        pytest.param([{"function_call": None}], {}, id="no function_call"),
        pytest.param(
            [{"function_call": "f"}, {"content": "a"}],
            {"function_call": "f", "content": "a"},
            id="function_call odd",
        ),
        pytest.param([None, "x", 5, [{"content": "a"}]], {}, id="delta no object"),
        pytest.param([{}], {}, id="delta empty"),
        pytest.param(
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
            {"content": "ab", "reasoning_content": "hm"},
            id="content as parts",
        ),
    ],
)
def test_message(deltas: list[Any], fields: Json) -> None:
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


@pytest.mark.parametrize(
    ("deltas", "made"),
    [
        pytest.param([[call("a", "f", "{", index=0)], [bare(0, "1}")]], [A], id="plain"),
        pytest.param(
            [[call("a", "f", "{1}", index=0), call("b", "g", "{2}", index=1)]], [A, B], id="whole, in one"
        ),
        pytest.param(
            [[call("b", "g", "{2}", index=1)], [call("a", "f", "{1}", index=0)]],
            [A, B],
            id="in order of index",
        ),
        pytest.param(
            [[call("a", "f", "{", index=0)], [call("a", "f", "1", index=0)], [call("", "", "}", index=0)]],
            [A],
            id="id and name repeated",
        ),
        pytest.param(
            [[call(None, None, "{", index=0)], [call("a", "f", "1}", index=0)]], [A], id="id and name late"
        ),
        pytest.param(
            [[call("a", "f", "{", index=0)], [{"index": 0, "id": "z", "function": {"arguments": "1}"}}]],
            [A],
            id="another id, no name: same call",
        ),
        pytest.param(
            [[call("a", "f", "{1}", index=0)], [call("b", "g", "{", index=0)], [bare(0, "2}")]],
            [A, B],
            id="another id and a name: another call",
        ),
        pytest.param([[call("a", "f", None, index=0), bare(0, "{1}")]], [A], id="one index twice in a chunk"),
        pytest.param(
            [[call("a", "f", "{")], [call("", None, "1}")]],
            [A],
            id="no index, id empty: the last",
        ),
        pytest.param(
            [[call("a", "f", "{")], [call("a", "f", "1}")], [call("b", "g", "{2}")]],
            [A, B],
            id="no index: by id",
        ),
        pytest.param(
            [[call("a", "f", "{")], [call("b", "g", "{2")], [call("a", None, "1}")], [call("b", None, "}")]],
            [A, B],
            id="no index: back to an id",
        ),
        pytest.param(
            [
                [call("a", "f", "{")],
                [{"function": {"arguments": "1"}}],
                [{"id": None, "index": None, "function": {"arguments": "}"}}],
            ],
            [A],
            id="no index, no id: the last",
        ),
        pytest.param(
            [[call(None, "f", "{1}"), call(None, "f", "{1}")]],
            [A_WITHOUT_ID, A_WITHOUT_ID],
            id="names alone, in one chunk",
        ),
        pytest.param(
            [[call(None, "f", "{1}")], [call(None, "g", "{2}")]],
            [A_WITHOUT_ID, B_WITHOUT_ID],
            id="names alone, one after the other",
        ),
        pytest.param(
            [[call("a", "f", "{1}", index=3)], [call("b", "g", "{2}")]], [A, B], id="index, then none"
        ),
        pytest.param(
            [[call("a", "f", "{1}", index="0")], [call("b", "g", "{2}", index=True)]],
            [A, B],
            id="index odd: none",
        ),
        pytest.param([call("a", "f", "{1}")], [A], id="a call that is not in a list"),
        pytest.param(
            [[{"index": 0, "function": {"name": "f"}}]],
            [{"type": "function", "function": {"name": "f", "arguments": ""}}],
            id="no type, no arguments",
        ),
        pytest.param(
            [[call("a", "f", {"x": 1}, index=0)]],
            [{**A, "function": {"name": "f", "arguments": '{"x":1}'}}],
            id="arguments an object",
        ),
        pytest.param(
            [[call("a", "f", {}, index=0)]],
            [{**A, "function": {"name": "f", "arguments": "{}"}}],
            id="arguments an empty object",
        ),
        pytest.param(
            [
                [{"index": 0, "id": "a", "custom": {"name": "q", "input": "x"}}],
                [{"index": 0, "custom": {"input": "y"}}],
            ],
            [{"id": "a", "type": "custom", "custom": {"name": "q", "input": "xy"}}],
            id="custom",
        ),
        pytest.param(
            [
                [{**call("a", "f", "{1}", index=0), "extra": {"sig": "x"}}],
                [{"index": 0, "extra": {"sig": "y", "n": 1}}],
            ],
            [{**A, "extra": {"sig": "xy", "n": 1}}],
            id="unknown fields",
        ),
        pytest.param([[], None, "x", 5, [None, 1, [], {}]], [], id="no calls"),
        pytest.param(
            [[{"index": 0, "id": 5, "function": "f"}]],
            [{"id": 5, "function": "f"}],
            id="impossible types are kept",
        ),
    ],
)
def test_tool_calls(deltas: list[Any], made: list[Json]) -> None:
    assert calls(*deltas) == made


@pytest.mark.parametrize(
    ("pieces", "whole"),
    [
        pytest.param(["QUJD", "REVG"], "QUJDREVG", id="multiples of four"),
        pytest.param(["QUJ", "DREV", "G"], "QUJDREVG", id="cut anywhere"),
        pytest.param(["QUI=", "Q0RFRg=="], "QUJDREVG", id="each padded"),
        pytest.param(["QQ", "==Q", "kNERUY", "="], "QUJDREVG", id="padded and cut anywhere"),
        pytest.param(["QUJD", "RA=="], "QUJDRA==", id="padded at the end"),
        pytest.param(["Q=", "?=", "x"], "Q=?=x", id="not base64"),
        pytest.param(["QUI=", "é"], "QUI=é", id="not even ASCII"),
        pytest.param([], "", id="none"),
    ],
)
def test_audio_data_is_one_base64(pieces: list[str], whole: str) -> None:
    made = message({"audio": {"id": "i", "data": ""}}, *({"audio": {"data": piece}} for piece in pieces))
    assert made["audio"] == {"id": "i", "data": whole}


def test_audio_fields() -> None:
    made = message(
        {"audio": {"id": "i", "transcript": "Hel"}},
        {"audio": {"id": "i", "transcript": "lo", "expires_at": 10}},
        {"audio": {"expires_at": 20}},
        {"audio": None},
    )
    assert made["audio"] == {"id": "i", "transcript": "Hello", "expires_at": 20}


@pytest.mark.parametrize(
    ("pieces", "fields"),
    [
        pytest.param(
            [{"finish_reason": "stop"}, {"finish_reason": None}], {"finish_reason": "stop"}, id="finish"
        ),
        pytest.param(
            [{"finish_reason": "stop"}, {"finish_reason": "length"}], {"finish_reason": "length"}, id="last"
        ),
        pytest.param(
            [{"finish_reason": ""}, {"finish_reason": 5}, {"finish_reason": ["stop"]}], {}, id="finish odd"
        ),
        pytest.param([{"logprobs": None}, {"logprobs": "x"}], {}, id="no logprobs"),
        pytest.param(
            [
                {"logprobs": {"content": None}},
                {"logprobs": {"content": [1]}},
                {"logprobs": {"content": [2], "refusal": None}},
                {"logprobs": {"content": None, "refusal": [3]}},
            ],
            {"logprobs": {"content": [1, 2], "refusal": [3]}},
            id="logprobs",
        ),
        pytest.param(
            [{"stop_reason": None}, {"stop_reason": 7}, {"stop_reason": None}],
            {"stop_reason": 7},
            id="unknown",
        ),
        pytest.param([{"stop_reason": None}], {}, id="unknown and null"),
        pytest.param(
            [{"token_ids": [1]}, {"token_ids": [2, 3]}], {"token_ids": [1, 2, 3]}, id="unknown list grows"
        ),
        pytest.param(
            [
                {"r": {"hate": {"filtered": False, "s": "safe"}, "l": [1]}},
                {"r": {"hate": {"filtered": True}, "l": [2]}},
            ],
            {"r": {"hate": {"filtered": True, "s": "safe"}, "l": [2]}},
            id="unknown object merges, the last stays",
        ),
        pytest.param(
            [{"r": {"a": 1}}, {"r": 5}, {"r": [1]}, {"r": {"b": 2}}],
            {"r": {"b": 2}},
            id="unknown of many types",
        ),
        pytest.param(
            [{"message": {"role": "assistant", "content": "all", "x": 1}}],
            {"message": {"role": "assistant", "content": "all", "refusal": None, "x": 1}},
            id="message instead of deltas",
        ),
        pytest.param(
            [
                {"delta": {"content": "a"}, "message": {"content": "a"}},
                {"delta": {"content": "b"}, "message": {"content": "ab"}},
            ],
            {"message": {"role": "assistant", "content": "ab", "refusal": None}},
            id="message beside the delta",
        ),
        pytest.param(
            [{"delta": {"content": "a"}}, {"message": {"content": "a"}}],
            {"message": {"role": "assistant", "content": "a", "refusal": None}},
            id="message after the deltas",
        ),
        pytest.param(
            [{"delta": {"role": "assistant"}}, {"message": {"content": "a"}}, {"message": 5}],
            {"message": {"role": "assistant", "content": "a", "refusal": None}},
            id="message after a role",
        ),
    ],
)
def test_choice(pieces: list[Json], fields: Json) -> None:
    empty = {"role": "assistant", "content": None, "refusal": None}
    assert choice(*pieces) == {
        "index": 0,
        "message": empty,
        "logprobs": None,
        "finish_reason": None,
        **fields,
    }


@pytest.mark.parametrize(
    ("chunks", "contents"),
    [
        pytest.param([[(1, "b")], [(0, "a")], [(1, "d"), (0, "c")]], {0: "ac", 1: "bd"}, id="interleaved"),
        pytest.param(
            [[(None, "a"), (None, "b")], [(None, "c"), (None, "d")]], {0: "ac", 1: "bd"}, id="by place"
        ),
        pytest.param([[("0", "a")], [(False, "b")], [(1.0, "c")]], {0: "abc"}, id="index odd"),
        pytest.param([[(7, "a")], [(-1, "b")]], {-1: "b", 7: "a"}, id="numbers of their own"),
    ],
)
def test_choices_by_index(chunks: list[list[tuple[Any, str]]], contents: dict[int, str]) -> None:
    made = assembled(*(chunk(*({"index": i, "delta": {"content": c}} for i, c in each)) for each in chunks))
    assert [(each["index"], each["message"]["content"]) for each in made["choices"]] == list(contents.items())


@pytest.mark.parametrize(
    ("chunks", "finished"),
    [
        pytest.param([], False, id="nothing"),
        pytest.param([chunk(usage={"n": 1})], False, id="no choice"),
        pytest.param([chunk({"index": 0, "finish_reason": None})], False, id="not yet"),
        pytest.param([chunk({"index": 0, "finish_reason": "stop"})], True, id="one"),
        pytest.param(
            [chunk({"index": 0, "finish_reason": "stop"}), chunk({"index": 0, "delta": {}})], True, id="after"
        ),
        pytest.param(
            [chunk({"index": 0, "finish_reason": "stop"}, {"index": 1, "delta": {}})], False, id="one of two"
        ),
        pytest.param(
            [chunk({"index": 0, "finish_reason": "stop"}, {"index": 1, "finish_reason": "x"})], True, id="two"
        ),
    ],
)
def test_finished(chunks: list[Json], finished: bool) -> None:
    assembly = Assembly()
    for each in chunks:
        assembly.add(each)
    assert assembly.finished() is finished


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
    assert made["choices"][0]["message"]["content"] is None


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
        assert each["message"]["content"] is None or type(each["message"]["content"]) is str


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "delta",
    [
        pytest.param({"content": "x" * 20}, id="content"),
        pytest.param({"reasoning_details": [{"index": 0, "text": "x" * 20}]}, id="text in a list"),
        pytest.param({"tool_calls": [{"index": 0, "function": {"arguments": "x" * 20}}]}, id="arguments"),
    ],
)
def test_time_is_linear_in_the_number_of_chunks(delta: Json) -> None:
    assembly = Assembly()
    for _ in range(300_000):
        assembly.add({"choices": [{"index": 0, "delta": delta}]})
    assert len(values.dumps(assembly.completion())) > 6_000_000


@pytest.mark.timeout(10)
def test_time_is_linear_in_the_number_of_calls_and_items() -> None:
    assembly = Assembly()
    for number in range(50_000):
        delta = {"tool_calls": [call(f"c{number}", "f", "{}")], "x": [{"index": number, "a": "b"}]}
        assembly.add({"choices": [{"index": 0, "delta": delta}]})
    made = assembly.completion()["choices"][0]["message"]
    assert (len(made["tool_calls"]), len(made["x"])) == (50_000, 50_000)
