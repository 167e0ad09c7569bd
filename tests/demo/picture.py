"""The picture of the README: `make demo` in a pseudo-terminal -> an animated SVG, for light and dark pages.

    python -m demo.picture FILE

pyte is the terminal. Each row of the screen is drawn once for as long as it stays the same. Where nothing
moves, the last screen is shown.
"""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pyte

DEMO = Path(__file__).with_name("demo.sh")
COLUMNS = 88
_ROWS = 60  # more than the demo writes, so that nothing scrolls
_FRAME_S = 0.2
_HOLD_S = 5.0  # the last screen stays so long, then the picture begins again
_CHARACTER = (8.4, 19)
_MARGIN = 16


class Row(NamedTuple):
    """A row of the screen: its text without trailing blanks, and if it is bold."""

    text: str
    bold: bool = False


class Frame(NamedTuple):
    """The screen from a time on, in seconds."""

    start_s: float
    rows: tuple[Row, ...]


class Span(NamedTuple):
    """A row that stays the same from one time to another. end_s is None for one of the last screen."""

    row: int
    start_s: float
    end_s: float | None
    content: Row


def record(command: Sequence[str], environment: Mapping[str, str]) -> list[Frame]:
    """Run a command in a pseudo-terminal, and return the screens that it showed."""
    screen = pyte.Screen(COLUMNS, _ROWS)
    stream = pyte.ByteStream(screen)
    child, terminal = pty.fork()
    if child == 0:
        os.execvpe(command[0], list(command), dict(environment))
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, COLUMNS, 0, 0))
    started = time.monotonic()
    frames = [Frame(0.0, _rows(screen))]
    while data := _read(terminal):
        stream.feed(data)
        frames.append(Frame(time.monotonic() - started, _rows(screen)))
    os.close(terminal)
    os.waitpid(child, 0)
    return frames


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # on Linux the end of a terminal is EIO
        return b""


def _rows(screen: pyte.Screen) -> tuple[Row, ...]:
    """The rows of a screen, up to the last that is not blank."""
    rows = [
        Row(text.rstrip(), screen.buffer[number][0].bold) if text.strip() else Row("")
        for number, text in enumerate(screen.display)
    ]
    while rows and not rows[-1].text:
        rows.pop()
    return tuple(rows)


def spans(frames: Sequence[Frame]) -> list[Span]:
    """The rows of frames with the times for which they stay the same. Very short frames are skipped."""
    shown = [
        frame for frame, following in pairwise(frames) if following.start_s - frame.start_s > _FRAME_S / 10
    ] + [frames[-1]]
    kept: list[Frame] = []
    for frame in shown:
        if not kept or frame is shown[-1] or frame.start_s - kept[-1].start_s >= _FRAME_S:
            kept.append(frame)
    found: list[Span] = []
    for number in range(max(len(frame.rows) for frame in kept)):
        current: Span | None = None
        for frame in kept:
            content = frame.rows[number] if number < len(frame.rows) else Row("")
            if current is not None and content != current.content:
                found.append(current._replace(end_s=frame.start_s))
                current = None
            if current is None:
                current = Span(number, frame.start_s, None, content)
        if current is not None:
            found.append(current)
    return [span for span in found if span.content.text]


def svg(frames: Sequence[Frame]) -> str:
    """The animated picture of frames."""
    rows = spans(frames)
    length_s = frames[-1].start_s + _HOLD_S
    width = COLUMNS * _CHARACTER[0] + 2 * _MARGIN
    height = len(frames[-1].rows) * _CHARACTER[1] + 2 * _MARGIN
    times = sorted({(span.start_s, span.end_s) for span in rows}, key=lambda each: (each[0], each[1] or 0))
    names = {each: f"t{number}" for number, each in enumerate(times)}
    size = f'viewBox="0 0 {width:.0f} {height}" width="{width:.0f}" height="{height}"'
    font = "14px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="A terminal: make demo">',
        "<style>",
        "rect{fill:#fff;stroke:#d1d9e0}",
        f"text{{fill:#1f2328;font:{font};white-space:pre;animation:{length_s:.1f}s step-end infinite}}",
        "@media (prefers-color-scheme:dark){rect{fill:#0d1117;stroke:#3d444d}text{fill:#e6edf3}}",
        ".b{font-weight:bold}",
        ".g{visibility:hidden}",
    ]
    for (start_s, end_s), name in names.items():
        begin = 100 * start_s / length_s
        end = "" if end_s is None else f"{100 * end_s / length_s:.2f}%{{visibility:hidden}}"
        lines.append(f"@keyframes {name}{{0%{{visibility:hidden}}{begin:.2f}%{{visibility:visible}}{end}}}")
        lines.append(f".{name}{{animation-name:{name}}}")
    lines += [
        "@media (prefers-reduced-motion:reduce){text{animation:none}}",
        "</style>",
        f'<rect x=".5" y=".5" width="{width - 1:.0f}" height="{height - 1}" rx="8"/>',
    ]
    for span in rows:
        words = [
            names[span.start_s, span.end_s],
            *["b"] * span.content.bold,
            *["g"] * (span.end_s is not None),
        ]
        text = span.content.text
        y = _MARGIN + (span.row + 0.75) * _CHARACTER[1]
        lines.append(
            f'<text class="{" ".join(words)}" x="{_MARGIN}" y="{y:.1f}" xml:space="preserve" '
            f'textLength="{len(text) * _CHARACTER[0]:.1f}">{escape(text, quote=False)}</text>'
        )
    return "\n".join([*lines, "</svg>", ""])


def main() -> None:
    environment = {"PATH": os.environ["PATH"], "TERM": "xterm", "LANG": "C.UTF-8"}
    frames = record(("sh", str(DEMO)), environment)
    Path(sys.argv[1]).write_text(svg(frames), encoding="utf-8")


if __name__ == "__main__":
    main()
