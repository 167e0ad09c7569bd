"""Compressed bodies: each form in reads of any size, without an end, broken, and in an unknown coding."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec

import httpx
import pytest

from chatpipe.errors import Status, UnreadableReply
from chatpipe.wire.faults import from_exception, is_transient
from chatpipe.wire.unpack import START_BYTES, UnreadableBody, open_unpacker
from support.parametrize import cases

ZSTD = ("compression.zstd", "backports.zstd")  # the first from Python 3.14 on
TEXT = bytes(range(256)) * 400 + b" " * 300_000


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def unpacked(coding: str, pieces: Iterable[bytes]) -> tuple[list[bytes], bool]:
    """The pieces of the body, and whether it is complete."""
    data = list(pieces)
    unpacker = open_unpacker(coding, b"".join(data)[:START_BYTES])
    assert unpacker is not None
    return [out for each in data for out in unpacker.feed(each)], unpacker.is_complete


@cases(
    ("coding", "data"),
    {
        "gzip": ("gzip", gzip.compress(TEXT)),
        "gzip by its old name": ("x-gzip", gzip.compress(TEXT)),
        "gzip in several members": (
            "gzip",
            b"".join(map(gzip.compress, (TEXT[:9], b"", TEXT[9:]))),
        ),
        "gzip with NULs behind it": ("gzip", gzip.compress(TEXT) + bytes(100)),
        "gzip by another name": ("br", gzip.compress(TEXT)),
        "deflate": ("deflate", zlib.compress(TEXT)),
        "deflate without its header": ("deflate", raw_deflate(TEXT)),
        "deflate with bytes behind it": ("deflate", zlib.compress(TEXT) + b"more"),
    },
)
@pytest.mark.parametrize("step", [1, 7, 5000, 1 << 30])
def test_every_form_is_unpacked_in_reads_of_any_size(coding: str, data: bytes, step: int) -> None:
    pieces, is_complete = unpacked(coding, (data[at : at + step] for at in range(0, len(data), step)))
    assert is_complete
    assert b"".join(pieces) == TEXT
    assert max(map(len, pieces)) <= 1 << 16


def test_a_small_body_that_unpacks_without_an_end_comes_piece_by_piece() -> None:
    unpacker = open_unpacker("gzip", gzip.compress(b"")[:START_BYTES])
    assert unpacker is not None
    pieces = unpacker.feed(gzip.compress(bytes(50_000_000)))
    assert len(next(pieces)) <= 1 << 16


def test_a_body_that_is_cut_is_not_complete() -> None:
    pieces, is_complete = unpacked("gzip", [gzip.compress(TEXT)[:-9]])
    assert not is_complete
    assert TEXT.startswith(b"".join(pieces))


@cases(
    ("coding", "data", "message"),
    {
        "broken gzip": ("gzip", gzip.compress(TEXT)[:12] + b"\xff" * 100, "its compressed data are broken"),
        "not gzip": ("gzip", b"\x00" * 20, "its compressed data are broken"),
        "broken checksum": ("gzip", gzip.compress(TEXT)[:-8] + b"x" * 8, "its compressed data are broken"),
        "unknown": ("x-own", b"\x00" * 20, "compressed with 'x-own', which cannot be read here"),
        "twice": ("gzip, gzip", gzip.compress(gzip.compress(TEXT)), "compressed with 'gzip, gzip'"),
        "500 times": (
            ", ".join(["gzip"] * 500),
            bytes(20),
            "compressed with '(gzip, ){7}gzip,[.]{3}', which",
        ),
    },
)
def test_what_cannot_be_unpacked_is_named(coding: str, data: bytes, message: str) -> None:
    with pytest.raises(httpx.DecodingError, match=message):
        unpacked(coding, [data])


AT_THE_SERVER = "turn off compression at the server, which chatpipe does not ask for"


@cases(
    ("coding", "fix"),
    {
        "br": ("br", f"install the extra 'brotli', see EXTRAS in chatpipe(1), or {AT_THE_SERVER}"),
        "zstd": ("zstd", f"install the extra 'zstd', see EXTRAS in chatpipe(1), or {AT_THE_SERVER}"),
        "another": ("x-own", AT_THE_SERVER),
    },
)
def test_without_its_library_a_body_is_unreadable_for_good(
    coding: str, fix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("brotli", *ZSTD):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UnreadableBody, match=f"^it is compressed with '{coding}', which cannot be") as caught:
        unpacked(coding, [bytes(20)])
    fault = from_exception(caught.value, "http://h/v1")
    assert (type(fault), fault.status, fault.fix) == (UnreadableReply, Status.BROKEN_ANSWER, fix)
    assert str(fault).startswith("cannot read the reply from 'http://h/v1': it is compressed with")
    assert not is_transient(caught.value)


@pytest.mark.parametrize("coding", ["gzip", "utf-8", "br"])
def test_text_is_plain_whatever_the_header_says(coding: str) -> None:
    assert open_unpacker(coding, b'{"id":"chatcmpl-') is None


@cases(("names", "coding"), {"brotli": (("brotli",), "br"), "zstd": (ZSTD, "zstd")})
def test_the_codings_of_libraries(names: tuple[str, ...], coding: str) -> None:
    name = next(each for each in names if find_spec(each.partition(".")[0]))
    data = import_module(name).compress(TEXT)
    for step in (1, 1 << 30):
        pieces, is_complete = unpacked(coding, (data[at : at + step] for at in range(0, len(data), step)))
        assert (is_complete, b"".join(pieces)) == (True, TEXT)
