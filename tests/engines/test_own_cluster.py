"""Runs with --engine ray on a cluster of their own: it has no key, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from engines.ray_runs import KEY, Prompts, arguments, files_with, wait_for_lines, write_prompts
from support.process import home, start
from support.servers import loopback


@pytest.fixture
def short() -> Iterator[Path]:
    """A temporary folder with a short name, as names of sockets are short, that no other test uses."""
    folder = tempfile.mkdtemp(prefix="own-", dir="/tmp")
    yield Path(folder)
    shutil.rmtree(folder)


def processes_with(text: str) -> dict[int, bytes]:
    """Processes that name this text, with all that their command lines and environments say."""
    found = {}
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            said = Path(f"/proc/{name}/cmdline").read_bytes() + Path(f"/proc/{name}/environ").read_bytes()
        except OSError:
            continue
        if text.encode() in said:
            found[int(name)] = said
    return found


ENDS = {"complete": None, "SIGINT": signal.SIGINT, "SIGKILL": signal.SIGKILL}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_a_cluster_of_the_run_has_no_key_and_leaves_nothing(
    end: signal.Signals | None, short: Path, tmp_path: Path
) -> None:
    def answer(request: loopback.Request) -> loopback.Answer:
        assert request.headers["authorization"] == f"Bearer {KEY}"
        text = f"your key is {KEY}"
        return [loopback.Pause(0.1), loopback.reply(200, loopback.completion(text))]

    write_prompts(tmp_path, 600 if end is None else 3000)
    before = set(home().iterdir())
    env = {"CHATPIPE_API_KEY": KEY, "TMPDIR": str(short), "RAY_ADDRESS": ""}
    with loopback.serve(answer) as server:
        given = arguments(server.url, "ray", "-o", "out.jsonl", "-H", f"X-Api-Key: {KEY}x")
        with start(*given, env=env, cwd=tmp_path) as process:
            wait_for_lines(process, tmp_path, 300)
            processes = processes_with(str(short))
            processes.pop(process.pid, None)
            assert len(processes) > 3
            assert not [pid for pid, said in processes.items() if KEY.encode() in said]
            assert list(short.iterdir())
            assert not files_with(short, KEY.encode())
            if end is not None:
                process.send_signal(end)
            _, stderr = process.communicate()
    assert process.returncode == (0 if end is None else -end)
    assert KEY.encode() not in stderr
    # A run that was killed has not waited for its cluster.
    while processes_with(str(short)) or list(short.iterdir()):
        time.sleep(0.1)
    assert set(home().iterdir()) == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_ends_while_ray_starts_leaves_nothing(
    number: signal.Signals, short: Path, tmp_path: Path
) -> None:
    write_prompts(tmp_path, 3)
    env = {"TMPDIR": str(short), "RAY_ADDRESS": ""}
    with loopback.serve(Prompts().answer) as server:
        with start(*arguments(server.url, "ray"), env=env, cwd=tmp_path) as process:
            while not number_of("gcs_server", short):
                time.sleep(0.01)
            process.send_signal(number)
            ended = time.monotonic()
            assert process.wait() == -number
        assert time.monotonic() - ended < 5  # Ray needs more to start
        while processes_with(str(short)) or list(short.iterdir()):
            time.sleep(0.1)
        assert not server.requests


@pytest.mark.parametrize("daemon", ["raylet", "gcs_server"])
def test_a_cluster_of_the_run_that_dies_is_noticed_at_once(daemon: str, short: Path, tmp_path: Path) -> None:
    write_prompts(tmp_path, 3000)
    env = {"TMPDIR": str(short), "RAY_ADDRESS": ""}
    with loopback.serve(Prompts().answer) as server:
        given = arguments(server.url, "ray", "-o", "out.jsonl", "--rpm", "1200")
        with start(*given, env=env, cwd=tmp_path) as process:
            wait_for_lines(process, tmp_path, 5)
            died = time.monotonic()
            number = number_of(daemon, short)
            assert number is not None
            os.kill(number, signal.SIGKILL)
            _, stderr = process.communicate()
    assert process.returncode == 69
    assert time.monotonic() - died < 20  # Ray itself takes a minute
    lost = rb"(, with \d+ requests? in flight)?"
    said = rb"chatpipe: Ray has ended on this machine" + lost + rb": run the same command again\n"
    assert re.fullmatch(said, stderr)


def number_of(daemon: str, folder: Path) -> int | None:
    """The process with this name whose cluster has its files in a folder."""
    for pid in processes_with(str(folder)):
        with suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text().strip() == daemon:
                return pid
    return None
