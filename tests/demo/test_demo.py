"""`make demo` shows what it should, and the picture of the README shows what it shows today."""

from __future__ import annotations

import html
import os
import re
from pathlib import Path

from demo.picture import DEMO, Frame, Row, record, spans, svg
from manual import pages
from support.process import environment, sh

# As few lines as still show a run that is killed and resumed.
_LINES = "48"
_PICTURE = pages.ROOT / "share" / "demo.svg"


def masked(text: str) -> str:
    """The text of a screen without what differs between recordings: numbers, and a bar that was killed."""
    text = re.sub(r"chatpipe: +\d+%\|.*\n", "", text)
    return re.sub(r"\d+(\.\d+)?[kM]?", "N", text)


def shown(picture: str) -> str:
    """The last screen of a picture: the rows that nothing follows."""
    rows: dict[float, str] = {}
    for attributes, text in re.findall(r"<text ([^>]*)>([^<]*)</text>", picture):
        if not re.search(r'class="[^"]*\bg\b', attributes):
            y = re.search(r' y="([\d.]+)"', attributes)
            assert y is not None
            rows[float(y[1])] = html.unescape(text)
    return "\n".join(rows[y] for y in sorted(rows))


def test_the_picture_shows_what_the_demo_shows_today(tmp_path: Path) -> None:
    frames = record(("sh", str(DEMO), _LINES), environment({"TERM": "xterm", "TMPDIR": str(tmp_path)}))
    screen = "\n".join(row.text for row in frames[-1].rows if row.text)
    assert masked(screen) == masked(shown(_PICTURE.read_text(encoding="utf-8")))
    assert re.search(r"48 answers in .* reused -> answers\.jsonl", screen)
    assert not os.listdir(tmp_path)


def test_the_demo_runs_in_a_pipe(tmp_path: Path) -> None:
    done = sh(f"sh {DEMO} {_LINES} | cat", env={"TMPDIR": str(tmp_path)})
    assert done.status == 0
    assert b"mood,score" in done.stdout
    assert b"\x1b" not in done.stdout
    assert not os.listdir(tmp_path)


def test_a_row_is_drawn_once_for_as_long_as_it_stays_the_same() -> None:
    frames = [
        Frame(0.0, (Row("$ a", bold=True),)),
        Frame(1.0, (Row("$ a", bold=True), Row("1 < 2"))),
        Frame(2.0, (Row("$ a", bold=True), Row("2 & 3"))),
    ]
    assert [(span.row, span.start_s, span.end_s, span.content.text) for span in spans(frames)] == [
        (0, 0.0, None, "$ a"),
        (1, 1.0, 2.0, "1 < 2"),
        (1, 2.0, None, "2 & 3"),
    ]
    picture = svg(frames)
    assert shown(picture) == "$ a\n2 & 3"
    assert "prefers-color-scheme:dark" in picture
    assert "1 &lt; 2" in picture
