"""The pauses between the turns of one call."""

from __future__ import annotations

import httpx
import pytest

from chatpipe.exchange import ExchangeContext, run_without_loop
from chatpipe.limits.turn_pause import TurnPause
from support.parametrize import cases
from support.process import run
from support.servers.loopback import Answer, Request, completion, reply, serve


def left(requests: int, reset: str) -> dict[str, str]:
    return {"x-ratelimit-remaining-requests": str(requests), "x-ratelimit-reset-requests": reset}


@cases(
    "status, headers, waits_s, notes",
    {
        "no headers": (200, {}, [], 0),
        "one request is left": (200, left(1, "30s"), [], 0),
        "none is left": (200, left(0, "30s"), [30], 1),
        "none for a moment": (200, left(0, "20ms"), [0.02], 0),
        "none for longer than a call waits": (200, left(0, "24h0m0s"), [], 0),
        "no tokens": (
            200,
            {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "5s"},
            [5],
            1,
        ),
        "a refusal has a delay of its own": (429, left(0, "30s"), [], 0),
    },
)
def test_next_turn_waits_for_the_limit_of_the_reply_before(
    status: int, headers: dict[str, str], waits_s: list[float], notes: int
) -> None:
    slept: list[float] = []
    said: list[str] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    pause = TurnPause(
        ExchangeContext(httpx.MockTransport(lambda _: httpx.Response(200)), sleep, said.append), 120.0
    )
    run_without_loop(pause.before_attempt())
    assert slept == []
    pause.on_reply(status, headers)
    run_without_loop(pause.before_attempt())
    assert slept == pytest.approx(waits_s, abs=0.5)
    assert len(said) == notes


def test_reask_waits_for_the_limit() -> None:
    def handler(request: Request) -> Answer:
        return reply(200, completion('{"mood": 1}' if len(server.requests) > 1 else "{}"), left(0, "0.4s"))

    with serve(handler) as server:
        arguments = (
            "--base-url",
            server.url,
            "-m",
            "m",
            "--schema-fields",
            "mood int",
            "--reask",
            "1",
            "Hello",
        )
        status, stdout, _ = run("ask", *arguments)
    first, second = (request.at for request in server.requests)
    assert (status, stdout) == (0, b'{"mood": 1}\n')
    assert second - first >= 0.4
