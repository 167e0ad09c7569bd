"""`python sdk.py URL JOBS FILE`: Batch lines through the openai SDK, the way its readers learn it."""

import asyncio
import json
import sys

from openai import AsyncOpenAI  # type: ignore[import-not-found]  # runs in an environment of its own


async def main(url: str, jobs: str, file: str) -> None:
    client = AsyncOpenAI(base_url=url, api_key="none", max_retries=0)
    places = asyncio.Semaphore(int(jobs))

    async def one(text: str) -> None:
        line = json.loads(text)
        async with places:
            answer = await client.chat.completions.create(**line["body"])
        print(json.dumps({"custom_id": line["custom_id"], "body": answer.model_dump()}))

    with open(file) as lines:
        await asyncio.gather(*map(one, lines))


asyncio.run(main(*sys.argv[1:]))
