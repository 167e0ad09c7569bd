"""The relay's words for clusters and machines that do not fit."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import Any

import pytest
import ray

import chatpipe
from chatpipe.cluster import relay
from chatpipe.cluster.frames import FrameKind, write_frame
from chatpipe.cluster.plain_faults import read_fault
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
    fault = relay._fault_of(RuntimeError(words), "h:1")
    assert (fault.status, str(fault)) == (status, text)


def fault_of_a_worker(version: str) -> str:
    """What a machine says to a run with this version of chatpipe."""
    fault = read_fault(asyncio.run(relay._WorkerActor(b"", version).open()))
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


class Head(asyncio.StreamWriter):
    """The head of a cluster, which does not answer before the relay has reported that."""

    def __init__(self) -> None:
        self.has_been_reported = threading.Event()
        self.reports: list[bytes] = []

    def nodes(self) -> list[dict[str, str]]:
        assert self.has_been_reported.wait(20)
        return [{"NodeID": "n"}]

    def write(self, data: Any) -> None:
        self.reports.append(data)
        self.has_been_reported.set()

    def __del__(self) -> None:
        """Do nothing: there is no transport to close."""


def test_a_head_that_does_not_answer_is_reported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    head = Head()
    monkeypatch.setattr(ray, "nodes", head.nodes)
    monkeypatch.setattr(relay, "_HEAD_SILENCE_S", 0.01)
    running = relay.Relay({"socket": "", "version": ""}, b"", head)
    assert asyncio.run(running._list_nodes()) == [{"NodeID": "n"}]
    assert head.reports == [
        write_frame(FrameKind.WARNING, text)
        for text in (
            b"the head of the Ray cluster does not answer: the workers go on without it for a minute",
            b"the head of the Ray cluster answers again",
        )
    ]
