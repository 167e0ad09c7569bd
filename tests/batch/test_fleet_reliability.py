"""Runs over several servers in bad weather: servers that are killed, that come back, that all fall silent."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from batch.result_lines import outcomes, records
from batch.resuming import RunHarness
from batch.runs import jsonl, prompt, without_get
from batch.weather import Weather, questions, right, wrong_results
from support.patience import until
from support.process import Process, run, start
from support.servers.loopback import Answer, Pause, Request, Server, closed_port, error, serve

LOOPBACK = Path(__file__).parents[1] / "support" / "servers" / "loopback.py"
LINES = 300


@contextlib.contextmanager
def processes(count: int, latency_s: float = 0.02) -> Iterator[list[tuple[Process, str]]]:
    """Servers in processes of their own, with their URLs."""
    command = (sys.executable, str(LOOPBACK), "--latency", str(latency_s))
    with contextlib.ExitStack() as stack:
        started = [
            stack.enter_context(Process(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL))
            for _ in range(count)
        ]
        yield [(each, each.line().decode().strip()) for each in started]


def arguments(urls: list[str], *more: str) -> tuple[str, ...]:
    return ("batch", *(word for url in urls for word in ("--base-url", url)), "-m", "m", *more)


def answered(out: Path) -> int:
    """The lines that a run has answered so far, from its output."""
    return out.read_bytes().count(b"\n") if out.exists() else 0


def wait_for(lines: int, out: Path) -> None:
    until(lambda: answered(out) >= lines)


def by_server(data: bytes) -> Counter[str]:
    return Counter(record["chatpipe"]["server"] for record in records(data))


def test_of_three_servers_one_is_killed_and_no_line_is_lost_or_counted_twice(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with processes(3, latency_s=0.1) as three, out.open("wb") as stdout:
        urls = [url for _, url in three]
        with start(
            *arguments(urls, "--retries", "0", "-j12"), stdin=subprocess.PIPE, stdout=stdout
        ) as process:
            process.send(questions(LINES))
            process.hang_up()
            wait_for(60, out)
            three[1][0].kill()
            _, stderr = process.communicate()
    done = out.read_bytes()
    assert process.returncode == 0
    assert outcomes(done) == ["ok"] * LINES
    assert sorted(record["chatpipe"]["line"] for record in records(done)) == list(range(1, LINES + 1))
    assert {record["chatpipe"]["attempts"] for record in records(done)} == {1}
    assert stderr.count(b"is left out: ") == 1
    assert by_server(done)[urls[1]] < by_server(done)[urls[0]]


def test_when_all_are_killed_the_run_stops_with_69_and_its_journal_has_the_rest(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(questions(LINES))
    journal = tmp_path / "out.jsonl.journal"
    with processes(2) as two:
        urls = [url for _, url in two]
        command = arguments(urls, "in.jsonl", "-o", "out.jsonl", "-j4", "--retries", "0")
        with start(*command, cwd=tmp_path) as process:
            wait_for(40, journal)
            for each, _ in two:
                each.kill()
            _, stderr = process.communicate()
        assert process.returncode == 69
        assert b"no server is left: " in stderr
        assert b"run the same command again" in stderr
    kept = answered(journal)
    with serve(right) as server:
        done = run(*arguments([*urls, server.url], "in.jsonl", "-o", "out.jsonl"), cwd=tmp_path)
        asked = len(server.requests)
    assert done.status == 0
    assert LINES - kept <= asked < LINES - 30
    assert len(records((tmp_path / "out.jsonl").read_bytes())) == LINES


def test_one_that_comes_back_takes_part_again() -> None:
    port = closed_port()
    url = f"http://127.0.0.1:{port}/v1"
    with serve(right) as there, start(*arguments([there.url, url]), stdin=subprocess.PIPE) as process:
        process.send(jsonl("q0", "q1"))
        process.line()
        process.line()
        with Server(without_get(right), port=port) as late:
            while sum(request.method == "POST" for request in late.requests) < 1:
                process.send(jsonl("q2"))
                process.line()
            _, stderr = process.communicate()
    assert process.returncode == 0
    assert stderr.count(b"is left out") == 1
    assert f"chatpipe: '{url}' is back\n".encode() in stderr


def test_in_bad_weather_every_line_gets_its_answer_and_none_is_sold_twice() -> None:
    weather = [Weather(seed, in_flight=32, calm=200, burst=6, faulty=12) for seed in (1, 2, 3)]
    with contextlib.ExitStack() as stack:
        three = [stack.enter_context(serve(without_get(each))) for each in weather]
        done = run(*arguments([each.url for each in three], "-j32"), stdin=questions(600))
    assert done.status == 0
    assert wrong_results(done.stdout, 600) == []
    answered = Counter(question for each in weather for question in each.answered)
    assert set(answered.values()) == {1}
    assert sum(each.refused for each in weather) >= 3
    assert sum(each.faults.total() for each in weather) >= 20


def test_bad_lines_among_many_leave_nobody_out() -> None:
    def picky(request: Request) -> Answer:
        wrong = int(prompt(request)[1:]) % 3 == 0
        return error(400, "bad words") if wrong else [Pause(0.005), right(request)]

    handler = without_get(picky)
    with serve(handler) as one, serve(handler) as two, serve(handler) as three:
        done = run(*arguments([one.url, two.url, three.url], "-j24"), stdin=questions(300))
    assert Counter(outcomes(done.stdout)) == {"ok": 200, "http": 100}
    assert b"left out" not in done.stderr


def test_a_fleet_that_grew_buys_nothing_again(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(jsonl("a", "b", "c"))
    with RunHarness(tmp_path) as first, RunHarness(tmp_path) as second:
        one = [first.server.url]
        assert run(*arguments(one, "in.jsonl", "-o", "out.jsonl"), cwd=tmp_path).status == 0
        (tmp_path / "in.jsonl").write_bytes(jsonl("a", "b", "c", "d"))
        two = [second.server.url, first.server.url]
        assert run(*arguments(two, "in.jsonl", "-o", "out.jsonl"), cwd=tmp_path).status == 0
        assert run(*arguments(two, "in.jsonl", "-o", "out.jsonl", "--same-server"), cwd=tmp_path).status == 0
        assert Counter(first.prompts + second.prompts) == Counter("abcd")


def test_rpm_is_that_of_the_run() -> None:
    times: list[float] = []

    def timed(request: Request) -> Answer:
        times.append(request.at)
        return right(request)

    with serve(timed) as one, serve(timed) as two:
        done = run(*arguments([one.url, two.url], "-j8", "--rpm", "1200"), stdin=questions(24))
    assert done.status == 0
    assert times[-1] - times[0] >= 20 * 60 / 1200


def test_the_first_interrupt_waits_for_answers_and_ends_the_run(tmp_path: Path) -> None:
    with processes(2, latency_s=0.2) as two:
        command = arguments([url for _, url in two], "-j4")
        with start(*command, stdin=subprocess.PIPE) as process:
            process.send(questions(100))
            first = process.line()
            process.send_signal(signal.SIGINT)
            rest, _ = process.communicate()
    assert process.returncode == -signal.SIGINT
    assert set(outcomes(first + rest)) == {"ok"}
    assert 4 <= len(records(first + rest)) < 100


def test_each_server_gets_its_own_key_and_headers(tmp_path: Path) -> None:
    with serve(right) as one, serve(right) as two:
        keys = {one.url: "KEY_A", two.url: "KEY_B"}
        entries = ", ".join(f'{{url = "{url}", key_env = "{name}"}}' for url, name in keys.items())
        config = tmp_path / "config.toml"
        config.write_text(f'[profiles.fleet]\nmodel = "m"\nbase_urls = [{entries}]\n')
        env = {"CHATPIPE_CONFIG": str(config), "KEY_A": "sk-aaaa-11112222", "KEY_B": "sk-bbbb-33334444"}
        done = run("batch", "-p", "fleet", "-j4", stdin=questions(20), env=env)
        seen = [{each.headers.get("authorization") for each in server.requests} for server in (one, two)]
    assert done.status == 0, done.stderr
    assert seen == [{"Bearer sk-aaaa-11112222"}, {"Bearer sk-bbbb-33334444"}]
