"""Runs against servers that refuse, fail and break off, and on a disk that fills up.

The same at length is in tests/soak.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from batch.resuming import Shop, texts, write_rows
from batch.weather import Weather, questions, wrong_results
from loopback import Answer, Pause, Request, completion, error, reply, serve
from parametrize import cases
from process import run, start

LINES = 1_000


@cases("stream", {"whole": (), "streamed": ("--stream",)})
def test_in_bad_weather_every_line_gets_its_answer_and_no_rule_is_broken(stream: tuple[str, ...]) -> None:
    """None is sent again after its answer, and none before the server allowed it."""
    weather = Weather(seed=7, in_flight=32, calm=400, burst=12, faulty=12)
    with serve(weather) as server:
        done = run("batch", "--base-url", server.url, "-m", "m", "-j32", *stream, stdin=questions(LINES))

    assert (done.status, done.stderr) == (0, b"")
    assert wrong_results(done.stdout, LINES) == []
    assert weather.broken == []
    assert weather.refused >= 24
    assert weather.faults.total() >= 40


class Crowded:
    """A server of so many places, which refuses what does not fit: it may come again when places are free."""

    def __init__(self, places: int, status: int, service_s: float) -> None:
        self.places = places
        self.status = status
        self.service_s = service_s
        self.refused = 0
        self.free_at: list[float] = []

    def __call__(self, request: Request) -> Answer:
        self.free_at = [at for at in self.free_at if at > request.at]
        if len(self.free_at) >= self.places:
            self.refused += 1
            wait = {"retry-after-ms": f"{2000 * self.service_s:.0f}"}
            return error(self.status, "no more at a time", headers=wait)
        self.free_at.append(request.at + self.service_s)
        return [Pause(self.service_s), reply(200, completion(f"answer to {_prompt(request)}"))]


def _prompt(request: Request) -> str:
    text: str = request.json()["messages"][-1]["content"]
    return text


@pytest.mark.parametrize("status", [429, 503])
def test_auto_finds_the_places_of_a_server_that_refuses(status: int) -> None:
    crowded = Crowded(places=12, status=status, service_s=0.01)
    with serve(crowded) as server:
        done = run("batch", "--base-url", server.url, "-m", "m", "-jauto,64", stdin=questions(1_000))

    assert done.status == 0
    assert wrong_results(done.stdout, 1_000) == []
    assert server.peak < 40
    assert 1 <= crowded.refused < 100


def test_a_journal_that_cannot_grow_stops_sending_and_keeps_what_is_whole(tmp_path: Path) -> None:
    """A file-size limit is a disk that is full for this file: 74, and the next run goes on."""
    prompts = [f"p{number}" for number in range(200)]
    write_rows(tmp_path / "in.jsonl", *prompts)
    limited = ("sh", "-c", 'ulimit -f 64; exec "$@"', "-")  # blocks of 512 bytes, or of 1,024
    with Shop(tmp_path, latency_s=0.001) as shop:
        command = ("batch", "--base-url", shop.server.url, "-m", "m", "-j4", "in.jsonl", "-o", "out.jsonl")
        with start(*command, cwd=tmp_path, through=limited) as process:
            stdout, stderr = process.communicate(timeout=20)
        assert (process.returncode, stdout) == (74, b"")
        assert b"out.jsonl.journal" in stderr
        assert stderr.count(b"\n") == 1
        recorded = [(text or "").split(" #")[0] for text in texts(_whole(tmp_path / "out.jsonl.journal"))]
        before = len(shop.sales)
        assert 20 < len(recorded) < 200
        assert len(recorded) <= before <= len(recorded) + 8  # those in flight, and no others

        assert shop.batch("in.jsonl", "-o", "out.jsonl") == (0, b"", b"")
        assert not {*recorded} & {*shop.sales[before:]}
    assert [(text or "").split(" #")[0] for text in texts(tmp_path / "out.jsonl")] == prompts


def _whole(journal: Path) -> bytes:
    """Its lines without a torn end."""
    return journal.read_bytes().rpartition(b"\n")[0]


def test_an_output_that_cannot_be_written_keeps_the_answers(tmp_path: Path) -> None:
    """OUT's own directory is full only when all is answered: nothing has to be bought again."""
    write_rows(tmp_path / "in.jsonl", *(f"p{number}" for number in range(100)))
    (tmp_path / "kept").mkdir()
    with Shop(tmp_path) as shop:
        arguments = ("in.jsonl", "-o", "out.jsonl")
        assert shop.batch(*arguments, "--keep-journal").status == 0
        (tmp_path / "out.jsonl").unlink()
        size = (tmp_path / "out.jsonl.journal").stat().st_size
        limited = ("sh", "-c", f'ulimit -f {size // 4096}; exec "$@"', "-")
        command = ("batch", "--base-url", shop.server.url, "-m", "m", *arguments)
        with start(*command, cwd=tmp_path, through=limited) as process:
            _, stderr = process.communicate(timeout=20)
        assert process.returncode == 74, stderr
        assert not (tmp_path / "out.jsonl").exists()
        assert shop.batch(*arguments).status == 0
        assert len(shop.sales) == 100


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_child_or_temporary_file_is_left_where_it_can_be_mistaken(
    number: signal.Signals, tmp_path: Path
) -> None:
    """Whatever ends a run, what stands beside OUT is OUT, its journal, or hidden."""
    write_rows(tmp_path / "in.jsonl", *(f"p{number}" for number in range(300)))
    with Shop(tmp_path, latency_s=0.005) as shop:
        with shop.start("in.jsonl", "-o", "out.jsonl", "-j4", "--grace", "0.1") as process:
            shop.until_sold(50)
            process.send_signal(number)
            process.wait(timeout=10)
        assert process.returncode == -number
        names = sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("."))
    assert names == ["in.jsonl", "out.jsonl.journal"]
