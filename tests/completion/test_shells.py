"""bash, zsh and fish complete our lines, with the committed scripts where an installed package has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from completion import shells
from support.parametrize import cases
from support.process import run

# What is typed before TAB, and the words that are on the line after it.
CASES = {
    "command": ("chatpipe as", ["chatpipe", "ask"]),
    "option": ("chatpipe ask --temper", ["chatpipe", "ask", "--temperature"]),
    "option of another command": ("chatpipe check --str", ["chatpipe", "check", "--strict"]),
    "behind quotes": ('chatpipe ask "it\'s" --temper', ["chatpipe", "ask", "it's", "--temperature"]),
    "format": ("chatpipe ask -f tool-", ["chatpipe", "ask", "-f", "tool-calls"]),
    "format of build": ("chatpipe build -f ba", ["chatpipe", "build", "-f", "batch"]),
    "word that is known but not enforced": (
        "chatpipe ask --reasoning-effort xh",
        ["chatpipe", "ask", "--reasoning-effort", "xhigh"],
    ),
    "profile": ("chatpipe ask -p ec", ["chatpipe", "ask", "-p", "echo"]),
    "file": ("chatpipe ask -r requ", ["chatpipe", "ask", "-r", "request.json"]),
    "operand that is a file": ("chatpipe show requ", ["chatpipe", "show", "request.json"]),
    "format behind =": ("chatpipe ask --format=tool-", ["chatpipe", "ask", "--format=tool-calls"]),
    "file behind =": ("chatpipe ask --request=requ", ["chatpipe", "ask", "--request=request.json"]),
    "list of words": (
        "chatpipe ask --allow truncated,ref",
        ["chatpipe", "ask", "--allow", "truncated,refused"],
    ),
    "CSV where it is wanted": (
        "chatpipe map x --csv row",
        ["chatpipe", "map", "x", "--csv", "rows.csv"],
    ),
    "JSONL where it is wanted": ("chatpipe batch row", ["chatpipe", "batch", "rows.jsonl"]),
    "any file where none is of the kind": (
        "chatpipe ask --schema not",
        ["chatpipe", "ask", "--schema", "notes.txt"],
    ),
    "shell": ("chatpipe completion zs", ["chatpipe", "completion", "zsh"]),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("request.json", "spaced name.json", "rows.csv", "rows.jsonl", "notes.txt"):
        (tmp_path / name).write_text("{}")
    return tmp_path


@cases(("line", "completed"), CASES)
def test_bash_completes(line: str, completed: list[str], folder: Path) -> None:
    assert shells.bash(line, folder) == completed


@cases(("line", "completed"), CASES)
def test_zsh_completes(line: str, completed: list[str], folder: Path) -> None:
    assert shells.zsh(line, folder) == completed


@cases(("line", "completed"), CASES)
def test_fish_completes(line: str, completed: list[str], folder: Path) -> None:
    assert shells.fish(line, folder) == completed[-1:]


@pytest.mark.parametrize("shell", [shells.bash, shells.zsh], ids=["bash", "zsh"])
def test_name_with_a_blank_stays_one_word(shell: shells.Shell, folder: Path) -> None:
    assert shell("chatpipe ask -r spac", folder) == ["chatpipe", "ask", "-r", "spaced name.json"]


@pytest.mark.parametrize("shell", [shells.bash, shells.zsh], ids=["bash", "zsh"])
def test_a_word_that_nothing_fits_stays_as_typed(shell: shells.Shell, folder: Path) -> None:
    assert shell("chatpipe ask --no-such", folder) == ["chatpipe", "ask", "--no-such"]


def test_descriptions_in_fish_are_whole(folder: Path) -> None:
    assert shells.fish_lines("chatpipe ask --temper", folder) == [
        "--temperature\tSampling temperature, 0 to 2"
    ]


def test_fish_offers_nothing_where_nothing_fits(folder: Path) -> None:
    assert shells.fish("chatpipe ask --no-such", folder) == []


@pytest.mark.parametrize(
    ("shell", "name"), [("bash", "chatpipe.bash"), ("zsh", "_chatpipe"), ("fish", "chatpipe.fish")]
)
def test_committed_script_is_what_the_command_writes(shell: str, name: str) -> None:
    done = run("completion", shell)
    assert (done.status, done.stderr) == (0, b"")
    assert done.stdout == (shells.SCRIPTS / name).read_bytes(), "make completions"


def test_script_of_zsh_begins_as_compinit_wants_it() -> None:
    assert (shells.SCRIPTS / "_chatpipe").read_bytes().startswith(b"#compdef chatpipe\n")
