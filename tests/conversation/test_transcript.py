"""A conversation in a file: read with places, added to whole or not at all, by one process at a time."""

from __future__ import annotations

import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from chatpipe.conversation import transcript
from chatpipe.errors import (
    BadInput,
    CannotWrite,
    ChatpipeError,
    Interrupted,
    MissingInput,
    Status,
)
from chatpipe.system.descriptor import BrokenPipe
from support.refusals import refused

Q = {"role": "user", "content": "q"}
A = {"role": "assistant", "content": "ä\u2028 \n"}
Q_LINE = b'{"role":"user","content":"q"}\n'
A_LINE = '{"role":"assistant","content":"ä\u2028 \\n"}\n'.encode()


def unexpected(text: str) -> None:
    raise AssertionError(text)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A name in a folder of its own, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return Path("t.jsonl")


@contextmanager
def opened(path: Path) -> Iterator[transcript.Transcript]:
    with transcript.open_transcript(str(path), unexpected) as talk:
        assert talk is not None
        yield talk


def values(path: Path) -> list[Any]:
    with opened(path) as talk:
        return [found.value for found in talk.messages()]


# Adding to it


def test_a_new_file_holds_the_appended_lines_and_is_private(path: Path) -> None:
    with opened(path) as talk:
        assert talk.messages() == []
        talk.append([Q, A])
    assert path.read_bytes() == Q_LINE + A_LINE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert values(path) == [Q, A]


def test_old_lines_stay_byte_by_byte_with_their_mode(path: Path) -> None:
    old = b'\xef\xbb\xbf{ "role":"user" , "content":"q","x":1e2}\r\n\n'
    path.write_bytes(old)
    path.chmod(0o640)
    with opened(path) as talk:
        talk.append([A])
    assert path.read_bytes() == old + A_LINE
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_last_line_gets_its_end_first(path: Path) -> None:
    path.write_bytes(Q_LINE[:-1])
    assert values(path) == [Q]
    assert path.read_bytes() == Q_LINE[:-1]
    with opened(path) as talk:
        talk.append([A])
    assert path.read_bytes() == Q_LINE + A_LINE


def test_link_is_followed_and_stays_one(path: Path) -> None:
    path.symlink_to("far.jsonl")
    with opened(path) as talk:
        talk.append([Q])
    assert path.is_symlink()
    assert Path("far.jsonl").read_bytes() == Q_LINE


def test_lines_of_others_without_a_lock_stay(path: Path) -> None:
    path.write_bytes(Q_LINE)
    with opened(path) as talk:
        with path.open("ab") as other:
            other.write(Q_LINE[:-1])
        talk.append([A])
    assert path.read_bytes() == Q_LINE + Q_LINE + A_LINE


def test_no_path_no_transcript() -> None:
    with transcript.open_transcript(None, unexpected) as talk:
        assert talk is None
    assert transcript.read_messages(None, unexpected) is None


# Nothing is left of a call that failed


def call(path: Path, new: list[Any], error: BaseException) -> None:
    """Appends, and ends by error."""
    with opened(path) as talk:
        for message in new:
            talk.append([message])
        assert path.read_bytes().endswith(b'"}\n')
        raise error


PART = CannotWrite("cannot replace the file", place="out.txt")


@pytest.mark.parametrize("old", [b"", Q_LINE, Q_LINE[:-1]], ids=["new", "old", "old without an end"])
@pytest.mark.parametrize(
    "error",
    [PART, Interrupted(2), BrokenPipe("stdout"), ValueError()],
    ids=lambda error: type(error).__name__,
)
def test_appended_lines_are_taken_back_after_a_failure(path: Path, old: bytes, error: BaseException) -> None:
    if old:
        path.write_bytes(old)
    with pytest.raises(type(error)):
        call(path, [Q, A], error)
    assert path.exists() == bool(old)
    assert not old or path.read_bytes() == old


def test_calls_that_wait_for_results_stay(path: Path) -> None:
    fault = ChatpipeError("the model calls a tool")
    fault.status = Status.TOOL_CALLS
    with pytest.raises(ChatpipeError):
        call(path, [Q], fault)
    assert path.read_bytes() == Q_LINE


@pytest.mark.parametrize("is_link", [False, True])
def test_new_file_without_anything_appended_is_removed(path: Path, is_link: bool) -> None:
    if is_link:
        path.symlink_to("far.jsonl")
    with opened(path):
        assert path.exists()
    assert os.listdir() == (["t.jsonl"] if is_link else [])


def test_empty_file_of_the_user_stays(path: Path) -> None:
    path.touch()
    with opened(path) as talk:
        assert talk.messages() == []
    assert path.read_bytes() == b""


@pytest.mark.parametrize("again", [b"", Q_LINE], ids=["by an empty one", "by another"])
def test_file_that_replaced_ours_is_not_touched(path: Path, again: bytes) -> None:
    with opened(path) as talk:
        path.unlink()
        path.write_bytes(again)
        with pytest.raises(CannotWrite) as fault:
            talk.append([Q])
    assert str(fault.value) == "t.jsonl: was replaced during the call: nothing was appended"
    assert path.read_bytes() == again


def test_a_removed_file_is_reported(path: Path) -> None:
    path.write_bytes(Q_LINE)
    with opened(path) as talk:
        path.unlink()
        with pytest.raises(CannotWrite):
            talk.append([A])
    assert not path.exists()


@pytest.mark.parametrize("room", [0, 1, len(Q_LINE), len(Q_LINE) + 5])
def test_full_disk_leaves_the_file_as_it_was(path: Path, room: int) -> None:
    path.write_bytes(Q_LINE)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with opened(path) as talk:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(Q_LINE) + room, hard))
        try:
            with pytest.raises(CannotWrite) as fault:
                talk.append([Q, A])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (
        str(fault.value) == "t.jsonl: cannot append: file too large: raise the limit that 'ulimit -f' shows"
    )
    assert path.read_bytes() == Q_LINE


def test_disk_that_fails_late_leaves_the_file_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with opened(path) as talk, pytest.raises(CannotWrite):
        talk.append([Q])
    assert os.listdir() == []


# Reading it


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (b"{}", "t.jsonl:1: not a message: it has no 'role'"),
        (b'{"role":5}\n', "t.jsonl:1: not a message: it has no 'role'"),
        (b'{"a":"b"}\n', "t.jsonl:1: not a message: it has no 'role'"),
        (
            b'{"custom_id":"a","body":{}}\n',
            "t.jsonl:1: this is a Batch line, not a message: send it with chatpipe batch",
        ),
        (
            b"a note\n",
            "t.jsonl:1: plain text, not JSON: send it as a message with --user-file t.jsonl",
        ),
        (Q_LINE + b"\n5\n", "t.jsonl:3: a message is a JSON object, not a number"),
        (Q_LINE + b"{\n}\n", "t.jsonl:2: not JSON: "),
        (b"\0\0\n", "t.jsonl:1: not JSON: "),
        (b"\x1f\x8b\x08\0", "t.jsonl: gzip, not UTF-8 text: zcat t.jsonl > NEW makes text of it"),
        (Q_LINE.decode().encode("utf-16"), "t.jsonl: UTF-16, not UTF-8 text: iconv -f UTF-16"),
        (b'{"role":"\xff"}\n', "t.jsonl:1: not JSON: byte 0xff is not UTF-8 (column 10)"),
        (b" \n[" + Q_LINE + b"]", "t.jsonl: a transcript has a message on each line, not an array: "),
        (Q_LINE + b"no json", "t.jsonl:2: not JSON: "),
    ],
    ids=[
        *(
            "no role",
            "role",
            "member",
            "batch line",
            "text",
            "number",
            "torn inside",
            "NUL",
            "gzip",
            "UTF-16",
            "UTF-8",
        ),
        *("array", "no message"),
    ],
)
@pytest.mark.parametrize("how", ["opened", "read"])
def test_a_line_that_is_no_message_is_reported_with_its_place(
    path: Path, text: bytes, complaint: str, how: str
) -> None:
    path.write_bytes(text)
    with pytest.raises(BadInput) as bad:
        transcript.read_messages(str(path), unexpected) if how == "read" else values(path)
    assert str(bad.value).startswith(complaint)
    assert path.read_bytes() == text


TORN = [A_LINE[:cut] for cut in (1, 20, A_LINE.index(b"\xa4"), len(A_LINE) - 2)] + [b"\0" * 9]


@pytest.mark.parametrize("how", ["opened", "read"])
@pytest.mark.parametrize("torn", TORN, ids=["begun", "cut", "cut in a character", "nearly whole", "NULs"])
def test_a_line_that_a_kill_cut_off_is_left_out_with_a_note(path: Path, torn: bytes, how: str) -> None:
    path.write_bytes(Q_LINE + torn)
    notes: list[str] = []
    if how == "read":
        found = transcript.read_messages(str(path), notes.append)
    else:
        with transcript.open_transcript(str(path), notes.append) as talk:
            assert talk is not None
            found = talk.messages()
    assert [each.value for each in found or []] == [Q]
    assert notes == ["t.jsonl:2: was cut off when a call was killed: it is left out"]
    assert path.read_bytes() == Q_LINE + torn


@pytest.mark.parametrize("before", [Q_LINE, b""], ids=["behind a line", "alone"])
@pytest.mark.parametrize("torn", TORN, ids=["begun", "cut", "cut in a character", "nearly whole", "NULs"])
def test_what_is_appended_replaces_a_line_that_was_cut_off(path: Path, torn: bytes, before: bytes) -> None:
    path.write_bytes(before + torn)
    with opened(path) as talk:
        talk.append([Q, A])
    assert path.read_bytes() == before + Q_LINE + A_LINE


def test_places_are_lines_of_the_file(path: Path) -> None:
    path.write_bytes(b"\n" + Q_LINE + b" \n" + Q_LINE)
    with opened(path) as talk:
        assert [found.place("/content") for found in talk.messages()] == ["t.jsonl:2", "t.jsonl:4"]


def test_large_file_is_read_whole(path: Path) -> None:
    image = {"role": "user", "content": "x" * 3_000_000}
    with opened(path) as talk:
        talk.append([image, Q])
    assert values(path) == [image, Q]


def test_a_file_that_no_request_could_hold_is_not_read(path: Path) -> None:
    path.touch()
    os.truncate(path, 300 << 20)
    with pytest.raises(BadInput, match=r"has 314\.6 MB, more than the limit of 268 MB"):
        transcript.read_messages(str(path), unexpected)


def test_reading_makes_and_changes_nothing(path: Path) -> None:
    assert transcript.read_messages(str(path), unexpected) == []
    assert os.listdir() == []
    path.write_bytes(Q_LINE[:-1])
    path.chmod(0o400)
    assert [found.value for found in transcript.read_messages(str(path), unexpected) or []] == [Q]
    assert path.read_bytes() == Q_LINE[:-1]


def test_a_file_that_cannot_be_opened_is_reported(path: Path) -> None:
    """A link that leads to itself, as root may open anything else."""
    path.symlink_to(path)
    with pytest.raises(MissingInput) as missing:
        transcript.read_messages(str(path), unexpected)
    assert str(missing.value).startswith("--transcript: cannot read 't.jsonl': too many ")
    with pytest.raises(CannotWrite) as fault, opened(path):
        pass
    assert str(fault.value).startswith("t.jsonl: cannot write: too many ")


def test_a_missing_folder_is_reported(path: Path) -> None:
    with (
        refused(CannotWrite, "no/t.jsonl: cannot write: no such file or directory"),
        opened(Path("no/t.jsonl")),
    ):
        pass


# Several processes

# Appends its pair of lines in each of its turns, but gives up in every third.
_HAMMER = """
import sys
from pathlib import Path
from chatpipe.errors import CannotWrite
from chatpipe.conversation.transcript import open_transcript

def line(role, seen):
    return {"role": role, "content": f"{sys.argv[1]} {turn} {seen} " + "x" * turn * 500}

for turn in range(int(sys.argv[2])):
    try:
        with open_transcript("t.jsonl", lambda notice: None) as talk:
            seen = len(talk.messages())
            if turn % 3 == 0:
                raise CannotWrite("given up")
            talk.append([line("user", seen), line("assistant", seen)])
    except CannotWrite as fault:
        assert fault.what == "given up", fault
"""


def test_processes_at_once_lose_nothing_and_never_mix(path: Path) -> None:
    """Each sees all that was there before its own lines; the file comes and goes while it is new."""
    processes, turns = 8, 15
    command, pipes = [sys.executable, "-c", _HAMMER], {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    running = [
        subprocess.Popen([*command, str(number), str(turns)], **pipes)  # type: ignore[call-overload]
        for number in range(processes)
    ]
    said = [process.communicate()[0] for process in running]

    assert [process.returncode for process in running] == [0] * processes
    assert said == [b""] * processes
    lines = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    assert len(lines) == processes * 10 * 2
    for index in range(0, len(lines), 2):
        question, answer = lines[index : index + 2]
        assert (question["role"], answer["role"]) == ("user", "assistant")
        assert question["content"] == answer["content"]
        assert question["content"].split()[2] == str(index)
    done = {tuple(line["content"].split()[:2]) for line in lines}
    assert done == {
        (str(number), str(turn)) for number in range(processes) for turn in range(turns) if turn % 3
    }


# Makes a new file or finds one, and gives it up.
_COMES_AND_GOES = """
from chatpipe.conversation.transcript import open_transcript
for _ in range(200):
    with open_transcript("t.jsonl", print) as talk:
        assert talk.messages() == []
"""


def test_new_file_may_come_and_go_in_many_processes(path: Path) -> None:
    running = [subprocess.Popen([sys.executable, "-c", _COMES_AND_GOES]) for _ in range(4)]
    assert [process.wait() for process in running] == [0] * 4
    # A file that one process made and another locked first is given up by neither as its own.
    assert not path.exists() or path.read_bytes() == b""


_HOLDS = """
import sys
from chatpipe.conversation.transcript import open_transcript
with open_transcript("t.jsonl", print) as talk:
    print("locked", flush=True)
    sys.stdin.read()
    talk.append([{"role": "user", "content": "q"}])
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["kill -9", "SIGTERM"])
def test_killed_process_leaves_the_file_and_no_lock(path: Path, number: signal.Signals) -> None:
    path.write_bytes(A_LINE)
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"locked\n"
        process.send_signal(number)
        process.wait()
    assert path.read_bytes() == A_LINE
    assert values(path) == [A]
