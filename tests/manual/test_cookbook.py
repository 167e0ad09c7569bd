"""Every recipe of chatpipe-cookbook(7) runs in bash and in zsh, and gives what it shows.

The model is a server with the answers of cookbook.jsonl, so that they are those of a good model.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from manual import pages
from serve.client import serving
from support.patience import PATIENCE_S
from support.process import sh
from support.programs import find_programs, program

_PAGE = "chatpipe-cookbook"
_TITLES = ("PIPELINES", "TABLES", "BATCHES", "MAKEFILES")
_SCRIPT = Path(__file__).with_name("cookbook.jsonl")
_FLEET = ("http://gpu1:8000/v1", "http://gpu2:8000/v1")
RECIPES = list(pages.examples(_PAGE, _TITLES))


@pytest.fixture(scope="module", params=["bash", "zsh"])
def shell(request: pytest.FixtureRequest) -> str:
    """The name of a shell."""
    return str(request.param)


@pytest.fixture(scope="module")
def servers(shell: str) -> Iterator[list[str]]:
    """The base URLs of two servers with the same model, which have no jobs of another shell."""
    options = ("-q", "--script", str(_SCRIPT), "--batch-life", "1")
    with serving(*options) as one, serving(*options) as other:
        yield [one.url, other.url]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.sentence)
def test_recipes_run_as_they_are_printed(
    recipe: pages.Example, shell: str, tmp_path: Path, servers: list[str]
) -> None:
    program(shell)
    find_programs(recipe.commands)
    commands = recipe.commands
    for name, url in zip(_FLEET, servers, strict=True):
        commands = commands.replace(name, url)
    settings = {"HOME": str(tmp_path), "CHATPIPE_BASE_URL": servers[0], "CHATPIPE_MODEL": "gpt-4o-mini"}
    done = sh(
        f"set -eu\nexec 2>&1\n{commands}", cwd=tmp_path, env=settings, shell=shell, timeout=2 * PATIENCE_S
    )
    assert (done.stdout.decode(), done.status) == (recipe.output, 0)


def test_there_are_recipes_of_every_kind() -> None:
    titles = [title for title in pages.sections(_PAGE) if title.isupper()]
    assert titles == ["NAME", "DESCRIPTION", *_TITLES, "SEE ALSO"]
    assert all(recipe.sentence and recipe.commands for recipe in RECIPES)


def test_line_for_cron_is_one_of_crontab() -> None:
    """Five fields of time and a command. `cron` itself is not run."""
    found = re.search(r"^\.Ql (0 7 .*morning\.sh)$", pages.source(_PAGE), re.MULTILINE)
    assert found is not None
    *times, shell, script = pages.plain(found[1]).split()
    assert len(times) == 5
    assert all(re.fullmatch(r"\*|[0-9]+(-[0-9]+)?", each) for each in times)
    assert (shell, script.rpartition("/")[2]) == ("sh", "morning.sh")
