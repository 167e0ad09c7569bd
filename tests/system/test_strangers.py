"""Files of other users: refused in a folder where everybody may put some, and nowhere else."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import orjson
import pytest

from chatpipe.errors import CannotWrite
from chatpipe.system.strangers import refuse_stranger
from support.parametrize import cases
from support.process import run

ME, ROOT, STRANGER, OTHER = 1000, 0, 1001, 1002
PUBLIC, SHARED, GROUP, OWN = 0o1777, 0o777, 0o1770, 0o755


def status(owner: int, mode: int) -> os.stat_result:
    return os.stat_result((mode, 1, 1, 1, owner, 0, 0, 0, 0, 0))


@cases(
    ("owner", "folder", "is_refused"),
    {
        "mine": (ME, (ROOT, PUBLIC), False),
        "root's": (ROOT, (OTHER, PUBLIC), False),
        "a stranger's": (STRANGER, (ROOT, PUBLIC), True),
        "a stranger's, in a public folder of mine": (STRANGER, (ME, PUBLIC), True),
        "that of the folder's owner": (STRANGER, (STRANGER, PUBLIC), False),
        "a stranger's, where all replace each other's files": (STRANGER, (ROOT, SHARED), False),
        "a stranger's, among a group": (STRANGER, (ROOT, GROUP), False),
        "a stranger's, in a folder of mine": (STRANGER, (ME, OWN), False),
        "one of a mount that shows no owners": (65534, (65534, PUBLIC), False),
    },
)
def test_owner_and_folder_decide(
    monkeypatch: pytest.MonkeyPatch, owner: int, folder: tuple[int, int], is_refused: bool
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: ME)
    monkeypatch.setattr(os, "stat", lambda path: status(folder[0], stat.S_IFDIR | folder[1]))
    refusal = (
        "/shared/file: belongs to another user, in a folder where everybody may put files: "
        "name a file in a folder of your own"
    )
    expectation = pytest.raises(CannotWrite, match=refusal) if is_refused else nullcontext()
    with expectation:
        refuse_stranger("/shared/file", status(owner, stat.S_IFREG | 0o644))


def test_folder_is_that_which_a_link_leads_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    public = tmp_path / "public"
    public.mkdir()
    public.chmod(0o1777)
    (public / "file").touch()
    (tmp_path / "link").symlink_to(public / "file")
    monkeypatch.setattr(os, "geteuid", lambda: ME)
    with pytest.raises(CannotWrite):
        refuse_stranger(str(tmp_path / "link"), status(STRANGER, stat.S_IFREG | 0o644))


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder like /tmp. It is of root, or of the user who runs the tests."""
    path = Path(tempfile.mkdtemp(prefix="chatpipe-test-"))
    path.chmod(0o1777)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def lay(public: Path) -> Callable[[str], Path]:
    """Lays a file that a stranger has prepared."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")

    def lay(name: str) -> Path:
        path = public / name
        path.touch()
        path.chmod(0o666)
        os.chown(path, STRANGER, STRANGER)
        return path

    return lay


ASK = ("ask", "-p", "echo")
BATCH = ("batch", "-", "-p", "echo")


@cases(
    ("name", "words"),
    {
        "a transcript": ("talk", (*ASK, "--transcript", "{}", "hi")),
        "a transcript that is only read": ("talk", ("build", "-m", "m", "--transcript", "{}", "hi")),
        "recordings": ("taken", (*ASK, "--record", "{}", "hi")),
        "an output": ("out", (*ASK, "-o", "{}", "hi")),
        "a pace file": ("pace", (*ASK, "--pace-file", "{}", "hi")),
        "a journal": ("out.journal", (*BATCH, "-o", "out")),
        "a journal that is only read": ("out.journal", (*BATCH, "-o", "out", "--dry-run")),
        "the output of a run": ("out", (*BATCH, "-o", "{}")),
        "failures": ("errors", (*BATCH, "--errors", "{}")),
        "a log of requests": ("log", ("serve", "--log", "{}")),
        "a report": ("report", (*BATCH, "--report", "{}")),
        "jobs": ("in.jsonl.jobs", ("jobs", "submit", "in.jsonl", "--base-url", "http://localhost:9")),
    },
)
def test_a_stranger_neither_gives_answers_nor_gets_prompts(
    public: Path, lay: Callable[[str], Path], name: str, words: tuple[str, ...]
) -> None:
    path = lay(name)
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
    line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body}
    (public / "in.jsonl").write_bytes(orjson.dumps(line) + b"\n")
    done = run(*(word.format(path) for word in words), stdin=b'"Hi"\n' if "-" in words else b"", cwd=public)
    assert (done.status, done.stdout) == (74, b"")
    assert b"belongs to another user, in a folder where everybody may put files" in done.stderr
    assert (path.read_bytes(), path.stat().st_uid) == (b"", STRANGER)
