"""`python backoff.py URL JOBS FILE`: workers.py, with the retries that people write: plain backoff.

A refused request is sent again after 0.5 s, 1 s, 2 s ... up to 60 s, with jitter, or after Retry-After.
"""

import asyncio
import random
import sys

import aiohttp  # type: ignore[import-not-found]  # runs in an environment of its own
import orjson

_JSON = {"content-type": "application/json"}


async def ask(session: aiohttp.ClientSession, url: str, body: bytes) -> object:
    delay_s = 0.5
    while True:
        async with session.post(url, data=body, headers=_JSON) as reply:
            data = await reply.read()
            if reply.status < 400:
                return orjson.loads(data)
            asked = reply.headers.get("retry-after")
        await asyncio.sleep(float(asked) if asked else delay_s * random.uniform(0.75, 1.0))
        delay_s = min(2 * delay_s, 60.0)


async def work(session: aiohttp.ClientSession, url: str, lines: "asyncio.Queue[bytes | None]") -> None:
    while (text := await lines.get()) is not None:
        line = orjson.loads(text)
        answer = await ask(session, url, orjson.dumps(line["body"]))
        sys.stdout.buffer.write(orjson.dumps({"custom_id": line["custom_id"], "body": answer}) + b"\n")


async def main(base_url: str, jobs: str, file: str) -> None:
    count = int(jobs)
    lines: asyncio.Queue[bytes | None] = asyncio.Queue(2 * count)
    connector = aiohttp.TCPConnector(limit=count)
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as workers:
        for _ in range(count):
            workers.create_task(work(session, f"{base_url}/chat/completions", lines))
        with open(file, "rb") as inputs:
            for text in inputs:
                await lines.put(text)
        for _ in range(count):
            await lines.put(None)


asyncio.run(main(*sys.argv[1:]))
