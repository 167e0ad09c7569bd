"""Commands of `--exec` that cannot work are refused before anything is sent."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from chatpipe.conversation.command_check import check_commands, check_names
from chatpipe.errors import MissingInput, UsageFault
from support.parametrize import cases

TOOLS = [{"type": "function", "function": {"name": "weather"}}, {"type": "custom", "custom": {"name": "sql"}}]


@cases(
    "line",
    {
        "blanks": "#! \t/bin/sh -e",
        "env": "#!/usr/bin/env sh",
        "an option of env": "#!/usr/bin/env -S no-sh",
        "a variable for env": "#!/usr/bin/env A=1",
        "an argument of env with blanks, which some systems split": "#!/usr/bin/env sh -e",
    },
)
def test_commands_that_are_there(tmp_path: Path, line: str) -> None:
    script = tmp_path / "tool"
    script.write_text(f"{line}\n")
    script.chmod(0o755)
    check_commands({"a": ["sh", "-c", "x"], "b": [str(script)], "c": [sys.executable]})


@cases(
    "content, mode, error",
    {
        "missing": (None, 0, "no program '{}': check that it is executable and on PATH"),
        "not executable": ("#!/bin/sh\n", 0o644, "no program '{}': check that it is executable and on PATH"),
        "no #!": ("echo ä\n", 0o755, "'{}' names no interpreter: begin it with '#!/bin/sh'"),
        "empty": ("", 0o755, "'{}' names no interpreter: begin it with '#!/bin/sh'"),
        "CR LF": ("#!/bin/sh\r\necho\r\n", 0o755, "'{}' ends its lines with CR LF: end them with LF"),
        "CR LF, of env": (
            "#!/usr/bin/env python3\r\n",
            0o755,
            "'{}' ends its lines with CR LF: end them with LF",
        ),
        "CR LF, an argument": (
            "#!/no/sh -e\r\n",
            0o755,
            "'{}' is to be run by '/no/sh', which does not exist: correct its first line",
        ),
        "UTF-16": (
            "\ufeff#!/bin/sh\n".encode("utf-16-le"),
            0o755,
            "'{}' is UTF-16, which the system cannot run: save it as UTF-8",
        ),
        "UTF-16 without a mark": (
            "#!/bin/sh\n".encode("utf-16-be"),
            0o755,
            "'{}' is UTF-16, which the system cannot run: save it as UTF-8",
        ),
        "without a path": (
            "#!sh -e\n",
            0o755,
            "'{}' names 'sh' without its path: begin it with '#!/usr/bin/env sh'",
        ),
        "without a path, nowhere": (
            "#!no-sh\n",
            0o755,
            "'{}' is to be run by 'no-sh', which does not exist: correct its first line",
        ),
        "nothing after #!": ("#! \n", 0o755, "'{}' names no interpreter: begin it with '#!/bin/sh'"),
        "nothing for env": (
            "#!/usr/bin/env no-sh\n",
            0o755,
            "'{}' is to be run by 'no-sh', which does not exist: correct its first line",
        ),
        "byte order mark": ("\ufeff#!/bin/sh\n", 0o755, "'{}' begins with a byte order mark: remove it"),
        "another machine's": (
            "#!/opt/none/python",
            0o755,
            "'{}' is to be run by '/opt/none/python', which does not exist: correct its first line",
        ),
    },
)
def test_commands_that_cannot_be_run(
    tmp_path: Path, content: str | bytes | None, mode: int, error: str
) -> None:
    script = tmp_path / "tool"
    if content is not None:
        script.write_bytes(content if isinstance(content, bytes) else content.encode())
        script.chmod(mode)
    with pytest.raises(MissingInput) as caught:
        check_commands({"a": ["sh"], "f": [str(script), "x"]})
    assert str(caught.value) == f"--exec f: {error.format(script)}"


def test_an_interpreter_without_a_path_is_looked_for_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, content in (("tool", "#!mine\n"), ("mine", "#!/bin/sh\n")):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o755)
    monkeypatch.chdir(tmp_path)
    check_commands({"f": ["./tool"]})


def test_a_folder_is_no_command(tmp_path: Path) -> None:
    with pytest.raises(MissingInput):
        check_commands({"f": [str(tmp_path)]})


@cases(
    "body",
    {
        "tools": {"tools": TOOLS},
        "one choice": {"tools": TOOLS, "n": 1},
        "null": {"tools": TOOLS, "n": None},
        "functions": {"functions": [{"name": "weather"}, {"name": "sql"}]},
    },
)
def test_names_that_are_offered(body: dict[str, Any]) -> None:
    check_names(["weather", "sql"], body)


@cases(
    "name, body, error",
    {
        "slip": ("wether", {"tools": TOOLS}, "the request has no tool 'wether': did you mean 'weather'?"),
        "other": ("time", {"tools": TOOLS}, "the request has no tool 'time': offer it with --tool FILE"),
        "no tools": ("a", {}, "the request has no tool 'a': offer it with --tool FILE"),
        "choices": (
            "weather",
            {"tools": TOOLS, "n": 2},
            "tools are run for one choice only: ask for one with -n 1",
        ),
    },
)
def test_names_that_are_refused(name: str, body: dict[str, Any], error: str) -> None:
    with pytest.raises(UsageFault) as caught:
        check_names([name], body)
    assert str(caught.value) == f"--exec: {error}"
