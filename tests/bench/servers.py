"""Servers in processes of their own, so that what they cost is not counted with the client."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from .machine import CHECKOUT, Place, Source

_LOOPBACK = CHECKOUT / "tests" / "loopback.py"
_SLOTS = Path(__file__).with_name("slots.py")
_FIREHOSE = Path(__file__).with_name("firehose.py")


class Started(NamedTuple):
    """A running server."""

    url: str
    process: subprocess.Popen[str]


@contextlib.contextmanager
def loopback(place: Place, source: Source, *options: str) -> Iterator[str]:
    """tests/loopback.py with these options: its base URL."""
    with _started([str(_LOOPBACK), *options], place.environment(source)) as server:
        yield server.url


@contextlib.contextmanager
def loopbacks(place: Place, source: Source, count: int, *options: str) -> Iterator[list[Started]]:
    """So many of them, each in a process of its own."""
    words, environment = [str(_LOOPBACK), *options], place.environment(source)
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(_started(words, environment)) for _ in range(count)]


@contextlib.contextmanager
def firehose(place: Place, chunks: int, per_write: int, pause_s: float = 0.0) -> Iterator[str]:
    """firehose.py with these arguments: its base URL."""
    words = [str(_FIREHOSE), str(chunks), str(per_write), str(pause_s)]
    with _started(words, place.environment()) as server:
        yield server.url


@contextlib.contextmanager
def slots(place: Place, source: Source, *options: str) -> Iterator[str]:
    """slots.py with these arguments: its base URL."""
    with _started([str(_SLOTS), *options], place.environment(source)) as server:
        yield server.url


@contextlib.contextmanager
def _started(words: list[str], environment: dict[str, str]) -> Iterator[Started]:
    with subprocess.Popen(
        [sys.executable, *words], env=environment, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        try:
            url = server.stdout.readline().strip()
            if not url:
                raise RuntimeError(f"{words[0]} did not start")
            yield Started(url, server)
        finally:
            server.terminate()
