"""Compressed bytes -> bytes, in pieces of limited size.

Each decoder returns at most a piece at a time, so that a small input that unpacks without an end never
fills the memory.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

_PIECE_BYTES = 64 * 1024
# Input is fed in slices: what follows the end of one gzip member is copied for the next one, and a
# member can be as short as 20 bytes.
_SLICE_BYTES = 4 * 1024


class BrokenData(ValueError):
    """Compressed data that cannot be unpacked."""


class Decompressor(Protocol):
    """A decoder of one input. feed() raises BrokenData.

    is_complete is true if the data may end here.
    """

    @property
    def is_complete(self) -> bool: ...

    def feed(self, data: bytes) -> Iterator[bytes]: ...


def open_decompressor(coding: str, start: bytes) -> Decompressor | None:
    """The decoder of a coding with its HTTP name; None if there is none here. start are its first bytes."""
    opener = _OPENERS.get(coding)
    return None if opener is None else opener(start)


class _Inflater:
    """gzip, of one member or several, or deflate in its two forms."""

    def __init__(self, wbits: int) -> None:
        import zlib

        self._zlib = zlib
        self._wbits = wbits
        self._inflater = zlib.decompressobj(wbits)

    @property
    def is_complete(self) -> bool:
        return self._inflater.eof

    def feed(self, data: bytes) -> Iterator[bytes]:
        try:
            for at in range(0, len(data), _SLICE_BYTES):
                yield from self._feed_slice(data[at : at + _SLICE_BYTES])
        except self._zlib.error as error:
            raise BrokenData from error

    def _feed_slice(self, data: bytes) -> Iterator[bytes]:
        piece = b""
        while data or len(piece) == _PIECE_BYTES:  # a full piece: there may be more of it
            if self._inflater.eof:
                if self._wbits != _GZIP or not data.strip(b"\0"):
                    return  # bytes after the end; gzip pads with NULs
                self._inflater = self._zlib.decompressobj(self._wbits)
            piece = self._inflater.decompress(data, _PIECE_BYTES)
            if piece:
                yield piece
            data = self._inflater.unused_data if self._inflater.eof else self._inflater.unconsumed_tail


class _LibraryDecompressor:
    """A decoder of a library, for br. step() returns about a piece, and for no data the next one."""

    def __init__(self, step: Callable[[bytes], bytes], is_complete: Callable[[], bool]) -> None:
        self._step = step
        self._is_complete = is_complete

    @property
    def is_complete(self) -> bool:
        return self._is_complete()

    def feed(self, data: bytes) -> Iterator[bytes]:
        while not self._is_complete():
            try:
                piece = self._step(data)
            except Exception as error:  # each library has its own
                raise BrokenData from error
            if not piece:
                return
            yield piece
            data = b""


class _FrameDecompressor:
    """A decoder of zstd, of one frame or several (RFC 8878 section 3)."""

    def __init__(self, open_frame: Callable[[], Any]) -> None:
        self._open_frame = open_frame
        self._frame = open_frame()

    @property
    def is_complete(self) -> bool:
        return bool(self._frame.eof)

    def feed(self, data: bytes) -> Iterator[bytes]:
        while True:
            if self._frame.eof:
                data = data or self._frame.unused_data
                if not data:
                    return
                self._frame = self._open_frame()
            try:
                piece = bytes(self._frame.decompress(data, _PIECE_BYTES))
            except Exception as error:  # the two libraries have one each
                raise BrokenData from error
            if piece:
                yield piece
            elif not self._frame.eof:
                return
            data = b""


_GZIP, _ZLIB, _RAW = 31, 15, -15  # wbits of zlib


def _open_gzip(start: bytes) -> Decompressor:
    return _Inflater(_GZIP)


def _open_deflate(start: bytes) -> Decompressor:
    """With the header of zlib (RFC 1950), as RFC 9110 has it, or without it, as many servers send it."""
    has_header = start[0] & 15 == 8 and int.from_bytes(start[:2]) % 31 == 0
    return _Inflater(_ZLIB if has_header else _RAW)


def _open_brotli(start: bytes) -> Decompressor | None:
    brotli = _module("brotli")
    if not hasattr(
        getattr(brotli, "Decompressor", None), "can_accept_more_data"
    ):  # before 1.2 it has no limit
        return None
    decoder = brotli.Decompressor()
    return _LibraryDecompressor(
        lambda data: bytes(decoder.process(data, output_buffer_limit=_PIECE_BYTES)), decoder.is_finished
    )


def _open_zstd(start: bytes) -> Decompressor | None:
    zstd = _module("compression.zstd") or _module("backports.zstd")  # the first from Python 3.14 on
    if zstd is None:
        return None
    return _FrameDecompressor(zstd.ZstdDecompressor)


def _module(name: str) -> Any:
    """A library that the user may have, or None."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


_OPENERS: Mapping[str, Callable[[bytes], Decompressor | None]] = {
    "gzip": _open_gzip,
    "x-gzip": _open_gzip,  # RFC 9110 section 8.4.1.3
    "deflate": _open_deflate,
    "br": _open_brotli,
    "zstd": _open_zstd,
}
