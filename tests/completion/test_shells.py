"""bash, zsh and fish complete our lines, with the committed scripts where an installed package has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from completion import shells
from process import run

# What is typed before TAB, and the words that are on the line after it.
CASES = [
    pytest.param("chatpipe as", ["chatpipe", "ask"], id="command"),
    pytest.param("chatpipe ask --temper", ["chatpipe", "ask", "--temperature"], id="option"),
    pytest.param("chatpipe check --str", ["chatpipe", "check", "--strict"], id="option of another command"),
    pytest.param(
        'chatpipe ask "it\'s" --temper', ["chatpipe", "ask", "it's", "--temperature"], id="behind quotes"
    ),
    pytest.param("chatpipe ask -f tool-", ["chatpipe", "ask", "-f", "tool-calls"], id="format"),
    pytest.param("chatpipe build -f ba", ["chatpipe", "build", "-f", "batch"], id="format of build"),
    pytest.param(
        "chatpipe ask --reasoning-effort xh",
        ["chatpipe", "ask", "--reasoning-effort", "xhigh"],
        id="word that is known but not enforced",
    ),
    pytest.param("chatpipe ask -p ec", ["chatpipe", "ask", "-p", "echo"], id="profile"),
    pytest.param("chatpipe ask -r requ", ["chatpipe", "ask", "-r", "request.json"], id="file"),
    pytest.param("chatpipe show requ", ["chatpipe", "show", "request.json"], id="operand that is a file"),
    pytest.param("chatpipe completion zs", ["chatpipe", "completion", "zsh"], id="shell"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("request.json", "spaced name.json"):
        (tmp_path / name).write_text("{}")
    return tmp_path


@pytest.mark.parametrize(("line", "completed"), CASES)
def test_bash_completes(line: str, completed: list[str], folder: Path) -> None:
    assert shells.bash(line, folder) == completed


@pytest.mark.parametrize(("line", "completed"), CASES)
def test_zsh_completes(line: str, completed: list[str], folder: Path) -> None:
    assert shells.zsh(line, folder) == completed


@pytest.mark.parametrize(("line", "completed"), CASES)
def test_fish_completes(line: str, completed: list[str], folder: Path) -> None:
    assert shells.fish(line, folder) == completed[-1:]


@pytest.mark.parametrize("shell", [shells.bash, shells.zsh], ids=["bash", "zsh"])
def test_name_with_a_blank_stays_one_word(shell: shells.Shell, folder: Path) -> None:
    assert shell("chatpipe ask -r spac", folder) == ["chatpipe", "ask", "-r", "spaced name.json"]


@pytest.mark.parametrize("shell", [shells.bash, shells.zsh], ids=["bash", "zsh"])
def test_what_nothing_fits_stays_as_it_was_typed(shell: shells.Shell, folder: Path) -> None:
    assert shell("chatpipe ask --no-such", folder) == ["chatpipe", "ask", "--no-such"]


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
