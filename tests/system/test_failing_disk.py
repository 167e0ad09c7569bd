"""Commands on a disk that fails in one system call: some points of those that `make soak` tries all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.disk.disk_points import SCENARIOS, Lab, Point, laboratory, violations

ASK = "ask -o, replaced"
BATCH = "batch -o, resumed"
# scenario, the call that fails, the fault, and whether all later calls fail too
POINTS = (
    (ASK, "access of out", "EIO", False),
    (ASK, "lstat of out", "ESTALE", False),
    (ASK, "close of .out.chatpipe-*", "late EINTR", False),
    (ASK, "replace of .out.chatpipe-*", "late EIO", False),
    (ASK, "fsync of .out.chatpipe-*", "ESTALE", True),
    ("ask -o, cut off", "fstat of .out.chatpipe-*", "EINTR", False),
    ("ask -o, cut off", "replace of .out.chatpipe-*", "late EIO", False),
    ("ask, to stdout", "fstat of stdin", "ESTALE", False),
    ("ask --transcript", "stat of chat", "EIO", True),
    ("ask --transcript", "close of chat", "late EIO", False),
    ("ask --pace-file", "flock of pace", "ESTALE", True),
    (BATCH, "pread of out.journal", "short", True),
    (BATCH, "fstat of in.jsonl", "EINTR", False),
    (BATCH, "dup of out.journal", "EMFILE", False),
    (BATCH, "write of out.journal", "ENOSPC", True),
    (BATCH, "write of out.journal", "torn EIO", False),
    (BATCH, "pwrite of .out.journal.chatpipe-*", "EDQUOT", False),
    (BATCH, "open of .out.journal.chatpipe-*", "EACCES", False),
    (BATCH, "read of in.jsonl", "EIO", True),
    ("batch --errors --report", "write of out.journal", "ESTALE", True),
    ("map -o", "write of out.journal", "ENOSPC", True),
    ("show", "write of stdout", "ESTALE", True),
    ("batch --pace-file", "pwrite of pace", "EIO", False),
)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with laboratory(tmp_path_factory.mktemp("disk")) as found:
        yield found


@pytest.mark.parametrize(("name", "call", "fault", "lasting"), POINTS)
def test_a_call_that_fails_is_told_and_loses_nothing(
    name: str, call: str, fault: str, lasting: bool, lab: Lab
) -> None:
    """At the first and at the last such call of the command."""
    scenario = next(each for each in SCENARIOS if each.name == name)
    calls, good = lab.calls(scenario)
    numbers = [at for at, each in enumerate(calls, 1) if Path(" of ".join(each.split()[:2])).match(call)]
    assert numbers, calls
    for at in {numbers[0], numbers[-1]}:
        assert violations(lab, Point(scenario, at, call, fault, lasting), good) == []
