"""`python workers.py URL JOBS FILE [backoff]`: Batch lines through aiohttp, as one can without a tool.

Workers on one queue, connections that are kept, orjson, one write a result. Nothing is checked or
remembered. With `backoff` a refused request is sent again after 0.5 s, 1 s, 2 s ... up to 60 s, with
jitter, or after Retry-After; without it nothing is tried again.
"""

import asyncio
import random
import sys

import aiohttp  # type: ignore[import-not-found]  # runs in an environment of its own
import orjson

_JSON = {"content-type": "application/json"}


async def ask(session: aiohttp.ClientSession, url: str, body: bytes, retries: bool) -> object:
    delay_s = 0.5
    while True:
        async with session.post(url, data=body, headers=_JSON) as reply:
            data = await reply.read()
            if reply.status < 400 or not retries:
                return orjson.loads(data)
            asked = reply.headers.get("retry-after")
        await asyncio.sleep(float(asked) if asked else delay_s * random.uniform(0.75, 1.0))
        delay_s = min(2 * delay_s, 60.0)


async def work(
    session: aiohttp.ClientSession, url: str, lines: "asyncio.Queue[bytes | None]", retries: bool
) -> None:
    while (text := await lines.get()) is not None:
        line = orjson.loads(text)
        answer = await ask(session, url, orjson.dumps(line["body"]), retries)
        sys.stdout.buffer.write(orjson.dumps({"custom_id": line["custom_id"], "body": answer}) + b"\n")


async def main(base_url: str, jobs: str, file: str, *words: str) -> None:
    count = int(jobs)
    lines: asyncio.Queue[bytes | None] = asyncio.Queue(2 * count)
    connector = aiohttp.TCPConnector(limit=count)
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as workers:
        for _ in range(count):
            workers.create_task(work(session, f"{base_url}/chat/completions", lines, "backoff" in words))
        with open(file, "rb") as inputs:
            for text in inputs:
                await lines.put(text)
        for _ in range(count):
            await lines.put(None)


asyncio.run(main(*sys.argv[1:]))
