"""How far a run is, on stderr: a bar on a terminal, or a line of JSON a second."""

from __future__ import annotations

import asyncio
import time

from chatpipe.batch.tally import Tally
from chatpipe.inputs import values
from chatpipe.output import notices
from chatpipe.output.notices import Notices


class Progress:
    """kind is `bar`, `json` or `none`; None chooses: a bar where somebody can see it."""

    def __init__(self, kind: str | None, told: Notices, tally: Tally, started: float) -> None:
        if kind is None:
            kind = "bar" if told.on_terminal and not told.telling.quiet else "none"
        self._kind = "none" if told.telling.quiet else kind
        self._tally = tally
        self._started = started
        self._bar = None
        if self._kind == "bar":
            from tqdm import tqdm

            self._bar = tqdm(unit=" lines", desc="chatpipe", leave=False)

    def moved(self) -> None:
        if self._bar is not None:
            self._bar.update(1)

    async def tick(self) -> None:
        """Once a second, until cancelled."""
        while self._kind == "json":
            await asyncio.sleep(1)
            self._write()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        if self._kind == "json":
            self._write()

    def _write(self) -> None:
        notices.write(values.dumps(self._tally.report(time.monotonic() - self._started)) + b"\n")
