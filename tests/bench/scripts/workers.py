"""`python workers.py URL JOBS FILE`: Batch lines through aiohttp, as well as one can without a tool.

Workers on one queue, connections that are kept, orjson, one write a result. Nothing is checked,
tried again or remembered.
"""

import asyncio
import sys

import aiohttp  # type: ignore[import-not-found]  # runs in an environment of its own
import orjson

_JSON = {"content-type": "application/json"}


async def work(session: aiohttp.ClientSession, url: str, lines: "asyncio.Queue[bytes | None]") -> None:
    while (text := await lines.get()) is not None:
        line = orjson.loads(text)
        async with session.post(url, data=orjson.dumps(line["body"]), headers=_JSON) as reply:
            answer = orjson.loads(await reply.read())
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
