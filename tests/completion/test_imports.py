"""What starting costs: which packages are imported on the way to an answer that needs none of them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping

import pytest

from manual import commands
from support.process import environment

SLOW = {"httpx", "httpcore", "httptools", "jsonschema", "ssl", "asyncio"}


def imported(*arguments: str, env: Mapping[str, str] | None = None) -> set[str]:
    """The top-level packages that a run of chatpipe imports, by Python's own account."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "chatpipe", *arguments],
        env=environment(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.findall(r"^import time:.*\| +([\w.]+)$", done.stderr, re.MULTILINE)
    return {name.partition(".")[0] for name in found}


def imported_for(*words: str) -> set[str]:
    """The same for the completion of the last of words."""
    asked = {
        "_CHATPIPE_COMPLETE": "bash_complete",
        "COMP_WORDS": "\n".join(("chatpipe", *words)),
        "COMP_CWORD": str(len(words)),
    }
    return imported(env=asked)


@pytest.mark.parametrize("words", [("",), ("ask", "--"), ("map", "x", "--te")], ids=" ".join)
def test_completion_of_a_name_imports_no_click(words: tuple[str, ...]) -> None:
    names = imported_for(*words)
    assert "chatpipe" in names
    assert not names & (SLOW | {"click", "orjson", "json", "typing"})


@pytest.mark.parametrize(
    "words", [("ask", "-f", ""), ("ask", "--reasoning-effort", ""), ("show", "")], ids=" ".join
)
def test_completion_of_a_value_imports_nothing_slow(words: tuple[str, ...]) -> None:
    names = imported_for(*words)
    assert "click" in names
    assert not names & (SLOW | {"json"})


@pytest.mark.parametrize("command", ["", *commands.COMMANDS])
def test_help_imports_nothing_slow(command: str) -> None:
    names = imported(*command.split(), "--help")
    assert "click" in names
    assert not names & SLOW


def test_version_imports_no_click() -> None:
    names = imported("--version")
    assert "chatpipe" in names
    assert not names & (SLOW | {"click", "orjson", "typing"})


def test_a_request_that_is_good_imports_neither_jsonschema_nor_asyncio() -> None:
    names = imported("ask", "-p", "echo", "hello")
    assert "httpx" in names
    assert not names & {"jsonschema", "asyncio"}


def test_a_request_that_is_refused_imports_jsonschema_and_no_httpx() -> None:
    """That the look at the imports finds something at all is shown here and above."""
    names = imported("build", "-m", "m", "--temperature", "5", "hello")
    assert "jsonschema" in names
    assert "httpx" not in names
