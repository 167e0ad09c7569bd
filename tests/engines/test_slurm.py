"""The recipe for a Slurm array, as the manual has it, on a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from batch.resuming import Shop, texts
from engines.slurm_cluster import SlurmCluster, slurm_cluster
from manual import pages
from manual.test_engines_page import PAGE, slurm_script
from process import sh

PROMPTS = [f"p{number}" for number in range(40)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[SlurmCluster]:
    with slurm_cluster() as running:
        yield running


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with Shop(tmp_path) as running:
        yield running


def test_shards_are_gathered(cluster: SlurmCluster, shop: Shop, tmp_path: Path) -> None:
    shop.write(*PROMPTS)
    (tmp_path / "key").write_text("sk-canary")
    script = tmp_path / "answers.sh"
    script.write_text(slurm_script())
    env = {"CHATPIPE_BASE_URL": shop.server.url, "CHATPIPE_MODEL": "m"}
    cluster.wait(cluster.submit(script, env=env))
    assert shop.sold() == sorted(PROMPTS)
    assert sh(pages.display(PAGE, "chatpipe batch in.jsonl --reuse"), cwd=tmp_path, env=env) == (0, b"", b"")
    assert texts(shop.out) == [f"{prompt} #1" for prompt in PROMPTS]
