"""`python slots.py SLOTS SECONDS`: a server with so many slots, each answer taking so many seconds.

--retry-after S   say so when it refuses; without it a refusal has no delay
--queue           let a request without a slot wait, without a word, in place of refusing it

It prints its URL. GET /v1/stats tells the answers, the refusals, and how many requests were there at once.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import heapq
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.servers.loopback import Answer, Pause, Request, Server, completion, error, reply

_BODY = reply(200, completion("An answer that was made beforehand, of some sixty characters"))


class Slots:
    """The handler of such a server."""

    def __init__(self, slots: int, service_s: float, retry_after: str | None, *, queues: bool) -> None:
        self._service_s = service_s
        self._headers = {} if retry_after is None else {"retry-after": retry_after}
        self._queues = queues
        self._free_at = [0.0] * slots  # a heap: when each slot is free
        self._ends: list[float] = []  # a heap: when each request that is here will be answered
        self._answered = self._refused = self._peak = self._sum = 0

    def __call__(self, request: Request) -> Answer:
        if request.method == "GET":
            arrivals = max(1, self._answered)
            counts = {"answered": self._answered, "refused": self._refused, "peak": self._peak}
            return reply(200, {**counts, "mean": self._sum / arrivals})
        while self._ends and self._ends[0] <= request.at:
            heapq.heappop(self._ends)
        start = max(request.at, self._free_at[0])
        if start > request.at and not self._queues:
            self._refused += 1
            return error(429, "too many requests at a time", headers=self._headers)
        heapq.heapreplace(self._free_at, start + self._service_s)
        heapq.heappush(self._ends, start + self._service_s)
        self._answered += 1
        self._peak = max(self._peak, len(self._ends))
        self._sum += len(self._ends)
        return [Pause(start + self._service_s - request.at), _BODY]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("slots", type=int)
    parser.add_argument("service_s", type=float)
    parser.add_argument("--retry-after")
    parser.add_argument("--queue", action="store_true")
    options = parser.parse_args()
    handler = Slots(options.slots, options.service_s, options.retry_after, queues=options.queue)
    server = Server(handler, keep=False)
    server.listen()
    print(server.url, flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(server.serving())


if __name__ == "__main__":
    main()
