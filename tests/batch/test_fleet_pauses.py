"""The pauses of several servers as those of one run: which of them its lines wait for."""

from __future__ import annotations

from typing import Any

from chatpipe.batch.fleet.member import FleetPauses, Member
from chatpipe.limits.balance import Load
from chatpipe.limits.health import IN_A_ROW
from chatpipe.limits.rate import RateLimiter
from chatpipe.wire.retry import FailedAttempt
from support.parametrize import cases


class _Pacer:
    """All that the pauses need of a pacer: a server that asks for pause_s at 0."""

    max_pause_s = 600.0

    def __init__(self, pause_s: float) -> None:
        self.rate = RateLimiter(random=lambda: 0.0)
        if pause_s:
            self.rate.observe_refusal(FailedAttempt(429, {"retry-after": str(pause_s)}), 0.0, 0.0, 0)


def server(pause_s: float, failures: int = 0, *, is_out: bool = False) -> Member:
    unused: Any = None
    pacer: Any = _Pacer(pause_s)
    member = Member("a", unused, unused, pacer, Load(0))
    for _ in range(failures):
        member.health.fail(0.0)
    if is_out:
        member.health.leave_out(0.0, is_down=True)
    return member


@cases(
    "members, left_s, reason",
    {
        "no pause": ([server(0), server(20)], 0, ""),
        "the shortest": ([server(30), server(20)], 20, "429"),
        "one that is left out does not count": ([server(0, is_out=True), server(20)], 20, "429"),
        "one that is held back gets no lines": ([server(0, IN_A_ROW), server(20)], 20, "429"),
        "one that has failed less still does": ([server(0, IN_A_ROW - 1), server(20)], 0, ""),
        "all are held back": ([server(0, IN_A_ROW), server(20, IN_A_ROW)], 0, ""),
        "all are left out": ([server(20, is_out=True)], 0, ""),
    },
)
def test_a_run_pauses_as_long_as_the_servers_that_its_lines_wait_for(
    members: list[Member], left_s: float, reason: str
) -> None:
    pauses = FleetPauses(members)
    assert (pauses.pause_left(0.0), pauses.pause_reason) == (left_s, reason)
