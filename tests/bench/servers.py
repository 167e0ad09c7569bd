"""Servers in processes of their own, so that what they cost is not counted with the client."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from .machine import CHECKOUT, Place, Source

_LOOPBACK = CHECKOUT / "tests" / "support" / "servers" / "loopback.py"
_SLOTS = Path(__file__).with_name("slots.py")
_FIREHOSE = Path(__file__).with_name("firehose.py")
_FIXED_REPLY = Path(__file__).with_name("fixed_reply.py")


class Started(NamedTuple):
    """A running server, with a base URL for each of its ports."""

    urls: list[str]
    process: subprocess.Popen[str]

    @property
    def url(self) -> str:
        return self.urls[0]


@contextlib.contextmanager
def loopback(place: Place, source: Source, *options: str) -> Iterator[str]:
    """tests/support/servers/loopback.py with these options: its base URL."""
    with _started([str(_LOOPBACK), *options], place.environment(source)) as server:
        yield server.url


@contextlib.contextmanager
def provider(place: Place, source: Source, *options: str) -> Iterator[str]:
    """`chatpipe serve` with these options, which has the Batch API: its base URL."""
    words = source.command("serve", "-q", *options)[1:]
    with _started(words, place.environment()) as server:
        yield server.url


@contextlib.contextmanager
def fixed_reply(place: Place, ports: int, latency_s: float) -> Iterator[Started]:
    """fixed_reply.py with these arguments."""
    words = [str(_FIXED_REPLY), str(ports), str(latency_s)]
    with _started(words, place.environment(), ports) as server:
        yield server


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
def _started(words: list[str], environment: dict[str, str], ports: int = 1) -> Iterator[Started]:
    """The program of these words, once it has printed the URL of each of its ports."""
    with subprocess.Popen(
        [sys.executable, *words], env=environment, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        try:
            urls = [server.stdout.readline().strip() for _ in range(ports)]
            if not all(urls):
                raise RuntimeError(f"{words[0]} did not start")
            yield Started(urls, server)
        finally:
            server.terminate()
