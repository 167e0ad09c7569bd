"""The wait of a single call on a terminal: after five seconds a line says what it waits for.

    chatpipe: 12 s: waiting for the first byte of the answer
    chatpipe: 40 s: about 340 tokens so far
    chatpipe: 55 s: pausing for 8 s

On a narrow terminal it is shorter. The call itself blocks, so a thread draws the line.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

from chatpipe.errors import quantity
from chatpipe.exchange import Hooks, SendRequest, chain, sleep_without_loop
from chatpipe.inputs.values import Value
from chatpipe.system.status_line import StatusLine
from chatpipe.wire.answer import Answer, Receiver

_DELAY_S = 5.0
_INTERVAL_S = 1.0


class CallWait(Hooks):
    """The hooks of a call that follow what it waits for.

    line is drawn until the call writes the first piece of its answer. With buffers_answer no piece is written
    to standard output before the end.
    """

    def __init__(
        self, line: StatusLine, *, buffers_answer: bool, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._line = line
        self._buffers_answer = buffers_answer
        self._now = now
        self._started = now()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._is_silent = True
        self._has_reply = False
        self._pieces = 0
        self._pause_ends: float | None = None

    @contextmanager
    def shown(self) -> Iterator[None]:
        """A block during which the line is drawn from time to time."""
        thread = threading.Thread(target=self._draw_until_ended, daemon=True)
        self._line.open()
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()
            self._line.close()

    def watch(self, send: SendRequest) -> SendRequest:
        """The function that sends a request and shows what it waits for."""

        async def watched(body: dict[str, Value], receiver: Receiver, hooks: Hooks) -> Answer:
            try:
                return await send(body, _PieceCounter(receiver, self.count_piece), chain(hooks, self))
            finally:
                self._silence()

        return watched

    def before_attempt(self) -> None:
        self._has_reply, self._pieces, self._is_silent = False, 0, False

    def on_reply(self, status: int, headers: Mapping[str, str]) -> None:
        self._has_reply = True

    async def sleep(self, seconds: float) -> None:
        """Sleep, and show how long."""
        self._pause_ends = self._now() + seconds
        await sleep_without_loop(seconds)
        self._pause_ends = None

    def count_piece(self) -> None:
        """Count a piece of the answer that has arrived. It may be written now."""
        self._pieces += 1
        if not (self._buffers_answer or self._is_silent):
            self._silence()

    def text(self, width: int) -> str:
        """The words of the line, at most width long; nothing while it must not be shown."""
        if self._is_silent:
            return ""
        now = self._now()
        time = f"{now - self._started:.0f} s"
        long, short = self._reason(now)
        forms = (f"chatpipe: {time}: {long}", f"{time}: {long}", f"{time}: {short}", time)
        return next((form for form in forms if len(form) <= width), time[:width])

    def _reason(self, now: float) -> tuple[str, str]:
        """The reason of the wait, in words for a wide and for a narrow terminal."""
        pause_ends = self._pause_ends  # the call may end its pause meanwhile
        if pause_ends is not None:
            return f"pausing for {max(1, math.ceil(pause_ends - now))} s", "pausing"
        if self._pieces:
            tokens = quantity(self._pieces, "token")
            return f"about {tokens} so far", tokens
        if self._has_reply:
            return "waiting for the first token of the answer", "waiting"
        return "waiting for the first byte of the answer", "waiting"

    def _silence(self) -> None:
        with self._lock:
            self._is_silent = True
            self._line.wipe()

    def _draw_until_ended(self) -> None:
        delay_s = _DELAY_S
        while not self._ended.wait(delay_s):
            delay_s = _INTERVAL_S
            with self._lock:
                if text := self.text(self._line.width):
                    self._line.draw(text)


class _PieceCounter:
    """A receiver that counts chunks before it passes them on."""

    def __init__(self, receiver: Receiver, count: Callable[[], None]) -> None:
        self._receiver = receiver
        self._count = count

    @property
    def takes(self) -> Literal["bytes", "chunks", "nothing", "body"]:
        return self._receiver.takes

    @property
    def started(self) -> bool:
        return self._receiver.started

    def raw(self, data: bytes) -> None:
        if self._receiver.takes == "bytes":
            self._count()
        self._receiver.raw(data)

    def chunk(self, payload: bytes, chunk: Mapping[str, Value]) -> None:
        if self._receiver.takes != "bytes":
            self._count()
        self._receiver.chunk(payload, chunk)

    def expect_end(self) -> None:
        self._receiver.expect_end()
