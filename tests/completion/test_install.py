"""`completion --install`: the script is where the shell looks, and nothing else is touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from completion import shells
from support.parametrize import cases
from support.process import run


@cases(
    ("shell", "env", "path", "name"),
    {
        "bash": ("bash", {}, ".local/share/bash-completion/completions/chatpipe", "chatpipe.bash"),
        "zsh": ("zsh", {}, ".local/share/zsh/site-functions/_chatpipe", "_chatpipe"),
        "fish": ("fish", {}, ".config/fish/completions/chatpipe.fish", "chatpipe.fish"),
        "folder of bash-completion": (
            "bash",
            {"BASH_COMPLETION_USER_DIR": "{home}/own:/elsewhere"},
            "own/completions/chatpipe",
            "chatpipe.bash",
        ),
        "folder of data": (
            "bash",
            {"XDG_DATA_HOME": "{home}/data"},
            "data/bash-completion/completions/chatpipe",
            "chatpipe.bash",
        ),
        "relative folder, which does not count": (
            "fish",
            {"XDG_CONFIG_HOME": "config"},
            ".config/fish/completions/chatpipe.fish",
            "chatpipe.fish",
        ),
        "login shell": (
            "",
            {"SHELL": "/usr/bin/fish"},
            ".config/fish/completions/chatpipe.fish",
            "chatpipe.fish",
        ),
    },
)
def test_script_is_where_the_shell_looks(
    shell: str, env: dict[str, str], path: str, name: str, tmp_path: Path
) -> None:
    more = {"HOME": str(tmp_path)} | {key: value.format(home=tmp_path) for key, value in env.items()}
    for _ in range(2):  # again, with a newer version
        done = run("completion", "--install", *shell.split(), env=more, cwd=tmp_path)
        assert (done.status, done.stderr) == (0, b"")
        assert done.stdout.decode().splitlines()[0] == str(tmp_path / path)
    assert (tmp_path / path).read_bytes() == (shells.SCRIPTS / name).read_bytes()
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == [tmp_path / path]


@pytest.mark.parametrize("home", ["", ".", "home"])
def test_a_home_that_is_not_absolute_is_not_the_users(home: str, tmp_path: Path) -> None:
    for arguments in (("completion", "--install", "zsh"), ("models", "-p", "echo", "--save")):
        done = run(*arguments, env={"HOME": home}, cwd=tmp_path)
        assert (done.status, done.stdout) == (78, b"")
        assert done.stderr.endswith(b"is not an absolute path: set it or XDG_DATA_HOME to one\n")
        assert run(*arguments, env={"HOME": home, "XDG_DATA_HOME": str(tmp_path)}, cwd=tmp_path).status == 0
    assert {each.name for each in tmp_path.iterdir()} == {"zsh", "chatpipe"}


@pytest.mark.parametrize(("fpath", "lines"), [("", 4), ("/x:{folder}", 1)], ids=["unknown", "in FPATH"])
def test_zsh_is_told_how_to_find_it(fpath: str, lines: int, tmp_path: Path) -> None:
    folder = tmp_path / ".local/share/zsh/site-functions"
    env = {"HOME": str(tmp_path), "FPATH": fpath.format(folder=folder)}
    said = run("completion", "--install", "zsh", env=env).stdout.decode().splitlines()
    assert len(said) == lines
    assert lines == 1 or said[2] == f"  fpath=({folder} $fpath)"


@pytest.mark.parametrize("is_there", [True, False], ids=["installed", "missing"])
def test_bash_without_its_package_needs_a_line(is_there: bool, tmp_path: Path) -> None:
    if is_there:
        (tmp_path / "bash-completion").mkdir()
        (tmp_path / "bash-completion/bash_completion").touch()
    env = {"HOME": str(tmp_path), "XDG_DATA_DIRS": f"relative:{tmp_path}"}
    _, *said = run("completion", "--install", "bash", env=env).stdout.decode().splitlines()
    assert said[1:] == ([] if is_there else ["  source <(chatpipe completion bash)"])
    assert bool(said) is not is_there


@cases(
    ("arguments", "shell", "message"),
    {
        "no shell": ((), "/bin/bash", "missing operand SHELL: name one: bash, zsh, fish"),
        "login shell that is unknown": (
            ("--install",),
            "/bin/ksh",
            "no completion for 'ksh': name one: bash, zsh, fish",
        ),
        "no login shell": (("--install",), "", "missing operand SHELL: name one: bash, zsh, fish"),
    },
)
def test_shell_has_to_be_known(arguments: tuple[str, ...], shell: str, message: str) -> None:
    done = run("completion", *arguments, env={"SHELL": shell})
    assert (done.status, done.stderr.decode()) == (2, f"chatpipe: {message}\n")


def test_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / ".local").write_text("a file")
    done = run("completion", "--install", "bash", env={"HOME": str(tmp_path)})
    assert done.status == 74
    assert done.stderr.count(b"\n") == 1
