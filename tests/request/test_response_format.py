"""`--schema` to the `response_format` of a request: what is read, how it is named, where it came from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chatpipe.errors import BadInput, ChatpipeError, MissingInput, Status, UsageFault
from chatpipe.inputs.sources import Sources
from chatpipe.inputs.stdin import Stdin
from chatpipe.options.prompt import PromptOptions
from chatpipe.options.request import RequestOptions
from chatpipe.options.structured_output import SchemaOptions
from chatpipe.request.build import BuiltRequest, build
from chatpipe.request.gather import gather_defaults, gather_request
from chatpipe.request.response_format import ResponseFormat, read, refuse_several_choices
from support.parametrize import cases
from support.pipes import filled
from support.refusals import refused

SCHEMA = b'{\n  "type": "object",\n  "properties": {}\n}'
NOBODY = Stdin(-1, False, lambda _: None)

pytestmark = pytest.mark.usefixtures("folder")


@pytest.fixture
def piped() -> Iterator[Stdin]:
    """A stdin with SCHEMA in it."""
    reader = filled(SCHEMA)
    yield Stdin(reader, True, lambda _: None)
    os.close(reader)


def file(name: str, data: bytes = SCHEMA) -> SchemaOptions:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_bytes(data)
    return SchemaOptions(file=name)


def form(structure: SchemaOptions, stdin: Stdin = NOBODY) -> ResponseFormat:
    found = read(structure, Sources(stdin))
    assert found is not None
    return found


def built(structure: SchemaOptions, prompt: PromptOptions = PromptOptions(words=("q",))) -> BuiltRequest:  # noqa: B008 - a tuple
    return build(gather_request(RequestOptions(prompt, schema=structure), Sources(NOBODY), "m"))


def test_without_a_schema_nothing_is_asked_for() -> None:
    assert read(SchemaOptions(), Sources(NOBODY)) is None
    assert "response_format" not in built(SchemaOptions()).body


def test_a_schema_is_the_response_format() -> None:
    assert built(file("person.json")).body == {
        "model": "m",
        "messages": [{"role": "user", "content": "q"}],
        "response_format": {
            "type": "json_schema",
            "json_schema": {
                "name": "person",
                "schema": {"type": "object", "properties": {}},
                "strict": True,
            },
        },
    }


def test_strict_is_sent_as_the_option_says() -> None:
    sent = built(SchemaOptions(text="{}", strict=False)).body["response_format"]
    assert sent["json_schema"] == {"name": "answer", "schema": {}, "strict": False}


def test_numbers_of_any_size_stay_what_they_are() -> None:
    sent = built(SchemaOptions(text='{"const": 123456789012345678901234567890}')).body["response_format"]
    assert sent["json_schema"]["schema"]["const"] == 123456789012345678901234567890


@pytest.mark.parametrize(
    ("name", "title", "expected"),
    [
        ("person.json", None, "person"),
        ("forms/person.schema.json", None, "person"),
        ("person.json", "Order", "Order"),
        ("person.json", "An order, or two!", "An_order_or_two"),
        ("person.json", "Größe", "Gr_e"),
        ("person.json", "  ", "person"),
        ("person.json", "名前", "person"),
        ("person.json", 5, "person"),
        ("名前.json", None, "answer"),
        (".json", None, "json"),
        ("a b", None, "a_b"),
        ("person.json", "x" * 70, "x" * 64),
        ("person.json", "-_-", "-_-"),
    ],
)
def test_name_is_of_the_title_or_the_file(name: str, title: Any, expected: str) -> None:
    data = (
        b"{}"
        if title is None
        else f'{{"title": {title if title == 5 else chr(34) + title + chr(34)}}}'.encode()
    )
    assert form(file(name, data)).name == expected


def test_name_that_is_given_wins() -> None:
    assert form(SchemaOptions(text='{"title": "Order"}', name="mine")).name == "mine"


def test_stdin_has_no_name(piped: Stdin) -> None:
    found = form(SchemaOptions(file="-"), piped)
    assert (found.name, found.schema.value) == ("answer", {"type": "object", "properties": {}})


def test_descriptor_has_no_name() -> None:
    """`--schema <(jq ...)`: its number would make another request of the same one."""
    descriptor = os.open(file("person.json").file or "", os.O_RDONLY)
    try:
        assert form(SchemaOptions(file=f"/dev/fd/{descriptor}")).name == "answer"
    finally:
        os.close(descriptor)


def test_schema_on_stdin_is_not_the_prompt(piped: Stdin) -> None:
    made = build(
        gather_request(
            RequestOptions(PromptOptions(words=("q",)), schema=SchemaOptions(file="-")), Sources(piped), "m"
        )
    )
    assert made.body["messages"] == [{"role": "user", "content": "q"}]
    assert made.body["response_format"]["json_schema"]["schema"]["type"] == "object"


@cases(
    ("prompt", "owners"),
    {
        "--request": (PromptOptions(request="-"), "--request and --schema both read stdin"),
        "operand": (PromptOptions(words=("q", "-")), "--schema and the operand '-' both read stdin"),
    },
)
def test_stdin_has_one_owner(prompt: PromptOptions, owners: str) -> None:
    with refused(UsageFault, what=owners):
        gather_request(RequestOptions(prompt, schema=SchemaOptions(file="-")), Sources(NOBODY), "m")


def test_a_schema_on_stdin_is_refused_in_a_run() -> None:
    with refused(UsageFault, what="--schema and FILE both read stdin"):
        gather_defaults(RequestOptions(schema=SchemaOptions(file="-")), Sources(NOBODY), "-")


def test_defaults_of_a_run_have_it() -> None:
    made = build(gather_defaults(RequestOptions(schema=SchemaOptions(text="{}")), Sources(NOBODY), "-"))
    assert made.body["response_format"]["json_schema"]["name"] == "answer"


def test_file_is_among_what_was_read() -> None:
    sources = Sources(NOBODY)
    read(file("s.json"), sources)
    assert sources.names == ["s.json"]


NO_OBJECT = "--schema-json: a schema to ask with is an object, not"


@cases(
    ("structure", "error", "line"),
    {
        "missing": (
            SchemaOptions(file="nowhere.json"),
            MissingInput,
            "--schema: cannot read 'nowhere.json': no such file or directory",
        ),
        "text is not JSON": (
            SchemaOptions(text="person.json"),
            UsageFault,
            (
                "--schema-json: not JSON: expecting value (line 1, column 1):"
                " the name of a file goes to --schema"
            ),
        ),
        "text is an array": (SchemaOptions(text="[1]"), BadInput, f"{NO_OBJECT} an array"),
        "text is a boolean, which the drafts allow and the API does not": (
            SchemaOptions(text="true"),
            BadInput,
            f"{NO_OBJECT} a boolean",
        ),
        "bytes": (
            SchemaOptions(text="\udcff"),
            BadInput,
            "--schema-json: not UTF-8: set the terminal to UTF-8",
        ),
    },
)
def test_a_schema_that_cannot_be_read_is_refused(
    structure: SchemaOptions, error: type[ChatpipeError], line: str
) -> None:
    with refused(error, line):
        form(structure)


@cases(
    ("data", "line"),
    {
        "not JSON": (b'{\n"a" 1}', "s.json:2: not JSON: expecting ':' delimiter (column 5)"),
        "array": (b"\n\n[]", "s.json:3: a schema to ask with is an object, not an array"),
        "empty": (b"", "s.json:1: not JSON: nothing there (column 1)"),
    },
)
def test_a_file_that_is_no_schema_is_refused_with_its_line(data: bytes, line: str) -> None:
    with refused(BadInput, line, status=Status.BAD_INPUT):
        form(file("s.json", data))


def test_places_of_a_file_and_of_the_command_line() -> None:
    made = built(file("s.json"))
    assert made.place("/response_format/json_schema/name") == "--schema"
    assert made.place("/response_format/json_schema/schema/properties") == "s.json:3"
    made = built(SchemaOptions(text=SCHEMA.decode()))
    assert made.place("/response_format/json_schema/schema/properties") == "--schema-json"
    assert form(file("s.json")).place("/properties") == "s.json:3"
    assert form(SchemaOptions(text="{}")).place("/properties") == "--schema-json"


def test_form_of_the_request_file_is_replaced_as_a_whole() -> None:
    Path("r.json").write_text(
        '{"messages": [], "response_format": {"type": "text", "x": 1}}', encoding="utf-8"
    )
    made = built(SchemaOptions(text="{}"), PromptOptions(words=("q",), request="r.json"))
    assert sorted(made.body["response_format"]) == ["json_schema", "type"]


@cases("body", {"no n": {}, "1": {"n": 1}, "null": {"n": None}})
def test_one_answer_can_be_sent_back(body: dict[str, Any]) -> None:
    refuse_several_choices(body, SchemaOptions(text="{}", reask=2))


def test_several_answers_cannot_be_sent_back() -> None:
    with refused(UsageFault, "--reask: one answer can be sent back, not 3: ask for one with -n 1"):
        refuse_several_choices({"n": 3}, SchemaOptions(text="{}", reask=2))
    refuse_several_choices({"n": 3}, SchemaOptions(text="{}"))
