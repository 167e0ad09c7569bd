"""The verdict of a running server: where it is reported, the status that it makes, and the ends it sees."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from serve.client import Running, chat_request, get, read_all, serving, statuses
from support.process import run


def verdict_of(server: Running) -> dict[str, Any]:
    body = server.exchange(get("/_chatpipe/verdict")).partition(b"\r\n\r\n")[2]
    return dict(json.loads(body))


def ended(server: Running, number: int) -> tuple[int, bytes]:
    """The status of the server after a signal, and its stderr."""
    server.process.send_signal(number)
    _, errors = server.process.communicate()
    return server.process.returncode, errors


# The end of each reply as the verdict sees it, whole and streamed.
OUTCOMES = {
    "delay=1ms": ("answered", "answered"),
    "slice=9": ("answered", "answered"),
    "stall=1ms": ("answered", "answered"),
    "no-done": ("answered", "spoiled"),
    "comment": ("answered", "answered"),
    "tool=unknown": ("answered", "answered"),  # it calls none
    "length": ("spoiled", "spoiled"),
    "garbage": ("spoiled", "spoiled"),
    "truncate": ("cut", "cut"),
    "cut": ("cut", "cut"),
    "cut=99": ("cut", "spoiled"),  # behind the end of the stream
    "reset=1": ("cut", "cut"),
    "error-event": ("cut", "cut"),
    "reset": ("lost", "lost"),
    "empty": ("lost", "lost"),
    "html": ("refused", "refused"),
    "status=429": ("refused", "refused"),
}


def test_outcome_of_each_fault() -> None:
    faults = [word for text in OUTCOMES for word in ("--fault", f"{text}:match=<{text}>")]
    with serving(*faults) as server:
        for text, outcomes in OUTCOMES.items():
            for stream, outcome in zip((False, True), outcomes, strict=True):
                before = verdict_of(server)["outcomes"]
                try:
                    server.chat(f"<{text}>", stream=stream)
                except ConnectionResetError:
                    assert text.startswith("reset")
                after = verdict_of(server)["outcomes"]
                changed = [name for name in after if after[name] != before.get(name, 0)]
                assert changed == [outcome], (text, stream)


def test_a_client_that_leaves_may_come_again() -> None:
    with serving("--fault", "stall:times=1") as server:
        with server.connect() as connection:
            connection.sendall(chat_request())
            assert connection.recv(4) == b"HTTP"
            server.until(b"requests_running", 1)
        server.until(b"requests_running", 0)
        assert statuses(server.chat()) == [200]
        found = verdict_of(server)
    assert (found["outcomes"], found["retries"], found["findings"]) == ({"answered": 1, "left": 1}, 1, [])


REFUSING = ("--fault", "status=400")


@pytest.mark.parametrize(
    ("options", "number", "status"),
    [
        (REFUSING, signal.SIGTERM, 0),
        ((*REFUSING, "--fail-on-verdict"), signal.SIGTERM, 1),
        ((*REFUSING, "--fail-on-verdict"), signal.SIGINT, 1),
        ((*REFUSING, "--fail-on-verdict"), signal.SIGHUP, -signal.SIGHUP),
        (("--fail-on-verdict",), signal.SIGTERM, 0),
        (("--fail-on-verdict",), signal.SIGINT, -signal.SIGINT),
    ],
)
def test_status_at_the_end(options: tuple[str, ...], number: int, status: int, tmp_path: Path) -> None:
    """Two requests with the same body: wrong after a 400, and a note after an answer."""
    file = tmp_path / "verdict.json"
    with serving(*options, "--verdict", str(file)) as server:
        server.chat()
        server.chat()
        shown = verdict_of(server)
        ended_with, errors = ended(server, number)
    assert ended_with == status
    assert json.loads(file.read_bytes()) == shown
    kind, words = ("useless-retry", b"wrong") if REFUSING[1] in options else ("sent-after-success", b"note")
    assert [finding["kind"] for finding in shown["findings"]] == [kind]
    assert words + b" " in errors
    assert (b"the client was wrong 1 time" in errors) == (status == 1)


def test_quiet_says_nothing_of_it() -> None:
    with serving("-q") as server:
        server.chat()
        server.chat()
        assert ended(server, signal.SIGTERM) == (0, b"")


def test_without_requests_there_is_no_table_and_other_paths_do_not_count(tmp_path: Path) -> None:
    file = tmp_path / "verdict.json"
    with serving("--verdict", str(file)) as server:
        server.exchange(get("/v1/models"))
        assert ended(server, signal.SIGTERM) == (0, b"")
    assert json.loads(file.read_bytes())["requests"] == 0


def test_verdict_is_shown_without_a_key() -> None:
    with serving("--require-key-env", "KEY", env={"KEY": "k"}) as server:
        assert statuses(server.chat()) == [401]
        assert statuses(server.chat()) == [401]
        assert verdict_of(server)["counts"] == [{"kind": "useless-retry", "severity": "wrong", "times": 1}]


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (("--verdict", "x", "--log", "x"), 2, b"--verdict: 'x' is the file of --log, too"),
        (("--verdict", "no/x"), 74, b"no/x: cannot make a file in '"),
    ],
)
def test_file_that_cannot_be_is_refused_before_the_start(
    options: tuple[str, ...], status: int, words: bytes, tmp_path: Path
) -> None:
    done = run("serve", *options, cwd=tmp_path)
    assert (done.status, done.stdout) == (status, b"")
    assert words in done.stderr


def test_a_stream_that_the_end_of_the_server_cuts_is_not_held_against_the_client() -> None:
    with serving("--chunk-delay", "1h", "--fail-on-verdict") as server, server.connect() as connection:
        connection.sendall(chat_request(stream=True))
        assert connection.recv(1) == b"H"
        assert ended(server, signal.SIGTERM) == (0, b"chatpipe: 1 request (1 stopped)\n")
        read_all(connection)
