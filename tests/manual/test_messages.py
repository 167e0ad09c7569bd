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
ELSEWHERE = {"flags/parameters.py", "flags/server.py", "flags/foreign.py", "output/curl.py"}
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
