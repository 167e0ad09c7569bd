"""Every example of the manual and of README.md runs, and shows what it says it shows."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from manual import pages
from support.patience import PATIENCE_S
from support.process import Done, sh, start
from support.programs import find_programs
from support.servers.loopback import Server, serve

# The server of the pages: the loopback one, which answers as the model echo does, takes its place.
_SERVER = "http://localhost:8080"
EXAMPLES = [example for path in pages.all_files() for example in pages.examples(path.stem)]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve() as running:
        yield running


def run(commands: str, folder: Path, server: Server) -> Done:
    """By zsh, stopping at the first command that fails; stdout and stderr in the order they come.

    zsh refuses more than other shells, such as a pattern that no file matches. Where it is missing, sh
    has to do. chatpipe-cookbook(7) runs in bash, too.
    """
    find_programs(commands)
    commands = commands.replace(_SERVER, server.origin)
    shell = "sh" if shutil.which("zsh") is None and not os.environ.get("CHATPIPE_TEST_ALL") else "zsh"
    return sh(f"set -eu\nexec 2>&1\n{commands}", cwd=folder, env={"HOME": str(folder)}, shell=shell)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"{example.page}: {example.sentence}")
def test_example_of_the_manual(example: pages.Example, tmp_path: Path, server: Server) -> None:
    done = run(example.commands, tmp_path, server)
    assert (done.stdout.decode(), done.status) == (example.output, example.status)


@pytest.mark.parametrize("name", pages.names())
def test_each_example_is_introduced_by_a_sentence(name: str) -> None:
    examples = list(pages.examples(name))
    assert examples
    for example in examples:
        assert example.sentence.endswith(":"), example.commands
        assert "chatpipe" in example.commands, example.commands


class Block(NamedTuple):
    """A code block of README.md, and the one of no language that may follow it: what is shown.

    mark is `demo` for one that runs with the model and the files of `make demo`; nothing for the others,
    which run with echo.
    """

    line: int
    commands: str
    output: str | None
    mark: str | None = None


def blocks(text: str) -> list[Block]:
    """Blocks marked ```sh, but for those under `<!-- not run -->`."""
    pattern = re.compile(
        r"^(?:<!-- (?P<mark>not run|demo) -->\n+)?```sh\n(?P<commands>.*?)^```\n"
        r"(?:\n+```\n(?P<output>.*?)^```$)?",
        re.MULTILINE | re.DOTALL,
    )
    return [
        Block(text.count("\n", 0, match.start("commands")), match["commands"], match["output"], match["mark"])
        for match in pattern.finditer(text)
        if match["mark"] != "not run"
    ]


README = blocks(pages.ROOT.joinpath("README.md").read_text(encoding="utf-8"))
_DEMO = pages.ROOT / "tests" / "demo"


@pytest.fixture(scope="module")
def demo_url() -> Iterator[str]:
    """The server of `make demo`."""
    with start("serve", "-q", "--script", str(_DEMO / "model.jsonl"), "--latency", "100ms") as process:
        yield process.line().decode().strip()


@pytest.mark.parametrize("block", README, ids=lambda block: f"line {block.line}")
def test_block_of_the_readme(block: Block, tmp_path: Path, demo_url: str) -> None:
    """Each by itself, as a reader may try any of them first."""
    env = {"HOME": str(tmp_path), "CHATPIPE_PROFILE": "echo"}
    if block.mark == "demo":
        env = {"HOME": str(tmp_path), "CHATPIPE_BASE_URL": demo_url, "CHATPIPE_MODEL": "demo"}
        shutil.copy(_DEMO / "reviews.csv", tmp_path)
        questions = "".join(f'{{"prompt": "Question {number}"}}\n' for number in range(300))
        (tmp_path / "questions.jsonl").write_text(questions)
    find_programs(block.commands)
    done = sh(f"set -eu\nexec 2>&1\n{block.commands}", cwd=tmp_path, env=env, timeout=2 * PATIENCE_S)
    shown, expected = done.stdout.decode(), block.output
    assert done.status == 0, shown
    if block.mark == "demo" and expected is not None:
        shown, expected = (re.sub(r"\d+ of them", "N of them", text) for text in (shown, expected))
    assert expected in (None, shown)


def test_no_block_of_the_readme_writes_a_file_of_another_one() -> None:
    """A reader may also try all of them, in one folder."""
    written: list[str] = []
    for block in README:
        if block.mark is None:
            written += set(re.findall(r"(?:(?<![0-9])>|-o )(\w[\w.]+)", block.commands))
    assert len(written) == len(set(written)) > 5


def test_blocks_are_found_and_left_out_as_marked() -> None:
    text = (
        "```sh\none\n```\n\n<!-- not run -->\n```sh\ntwo\n```\n\n<!-- not run -->\n\n```sh\nthree\n```\n"
        "words\n<!-- demo -->\n```sh\nfour\n```\n\n```\nshown\n```\n\n```make\nfive\n```\n"
    )
    assert blocks(text) == [Block(1, "one\n", None), Block(17, "four\n", "shown\n", "demo")]


def test_every_example_is_of_a_posix_shell() -> None:
    """Its syntax: nothing is run."""
    for commands in [*(each.commands for each in EXAMPLES), *(block.commands for block in README)]:
        done = sh("sh -n", stdin=commands.encode())
        assert (done.status, done.stderr) == (0, b""), commands
