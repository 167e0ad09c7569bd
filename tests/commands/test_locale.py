"""Letters beyond ASCII on the command line, in the locales that scripts, cron and containers run in."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from support.parametrize import cases
from support.process import run

C = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "1"}  # the default; a variable of Python starts an interpreter
OLD = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@cases("variables", {"C": C, "POSIX": C | {"LC_ALL": "POSIX"}, "ASCII in Python, too": OLD})
def test_text_is_utf8_in_every_locale(variables: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "né.txt").write_text("ö", encoding="utf-8")
    words = ("--stop", "é", "--metadata", "ä=ü", "--set", "user=ß", "-m", "é", "--file", "né.txt", "-s", "ö")
    done = run("build", *words, "--schema-fields", "é", "où", env=variables, cwd=tmp_path)
    assert (done.status, done.stderr) == (0, b"")
    body = orjson.loads(done.stdout)
    assert body["messages"][0]["content"] == "ö"
    assert [part["text"] for part in body["messages"][1]["content"]] == ["où", "né.txt:\nö"]
    assert (body["stop"], body["metadata"], body["user"], body["model"]) == ("é", {"ä": "ü"}, "ß", "é")
    assert list(body["response_format"]["json_schema"]["schema"]["properties"]) == ["é"]


@pytest.mark.parametrize(
    ("option", "before"),
    [
        *((option, "") for option in ("-s", "-u", "-m", "--stop", "--file-id", "--custom-id")),
        *(("--metadata", "k="), ("--set", "k="), ("--schema-fields", ""), ("--schema-json", "")),
        *(("--image", "http://h/"), ("--file", "http://h/"), ("--tool-result", "a=")),
    ],
)
def test_an_argument_that_is_not_utf8_is_bad_input(option: str, before: str) -> None:
    """As Python decodes it, it has a lone surrogate, which no JSON in UTF-8 can have."""
    done = run("build", "--no-check", "-f", "batch", option, f"{before}\udce9", "x")
    name = {"-s": "--system", "-u": "--user", "-m": "--model"}.get(option, option)
    said = f"chatpipe: {name}: not UTF-8: set the terminal to UTF-8\n"
    assert (done.status, done.stdout, done.stderr.decode()) == (65, b"", said)


def test_an_id_that_is_not_utf8_is_bad_input() -> None:
    done = run("build", "--tool-result", "\udce9=x")
    said = b"chatpipe: --tool-result: not UTF-8: set the terminal to UTF-8\n"
    assert (done.status, done.stdout, done.stderr) == (65, b"", said)


@pytest.mark.parametrize("words", [(), ("--file-as", "file")])
def test_the_name_of_a_file_is_sent_as_text(words: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "n\udce9.txt").write_bytes(b"x")
    done = run("build", "--file", "n\udce9.txt", *words, "x", cwd=tmp_path)
    assert done.status == 0
    assert "n\ufffd.txt" in done.stdout.decode()
    assert b"\\u" not in done.stdout
