"""What `build` and `check` write: bodies, Batch lines, curl commands, problems."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from chatpipe import __version__, main
from chatpipe.options.output import ConsoleOptions
from support.parametrize import cases

Chatpipe = Callable[..., Any]
BODY = {"model": "m", "messages": [{"role": "user", "content": "it's $HOME `x` ä"}]}
PROMPT = "it's $HOME `x` ä"


def test_body_is_one_line(chatpipe: Chatpipe) -> None:
    ran = chatpipe("build", "-m", "m", PROMPT)
    assert ran.stdout == '{"model":"m","messages":[{"role":"user","content":"it\'s $HOME `x` ä"}]}\n'


@pytest.mark.parametrize("format", ["body", "curl"])
def test_only_a_batch_line_has_an_id(chatpipe: Chatpipe, format: str) -> None:
    ran = chatpipe("build", "-m", "m", "-f", format, "--custom-id", "a", "hi")
    assert (ran.status, ran.stdout) == (2, "")
    assert ran.stderr == (
        f"chatpipe: --custom-id: format '{format}' has no custom_id: use it with -f batch\n"
    )


@pytest.mark.parametrize(("words", "custom_id"), [([], "line-1"), (["--custom-id", "a b"], "a b")])
def test_a_batch_line_has_an_id(chatpipe: Chatpipe, words: list[str], custom_id: str) -> None:
    ran = chatpipe("build", "-f", "batch", "-m", "m", *words, PROMPT)
    assert ran.stdout.count("\n") == 1
    assert ran.body == {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": BODY}


def test_model_may_come_later_for_a_body_only(chatpipe: Chatpipe) -> None:
    assert chatpipe("build", "hi").status == 0
    assert chatpipe("build", "-f", "batch", "hi").status == 65
    assert chatpipe("build", "-f", "curl", "hi").status == 65


def curl(text: str) -> tuple[list[str], str]:
    """The words of a curl command and what is on its stdin."""
    command, marker, rest = text.partition(" <<'END_OF_REQUEST'\n")
    assert marker
    return shlex.split(command.replace("\\\n", "")), rest.removesuffix("\nEND_OF_REQUEST\n")


HEADERS = [
    *("-H", "Content-Type: application/json"),
    *("-H", f"User-Agent: chatpipe/{__version__}"),
    *("-H", "Accept-Encoding: identity"),
]


@cases(
    ("words", "url", "auth", "flags"),
    {
        "openai": ([], "https://api.openai.com/v1", ["Authorization: Bearer $OPENAI_API_KEY"], []),
        "no key needed": (["--base-url", "http://127.0.0.1:1/v1"], "http://127.0.0.1:1/v1", [], []),
        "file": (
            ["--key-file", "a key"],
            "https://api.openai.com/v1",
            ["Authorization: Bearer $(sed -n '/./{p;q;}' 'a key')"],
            [],
        ),
        "command": (
            ["--key-command", "pass show k"],
            "https://api.openai.com/v1",
            ["Authorization: Bearer $(pass show k | sed -n '/./{p;q;}')"],
            [],
        ),
        "stream": (
            ["--stream"],
            "https://api.openai.com/v1",
            ["Authorization: Bearer $OPENAI_API_KEY"],
            ["-N"],
        ),
    },
)
def test_a_curl_command_sends_the_request(
    chatpipe: Chatpipe, words: list[str], url: str, auth: list[str], flags: list[str]
) -> None:
    ran = chatpipe("build", "-f", "curl", "-m", "m", *words, PROMPT)
    written, _, key = ran.stdout.partition(" 9<<END_OF_KEY")
    if auth:  # it goes through a descriptor: the command line is for all to see
        first, text = key.split("\n", 1)
        header, _, text = text.partition("\nEND_OF_KEY\n")
        assert [header] == auth
        written += f"{first}\n{text}"
    command, stdin = curl(written)
    route = f"{url}/chat/completions"
    assert command == [
        *("curl", "-sS", "--fail-with-body", *flags, route),
        *(*(["-H", "@/dev/fd/9"] if auth else []), *HEADERS, "--data-binary", "@-"),
    ]
    assert {**BODY, **orjson.loads(stdin)} == orjson.loads(stdin)


def test_key_command_in_a_curl_command_is_not_expanded_either(chatpipe: Chatpipe) -> None:
    """We run it without a shell; in the command that is written it must not mean something else."""
    ran = chatpipe("build", "-f", "curl", "-m", "m", "--key-command", "a '$HOME' $HOME b", "hi")
    assert ran.status == 0
    assert "$HOME b" not in ran.stdout


def test_own_authorization_is_the_only_one_of_a_curl_command(chatpipe: Chatpipe) -> None:
    """As in `ask`, where the header wins over the key."""
    ran = chatpipe("build", "-f", "curl", "-m", "m", "-H", "Authorization: Basic x", "hi")
    assert ran.stdout.count("Authorization") == 1


def test_echo_has_no_curl_command(chatpipe: Chatpipe) -> None:
    assert chatpipe("build", "-f", "curl", "-p", "echo", "hi").status == 2


def test_problems_of_files(chatpipe: Chatpipe) -> None:
    Path("a.jsonl").write_text('"q"\n{"model":"m","messages":5}\n')
    Path("b\n.json").write_text("{")
    ran = chatpipe("check", "a.jsonl", "missing", "b\n.json")
    assert ran.status == 65
    assert ran.stdout == (
        "a.jsonl:2: /messages: is 5, not an array: write an array of objects with role and content\n"
        "b\\n.json:1: the request is not JSON: expecting property name enclosed in double quotes\n"
    )
    assert ran.stderr == "chatpipe: FILE: cannot read 'missing': no such file or directory\n"


def test_problems_as_jsonl(chatpipe: Chatpipe) -> None:
    Path("a.jsonl").write_text('"q"\n{"model":"m","messages":5}\n')
    ran = chatpipe("check", "-f", "problems", "a.jsonl")
    assert [orjson.loads(line) for line in ran.stdout.splitlines()] == [
        {
            "file": "a.jsonl",
            "line": 2,
            "column": 25,
            "pointer": "/messages",
            "keyword": "type",
            "message": "is 5, not an array",
            "hint": "write an array of objects with role and content",
            "severity": "error",
        }
    ]


def test_good_files_are_0_and_silent(chatpipe: Chatpipe) -> None:
    Path("a").write_text('"q"\n')
    assert chatpipe("check", "a", "a") == (0, "", "")
    assert chatpipe("check", "a", "missing").status == 66


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ConsoleOptions()),
        (["ask", "--error-format", "json"], ConsoleOptions(error_format="json")),
        (["ask", "--error-format=json"], ConsoleOptions(error_format="json")),
        (["ask", "--error-format", "text"], ConsoleOptions()),
        (["ask", "--error-format"], ConsoleOptions()),
        (["ask", "--", "--error-format", "json"], ConsoleOptions()),
        (["ask", "json", "--error-format"], ConsoleOptions()),
        (["ask", "--debug"], ConsoleOptions(debug=True)),
        (["ask", "--", "--debug"], ConsoleOptions()),
    ],
)
def test_the_form_of_a_fault_is_known_before_the_command_line_is_read(
    words: list[str], expected: ConsoleOptions
) -> None:
    assert main._console_options(words) == expected
