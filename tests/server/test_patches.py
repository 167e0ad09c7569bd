"""The steps of a patch, each by a table; and the choice of patches by model."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from chatpipe.server.patches import Patch, patched

Body = dict[str, Any]

LIMIT = Patch(rename={"max_completion_tokens": "max_tokens"})
NESTED = Patch(rename={"reasoning.effort": "reasoning_effort"})
INNER = Patch(rename={"a.b.c": "a.b.d"})
DEVELOPER = Patch(roles={"developer": "system"})
SWAP = Patch(roles={"developer": "system", "system": "developer"})
ANY = Patch(replace={"tool_choice": {"required": "any"}})
COUNT = Patch(logprobs_as_count=True)
SET = Patch(set={"store": False})
SET_INNER = Patch(set={"extra.deep.flag": 1})
USAGE = Patch(drop=("stream_options.include_usage", "stream_options.include_obfuscation"))
GONE = Patch(drop=("user",))
WHOLE = Patch(having=("response_format.json_schema", "n"), drop=("stream", "stream_options"))
FORMAT = {"type": "json_schema", "json_schema": {"name": "a"}}


def said(*roles: Any) -> Body:
    return {"messages": [{"role": role, "content": "x"} for role in roles]}


# patch, body, the body that is sent, the changes
CHANGED: list[tuple[Patch, Body, Body, tuple[str, ...]]] = [
    (LIMIT, {"max_completion_tokens": 5}, {"max_tokens": 5}, ("max_completion_tokens -> max_tokens",)),
    (LIMIT, {"max_completion_tokens": None}, {"max_tokens": None}, ("max_completion_tokens -> max_tokens",)),
    (
        LIMIT,
        {"max_completion_tokens": 5, "max_tokens": 5},
        {"max_tokens": 5},
        ("max_completion_tokens -> max_tokens",),
    ),
    (
        LIMIT,
        {"max_completion_tokens": 5, "max_tokens": None},
        {"max_tokens": 5},
        ("max_completion_tokens -> max_tokens",),
    ),
    (
        LIMIT,
        {"max_completion_tokens": None, "max_tokens": 5},
        {"max_tokens": 5},
        ("max_completion_tokens -> max_tokens",),
    ),
    (
        NESTED,
        {"reasoning": {"effort": "low"}, "n": 1},
        {"n": 1, "reasoning_effort": "low"},
        ("reasoning.effort -> reasoning_effort",),
    ),
    (
        NESTED,
        {"reasoning": {"effort": "low", "exclude": True}},
        {"reasoning": {"exclude": True}, "reasoning_effort": "low"},
        ("reasoning.effort -> reasoning_effort",),
    ),
    (INNER, {"a": {"b": {"c": 1, "z": 2}}}, {"a": {"b": {"d": 1, "z": 2}}}, ("a.b.c -> a.b.d",)),
    (DEVELOPER, said("developer", "user"), said("system", "user"), ("role developer -> system",)),
    (
        DEVELOPER,
        said("system", "developer", "user", "developer"),
        said("system", "system", "user", "system"),
        ("role developer -> system",),
    ),
    (
        SWAP,
        said("system", "developer"),
        said("developer", "system"),
        ("role system -> developer", "role developer -> system"),
    ),
    (ANY, {"tool_choice": "required"}, {"tool_choice": "any"}, ("tool_choice required -> any",)),
    (COUNT, {"logprobs": True}, {"logprobs": 1}, ("logprobs true -> 1",)),
    (COUNT, {"logprobs": True, "top_logprobs": 7}, {"logprobs": 7}, ("logprobs true -> 7",)),
    (COUNT, {"logprobs": True, "top_logprobs": 0}, {"logprobs": 1}, ("logprobs true -> 1",)),
    (COUNT, {"logprobs": False, "n": 1}, {"n": 1}, ("logprobs false left out",)),
    (SET, {}, {"store": False}, ("store set",)),
    (SET, {"store": True}, {"store": False}, ("store set",)),
    (SET, {"store": 0}, {"store": False}, ("store set",)),
    (SET_INNER, {"extra": {"x": 1}}, {"extra": {"x": 1, "deep": {"flag": 1}}}, ("extra.deep.flag set",)),
    (SET_INNER, {"extra": None}, {"extra": {"deep": {"flag": 1}}}, ("extra.deep.flag set",)),
    (
        USAGE,
        {"stream_options": {"include_usage": True}, "n": 1},
        {"n": 1},
        ("stream_options.include_usage left out",),
    ),
    (
        USAGE,
        {"stream_options": {"include_usage": True, "include_obfuscation": False}},
        {},
        ("stream_options.include_usage left out", "stream_options.include_obfuscation left out"),
    ),
    (
        USAGE,
        {"stream_options": {"include_usage": True, "other": 1}},
        {"stream_options": {"other": 1}},
        ("stream_options.include_usage left out",),
    ),
    (GONE, {"user": "me", "n": 1}, {"n": 1}, ("user left out",)),
    (
        WHOLE,
        {"response_format": FORMAT, "n": 1, "stream": True, "stream_options": {"include_usage": True}},
        {"response_format": FORMAT, "n": 1},
        ("stream left out", "stream_options left out"),
    ),
]

# patch, body: sent as it is
UNCHANGED: list[tuple[Patch, Body]] = [
    (Patch(), {"n": 2, "stop": ["a"], "seed": 1}),
    (LIMIT, {"max_tokens": 5}),
    (LIMIT, {"max_completion_tokens": 5, "max_tokens": 6}),  # a contradiction: the server says so
    (NESTED, {"reasoning": {"exclude": True}}),
    (NESTED, {"reasoning": None}),
    (NESTED, {"reasoning": "effort"}),
    (DEVELOPER, said("system", "user", None, ["developer"], {"developer": 1})),
    (DEVELOPER, {"messages": "developer"}),
    (DEVELOPER, {"messages": ["developer", None, 1]}),
    (DEVELOPER, {}),
    (ANY, {"tool_choice": "auto"}),
    (ANY, {"tool_choice": {"type": "function", "function": {"name": "required"}}}),
    (ANY, {"tool_choice": ["required"]}),
    (COUNT, {"logprobs": 3}),
    (COUNT, {"logprobs": None}),
    (COUNT, {"top_logprobs": 3}),
    (Patch(), {"logprobs": True, "top_logprobs": 3}),
    (SET, {"store": False}),
    (USAGE, {"stream_options": {}}),
    (USAGE, {"stream_options": None}),
    (USAGE, {"stream_options": {"other": 1}}),
    (GONE, {"users": 1}),
    (WHOLE, {"response_format": FORMAT, "n": None, "stream": True}),
    (WHOLE, {"response_format": {"type": "json_object"}, "n": 1, "stream": True}),
    (WHOLE, {"response_format": None, "n": 1, "stream": True}),
]


@pytest.mark.parametrize(("patch", "body", "sent", "changes"), CHANGED)
def test_patch_changes_a_copy(patch: Patch, body: Body, sent: Body, changes: tuple[str, ...]) -> None:
    before = copy.deepcopy(body)
    assert patched(body, [patch]) == (sent, changes)
    assert body == before
    assert patched(sent, [patch] if patch is not SWAP else []).changes == ()


@pytest.mark.parametrize(("patch", "body"), UNCHANGED)
def test_body_that_a_patch_does_not_concern_is_sent_as_it_is(patch: Patch, body: Body) -> None:
    found = patched(body, [patch])
    assert found.body is body
    assert found.changes == ()


def test_renamed_field_keeps_its_place() -> None:
    body = {"model": "m", "max_completion_tokens": 5, "n": 1}
    assert list(patched(body, [LIMIT]).body) == ["model", "max_tokens", "n"]


# pattern, model of the request, whether it applies
@pytest.mark.parametrize(
    ("pattern", "model", "applies"),
    [
        (None, "m", True),
        (None, None, True),
        ("^o3", "o3-mini", True),
        ("^o3", "my-o3", False),
        ("o3", "my-o3", True),  # found anywhere: a search
        ("^(?!.*gpt-oss)", "qwen3", True),
        ("^(?!.*gpt-oss)", "openai/gpt-oss-20b", False),
        ("^o3", None, False),
        ("^o3", ["o3"], False),
        ("", None, True),
    ],
)
def test_pattern_is_searched_in_the_model_of_the_request(
    pattern: str | None, model: Any, *, applies: bool
) -> None:
    body = {"model": model, "max_completion_tokens": 1}
    assert bool(patched(body, [LIMIT._replace(model=pattern)]).changes) is applies


def test_later_patch_sees_what_an_earlier_one_did() -> None:
    double = Patch(rename={"max_tokens": "limit"})
    assert patched({"max_completion_tokens": 1}, [LIMIT, double]) == (
        {"limit": 1},
        ("max_completion_tokens -> max_tokens", "max_tokens -> limit"),
    )
