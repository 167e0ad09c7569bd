"""The table of clients in chatpipe-testing(7) is what they do. tests/peer has the official library."""

from __future__ import annotations

from pathlib import Path

import pytest

from manual import pages
from manual.verdict_table import FAULTS, prompts, table, verdict_on
from support.process import run, sh
from support.programs import program

_BODY = '{\\"messages\\":[{\\"role\\":\\"user\\",\\"content\\":\\"$words\\"}],\\"stream\\":true}'
_CURL = f'curl -sm 9 -o reply -d "{_BODY}"'
_LOOP = f'for n in 1 2 3 4 5 6 7 8 9 10; do {_CURL} -f "$U" && break; done'


def _curl(command: str, url: str) -> None:
    program("curl")
    for words in prompts():
        sh(command, env={"words": words, "U": f"{url}/chat/completions"})


def _ask(url: str) -> None:
    for words in prompts():
        run("ask", words, "--base-url", url, "-m", "echo")


def _batch(url: str, *options: str) -> None:
    lines = "".join(f'{{"prompt": "{words}"}}\n' for words in prompts())
    run("batch", *options, "-q", "--base-url", url, "-m", "echo", stdin=lines.encode())


CLIENTS = {
    "curl --retry 3": lambda url: _curl(f'{_CURL} --retry 3 "$U"', url),
    "curl in a loop": lambda url: _curl(
        f'for n in 1 2 3 4 5 6 7 8 9 10; do {_CURL} -f "$U" && break; done', url
    ),
    "chatpipe ask": _ask,
    "batch, streamed": lambda url: _batch(url, "--stream"),
    "batch, whole": _batch,
}


def test_head_names_the_faults() -> None:
    assert all(list(row) == list(FAULTS) for row in table().values())
    assert set(CLIENTS) < set(table())


@pytest.mark.parametrize("client", CLIENTS)
def test_row_is_what_the_client_does(client: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert verdict_on(CLIENTS[client], tmp_path) == table()[client]


@pytest.mark.parametrize(
    ("start", "again"), [("Test a script in CI", "sh test.sh"), ("The same as a rule", "make -s test")]
)
def test_example_may_run_again_and_ends_where_no_server_starts(
    start: str, again: str, tmp_path: Path
) -> None:
    """A second run takes no URL of the first, and the wait for one ends with the server."""
    program("make")
    (example,) = (each for each in pages.examples("chatpipe-testing") if each.sentence.startswith(start))
    for _ in range(2):
        assert sh(f"set -eu\n{example.commands}", cwd=tmp_path).status == 0
    done = sh(f"echo no rule > model.jsonl\n{again}", cwd=tmp_path)
    assert done.status != 0
    assert "model.jsonl:1: not JSON" in done.stderr.decode()


def test_examples_wait_for_no_file() -> None:
    """A loop that waits for one goes on for ever when the server does not start."""
    assert not [
        each.sentence
        for path in pages.all_files()
        for each in pages.examples(path.stem)
        if "until [" in each.commands
    ]
