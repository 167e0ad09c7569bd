"""The driver of a run: items in, results out. It decides what an engine sends, and when the run stops.

    items -> known answer? -> same request in flight? -> engine -> result -> journal -> output

A run stops before its input ends for a signal, for a failure that would hit every line (no key, no
credit), a budget, a halt rule, or an output that cannot be written. It stops at once, or after the
requests in flight. Results that have arrived are always written. If the disk is full, the answers in flight
are recorded, because the journal has room for them, and nothing more is sent or written.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Protocol

from chatpipe.batch.engine import Engine, RunRequest
from chatpipe.batch.items import Item
from chatpipe.batch.journal.answers import RecordedAnswer
from chatpipe.batch.ordered_output import OrderedOutput
from chatpipe.batch.result import PlainAnswers, Result, ResultBuilder
from chatpipe.batch.stop import Stop
from chatpipe.errors import BadInput, CannotWrite, MissingInput, TryLater, quantity
from chatpipe.named_tuple import NamedTuple
from chatpipe.system.signals import call_on_signal
from chatpipe.wire.answer import Answer
from chatpipe.wire.timeouts import extension_s

# Duplicates that may wait for one answer. They are in memory.
_FOLLOWERS = 10_000
_NO_SEND = "it has no recorded answer, and --no-send sends nothing"
# A wait after a signal that lasts longer is explained.
_SILENCE_S = 1.0


# The answer of a job of the Batch API, collected in this run, and the seconds that the job took.
CollectedAnswer = tuple[Answer, float]


class AnswerStore(Protocol):
    """The answers that are known without a request, and the journal of this run."""

    def fingerprint(self, item: Item) -> str: ...

    def find_answer(self, item: Item, fingerprint: str) -> RecordedAnswer | CollectedAnswer | None: ...

    def find_plain(self, items: Sequence[Item]) -> PlainAnswers | None:
        """The answers of a job to all these items, None if they have to be found one by one."""

    @property
    def has_journal(self) -> bool:
        """True if record() writes results to a journal."""

    def make_room(self, answers: int) -> None:
        """Make room for the answers to this many requests in flight. Raises CannotWrite."""

    def record(self, number: int, result: Result) -> None:
        """Record a result. number is the position of its item in the input, from 0."""

    def record_all(self, number: int, results: Sequence[Result]) -> None:
        """Record the results of find_plain(). number is the position of the first item."""


class StopPolicy(Protocol):
    """Decides when a run stops."""

    def reserve(self, request: RunRequest) -> Stop | None:
        """Reserve the budget of a request, or return the reason why it must not be sent."""

    def observe(self, number: int, result: Result) -> Stop | None:
        """Count a result that has arrived and is recorded.

        In an ordered output it may be written much later.
        """


class DriverOptions(NamedTuple):
    """Options of a driver.

    window, for results in input order, is the number of results that may wait for an earlier one; None
    means the order of arrival. With dedupe, identical requests share one answer. With no_send, only
    recorded answers are used. After a signal, requests in flight have grace_s seconds; note gets a line about
    that if it takes longer than a moment. emit_missing: see OrderedOutput.
    """

    window: int | None = None
    dedupe: bool = False
    no_send: bool = False
    grace_s: float = 20.0
    note: Callable[[str], None] | None = None
    emit_missing: Callable[[], None] | None = None


class Driver:
    """One run. emit writes results. stop is the reason for an early end, or None."""

    def __init__(
        self,
        engine: Engine,
        store: AnswerStore,
        policy: StopPolicy,
        builder: ResultBuilder,
        emit: Callable[[Sequence[Result]], None],
        options: DriverOptions,
    ) -> None:
        self._engine = engine
        self._store = store
        self._make_room = store.make_room
        self._policy = policy
        self._builder = builder
        self._window, self._dedupe, self._no_send, self._grace_s, self._note, emit_missing = options
        is_ordered = self._window is not None
        self._output = OrderedOutput(emit, is_ordered=is_ordered, emit_missing=emit_missing)
        self._reader: asyncio.Task[None] | None = None
        self._submitted: dict[int, tuple[Item, str]] = {}  # what the engine has, with its fingerprint
        self._queued = 0  # submitted but not yet sent
        self._in_flight = 0
        self._moved = asyncio.Event()  # a request was sent or answered
        self._awaits_move = False  # the reader waits for it
        self._numbered = 0  # items of this shard so far
        # By fingerprint of a request in flight, the items with the same one: numbers and items.
        self._followers: dict[str, list[tuple[int, Item]]] = {}
        self._following = 0  # the number of items in _followers
        self._error: BaseException | None = None
        self.stop: Stop | None = None

    async def run(self, blocks: AsyncIterator[Iterable[Item]]) -> None:
        """Answer the items of all blocks, or stop early.

        Raises the error of the input, of emit or of the engine.
        """
        self._engine.start(self)
        self._reader = asyncio.create_task(self._read(blocks))
        self._reader.add_done_callback(self._reader_ended)
        with call_on_signal(self._signalled):
            await asyncio.wait([self._reader])
            await self._engine.drain()
            if self.stop is not None:
                self.stop = self.stop._replace(abandoned=self._in_flight)
            self._output.finish()
            if self._error is None:
                self._record_abandoned()
        if self._error is not None:
            raise self._with_lost(self._error)

    # Input

    async def _read(self, blocks: AsyncIterator[Iterable[Item]]) -> None:
        window, dedupe = self._window, self._dedupe
        async for block in blocks:
            if isinstance(block, list) and self._finish_plain(block):
                continue
            for item in block:
                if self.stop is not None:  # a recorded result has stopped the run
                    return
                if not item.is_ours:
                    if item.fault is None:
                        self._store.fingerprint(item)  # duplicates are counted over all shards
                    continue
                number = self._numbered
                self._numbered += 1
                if window is not None:
                    await self._wait_for_window(number, window)
                fingerprint = "" if item.fault is not None else self._store.fingerprint(item)
                if self._following >= _FOLLOWERS:
                    await self._wait_for_followers(fingerprint)
                result = self._known_result(item, fingerprint)
                if result is not None:
                    # Only after all earlier items were sent: a halt rule must not count a line far ahead.
                    if self._queued:
                        await self._wait_for_queue()
                    self._finish(number, result)
                elif dedupe and fingerprint in self._followers:
                    self._followers[fingerprint].append((number, item))
                    self._following += 1
                else:
                    if dedupe:
                        self._followers[fingerprint] = []
                    self._submit(number, item, fingerprint)
                    await self._engine.room()

    async def _wait_for_window(self, number: int, window: int) -> None:
        """Wait while an item is too far ahead of the first one without a result.

        Recorded results wait as well.
        """
        while number >= self._output.next_number + window:
            await self._wait_until_moved()

    async def _wait_for_followers(self, fingerprint: str) -> None:
        """Wait while too many items wait for the answer to this request: they would fill the memory."""
        while self._following >= _FOLLOWERS and fingerprint in self._followers:
            await self._wait_until_moved()

    async def _wait_for_queue(self) -> None:
        """Wait until everything that was submitted has been sent."""
        while self._queued:
            await self._wait_until_moved()

    async def _wait_until_moved(self) -> None:
        self._moved.clear()
        self._awaits_move = True
        await self._moved.wait()
        self._awaits_move = False

    def _known_result(self, item: Item, fingerprint: str) -> Result | None:
        """The result of an item that is not sent, or None."""
        if item.fault is not None:
            return self._builder.of_input(item)
        found = self._store.find_answer(item, fingerprint)
        if found is None:
            return self._builder.of_unsent(item, fingerprint, _NO_SEND) if self._no_send else None
        if isinstance(found, RecordedAnswer):
            return self._builder.of_record(item, fingerprint, found.line, found.outcome)
        return self._builder.of_answer(item, fingerprint, *found)

    def _finish_plain(self, items: list[Item]) -> bool:
        """Finish a block of items together, if each has a plain answer of a job, as nearly all have.

        Returns False if they have to be finished one by one.
        """
        is_ready = self.stop is None and not self._submitted and self._window is None
        answers = self._store.find_plain(items) if is_ready and self._builder.takes_any_text else None
        if answers is None:
            return False
        results = self._builder.of_plain(items, answers)
        self._store.record_all(self._numbered, results)
        for number, result in enumerate(results, self._numbered):
            if (stop := self._policy.observe(number, result)) is not None:
                self._halt(stop)
        self._output.write(results)
        self._numbered += len(results)
        return True

    def _submit(self, number: int, item: Item, fingerprint: str) -> None:
        """Give an item to the engine."""
        assert item.body is not None
        self._submitted[number] = item, fingerprint
        self._queued += 1
        self._engine.submit(RunRequest(number, item.line, item.custom_id, item.body, fingerprint))

    def _reader_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            # An input that cannot be read does not affect the requests in flight.
            self._fail(error, now=not isinstance(error, (BadInput, MissingInput)))

    # Callbacks of the engine

    def may_send(self, request: RunRequest) -> bool:
        if self.stop is not None:
            return False
        try:
            self._make_room(self._in_flight + 1)
        except CannotWrite as error:
            # On a small disk fewer are in flight.
            if not self._in_flight:
                self.failed(error)
            return False
        try:
            stop = self._policy.reserve(request)
        except BaseException as error:
            self.failed(error)
            return False
        if stop is not None:
            # The answers in flight may cost less than was reserved for them: wait for them.
            if not self._in_flight:
                self._halt(stop)
            return False
        self._queued -= 1
        self._in_flight += 1
        if self._awaits_move:
            self._moved.set()
        return True

    def answered(self, number: int, answer: Answer, latency_s: float) -> None:
        self._in_flight -= 1
        try:
            self._finish_answered(number, answer, latency_s)
        except BaseException as error:
            self.failed(error)
        if self._awaits_move:
            self._moved.set()

    def failed(self, error: BaseException) -> None:
        if isinstance(error, TryLater):  # its request was not sent, those in flight will be answered
            self._halt(Stop(error))
        else:
            self._fail(error, now=not (isinstance(error, CannotWrite) and self._store.has_journal))

    # Results

    def _finish_answered(self, number: int, answer: Answer, latency_s: float) -> None:
        """Finish a request that was sent, and the identical ones that wait for its answer."""
        item, fingerprint = self._submitted.pop(number)
        result = self._builder.of_answer(item, fingerprint, answer, latency_s)
        self._finish(number, result)
        if not self._dedupe:
            return
        followers = self._followers.pop(fingerprint, [])
        self._following -= len(followers)
        for follower, same in followers:
            shared = self._builder.of_record(same, fingerprint, result.line, result.outcome)
            self._finish(follower, shared._replace(status=result.status))

    def _finish(self, number: int, result: Result) -> None:
        """Record a result, then put it into the output.

        The decision whether the run stops is made now: an earlier answer may take long to arrive.
        """
        self._store.record(number, result)
        stop = self._policy.observe(number, result)
        self._output.put(number, result)
        if stop is not None:
            self._halt(stop)

    # The end

    def _record_abandoned(self) -> None:
        """Record the lines that were at the server when the run ended: they may have been paid for."""
        for number, (item, fingerprint) in self._submitted.items():
            result = self._builder.of_abandoned(item, fingerprint)
            if result is not None:
                self._store.record(number, result)

    def _fail(self, error: BaseException, *, now: bool) -> None:
        """Stop for an error that the run cannot survive: a full disk, a reader that is gone, a bug."""
        if self._error is None or isinstance(self._error, MissingInput):
            self._error = error  # an output that fails matters more than an input
        self._halt(Stop(now=now))

    def _with_lost(self, error: BaseException) -> BaseException:
        """Let an output that cannot be written say how many answers nothing else has."""
        lost = self._output.lost + self._in_flight
        if isinstance(error, CannotWrite) and lost and not self._store.has_journal:
            error.what = f"{error.what}: {quantity(lost, 'answer')} {'is' if lost == 1 else 'are'} lost"
        return error

    def _halt(self, stop: Stop) -> None:
        """Stop the run. Of several reasons the one of the highest rank is reported, else the first."""
        if self.stop is None or stop.rank < self.stop.rank:
            self.stop = stop
        if self._reader is not None:
            self._reader.cancel()
        self._engine.stop(now=stop.now)

    def _signalled(self, number: int) -> None:
        """Stop at the first signal, with a grace for the requests in flight; at the second, at once.

        A run that has already stopped for another reason waits for them, too: the grace bounds that wait.
        """
        is_first = self.stop is None or self.stop.signal is None
        self._halt(Stop(signal=number, now=not is_first))
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + self._grace_s
        loop.call_later(self._grace_s, self._end_grace, ends_at)
        if is_first:
            loop.call_later(_SILENCE_S, self._note_grace, ends_at)

    def _note_grace(self, ends_at: float) -> None:
        left_s = ends_at - asyncio.get_running_loop().time()
        if self._note is not None and self._in_flight and left_s > _SILENCE_S:
            requests = quantity(self._in_flight, "request")
            text = f"waiting up to {left_s:.0f} s for {requests} in flight: a second signal ends the run now"
            self._note(text)

    def _end_grace(self, ends_at: float) -> None:
        """Stop at once, after a moment for the answers that arrived while the process was stopped."""
        loop = asyncio.get_running_loop()
        loop.call_later(extension_s(loop.time() - ends_at), self._halt, Stop(now=True))
