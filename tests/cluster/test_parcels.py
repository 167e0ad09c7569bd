"""Requests and replies in blocks of bytes."""

from __future__ import annotations

from typing import Any

import pytest

from chatpipe.cluster.parcels import (
    Parcel,
    Template,
    WorkerReply,
    read_parcels,
    read_replies,
    write_parcels,
    write_replies,
)
from chatpipe.cluster.plain_faults import read_fault, write_fault
from chatpipe.errors import BadConfiguration, ChatpipeError, MissingInput, NoAccess, Unreachable, UsageFault


def pair(*texts: str) -> Any:
    """A name and a value as JSON has them."""
    return list(texts)


LIMITS_S = [10.0, 600.0, 600.0, 10.0]
PLAIN = Template(0, "POST", "/v1/chat/completions", None, True, [], [pair("Host", "h")], LIMITS_S, 64)
GET = Template(1, "GET", "/metrics", "", False, ["content-type"], [], [None] * 4, None, 2)

PARCELS = {
    "one": [Parcel(1, PLAIN, None, b'{"a":1}', False)],
    "two kinds, one without a body": [
        Parcel(7, PLAIN, 1.5, b"\x00\xff", False),
        Parcel(8, GET, 0.0, b"", False),
        Parcel(9, PLAIN, None, b"{}", True),
    ],
    "none": [],
}


@pytest.mark.parametrize("parcels", PARCELS.values(), ids=PARCELS)
def test_requests_arrive_as_they_were(parcels: list[Parcel]) -> None:
    assert read_parcels(write_parcels(parcels, (3, 4))) == (parcels, [3, 4])


REPLIES = [
    WorkerReply(1, 200, [pair("content-type", "application/json")], b'{"choices":[]}'),
    WorkerReply(2, None, [], failure="refused", reason="Connection refused"),
    WorkerReply(3, 200, [], b"data: 1\n\n", "cut", "", True),
    WorkerReply(5, None, [], failure="reset", reason="", has_lost_kept=True),
    WorkerReply(4, 500, [], b"\xff\xfe"),
]


def test_replies_arrive_as_they_were() -> None:
    assert read_replies(write_replies(REPLIES)) == REPLIES


@pytest.mark.parametrize("kind", [BadConfiguration, MissingInput, NoAccess, Unreachable])
def test_a_fault_arrives_as_it_was(kind: type[ChatpipeError]) -> None:
    fault = read_fault(write_fault(kind("no key", place="--key-file", fix="give one")))
    assert (type(fault), str(fault)) == (kind, "--key-file: no key: give one")


def test_a_fault_of_another_kind_is_one_of_the_settings() -> None:
    assert read_fault(write_fault(UsageFault("not a header"))).status == BadConfiguration.status
