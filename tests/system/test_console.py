"""Notices on stderr: lines, JSON, and text that is kept out of stdout."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import orjson
import pytest

from chatpipe.errors import BadInput, BrokenAnswer, ChatpipeError, Unreachable
from chatpipe.options.output import ConsoleOptions
from chatpipe.system import secrets
from chatpipe.system.console import Console, error_record
from support.parametrize import cases

LOUD, QUIET, VERBOSE = ConsoleOptions(), ConsoleOptions(quiet=True), ConsoleOptions(verbose=True)


def report_all(console: Console) -> None:
    console.note("n")
    console.warning("w")
    console.warnings(["x", "y"])
    console.detail("d")
    console.error(BadInput("e", place="p", fix="f"))


@cases(
    ("telling", "lines"),
    {
        "loud": (LOUD, ["n", "warning: w", "warning: x", "warning: y", "p: e: f"]),
        "quiet: errors are still told": (QUIET, ["p: e: f"]),
        "verbose": (VERBOSE, ["n", "warning: w", "warning: x", "warning: y", "d", "p: e: f"]),
        "both": (ConsoleOptions(quiet=True, verbose=True), ["d", "p: e: f"]),
    },
)
def test_quiet_and_verbose_decide_what_is_reported(
    capfd: pytest.CaptureFixture[str], telling: ConsoleOptions, lines: list[str]
) -> None:
    report_all(Console(telling))
    out, err = capfd.readouterr()
    assert (out, err.splitlines()) == ("", [f"chatpipe: {line}" for line in lines])


@cases(
    ("text", "line"),
    {
        "always one line": ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        "no control reaches a terminal": ("a\x1b[31m", "a\\x1b[31m"),
        "nor what turns a line round or ends it": ("a\u202eb\u2028", "a\\u202eb\\u2028"),
        "a byte of a name that is not UTF-8": ("f\udcff", "f\\xff"),
        "half a character": ("h\ud83d", "h\\ud83d"),
        "other text as it is": ("äö", "äö"),
    },
)
def test_a_line_is_escaped(capfd: pytest.CaptureFixture[str], text: str, line: str) -> None:
    Console(LOUD).note(text)
    assert capfd.readouterr().err == f"chatpipe: {line}\n"


def test_each_line_is_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines of several processes on one terminal are not mixed."""
    written: list[bytes] = []

    def write(descriptor: int, data: bytes) -> int:
        assert descriptor == 2
        written.append(data)
        return len(data)

    monkeypatch.setattr(os, "write", write)
    Console(LOUD).note("a")
    Console(ConsoleOptions(error_format="json")).error(BadInput("b"))
    assert written[0] == b"chatpipe: a\n"
    assert written[1].endswith(b"}\n")
    assert len(written) == 2


def as_json(status: int, type: str, message: str, **fields: object) -> dict[str, object]:
    nothing = {"place": None, "http_status": None, "request_id": None, "body": None}
    return {"status": status, "type": type, "message": message, **nothing, **fields}


@cases(
    ("error", "expected"),
    {
        "plain": (BadInput("e", place="p", fix="f"), as_json(65, "bad_input", "e: f", place="p")),
        "of a reply": (
            Unreachable("e", http_status=503, request_id="r", body=b'{"error": [1.50]}'),
            as_json(69, "unreachable", "e", http_status=503, request_id="r", body={"error": [1.5]}),
        ),
        "of a reply that is not JSON": (
            BrokenAnswer("e", body=b"<html>\xff"),
            as_json(76, "broken_answer", "e", body="<html>\ufffd"),
        ),
        "of a long reply": (
            BrokenAnswer("e", body=b'{"a":"' + b"x" * 1_000_000),
            as_json(76, "broken_answer", "e", body='{"a":"' + "x" * 63_994 + "... (cut, 1000006 bytes came)"),
        ),
        "a newline in it": (ChatpipeError("a\nb"), as_json(70, "bug", "a\nb")),
    },
)
def test_an_error_can_be_json(
    capfd: pytest.CaptureFixture[str], error: ChatpipeError, expected: object
) -> None:
    assert error_record(error) == expected
    Console(ConsoleOptions(error_format="json", quiet=True)).error(error)
    err = capfd.readouterr().err
    assert err.count("\n") == 1
    assert orjson.loads(err) == {"error": expected}


@pytest.mark.parametrize("at", range(63_950, 64_010, 5))
def test_a_key_at_the_cut_of_a_long_body_is_hidden(at: int) -> None:
    key = "sk-Canary-0123456789-abc"
    secrets.add(key)
    body = error_record(BrokenAnswer("e", body=b"x" * at + key.encode() + b"y" * 100_000))["body"]
    assert key[:12] not in body


@pytest.mark.parametrize(("place", "escaped"), [("f\udcff", "f\\udcff"), ("h\ud83d", "h\\ud83d")])
def test_odd_names_are_escaped_in_json(capfd: pytest.CaptureFixture[str], place: str, escaped: str) -> None:
    Console(ConsoleOptions(error_format="json")).error(BadInput("e", place=place))
    assert f'"place":"{escaped}"' in capfd.readouterr().err


def test_aside_is_the_server_s_text_as_it_came(capfd: pytest.CaptureFixture[str]) -> None:
    console = Console(QUIET)
    console.server_text("a\x1b[0m")
    console.server_text("b\n\u2028\ud83d")
    assert capfd.readouterr().err == "a\x1b[0mb\n\u2028?"


def test_aside_is_escaped_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "isatty", lambda descriptor: descriptor == 2)
    Console(QUIET).server_text("a\x1b[0m\n")
    assert capfd.readouterr().err == "a\\x1b[0m\n"


@contextmanager
def stderr_is(descriptor: int) -> Iterator[None]:
    saved = os.dup(2)
    os.dup2(descriptor, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def test_full_stderr_stops_nothing() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    with stderr_is(full):
        report_all(Console(VERBOSE))
        Console(LOUD).server_text("x")
    os.close(full)


def test_stderr_that_nobody_reads_stops_nothing() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with stderr_is(writer):
        report_all(Console(VERBOSE))
    os.close(writer)
