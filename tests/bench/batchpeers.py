"""What people write instead of `batch`: a script with the openai SDK, one with aiohttp, xargs and curl.

All get the same lines, or the first of them where more would take too long, and write JSON to stdout.
"""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import NamedTuple

from .machine import CHECKOUT, Place
from .measure import Case

_HOME = CHECKOUT / ".venv-bench"  # which `--only startup` makes
_CURL_LINES = 500
_CURLS = 32
_SDK = """\
import asyncio, json, sys
from openai import AsyncOpenAI

async def main(url, jobs, file):
    client = AsyncOpenAI(base_url=url, api_key="none", max_retries=0)
    places = asyncio.Semaphore(int(jobs))

    async def one(line):
        async with places:
            answer = await client.chat.completions.create(**line["body"])
        print(json.dumps({"custom_id": line["custom_id"], "body": answer.model_dump()}))

    with open(file) as lines:
        await asyncio.gather(*[one(json.loads(line)) for line in lines])

asyncio.run(main(*sys.argv[1:]))
"""
_AIOHTTP = """\
import asyncio, json, sys
import aiohttp

async def main(url, jobs, file):
    connector = aiohttp.TCPConnector(limit=int(jobs))
    async with aiohttp.ClientSession(connector=connector) as session:
        places = asyncio.Semaphore(int(jobs))

        async def one(line):
            async with places:
                async with session.post(url + "/chat/completions", json=line["body"]) as reply:
                    answer = await reply.json()
            print(json.dumps({"custom_id": line["custom_id"], "body": answer}))

        with open(file) as lines:
            await asyncio.gather(*[one(json.loads(line)) for line in lines])

asyncio.run(main(*sys.argv[1:]))
"""


_SCRIPTS = {"openai": _SDK, "aiohttp": _AIOHTTP}


class Peer(NamedTuple):
    """reach, dream: how many times our CPU it is to take."""

    case: Case
    lines: int
    reach: float | None = None
    dream: float | None = None


def peers(place: Place, url: str, file: Path, jobs: int) -> list[Peer]:
    """Those that are there. file holds Batch lines; url is a base URL."""
    found = [_script(place, name, url, file, jobs) for name in _SCRIPTS if _has(name)]
    return [*found, _curl(place, url, file)] if _has_curl() else found


def missing() -> list[str]:
    """What could not be compared here."""
    return [name for name in _SCRIPTS if not _has(name)] + ([] if _has_curl() else ["xargs with curl"])


def _script(place: Place, name: str, url: str, file: Path, jobs: int) -> Peer:
    lines = file.read_bytes().count(b"\n")
    argv = [str(_HOME / "bin" / "python"), "-c", _SCRIPTS[name], url, str(jobs), str(file)]
    case = Case(f"{name} script", argv, place.environment(), b'"custom_id": "r-%d"' % (lines - 1))
    return Peer(
        case, lines, reach=15.0 if name == "openai" else None, dream=25.0 if name == "openai" else None
    )


def _curl(place: Place, url: str, file: Path) -> Peer:
    """A file for each body: JSON is not for xargs to quote."""
    bodies = place.scratch / "bodies"
    bodies.mkdir()
    with file.open() as lines:
        for at, line in enumerate(itertools.islice(lines, _CURL_LINES)):
            (bodies / f"{at}.json").write_text(json.dumps(json.loads(line)["body"]))
    kind = "Content-Type: application/json"
    command = f'printf "%s\\n" "$0"/* | xargs -P {_CURLS} -I @ curl -sS -H "$1" -d @@ "$2"'
    argv = ["/bin/sh", "-c", command, str(bodies), kind, f"{url}/chat/completions"]
    case = Case(f"xargs -P {_CURLS} curl", argv, place.environment(), b'"finish_reason"')
    return Peer(case, _CURL_LINES)


def _has(module: str) -> bool:
    return any(_HOME.glob(f"lib/python*/site-packages/{module}/__init__.py"))


def _has_curl() -> bool:
    return all(map(shutil.which, ("xargs", "curl")))
