"""The many-connections transport: CPU a request, and a chunk of a stream.

    python tests/bench/pool.py [--flight 64,256,512,2000] [--requests N] [--rounds N] [--uvloop]

The server answers everybody the same, made beforehand, in a process of its own: its CPU is not in
the figures. Medians; each round is a fresh transport, its connections opened before the clock runs.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import importlib
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import httpx

from chatpipe.wire.pool import PoolTransport

_SERVER = Path(__file__).parents[1] / "support" / "servers" / "loopback.py"
_BODY = b'{"model":"m","messages":[{"role":"user","content":"%b"}]}' % (b"word " * 60)
_LIMITS = {"connect": 10.0, "read": 60.0, "write": 60.0, "pool": None}
_CHUNKS = 20_000
_STREAMS = 8


@contextlib.contextmanager
def server(*options: str) -> Iterator[httpx.URL]:
    process = subprocess.Popen([sys.executable, _SERVER, *options], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield httpx.URL(process.stdout.readline().strip() + "/chat/completions")
    finally:
        process.kill()
        process.wait()


class Load:
    def __init__(self, url: httpx.URL) -> None:
        self.transport = PoolTransport()
        self._url = url
        self._headers = httpx.Headers(
            {
                "Host": url.netloc.decode(),
                "Authorization": "Bearer k",
                "Content-Type": "application/json",
                "Accept": "application/json",
                "User-Agent": "chatpipe",
            }
        )

    async def send(self) -> httpx.Response:
        request = httpx.Request(
            "POST",
            self._url,
            headers=self._headers,
            stream=httpx.ByteStream(_BODY),
            extensions={"timeout": _LIMITS, "deadline": None},
        )
        return await self.transport.handle_async_request(request)

    async def many(self, count: int, in_flight: int) -> None:
        left = iter(range(count))

        async def work() -> None:
            for _ in left:
                response = await self.send()
                assert isinstance(response.stream, httpx.ByteStream)
                assert b"".join(response.stream)

        await asyncio.gather(*(work() for _ in range(in_flight)))

    async def stream(self) -> int:
        response = await self.send()
        assert isinstance(response.stream, httpx.AsyncByteStream)
        pieces = 0
        async for _ in response.stream:
            pieces += 1
        return pieces


async def requests(url: httpx.URL, count: int, in_flight: int) -> tuple[float, float]:
    """Microseconds of CPU, and of the clock, a request."""
    load = Load(url)
    await load.many(in_flight * 2, in_flight)
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    await load.many(count, in_flight)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    await load.transport.aclose()
    return cpu * 1e6 / count, wall * 1e6 / count


async def chunks(url: httpx.URL) -> tuple[float, float]:
    """Microseconds of CPU a chunk, and how many chunks a piece of the body holds."""
    load = Load(url)
    cpu = time.process_time()
    pieces = sum(await asyncio.gather(*(load.stream() for _ in range(_STREAMS))))
    cpu = time.process_time() - cpu
    await load.transport.aclose()
    return cpu * 1e6 / (_CHUNKS * _STREAMS), _CHUNKS * _STREAMS / pieces


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--flight", default="64,256,512,2000", help="how many at a time")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--uvloop", action="store_true")
    options = parser.parse_args()

    def run(coroutine: Coroutine[Any, Any, tuple[float, float]]) -> tuple[float, float]:
        factory = None
        if options.uvloop:
            factory = importlib.import_module("uvloop").new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(coroutine)

    with server("--canned") as url:
        for in_flight in map(int, options.flight.split(",")):
            costs = [run(requests(url, options.requests, in_flight)) for _ in range(options.rounds)]
            cpu, wall = (statistics.median(column) for column in zip(*costs, strict=True))
            print(f"{in_flight:5} in flight: {cpu:6.1f} us of CPU a request, {wall:6.1f} us of the clock")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory {peak:.0f} MB")
    for per_write in (1, 64):
        with server("--chunks", str(_CHUNKS), "--per-write", str(per_write)) as url:
            costs = [run(chunks(url)) for _ in range(options.rounds)]
            cpu, at_once = (statistics.median(column) for column in zip(*costs, strict=True))
            print(f"{per_write:3} chunks a write: {cpu:5.2f} us a chunk, {at_once:.1f} chunks a piece")


if __name__ == "__main__":
    main()
