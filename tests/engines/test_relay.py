"""The relay's words for clusters and machines that do not fit."""

from __future__ import annotations

import asyncio
import sys

import pytest
import ray

import chatpipe
from chatpipe.cluster import ray_api
from chatpipe.cluster.plain_faults import read_fault
from chatpipe.cluster.worker_actor import WorkerActor
from chatpipe.errors import Status

THERE = "Ray 2.41.0, Python 3.12.1"
HERE = f"Ray {ray.__version__}, Python {sys.version.split()[0]}"
# As Ray 2.60 says it.
MISMATCH = """Version mismatch: The cluster was started with:
    Ray: 2.41.0
    Python: 3.12.1
This process on node 192.0.2.2 was started with:
    Ray: 2.60.0
    Python: 3.11.7
"""
FAULTS = {
    "other versions": (
        MISMATCH,
        Status.BAD_CONFIGURATION,
        f"--engine: the cluster at 'h:1' has {THERE}, and here is {HERE}: use the same versions",
    ),
    "nothing known": (
        "Failed to connect.\nA page of advice.",
        Status.UNREACHABLE,
        "--engine: cannot join the cluster at 'h:1': Failed to connect: run ray status on this machine",
    ),
}


@pytest.mark.parametrize(("words", "status", "text"), FAULTS.values(), ids=FAULTS)
def test_why_a_cluster_cannot_be_joined(words: str, status: Status, text: str) -> None:
    fault = ray_api._fault_of(RuntimeError(words), "h:1")
    assert (fault.status, str(fault)) == (status, text)


def fault_of_a_worker(version: str) -> str:
    """What a machine says to a run with this version of chatpipe."""
    fault = read_fault(asyncio.run(WorkerActor(b"", version).open()))
    assert fault.status == Status.BAD_CONFIGURATION
    return str(fault)


def test_a_machine_with_another_version() -> None:
    text = fault_of_a_worker("0.1")
    assert text.endswith(
        f" has chatpipe {chatpipe.__version__}, and this is 0.1: install the same version there"
    )


def test_a_machine_without_chatpipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "chatpipe", None)
    text = fault_of_a_worker("0.1")
    assert text.startswith("no chatpipe on the node '")
    assert text.endswith("): install chatpipe 0.1 there")
