"""The table in chatpipe-options(7) of formats whose answers are asked for again if they break off.

A server breaks every reply off, or sends an error in it, and logs each request. Each command of the table
asks it under a path of its own, with one retry.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from chatpipe.options.output import ANSWER_FORMATS, FORMATS, RUN_FORMATS
from manual import pages
from serve.client import serving
from support.process import sh

NONE = "-"  # the format is not offered
TIMES = {"no": 1, "again": 2, NONE: 0}  # requests with one retry
COLUMNS = ("stream", "whole", "run")
SPOKEN = "--modality text --modality audio --audio-voice v --audio-format pcm16"
WORDS = "one two three"
# The sound of a spoken answer comes after its transcript, so that a fault in the middle would be before it.
PLACES = (":match=written", "=8:match=spoken")


def table() -> dict[str, dict[str, str]]:
    """A word of the page for each format and column."""
    section = "\n".join(pages.subsections(pages.sections("chatpipe-options")["PACE AND RETRIES"])["Retries"])
    lines = section.partition(".Bl -column")[2].partition(".El")[0].splitlines()[2:]
    rows = [pages.plain(line).removeprefix(".It Cm ").split(" Ta ") for line in lines]
    return {name: dict(zip(COLUMNS, words, strict=True)) for name, *words in rows}


def test_the_table_has_every_format() -> None:
    sending = [name for name in RUN_FORMATS if FORMATS[name].sends]
    assert sorted(table()) == sorted({*ANSWER_FORMATS, *sending})
    for name, row in table().items():
        assert (row["run"] == NONE) == (name not in sending)
        assert (row["stream"] == NONE) == (name not in ANSWER_FORMATS)


def commands(root: str) -> dict[tuple[str, str], list[str]]:
    """The commands of each place of the table, for a server at root; a run asks for a stream and without."""
    found = {}
    for name, row in table().items():
        prompt = f"{SPOKEN} spoken {WORDS}" if FORMATS[name].is_audio else f"written {WORDS}"
        for column, word in row.items():
            streams = ["--stream", "--no-stream"] if column == "run" else [f"--{column}"]
            lines = []
            for stream in streams if word != NONE else []:
                flag = stream.replace("--whole", "--no-stream")
                what = f"batch {flag} in.jsonl" if column == "run" else f"ask {flag} {prompt}"
                url = f"{root}/{name}/{column}/v1"
                lines.append(f"chatpipe {what} -f {name} -q -m m --retries 1 --base-url {url}")
            found[name, column] = lines
    return found


@pytest.mark.parametrize("fault", ["cut", "error-event"])
def test_the_table_says_how_often_the_server_is_asked(fault: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    (tmp_path / "in.jsonl").write_text(json.dumps(f"written {WORDS}") + "\n")
    faults = [word for place in PLACES for word in ("--fault", fault + place)]
    with serving(*faults, "--log", str(log)) as server:
        placed = commands(server.url.removesuffix("/v1"))
        lines = [f"{line} >/dev/null 2>&1 &" for each in placed.values() for line in each]
        sh("\n".join([*lines, "wait"]), cwd=tmp_path)
        server.process.terminate()
        server.process.communicate()
    asked = Counter(json.loads(line)["path"] for line in log.read_text().splitlines())
    for (name, column), each in placed.items():
        count = asked[f"/{name}/{column}/v1/chat/completions"]
        assert count == len(each) * TIMES[table()[name][column]], (name, column)
