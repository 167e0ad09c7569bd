"""Options that a message names are options of the program: a remedy must work as it stands."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import chatpipe
from manual import commands

PACKAGE = Path(chatpipe.__file__).parent
OPTIONS = {
    name for command in ("", *commands.COMMANDS) for names in commands.options(command) for name in names
}
# These speak of options that are refused, and of other tools: tests/flags/test_foreign.py looks at the
# remedies of the third.
ELSEWHERE = {
    "flags/parameters.py",
    "flags/server.py",
    "flags/foreign.py",
    "output/curl.py",
    "server/key_text.py",
    "server/keychain.py",
}
MODULES = sorted(
    str(path.relative_to(PACKAGE))
    for path in PACKAGE.rglob("*.py")
    if str(path.relative_to(PACKAGE)) not in ELSEWHERE
)
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def texts(module: str) -> Iterator[str]:
    """The strings of a module, without its docstrings."""
    tree = ast.parse((PACKAGE / module).read_text(encoding="utf-8"))
    nodes = [node for node in ast.walk(tree) if isinstance(node, _DOCUMENTED) and node.body]
    documentation = {id(node.body[0].value) for node in nodes if isinstance(node.body[0], ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.value


def test_options_are_found_in_messages() -> None:
    assert any("--key-command" in text for text in texts("wire/refusals.py"))


@pytest.mark.parametrize("module", MODULES)
def test_options_in_messages_exist(module: str) -> None:
    named = {name for text in texts(module) for name in re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z]", text)}
    assert named <= OPTIONS


CASES = Path(__file__).parents[1] / "cases"


def strangers(case: str) -> set[str]:
    """Options that the messages of a case name, and that none of its commands has."""
    parts = dict(re.findall(r"^== (\w+)[^\n]*\n(.*?)(?=^== |\Z)", case, re.MULTILINE | re.DOTALL))
    own: set[str] = set()
    for command in re.findall(r"\bchatpipe (\w+)", case.partition("== stderr")[0]):
        own.update(*commands.options(command if command in commands.COMMANDS else ""))
    told = (line.partition(": chatpipe ")[0] for line in parts.get("stderr", "").splitlines())
    return {name for line in told for name in re.findall(r"(?<![\w'-])--[a-z][a-z-]+", line)} - own


def test_messages_name_options_of_the_command_that_prints_them() -> None:
    found = {
        path.relative_to(CASES).as_posix(): names
        for path in sorted(CASES.rglob("*.case"))
        if (names := strangers(path.read_text(encoding="utf-8")))
    }
    assert found == {}


def test_an_option_of_another_command_is_seen() -> None:
    case = "x\n\n== command\nchatpipe show f\n\n== stderr\nchatpipe: cut: raise --max-tokens, or --allow x\n"
    assert strangers(case) == {"--max-tokens"}
