"""The table of clients in chatpipe-testing(7), and the verdicts that it is made of.

One server has all faults, each for the requests whose text begins with its name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from manual import pages
from serve.client import Running, serving

FAULTS = {
    "status=429": "status=429,retry_after=1:times=1",
    "status=400": "status=400:times=1",
    "reset": "reset:times=1",
    "cut": "cut:times=1",
    "truncate": "truncate:times=1",
}
_SHORT = {"early-retry": "early", "useless-retry": "useless", "took-cut-for-whole": "took-cut"}

Table = dict[str, dict[str, str]]


def table() -> Table:
    """What the page says of each client: a word or a dash by fault."""
    lines = pages.source("chatpipe-testing").partition(".Bl -column")[2].partition(".El")[0].splitlines()[1:]
    head, *rows = (pages.plain(line).removeprefix(".It ").split(" Ta ") for line in lines)
    faults = [word.removeprefix("Cm ") for word in head[1:]]
    return {name: dict(zip(faults, words, strict=True)) for name, *words in rows}


def prompts() -> list[str]:
    return [f"{fault} one two three" for fault in FAULTS]


@contextmanager
def faulty_server(file: Path) -> Iterator[Running]:
    """A server, whose verdict is in the file at its end."""
    options = [word for name, fault in FAULTS.items() for word in ("--fault", f"{fault}:match={name} ")]
    with serving("-q", "--verdict", str(file), *options) as server:
        yield server
        server.process.terminate()
        server.process.communicate()


def verdict_on(run: Callable[[str], object], folder: Path) -> dict[str, str]:
    """A row of the table for a client, which run starts with the URL of the server."""
    file = folder / "verdict.json"
    with faulty_server(file) as server:
        run(server.url)
    verdict = json.loads(file.read_bytes())
    assert verdict["requests"] >= len(FAULTS)
    found = dict.fromkeys(FAULTS, "-")
    for finding in verdict["findings"]:
        if finding["severity"] == "wrong" and finding["kind"] in _SHORT:
            found[re.split(" ", finding["text"])[0]] = _SHORT[finding["kind"]]
    return found
