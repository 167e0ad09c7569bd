"""The scripts of chatpipe-engines(7), as a shell runs them. tests/engines runs them on their clusters."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from batch.result_lines import texts
from batch.resuming import write_rows
from chatpipe.errors import Status
from manual import pages
from support.process import sh
from support.servers.loopback import serve

PAGE = "chatpipe-engines"
NOT_FOUND = {126, 127}  # what a shell ends with when it cannot start a program


def kubernetes_job() -> Any:
    return yaml.safe_load(pages.display(PAGE, "apiVersion:"))


def kubernetes_script() -> str:
    (container,) = kubernetes_job()["spec"]["template"]["spec"]["containers"]
    (script,) = container["args"]
    assert container["command"] == ["sh", "-c"]
    return str(script)


def slurm_script() -> str:
    return pages.display(PAGE, "#!/bin/sh\n#SBATCH")


def final_statuses() -> set[int]:
    """Those of us that the page says not to retry."""
    final, later, _signals = pages.entries(pages.sections(PAGE)["STATUSES AND RETRIES"])
    listed = [int(number) for entry in (final, later) for number in entry.head.split(", ")]
    assert sorted(listed) == sorted(set(Status) - {Status.OK})
    return {int(number) for number in final.head.split(", ")}


def test_kubernetes_job_fails_an_index_at_once_for_what_no_retry_cures() -> None:
    _moved, policy = kubernetes_job()["spec"]["podFailurePolicy"]["rules"]
    assert policy["action"] == "FailIndex"
    assert set(policy["onExitCodes"]["values"]) == final_statuses() | NOT_FOUND


@pytest.fixture
def commands(tmp_path: Path) -> Path:
    """A folder of commands for PATH: a chatpipe that ends as it is told, and a scontrol that is recorded."""
    folder = tmp_path / "commands"
    folder.mkdir()
    for name, text in {"chatpipe": 'exit "$TOLD"', "scontrol": 'echo "$@" >>requeued'}.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return folder


def test_slurm_script_queues_itself_again_for_what_a_retry_may_cure(commands: Path, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(slurm_script())
    told = [*Status, *sorted(NOT_FOUND), 137, 143]
    numbers = " ".join(str(int(status)) for status in told)
    loop = f"for TOLD in {numbers}; do export TOLD SLURM_ARRAY_TASK_ID=$TOLD; sh script; echo $?; done"
    done = sh(f'PATH="{commands}:$PATH"; {loop}', cwd=tmp_path, env={"SLURM_ARRAY_JOB_ID": "9"})
    final = {Status.OK, *final_statuses(), *NOT_FOUND}
    assert [*map(int, done.stdout.split())] == [status if status in final else 0 for status in told]
    requeued = (tmp_path / "requeued").read_text().splitlines()
    assert requeued == [f"requeue 9_{int(status)}" for status in told if status not in final]


def test_slurm_script_gives_up_in_the_end(commands: Path, tmp_path: Path) -> None:
    env = {"SLURM_ARRAY_TASK_ID": "1", "SLURM_RESTART_COUNT": "5", "TOLD": "75"}
    done = sh(f'PATH="{commands}:$PATH"\n{slurm_script()}', cwd=tmp_path, env=env)
    assert done.status == Status.TRY_LATER
    assert not (tmp_path / "requeued").exists()


def test_shards_of_the_kubernetes_job_are_gathered(tmp_path: Path) -> None:
    """Those of Slurm are run by Slurm, in tests/engines."""
    prompts = [*(f"p{each}" for each in range(20)), *"aaa"]
    write_rows(tmp_path / "in.jsonl", *prompts)
    shards = [(kubernetes_script(), {"JOB_COMPLETION_INDEX": str(index)}) for index in range(8)]
    for commands, env in (*shards, (pages.display(PAGE, "chatpipe batch in.jsonl --reuse"), {})):
        echoed = re.sub(r"--key-file \S+", "", commands).replace("chatpipe batch", "chatpipe batch -p echo")
        assert sh(echoed, cwd=tmp_path, env=env) == (0, b"", b"")
    assert texts(tmp_path / "out.jsonl") == prompts


def test_pieces_are_put_together(tmp_path: Path) -> None:
    prompts = [*"abcde"]
    write_rows(tmp_path / "in.jsonl", *prompts)
    assert sh(pages.display(PAGE, "split -l").replace("1000000", "2"), cwd=tmp_path).status == 0
    task = pages.display(PAGE, "k=$(printf").replace("chatpipe batch", "chatpipe batch -p echo")
    for number in range(3):
        assert sh(task, cwd=tmp_path, env={"SLURM_ARRAY_TASK_ID": str(number)}) == (0, b"", b"")
    assert texts(sh("cat part-*.jsonl", cwd=tmp_path).stdout) == prompts


def test_one_command_may_have_several_servers(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", *"abc")
    with serve() as first, serve() as second:
        commands = pages.display(PAGE, "chatpipe batch in.jsonl -o out.jsonl --rpm")
        for node, server in (("node1", first), ("node2", second)):
            commands = commands.replace(f"http://{node}:8000/v1", server.url)
        env = {"CHATPIPE_BASE_URL": first.url, "CHATPIPE_MODEL": "echo"}
        assert sh(f"set -e\n{commands}", cwd=tmp_path, env=env).status == 0
    assert texts(tmp_path / "out.jsonl") == [*"abc"]


def test_parts_of_map_are_gathered_from_their_journals(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", *"abc")
    gather = pages.plain(re.findall(r"^\.Ql (.*\.journal.*) \.$", pages.source(PAGE), re.MULTILINE)[0])
    command = "chatpipe map -p echo {{prompt}} --into text in.jsonl"
    shards = "; ".join(f"{command} --shard {each}/2 -o part-{each}.jsonl" for each in (1, 2))
    done = sh(f"{shards}; {command} {gather} --no-send --to csv", cwd=tmp_path)
    assert (done.status, done.stdout, done.stderr) == (0, b"prompt,text\na,a\nb,b\nc,c\n", b"")
