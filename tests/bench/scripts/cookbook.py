"""`python cookbook.py URL FILE OUT`: a script of the design that the OpenAI cookbook made popular.

One loop looks every millisecond whether there is room for one more request: in a bucket of requests
and in one of tokens, both filled by the clock. A request is a task; a failed one goes into a queue
and is tried again, and each answer is appended to a file that is opened for it. The limits are so
high here that only the loop itself holds it back, and tokens are guessed from the length: with a
tokenizer it would take longer.
"""

import asyncio
import json
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import aiohttp  # type: ignore[import-not-found]  # runs in an environment of its own

_LOOK_S = 0.001
_COOL_DOWN_S = 15
_TRIES = 5
_PER_MINUTE = 1e9


@dataclass
class Call:
    line: dict[str, Any]
    tokens: float
    tries_left: int = _TRIES


class Bucket:
    def __init__(self, per_minute: float) -> None:
        self.per_minute = self.level = per_minute
        self.filled = time.time()

    def fill(self) -> None:
        now = time.time()
        self.level = min(self.per_minute, self.level + self.per_minute * (now - self.filled) / 60)
        self.filled = now


class Script:
    def __init__(self, url: str, lines: Iterator[str], out: str) -> None:
        self.url = url
        self.lines = lines
        self.out = out
        self.again: deque[Call] = deque()
        self.running = 0
        self.limited_at = -float("inf")
        self.is_read = False

    async def run(self) -> None:
        requests, tokens = Bucket(_PER_MINUTE), Bucket(_PER_MINUTE)
        tasks: set[asyncio.Task[None]] = set()
        call: Call | None = None
        async with aiohttp.ClientSession() as session:
            while True:
                call = call or self.next_call()
                requests.fill()
                tokens.fill()
                if call is not None and requests.level >= 1 and tokens.level >= call.tokens:
                    requests.level -= 1
                    tokens.level -= call.tokens
                    self.running += 1
                    task = asyncio.create_task(self.send(session, call))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                    call = None
                if self.is_read and not self.running and not self.again and call is None:
                    return
                await asyncio.sleep(_LOOK_S)
                left_s = self.limited_at + _COOL_DOWN_S - time.time()
                if left_s > 0:
                    await asyncio.sleep(left_s)

    def next_call(self) -> Call | None:
        if self.again:
            return self.again.popleft()
        text = next(self.lines, None)
        if text is None:
            self.is_read = True
            return None
        line = json.loads(text)
        return Call(line, sum(len(message["content"]) for message in line["body"]["messages"]) / 4 + 15)

    async def send(self, session: aiohttp.ClientSession, call: Call) -> None:
        try:
            async with session.post(self.url, json=call.line["body"]) as reply:
                answer = await reply.json()
            failure = answer.get("error")
        except (aiohttp.ClientError, ValueError) as error:
            failure = str(error)
        if failure is None:
            self.append({"custom_id": call.line["custom_id"], "body": answer})
        else:
            self.failed(call, failure)
        self.running -= 1

    def failed(self, call: Call, failure: Any) -> None:
        if "rate limit" in str(failure).lower():
            self.limited_at = time.time()
        call.tries_left -= 1
        if call.tries_left:
            self.again.append(call)
        else:
            self.append({"custom_id": call.line["custom_id"], "error": failure})

    def append(self, record: dict[str, Any]) -> None:
        with open(self.out, "a") as file:
            file.write(json.dumps(record) + "\n")


def main(base_url: str, file: str, out: str) -> None:
    with open(file) as lines:
        asyncio.run(Script(f"{base_url}/chat/completions", iter(lines), out).run())


main(*sys.argv[1:])
