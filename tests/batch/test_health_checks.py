"""Signs of life: servers that were down, and servers that fall silent with requests in flight."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import httpx

from chatpipe.batch.fleet.health_checks import HealthChecks
from chatpipe.batch.fleet.line_tries import LineTries
from chatpipe.batch.fleet.member import Begun, Member
from chatpipe.exchange import ExchangeContext
from chatpipe.limits.balance import Load
from chatpipe.limits.health import Health
from chatpipe.options.server import ServerOptions
from chatpipe.server import endpoints
from chatpipe.server.server import open_servers
from support.parametrize import cases

URL = "http://127.0.0.1:8000/v1"
SERVER, *_ = open_servers(
    endpoints.resolve_endpoints(ServerOptions(base_urls=(URL,)), {}), ServerOptions(), {}
)


class Fleet:
    """A dispatcher with one server that is there or not, and silent for silent_s; in virtual time."""

    def __init__(self, *, is_there: bool, silent_s: float = 0.0, longest_s: float = 0.1) -> None:
        self.now = 0.0
        self.asked: list[str] = []
        self.done: list[str] = []
        self.longest_s = longest_s
        self._is_there = is_there
        context = ExchangeContext(
            httpx.MockTransport(self._reply), self._sleep, print, monotonic=lambda: self.now
        )
        self.health = Health()
        self.members = [
            SimpleNamespace(
                index=0,
                server=SERVER,
                health=self.health,
                pacer=SimpleNamespace(context=context),
                silent_s=lambda now: silent_s,
                abandon=lambda: self.done.append("abandoned"),
            )
        ]

    def leave_out(self, member: Any, fault: Exception, *, is_down: bool) -> None:
        self.done.append(str(fault))
        self.health.leave_out(self.now, is_down=is_down)

    def update(self) -> None:
        self.done.append("update")

    def watch(self, seconds: float) -> list[str]:
        """Check for so many seconds of virtual time. Returns the URLs that were asked."""

        async def watch() -> None:
            checks: Any = HealthChecks(self)  # type: ignore[arg-type]  # all that it needs of a dispatcher
            task = asyncio.create_task(checks.run())
            while self.now < seconds:
                await asyncio.sleep(0)
            task.cancel()

        asyncio.run(watch())
        return self.asked

    async def _sleep(self, seconds: float) -> None:
        self.now += seconds
        for _ in range(50):  # a check that is under way ends meanwhile
            await asyncio.sleep(0)

    async def _reply(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(str(request.url))
        if not self._is_there:
            raise httpx.ConnectError("refused", request=request)
        return httpx.Response(404, stream=httpx.ByteStream(b"no such page"))


def test_a_server_that_takes_part_is_left_alone() -> None:
    assert Fleet(is_there=True).watch(60) == []


def test_one_that_was_down_is_asked_until_it_replies_whatever_it_says() -> None:
    fleet = Fleet(is_there=True)
    fleet.health.leave_out(0.0, is_down=True)
    assert fleet.watch(10) == [f"{URL}/models"]
    assert fleet.health.wants_trial(fleet.now)
    assert fleet.done == ["update"]


def test_one_that_stays_down_is_asked_after_longer_and_longer_waits() -> None:
    fleet = Fleet(is_there=False)
    fleet.health.leave_out(0.0, is_down=True)
    assert len(fleet.watch(64)) in (5, 6)
    assert fleet.done == []


@cases(
    "silent_s, longest_s, is_there, asks, is_out",
    {
        "for a moment": (1.0, 0.1, False, False, False),
        "and nobody has answered yet": (90.0, 0.0, False, False, False),
        "and it is there": (6.0, 0.1, True, True, False),
        "and it gives no sign of life": (6.0, 0.1, False, True, True),
        "as long as answers take": (30.0, 10.0, False, False, False),
    },
)
def test_a_silent_server_is_asked_and_left_out_if_it_does_not_answer(
    silent_s: float, longest_s: float, *, is_there: bool, asks: bool, is_out: bool
) -> None:
    fleet = Fleet(is_there=is_there, silent_s=silent_s, longest_s=longest_s)
    assert bool(fleet.watch(0.6)) is asks
    assert fleet.health.is_out is fleet.health.is_down is is_out
    assert fleet.done == (["no answer for 6 s", "abandoned"] if is_out else [])


def test_a_line_is_taken_from_a_silent_server_once() -> None:
    async def abandoned() -> list[str]:
        unused: Any = None
        member = Member("a", SERVER, unused, unused, Load(0))

        async def attempt(*, was_lost: bool, takes: int) -> str:
            tries = LineTries(lambda: 0.0)
            tries.was_lost = was_lost
            begun = member.begin(tries, 0.0)
            try:
                for _ in range(takes):
                    await asyncio.sleep(0)
            except asyncio.CancelledError:
                assert begun.was_cancelled_here()
                return "abandoned"
            finally:
                member.end(tries)
            return "answered"

        attempts = asyncio.gather(
            attempt(was_lost=False, takes=9),
            attempt(was_lost=True, takes=9),
            attempt(was_lost=False, takes=1),  # its answer has come
        )
        await asyncio.sleep(0)
        member.abandon()
        return list(await attempts)

    assert asyncio.run(abandoned()) == ["abandoned", "answered", "answered"]


def test_a_cancelled_attempt_of_a_server_that_is_given_up_stays_cancelled() -> None:
    async def cancelled() -> bool:
        task = asyncio.current_task()
        assert task is not None
        begun = Begun(0.0, task)
        begun.abandon()
        task.cancel()
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            return not begun.was_cancelled_here()
        return False

    assert asyncio.run(cancelled())


def test_a_silent_server_that_is_there_is_not_asked_again_at_once() -> None:
    assert len(Fleet(is_there=True, silent_s=6.0).watch(3.0)) == 1
