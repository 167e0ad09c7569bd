"""Standard input by what is behind it, and when it is waited for aloud."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chatpipe.errors import MissingInput
from chatpipe.inputs import stdin
from chatpipe.inputs.stdin import Stdin, StdinKind
from support.patience import PATIENCE_S
from support.pipes import pipe
from support.refusals import refused


@contextmanager
def opened(path: str, flags: int = os.O_RDONLY) -> Iterator[int]:
    descriptor = os.open(path, flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


class Said(list[str]):
    """The notices; to be handed over as the function that takes them."""

    def __call__(self, text: str) -> None:
        self.append(text)


def test_pipe_is_data() -> None:
    with pipe() as (reader, _):
        assert Stdin(reader, True, print).kind() is StdinKind.DATA


def test_file_is_data(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"")
    with opened(str(path)) as descriptor:
        assert Stdin(descriptor, True, print).kind() is StdinKind.DATA


def test_dev_null_is_a_device() -> None:
    with opened(os.devnull) as descriptor:
        assert Stdin(descriptor, True, print).kind() is StdinKind.DEVICE


def test_terminal_is_a_terminal() -> None:
    screen, terminal = os.openpty()
    with os.fdopen(screen, "rb"), os.fdopen(terminal, "rb"):
        assert Stdin(terminal, True, print).kind() is StdinKind.TERMINAL


def test_closed_descriptor_is_closed() -> None:
    with pipe() as (reader, _):
        os.close(reader)
        assert Stdin(reader, True, print).kind() is StdinKind.CLOSED


def test_descriptor_taken_by_another_file_is_still_closed() -> None:
    with pipe() as (reader, _):
        assert Stdin(reader, False, print).kind() is StdinKind.CLOSED


def test_reads_to_the_end() -> None:
    with pipe() as (reader, writer):
        os.write(writer, b"a\n")
        os.write(writer, b"\xff\0")
        os.close(writer)
        assert Stdin(reader, True, print).read() == b"a\n\xff\0"


def test_blocks_come_as_they_are_written() -> None:
    with pipe() as (reader, writer):
        blocks = Stdin(reader, True, print).blocks()
        for data in (b"a", b"bc"):
            os.write(writer, data)
            assert next(blocks) == data
        os.close(writer)
        assert list(blocks) == []


def test_closed_stdin_is_missing_when_it_is_read() -> None:
    with refused(MissingInput, "<stdin>: stdin is closed: pipe something in or name a file"):
        Stdin(0, False, print).read()


def test_directory_as_stdin_is_missing(tmp_path: Path) -> None:
    with opened(str(tmp_path)) as descriptor, refused(MissingInput, "<stdin>: cannot read: is a directory"):
        Stdin(descriptor, True, print).read()


@pytest.mark.parametrize("first", [b"", b"early, "], ids=["from the start", "after its first bytes"])
def test_a_silent_producer_is_waited_for_with_one_notice(
    monkeypatch: pytest.MonkeyPatch, first: bytes
) -> None:
    monkeypatch.setattr(stdin, "NOTICE_DELAY_S", 0.01)
    with pipe() as (reader, writer):
        said = Said()
        console = threading.Event()
        os.write(writer, first)

        def notice(text: str) -> None:
            said(text)
            console.set()

        def produce() -> None:
            console.wait(PATIENCE_S)
            os.write(writer, b"late")
            os.close(writer)

        producer = threading.Thread(target=produce)
        producer.start()
        assert Stdin(reader, True, notice).read("waiting") == first + b"late"
        producer.join(10)
    assert said == ["waiting"]


def test_a_prompt_producer_gets_no_notice() -> None:
    with pipe() as (reader, writer):
        os.write(writer, b"a")
        os.close(writer)
        said = Said()
        assert Stdin(reader, True, said).read("waiting") == b"a"
    assert said == []


def test_end_without_a_byte_is_no_silence() -> None:
    with pipe() as (reader, writer):
        os.close(writer)
        said = Said()
        assert Stdin(reader, True, said).read("waiting") == b""
    assert said == []


def test_a_reader_that_asked_for_stdin_gets_no_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stdin, "NOTICE_DELAY_S", 0.0)
    with pipe() as (reader, writer):
        timer = threading.Timer(0.02, os.close, [writer])
        timer.start()
        said = Said()
        assert Stdin(reader, True, said).read() == b""
        timer.join()
    assert said == []


def test_patience_is_two_seconds() -> None:
    assert stdin.NOTICE_DELAY_S == 2.0


def test_pipe_left_non_blocking_is_waited_for() -> None:
    with pipe() as (reader, writer):
        os.set_blocking(reader, False)

        def produce() -> None:
            os.write(writer, b"late")
            os.close(writer)

        timer = threading.Timer(0.02, produce)
        timer.start()
        assert Stdin(reader, True, print).read() == b"late"
        timer.join()
