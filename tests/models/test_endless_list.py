"""A list of models whose pages never end."""

from __future__ import annotations

from itertools import count

from support.process import run
from support.servers.loopback import Answer, Request, reply, serve


def test_a_list_without_an_end_is_given_up() -> None:
    numbers = count()

    def handler(_: Request) -> Answer:
        id_ = f"m{next(numbers)}"
        return reply(200, {"data": [{"id": id_}], "has_more": True, "last_id": id_})

    with serve(handler) as server:
        done = run("models", "--base-url", f"{server.origin}/v1")
    assert (done.status, done.stdout, len(server.requests)) == (76, b"", 100)
    assert b"the list of models has no end: 100 pages came, and each names another one: check" in done.stderr
