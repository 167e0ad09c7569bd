"""Inputs that the command line names: stdin by its owner, files of tools, texts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from chatpipe.errors import BadInput, ChatpipeError, MissingInput, Status, UsageFault
from chatpipe.inputs.messages import LocatedValue
from chatpipe.inputs.place import Source
from chatpipe.inputs.sources import Sources
from chatpipe.inputs.stdin import Stdin
from chatpipe.options.parameters import TABLE, Parameters
from chatpipe.options.prompt import Attachment, PromptOptions, RoleOption
from chatpipe.options.request import RequestOptions
from chatpipe.request.build import RequestParts
from chatpipe.request.gather import add_transcript, gather_request
from support.parametrize import cases
from support.pipes import filled
from support.refusals import refused

BY_OPTION = {parameter.option: parameter for parameter in TABLE}
PIPE, FILE, NULL, CLOSED, TERMINAL = "pipe", "file", "null", "closed", "terminal"


class Given(NamedTuple):
    """Descriptor 0 as a caller left it, and the notices about it."""

    stdin: Stdin
    said: list[str]


@pytest.fixture
def given(tmp_path: Path) -> Iterator[Callable[..., Given]]:
    """Makes a stdin of a kind that holds data; what is open is closed at the end."""
    descriptors: list[int] = []

    def make(kind: str, data: bytes = b"") -> Given:
        said: list[str] = []
        match kind:
            case "pipe":
                reader = filled(data)
            case "file":
                (tmp_path / "stdin").write_bytes(data)
                reader = os.open(tmp_path / "stdin", os.O_RDONLY)
            case "null":
                reader = os.open(os.devnull, os.O_RDONLY)
            case "terminal":
                screen, reader = os.openpty()
                descriptors.append(screen)
                os.write(screen, data + b"\x04")  # Ctrl-D
            case _:
                return Given(Stdin(-1, False, said.append), said)
        descriptors.append(reader)
        return Given(Stdin(reader, True, said.append), said)

    yield make
    for descriptor in descriptors:
        os.close(descriptor)


def gathered(prompt: PromptOptions, stdin: Stdin, **options: Any) -> RequestParts:
    parameters = Parameters(
        tuple((BY_OPTION[name.replace("_", "-")], value) for name, value in options.items())
    )
    return gather_request(RequestOptions(prompt, parameters), Sources(stdin), "d")


def words(*texts: str, **others: Any) -> PromptOptions:
    return PromptOptions(words=texts, **others)


def typed(option: str, role: str, value: str, tool_call_id: str | None = None) -> RoleOption:
    return RoleOption(option, role, value, option.endswith("-file"), tool_call_id)


def attached(kind: Any, value: str, option: str) -> PromptOptions:
    """The prompt "a" with one attachment."""
    return words("a", attachments=(Attachment(kind, value, option),))


HI = RoleOption("--user", "user", "hi", False)
SYSTEM = RoleOption("--system", "system", "s", False)


@cases(
    ("prompt", "kind", "data", "text"),
    {
        "a word": (words("a"), NULL, b"", "a"),
        "words are joined by spaces": (words("a", "b  c", "d"), NULL, b"", "a b  c d"),
        "stdin closed": (words("a"), CLOSED, b"", "a"),
        "a terminal is not read beside a prompt": (words("a"), TERMINAL, b"x\n", "a"),
        "piped text follows after a blank line": (words("a"), PIPE, b"x\n", "a\n\nx"),
        "a file, too": (words("a"), FILE, b"x\n", "a\n\nx"),
        "one final newline is removed": (words("a"), PIPE, b"x\n\n", "a\n\nx\n"),
        "or CRLF": (words("a"), PIPE, b"x\r\n", "a\n\nx"),
        "nothing piped, nothing joined": (words("a"), PIPE, b"", "a"),
        "nothing left, nothing joined": (words("a"), PIPE, b"\n", "a"),
        "a blank is something": (words("a"), PIPE, b" \n", "a\n\n "),
        "piped text alone": (words(), PIPE, b"x\n", "x"),
        "a file alone": (words(), FILE, b"x", "x"),
        "- at the end": (words("a", "-"), PIPE, b"x\n", "a\n\nx"),
        "- at the start": (words("-", "b"), PIPE, b"x\n", "x\n\nb"),
        "- in the middle": (words("a", "b", "-", "c", "d"), PIPE, b"x\n", "a b\n\nx\n\nc d"),
        "- alone": (words("-"), PIPE, b"x\n", "x"),
        "- reads a terminal": (words("-"), TERMINAL, b"x\n", "x"),
        "- and nothing there": (words("a", "-"), NULL, b"", "a"),
        "- wins over --no-stdin": (words("a", "-", read_stdin=False), PIPE, b"x", "a\n\nx"),
        "two dashes are a word": (words("a", "--"), PIPE, b"x", "a --\n\nx"),
        "--no-stdin": (words("a", read_stdin=False), PIPE, b"x\n", "a"),
        "byte order mark": (words("a"), PIPE, "\ufeffä\u2028\n".encode(), "a\n\nä\u2028"),
        "piped text behind role options": (words(role_options=(HI,)), PIPE, b"x", "x"),
        "no value is a file because of how it begins": (words("@f"), NULL, b"", "@f"),
    },
)
def test_a_prompt_is_made_of_words_and_stdin(
    given: Callable[..., Given], prompt: PromptOptions, kind: str, data: bytes, text: str
) -> None:
    stdin, said = given(kind, data)
    assert gathered(prompt, stdin).prompt == text
    assert said == []


def test_terminal_without_a_prompt_is_read_to_its_end_after_a_note(given: Callable[..., Given]) -> None:
    stdin, said = given(TERMINAL, b"hello\n")
    assert gathered(words(), stdin).prompt == "hello"
    assert said == ["type the prompt, then Ctrl-D"]


def test_terminal_behind_a_system_message_is_read_as_well(given: Callable[..., Given]) -> None:
    stdin, _ = given(TERMINAL, b"hello\n")
    assert gathered(words(role_options=(SYSTEM,)), stdin).prompt == "hello"


NO_PROMPT = ("no prompt: give one as an operand or on stdin", Status.USAGE)
EMPTY_STDIN = ("<stdin>: stdin is empty: there is nothing to ask", Status.BAD_INPUT)
BLANK_STDIN = ("<stdin>: stdin is blank: there is nothing to ask", Status.BAD_INPUT)
IMAGE_URL = Attachment("image", "https://e.com/a.png", "--image")
RESULT = RoleOption("--tool-result", "tool", "r", False, "c")


@cases(
    "prompt",
    {
        "a user message": words(role_options=(HI,)),
        "behind a system message": words(role_options=(SYSTEM, HI)),
        "a tool result": words(role_options=(RESULT,)),
        "an image": words(attachments=(IMAGE_URL,)),
    },
)
@pytest.mark.parametrize(("kind", "data"), [(TERMINAL, b"x\n"), (NULL, b""), (CLOSED, b""), (PIPE, b"")])
def test_no_prompt_is_needed_beside(
    given: Callable[..., Given], prompt: PromptOptions, kind: str, data: bytes
) -> None:
    stdin, said = given(kind, data)
    assert gathered(prompt, stdin).prompt is None
    assert said == []


@cases(
    ("prompt", "kind", "data", "line", "status"),
    {
        "nothing at all": (words(), NULL, b"", *NO_PROMPT),
        "nothing, stdin closed": (words(), CLOSED, b"", *NO_PROMPT),
        "a system message is nothing to answer": (words(role_options=(SYSTEM,)), NULL, b"", *NO_PROMPT),
        "--no-stdin without a prompt": (words(read_stdin=False), PIPE, b"x", *NO_PROMPT),
        "empty pipe": (words(), PIPE, b"", *EMPTY_STDIN),
        "a newline alone": (words(), PIPE, b"\n", *EMPTY_STDIN),
        "white space alone": (words(), PIPE, b" \n\n", *BLANK_STDIN),
        "white space at -": (words("-"), PIPE, b"\t", *BLANK_STDIN),
        "- and nothing there": (words("-"), NULL, b"", *EMPTY_STDIN),
        "an empty operand": (words(""), NULL, b"", "PROMPT: the prompt is empty", Status.BAD_INPUT),
        "- and stdin closed": (
            words("-"),
            CLOSED,
            b"",
            "<stdin>: stdin is closed: pipe something in or name a file",
            Status.NO_INPUT,
        ),
        "invalid UTF-8": (
            words("a"),
            PIPE,
            b"x\n\xff\n",
            (
                "<stdin>:2: byte 0xff is not UTF-8: "
                "convert it first, for example with iconv -f WINDOWS-1252 -t UTF-8"
            ),
            Status.BAD_INPUT,
        ),
        "binary data": (
            words("a"),
            PIPE,
            b"x\0",
            "<stdin>: binary data, a NUL at byte 1: give text in UTF-8",
            Status.BAD_INPUT,
        ),
    },
)
def test_a_missing_or_unreadable_prompt_is_refused(
    given: Callable[..., Given], prompt: PromptOptions, kind: str, data: bytes, line: str, status: Status
) -> None:
    with refused(ChatpipeError, line, status=status):
        gathered(prompt, given(kind, data).stdin)


def test_operand_that_is_not_utf8_is_refused(given: Callable[..., Given]) -> None:
    """Python hands such bytes over as lone surrogates, which would be sent as if they were text."""
    with pytest.raises(BadInput):
        gathered(words("caf\udce9"), given(NULL).stdin)


# A transcript


def messages(*roles: str) -> list[LocatedValue]:
    return [LocatedValue({"role": role, "content": "x"}, Source("t", b"")) for role in roles]


TALK = words(transcript="t")
WAITING = [("user",), ("system", "user"), ("user", "assistant", "tool"), ("function",)]
ANSWERED = [(), ("system",), ("user", "assistant")]


def gathered_with(prompt: PromptOptions, stdin: Stdin, *roles: str) -> RequestParts:
    return gather_request(RequestOptions(prompt), Sources(stdin), None, lambda: messages(*roles))


@pytest.mark.parametrize("roles", WAITING, ids=" ".join)
@pytest.mark.parametrize(("kind", "data"), [(TERMINAL, b"x\n"), (NULL, b""), (CLOSED, b""), (PIPE, b"")])
def test_transcript_that_waits_for_an_answer_needs_no_prompt(
    given: Callable[..., Given], roles: tuple[str, ...], kind: str, data: bytes
) -> None:
    stdin, said = given(kind, data)
    material = gathered_with(TALK, stdin, *roles)
    assert (material.prompt, said) == (None, [])
    assert add_transcript(material, TALK, messages(*roles)).transcript == messages(*roles)


@pytest.mark.parametrize("roles", ANSWERED, ids=" ".join)
def test_transcript_that_is_answered_needs_one(given: Callable[..., Given], roles: tuple[str, ...]) -> None:
    stdin, said = given(TERMINAL, b"more\n")
    assert gathered_with(TALK, stdin, *roles).prompt == "more"
    assert said == ["type the prompt, then Ctrl-D"]
    with pytest.raises(UsageFault) as fault:
        gathered_with(TALK, given(NULL).stdin, *roles)
    assert str(fault.value).startswith("no prompt: ")
    with pytest.raises(BadInput) as bad:
        gathered_with(TALK, given(PIPE).stdin, *roles)
    assert str(bad.value).startswith("<stdin>: stdin is empty: ")


@cases(
    ("prompt", "kind"),
    {
        "an operand": (words("a", transcript="t"), NULL),
        "an operand at a terminal": (words("a", transcript="t"), TERMINAL),
        "a pipe": (TALK, PIPE),
        "a tool result": (words(transcript="t", role_options=(RESULT,)), NULL),
        "an image": (words(transcript="t", attachments=(IMAGE_URL,)), TERMINAL),
    },
)
def test_transcript_is_not_looked_at_where_something_is_asked(
    given: Callable[..., Given], prompt: PromptOptions, kind: str
) -> None:
    """It may be another call's still, whose output is this one's stdin."""

    def look() -> list[LocatedValue]:
        raise AssertionError("looked at")

    stdin, _ = given(kind, b"x\n")
    material = gather_request(RequestOptions(prompt), Sources(stdin), None, look)
    assert material.transcript is None


def test_transcript_that_was_answered_meanwhile_is_refused(given: Callable[..., Given]) -> None:
    material = gathered_with(TALK, given(NULL).stdin, "user")
    with refused(UsageFault, "no prompt, and nothing in the transcript that waits for an answer"):
        add_transcript(material, TALK, messages("user", "assistant"))


def test_without_a_transcript_material_is_what_was_gathered(given: Callable[..., Given]) -> None:
    material = gathered(words("a"), given(NULL).stdin)
    assert add_transcript(material, words("a"), None) == material


# The owner of stdin

BODY = b'{"messages":[{"role":"user","content":"q"}]}'


@cases(
    ("prompt", "options", "data", "text"),
    {
        "--request": (words("a", request="-"), {}, BODY, "a"),
        "--request, no prompt": (words(request="-"), {}, BODY, None),
        "--messages": (words("a", messages="-"), {}, b"[]", "a"),
        "--user-file": (words("a", role_options=(typed("--user-file", "user", "-"),)), {}, b"x", "a"),
        "--tool-result-file": (
            words("a", role_options=(typed("--tool-result-file", "tool", "-", "c"),)),
            {},
            b"x",
            "a",
        ),
        "--file": (attached("file", "-", "--file"), {}, b"x", "a"),
        "--tool": (words("a"), {"tool": ["-"]}, b'{"name":"f"}', "a"),
        "--function": (words("a"), {"function": ["-"]}, b'{"name":"f"}', "a"),
        "--prediction-file": (words("a"), {"prediction_file": "-"}, b"x", "a"),
    },
)
def test_owner_gets_stdin_and_the_prompt_does_not(
    given: Callable[..., Given], prompt: PromptOptions, options: dict[str, Any], data: bytes, text: str | None
) -> None:
    assert gathered(prompt, given(PIPE, data).stdin, **options).prompt == text


@cases(
    ("prompt", "options", "owners"),
    {
        "two files": (words(request="-", messages="-"), {}, ("--request", "--messages")),
        "a file and the operand": (words("-", request="-"), {}, ("--request", "the operand '-'")),
        "the operand twice": (words("-", "-"), {}, ("the operand '-'", "the operand '-'")),
        "tool": (
            words(attachments=(Attachment("image", "-", "--image"),)),
            {"tool": ["f", "-"]},
            ("--image", "--tool"),
        ),
        "prediction": (words("-"), {"prediction_file": "-"}, ("--prediction-file", "the operand '-'")),
    },
)
def test_two_owners_are_a_wrong_call_before_anything_is_read(
    prompt: PromptOptions, options: dict[str, Any], owners: tuple[str, str]
) -> None:
    with refused(UsageFault, what=f"{owners[0]} and {owners[1]} both read stdin"):
        gathered(prompt, Stdin(-1, True, print), **options)


@cases(
    "prompt",
    {
        "a text that is -": words("-", role_options=(RoleOption("--user", "user", "-", False),)),
        "a file id that is -": words("-", attachments=(Attachment("file-id", "-", "--file-id"),)),
    },
)
def test_a_dash_that_is_no_file_owns_nothing(given: Callable[..., Given], prompt: PromptOptions) -> None:
    assert gathered(prompt, given(PIPE, b"x").stdin).prompt == "x"


# Turns


@pytest.mark.usefixtures("folder")
def test_turns_in_their_order_with_the_text_of_files(given: Callable[..., Given]) -> None:
    Path("f").write_bytes(b"from file\n\n")
    turns = (
        RoleOption("--system-file", "system", "f", True),
        HI,
        RoleOption("--assistant", "assistant", "f", False),
        RoleOption("--tool-result-file", "tool", "f", True, "c1"),
        RoleOption("--tool-result", "tool", "", False, "c2"),
    )
    material = gathered(words(role_options=turns), given(NULL).stdin)
    assert [(dict(each.value), each.option) for each in material.typed_messages] == [
        ({"role": "system", "content": "from file\n"}, "--system-file"),
        ({"role": "user", "content": "hi"}, "--user"),
        ({"role": "assistant", "content": "f"}, "--assistant"),
        ({"role": "tool", "content": "from file\n", "tool_call_id": "c1"}, "--tool-result-file"),
        ({"role": "tool", "content": "", "tool_call_id": "c2"}, "--tool-result"),
    ]


@pytest.mark.usefixtures("folder")
def test_every_file_is_a_prerequisite(given: Callable[..., Given]) -> None:
    files = {"r": BODY, "m": b"[]", "s": b"s", "i": b"GIF89a", "t": b'{"name":"f"}', "p": b"p"}
    for name, data in files.items():
        Path(name).write_bytes(data)
    sources = Sources(given(PIPE, b"x").stdin)
    prompt = words(
        "a",
        request="r",
        messages="m",
        role_options=(typed("--system-file", "system", "s"),),
        attachments=(IMAGE_URL, Attachment("image", "i", "--image")),
    )
    parameters = Parameters(((BY_OPTION["tool"], ["t"]), (BY_OPTION["prediction-file"], "p")))
    gather_request(RequestOptions(prompt, parameters), sources, None)
    assert sources.names == ["r", "m", "s", "i", "t", "p"]


@pytest.mark.usefixtures("folder")
@cases(
    ("prompt", "options", "option"),
    {
        "request": (words("a", request="no"), {}, "--request"),
        "messages": (words("a", messages="no"), {}, "--messages"),
        "text": (words("a", role_options=(typed("--user-file", "user", "no"),)), {}, "--user-file"),
        "image": (attached("image", "no", "--image"), {}, "--image"),
        "tool": (words("a"), {"tool": ["no"]}, "--tool"),
        "function": (words("a"), {"function": ["no"]}, "--function"),
        "prediction": (words("a"), {"prediction_file": "no"}, "--prediction-file"),
    },
)
def test_missing_file_is_66_at_its_option(
    given: Callable[..., Given], prompt: PromptOptions, options: dict[str, Any], option: str
) -> None:
    with refused(MissingInput, f"{option}: cannot read 'no': no such file or directory"):
        gathered(prompt, given(NULL).stdin, **options)


# Files of tools

FUNCTION = {"name": "f", "parameters": {"type": "object"}}
TOOL = {"type": "function", "function": FUNCTION}
CUSTOM = {"type": "custom", "custom": {"name": "c"}}
FUNCTION_TEXT = '{"name":"f","parameters":{"type":"object"}}'
TOOL_TEXT = f'{{"type":"function","function":{FUNCTION_TEXT}}}'
CUSTOM_TEXT = '{"type":"custom","custom":{"name":"c"}}'


@cases(
    ("files", "tools"),
    {
        "tool": ([TOOL_TEXT], [TOOL]),
        "bare function": ([FUNCTION_TEXT], [TOOL]),
        "custom tool": ([CUSTOM_TEXT], [CUSTOM]),
        "bare custom tool": (
            ['{"name":"c","format":{"type":"text"}}'],
            [{"type": "custom", "custom": {"name": "c", "format": {"type": "text"}}}],
        ),
        "array of both": ([f"[{FUNCTION_TEXT},\n{CUSTOM_TEXT}]"], [TOOL, CUSTOM]),
        "empty array": (["[]"], []),
        "several files, in order": ([CUSTOM_TEXT, f"[{FUNCTION_TEXT}]"], [CUSTOM, TOOL]),
    },
)
def test_tools_are_read_from_files(
    tmp_path: Path, given: Callable[..., Given], files: list[str], tools: list[Any]
) -> None:
    names = []
    for number, text in enumerate(files):
        (tmp_path / str(number)).write_text(text)
        names.append(str(tmp_path / str(number)))
    [(parameter, value)] = gathered(words("a"), given(NULL).stdin, tool=names).parameters.values
    assert (parameter.option, value) == ("tool", tools)


def test_functions_are_not_wrapped(tmp_path: Path, given: Callable[..., Given]) -> None:
    (tmp_path / "f").write_text(f"[{FUNCTION_TEXT}]")
    [(_, value)] = gathered(words("a"), given(NULL).stdin, function=[str(tmp_path / "f")]).parameters.values
    assert value == [FUNCTION]


@cases(
    ("text", "line", "what"),
    {
        "an empty object": ("{}", 1, "not a tool: an object without 'name' or 'type'"),
        "a name": ('\n"f"', 2, "not a tool: a string"),
        "a number among tools": ('[\n{"name":"f"},\n5]', 3, "not a tool: a number"),
        "an array in an array": ('[[{"name":"f"}]]', 1, "not a tool: an array"),
        "null": ("null", 1, "not a tool: null"),
        "cut": ('{"name":"f"\n', 2, "not JSON: expecting ',' delimiter (column 1)"),
        "empty": ("", 1, "not JSON: nothing there (column 1)"),
    },
)
@pytest.mark.parametrize("option", ["tool", "function"])
def test_a_file_that_is_no_tool_is_refused(
    tmp_path: Path, given: Callable[..., Given], option: str, text: str, line: int, what: str
) -> None:
    path = tmp_path / "f"
    path.write_text(text)
    with refused(BadInput, place=f"{path}:{line}", what=what):
        gathered(words("a"), given(NULL).stdin, **{option: [str(path)]})


def test_prediction_is_the_text_of_its_file(tmp_path: Path, given: Callable[..., Given]) -> None:
    (tmp_path / "f").write_text("old text\n")
    [(_, value)] = gathered(
        words("a"), given(NULL).stdin, prediction_file=str(tmp_path / "f")
    ).parameters.values
    assert value == {"type": "content", "content": "old text"}


def test_slow_producer_beside_a_prompt_is_waited_for_aloud(monkeypatch: pytest.MonkeyPatch) -> None:
    from chatpipe.inputs import stdin as module

    monkeypatch.setattr(module, "NOTICE_DELAY_S", 0.0)
    reader, writer = os.pipe()
    said: list[str] = []

    def notice(text: str) -> None:
        said.append(text)
        os.write(writer, b"late")
        os.close(writer)

    assert gathered(words("a"), Stdin(reader, True, notice)).prompt == "a\n\nlate"
    os.close(reader)
    assert said == ["waiting for stdin: --no-stdin leaves it alone"]
