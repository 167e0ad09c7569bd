"""The command of chatpipe-engines(7) for GNU parallel, over hosts that are this machine by another way."""

from __future__ import annotations

import re
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from batch.resuming import RunHarness, texts
from engines.slurm_cluster import until
from manual import pages
from manual.test_engines_page import PAGE
from support.parametrize import cases
from support.process import environment, sh
from support.programs import program

PROMPTS = [f"p{number}" for number in range(12)]
# Like ssh, it takes a host behind options, joins the words of the command, and passes no environment on.
SSH = """\
#!/bin/sh
while case $1 in -*) true ;; *) false ;; esac; do shift; done
echo "$1" >>"{folder}/hosts"
shift
[ "$1" != -- ] || shift
exec env -i HOME="{folder}/home" PATH="$PATH" SHELL=/bin/sh sh -c "$*"
"""


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[RunHarness]:
    """A server, and beside its input a key and an ssh."""
    program("parallel")
    for name in ("home", "commands"):
        (tmp_path / name).mkdir()
    ssh = tmp_path / "commands" / "ssh"
    ssh.write_text(SSH.format(folder=tmp_path))
    ssh.chmod(0o755)
    (tmp_path / "hosts").touch()
    (tmp_path / "key").write_text("sk-canary")
    with RunHarness(tmp_path) as running:
        running.write(*PROMPTS)
        yield running


def run_of(harness: RunHarness, *, on_hosts: bool) -> str:
    """The command of the page with four shards, and without a retry of their own."""
    command = re.sub("([/ ])16", r"\g<1>4", pages.display(PAGE, "parallel -S"))
    if not on_hosts:
        here, pace = re.findall(
            r"^\.Ql (parallel .*?|.*--pace-file .*?)(?: \.)?$", pages.plain(pages.source(PAGE)), re.MULTILINE
        )
        command = re.sub(r"^parallel .*--retries 3", here, command).replace("--rpm 60", pace)
        assert "-S" not in command
    command = re.sub(r"--rpm \d+", "--retries 0 --rpm 9600", command)
    return f'PATH="{harness.folder}/commands:$PATH"\nexec {with_server(harness, command)}'


def gather_of(harness: RunHarness) -> str:
    return with_server(harness, pages.display(PAGE, "chatpipe batch in.jsonl --reuse"))


def with_server(harness: RunHarness, command: str) -> str:
    return command.replace("chatpipe batch", f"chatpipe batch --base-url {harness.server.url} -m m")


def answered(harness: RunHarness) -> list[str]:
    """The prompts that the gathered output answers."""
    return [text.partition(" ")[0] for text in texts(harness.out) if text is not None]


@cases("hosts", {"two hosts": {"node1", "node2"}, "this machine": set()})
def test_same_command_runs_again_what_has_failed(
    hosts: set[str], harness: RunHarness, tmp_path: Path
) -> None:
    run, gather = run_of(harness, on_hosts=bool(hosts)), gather_of(harness)
    harness.refused = {"p3"}
    assert sh(run, cwd=tmp_path, timeout=100).status == 1  # the number of tasks that failed
    assert sh(gather, cwd=tmp_path).status == 1
    harness.refused.clear()
    assert sh(run, cwd=tmp_path, timeout=100).status == 0
    assert sh(gather, cwd=tmp_path) == (0, b"", b"")
    assert answered(harness) == PROMPTS
    assert Counter(harness.prompts) == {**dict.fromkeys(PROMPTS, 1), "p3": 4}
    assert set((tmp_path / "hosts").read_text().split()) == hosts


def test_interrupted_command_waits_for_what_is_in_flight(harness: RunHarness, tmp_path: Path) -> None:
    run = run_of(harness, on_hosts=False)
    harness.held = 1
    with subprocess.Popen(["sh", "-c", run], cwd=tmp_path, env=environment()) as parallel:
        until(lambda: len(harness.prompts) == len(PROMPTS))
        parallel.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):  # without --termseq it kills within half a second
            parallel.wait(timeout=2)
        harness.gate.set()
        assert parallel.wait(timeout=60) != 0
    assert sh(run, cwd=tmp_path, timeout=100).status == 0
    assert sh(gather_of(harness), cwd=tmp_path) == (0, b"", b"")
    assert answered(harness) == PROMPTS
    assert sorted(harness.prompts) == sorted(PROMPTS)
