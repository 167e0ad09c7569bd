"""The engine by itself: what it sends when, with a server that answers when the test says so."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from typing import Any

import pytest

from chatpipe.batch.lines import Item
from chatpipe.batch.recorded import Found
from chatpipe.batch.results import Maker, Result
from chatpipe.batch.run import Engine, Stop
from chatpipe.errors import BadInput, CannotWrite, ChatpipeError, Interrupted, MissingInput
from chatpipe.wire.answer import Answer
from parametrize import cases

MAKER = Maker(frozenset(), calls_are_final=False)
BAD = "bad"  # a line that is no request
STORED = "stored"  # what a line that was answered before begins with


def item(number: int, text: str) -> Item:
    body = {"model": "m", "messages": [{"role": "user", "content": text}]}
    fault = BadInput("no good") if text == BAD else None
    return Item(number, text, None if fault else body, fault)


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
    """An engine and everything around it. log tells what happened: asked, sent, out and let go."""

    def __init__(
        self,
        *,
        places: int = 2,
        window: int | None = None,
        dedupe: bool = False,
        budget: int = 1000,
        halts: dict[str, Stop] | None = None,
    ) -> None:
        """budget: items that may be sent. halts: results that end the run, by their ids."""
        self.places = places
        self.log: list[str] = []
        self.read = 0
        self.kept: list[int] = []
        self.came: list[str] = []
        self.counted: list[str] = []
        self.peak = 0
        self._left = budget
        self._halts = halts or {}
        self._flying: dict[int, tuple[str, asyncio.Future[Answer]]] = {}
        self.deliver: Callable[[Result], None] = lambda result: None
        self.engine = Engine(
            send=self._send,
            deliver=self._deliver,
            known=self,
            course=self,
            maker=MAKER,
            let_go=lambda: self.log.append("let go"),
            window=window,
            dedupe=dedupe,
        )
        self._task: asyncio.Task[None] | None = None

    # Known

    def fingerprint(self, item: Item) -> str:
        return item.custom_id

    def answer(self, item: Item, fingerprint: str) -> Found | None:
        return Found(b"{}", "ok", 0) if item.custom_id.startswith(STORED) else None

    def keep(self, number: int, result: Result) -> None:
        self.kept.append(number)

    # Course

    def may_send(self, item: Item) -> Stop | None:
        self.log.append(f"asked {item.custom_id}")
        self._left -= 1
        return Stop(ChatpipeError("no money")) if self._left < 0 else None

    def arrived(self, result: Result) -> Stop | None:
        self.came.append(result.item.custom_id)
        return self._halts.get(result.item.custom_id)

    def handed_on(self, result: Result) -> None:
        assert self.log[-1] == f"out {result.item.custom_id}"  # nothing is counted before it is written
        self.counted.append(result.item.custom_id)

    # The world

    async def _send(self, item: Item) -> tuple[Answer, float]:
        self.log.append(f"sent {item.custom_id}")
        future = asyncio.get_running_loop().create_future()
        self._flying[item.line] = item.custom_id, future
        self.peak = max(self.peak, len(self._flying))
        try:
            return await future, 0.1
        finally:
            del self._flying[item.line]

    def _deliver(self, result: Result) -> None:
        assert result.item.custom_id in self.came
        self.deliver(result)
        self.log.append(f"out {result.item.custom_id}")

    async def _counted(self, items: AsyncIterator[Item]) -> AsyncIterator[Item]:
        async for each in items:
            self.read += 1
            yield each

    async def begin(self, items: AsyncIterator[Item]) -> None:
        self._task = asyncio.create_task(self.engine.run(self._counted(items)))
        await some_turns()

    async def reply(self, *texts: str) -> None:
        """Answer these in one turn, in that order, as when they come in one burst."""
        for text in texts:
            self._reply_to(next(line for line, (name, _) in self._flying.items() if name == text))
        await some_turns()

    def _reply_to(self, line: int) -> None:
        text, future = self._flying[line]
        future.set_result(answer(text))

    async def reply_to_all(self) -> None:
        while self._flying:
            for line in list(self._flying):
                self._reply_to(line)
            await some_turns()

    async def reply_to_some(self, rng: random.Random) -> None:
        """Answer a part of what is in flight, in any order."""
        flying = list(self._flying)
        for line in rng.sample(flying, rng.randint(1, len(flying))):
            self._reply_to(line)
        await some_turns()

    async def end(self) -> None:
        """Raises what the run raises; it has to be over by itself."""
        assert self._task is not None
        await some_turns()
        assert self._task.done()
        await self._task

    # What happened

    @property
    def flying(self) -> list[str]:
        return [text for text, _ in self._flying.values()]

    def logged(self, what: str) -> list[str]:
        return [line.removeprefix(f"{what} ") for line in self.log if line.startswith(f"{what} ")]


def play(script: Coroutine[Any, Any, None]) -> None:
    asyncio.run(script)


# Places


def test_the_next_is_sent_before_another_answer_of_the_same_burst_is_read() -> None:
    async def script() -> None:
        run = Run(places=3)
        await run.begin(lines("abcdef"))
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
        await run.reply_to_all()
        await run.end()

    play(script())


@pytest.mark.parametrize("places", [1, 2, 5, 300])
def test_all_places_are_used_and_no_more(places: int) -> None:
    async def script() -> None:
        run = Run(places=places)
        texts = [f"p{number}" for number in range(1000)]
        await run.begin(lines(texts))
        assert len(run.flying) == places
        await run.reply_to_all()
        await run.end()
        assert run.peak == places
        assert run.logged("sent") == texts
        assert sorted(run.logged("out")) == sorted(texts)

    play(script())


def test_more_places_are_taken_with_the_next_answer() -> None:
    async def script() -> None:
        run = Run(places=2)
        await run.begin(lines("abcdefgh"))
        run.places = 4
        await run.reply("a")
        assert run.flying == ["b", "c", "d", "e"]
        await run.reply_to_all()
        await run.end()
        assert run.peak == 4

    play(script())


def test_fewer_places_are_left_empty_and_taken_again_when_there_are_more() -> None:
    async def script() -> None:
        run = Run(places=4)
        await run.begin(lines("abcdefgh"))
        run.places = 2
        await run.reply("a")
        assert run.flying == ["b", "c", "d"]
        await run.reply("b", "c")
        assert run.flying == ["d", "e"]
        run.places = 3
        await run.reply("d")
        assert run.flying == ["e", "f", "g"]
        await run.reply_to_all()
        await run.end()
        assert run.logged("sent") == list("abcdefgh")

    play(script())


# What is made ready


@cases(
    "places, size, expected",
    {
        "one place": (1, 1, 2),
        "as many as places": (16, 1, 32),
        "256 at most": (1000, 1, 1256),
        "one if they are large": (16, 5 << 20, 17),
        "a few if they are not small": (16, 1 << 20, 20),
    },
)
def test_so_much_is_read_ahead(places: int, size: int, expected: int) -> None:
    """What is in flight, and as much again that is ready."""

    async def script() -> None:
        run = Run(places=places)
        text = "x" * size
        await run.begin(item(number, text) async for number, text in _endless(text))
        assert len(run.flying) == places
        assert run.read == expected
        signal.raise_signal(signal.SIGTERM)
        await some_turns()
        await run.reply_to_all()
        await run.end()

    play(script())


async def _endless(text: str) -> AsyncIterator[tuple[int, str]]:
    number = 0
    while True:
        number += 1
        yield number, text


def test_an_item_is_sent_when_it_has_come_not_with_the_one_after_it() -> None:
    async def script() -> None:
        typed: asyncio.Queue[str | None] = asyncio.Queue()

        async def items() -> AsyncIterator[Item]:
            number = 0
            while (text := await typed.get()) is not None:
                number += 1
                yield item(number, text)

        run = Run(places=2)
        await run.begin(items())
        for text in "abc":
            await typed.put(text)
            await some_turns()
            assert run.flying == [text]
            await run.reply(text)
            assert run.logged("out")[-1] == text
        await typed.put(None)
        await run.end()

    play(script())


def test_what_needs_no_answer_is_counted_after_those_before_it_are_on_their_way() -> None:
    """A halt rule would otherwise end the run over a line that is far behind."""

    async def script() -> None:
        run = Run(places=2, halts={BAD: Stop(ChatpipeError("halted"))})
        await run.begin(lines(["a", "b", "c", BAD, "d"]))
        assert run.logged("out") == []
        await run.reply("a")
        assert run.logged("out") == ["a", BAD]
        assert run.flying == ["b", "c"]
        await run.reply("b", "c")
        await run.end()
        assert run.logged("out") == ["a", BAD, "b", "c"]
        assert run.logged("sent") == ["a", "b", "c"]

    play(script())


# In order


@pytest.mark.parametrize("places", [1, 2, 8])
@pytest.mark.parametrize("window", [1, 2, 5])
def test_a_slow_first_item_holds_the_others_within_the_window(window: int, places: int) -> None:
    async def script() -> None:
        texts = [f"p{number}" for number in range(12)]
        run = Run(places=places, window=window)
        await run.begin(lines(texts))
        while others := [text for text in run.flying if text != "p0"]:
            await run.reply(*others)
        assert run.logged("sent") == texts[: window if places > 1 else 1]
        assert run.logged("out") == []
        await run.reply("p0")
        await run.reply_to_all()
        await run.end()
        assert run.logged("out") == texts

    play(script())


def test_the_window_counts_what_needs_no_answer_too() -> None:
    async def script() -> None:
        texts = ["a", *[f"{STORED} {number}" for number in range(9)], "b"]
        run = Run(places=4, window=3)
        await run.begin(lines(texts))
        assert run.kept == [1, 2]
        assert run.logged("out") == []
        await run.reply("a")
        assert run.flying == ["b"]
        await run.reply("b")
        await run.end()
        assert run.logged("out") == texts

    play(script())


@pytest.mark.parametrize("seed", range(60))
def test_every_item_has_one_result_whatever_comes_when(seed: int) -> None:
    """Any places that change, any window, any answers at hand, equal items, replies in any order."""

    async def script() -> None:
        rng = random.Random(seed)
        most = rng.choice([1, 2, 3, 8, 40])
        window = rng.choice([None, None, 1, 2, 7, 50])
        dedupe = rng.random() < 0.5
        names = ["a", "b", "c", *(f"p{number}" for number in range(30)), BAD, f"{STORED} x", f"{STORED} y"]
        texts = [rng.choice(names) for _ in range(rng.choice([0, 1, 5, 80]))]
        run = Run(places=most, window=window, dedupe=dedupe)
        await run.begin(lines(texts))
        while run.flying:
            run.places = rng.randint(1, most)
            await run.reply_to_some(rng)
            if window is not None:
                assert len(run.kept) - len(run.logged("out")) <= window
        await run.end()

        assert sorted(run.kept) == list(range(len(texts)))
        assert sorted(run.came) == sorted(texts)
        assert run.counted == run.logged("out")
        assert sorted(run.logged("out")) == sorted(texts)
        assert window is None or run.logged("out") == texts
        assert run.peak <= most
        assert sorted(run.logged("asked")) == sorted(run.logged("sent"))
        to_send = [text for text in texts if text != BAD and not text.startswith(STORED)]
        assert set(run.logged("sent")) == set(to_send)
        assert dedupe or run.logged("asked") == to_send

    play(script())


# Equal items


def test_an_item_that_equals_one_in_line_is_not_sent() -> None:
    async def script() -> None:
        run = Run(places=1, dedupe=True)
        await run.begin(lines("abbc"))
        await run.reply("a")
        await run.reply("b")
        assert run.logged("out") == ["a", "b", "b"]
        await run.reply("c")
        await run.end()
        assert run.logged("sent") == ["a", "b", "c"]
        assert run.kept == [0, 1, 2, 3]

    play(script())


def test_an_item_that_equals_one_that_is_never_sent_has_no_result() -> None:
    async def script() -> None:
        run = Run(places=1, dedupe=True, halts={"a": Stop(ChatpipeError("halted"))})
        await run.begin(lines("abbb"))
        await run.reply("a")
        await run.end()
        assert run.logged("out") == run.logged("sent") == ["a"]

    play(script())


def test_no_more_than_so_many_wait_for_the_answer_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """An endless input of one question, with a slow answer to it, does not fill the memory."""
    monkeypatch.setattr("chatpipe.batch.run._FOLLOWERS", 3)

    async def script() -> None:
        run = Run(places=1, dedupe=True)
        await run.begin(lines("a" * 8))
        assert run.read == 5  # one is sent, three wait for it, and one is not put beside them
        await run.reply("a")
        await run.reply_to_all()
        await run.end()
        assert run.kept == list(range(8))

    play(script())


# The budget


def test_the_budget_is_asked_once_an_item_when_its_place_is_there() -> None:
    async def script() -> None:
        run = Run(places=2)
        await run.begin(lines("abcde"))
        assert run.log == ["asked a", "asked b", "sent a", "sent b"]
        await run.reply("b")
        assert run.log[4:] == ["out b", "asked c", "sent c"]
        await run.reply_to_all()
        await run.end()
        assert run.logged("asked") == list("abcde")

    play(script())


@pytest.mark.parametrize("places", [1, 2, 8])
def test_a_budget_that_is_used_up_stops_before_the_next_and_not_what_it_allowed(places: int) -> None:
    async def script() -> None:
        run = Run(places=places, budget=4)
        await run.begin(lines("abcdefgh"))
        await run.reply_to_all()
        await run.end()
        assert [*dict.fromkeys(run.logged("asked"))] == list("abcde")
        assert run.logged("sent") == run.logged("out") == list("abcd")
        assert run.engine.stop is not None

    play(script())


def test_what_is_in_flight_is_waited_for_before_a_budget_is_taken_for_used_up() -> None:
    class Refunded(Run):
        """Sets aside all that is left for each item, which then costs nothing."""

        granted = 0

        def may_send(self, item: Item) -> Stop | None:
            if self.granted > len(self.logged("out")):
                return Stop(ChatpipeError("no money"))
            self.granted += 1
            return None

    async def script() -> None:
        run = Refunded(places=3)
        await run.begin(lines("abc"))
        for name in "abc":
            assert run.logged("sent")[-1] == name
            await run.reply(name)
        await run.end()
        assert run.logged("out") == list("abc")
        assert run.engine.stop is None

    play(script())


# The end before the end


def test_halt_soon_sends_nothing_of_what_is_ready_and_waits_for_what_is_in_flight() -> None:
    async def script() -> None:
        run = Run(places=3, halts={"b": Stop(ChatpipeError("halted"))})
        await run.begin(lines("abcdefgh"))
        await run.reply("b", "a")
        assert run.logged("sent") == ["a", "b", "c"]
        await run.reply("c")
        await run.end()
        assert run.logged("out") == ["b", "a", "c"]
        assert run.log.count("let go") == 1

    play(script())


@pytest.mark.parametrize("now", [False, True], ids=["soon", "now"])
def test_in_order_a_result_ends_the_run_when_it_comes_not_when_it_is_its_turn(now: bool) -> None:
    async def script() -> None:
        run = Run(places=4, window=16, halts={"b": Stop(ChatpipeError("halted"), now=now)})
        await run.begin(lines("abcdefgh"))
        await run.reply("d", "b")
        assert run.logged("sent") == list("abcde")
        assert run.flying == ([] if now else ["a", "c", "e"])
        await run.reply_to_all()
        await run.end()
        assert run.logged("sent") == list("abcde")
        assert run.logged("out") == run.counted == (list("bd") if now else list("abcde"))

    play(script())


def test_halt_now_gives_up_what_is_in_flight() -> None:
    async def script() -> None:
        run = Run(places=3, halts={"b": Stop(ChatpipeError("halted"), now=True)})
        await run.begin(lines("abcdefgh"))
        await run.reply("b")
        await run.end()
        assert (run.logged("out"), run.logged("sent"), run.flying) == (["b"], ["a", "b", "c"], [])

    play(script())


def test_what_was_held_for_its_turn_is_handed_on_when_the_run_is_halted() -> None:
    async def script() -> None:
        run = Run(places=3, window=9, halts={"a": Stop(ChatpipeError("halted"), now=True)})
        await run.begin(lines("abcdefgh"))
        await run.reply("c")
        await run.reply("d", "a")
        await run.end()
        assert run.logged("out") == ["a", "c", "d"]

    play(script())


def test_the_first_signal_sends_no_more_and_the_second_waits_for_nothing() -> None:
    async def script() -> None:
        run = Run(places=3)
        await run.begin(lines("abcdefgh"))
        signal.raise_signal(signal.SIGINT)
        await some_turns()
        await run.reply("a")
        assert run.flying == ["b", "c"]
        signal.raise_signal(signal.SIGTERM)
        await run.end()
        assert (run.logged("out"), run.logged("sent"), run.flying) == (["a"], ["a", "b", "c"], [])
        assert run.engine.stop is not None
        assert run.engine.stop.number == signal.SIGINT

    play(script())


def test_an_output_that_fails_ends_the_run_before_the_rest_of_a_burst_sends_more() -> None:
    async def script() -> None:
        def full(result: Result) -> None:
            raise CannotWrite("no space")

        run = Run(places=4)
        await run.begin(lines("abcdefgh"))
        run.deliver = full
        await run.reply("a", "b", "c", "d")
        assert run.logged("sent") == ["a", "b", "c", "d"]
        with pytest.raises(CannotWrite, match="no space"):
            await run.end()
        assert run.flying == []

    play(script())


def test_a_reader_that_is_gone_ends_the_run_too() -> None:
    """Its end is a signal's, which is no Exception."""

    async def script() -> None:
        def gone(result: Result) -> None:
            raise Interrupted(signal.SIGPIPE)

        run = Run(places=2)
        await run.begin(lines("abcd"))
        run.deliver = gone
        await run.reply("a")
        with pytest.raises(Interrupted):
            await run.end()
        assert run.logged("sent") == ["a", "b"]

    play(script())


def test_an_input_that_fails_sends_nothing_of_what_is_ready_and_loses_nothing_in_flight() -> None:
    async def script() -> None:
        async def items() -> AsyncIterator[Item]:
            for number, text in enumerate("abc", 1):
                yield item(number, text)
            raise MissingInput("cannot read")

        run = Run(places=2)
        await run.begin(items())
        await run.reply("b", "a")
        with pytest.raises(MissingInput, match="cannot read"):
            await run.end()
        assert run.logged("sent") == ["a", "b"]
        assert run.logged("out") == ["b", "a"]

    play(script())


def test_a_budget_that_fails_in_the_turn_of_an_answer_is_the_end_of_the_run() -> None:
    """A model without a price: known only when its line is to be sent."""

    async def script() -> None:
        class NoPrice(Run):
            def may_send(self, item: Item) -> Stop | None:
                if item.custom_id == "c":
                    raise ChatpipeError("no price")
                return super().may_send(item)

        run = NoPrice(places=1)
        await run.begin(lines("abcd"))
        await run.reply("a")
        await run.reply("b")
        with pytest.raises(ChatpipeError, match="no price"):
            await run.end()
        assert run.logged("out") == ["a", "b"]

    play(script())
