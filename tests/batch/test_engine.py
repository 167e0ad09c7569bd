"""A driver and its engine: the order of what is sent, with a server that answers when the test says so."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

import orjson
import pytest

from chatpipe.batch.driver import Driver, DriverOptions
from chatpipe.batch.engine import Engine, RunRequest
from chatpipe.batch.items import Item
from chatpipe.batch.journal.answers import RecordedAnswer
from chatpipe.batch.result import PlainAnswers, Result, ResultBuilder
from chatpipe.batch.stop import Stop
from chatpipe.errors import BadInput, CannotWrite, ChatpipeError, Interrupted, MissingInput
from chatpipe.limits.concurrency import ConcurrencyLimit
from chatpipe.options.output import FORMATS
from chatpipe.response.result_line import LostAttempts
from chatpipe.response.usage import Usage
from chatpipe.wire.answer import Answer
from support.parametrize import cases

BAD = "bad"  # a line that is no request
PLAIN = "plain"  # what a line that a job has answered begins with
STORED = "stored"  # what a line that was answered before begins with


def item(number: int, text: str) -> Item:
    body = {"model": "m", "messages": [{"role": "user", "content": text}]}
    fault = BadInput("no good") if text == BAD else None
    return Item(number, text, None if fault else body, fault=fault)


def answer(text: str) -> Answer:
    message = {"role": "assistant", "content": text.upper()}
    return Answer({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})


async def lines(texts: Iterable[str]) -> AsyncIterator[Item]:
    for number, text in enumerate(texts, 1):
        yield item(number, text)


async def some_turns() -> None:
    """The event loop does all that can be done without an answer."""
    for _ in range(30):
        await asyncio.sleep(0)


class Run:
    """A driver and its engine. Their store, stop policy, sender and output are this object.

    log has the events in order, each with the id of its item: `asked` for the budget, `sent`, `out`; and
    `let go` when the sender was stopped. recorded has the numbers of results, observed their ids, in order.
    peak is the highest number in flight. lost has the lost attempts by line.
    """

    def __init__(
        self,
        *,
        slots: int = 2,
        window: int | None = None,
        dedupe: bool = False,
        budget: int = 1000,
        halts: dict[str, Stop] | None = None,
    ) -> None:
        """budget: items that may be sent. halts: results that end the run, by their ids."""
        self.capacity = ConcurrencyLimit(slots)
        self.log: list[str] = []
        self.items_read = 0
        self.recorded: list[int] = []
        self.last_line = b""
        self.observed: list[str] = []
        self.peak = 0
        self._left = budget
        self._halts = halts or {}
        self._in_flight: dict[int, tuple[str, asyncio.Future[Answer]]] = {}
        self.write: Callable[[Result], None] = lambda result: None
        self.write_missing: Callable[[], None] = lambda: None
        self.has_journal = False
        self.room = 1000  # answers in flight for which there is room on the disk
        self.lost: dict[int, LostAttempts] = {}
        builder = ResultBuilder(frozenset(), FORMATS["results"], lost=self.lost)
        options = DriverOptions(window, dedupe, emit_missing=lambda: self.write_missing())
        self.driver = Driver(Engine(self, self.capacity), self, self, builder, self._emit, options)
        self._task: asyncio.Task[None] | None = None

    # The answer store

    def fingerprint(self, item: Item) -> str:
        return item.custom_id

    def find_answer(self, item: Item, fingerprint: str) -> RecordedAnswer | None:
        return RecordedAnswer(b"{}", "ok", 0) if item.custom_id.startswith((STORED, PLAIN)) else None

    def find_plain(self, items: Sequence[Item]) -> PlainAnswers | None:
        if not all(item.custom_id.startswith(PLAIN) for item in items):
            return None
        self.log += [f"together {item.custom_id}" for item in items]
        found = [answer(item.custom_id).completion or {} for item in items]
        return PlainAnswers(found, [b"{}"] * len(items), 1.0, "")

    def make_room(self, answers: int) -> None:
        if answers > self.room:
            raise CannotWrite("no room")

    def record(self, number: int, result: Result) -> None:
        self.recorded.append(number)
        self.last_line = result.line

    def record_all(self, number: int, results: Sequence[Result]) -> None:
        self.recorded += range(number, number + len(results))

    # The stop policy

    def reserve(self, request: RunRequest) -> Stop | None:
        self.log.append(f"asked {request.custom_id}")
        self._left -= 1
        return Stop(ChatpipeError("no money")) if self._left < 0 else None

    def observe(self, number: int, result: Result) -> Stop | None:
        self.observed.append(result.item.custom_id)
        return self._halts.get(result.item.custom_id)

    # The sender

    async def send(self, request: RunRequest) -> tuple[Answer, float]:
        self.log.append(f"sent {request.custom_id}")
        future = asyncio.get_running_loop().create_future()
        self._in_flight[request.line] = request.custom_id, future
        self.peak = max(self.peak, len(self._in_flight))
        try:
            return await future, 0.1
        finally:
            del self._in_flight[request.line]

    def stop(self) -> None:
        self.log.append("let go")

    # The output

    def _emit(self, results: Sequence[Result]) -> None:
        for result in results:
            assert result.item.custom_id in self.observed
            self.write(result)
            self.log.append(f"out {result.item.custom_id}")

    async def _counted(self, items: AsyncIterator[Item]) -> AsyncIterator[list[Item]]:
        async for each in items:
            self.items_read += 1
            yield [each]

    async def begin(self, items: AsyncIterator[Item]) -> None:
        await self.begin_blocks(self._counted(items))

    async def begin_blocks(self, blocks: AsyncIterator[list[Item]]) -> None:
        self._task = asyncio.create_task(self.driver.run(blocks))
        await some_turns()

    async def reply(self, *texts: str) -> None:
        """Answer these in one turn, in that order, as when they come in one burst."""
        for text in texts:
            self._reply_to(next(line for line, (name, _) in self._in_flight.items() if name == text))
        await some_turns()

    def _reply_to(self, line: int) -> None:
        text, future = self._in_flight[line]
        future.set_result(answer(text))

    async def reply_to_all(self) -> None:
        while self._in_flight:
            for line in list(self._in_flight):
                self._reply_to(line)
            await some_turns()

    async def reply_to_some(self, rng: random.Random) -> None:
        """Answer a part of what is in flight, in any order."""
        flying = list(self._in_flight)
        for line in rng.sample(flying, rng.randint(1, len(flying))):
            self._reply_to(line)
        await some_turns()

    async def end(self) -> None:
        """Raises what the run raises; it has to be over by itself."""
        assert self._task is not None
        await some_turns()
        assert self._task.done()
        await self._task

    async def finish(self) -> None:
        """Answer everything, and expect the end."""
        await self.reply_to_all()
        await self.end()

    # What happened

    @property
    def flying(self) -> list[str]:
        return [text for text, _ in self._in_flight.values()]

    def logged(self, what: str) -> list[str]:
        return [line.removeprefix(f"{what} ") for line in self.log if line.startswith(f"{what} ")]


async def begun(texts: Iterable[str], **options: Any) -> Run:
    """A run of these items, as far as it gets without an answer."""
    run = Run(**options)
    await run.begin(lines(texts))
    return run


def halt(text: str, *, now: bool = False) -> dict[str, Stop]:
    """The result of this item ends the run."""
    return {text: Stop(ChatpipeError("halted"), now=now)}


# Places


async def test_the_next_is_sent_before_another_answer_of_the_same_burst_is_read() -> None:
    run = await begun("abcdef", slots=3)
    run.log.clear()
    await run.reply("a", "b", "c")
    assert [line for line in run.log if not line.startswith("asked")] == [
        "out a",
        "sent d",
        "out b",
        "sent e",
        "out c",
        "sent f",
    ]
    await run.finish()


@pytest.mark.parametrize("slots", [1, 2, 5, 300])
async def test_all_slots_are_used_and_no_more(slots: int) -> None:
    run = Run(slots=slots)
    texts = [f"p{number}" for number in range(1000)]
    await run.begin(lines(texts))
    assert len(run.flying) == slots
    await run.finish()
    assert run.peak == slots
    assert run.logged("sent") == texts
    assert sorted(run.logged("out")) == sorted(texts)


async def test_more_places_are_taken_with_the_next_answer() -> None:
    run = await begun("abcdefgh", slots=2)
    run.capacity.limit = 4
    await run.reply("a")
    assert run.flying == ["b", "c", "d", "e"]
    await run.finish()
    assert run.peak == 4


async def test_fewer_places_are_left_empty_and_taken_again_when_there_are_more() -> None:
    run = await begun("abcdefgh", slots=4)
    run.capacity.limit = 2
    await run.reply("a")
    assert run.flying == ["b", "c", "d"]
    await run.reply("b", "c")
    assert run.flying == ["d", "e"]
    run.capacity.limit = 3
    await run.reply("d")
    assert run.flying == ["e", "f", "g"]
    await run.finish()
    assert run.logged("sent") == list("abcdefgh")


# What is made ready


@cases(
    "slots, size, expected",
    {
        "one place": (1, 1, 2),
        "as many as slots": (16, 1, 32),
        "256 at most": (1000, 1, 1256),
        "one if they are large": (16, 5 << 20, 17),
        "a few if they are not small": (16, 1 << 20, 20),
    },
)
async def test_so_much_is_read_ahead(slots: int, size: int, expected: int) -> None:
    """The engine reads the items in flight and the same number ahead."""
    run = Run(slots=slots)
    text = "x" * size
    await run.begin(item(number, text) async for number, text in _endless(text))
    assert len(run.flying) == slots
    assert run.items_read == expected
    signal.raise_signal(signal.SIGTERM)
    await some_turns()
    await run.finish()


async def _endless(text: str) -> AsyncIterator[tuple[int, str]]:
    number = 0
    while True:
        number += 1
        yield number, text


async def test_an_item_is_sent_when_it_has_come_not_with_the_one_after_it() -> None:
    typed: asyncio.Queue[str | None] = asyncio.Queue()

    async def items() -> AsyncIterator[Item]:
        number = 0
        while (text := await typed.get()) is not None:
            number += 1
            yield item(number, text)

    run = Run(slots=2)
    await run.begin(items())
    for text in "abc":
        await typed.put(text)
        await some_turns()
        assert run.flying == [text]
        await run.reply(text)
        assert run.logged("out")[-1] == text
    await typed.put(None)
    await run.end()


async def test_a_line_without_a_request_counts_only_after_earlier_lines_are_sent() -> None:
    """A halt rule would otherwise end the run over a line that is far behind."""
    run = await begun(["a", "b", "c", BAD, "d"], slots=2, halts=halt(BAD))
    assert run.logged("out") == []
    await run.reply("a")
    assert run.logged("out") == ["a", BAD]
    assert run.flying == ["b", "c"]
    await run.reply("b", "c")
    await run.end()
    assert run.logged("out") == ["a", BAD, "b", "c"]
    assert run.logged("sent") == ["a", "b", "c"]


# In order


@pytest.mark.parametrize("slots", [1, 2, 8])
@pytest.mark.parametrize("window", [1, 2, 5])
async def test_a_slow_first_item_holds_the_others_within_the_window(window: int, slots: int) -> None:
    texts = [f"p{number}" for number in range(12)]
    run = await begun(texts, slots=slots, window=window)
    while others := [text for text in run.flying if text != "p0"]:
        await run.reply(*others)
    assert run.logged("sent") == texts[: window if slots > 1 else 1]
    assert run.logged("out") == []
    await run.reply("p0")
    await run.finish()
    assert run.logged("out") == texts


async def test_the_window_also_counts_lines_without_a_request() -> None:
    texts = ["a", *[f"{STORED} {number}" for number in range(9)], "b"]
    run = await begun(texts, slots=4, window=3)
    assert run.recorded == [1, 2]
    assert run.logged("out") == []
    await run.reply("a")
    assert run.flying == ["b"]
    await run.reply("b")
    await run.end()
    assert run.logged("out") == texts


@pytest.mark.parametrize("seed", range(60))
async def test_every_item_has_exactly_one_result_in_any_order_of_replies(seed: int) -> None:
    """A number of slots that changes, any window, any answers at hand, equal items, replies in any order."""
    rng = random.Random(seed)
    most = rng.choice([1, 2, 3, 8, 40])
    window = rng.choice([None, None, 1, 2, 7, 50])
    dedupe = rng.random() < 0.5
    names = ["a", "b", "c", *(f"p{number}" for number in range(30)), BAD, f"{STORED} x", f"{STORED} y"]
    texts = [rng.choice(names) for _ in range(rng.choice([0, 1, 5, 80]))]
    run = await begun(texts, slots=most, window=window, dedupe=dedupe)
    while run.flying:
        run.capacity.limit = rng.randint(1, most)
        await run.reply_to_some(rng)
        if window is not None:
            assert len(run.recorded) - len(run.logged("out")) <= window
    await run.end()

    assert sorted(run.recorded) == list(range(len(texts)))
    assert sorted(run.observed) == sorted(texts)
    assert sorted(run.logged("out")) == sorted(texts)
    assert window is None or run.logged("out") == texts
    assert run.peak <= most
    assert sorted(run.logged("asked")) == sorted(run.logged("sent"))
    to_send = [text for text in texts if text != BAD and not text.startswith(STORED)]
    assert set(run.logged("sent")) == set(to_send)
    assert dedupe or run.logged("asked") == to_send


# Equal items


async def test_plain_answers_of_a_block_are_finished_together_unless_others_are_in_flight() -> None:
    async def blocks() -> AsyncIterator[list[Item]]:
        yield [item(1, "plain 1"), item(2, "plain 2")]
        yield [item(3, "plain 3"), item(4, BAD)]
        yield [item(5, "a"), item(6, "plain 6")]
        yield [item(7, "plain 7")]

    run = Run()
    await run.begin_blocks(blocks())
    await run.finish()
    assert run.logged("together") == ["plain 1", "plain 2"]
    assert (
        run.logged("out") == run.observed == ["plain 1", "plain 2", "plain 3", BAD, "plain 6", "plain 7", "a"]
    )
    assert run.recorded == [0, 1, 2, 3, 5, 6, 4]


async def test_plain_answers_of_a_block_are_written_in_order_and_may_end_the_run() -> None:
    run = Run(window=4, halts=halt("plain 2"))
    await run.begin(lines(["plain 1", "plain 2", "a"]))
    await run.finish()
    assert (run.logged("together"), run.logged("out")) == ([], ["plain 1", "plain 2"])
    run = Run(halts=halt("plain 2"))
    await run.begin(lines(["plain 1", "plain 2", "plain 3", "a"]))
    await run.finish()
    assert (run.logged("together"), run.logged("out")) == (["plain 1", "plain 2"], ["plain 1", "plain 2"])


async def test_an_item_that_equals_one_in_line_is_not_sent() -> None:
    run = await begun("abbc", slots=1, dedupe=True)
    await run.reply("a")
    await run.reply("b")
    assert run.logged("out") == ["a", "b", "b"]
    await run.reply("c")
    await run.end()
    assert run.logged("sent") == ["a", "b", "c"]
    assert run.recorded == [0, 1, 2, 3]


async def test_an_item_that_equals_one_that_is_never_sent_has_no_result() -> None:
    run = await begun("abbb", slots=1, dedupe=True, halts=halt("a"))
    await run.reply("a")
    await run.end()
    assert run.logged("out") == run.logged("sent") == ["a"]


async def test_the_number_of_duplicates_that_wait_for_one_answer_is_limited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An endless input of one question, with a slow answer to it, does not fill the memory."""
    monkeypatch.setattr("chatpipe.batch.driver._FOLLOWERS", 3)
    run = await begun("a" * 8, slots=1, dedupe=True)
    assert run.items_read == 5  # one is sent, three wait for it, and one is not put beside them
    await run.reply("a")
    await run.finish()
    assert run.recorded == list(range(8))


# The budget


async def test_the_budget_is_asked_once_an_item_when_its_place_is_there() -> None:
    run = await begun("abcde", slots=2)
    assert run.log == ["asked a", "asked b", "sent a", "sent b"]
    await run.reply("b")
    assert run.log[4:] == ["out b", "asked c", "sent c"]
    await run.finish()
    assert run.logged("asked") == list("abcde")


@pytest.mark.parametrize("slots", [1, 2, 8])
async def test_an_exhausted_budget_stops_the_next_item_but_none_it_allowed(slots: int) -> None:
    run = await begun("abcdefgh", slots=slots, budget=4)
    await run.finish()
    assert [*dict.fromkeys(run.logged("asked"))] == list("abcde")
    assert run.logged("sent") == run.logged("out") == list("abcd")
    assert run.driver.stop is not None


async def test_a_budget_is_exhausted_only_when_nothing_is_in_flight() -> None:
    class Refunded(Run):
        """Sets aside all that is left for each item, which then costs nothing."""

        granted = 0

        def reserve(self, request: RunRequest) -> Stop | None:
            if self.granted > len(self.logged("out")):
                return Stop(ChatpipeError("no money"))
            self.granted += 1
            return None

    run = Refunded(slots=3)
    await run.begin(lines("abc"))
    for name in "abc":
        assert run.logged("sent")[-1] == name
        await run.reply(name)
    await run.end()
    assert run.logged("out") == list("abc")
    assert run.driver.stop is None


# The end before the end


async def test_halt_soon_sends_nothing_more_and_waits_for_requests_in_flight() -> None:
    run = await begun("abcdefgh", slots=3, halts=halt("b"))
    await run.reply("b", "a")
    assert run.logged("sent") == ["a", "b", "c"]
    await run.reply("c")
    await run.end()
    assert run.logged("out") == ["b", "a", "c"]
    assert run.log.count("let go") == 1


@cases("now", {"soon": False, "now": True})
async def test_in_order_a_result_ends_the_run_when_it_comes_not_when_it_is_its_turn(now: bool) -> None:
    run = await begun("abcdefgh", slots=4, window=16, halts=halt("b", now=now))
    await run.reply("d", "b")
    assert run.logged("sent") == list("abcde")
    assert run.flying == ([] if now else ["a", "c", "e"])
    await run.finish()
    assert run.logged("sent") == list("abcde")
    assert run.logged("out") == (list("bd") if now else list("abcde"))


async def test_halt_now_abandons_requests_in_flight() -> None:
    run = await begun("abcdefgh", slots=3, halts=halt("b", now=True))
    await run.reply("b")
    await run.end()
    assert (run.logged("out"), run.logged("sent"), run.flying) == (["b"], ["a", "b", "c"], [])


async def test_results_held_for_order_are_delivered_when_the_run_halts() -> None:
    run = await begun("abcdefgh", slots=3, window=9, halts=halt("a", now=True))
    await run.reply("c")
    await run.reply("d", "a")
    await run.end()
    assert run.logged("out") == ["a", "c", "d"]


async def test_an_abandoned_line_is_recorded_with_its_attempts() -> None:
    """Nobody knows how long the last one would have taken."""
    run = Run(slots=2, halts=halt("b", now=True))
    run.lost[1] = LostAttempts(Usage(1, 0, 2, 3), last=4)
    await run.begin(lines("ab"))
    await run.reply("b")
    await run.end()
    assert run.recorded == [1, 0]
    found = orjson.loads(run.last_line)["chatpipe"]
    assert (found["attempts"], found["latency_s"], found["lost_usage"]["total_tokens"]) == (4, None, 3)


async def test_results_held_for_order_are_delivered_though_the_journal_takes_no_more() -> None:
    """They were paid for. The disk may fill up with the record of a line that was abandoned."""

    class FullDisk(Run):
        def record(self, number: int, result: Result) -> None:
            if result.item.custom_id == "a":
                raise CannotWrite("no space")

    run = FullDisk(slots=3, window=9, halts=halt("b", now=True))
    run.lost[1] = LostAttempts()
    await run.begin(lines("abcdefgh"))
    await run.reply("c", "b")
    with pytest.raises(CannotWrite, match="no space"):
        await run.end()
    assert run.logged("out") == ["b", "c"]


@pytest.mark.usefixtures("signals_apart")
async def test_the_first_signal_sends_no_more_and_the_second_waits_for_nothing() -> None:
    run = await begun("abcdefgh", slots=3)
    signal.raise_signal(signal.SIGINT)
    await some_turns()
    await run.reply("a")
    assert run.flying == ["b", "c"]
    signal.raise_signal(signal.SIGTERM)
    await run.end()
    assert (run.logged("out"), run.logged("sent"), run.flying) == (["a"], ["a", "b", "c"], [])
    assert run.driver.stop is not None
    assert run.driver.stop.signal == signal.SIGINT


async def test_an_output_that_fails_ends_the_run_before_the_rest_of_a_burst_sends_more() -> None:
    def full(result: Result) -> None:
        raise CannotWrite("no space")

    run = await begun("abcdefgh", slots=4)
    run.write = full
    await run.reply("a", "b", "c", "d")
    assert run.logged("sent") == ["a", "b", "c", "d"]
    with pytest.raises(CannotWrite, match="no space"):
        await run.end()
    assert run.flying == []


async def test_an_output_that_fails_loses_no_answer_if_there_is_a_journal() -> None:
    """Nothing more is sent, or written behind what may be incomplete."""

    def full(result: Result) -> None:
        raise CannotWrite("no space")

    run = await begun("abcdefgh", slots=4)
    run.has_journal = True
    run.write = full
    await run.reply("a", "b")
    run.write = lambda result: None
    assert run.flying == ["c", "d"]
    await run.reply("c", "d")
    with pytest.raises(CannotWrite, match=r"no space$"):
        await run.end()
    assert (run.logged("sent"), run.recorded, run.logged("out")) == (["a", "b", "c", "d"], [0, 1, 2, 3], [])


async def test_as_many_are_in_flight_as_there_is_room_for_answers() -> None:
    """Once there is none for any, nothing more is sent, and those in flight are kept."""
    run = Run(slots=4)
    run.has_journal = True
    run.room = 2
    await run.begin(lines("abcdefgh"))
    assert run.flying == ["a", "b"]
    await run.reply("a", "b")
    assert run.flying == ["c", "d"]
    run.room = 0
    await run.reply("c", "d")
    with pytest.raises(CannotWrite, match="no room"):
        await run.end()
    assert (run.logged("sent"), run.recorded, run.logged("out")) == ([*"abcd"], [0, 1, 2, 3], [*"abcd"])


@cases(
    ("window", "replies", "lost"),
    {
        "the first": (None, "a", 4),
        "the last": (None, "abcd", 4),
        "in input order": (8, "bcda", 7),
        "in input order, with a line that has no answer": (8, "bda", 6),
    },
)
async def test_a_full_output_says_how_many_answers_are_lost(
    window: int | None, replies: str, lost: int
) -> None:
    """Those in flight, those that came, and those that wait for an earlier one: then three more are sent."""

    def full(*_: Result) -> None:
        raise CannotWrite("no space")

    run = Run(slots=4, window=window)
    await run.begin(lines("abcdefgh"))
    run.write = run.write_missing = full
    await run.reply(*replies)
    with pytest.raises(CannotWrite, match=f"^no space: {lost} answers are lost$"):
        await run.end()


async def test_a_reader_that_is_gone_ends_the_run_too() -> None:
    """Its end is a signal's, which is no Exception."""

    def gone(result: Result) -> None:
        raise Interrupted(signal.SIGPIPE)

    run = await begun("abcd", slots=2)
    run.write = gone
    await run.reply("a")
    with pytest.raises(Interrupted):
        await run.end()
    assert run.logged("sent") == ["a", "b"]


async def test_a_failing_input_sends_nothing_more_and_loses_nothing_in_flight() -> None:
    async def items() -> AsyncIterator[Item]:
        for number, text in enumerate("abc", 1):
            yield item(number, text)
        raise MissingInput("cannot read")

    run = Run(slots=2)
    await run.begin(items())
    await run.reply("b", "a")
    with pytest.raises(MissingInput, match="cannot read"):
        await run.end()
    assert run.logged("sent") == ["a", "b"]
    assert run.logged("out") == ["b", "a"]


async def test_a_budget_that_fails_in_the_turn_of_an_answer_is_the_end_of_the_run() -> None:
    """A model without a price: known only when its line is to be sent."""

    class NoPrice(Run):
        def reserve(self, request: RunRequest) -> Stop | None:
            if request.custom_id == "c":
                raise ChatpipeError("no price")
            return super().reserve(request)

    run = NoPrice(slots=1)
    await run.begin(lines("abcd"))
    await run.reply("a")
    await run.reply("b")
    with pytest.raises(ChatpipeError, match="no price"):
        await run.end()
    assert run.logged("out") == ["a", "b"]
