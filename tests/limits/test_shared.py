"""The pace file: rules in injected time, then real processes, kills and damaged files."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatpipe.errors import BadInput, CannotWrite, TryLater
from chatpipe.limits.pace_file import PaceFile
from chatpipe.limits.shared import SharedPace
from chatpipe.limits.shared_state import LEASE_S
from chatpipe.options.run import SharedLimits
from chatpipe.system.lock import FileLocked, LockPatience
from support.parametrize import cases

HOST = "https://api.example.com"
NOW = 1_700_000_000.0


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "pace.json")


def content(path: str) -> Any:
    return json.loads(Path(path).read_bytes())


def waits(
    file: PaceFile, count: int, now: float = NOW, tokens: int = 1, **limits: float | None
) -> list[float]:
    rpm, tpm = limits.get("rpm"), limits.get("tpm")
    return [file.reserve(HOST, tokens, rpm, tpm, now) for _ in range(count)]


def test_made_for_its_owner_only(path: str) -> None:
    before = os.umask(0)
    try:
        PaceFile(path).close()
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_each_waits_behind_all_others(path: str) -> None:
    one, other = PaceFile(path), PaceFile(path)
    assert waits(one, 2, rpm=60) == [0, 1]
    assert waits(other, 2, rpm=60) == [2, 3]
    assert waits(one, 1, NOW + 3.5, rpm=60) == [0.5]


def test_origins_are_apart(path: str) -> None:
    file = PaceFile(path)
    assert waits(file, 2, rpm=60) == [0, 1]
    assert file.reserve("https://other.example.com", 1, 60, None, NOW) == 0


@cases(
    "rpm, tpm, expected",
    {
        "requests": (60, None, [0, 1, 2]),
        "tokens": (None, 600, [0, 2, 4]),
        "both": (60, 600, [0, 2, 4]),
        "none": (None, None, [0, 0, 0]),
        "0 is none": (0, 0, [0, 0, 0]),
    },
)
def test_processes_keep_one_limit_together(
    path: str, rpm: float | None, tpm: float | None, expected: list[float]
) -> None:
    assert waits(PaceFile(path), 3, tokens=20, rpm=rpm, tpm=tpm) == expected


def test_settled_for_all(path: str) -> None:
    one, other = PaceFile(path), PaceFile(path)
    assert waits(one, 1, tokens=600, tpm=600) == [0]
    one.settle(HOST, 600, 300, NOW)
    assert waits(other, 1, tpm=600) == [30]


def test_a_changed_limit_keeps_reservations(path: str) -> None:
    one, other = PaceFile(path), PaceFile(path)
    assert waits(one, 3, rpm=60) == [0, 1, 2]
    assert waits(other, 2, rpm=6) == [3, 13]
    assert waits(one, 2, rpm=60) == [23, 24]


def test_a_pause_holds_for_all_and_postpones_reservations(path: str) -> None:
    one, other = PaceFile(path), PaceFile(path)
    assert waits(one, 3, rpm=60) == [0, 1, 2]
    other.pause_until(HOST, NOW + 20, NOW)
    other.pause_until(HOST, NOW + 5, NOW)
    assert one.pause_left(HOST, NOW + 4) == 16
    assert one.postponed_s(HOST, NOW) == 20
    assert waits(one, 1, rpm=60) == [23]
    assert one.pause_left(HOST, NOW + 21) == 0


def test_a_shared_pace_is_one_origin(path: str) -> None:
    file = PaceFile(path)
    share = SharedPace(file, HOST, SharedLimits(tpm=600))
    assert share.reserve(600, NOW) == 0
    share.settle(600, 300, NOW)
    assert share.reserve(1, NOW) == 30
    share.pause(7, NOW)
    assert share.postponed_s(NOW) == 7


def test_processes_share_slots(path: str) -> None:
    one, other = PaceFile(path), PaceFile(path)
    assert [
        one.acquire_slot(HOST, 2, NOW),
        other.acquire_slot(HOST, 2, NOW),
        one.acquire_slot(HOST, 2, NOW),
    ] == [0, 0, 0.05]
    other.release_slot(HOST, NOW)
    assert one.acquire_slot(HOST, 2, NOW) == 0
    one.release_slot(HOST, NOW)
    one.release_slot(HOST, NOW)
    assert content(path)["origins"] == {}  # nothing is left behind


def test_processes_take_turns(path: str) -> None:
    """A batch that always wants the next place does not shut out a single ask."""
    batch, ask = PaceFile(path), PaceFile(path)
    assert batch.acquire_slot(HOST, 1, NOW) == 0
    assert ask.acquire_slot(HOST, 1, NOW) > 0
    assert batch.acquire_slot(HOST, 1, NOW) > 0
    batch.release_slot(HOST, NOW + 0.01)
    assert batch.acquire_slot(HOST, 1, NOW + 0.01) > 0
    assert ask.acquire_slot(HOST, 1, NOW + 0.05) == 0
    ask.release_slot(HOST, NOW + 1)
    assert batch.acquire_slot(HOST, 1, NOW + 1) == 0


@cases(
    "freed_s, asked_s, waits",
    {
        "two are not yet a habit": ([0.0, 0.04], 0.04, [0.045, 0.05, 0.05]),
        "every 8 ms": ([0.008 * n for n in range(100)], 0.792, [0.002, 0.004, 0.006]),
        "no more often": ([0.001 * n for n in range(100)], 0.099, [0.001, 0.001, 0.001]),
        "every second": ([1.0 * n for n in range(100)], 99.0, [0.05, 0.05, 0.05]),
        "none for long": ([0.008 * n for n in range(100)], 0.892, [0.025, 0.05, 0.05]),
    },
)
def test_places_are_looked_for_as_often_as_they_are_freed(
    path: str, freed_s: list[float], asked_s: float, waits: list[float]
) -> None:
    """By the next in turn; those behind it look later."""
    holder, *others = [PaceFile(path) for _ in range(4)]
    for _ in range(2):
        assert holder.acquire_slot(HOST, 2, NOW) == 0
    for freed in freed_s:
        holder.release_slot(HOST, NOW + freed)
        assert holder.acquire_slot(HOST, 2, NOW + freed) == 0
    found = [other.acquire_slot(HOST, 2, NOW + asked_s) for other in others]
    assert found == pytest.approx(waits, abs=2e-4)


def test_a_refusal_tells_all_processes_how_much_room_there_is(path: str) -> None:
    """Sixteen ask, eight are refused, and from then on there are eight slots, later one more."""
    files = [PaceFile(path) for _ in range(16)]
    assert [file.acquire_slot(HOST, None, NOW) for file in files] == [0.0] * 16
    refused, accepted = files[:8], files[8:]
    for left, file in enumerate(refused):
        assert file.refuse(HOST, NOW) == 15 - left
        file.release_slot(HOST, NOW)
    assert refused[0].acquire_slot(HOST, None, NOW) > 0
    assert refused[1].acquire_slot(HOST, 100, NOW) > 0  # whatever --pace-jobs is
    accepted[0].release_slot(HOST, NOW, answered=True)
    assert refused[1].acquire_slot(HOST, None, NOW) > 0  # in the order in which they asked
    assert refused[0].acquire_slot(HOST, None, NOW) == 0
    for _ in range(15):
        accepted[0].release_slot(HOST, NOW, answered=True)
    assert content(path)["origins"][HOST]["room"] == [9, 0]
    for file in files:
        file.close()


def test_one_that_asks_no_more_holds_up_nobody(path: str) -> None:
    one, other = PaceFile(path), PaceFile(path)
    assert one.acquire_slot(HOST, 1, NOW) == 0
    assert other.acquire_slot(HOST, 1, NOW) > 0
    one.release_slot(HOST, NOW)
    assert one.acquire_slot(HOST, 1, NOW + 1.9) > 0
    assert one.acquire_slot(HOST, 1, NOW + 2.1) == 0


def test_a_locked_file_delays_what_is_reserved_and_remembers_the_rest(path: str) -> None:
    now_s, notes = 0.0, list[str]()
    patience = LockPatience(notes.append, 60.0, lambda: now_s)
    file, other = PaceFile(path, patience), PaceFile(path)
    assert file.acquire_slot(HOST, 1, NOW) == 0
    assert waits(file, 1, tokens=600, tpm=600) == [0]
    fd = os.open(path, os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)

    with pytest.raises(FileLocked):
        waits(file, 1, rpm=60)
    file.settle(HOST, 600, 300, NOW)
    file.release_slot(HOST, NOW)
    file.pause_until(HOST, NOW + 20, NOW)
    now_s = 2.0
    assert 0 < SharedPace(file, HOST, SharedLimits(pace_jobs=1)).acquire_slot(NOW) <= 0.05
    assert notes == [f"waiting for '{path}', which another process has locked"]
    now_s = 61.0
    with pytest.raises(TryLater):
        file.postponed_s(HOST, NOW)
    file.settle(HOST, 300, 0, NOW)

    os.close(fd)
    file.close()
    assert other.acquire_slot(HOST, 1, NOW) == 0
    assert other.pause_left(HOST, NOW) == 20
    assert waits(other, 1, tokens=1, tpm=600) == [20]


def test_with_a_loop_what_waits_for_the_lock_is_tried_again(path: str) -> None:
    later: list[Callable[[], None]] = []
    file, other = PaceFile(path, None, lambda _, call: later.append(call)), PaceFile(path)
    assert file.acquire_slot(HOST, 1, NOW) == 0
    fd = os.open(path, os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)
    file.settle(HOST, 1, 0, NOW)
    file.release_slot(HOST, NOW)
    assert len(later) == 1
    later.pop()()
    assert len(later) == 1
    os.close(fd)
    later.pop()()
    assert not later
    assert other.acquire_slot(HOST, 1, NOW) == 0


def test_a_lease_runs_out_unless_it_is_renewed(path: str) -> None:
    """For processes that cannot be seen from here, in another container."""
    one, other = PaceFile(path), PaceFile(path)
    assert one.acquire_slot(HOST, 1, NOW) == 0
    assert waits(one, 1, NOW + 100) == [0]
    assert other.acquire_slot(HOST, 1, NOW + LEASE_S + 99) > 0
    assert other.acquire_slot(HOST, 1, NOW + LEASE_S + 101) == 0


def test_a_clock_set_back_takes_everything_with_it(path: str) -> None:
    file = PaceFile(path)
    waits(file, 11, rpm=60)
    file.pause_until(HOST, NOW + 20, NOW)
    assert file.pause_left(HOST, NOW - 3600) == 20
    assert waits(file, 1, NOW - 3600, rpm=60) == [31]


def test_idle_origins_are_dropped(path: str) -> None:
    file = PaceFile(path)
    for number in range(200):
        file.reserve(f"https://{number}.example.com", 1, 60, None, NOW + 10 * number)
    assert len(content(path)["origins"]) == 1


def test_a_text_that_shrinks_stays_one_text(path: str) -> None:
    file = PaceFile(path)
    for number in range(50):
        file.reserve(f"https://{number}.example.com", 1, 60, None, NOW)
    size = os.stat(path).st_size
    assert waits(file, 1, NOW + 100, rpm=60) == [0]
    assert os.stat(path).st_size == size
    assert list(content(path)["origins"]) == [HOST]


FOREIGN: dict[str, Any] = {
    "text": b"precious\n",
    "other JSON": b'{"a": 1}\n',
    "a later version": b'{"chatpipe_pace":2,"origins":{}}',
    "wrong shape": b'{"chatpipe_pace":1,"origins":[]}',
    "a limit of 0": b'{"chatpipe_pace":1,"seen":1,"origins":{"a":{"requests":[0,0,0]}}}',
    "wrong lease": b'{"chatpipe_pace":1,"seen":1,"origins":{"a":{"held":{"1":5}}}}',
    "wrong origin": b'{"chatpipe_pace":1,"seen":1,"origins":{"a":7}}',
    "a journal": b'{"chatpipe_journal":1}\n',
}


@cases("data", FOREIGN)
def test_a_foreign_file_is_refused_and_left_alone(path: str, data: bytes) -> None:
    Path(path).write_bytes(data)
    with pytest.raises(BadInput, match="pace file"):
        PaceFile(path)
    assert Path(path).read_bytes() == data


def test_a_file_of_a_size_that_no_pace_file_has_is_left_alone(path: str) -> None:
    with open(path, "wb") as file:
        file.truncate(10 << 20)
    with pytest.raises(BadInput, match="is too large for a pace file"):
        PaceFile(path)
    assert os.path.getsize(path) == 10 << 20


def test_a_file_that_becomes_foreign_is_left_alone(path: str) -> None:
    file = PaceFile(path)
    Path(path).write_bytes(b"precious\n")
    with pytest.raises(BadInput):
        file.acquire_slot(HOST, 1, NOW)
    assert Path(path).read_bytes() == b"precious\n"


@cases(
    "data",
    {
        "empty": b"",
        "cut in the first words": b'{"chatpi',
        "cut": b'{"chatpipe_pace":1,"seen":1,"origins":{"https://a',
        "the old end behind the new": b'{"chatpipe_pace":1,"seen":1,"origins":{}}}}},',
        "zeros after a power cut": b"\0" * 300,
        "whole": b'{"chatpipe_pace":1,"seen":1,"origins":{}}   \n',
    },
)
def test_a_torn_file_starts_afresh(path: str, data: bytes) -> None:
    Path(path).write_bytes(data)
    assert waits(PaceFile(path), 2, rpm=60) == [0, 1]
    assert list(content(path)["origins"]) == [HOST]


def test_only_regular_files_are_accepted(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name, what in (("fifo", "not a regular file"), ("link", "a symbolic link")):
        with pytest.raises(BadInput, match=f"is {what}: name another, or remove it"):
            PaceFile(str(tmp_path / name))
    for name in (".", "missing/pace", "nul\0"):
        with pytest.raises(CannotWrite, match="cannot be used"):
            PaceFile(str(tmp_path / name))
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_that_was_removed_is_made_again(path: str) -> None:
    one = PaceFile(path)
    waits(one, 5, rpm=60)
    os.unlink(path)
    other = PaceFile(path)
    assert waits(other, 1, rpm=60) == [0]
    assert waits(one, 1, rpm=60) == [1]
    one.close()
    other.close()


# A process may lose the processor while it has the lock. The others then ask again, as every caller does.
RETRYING = """
import time
from chatpipe.system.lock import FileLocked

def retried(call):
    while True:
        try:
            return call()
        except FileLocked as locked:
            time.sleep(locked.wait_s)
"""

RESERVING = f"""{RETRYING}
import sys
from chatpipe.limits.pace_file import PaceFile
file = PaceFile(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for _ in range(50):
    print(retried(lambda: file.reserve("https://a", 10, 6000, None, 1_700_000_000.0)))
"""

HOLDING = """
import sys, time
from chatpipe.limits.pace_file import PaceFile
file = PaceFile(sys.argv[1])
print(file.acquire_slot("https://a", 1, time.time()), flush=True)
time.sleep(60)
"""

ENTERING = f"""{RETRYING}
import os, sys
from chatpipe.limits.pace_file import PaceFile
file = PaceFile(sys.argv[1])
sys.stderr.write("ready\\n")
sys.stdin.readline()
for _ in range(15):
    while retried(lambda: file.acquire_slot("https://a", 2, time.time())):
        time.sleep(0.002)
    os.write(1, b"+")
    time.sleep(0.001)
    os.write(1, b"-")
    file.release_slot("https://a", time.time())
"""

WRITING = """
import sys, time
from chatpipe.limits.pace_file import PaceFile
file = PaceFile(sys.argv[1])
print(flush=True)
while True:
    for number in range(100):
        file.reserve(f"https://{number}", 10, 1, None, time.time())
"""


def python(code: str, path: str, **popen: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code, path], **{"stdout": subprocess.PIPE, **popen})


def go(processes: list[subprocess.Popen[bytes]]) -> None:
    """Let them begin together, once each has said that it is ready."""
    for process in processes:
        said = process.stderr or process.stdout
        assert said is not None
        assert said.readline() == b"ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()


def test_four_processes_stay_within_one_limit(path: str) -> None:
    """All at the same moment of injected time: together they get the places that one would get."""
    processes = [python(RESERVING, path, stdin=subprocess.PIPE) for _ in range(4)]
    go(processes)
    waits = sorted(float(line) for process in processes for line in process.communicate()[0].split())
    # 6,000 a minute: ten at once, the others 10 ms apart
    assert waits == pytest.approx([0.0] * 9 + [number / 100 for number in range(191)], abs=1e-5)


def test_a_killed_holder_frees_its_place(path: str) -> None:
    file = PaceFile(path)
    with python(HOLDING, path) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"0.0\n"
        assert file.acquire_slot("https://a", 1, time.time()) > 0
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert file.acquire_slot("https://a", 1, time.time()) == 0


def test_no_more_than_the_places_are_taken_at_a_time(path: str, tmp_path: Path) -> None:
    with (tmp_path / "log").open("ab") as log:
        pipes = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE, "stdout": log}
        processes = [python(ENTERING, path, **pipes) for _ in range(4)]
        go(processes)
        assert [process.communicate()[1] for process in processes] == [b""] * 4
    inside, most = 0, 0
    signs = (tmp_path / "log").read_bytes()
    for sign in signs:
        inside += 1 if sign == ord("+") else -1
        most = max(most, inside)
    assert len(signs) == 120
    assert most <= 2


def test_killed_while_writing_leaves_a_file_that_can_be_used(path: str) -> None:
    for _ in range(3):
        with python(WRITING, path) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(0.02)
            writer.kill()
            writer.wait()
        assert PaceFile(path).reserve(HOST, 1, 60, None, time.time() + 1e6) == 0
