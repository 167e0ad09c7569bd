"""The sender of a run over several servers: each attempt goes to the least loaded one that may take it.

    line -> server with room -> one attempt -> answered
               ^                    |
               +-- next server <----+-> every server failed: a try is over -> wait -> next round

LineTries says what a failure means, Health which servers are left out, Balance which one is next, ModelLists
which have the model. A server with a pause or a full window is passed over, and its lines go to others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from chatpipe.batch.engine import RunRequest
from chatpipe.batch.failures import FailureNotice
from chatpipe.batch.fleet.line_tries import ANSWERED, Diagnosis, LineTries, ServerFailure
from chatpipe.batch.fleet.member import Member
from chatpipe.batch.fleet.model_lists import ModelLists
from chatpipe.batch.fleet.room_signal import RoomSignal
from chatpipe.batch.fleet.run_rate import RunRate
from chatpipe.errors import ChatpipeError, NoServerLeft, Unreachable, quantity
from chatpipe.exchange import ExchangeContext
from chatpipe.limits.balance import Balance, Load
from chatpipe.limits.run_pacer import RunWaits
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.server import RetryPolicy
from chatpipe.wire import retry
from chatpipe.wire.answer import Answer, TimedAnswer
from chatpipe.wire.retry import GiveUp, GiveUpReason, RetryAfter

# An answer of these is the end of its line, and says nothing good of its server.
_USELESS = {Diagnosis.BROKEN: "broken", Diagnosis.EMPTY: "empty"}
# Seconds after which a line that waits looks again for a server that may be tried, while one is left out.
_LOOK_S = 0.5


class DispatchSetup(NamedTuple):
    """The parts of a run that its servers share.

    context has the clocks and the messages, rate the limits per minute of the run. note prints that a server
    is left out or back. models is None if nobody is asked for them.
    """

    context: ExchangeContext
    waits: RunWaits
    policy: RetryPolicy
    rate: RunRate
    notice: FailureNotice
    note: Callable[[str], None]
    models: ModelLists | None = None


class _Slot(NamedTuple):
    """A server that has room for an attempt, and the tokens that are reserved for it."""

    member: Member
    reserved: int


class Dispatcher:
    """Sends each request of a run to one of several servers. See RequestSender.

    longest_s is the time of the longest good answer so far, in seconds.
    """

    def __init__(self, members: Sequence[Member], balance: Balance, setup: DispatchSetup) -> None:
        self.members = members
        self.longest_s = 0.0
        self._room = RoomSignal(setup.waits)
        self._balance = balance
        self._setup = setup
        self._clock = setup.context.monotonic
        self._queue = asyncio.Lock()
        self._queued = 0  # lines in the queue, with the first
        self._sound: list[Load] = []
        self.update()

    def stop(self) -> None:
        """Send nothing more. This cancels what waits for a server, a pause or another attempt."""
        self._setup.waits.stop()

    def update(self) -> None:
        """Take over the health of the servers, which has changed."""
        self._sound = [each.load for each in self.members if each.health.is_sound]
        self._room.notify()

    def _take_over(self, member: Member) -> bool:
        """Take over the health of a server. Returns True if it became sound, or no longer is."""
        has_changed = member.health.is_sound is not (member.load in self._sound)
        if has_changed:
            self.update()
        return has_changed

    async def send(self, request: RunRequest) -> TimedAnswer:
        """Send a request, to one server after the other if need be, until its answer is final."""
        tries, models = LineTries(self._clock), self._setup.models
        if models is not None:
            if not models.are_known:
                await models.read()
            tries.lacking = models.lacking(request.body.get("model"))
        while True:
            slot = self._slot_now(request, tries) or await self._wait_in_queue(request, tries)
            if slot is None:
                final, latency_s = await self._end_round(request, tries), 0.0
            else:
                answer, latency_s = await self._attempt(slot, request, tries)
                final = self._judge(slot.member, tries, answer, latency_s)
            if final is not None:
                if self._setup.context.detail is not None:
                    self._setup.context.detail(f"line {request.line}: the answer is from '{final.server}'")
                return final, latency_s

    # The server of the next attempt

    def _slot_now(self, request: RunRequest, tries: LineTries) -> _Slot | None:
        """The slot of the first attempt of a line that nothing holds up, None if it has to queue."""
        if self._queued or tries.failures or self._setup.waits.may_wait_for_start:
            return None
        now = self._clock()
        member, _ = self._find(tries, now)
        if member is None:
            return None
        tokens, wait_s = self._setup.rate.reserve(request.body, now, None)
        return None if wait_s else self._take(member, tokens, now)

    def _take(self, member: Member, tokens: int, now: float) -> _Slot:
        self._balance.start(member.load, now)
        member.health.on_trial = not member.health.is_sound
        return _Slot(member, tokens)

    async def _wait_in_queue(self, request: RunRequest, tries: LineTries) -> _Slot | None:
        """The slot of the next attempt, None if the round has failed at every server.

        Raises PausedTooLong if all servers pause longer than --max-pause. Lines that have failed somewhere
        wait for certain servers, and keep no others back.
        """
        if tries.failures:
            return await self._wait_for_server(request, tries)
        self._queued += 1
        try:
            await self._setup.waits.acquire(self._queue)
            try:
                return await self._wait_for_server(request, tries)
            finally:
                self._queue.release()
        finally:
            self._queued -= 1

    async def _wait_for_server(self, request: RunRequest, tries: LineTries) -> _Slot | None:
        rate, due = self._setup.rate, None
        while not tries.failures or self._candidates(tries):
            now = self._clock()
            member, wait_s = self._find(tries, now)
            if member is not None:
                tokens, wait_s = rate.reserve(request.body, now, due)
                if not wait_s:
                    return self._take(member, tokens, now)
                due = now + wait_s
            if len(self._sound) < len(self.members):
                wait_s = _LOOK_S if wait_s is None else min(wait_s, _LOOK_S)
            await self._room.wait(wait_s)
        return None

    def _find(self, tries: LineTries, now: float) -> tuple[Member | None, float | None]:
        """The server that takes an attempt now, else None and the seconds to wait, if they are known.

        Raises PausedTooLong.
        """
        if len(self._sound) < len(self.members):
            for member in self.members:
                if member.health.wants_trial(now) and tries.may_go_to(member.index):
                    return member, None
        waits_s: list[float] = []
        loads = self._candidates(tries)
        fault: ChatpipeError | None = None
        while (load := self._balance.pick(loads)) is not None:
            member = self.members[load.index]
            room_s = member.pacer.room_in_s(load.in_flight)
            if (paused := member.pause_fault()) is not None:
                fault = paused
            elif room_s == 0:
                return member, None
            else:
                waits_s.append(_LOOK_S if room_s is None else room_s)
            loads = [each for each in loads if each is not load]
        if fault is not None and not waits_s:
            raise fault
        return None, min(waits_s, default=None)

    def _candidates(self, tries: LineTries) -> list[Load]:
        """The servers that may take the line: sound ones, else those held back, else those left out."""
        if not (tries.failures or tries.lacking) and self._sound:
            return self._sound
        left = [each for each in self._sound if tries.may_go_to(each.index)]
        if left:
            return left
        members = self._members_for(tries)
        may_go_to = [each for each in members if tries.may_go_to(each.index)]
        if any(not each.health.is_out for each in members):
            return [each.load for each in may_go_to if not each.health.is_out]
        are_down = any(each.health.is_down for each in members)
        return [each.load for each in may_go_to if each.health.is_down or not are_down]

    def _members_for(self, tries: LineTries) -> Sequence[Member]:
        """The servers that have the model of the line."""
        if not tries.lacking:
            return self.members
        return [each for each in self.members if each.index not in tries.lacking]

    # One attempt

    async def _attempt(self, slot: _Slot, request: RunRequest, tries: LineTries) -> TimedAnswer:
        """Make one attempt. It ends when the server is given up, too."""
        member = slot.member
        member.pacer.rate.repeats += tries.has_begun
        tries.has_begun = True
        begun = member.begin(tries, self._clock())
        answer: Answer | None = None
        latency_s = 0.0
        try:
            answer, latency_s = await member.sender.send(request, tries)
        except asyncio.CancelledError:
            if not begun.was_cancelled_here():
                raise
            tries.abandon()
            answer = Answer(None, None, Unreachable(f"no answer from '{member.name}'"))
        finally:
            now = self._clock()
            member.end(tries)
            self._balance.finish(member.load, is_good=answer is not None and answer.fault is None, now=now)
            self._setup.rate.settle(slot.reserved, answer, now)
            self._room.notify()
        return answer._replace(attempts=tries.tries, server=member.name), latency_s

    # The meaning of what came

    def _judge(self, member: Member, tries: LineTries, answer: Answer, latency_s: float) -> Answer | None:
        """The final answer, or None if the line goes on."""
        now, diagnosis, health = self._clock(), tries.judge(answer), member.health
        if diagnosis is ANSWERED:
            self.longest_s = max(self.longest_s, latency_s)
            self._accept(member, tries, now)
            return answer
        if diagnosis in _USELESS:
            return self._end_useless(member, tries, answer, _USELESS[diagnosis])
        assert answer.fault is not None
        if diagnosis is Diagnosis.DOWN:
            self.leave_out(member, answer.fault, is_down=True)
        elif health.on_trial or diagnosis not in (Diagnosis.BUSY, Diagnosis.FINAL):
            health.fail(now)
            self._take_over(member)
        if diagnosis is Diagnosis.FINAL:
            return _final(answer, tries)
        if diagnosis is not Diagnosis.BUSY:
            tries.fail(member.index, diagnosis, answer)
        if diagnosis is Diagnosis.SPENT:
            return self._count_try(tries, tries.failures[member.index])
        return None

    def _accept(self, member: Member, tries: LineTries, now: float) -> None:
        """Learn from a good answer, also about the servers that failed with the line."""
        member.lacks_model = False  # it has that of this line
        if member.health.answer() and member.is_first_time("back"):
            self._setup.note(f"'{member.name}' is back")
        self._take_over(member)
        for index, failure in tries.failures.items():
            if self.members[index].health.prove(now):
                self._report_left_out(self.members[index], failure.fault)

    def leave_out(self, member: Member, fault: ChatpipeError, *, is_down: bool) -> None:
        """Leave a server out. What is in flight there goes on."""
        if member.health.leave_out(self._clock(), is_down=is_down):
            self._report_left_out(member, fault)

    def _report_left_out(self, member: Member, fault: ChatpipeError) -> None:
        """Note that a server is left out."""
        self.update()
        if member.is_first_time("out"):
            self._setup.note(f"'{member.name}' is left out: {fault.clause}")

    def _end_useless(self, member: Member, tries: LineTries, answer: Answer, what: str) -> Answer:
        """End a line whose answer is of no use. A server that goes on like that gets a line now and then."""
        member.health.fail(self._clock())
        if self._take_over(member) and len(self.members) > 1 and member.is_first_time("held back"):
            self._setup.note(f"'{member.name}' is held back: its answers are {what}")
        return answer if answer.fault is None else _final(answer, tries)

    # The end of a round

    def _count_try(self, tries: LineTries, failure: ServerFailure) -> Answer | None:
        """Count a try in which time or tokens were lost. The final answer if it was the last."""
        if isinstance(self._decide(tries, failure), RetryAfter):
            tries.tries += 1
            return None
        return _final(failure.answer, tries)

    def _decide(self, tries: LineTries, failure: ServerFailure) -> RetryAfter | GiveUp:
        context = self._setup.context
        if failure.attempt is None:
            return GiveUp(GiveUpReason.NOT_RETRYABLE)
        return retry.decide(
            tries.tries, failure.attempt, self._setup.policy, now=context.now(), random=context.random
        )

    async def _end_round(self, request: RunRequest, tries: LineTries) -> Answer | None:
        """End a round that has failed everywhere, and wait for the next. The answer if it was the last."""
        failure = tries.decisive()
        if tries.is_refused:
            self._acquit(tries)
            count = len(tries.failures)
            return _final(failure.answer, tries, f", refused by all {count} servers" if count > 1 else "")
        again = next((each for each in tries.failures.values() if each.attempt is not None), failure)
        decision = self._decide(tries, again)
        if isinstance(decision, RetryAfter) and tries.was_replayed:
            decision = decision._replace(seconds=0.0)
        if not isinstance(decision, RetryAfter) or tries.is_late(decision.seconds):
            if all(each.health.is_out for each in self._members_for(tries)):
                left = NoServerLeft(f"no server is left: {failure.fault.clause}", fix="check that they run")
                return _final(failure.answer._replace(fault=left), tries)
            return _final(failure.answer, tries)
        if self._setup.notice.wants_tries:
            text = f"{decision.notice} ({tries.tries} of {self._setup.policy.retries})"
            self._setup.notice.try_failed(request.line, f"{failure.fault.clause}: {text}")
        self._acquit(tries)
        tries.tries += all(each.diagnosis is not Diagnosis.SPENT for each in tries.failures.values())
        tries.begin_round()
        await self._setup.waits.sleep(decision.seconds)
        return None

    def _acquit(self, tries: LineTries) -> None:
        """Blame no server for what every server fails at."""
        if len(tries.failures) > 1:
            for index in tries.failures:
                self.members[index].health.acquit()
            self.update()


def _final(answer: Answer, tries: LineTries, words: str = "") -> Answer:
    """The final answer of a line that failed. Its fault says where else, and how many tries were made."""
    fault = answer.fault
    assert fault is not None
    if tries.tries > 1:
        words += f", after {quantity(tries.tries, 'try')}"
    if words:
        fault.what = f"{fault.clause}{words}"
    return answer._replace(attempts=tries.tries)
