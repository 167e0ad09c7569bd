"""A key on the command line is refused, and no line that is written holds it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatpipe.server.keys import KEY_WAYS
from support.parametrize import cases

SECRET = "sk-s3cr3t"


@cases(
    "words",
    {
        "--key": ["ask", "--key", SECRET, "hi"],
        "--key=": ["ask", f"--key={SECRET}", "hi"],
        "--api-key": ["ask", "--api-key", SECRET, "hi"],
        "--api-key=": ["ask", f"--api-key={SECRET}", "hi"],
        "behind the prompt, with echo": ["ask", "hi", "--key", SECRET, "-p", "echo"],
        "build": ["build", "--key", SECRET, "hi"],
        "beside another fault": ["ask", "--key", SECRET, "--temperature", "x"],
        "behind another fault": ["ask", "--temperature", "x", "--key", SECRET],
        "error as JSON": ["ask", "--error-format", "json", "--key", SECRET, "hi"],
        "with a traceback": ["ask", "--debug", "--key", SECRET, "hi"],
        "cut name": ["ask", "--ke", SECRET, "hi"],
        "another name": ["ask", f"--apikey={SECRET}", "hi"],
        "before the command": ["--key", SECRET, "ask", "hi"],
        "before the command, with =": [f"--key={SECRET}", "ask", "hi"],
        "without a command": ["--key", SECRET],
        "header before the command": ["-H", f"Authorization: Bearer {SECRET}", "ask", "hi"],
        "header without a colon": ["ask", "-H", f"{SECRET}", "hi"],
        "header with a control": ["ask", "-H", f"A: {SECRET}\n", "-H", f"B: {SECRET}\x01", "hi"],
        "--key-fd": ["ask", "--key-fd", SECRET, "hi"],
        "in a URL": ["ask", "--base-url", f"https://user:{SECRET}@example.com", "hi"],
        "in a broken URL": ["ask", "--base-url", f"htps://user:{SECRET}@example.com", "hi"],
        "in a very broken URL": ["ask", "--base-url", f"https://user:{SECRET}@[::1", "hi"],
        "a command that takes none": ["show", "--key", SECRET],
    },
)
def test_secret_is_refused_and_not_shown(chatpipe: Callable[..., Any], words: list[str]) -> None:
    ran = chatpipe(*words)
    assert ran.status in (2, 78)
    assert ran.stdout == ""
    assert ran.stderr != ""
    assert SECRET not in ran.stderr


KEY = "sk-proj-abcdefghij0123456789abcdefghij"
LONG_KEY = f"sk-ant-api03-{'aB3dE0123456789' * 6}"
SHORT_KEY = "local-0123456789"  # nothing but the variable shows that it is a key


@cases(
    "line",
    {
        "--key-env": "ask -m m --key-env KEY x",
        "--key-env with =": "ask -m m --key-env=KEY x",
        "--key-file": "ask -m m --key-file KEY x",
        "--key-command": "ask -m m --key-command KEY x",
        "--header-file": "ask -m m --header-file KEY x",
        "-p": "ask -p KEY x",
        "--profile=": "ask --profile=KEY x",
        "-f": "ask -f KEY x",
        "-n": "ask -n KEY x",
        "--image": "ask -m m --image KEY x",
        "--set": "ask -m m --set KEY x",
        "part of a path": "ask -p echo -o ./none/KEY x",
        "an option": "ask --KEY x",
        "the command": "KEY",
        "the command, with words": "KEY ask me",
        "behind two dashes": "-- KEY",
        "an operand too many": "serve KEY",
        "an action": "jobs KEY",
        "a page": "man KEY",
        "a file of requests": "batch -p echo KEY",
        "a file to check": "check KEY",
        "a file to show": "show KEY",
        "settings": "config show --key-env KEY",
        "settings of a command": "config show --key-command KEY",
        "curl": "build -f curl -m m --key-env KEY x",
        "a server": "serve --require-key-env KEY",
        "JSON": "ask --error-format json -m m --key-env KEY x",
        "a traceback": "ask --debug -p KEY x",
    },
)
@pytest.mark.parametrize(
    ("key", "variable"),
    [(KEY, ""), (KEY, "OPENAI_API_KEY"), (LONG_KEY, ""), (SHORT_KEY, "VLLM_API_KEY")],
)
def test_key_in_a_wrong_place_is_not_shown(
    chatpipe: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, line: str, key: str, variable: str
) -> None:
    if variable:
        monkeypatch.setenv(variable, key)
    ran = chatpipe(*line.replace("KEY", key).split())
    assert ran.status != 0
    assert ran.stderr != ""
    assert "0123456789" not in ran.stdout + ran.stderr


@cases(
    "line",
    {
        "a name": ("show sk-translations-2024-train.jsonl"),
        "a word": ("show task-abcdefghij0123456789abcdefghij"),
        "a short name": ("show sk-2024"),
        "no digit": ("show sk-abcdefghijklmnopqrstuvwxyz"),
    },
)
def test_name_that_only_begins_like_a_key_is_shown(chatpipe: Callable[..., Any], line: str) -> None:
    assert f"'{line.split()[1]}'" in chatpipe(*line.split()).stderr


@pytest.mark.parametrize("option", ["--key-file", "--key-command", "--key-env"])
def test_key_in_place_of_its_source_is_refused_with_the_right_ways(
    chatpipe: Callable[..., Any], option: str
) -> None:
    ran = chatpipe("ask", "-m", "m", option, KEY, "x")
    assert (ran.status, ran.stdout) == (2, "")
    assert ran.stderr.startswith(
        f"chatpipe: {option}: a key on the command line can be read by everyone: use"
    )


def test_key_in_a_prompt_is_sent_as_it_is(chatpipe: Callable[..., Any]) -> None:
    assert chatpipe("ask", "-p", "echo", KEY) == (0, f"{KEY}\n", "")


@pytest.mark.parametrize("option", ["--key", "--api-key"])
@pytest.mark.parametrize("value", [SECRET, ""])
def test_refusal_names_the_right_ways(chatpipe: Callable[..., Any], option: str, value: str) -> None:
    ran = chatpipe("ask", option, value, "hi")
    assert ran.status == 2
    for way in (*(f"{way.option} {way.metavar}" for way in KEY_WAYS), "OPENAI_API_KEY"):
        assert way in ran.stderr


def test_refused_option_is_not_in_the_help(chatpipe: Callable[..., Any]) -> None:
    words = chatpipe("ask", "--help").stdout.split()
    assert "--key-file" in words
    assert not {"--key", "--api-key", "--key,"} & set(words)


@pytest.mark.parametrize("way", ["-v", "--debug", "-vq"])
def test_key_and_secret_headers_are_not_shown(chatpipe: Callable[..., Any], tmp_path: Path, way: str) -> None:
    (tmp_path / "key").write_text(SECRET)
    words = ["--key-file", "key", "-H", f"X-Api-Token: {SECRET}", "--base-url", "http://127.0.0.1:9"]
    ran = chatpipe("ask", way, "--retries", "0", "-m", "m", *words, "hi")
    assert ran.status == 69
    assert SECRET not in ran.stderr


def test_curl_command_reads_the_key_and_hides_headers(chatpipe: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "key").write_text(SECRET)
    ran = chatpipe(
        "build", "-f", "curl", "-m", "m", "--key-file", "key", "-H", f"X-Api-Token: {SECRET}", "hi"
    )
    assert ran.status == 0
    assert SECRET not in ran.stdout
    assert "Authorization: Bearer $(sed -n '/./{p;q;}' key)\nEND_OF_KEY\n" in ran.stdout
    # No word of the command: a shell would put what it reads into one, for everybody to see.
    assert "Bearer" not in ran.stdout.partition("<<")[0]


@pytest.mark.parametrize(("taken", "free"), [("8", "9"), ("9", "8")])
def test_curl_reads_the_header_from_another_descriptor_than_the_key(
    chatpipe: Callable[..., Any], taken: str, free: str
) -> None:
    ran = chatpipe("build", "-f", "curl", "-m", "m", "--key-fd", taken, "hi")
    assert f"-H @/dev/fd/{free} " in ran.stdout
    assert f"Authorization: Bearer $(sed -n '/./{{p;q;}}' <&{taken})\n" in ran.stdout
