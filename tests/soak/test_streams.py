"""What is at the ends of a long run: a disk that is full, and a reader that has seen enough."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.process import sh
from support.servers.loopback import Server, canned

ENDLESS = """yes '"hi"'"""


@pytest.mark.parametrize("taken", [1, 1_000, 50_000])
def test_a_reader_that_has_seen_enough_ends_the_run(taken: int, tmp_path: Path) -> None:
    with Server(canned(0.0, None, 1), keep=True) as server:
        batch = "{ chatpipe batch --base-url $URL -m m -j64; echo $? >status; }"
        script = f"{ENDLESS} | {batch} | head -{taken} | wc -l"
        done = sh(script, env={"URL": server.url}, cwd=tmp_path, timeout=120)
        asked = len(server.requests)
    assert (done.status, int(done.stdout), done.stderr) == (0, taken, b"")
    assert (tmp_path / "status").read_text() == "141\n"
    # 64 kB of pipe hold some 150 results, what head has read ahead likewise
    assert asked <= taken + 64 + 1_000


@pytest.mark.parametrize("format", ["results", "text"])
def test_a_full_disk_ends_an_endless_run_at_once(format: str) -> None:
    with Server(canned(0.0, None, 1), keep=True) as server:
        script = f"{ENDLESS} | chatpipe batch --base-url {server.url} -m m -j64 -f {format} >/dev/full"
        done = sh(script, timeout=60)
        asked = len(server.requests)
    assert done.status == 74
    assert done.stderr.count(b"\n") == 1
    assert asked <= 3 * 64
