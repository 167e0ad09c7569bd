"""`ask` under limits that processes share: real processes, a real server."""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from chatpipe.limits.pace_file import PaceFile
from support.parametrize import cases
from support.process import Done, run
from support.servers.loopback import Answer, Pause, Request, completion, in_turn, reply, serve


class Watch:
    """A server's handler that notes when each request came, and takes its time."""

    def __init__(self, busy_s: float = 0.0) -> None:
        self.at: list[float] = []
        self._busy_s = busy_s

    def __call__(self, request: Request) -> Answer:
        self.at.append(request.at)
        return [Pause(self._busy_s), reply(200, completion("hi"))]


def ask_all(count: int, *options: str, url: str, cwd: Path) -> list[Done]:
    command = ("ask", "--base-url", f"{url}/v1", "-m", "m", "--no-stdin", "--no-stream", *options, "Hello")
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda _: run(*command, cwd=cwd), range(count)))


def test_processes_share_the_number_of_requests_at_once(tmp_path: Path) -> None:
    """With one place, each request comes when the one before it has been answered."""
    watch = Watch(busy_s=0.2)
    with serve(watch) as server:
        done = ask_all(4, "--pace-file", "pace", "--pace-jobs", "1", url=server.url, cwd=tmp_path)
    assert [each.status for each in done] == [0] * 4
    gaps = [later - earlier for earlier, later in zip(watch.at, watch.at[1:], strict=False)]
    assert all(gap >= 0.19 for gap in gaps), gaps


def test_processes_share_the_requests_a_minute(tmp_path: Path) -> None:
    watch, began = Watch(), time.monotonic()
    with serve(watch) as server:
        done = ask_all(4, "--pace-file", "pace", "--rpm", "200", url=server.url, cwd=tmp_path)
    assert [each.status for each in done] == [0] * 4
    # One every 0.3 s, counted from the turn of the first: it may have needed a moment to get there.
    assert watch.at[-1] - began >= 0.85


def test_a_pause_that_a_server_asks_one_process_for_holds_for_the_next(tmp_path: Path) -> None:
    busy = reply(429, {"error": {"message": "slow down"}}, {"Retry-After": "1"})
    with serve(in_turn(busy, reply(200, completion("hi")))) as server:
        command = ("ask", "--base-url", f"{server.url}", "-m", "m", "--pace-file", "pace", "Hello")
        started = time.monotonic()
        assert run(*command, "--retries", "0", cwd=tmp_path).status == 75
        assert run(*command, cwd=tmp_path).status == 0
    assert time.monotonic() - started >= 1.0


def test_tokens_are_booked_as_used(tmp_path: Path) -> None:
    """The first call is estimated, and says what it used: the next one starts when that is paid off."""
    used = {"prompt_tokens": 50, "completion_tokens": 50, "total_tokens": 100}
    watch, began = Watch(), time.monotonic()

    def answer(request: Request) -> Answer:
        watch.at.append(request.at)
        return [reply(200, {**completion("hi"), "usage": used})]

    with serve(answer) as server:
        for _ in range(2):
            done = run(
                *("ask", "--base-url", f"{server.url}", "-m", "m", "--no-stdin", "--no-stream"),
                *("--pace-file", "pace", "--tpm", "6000", "Hello"),
                cwd=tmp_path,
            )
            assert done.status == 0
    assert watch.at[1] - began >= 0.85  # 100 tokens at 100 a second, from the turn of the first


def test_a_turn_after_the_deadline_is_given_up_at_once(tmp_path: Path) -> None:
    """Nothing is booked for it: the next call comes no later."""
    command = ("ask", "-p", "echo", "--no-stdin", "--pace-file", "pace", "--rpm", "1")
    assert run(*command, "Hello", cwd=tmp_path).status == 0
    booked = _booked(tmp_path / "pace")
    for _ in range(2):
        done = run(*command, "--deadline", "2", "Hello", cwd=tmp_path)
        assert done.status == 75
        assert re.fullmatch(
            r"chatpipe: --pace-file: the turn of this request comes in \d+ s, after the deadline: "
            r"try again then, or raise --deadline\n",
            done.stderr.decode(),
        )
    assert _booked(tmp_path / "pace") == booked


def _booked(pace: Path) -> list[object]:
    return [origin["requests"] for origin in json.loads(pace.read_text())["origins"].values()]


@cases(
    ("options", "error"),
    {
        "places": (("--pace-jobs", "1"), "--pace-jobs: no place was free"),
        "room": ((), "--pace-file: no room was free"),
    },
)
def test_the_wait_for_a_place_ends_at_the_deadline(
    options: tuple[str, ...], error: str, tmp_path: Path
) -> None:
    command = ("ask", "--base-url", "http://127.0.0.1:9/v1", "-m", "m", "--no-stdin", "--pace-file", "pace")
    other = PaceFile(str(tmp_path / "pace"))
    assert other.acquire_slot("http://127.0.0.1:9", 1, time.time()) == 0
    if not options:  # a server that has refused a request has no room for another
        other.refuse("http://127.0.0.1:9", time.time())
    done = run(*command, *options, "--deadline", "0.1", "Hello", cwd=tmp_path)
    other.close()
    said = f"chatpipe: {error} before the deadline: try again later, or raise --deadline\n"
    assert (done.status, done.stderr.decode()) == (75, said)


@cases(
    ("options", "error"),
    {
        "jobs": (("--pace-jobs", "2"), "--pace-jobs: it is a limit of several processes"),
        "rpm": (("--rpm", "2"), "--rpm: one request alone needs no limit"),
        "tpm": (("--tpm", "2"), "--tpm: one request alone needs no limit"),
    },
)
def test_a_limit_that_nobody_shares_is_refused(options: tuple[str, ...], error: str) -> None:
    done = run("ask", "-p", "echo", "--no-stdin", *options, "Hello")
    assert (done.status, done.stderr.decode()) == (
        2,
        f"chatpipe: {error}: add --pace-file FILE, through which processes share it\n",
    )


def test_a_file_that_is_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "pace").write_text("shopping list\n")
    done = run("ask", "-p", "echo", "--no-stdin", "--pace-file", "pace", "Hello", cwd=tmp_path)
    assert done.status == 65
    assert (tmp_path / "pace").read_text() == "shopping list\n"


def test_the_file_is_private_and_json(tmp_path: Path) -> None:
    assert (
        run("ask", "-p", "echo", "--no-stdin", "--pace-file", "pace", "--rpm", "9", "Hi", cwd=tmp_path).status
        == 0
    )
    assert (tmp_path / "pace").stat().st_mode & 0o777 == 0o600
    assert json.loads((tmp_path / "pace").read_text())
