"""Inputs that the command line names: stdin by its owner, files of tools, texts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from pipes import filled
from typing import Any, NamedTuple

import pytest

from chatpipe.errors import BadInput, ChatpipeError, MissingInput, Status, UsageFault
from chatpipe.inputs.messages import Found
from chatpipe.inputs.place import Source
from chatpipe.inputs.sources import Sources
from chatpipe.inputs.stdin import Stdin
from chatpipe.request.build import Material
from chatpipe.request.material import continued, gather
from chatpipe.request.parameters import TABLE, Parameters
from chatpipe.request.prompt import Attachment, Prompt, Typed
from refusals import refused

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


def gathered(prompt: Prompt, stdin: Stdin, **options: Any) -> Material:
    parameters = Parameters(
        tuple((BY_OPTION[name.replace("_", "-")], value) for name, value in options.items())
    )
    return gather(prompt, parameters, Sources(stdin), "d")


def words(*texts: str, **others: Any) -> Prompt:
    return Prompt(words=texts, **others)


def typed(option: str, role: str, value: str, tool_call_id: str | None = None) -> Typed:
    return Typed(option, role, value, option.endswith("-file"), tool_call_id)


def attached(kind: Any, value: str, option: str) -> Prompt:
    """The prompt "a" with one attachment."""
    return words("a", attachments=(Attachment(kind, value, option),))


HI = Typed("--user", "user", "hi", False)
SYSTEM = Typed("--system", "system", "s", False)


@pytest.mark.parametrize(
    ("prompt", "kind", "data", "text"),
    [
        pytest.param(words("a"), NULL, b"", "a", id="a word"),
        pytest.param(words("a", "b  c", "d"), NULL, b"", "a b  c d", id="words are joined by spaces"),
        pytest.param(words("a"), CLOSED, b"", "a", id="stdin closed"),
        pytest.param(words("a"), TERMINAL, b"x\n", "a", id="a terminal is not read beside a prompt"),
        pytest.param(words("a"), PIPE, b"x\n", "a\n\nx", id="piped text follows after a blank line"),
        pytest.param(words("a"), FILE, b"x\n", "a\n\nx", id="a file, too"),
        pytest.param(words("a"), PIPE, b"x\n\n", "a\n\nx\n", id="one final newline is removed"),
        pytest.param(words("a"), PIPE, b"x\r\n", "a\n\nx", id="or CRLF"),
        pytest.param(words("a"), PIPE, b"", "a", id="nothing piped, nothing joined"),
        pytest.param(words("a"), PIPE, b"\n", "a", id="nothing left, nothing joined"),
        pytest.param(words("a"), PIPE, b" \n", "a\n\n ", id="a blank is something"),
        pytest.param(words(), PIPE, b"x\n", "x", id="piped text alone"),
        pytest.param(words(), FILE, b"x", "x", id="a file alone"),
        pytest.param(words("a", "-"), PIPE, b"x\n", "a\n\nx", id="- at the end"),
        pytest.param(words("-", "b"), PIPE, b"x\n", "x\n\nb", id="- at the start"),
        pytest.param(words("a", "b", "-", "c", "d"), PIPE, b"x\n", "a b\n\nx\n\nc d", id="- in the middle"),
        pytest.param(words("-"), PIPE, b"x\n", "x", id="- alone"),
        pytest.param(words("-"), TERMINAL, b"x\n", "x", id="- reads a terminal"),
        pytest.param(words("a", "-"), NULL, b"", "a", id="- and nothing there"),
        pytest.param(words("a", "-", read_stdin=False), PIPE, b"x", "a\n\nx", id="- wins over --no-stdin"),
        pytest.param(words("a", "--"), PIPE, b"x", "a --\n\nx", id="two dashes are a word"),
        pytest.param(words("a", read_stdin=False), PIPE, b"x\n", "a", id="--no-stdin"),
        pytest.param(words("a"), PIPE, "\ufeffä\u2028\n".encode(), "a\n\nä\u2028", id="byte order mark"),
        pytest.param(words(typed=(HI,)), PIPE, b"x", "x", id="piped text behind role options"),
        pytest.param(words("@f"), NULL, b"", "@f", id="no value is a file because of how it begins"),
    ],
)
def test_a_prompt_is_made_of_words_and_stdin(
    given: Callable[..., Given], prompt: Prompt, kind: str, data: bytes, text: str
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
    assert gathered(words(typed=(SYSTEM,)), stdin).prompt == "hello"


NO_PROMPT = ("no prompt: give one as an operand or on stdin", Status.USAGE)
EMPTY_STDIN = ("<stdin>: stdin is empty: there is nothing to ask", Status.BAD_INPUT)
IMAGE_URL = Attachment("image", "https://e.com/a.png", "--image")
RESULT = Typed("--tool-result", "tool", "r", False, "c")


@pytest.mark.parametrize(
    "prompt",
    [
        pytest.param(words(typed=(HI,)), id="a user message"),
        pytest.param(words(typed=(SYSTEM, HI)), id="behind a system message"),
        pytest.param(words(typed=(RESULT,)), id="a tool result"),
        pytest.param(words(attachments=(IMAGE_URL,)), id="an image"),
    ],
)
@pytest.mark.parametrize(("kind", "data"), [(TERMINAL, b"x\n"), (NULL, b""), (CLOSED, b""), (PIPE, b"")])
def test_no_prompt_is_needed_beside(
    given: Callable[..., Given], prompt: Prompt, kind: str, data: bytes
) -> None:
    stdin, said = given(kind, data)
    assert gathered(prompt, stdin).prompt is None
    assert said == []


@pytest.mark.parametrize(
    ("prompt", "kind", "data", "line", "status"),
    [
        pytest.param(words(), NULL, b"", *NO_PROMPT, id="nothing at all"),
        pytest.param(words(), CLOSED, b"", *NO_PROMPT, id="nothing, stdin closed"),
        pytest.param(
            words(typed=(SYSTEM,)), NULL, b"", *NO_PROMPT, id="a system message is nothing to answer"
        ),
        pytest.param(words(read_stdin=False), PIPE, b"x", *NO_PROMPT, id="--no-stdin without a prompt"),
        pytest.param(words(), PIPE, b"", *EMPTY_STDIN, id="empty pipe"),
        pytest.param(words(), PIPE, b"\n", *EMPTY_STDIN, id="a newline alone"),
        pytest.param(words("-"), NULL, b"", *EMPTY_STDIN, id="- and nothing there"),
        pytest.param(
            words(""), NULL, b"", "PROMPT: the prompt is empty", Status.BAD_INPUT, id="an empty operand"
        ),
        pytest.param(
            words("-"),
            CLOSED,
            b"",
            "<stdin>: stdin is closed: pipe something in or name a file",
            Status.NO_INPUT,
            id="- and stdin closed",
        ),
        pytest.param(
            words("a"),
            PIPE,
            b"x\n\xff\n",
            "<stdin>:2: byte 0xff is not UTF-8: convert it first, for example with iconv -t UTF-8",
            Status.BAD_INPUT,
            id="invalid UTF-8",
        ),
        pytest.param(
            words("a"),
            PIPE,
            b"x\0",
            "<stdin>: binary data, a NUL at byte 1: a prompt is text in UTF-8",
            Status.BAD_INPUT,
            id="binary data",
        ),
    ],
)
def test_a_missing_or_unreadable_prompt_is_refused(
    given: Callable[..., Given], prompt: Prompt, kind: str, data: bytes, line: str, status: Status
) -> None:
    with refused(ChatpipeError, line, status=status):
        gathered(prompt, given(kind, data).stdin)


def test_operand_that_is_not_utf8_is_refused(given: Callable[..., Given]) -> None:
    """Python hands such bytes over as lone surrogates, which would be sent as if they were text."""
    with pytest.raises(BadInput):
        gathered(words("caf\udce9"), given(NULL).stdin)


# A transcript


def messages(*roles: str) -> list[Found]:
    return [Found({"role": role, "content": "x"}, Source("t", b"")) for role in roles]


TALK = words(transcript="t")
WAITING = [("user",), ("system", "user"), ("user", "assistant", "tool"), ("function",)]
ANSWERED = [(), ("system",), ("user", "assistant")]


def gathered_with(prompt: Prompt, stdin: Stdin, *roles: str) -> Material:
    return gather(prompt, Parameters(), Sources(stdin), None, transcript=lambda: messages(*roles))


@pytest.mark.parametrize("roles", WAITING, ids=" ".join)
@pytest.mark.parametrize(("kind", "data"), [(TERMINAL, b"x\n"), (NULL, b""), (CLOSED, b""), (PIPE, b"")])
def test_transcript_that_waits_for_an_answer_needs_no_prompt(
    given: Callable[..., Given], roles: tuple[str, ...], kind: str, data: bytes
) -> None:
    stdin, said = given(kind, data)
    material = gathered_with(TALK, stdin, *roles)
    assert (material.prompt, said) == (None, [])
    assert continued(material, TALK, messages(*roles)).transcript == messages(*roles)


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


@pytest.mark.parametrize(
    ("prompt", "kind"),
    [
        pytest.param(words("a", transcript="t"), NULL, id="an operand"),
        pytest.param(words("a", transcript="t"), TERMINAL, id="an operand at a terminal"),
        pytest.param(TALK, PIPE, id="a pipe"),
        pytest.param(words(transcript="t", typed=(RESULT,)), NULL, id="a tool result"),
        pytest.param(words(transcript="t", attachments=(IMAGE_URL,)), TERMINAL, id="an image"),
    ],
)
def test_transcript_is_not_looked_at_where_something_is_asked(
    given: Callable[..., Given], prompt: Prompt, kind: str
) -> None:
    """It may be another call's still, whose output is this one's stdin."""

    def look() -> list[Found]:
        raise AssertionError("looked at")

    stdin, _ = given(kind, b"x\n")
    material = gather(prompt, Parameters(), Sources(stdin), None, transcript=look)
    assert material.transcript is None


def test_transcript_that_was_answered_meanwhile_is_refused(given: Callable[..., Given]) -> None:
    material = gathered_with(TALK, given(NULL).stdin, "user")
    with refused(UsageFault, "no prompt, and nothing in the transcript that waits for an answer"):
        continued(material, TALK, messages("user", "assistant"))


def test_without_a_transcript_material_is_what_was_gathered(given: Callable[..., Given]) -> None:
    material = gathered(words("a"), given(NULL).stdin)
    assert continued(material, words("a"), None) == material


# The owner of stdin

BODY = b'{"messages":[{"role":"user","content":"q"}]}'


@pytest.mark.parametrize(
    ("prompt", "options", "data", "text"),
    [
        pytest.param(words("a", request="-"), {}, BODY, "a", id="--request"),
        pytest.param(words(request="-"), {}, BODY, None, id="--request, no prompt"),
        pytest.param(words("a", messages="-"), {}, b"[]", "a", id="--messages"),
        pytest.param(words("a", typed=(typed("--user-file", "user", "-"),)), {}, b"x", "a", id="--user-file"),
        pytest.param(
            words("a", typed=(typed("--tool-result-file", "tool", "-", "c"),)),
            {},
            b"x",
            "a",
            id="--tool-result-file",
        ),
        pytest.param(attached("file", "-", "--file"), {}, b"x", "a", id="--file"),
        pytest.param(words("a"), {"tool": ["-"]}, b'{"name":"f"}', "a", id="--tool"),
        pytest.param(words("a"), {"function": ["-"]}, b'{"name":"f"}', "a", id="--function"),
        pytest.param(words("a"), {"prediction_file": "-"}, b"x", "a", id="--prediction-file"),
    ],
)
def test_owner_gets_stdin_and_the_prompt_does_not(
    given: Callable[..., Given], prompt: Prompt, options: dict[str, Any], data: bytes, text: str | None
) -> None:
    assert gathered(prompt, given(PIPE, data).stdin, **options).prompt == text


@pytest.mark.parametrize(
    ("prompt", "options", "owners"),
    [
        pytest.param(words(request="-", messages="-"), {}, ("--request", "--messages"), id="two files"),
        pytest.param(
            words("-", request="-"), {}, ("--request", "the operand '-'"), id="a file and the operand"
        ),
        pytest.param(words("-", "-"), {}, ("the operand '-'", "the operand '-'"), id="the operand twice"),
        pytest.param(
            words(attachments=(Attachment("image", "-", "--image"),)),
            {"tool": ["f", "-"]},
            ("--image", "--tool"),
            id="tool",
        ),
        pytest.param(
            words("-"), {"prediction_file": "-"}, ("--prediction-file", "the operand '-'"), id="prediction"
        ),
    ],
)
def test_two_owners_are_a_wrong_call_before_anything_is_read(
    prompt: Prompt, options: dict[str, Any], owners: tuple[str, str]
) -> None:
    with refused(UsageFault, what=f"{owners[0]} and {owners[1]} both read stdin"):
        gathered(prompt, Stdin(-1, True, print), **options)


@pytest.mark.parametrize(
    "prompt",
    [
        pytest.param(words("-", typed=(Typed("--user", "user", "-", False),)), id="a text that is -"),
        pytest.param(
            words("-", attachments=(Attachment("file-id", "-", "--file-id"),)), id="a file id that is -"
        ),
    ],
)
def test_a_dash_that_is_no_file_owns_nothing(given: Callable[..., Given], prompt: Prompt) -> None:
    assert gathered(prompt, given(PIPE, b"x").stdin).prompt == "x"


# Turns


@pytest.mark.usefixtures("folder")
def test_turns_in_their_order_with_the_text_of_files(given: Callable[..., Given]) -> None:
    Path("f").write_bytes(b"from file\n\n")
    turns = (
        Typed("--system-file", "system", "f", True),
        HI,
        Typed("--assistant", "assistant", "f", False),
        Typed("--tool-result-file", "tool", "f", True, "c1"),
        Typed("--tool-result", "tool", "", False, "c2"),
    )
    material = gathered(words(typed=turns), given(NULL).stdin)
    assert [(dict(turn.message), turn.option) for turn in material.turns] == [
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
        typed=(typed("--system-file", "system", "s"),),
        attachments=(IMAGE_URL, Attachment("image", "i", "--image")),
    )
    parameters = Parameters(((BY_OPTION["tool"], ["t"]), (BY_OPTION["prediction-file"], "p")))
    gather(prompt, parameters, sources, None)
    assert sources.names == ["r", "m", "s", "i", "t", "p"]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("prompt", "options", "option"),
    [
        pytest.param(words("a", request="no"), {}, "--request", id="request"),
        pytest.param(words("a", messages="no"), {}, "--messages", id="messages"),
        pytest.param(words("a", typed=(typed("--user-file", "user", "no"),)), {}, "--user-file", id="text"),
        pytest.param(attached("image", "no", "--image"), {}, "--image", id="image"),
        pytest.param(words("a"), {"tool": ["no"]}, "--tool", id="tool"),
        pytest.param(words("a"), {"function": ["no"]}, "--function", id="function"),
        pytest.param(words("a"), {"prediction_file": "no"}, "--prediction-file", id="prediction"),
    ],
)
def test_missing_file_is_66_at_its_option(
    given: Callable[..., Given], prompt: Prompt, options: dict[str, Any], option: str
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


@pytest.mark.parametrize(
    ("files", "tools"),
    [
        pytest.param([TOOL_TEXT], [TOOL], id="tool"),
        pytest.param([FUNCTION_TEXT], [TOOL], id="bare function"),
        pytest.param([CUSTOM_TEXT], [CUSTOM], id="custom tool"),
        pytest.param([f"[{FUNCTION_TEXT},\n{CUSTOM_TEXT}]"], [TOOL, CUSTOM], id="array of both"),
        pytest.param(["[]"], [], id="empty array"),
        pytest.param([CUSTOM_TEXT, f"[{FUNCTION_TEXT}]"], [CUSTOM, TOOL], id="several files, in order"),
    ],
)
def test_tools_are_read_from_files(
    tmp_path: Path, given: Callable[..., Given], files: list[str], tools: list[Any]
) -> None:
    names = []
    for number, text in enumerate(files):
        (tmp_path / str(number)).write_text(text)
        names.append(str(tmp_path / str(number)))
    [(parameter, value)] = gathered(words("a"), given(NULL).stdin, tool=names).parameters.given
    assert (parameter.option, value) == ("tool", tools)


def test_functions_are_not_wrapped(tmp_path: Path, given: Callable[..., Given]) -> None:
    (tmp_path / "f").write_text(f"[{FUNCTION_TEXT}]")
    [(_, value)] = gathered(words("a"), given(NULL).stdin, function=[str(tmp_path / "f")]).parameters.given
    assert value == [FUNCTION]


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        pytest.param("{}", 1, "not a tool: an object without 'name' or 'type'", id="an empty object"),
        pytest.param('\n"f"', 2, "not a tool: a string", id="a name"),
        pytest.param('[\n{"name":"f"},\n5]', 3, "not a tool: a number", id="a number among tools"),
        pytest.param('[[{"name":"f"}]]', 1, "not a tool: an array", id="an array in an array"),
        pytest.param("null", 1, "not a tool: null", id="null"),
        pytest.param('{"name":"f"\n', 2, "not JSON: expecting ',' delimiter (column 1)", id="cut"),
        pytest.param("", 1, "not JSON: nothing there (column 1)", id="empty"),
    ],
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
    ).parameters.given
    assert value == {"type": "content", "content": "old text"}


def test_slow_producer_beside_a_prompt_is_waited_for_aloud(monkeypatch: pytest.MonkeyPatch) -> None:
    from chatpipe.inputs import stdin as module

    monkeypatch.setattr(module, "PATIENCE_S", 0.0)
    reader, writer = os.pipe()
    said: list[str] = []

    def notice(text: str) -> None:
        said.append(text)
        os.write(writer, b"late")
        os.close(writer)

    assert gathered(words("a"), Stdin(reader, True, notice)).prompt == "a\n\nlate"
    os.close(reader)
    assert said == ["waiting for stdin: --no-stdin leaves it alone"]
