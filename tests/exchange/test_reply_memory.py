"""The memory that the replies of a run take together: beyond a limit, only the oldest is read on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson

from chatpipe.server.request_extensions import REPLY_MEMORY
from chatpipe.wire.answer import Answer
from chatpipe.wire.reply_memory import ReplyMemory
from chatpipe.wire.reply_reader import read_reply
from exchange.scripted import URL, Receiver, content
from support.senders import event_loop
from support.servers.loopback import completion

BODY = orjson.dumps(completion("x" * 100_000))
PIECE = 1000


class Body(httpx.AsyncByteStream):
    """A body in pieces. peaks gets the bytes of all replies before each."""

    def __init__(self, memory: ReplyMemory, peaks: list[int]) -> None:
        self._memory = memory
        self._peaks = peaks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(BODY), PIECE):
            await asyncio.sleep(0)  # the others have a turn
            self._peaks.append(self._memory.bytes)
            yield BODY[start : start + PIECE]


async def read(memory: ReplyMemory, peaks: list[int]) -> Answer:
    request = httpx.Request("POST", URL, extensions={REPLY_MEMORY: memory})
    response = httpx.Response(200, stream=Body(memory, peaks))
    answer, _ = await read_reply(response, {"content-type": "application/json"}, request, Receiver())
    return answer


async def read_at_once(memory: ReplyMemory, count: int) -> tuple[list[Answer], int]:
    """The answers to count requests, and the most bytes that their replies had together."""
    peaks: list[int] = []
    answers = await asyncio.gather(*(read(memory, peaks) for _ in range(count)))
    return list(answers), max(peaks)


def run(limit: int, count: int) -> int:
    memory = ReplyMemory(limit)
    with event_loop() as run_in_loop:
        answers, most = run_in_loop(read_at_once(memory, count))
    assert [content(answer) for answer in answers] == ["x" * 100_000] * count
    assert memory.bytes == 0
    return int(most)


def test_replies_beyond_the_limit_wait_for_the_oldest() -> None:
    assert run(limit=10_000_000, count=8) > 7 * len(BODY)
    # Each of the others has read one piece at most when the limit is reached.
    assert run(limit=50_000, count=8) <= 50_000 + len(BODY) + 8 * PIECE


def test_one_reply_may_be_longer_than_the_limit_of_all() -> None:
    assert run(limit=10, count=3) <= len(BODY) + 3 * PIECE


def test_a_reply_that_is_given_up_while_it_waits_leaves_room_to_the_others() -> None:
    memory = ReplyMemory(10)

    async def main() -> list[Any]:
        peaks: list[int] = []
        tasks = [asyncio.create_task(read(memory, peaks)) for _ in range(4)]
        while memory.bytes <= 5 * PIECE:
            await asyncio.sleep(0)
        tasks[0].cancel()
        tasks[2].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    with event_loop() as run_in_loop:
        ends = run_in_loop(main())
    assert [type(end) for end in ends] == [asyncio.CancelledError, Answer, asyncio.CancelledError, Answer]
    assert memory.bytes == 0
