"""A key on the command line is refused, and no line that is written holds it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SECRET = "sk-s3cr3t"


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["ask", "--key", SECRET, "hi"], id="--key"),
        pytest.param(["ask", f"--key={SECRET}", "hi"], id="--key="),
        pytest.param(["ask", "--api-key", SECRET, "hi"], id="--api-key"),
        pytest.param(["ask", f"--api-key={SECRET}", "hi"], id="--api-key="),
        pytest.param(["ask", "hi", "--key", SECRET, "-p", "echo"], id="behind the prompt, with echo"),
        pytest.param(["build", "--key", SECRET, "hi"], id="build"),
        pytest.param(["ask", "--key", SECRET, "--temperature", "x"], id="beside another fault"),
        pytest.param(["ask", "--temperature", "x", "--key", SECRET], id="behind another fault"),
        pytest.param(["ask", "--error-format", "json", "--key", SECRET, "hi"], id="error as JSON"),
        pytest.param(["ask", "--debug", "--key", SECRET, "hi"], id="with a traceback"),
        pytest.param(["ask", "--ke", SECRET, "hi"], id="cut name"),
        pytest.param(["ask", f"--apikey={SECRET}", "hi"], id="another name"),
        pytest.param(["--key", SECRET, "ask", "hi"], id="before the command"),
        pytest.param([f"--key={SECRET}", "ask", "hi"], id="before the command, with ="),
        pytest.param(["--key", SECRET], id="without a command"),
        pytest.param(["-H", f"Authorization: Bearer {SECRET}", "ask", "hi"], id="header before the command"),
        pytest.param(["ask", "-H", f"{SECRET}", "hi"], id="header without a colon"),
        pytest.param(
            ["ask", "-H", f"A: {SECRET}\n", "-H", f"B: {SECRET}\x01", "hi"], id="header with a control"
        ),
        pytest.param(["ask", "--key-fd", SECRET, "hi"], id="--key-fd"),
        pytest.param(["ask", "--base-url", f"https://user:{SECRET}@example.com", "hi"], id="in a URL"),
        pytest.param(["ask", "--base-url", f"htps://user:{SECRET}@example.com", "hi"], id="in a broken URL"),
        pytest.param(["ask", "--base-url", f"https://user:{SECRET}@[::1", "hi"], id="in a very broken URL"),
        pytest.param(["show", "--key", SECRET], id="a command that takes none"),
    ],
)
def test_secret_is_refused_and_not_shown(chatpipe: Callable[..., Any], words: list[str]) -> None:
    ran = chatpipe(*words)
    assert ran.status in (2, 78)
    assert ran.stdout == ""
    assert ran.stderr != ""
    assert SECRET not in ran.stderr


@pytest.mark.parametrize("option", ["--key", "--api-key"])
@pytest.mark.parametrize("value", [SECRET, ""])
def test_refusal_names_the_right_ways(chatpipe: Callable[..., Any], option: str, value: str) -> None:
    ran = chatpipe("ask", option, value, "hi")
    assert ran.status == 2
    for way in ("--key-file", "--key-command", "--key-fd", "OPENAI_API_KEY"):
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
    assert "Authorization: Bearer $(cat key)\nEND_OF_KEY\n" in ran.stdout
    # No word of the command: a shell would put what it reads into one, for everybody to see.
    assert "Bearer" not in ran.stdout.partition("<<")[0]


@pytest.mark.parametrize(("taken", "free"), [("8", "9"), ("9", "8")])
def test_curl_reads_the_header_from_another_descriptor_than_the_key(
    chatpipe: Callable[..., Any], taken: str, free: str
) -> None:
    ran = chatpipe("build", "-f", "curl", "-m", "m", "--key-fd", taken, "hi")
    assert f"-H @/dev/fd/{free} " in ran.stdout
    assert f"Authorization: Bearer $(cat <&{taken})\n" in ran.stdout
