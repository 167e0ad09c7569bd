"""A request with placeholders, filled for rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chatpipe.batch.tables.bodies import RowTemplate, read_image_field
from chatpipe.batch.tables.template import MissingField
from chatpipe.errors import BadInput
from chatpipe.inputs.messages import LocatedValue
from chatpipe.inputs.place import Source
from chatpipe.request.build import BuiltRequest, RequestParts, TypedPart, build
from support.refusals import refused

ROW = {"a": "A", "n": 1, "image": "https://h/i.png"}


def turn(role: str, text: str, option: str = "TEMPLATE") -> TypedPart:
    return TypedPart({"role": role, "content": text}, option)


def found(value: Any) -> LocatedValue:
    return LocatedValue(value, Source("r.json", b""))


def filled(built: BuiltRequest, row: dict[str, Any] | None = None, **images: Any) -> dict[str, Any]:
    return RowTemplate(built, read_image_field(**images) if images else None).body(row or ROW)


def test_texts_of_options_are_filled_and_those_of_files_are_not() -> None:
    request = found({"seed": 1, "messages": [{"role": "user", "content": "{{a}}"}]})
    turns = [turn("system", "S {{n}}", "--system"), turn("assistant", "{{a}}{{a}}"), turn("user", "{{a}}!")]
    body = filled(build(RequestParts(request=request, typed_messages=turns, default_model="m")))
    assert body == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "S 1"},
            {"role": "user", "content": "{{a}}"},
            {"role": "assistant", "content": "AA"},
            {"role": "user", "content": "A!"},
        ],
        "seed": 1,
    }
    assert list(body) == ["model", "messages", "seed"]


def test_a_row_leaves_nothing_behind() -> None:
    filling = RowTemplate(build(RequestParts(typed_messages=[turn("user", "{{a}}")])))
    first, second = filling.body({"a": "1"}), filling.body({"a": "2"})
    assert [body["messages"][0]["content"] for body in (first, second)] == ["1", "2"]


def test_results_of_tools_are_no_templates() -> None:
    result = TypedPart({"role": "tool", "tool_call_id": "c", "content": "{{a}}"}, "--tool-result")
    body = filled(build(RequestParts(typed_messages=[result, turn("user", "{{a}}")])))
    assert [message["content"] for message in body["messages"]] == ["{{a}}", "A"]


def test_a_default_model_is_for_want_of_another() -> None:
    plain = build(RequestParts(typed_messages=[turn("user", "x")]))
    assert RowTemplate(plain, default_model="d").body({})["model"] == "d"
    own = build(RequestParts(typed_messages=[turn("user", "x")], default_model="own"))
    assert RowTemplate(own, default_model="d").body({})["model"] == "own"


def test_attached_parts_stand_behind_the_text_and_are_no_templates() -> None:
    part = TypedPart({"type": "text", "text": "{{a}}"}, "--file")
    body = filled(build(RequestParts(typed_messages=[turn("user", "{{a}}")], content_parts=[part])))
    assert body["messages"][0]["content"] == [
        {"type": "text", "text": "A"},
        {"type": "text", "text": "{{a}}"},
    ]


def test_an_image_of_the_row_is_the_last_part() -> None:
    part = TypedPart({"type": "file", "file": {"file_id": "f"}}, "--file-id")
    built = build(
        RequestParts(typed_messages=[turn("user", "{{a}}"), turn("assistant", "x")], content_parts=[part])
    )
    body = filled(built, field="image", root=None, detail="low")
    assert body["messages"][0]["content"] == [
        {"type": "text", "text": "A"},
        {"type": "file", "file": {"file_id": "f"}},
        {"type": "image_url", "image_url": {"url": "https://h/i.png", "detail": "low"}},
    ]


def test_without_a_user_message_the_image_is_one() -> None:
    built = BuiltRequest({"messages": ["odd", {"role": "system", "content": "x"}]}, {})
    assert filled(built, field="image", root=None, detail=None)["messages"] == [
        "odd",
        {"role": "system", "content": "x"},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://h/i.png"}}]},
    ]


def test_odd_messages_are_for_the_check() -> None:
    """What `--set` may make of them."""
    body = {"messages": [5, {"role": "user", "content": ["x", {"type": "text", "text": 7}]}]}
    built = BuiltRequest(body, {"/messages/0": "--set", "/messages/1": "TEMPLATE"})
    assert filled(built) == body


def test_an_image_in_a_folder_is_recognised_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"GIF89a...")
    (tmp_path / "b.png").write_bytes(b"text")
    filling = RowTemplate(
        build(RequestParts(typed_messages=[turn("user", "x")])),
        read_image_field("image", str(tmp_path), None),
    )
    [_, part] = filling.body({"image": "a.txt"})["messages"][0]["content"]
    assert part["image_url"]["url"] == "data:image/gif;base64,R0lGODlhLi4u"
    with pytest.raises(BadInput, match=r"'b\.png' is not a PNG, JPEG, GIF or WebP image"):
        filling.body({"image": "b.png"})
    with pytest.raises(BadInput, match="the data: URL is not base64"):
        filling.body({"image": "data:image/png,x"})
    with pytest.raises(BadInput, match="'https:///a' names no host"):
        filling.body({"image": "https:///a"})
    with pytest.raises(MissingField):
        filling.body({})


def test_placeholders_are_listed_with_their_option() -> None:
    turns = [turn("system", "{{b}}", "--system"), turn("user", "{{a}} {{b.c}}")]
    filling = RowTemplate(build(RequestParts(typed_messages=turns)), read_image_field("i", None, None))
    assert [(each.name, option) for each, option in filling.placeholders] == [
        ("b", "--system"),
        ("a", "TEMPLATE"),
        ("b.c", "TEMPLATE"),
        ("i", "--image-field"),
    ]


def test_a_template_that_cannot_be_parsed_names_its_option() -> None:
    with refused(BadInput, place="--system"):
        RowTemplate(build(RequestParts(typed_messages=[turn("system", "{{", "--system")])))
