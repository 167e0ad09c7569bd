"""What a transcript keeps of a request, and which requests are none for it."""

from __future__ import annotations

from typing import Any

import pytest

from chatpipe.conversation.history import new_messages, refuse_unstorable
from chatpipe.errors import UsageFault
from chatpipe.inputs import messages as documents
from chatpipe.inputs.messages import LocatedValue
from chatpipe.inputs.place import Source
from chatpipe.options.parameters import TABLE, Parameters
from chatpipe.request import edits
from chatpipe.request.build import BuiltRequest, RequestParts, TypedPart, build
from support.parametrize import cases
from support.refusals import refused

ROLES = {"s": "system", "d": "developer", "u": "user", "a": "assistant", "t": "tool"}
IMAGE = {"type": "image_url", "image_url": {"url": "https://e.com/a.png"}}


def history(roles: str, name: str = "h") -> list[LocatedValue]:
    """Messages of a file, their content the letter of the role."""
    lines = "\n".join(f'{{"role":"{ROLES[letter]}","content":"{letter}"}}' for letter in roles.split())
    return documents.parse_messages(Source(name, lines.encode()))


def turns(letters: str) -> list[TypedPart]:
    """Messages of options, their content the letter of the role with a plus."""
    return [
        TypedPart({"role": ROLES[each], "content": f"{each}+"}, f"--{ROLES[each]}")
        for each in letters.split()
    ]


def made(transcript: str, typed: str = "", *edited: str, **more: Any) -> BuiltRequest:
    changes = tuple(edits.parse_set(text) for text in edited)
    return build(
        RequestParts(
            typed_messages=turns(typed),
            transcript=history(transcript, "t"),
            parameters=Parameters(edits=changes),
            **more,
        )
    )


def check(built: BuiltRequest, sent: str, stored: str, is_new: bool = False) -> None:
    """The contents of the messages that are sent, and of those that are stored."""
    assert contents(built.body["messages"]) == sent
    assert contents(new_messages(built, is_new_transcript=is_new)) == stored


def contents(values: list[Any]) -> str:
    return " ".join(value["content"] for value in values)


@cases(
    ("transcript", "typed", "sent", "stored"),
    {
        "the prompt": ("", "", "p", "p"),
        "the prompt behind an old one": ("u a", "", "u a p", "p"),
        "a system message is the first line of a new one": ("", "s", "s+ p", "s+ p"),
        "in an old one it holds for this call": ("s u a", "s", "s+ u a p", "p"),
        "also where there was none": ("u a", "s", "s+ u a p", "p"),
        "also where it replaces all that was there": ("s", "s", "s+ p", "p"),
        "both of the head": ("", "s d", "s+ d+ p", "s+ d+ p"),
        "examples": ("", "u a", "u+ a+ p", "u+ a+ p"),
        "turns of options": ("s u a", "u a", "s u a u+ a+ p", "u+ a+ p"),
        "turns behind a head": ("u a", "s u a", "s+ u a u+ a+ p", "u+ a+ p"),
        "a system message that stands behind a turn": ("u a", "u s", "u a u+ s+ p", "u+ s+ p"),
        "a tool result": ("u a", "t", "u a t+ p", "t+ p"),
    },
)
def test_new_messages_are_sent_and_stored(transcript: str, typed: str, sent: str, stored: str) -> None:
    check(made(transcript, typed, prompt="p"), sent, stored, is_new=not transcript)


@cases(
    ("transcript", "typed", "sent", "stored"),
    {
        "new": ("", "", "s u a p", "p"),
        "old": ("u a", "", "s u a u a p", "p"),
        "new, the system message of the file replaced": ("", "s", "s+ u a p", "s+ p"),
        "new, another put first": ("", "d", "d+ s u a p", "d+ p"),
        "old, another put first": ("u a", "d", "d+ s u a u a p", "p"),
    },
)
def test_messages_of_other_files_are_sent_and_not_stored(
    transcript: str, typed: str, sent: str, stored: str
) -> None:
    built = made(transcript, typed, prompt="p", messages=history("s u a", "m"))
    check(built, sent, stored, is_new=not transcript)


def test_messages_of_the_request_file_are_not_stored() -> None:
    request = documents.parse_request(Source("r", b'{"messages":[{"role":"user","content":"r"}],"seed":1}'))
    check(made("u a", "", prompt="p", request=request), "r u a p", "p")


def test_nothing_new_is_nothing_to_store() -> None:
    assert new_messages(made("u"), is_new_transcript=False) == []
    assert new_messages(BuiltRequest({}, {}), is_new_transcript=True) == []


# Parts


def test_parts_are_stored_as_sent() -> None:
    built = made("u a", prompt="p", content_parts=[TypedPart(IMAGE, "--image")])
    stored = [{"role": "user", "content": [{"type": "text", "text": "p"}, IMAGE]}]
    assert built.body["messages"][2:] == stored
    assert new_messages(built, is_new_transcript=False) == stored


@pytest.mark.parametrize("transcript", ["", "u", "u a", "s"])
def test_parts_without_a_new_user_message_make_one(transcript: str) -> None:
    """An old message is not changed, nor one of another file: those are not stored."""
    built = made(transcript, messages=history("u", "m"), content_parts=[TypedPart(IMAGE, "--image")])
    read = history(f"u {transcript}")
    assert built.body["messages"] == [found.value for found in read] + [{"role": "user", "content": [IMAGE]}]
    assert new_messages(built, is_new_transcript=not transcript) == [{"role": "user", "content": [IMAGE]}]


def test_without_a_transcript_they_go_into_an_old_message() -> None:
    built = build(RequestParts(messages=history("u"), content_parts=[TypedPart(IMAGE, "--image")]))
    assert built.body["messages"] == [{"role": "user", "content": [{"type": "text", "text": "u"}, IMAGE]}]


# --set


def test_new_message_that_was_edited_is_stored_as_sent() -> None:
    built = made("u a", "", "messages[2].name=bob", prompt="p")
    assert new_messages(built, is_new_transcript=False) == [{"role": "user", "content": "p", "name": "bob"}]


@pytest.mark.parametrize("edit", ["messages[0].content=x", 'messages[0]:={"role":"user","content":"x"}'])
def test_old_message_that_was_edited_is_not_stored_again(edit: str) -> None:
    check(made("u a", "", edit, prompt="p"), "x a p", "p")


def test_message_that_was_added_is_stored() -> None:
    built = made("u a", "", 'messages[3]:={"role":"user","content":"x"}', prompt="p")
    assert contents(new_messages(built, is_new_transcript=False)) == "p x"


# Places


def test_places_are_lines_of_the_transcript() -> None:
    built = made("u a", "s", prompt="p")
    assert [built.place(f"/messages/{index}/content") for index in range(4)] == [
        "--system",
        "t:1",
        "t:2",
        "PROMPT",
    ]


# What does not fit


def _of(**fields: Any) -> BuiltRequest:
    by_option = {parameter.option: parameter for parameter in TABLE}
    given = tuple((by_option[name], value) for name, value in fields.items())
    return build(RequestParts(prompt="p", transcript=(), parameters=Parameters(given)))


def test_several_answers_are_refused() -> None:
    with refused(
        UsageFault,
        "--n: a transcript continues with one answer, not 2: "
        "ask for one with -n 1, or leave out --transcript",
    ):
        refuse_unstorable(_of(n=2))


def test_messages_set_as_a_whole_are_refused() -> None:
    with pytest.raises(UsageFault) as fault:
        refuse_unstorable(made("u", "", "messages:=[]"))
    assert str(fault.value).startswith("--set: 'messages' as a whole cannot be set beside --transcript: ")


def test_one_answer_is_not_refused() -> None:
    refuse_unstorable(_of())
    refuse_unstorable(_of(n=1))
    refuse_unstorable(made("u", "", "n:=null", "messages[0].name=x"))
