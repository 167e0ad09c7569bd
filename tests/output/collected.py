"""A sink that keeps all that is written to it."""

from __future__ import annotations


class Sink:
    """pieces has one item a write."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.pieces.append(data)

    @property
    def data(self) -> bytes:
        return b"".join(self.pieces)
