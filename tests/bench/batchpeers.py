"""What people write instead of `batch`: scripts with the openai SDK and with aiohttp, one of the
cookbook's design, and xargs with curl.

All get the same lines, or the first of them where more would take too long, and write JSON to stdout.
None of them checks a request or remembers an answer; what a run of ours costs includes both.
"""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from . import peervenv
from .machine import Place
from .measure import Case

_CURL_LINES = 500
_CURLS = 32
_SCRIPTS = Path(__file__).with_name("scripts")


class Limits(NamedTuple):
    """How many times ours it is to take."""

    reach: float | None = None
    dream: float | None = None


class Peer(NamedTuple):
    case: Case
    lines: int
    cpu: Limits = Limits()
    time: Limits = Limits()


def peers(place: Place, url: str, file: Path, jobs: int) -> list[Peer]:
    """Those that are there. file holds Batch lines; url is a base URL."""
    found = [_curl(place, url, file)] if _has_curl() else []
    try:
        python = peervenv.python()
    except peervenv.Missing:
        return found
    return [*_scripts(place, python, url, file, jobs), *found]


def missing() -> Iterator[str]:
    """What could not be compared here."""
    if not _has_curl():
        yield "xargs with curl"
    try:
        peervenv.python()
    except peervenv.Missing as missing:
        yield f"scripts ({missing})"


def _scripts(place: Place, python: Path, url: str, file: Path, jobs: int) -> Iterator[Peer]:
    lines = file.read_bytes().count(b"\n")

    def case(name: str, script: str, *words: str, expects: bytes) -> Case:
        argv = [str(python), str(_SCRIPTS / script), url, *words]
        return Case(name, argv, place.environment(), expects)

    spaced, dense = b'"custom_id": "r-%d"' % (lines - 1), b'"custom_id":"r-%d"' % (lines - 1)
    at_once = (str(jobs), str(file))
    sdk = case("openai SDK and a semaphore", "sdk.py", *at_once, expects=spaced)
    workers = case("aiohttp, orjson, workers", "workers.py", *at_once, expects=dense)
    cookbook = case("the cookbook's design", "cookbook.py", str(file), "/dev/stdout", expects=spaced)
    yield Peer(sdk, lines, cpu=Limits(15, 25))
    yield Peer(workers, lines)
    yield Peer(cookbook, lines, time=Limits(6, 7.5))


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


def _has_curl() -> bool:
    return all(map(shutil.which, ("xargs", "curl")))
