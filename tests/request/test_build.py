"""Parts -> one body: the order of messages, the head, attachments, parameters, edits, and every place."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from chatpipe.errors import BadInput, UsageFault
from chatpipe.inputs import messages as documents
from chatpipe.inputs.messages import LocatedValue
from chatpipe.inputs.place import Source
from chatpipe.options.parameters import TABLE, Parameters
from chatpipe.request import edits
from chatpipe.request.build import BuiltRequest, RequestParts, TypedPart, build
from support.parametrize import cases
from support.refusals import refused

BY_OPTION = {parameter.option: parameter for parameter in TABLE}


def message(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


def turn(role: str, text: str, option: str | None = None) -> TypedPart:
    return TypedPart({"role": role, "content": text}, option or f"--{role}")


def request(text: str) -> LocatedValue:
    return documents.parse_request(Source("r.json", text.encode()))


def history(text: str) -> list[LocatedValue]:
    return documents.parse_messages(Source("h.jsonl", text.encode()))


def given(**options: Any) -> Parameters:
    """Parameters as flags/parameters.py makes them, the options with underscores."""
    return Parameters(tuple((BY_OPTION[name.replace("_", "-")], value) for name, value in options.items()))


def edited(*texts: str, **options: Any) -> Parameters:
    """Assignments as of --set; a text without `=` is an --unset."""
    made = tuple(edits.parse_set(text) if "=" in text else edits.parse_unset(text) for text in texts)
    return given(**options)._replace(edits=made)


def made(**parts: Any) -> dict[str, Any]:
    return build(RequestParts(**parts)).body


# The order of messages

S, D, U, A = (message(role, role[0]) for role in ("system", "developer", "user", "assistant"))
OLD = '{"messages":[{"role":"user","content":"r1"},{"role":"assistant","content":"r2"}]}'


def test_messages_are_those_of_the_request_then_of_messages_then_the_options_then_the_prompt() -> None:
    body = made(
        request=request(OLD),
        messages=history('{"role":"user","content":"h1"}\n{"role":"assistant","content":"h2"}'),
        typed_messages=[turn("user", "t1"), turn("assistant", "t2")],
        prompt="p",
    )
    assert [each["content"] for each in body["messages"]] == ["r1", "r2", "h1", "h2", "t1", "t2", "p"]


def test_messages_of_a_transcript_stand_between_those_of_messages_and_the_options() -> None:
    body = made(
        request=request(OLD),
        messages=history('{"role":"user","content":"h"}'),
        transcript=history('{"role":"assistant","content":"t"}'),
        typed_messages=[turn("user", "o")],
        prompt="p",
    )
    assert [each["content"] for each in body["messages"]] == ["r1", "r2", "h", "t", "o", "p"]


def test_options_keep_the_order_typed() -> None:
    turns = [turn("user", "q1"), turn("assistant", "a1"), turn("system", "s"), turn("user", "q2")]
    assert made(typed_messages=turns)["messages"] == [
        message("user", "q1"),
        message("assistant", "a1"),
        message("system", "s"),
        message("user", "q2"),
    ]


def test_nothing_is_added_that_was_not_given() -> None:
    assert made(prompt="p") == {"messages": [message("user", "p")]}
    assert made() == {}
    assert made(request=request('{"a": 1}')) == {"a": 1}


def test_empty_messages_of_a_request_stay_there_for_the_check() -> None:
    assert made(request=request('{"messages": []}')) == {"messages": []}


def test_tool_results_stand_where_they_were_typed() -> None:
    result = TypedPart({"role": "tool", "content": "21", "tool_call_id": "c1"}, "--tool-result")
    body = made(
        messages=history('[{"role":"user","content":"q"}]'), typed_messages=[result, turn("user", "go on")]
    )
    assert body["messages"] == [
        message("user", "q"),
        {"role": "tool", "content": "21", "tool_call_id": "c1"},
        message("user", "go on"),
    ]


@cases(
    ("old", "typed", "roles"),
    {
        "none there: put first": ("", "s+", "s+"),
        "before a user message": ("u", "s+", "s+ u"),
        "the system message is replaced": ("s u", "s+", "s+ u"),
        "another role stays, behind": ("d u", "s+", "s+ d u"),
        "replaced in its place": ("d s u", "s+", "d s+ u"),
        "developer, too": ("s d u", "d+", "s d+ u"),
        "all of that role": ("s s u", "s+", "s+ u"),
        "all of that role, at the first one's place": ("s d s u", "s+", "s+ d u"),
        "by several": ("s u", "s+ s+", "s+ s+ u"),
        "both": ("s d u", "s+ d+", "s+ d+ u"),
        "both, typed the other way round": ("s d u", "d+ s+", "s+ d+ u"),
        "both new, as typed": ("u", "d+ s+", "d+ s+ u"),
        "one behind a user message is none of the head": ("u s a", "s+", "s+ u s a"),
        "typed behind a user message it stays there": ("s u", "u+ s+", "s u u+ s+"),
        "only those before it go to the head": ("s u", "s+ u+ s+", "s+ u u+ s+"),
        "a tool result counts as one": ("s u", "t+ s+", "s u t+ s+"),
        "a head alone": ("s", "s+", "s+"),
    },
)
@pytest.mark.parametrize("source", ["request", "messages"])
def test_head_of_the_conversation(source: str, old: str, typed: str, roles: str) -> None:
    """s, d, u, a, t are roles; those with a plus come from options."""
    names = {"s": "system", "d": "developer", "u": "user", "a": "assistant", "t": "tool"}
    items = ",".join(f'{{"role":"{names[letter]}","content":"{letter}"}}' for letter in old.split())
    turns = [turn(names[letter[0]], letter) for letter in typed.split()]
    parts: dict[str, Any] = {"typed_messages": turns}
    if source == "request":
        parts["request"] = request(f'{{"messages":[{items}]}}')
    else:
        parts["messages"] = history(f"[{items}]")
    assert [each["content"] for each in made(**parts)["messages"]] == roles.split()


@pytest.mark.parametrize("value", ["5", '"text"', "{}", "null"])
def test_messages_that_are_no_array_are_refused(value: str) -> None:
    with pytest.raises(BadInput) as bad:
        made(request=request(f'{{"model":"m",\n"messages":{value}}}'), prompt="p")
    assert str(bad.value).startswith("r.json:2: /messages: is ")
    assert str(bad.value).endswith(", not an array")


def test_items_that_are_no_messages_are_left_to_the_check() -> None:
    body = made(request=request('{"messages":["x",{"role":5},null]}'), typed_messages=[turn("system", "s")])
    assert body["messages"] == [message("system", "s"), "x", {"role": 5}, None]


# Attachments

IMAGE = {"type": "image_url", "image_url": {"url": "https://e.com/a.png"}}
AUDIO = {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}
PARTS = [TypedPart(IMAGE, "--image"), TypedPart(AUDIO, "--audio-file")]


@cases(
    ("conversation", "expected"),
    {
        "no message: one is made": ({}, [message("user", [IMAGE, AUDIO])]),
        "the prompt": ({"prompt": "p"}, [message("user", [{"type": "text", "text": "p"}, IMAGE, AUDIO])]),
        "the last of several": (
            {"typed_messages": [turn("user", "q"), turn("assistant", "a")], "prompt": "p"},
            [
                message("user", "q"),
                message("assistant", "a"),
                message("user", [{"type": "text", "text": "p"}, IMAGE, AUDIO]),
            ],
        ),
        "the last user message, though not the last": (
            {"typed_messages": [turn("user", "q"), turn("assistant", "a")]},
            [message("user", [{"type": "text", "text": "q"}, IMAGE, AUDIO]), message("assistant", "a")],
        ),
        "a system message alone": (
            {"typed_messages": [turn("system", "s")]},
            [message("system", "s"), message("user", [IMAGE, AUDIO])],
        ),
    },
)
def test_attachments_go_into_the_last_user_message(conversation: Any, expected: Any) -> None:
    assert made(content_parts=PARTS, **conversation)["messages"] == expected


@cases(
    ("content", "before"),
    {
        "string": ('"q"', [{"type": "text", "text": "q"}]),
        "parts": ('[{"type":"text","text":"q"}]', [{"type": "text", "text": "q"}]),
        "no parts": ("[]", []),
        "null": ("null", []),
    },
)
def test_attachments_follow_the_content_of_a_file(content: str, before: list[Any]) -> None:
    found = request(f'{{"messages":[{{"role":"user","content":{content},"name":"n"}}]}}')
    as_read = copy.deepcopy(found.value)
    body = made(request=found, content_parts=PARTS)
    assert body["messages"] == [{"role": "user", "content": [*before, IMAGE, AUDIO], "name": "n"}]
    assert found.value == as_read


@pytest.mark.parametrize("content", ["5", "true", '{"type":"text","text":"q"}'])
def test_attachment_to_content_of_an_impossible_type_is_bad_input(content: str) -> None:
    found = request(f'{{"messages":[\n{{"role":"user","content":{content}}}]}}')
    with refused(BadInput, place="r.json:2"):
        build(RequestParts(request=found, content_parts=PARTS))


# Parameters and edits


def test_option_overrides_the_field_of_the_request() -> None:
    found = request('{"model":"old","temperature":1,"stop":["a","b"],"messages":[]}')
    body = made(request=found, parameters=given(model="new", temperature=0, stop="c"))
    assert body == {"model": "new", "messages": [], "temperature": 0, "stop": "c"}
    assert found.value["temperature"] == 1


def test_option_of_a_part_leaves_the_other_parts() -> None:
    found = request('{"audio":{"voice":"alloy","format":"mp3"},"messages":[]}')
    body = made(request=found, parameters=given(audio_format="wav"))
    assert body["audio"] == {"voice": "alloy", "format": "wav"}
    assert found.value["audio"] == {"voice": "alloy", "format": "mp3"}


def test_option_of_a_part_replaces_what_cannot_hold_it() -> None:
    found = request('{"audio":"x","stream_options":null,"messages":[]}')
    body = made(request=found, parameters=given(audio_format="wav", include_usage=True))
    assert (body["audio"], body["stream_options"]) == ({"format": "wav"}, {"include_usage": True})


def test_another_response_format_does_not_keep_the_schema_of_the_old_one() -> None:
    found = request('{"messages":[],"response_format":{"type":"json_schema","json_schema":{"name":"n"}}}')
    body = made(request=found, parameters=given(response_format={"type": "json_object"}))
    assert body["response_format"] == {"type": "json_object"}


def test_asking_for_the_web_search_leaves_its_settings() -> None:
    found = request('{"messages":[],"web_search_options":{"search_context_size":"low"}}')
    assert made(request=found, parameters=given(web_search={}))["web_search_options"] == {
        "search_context_size": "low"
    }
    assert made(parameters=given(web_search={}))["web_search_options"] == {}


def test_place_of_a_web_search_gets_its_type() -> None:
    body = made(parameters=given(web_search_country="SE", web_search_city="Uppsala"))
    assert body["web_search_options"] == {
        "user_location": {"approximate": {"country": "SE", "city": "Uppsala"}, "type": "approximate"}
    }


@pytest.mark.parametrize("location", ['"Oslo"', "5", '{"approximate":{"country":"NO"}}'])
def test_the_place_of_a_search_in_a_file_is_left_alone(location: str) -> None:
    """Nothing is sent that was not asked for, and what is wrong is for the check to tell."""
    found = request(f'{{"messages":[],"web_search_options":{{"user_location":{location}}}}}')
    assert made(request=found) == found.value


@cases(
    ("choice", "expected"),
    {
        "auto": ("auto", "auto"),
        "none": ("none", "none"),
        "required": ("required", "required"),
        "a function": ("f", {"type": "function", "function": {"name": "f"}}),
        "a custom tool": ("c", {"type": "custom", "custom": {"name": "c"}}),
        "an unknown name": ("x", {"type": "function", "function": {"name": "x"}}),
        "JSON as it is": ({"type": "x"}, {"type": "x"}),
    },
)
def test_a_tool_choice_names_its_tool(choice: Any, expected: Any) -> None:
    tools = [{"type": "function", "function": {"name": "f"}}, {"type": "custom", "custom": {"name": "c"}}]
    assert made(parameters=given(tool=tools, tool_choice=choice))["tool_choice"] == expected
    in_file = LocatedValue({"tools": tools}, Source("r.json", b"{}"))
    assert made(request=in_file, parameters=given(tool_choice=choice))["tool_choice"] == expected


@pytest.mark.parametrize("tools", ["5", '"x"', "null", "{}", "[5]", '[{"custom":5}]'])
def test_tool_choice_beside_odd_tools_leaves_them_to_the_check(tools: str) -> None:
    found = request(f'{{"messages":[],"tools":{tools}}}')
    body = made(request=found, parameters=given(tool_choice="f"))
    assert body["tools"] == found.value["tools"]
    assert body["tool_choice"] == {"type": "function", "function": {"name": "f"}}


@cases(
    ("parts", "model"),
    {
        "none": ({}, None),
        "the default": ({"default_model": "d"}, "d"),
        "of the request": ({"default_model": "d", "request": '{"model":"r","messages":[]}'}, "r"),
        "of the option": (
            {"default_model": "d", "request": '{"model":"r","messages":[]}', "parameters": given(model="o")},
            "o",
        ),
        "of --set": ({"default_model": "d", "parameters": edited("model=e", model="o")}, "e"),
        "none, by --unset": ({"default_model": "d", "parameters": edited("model")}, None),
        "none, by --unset of the request's": (
            {"default_model": "d", "request": '{"model":"r","messages":[]}', "parameters": edited("model")},
            None,
        ),
    },
)
def test_the_model_is_the_last_that_was_given(parts: dict[str, Any], model: str | None) -> None:
    if "request" in parts:
        parts = {**parts, "request": request(parts["request"])}
    assert made(prompt="p", **parts).get("model") == model


def test_edits_come_last_and_in_the_order_typed() -> None:
    parameters = edited("a=1", "a=2", "b.c=3", "b.c", "temperature:=0.5", "seed", temperature=1, seed=4)
    assert made(parameters=parameters) == {"a": "2", "b": {}, "temperature": 0.5}


def test_edits_of_messages() -> None:
    parameters = edited("messages[0].name=n", "messages[1]")
    body = made(typed_messages=[turn("user", "a"), turn("user", "b")], prompt="c", parameters=parameters)
    assert body["messages"] == [{"role": "user", "content": "a", "name": "n"}, message("user", "c")]


def test_edits_leave_what_was_read_as_it_was_read() -> None:
    found = request('{"messages":[{"role":"user","content":"q"}],"a":{"b":[1]}}')
    before = copy.deepcopy(found.value)
    body = made(request=found, parameters=edited("a.b[0]:=2", "messages[0].content=x"))
    assert (body["a"], body["messages"][0]["content"]) == ({"b": [2]}, "x")
    assert found.value == before


def test_edit_of_a_request_as_deep_as_can_be_read() -> None:
    found = request('{"messages":[],"a":' + "[" * 890 + "]" * 890 + "}")
    assert made(request=found, parameters=edited("b=1"))["b"] == "1"


def test_edit_that_cannot_be_is_a_wrong_call() -> None:
    with pytest.raises(UsageFault):
        made(prompt="p", parameters=edited("messages.x=1"))


def test_model_and_messages_come_first() -> None:
    found = request('{"a":1,"messages":[],"model":"m","b":2}')
    assert list(made(request=found, parameters=given(temperature=1))) == [
        "model",
        "messages",
        "a",
        "b",
        "temperature",
    ]


# Places

REQUEST = """{"model": "m",
 "messages": [
  {"role": "user", "content": "r"},
  {"role": "assistant",
   "content": "r"}],
 "tools": [
  {"type": "function"}],
 "temperature": 9
}"""
HISTORY = '\n{"role":"user","content":"h"}\n{"role":"assistant","content":"h"}\n'


def full() -> BuiltRequest:
    return build(
        RequestParts(
            request=request(REQUEST),
            messages=history(HISTORY),
            typed_messages=[turn("system", "s"), turn("user", "u", "--user-file")],
            prompt="p",
            content_parts=PARTS,
            parameters=edited(
                "top_k:=4",
                "provider.order[0]=a",
                "seed",
                seed=1,
                audio_voice="x",
                web_search_country="SE",
                tool_choice="f",
            ),
        )
    )


@cases(
    ("pointer", "place"),
    {
        "the whole": ("", "r.json:1"),
        "all messages": ("/messages", "r.json:2"),
        "put before the request's": ("/messages/0", "--system"),
        "inside it": ("/messages/0/content", "--system"),
        "the request's first": ("/messages/1/content", "r.json:3"),
        "its second, on its own line": ("/messages/2/content", "r.json:5"),
        "what it lacks": ("/messages/2/nothing", "r.json:4"),
        "of --messages": ("/messages/3/role", "h.jsonl:2"),
        "its second": ("/messages/4", "h.jsonl:3"),
        "a role option": ("/messages/5", "--user-file"),
        "the prompt": ("/messages/6", "PROMPT"),
        "its text": ("/messages/6/content/0/text", "PROMPT"),
        "an image of it": ("/messages/6/content/1/image_url/detail", "--image"),
        "a sound of it": ("/messages/6/content/2", "--audio-file"),
        "a field of the request": ("/tools/0/function", "r.json:7"),
        "another": ("/temperature", "r.json:8"),
        "an option": ("/audio/voice", "--audio-voice"),
        "inside an option's value": ("/tool_choice/function/name", "--tool-choice"),
        "deep": ("/web_search_options/user_location/approximate/country", "--web-search-country"),
        "an assignment": ("/top_k", "--set"),
        "a deep one": ("/provider/order/0", "--set"),
        "a removal": ("/seed", "--unset"),
        "what nobody gave": ("/nothing", "r.json:1"),
    },
)
def test_every_part_of_a_body_has_its_place(pointer: str, place: str) -> None:
    assert full().place(pointer) == place


def test_place_without_a_request_file() -> None:
    built = build(RequestParts(prompt="p", default_model="m"))
    assert built.place("/messages/0/content") == "PROMPT"
    assert built.place("/model") == ""
    assert built.place("") == ""


def test_place_of_an_object_that_options_made() -> None:
    parameters = given(audio_format="wav", audio_voice="x")
    for found in (None, request('{"messages":[]}')):
        built = build(RequestParts(request=found, prompt="p", parameters=parameters))
        assert built.place("/audio") == "--audio-format"


def test_place_of_an_object_that_was_read_and_options_extend() -> None:
    found = request('{"messages":[],\n"audio":{"voice":"x"}}')
    built = build(RequestParts(request=found, prompt="p", parameters=given(audio_format="wav")))
    assert built.place("/audio") == "r.json:2"


def test_place_of_a_message_that_was_replaced_or_edited() -> None:
    found = request('{"messages":[\n{"role":"system","content":"r"},\n{"role":"user","content":"r"}]}')
    parameters = edited("messages[1].content:=5")
    built = build(RequestParts(request=found, typed_messages=[turn("system", "s")], parameters=parameters))
    assert built.place("/messages/0/content") == "--system"
    assert built.place("/messages/1/content") == "--set"
    assert built.place("/messages/1/role") == "r.json:3"


def test_place_in_an_object_that_an_assignment_replaces() -> None:
    parameters = edited('audio:={"voice":5}', audio_voice="x")
    built = build(RequestParts(prompt="p", parameters=parameters))
    assert built.place("/audio/voice") == "--set"


def test_place_of_a_field_that_an_option_overrides() -> None:
    found = request('{"messages":[],\n"temperature":1,\n"seed":1}')
    built = build(RequestParts(request=found, parameters=given(temperature=9)))
    assert built.place("/temperature") == "--temperature"
    assert built.place("/seed") == "r.json:3"


def test_place_of_what_moved_up_when_another_was_removed() -> None:
    turns = [turn("user", "a"), turn("assistant", "b", "--assistant-file")]
    built = build(RequestParts(typed_messages=turns, prompt="p", parameters=edited("messages[0]")))
    assert built.place("/messages/0/content") == "--assistant-file"
    assert built.place("/messages/1/content") == "PROMPT"
