"""Runs against servers that refuse, fail and break off, and on a disk that fills up.

The same at length is in tests/soak.
"""

from __future__ import annotations

import signal

import pytest

from batch.result_lines import texts
from batch.resuming import RunHarness
from batch.runs import batch
from batch.weather import Weather, questions, right, wrong_results
from support.parametrize import cases
from support.servers.loopback import Answer, Pause, Request, error

LINES = 1_000


@cases("stream", {"whole": (), "streamed": ("--stream",)})
def test_in_bad_weather_every_line_gets_its_answer_and_no_rule_is_broken(stream: tuple[str, ...]) -> None:
    """None is sent again after its answer, and none before the server allowed it."""
    weather = Weather(seed=7, in_flight=32, calm=400, burst=12, faulty=12)
    done = batch("-j32", *stream, stdin=questions(LINES), handler=weather)
    assert (done.status, done.stderr) == (0, b"")
    assert wrong_results(done.stdout, LINES) == []
    assert weather.broken == []
    assert weather.refused >= 3
    assert weather.faults.total() >= 40


class Crowded:
    """A server with this many places. It refuses other requests until places are free."""

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
        return [Pause(self.service_s), right(request)]


@pytest.mark.parametrize("status", [429, 503])
def test_auto_finds_the_places_of_a_server_that_refuses(status: int) -> None:
    crowded = Crowded(places=12, status=status, service_s=0.01)
    done = batch("-jauto,64", stdin=questions(1_000), handler=crowded)
    assert done.status == 0
    assert wrong_results(done.stdout, 1_000) == []
    assert done.server.peak < 40
    assert crowded.refused < 100


@pytest.fixture
def many(harness: RunHarness) -> list[str]:
    """An input of 300 prompts, which are answered after some milliseconds."""
    prompts = [f"p{number}" for number in range(300)]
    harness.write(*prompts)
    harness.latency_s = 0.002
    return prompts


def with_files_of(blocks: int) -> tuple[str, ...]:
    """A shell that lets no file of its command grow beyond this: a disk that is full for this file."""
    return ("sh", "-c", f'ulimit -f {blocks}; exec "$@"', "-")  # blocks of 512 bytes, or of 1,024


def test_a_journal_that_cannot_grow_stops_sending_and_keeps_what_is_whole(
    harness: RunHarness, many: list[str]
) -> None:
    with harness.begin("-j4", through=with_files_of(64)) as process:
        stdout, stderr = process.communicate()
    assert (process.returncode, stdout) == (74, b"")
    assert b"out.jsonl.journal" in stderr
    assert stderr.count(b"\n") == 1
    whole = harness.journal.read_bytes().rpartition(b"\n")[0]  # without a torn end
    recorded = [(text or "").split(" #")[0] for text in texts(whole)]
    before = len(harness.prompts)
    assert 20 < len(recorded) < 200
    assert len(recorded) == before  # also those in flight when there was no more room

    assert harness.resume() == (0, b"", b"")
    assert not {*recorded} & {*harness.prompts[before:]}
    assert [(text or "").split(" #")[0] for text in texts(harness.out)] == many


@pytest.mark.usefixtures("many")
def test_an_output_that_cannot_be_written_keeps_the_answers(harness: RunHarness) -> None:
    """OUT's own directory is full only when all is answered: nothing has to be bought again."""
    assert harness.resume("--keep-journal").status == 0
    harness.out.unlink()
    size = harness.journal.stat().st_size
    with harness.begin(through=with_files_of(size // 4096)) as process:
        _, stderr = process.communicate()
    assert process.returncode == 74, stderr
    assert not harness.out.exists()
    assert harness.resume().status == 0
    assert len(harness.prompts) == 300


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_temporary_file_is_left_where_it_can_be_mistaken(
    number: signal.Signals, harness: RunHarness
) -> None:
    """After any end of a run, each file in the folder of OUT is OUT, its journal, or hidden."""
    harness.held = 50
    with harness.begin("-j4", "--grace", "0.1") as process:
        harness.until_prompts(51)
        process.send_signal(number)
        process.wait()
    assert process.returncode == -number
    assert [name for name in harness.files() if not name.startswith(".")] == ["in.jsonl", "out.jsonl.journal"]
