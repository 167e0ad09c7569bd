"""Pipes whose ends a test may close itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """The reading and the writing end. Those that are still open are closed at the end."""
    ends = os.pipe()
    try:
        yield ends
    finally:
        for descriptor in ends:
            with suppress(OSError):
                os.close(descriptor)


def filled(data: bytes) -> int:
    """The reading end of a pipe that holds data, 64 KiB at most, and ends after it."""
    reader, writer = os.pipe()
    os.write(writer, data)
    os.close(writer)
    return reader
