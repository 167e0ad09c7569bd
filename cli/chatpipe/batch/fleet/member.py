"""One of several servers of a run, and what the run knows about it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from chatpipe.batch.fleet.line_tries import LineTries
from chatpipe.batch.sender import Sender
from chatpipe.errors import PausedTooLong
from chatpipe.limits.balance import Load
from chatpipe.limits.health import Health
from chatpipe.limits.run_pacer import RunPacer
from chatpipe.server.server import Server


class Begun:
    """An attempt at the server by a task. is_abandoned: it ends because the server is given up."""

    __slots__ = ("_has_ended", "_task", "is_abandoned", "started")

    def __init__(self, started: float, task: asyncio.Task[object]) -> None:
        self.started = started
        self.is_abandoned = False
        self._task = task
        self._has_ended = False

    def end(self) -> None:
        self._has_ended = True

    def abandon(self) -> None:
        """End the attempt by a CancelledError, unless it ends before."""
        if not self._has_ended:
            self.is_abandoned = True
            self._task.cancel()

    def was_cancelled_here(self) -> bool:
        """Take back the cancellation by abandon(). False if the task was cancelled by others."""
        return self.is_abandoned and not self._task.uncancel()


class Member:
    """A server of the run. Records call it name. lacks_model: it has another model than was asked for."""

    __slots__ = (
        *("_begun", "_heard", "_said", "health", "lacks_model", "load", "name", "pacer"),
        *("sender", "server"),
    )

    def __init__(self, name: str, server: Server, sender: Sender, pacer: RunPacer, load: Load) -> None:
        self.name = name
        self.server = server
        self.sender = sender
        self.pacer = pacer
        self.load = load
        self.health = Health()
        self.lacks_model = False
        self._heard = 0.0  # time of its last word
        self._begun: dict[LineTries, Begun] = {}
        self._said: set[str] = set()

    @property
    def index(self) -> int:
        return self.load.index

    @property
    def takes_part(self) -> bool:
        return not (self.health.is_out or self.lacks_model)

    def begin(self, tries: LineTries, now: float) -> Begun:
        """Count an attempt of the current task that goes to the server."""
        task = asyncio.current_task()
        assert task is not None
        self._begun[tries] = begun = Begun(now, task)
        return begun

    def end(self, tries: LineTries) -> None:
        """Count an attempt that is over."""
        self._begun.pop(tries).end()
        self._heard = max(self._heard, tries.heard)

    def silent_s(self, now: float) -> float:
        """Seconds since the server last sent anything, 0 if it has no requests."""
        if not self._begun:
            return 0.0
        oldest = next(iter(self._begun.values()))
        heard = max(self._heard, *(tries.heard for tries in self._begun))
        return max(0.0, now - max(oldest.started, heard))

    def abandon(self) -> None:
        """End all attempts at the server: their lines are sent to others.

        A line that was lost before stays: it may be what keeps servers so busy that they say nothing.
        """
        # Soon: an answer that has arrived already is taken first.
        soon = asyncio.get_running_loop().call_soon
        for tries, begun in self._begun.items():
            if not tries.was_lost:
                soon(begun.abandon)

    def pause_fault(self) -> PausedTooLong | None:
        """The fault of a server that pauses longer than --max-pause."""
        return self.pacer.rate.pause_fault(self.pacer.max_pause_s)

    def is_first_time(self, event: str) -> bool:
        """True if this is the first time that the event happens to the server."""
        is_first = event not in self._said
        self._said.add(event)
        return is_first


class FleetPauses:
    """The pauses of all servers as those of one run. See Pauses."""

    def __init__(self, members: Sequence[Member]) -> None:
        self._members = members

    @property
    def pauses(self) -> int:
        return sum(each.pacer.rate.pauses for each in self._members)

    @property
    def repeats(self) -> int:
        return sum(each.pacer.rate.repeats for each in self._members)

    @property
    def pause_reason(self) -> str:
        """The reason of the server whose pause ends first."""
        rates = [each.pacer.rate for each in self._waited_for()]
        return min(rates, key=lambda rate: rate.pause_left(0.0)).pause_reason if rates else ""

    def pause_left(self, now: float) -> float:
        """Seconds until the pause of a server that lines wait for ends."""
        return min((each.pacer.rate.pause_left(now) for each in self._waited_for()), default=0.0)

    def postponed_s(self, now: float) -> float:
        """The length of all pauses so far of all servers, and what is left of the one of all."""
        rates = [each.pacer.rate for each in self._members]
        return sum(rate.postponed_s(now) - rate.pause_left(now) for rate in rates) + self.pause_left(now)

    def pause_fault(self, max_pause_s: float) -> PausedTooLong | None:
        """The fault of a run whose servers all pause for longer, those that are left out aside."""
        faults = [each.pause_fault() for each in self._in()]
        return faults[0] if faults and None not in faults else None

    def _in(self) -> list[Member]:
        return [each for each in self._members if each.takes_part]

    def _waited_for(self) -> list[Member]:
        """The servers that lines wait for. One that is held back gets a line now and then, pause or not."""
        taking_part = self._in()
        return [each for each in taking_part if each.health.is_sound] or taking_part


class FleetLimit:
    """The limit of `-j auto`: what each server can use, together, and at most most. See Capacity."""

    __slots__ = ("_members", "_most")

    def __init__(self, members: Sequence[Member], most: int) -> None:
        self._members = members
        self._most = most

    @property
    def limit(self) -> int:
        room = sum(each.pacer.concurrency.limit for each in self._members if each.takes_part)
        return max(1, min(self._most, room))
