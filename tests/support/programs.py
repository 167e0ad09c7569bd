"""Programs that are not ours and that a test needs."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

_NAMES = ("curl", "fzf", "git", "jq", "make", "parallel", "systemd-analyze", "timeout", "xargs")


def program(name: str) -> str:
    """The path of a program. Where it is missing the test is skipped, or fails with CHATPIPE_TEST_ALL set."""
    found = shutil.which(name)
    if found is None:
        missing(f"no program '{name}' on PATH")
    return found


def find_programs(commands: str) -> None:
    """Skip a test whose commands need one of the programs that a machine may lack."""
    for name in _NAMES:
        if re.search(rf"\b{name}\b", commands):
            program(name)


def node_with(script: Path) -> str:
    """The path of Node.js. The test is skipped where it is missing, or this script of a package of npm.

    It is skipped even with CHATPIPE_TEST_ALL set: what needs Node.js is tried only where that is there.
    """
    node = shutil.which("node")
    if node is None or not script.is_file():
        pytest.skip(f"no Node.js with '{script}'")
    return node


def missing(what: str) -> NoReturn:
    """Skip the test for what the machine lacks, or fail where nothing may be skipped."""
    if os.environ.get("CHATPIPE_TEST_ALL"):
        pytest.fail(what)
    pytest.skip(what)
