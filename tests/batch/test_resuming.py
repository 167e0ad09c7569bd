"""Runs that are broken off, repeated and changed: what was answered is never sent again."""

from __future__ import annotations

import json
import os
import random
import shlex
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from batch.result_lines import names, numbers, outcomes, records, texts
from batch.resuming import TO_OUT, RunHarness, write_rows
from batch.runs import command
from chatpipe.response.result_line import parse_timestamp
from support.parametrize import cases
from support.process import environment, run, sh
from support.programs import program
from support.servers.loopback import completion

FIVE = ("a", "b", "c", "d", "e")
FIVE_ANSWERS = ["a #1", "b #1", "c #1", "d #1", "e #1"]


# OUT: whole and in order, or as it was


def test_out_is_whole_and_in_the_order_of_the_input(harness: RunHarness) -> None:
    prompts = [f"p{number}" for number in range(40)]
    harness.write(*prompts)
    harness.latency_s = 0.002
    done = harness.resume()
    assert done == (0, b"", b"")
    assert texts(harness.out) == [f"{prompt} #1" for prompt in prompts]
    assert names(harness.out) == [(line, f"line-{line}") for line in range(1, 41)]
    assert harness.files() == ["in.jsonl", "out.jsonl"]


def test_answers_that_come_in_another_order_are_put_in_the_inputs(harness: RunHarness) -> None:
    harness.late = {"a"}
    journal = harness.journal
    with harness.begin("-j", "2") as process:
        harness.server.until(lambda: journal.exists() and len(records(journal)) == 4)
        harness.gate.set()
        assert process.wait() == 0
    assert texts(harness.out) == FIVE_ANSWERS


@cases(
    "line, outcome",
    {
        "the server fails": ('{"prompt": "refused"}', "http"),
        "an answer is cut off": ('{"prompt": "cut"}', "truncated"),
        "a request is wrong": ('{"messages": 3}', "input"),
        "a line is not JSON": ("{", "input"),
    },
)
def test_a_failed_line_leaves_out_as_it_was_and_keeps_the_journal(
    line: str, outcome: str, harness: RunHarness
) -> None:
    harness.refused, harness.cut = {"refused"}, {"cut"}
    harness.input.write_text(f'{{"prompt": "a"}}\n{line}\n{{"prompt": "b"}}\n')
    harness.out.write_text("old\n")
    done = harness.resume()
    assert (done.status, done.stdout) == (1, b"")
    assert b"1 of 3 lines failed" in done.stderr
    assert harness.out.read_text() == "old\n"
    assert harness.files() == ["in.jsonl", "out.jsonl", "out.jsonl.journal"]
    kept = sorted(records(harness.journal), key=lambda record: record["chatpipe"]["line"])
    assert [record["chatpipe"]["line"] for record in kept] == [1, 2, 3]
    assert [record["chatpipe"]["outcome"] for record in kept] == ["ok", outcome, "ok"]
    assert [record["error"] is None for record in kept] == [True, False, True]


def test_the_next_run_sends_the_failed_lines_only_and_removes_the_journal(harness: RunHarness) -> None:
    harness.refused = {"b", "d"}
    assert harness.status_and_prompts() == (1, ["a", "b", "c", "d", "e"])
    harness.refused = {"d"}
    assert harness.status_and_prompts() == (1, ["b", "d"])
    assert not harness.out.exists()
    harness.refused = set()
    assert harness.finish() == ["d"]
    assert texts(harness.out) == ["a #1", "b #2", "c #1", "d #3", "e #1"]
    assert outcomes(harness.out) == ["ok", "ok", "ok", "ok", "ok"]
    assert harness.files() == ["in.jsonl", "out.jsonl"]


@pytest.mark.usefixtures("answered")
def test_a_run_that_is_done_sends_nothing_and_writes_the_same(harness: RunHarness) -> None:
    before = harness.out.read_bytes()
    assert harness.finish() == []
    assert harness.out.read_bytes() == before


def test_all_lines_that_fail_alike_give_their_status_and_no_out(harness: RunHarness) -> None:
    harness.refused = {*FIVE}
    assert harness.resume().status == 69
    assert harness.files() == ["in.jsonl", "out.jsonl.journal"]


@cases(
    "arguments",
    {
        "the output is the input": "-o in.jsonl",
        "the output is a symbolic link to it": "-o soft.jsonl",
        "the output is a hard link to it": "-o hard.jsonl",
        "the journal is the input": "--journal in.jsonl",
        "the journal is the output": "-o out.jsonl --journal out.jsonl",
        **{
            f"{option} is {taken}": f"-o out.jsonl {option} {taken}"
            for option in ("--errors", "--report")
            for taken in ("in.jsonl", "out.jsonl", "out.jsonl.journal")
        },
    },
)
def test_a_file_that_a_run_needs_may_not_be_written_twice(
    arguments: str, harness: RunHarness, tmp_path: Path
) -> None:
    (tmp_path / "soft.jsonl").symlink_to("in.jsonl")
    os.link(harness.input, tmp_path / "hard.jsonl")
    before = harness.input.read_bytes()
    done = harness.batch("in.jsonl", *arguments.split())
    assert (done.status, harness.new_prompts()) == (2, [])
    if arguments == "-o in.jsonl":
        assert b"'in.jsonl' is the input FILE, too" in done.stderr
    assert harness.files() == ["hard.jsonl", "in.jsonl", "soft.jsonl"]
    assert harness.input.read_bytes() == before


# Broken off


def test_killed_at_any_moment_nothing_that_was_answered_is_sent_again(harness: RunHarness) -> None:
    """Only requests in flight may be sent again: at most -j of them for each kill."""
    kills, jobs, lines = 8, 16, 600
    prompts = [f"p{number}" for number in range(lines)]
    harness.write(*prompts)
    harness.latency_s = 0.005
    moments = random.Random(11)
    again: list[
        tuple[set[str], int]
    ] = []  # what the journal had at each kill, and the number of prompts by then
    for _ in range(kills):
        with harness.begin("-j", str(jobs)) as process:
            number = len(harness.prompts) + moments.randrange(1, 44)
            # However late the kill comes, there are lines left for the next one.
            harness.held = number + 20
            harness.until_prompts(number)
            time.sleep(moments.uniform(0, 0.005))
            process.kill()
            process.wait()
        assert process.returncode == -signal.SIGKILL
        whole = harness.journal.read_bytes().rpartition(b"\n")[0] if harness.journal.exists() else b""
        again.append(({text.split()[0] for text in texts(whole) if text}, len(harness.prompts)))
        assert not harness.out.exists()
    harness.held = None
    harness.gate.set()
    assert harness.resume("-j", str(jobs)) == (0, b"", b"")
    times_sent = Counter(harness.prompts)

    for answered, by_then in again:
        assert not answered & {*harness.prompts[by_then:]}
    assert len(again[-1][0]) > 40  # else the kills came too early to show anything
    assert names(harness.out) == [(line, f"line-{line}") for line in range(1, lines + 1)]
    assert [(text or "").split(" #")[0] for text in texts(harness.out)] == prompts
    assert {*times_sent} == {*prompts}
    assert max(times_sent.values()) <= 1 + kills
    assert sum(times_sent.values()) - lines <= kills * jobs
    # Nothing can be tidied after kill -9: the temporary files have random names, out of the way
    assert [name for name in harness.files() if not name.startswith(".")] == ["in.jsonl", "out.jsonl"]


@cases("number", {"Ctrl-C": signal.SIGINT, "SIGTERM": signal.SIGTERM})
def test_a_signal_waits_for_what_is_in_flight_and_the_next_run_sends_the_rest(
    number: signal.Signals, harness: RunHarness
) -> None:
    harness.write(*"abcdefghij")
    harness.out.write_text("old\n")
    harness.held = 5
    with harness.begin("-j", "2") as process:
        harness.until_prompts(6)
        process.deliver(number)  # an answer that comes before it would let another request go
        harness.gate.set()
        stdout, stderr = process.communicate()
    assert process.returncode == -number
    assert stdout == b""
    assert stderr == b"chatpipe: interrupted after 6 lines: run the same command again\n"
    assert harness.new_prompts() == [*"abcdef"]
    assert harness.out.read_text() == "old\n"
    assert sorted(texts(harness.journal), key=str) == [f"{each} #1" for each in "abcdef"]

    assert harness.finish("-j", "2") == [*"ghij"]
    assert texts(harness.out) == [f"{each} #1" for each in "abcdefghij"]
    assert harness.files() == ["in.jsonl", "out.jsonl"]


def test_after_a_signal_with_no_grace_what_was_answered_stays_answered(harness: RunHarness) -> None:
    harness.held = 3
    with harness.begin("-j", "1", "--grace", "0.01") as process:
        harness.until_prompts(3)
        process.send_signal(signal.SIGINT)
        process.wait()
    assert process.returncode == -signal.SIGINT
    assert texts(harness.journal) == ["a #1", "b #1", None]
    abandoned = records(harness.journal)[-1]
    assert (abandoned["chatpipe"]["outcome"], "lost_usage" in abandoned["chatpipe"]) == ("network", True)
    assert (abandoned["chatpipe"]["attempts"], abandoned["chatpipe"]["latency_s"]) == (1, None)
    harness.new_prompts()
    harness.held = None
    assert harness.status_and_prompts() == (0, ["c", "d", "e"])
    assert texts(harness.out) == ["a #1", "b #1", "c #2", "d #1", "e #1"]


def test_a_last_line_that_is_torn_is_dropped(harness: RunHarness) -> None:
    harness.refused = {"d"}
    assert harness.status_and_prompts()[0] == 1
    harness.refused = set()
    with harness.journal.open("ab") as journal:
        journal.write(b'{"id":"chatpipe-0","custom_id":"line-4","response":{"status_c')
    assert harness.finish() == ["d"]
    assert texts(harness.out) == ["a #1", "b #1", "c #1", "d #2", "e #1"]


@pytest.mark.parametrize("kept_bytes", [1, 40, -1])
def test_only_a_torn_answer_is_sent_again(kept_bytes: int, harness: RunHarness) -> None:
    """The refused line comes first, so that the journal ends with an answer: that to e."""
    harness.refused = {"a"}
    assert harness.status_and_prompts("-j", "1")[0] == 1
    harness.refused = set()
    journal = harness.journal
    *whole, last, _ = journal.read_bytes().split(b"\n")
    journal.write_bytes(b"\n".join([*whole, last[:kept_bytes]]))
    assert harness.finish() == ["a", "e"]
    assert texts(harness.out) == ["a #2", "b #1", "c #1", "d #1", "e #2"]


KEPT = b"chatpipe: out.jsonl.journal: journal kept, because make removes the output of a recipe that fails\n"
MAKEFILE = """\
.DELETE_ON_ERROR:
out.jsonl: in.jsonl
\tchatpipe batch in.jsonl -o $@ --base-url {url} -m m --retries 0 -j 2
"""


def test_make_again_costs_only_the_rest_after_the_server_died(tmp_path: Path) -> None:
    make = program("make")
    with RunHarness(tmp_path) as harness:
        harness.write(*"abcdefghij")
        (tmp_path / "Makefile").write_text(MAKEFILE.format(url=harness.server.url))
        harness.held = 6
        process = subprocess.Popen((make, "-s"), cwd=tmp_path, env=environment(), stderr=subprocess.PIPE)
        harness.until_prompts(7)
    with process:  # which nobody answers any more
        _, stderr = process.communicate()
    assert process.returncode == 2
    assert b"chatpipe: 5 of 10 lines failed" in stderr
    assert not harness.out.exists()

    with RunHarness(tmp_path, port=harness.port) as harness:
        assert sh(f"{make} -s", cwd=tmp_path) == (0, b"", KEPT)
        assert harness.new_prompts() == [*"fghij"]
        assert texts(harness.out) == [f"{each} #1" for each in "abcdefghij"]
        assert sh(f"{make} -s", cwd=tmp_path).status == 0
        assert harness.new_prompts() == []


@cases(
    "options, level, is_kept",
    {
        "under make": ((), "1", True),
        "under make, remove": (("--no-keep-journal",), "1", False),
        "an empty level": ((), "", False),
    },
)
def test_a_run_under_make_keeps_its_journal(
    options: tuple[str, ...], level: str, is_kept: bool, harness: RunHarness
) -> None:
    done = harness.resume(*options, env={"MAKELEVEL": level})
    assert (done.status, harness.journal.exists()) == (0, is_kept)
    assert done.stderr == (KEPT if is_kept else b"")


RECIPE_OF_TWO_LINES = """\
.DELETE_ON_ERROR:
all: a.out b.out c.out d.out
%.out: in.jsonl
	@chatpipe $(RUN) -m $* -o $@ $<
	@test ! -e a-later-line-fails
"""


def test_what_make_deletes_is_not_bought_again(harness: RunHarness) -> None:
    run = shlex.join(command(harness.server))
    (harness.folder / "Makefile").write_text(RECIPE_OF_TWO_LINES)
    (harness.folder / "a-later-line-fails").touch()
    make = f"{program('make')} -k -j4 RUN={shlex.quote(run)}"
    assert sh(make, cwd=harness.folder).status == 2
    assert harness.new_prompts() == sorted("abcde" * 4)
    assert list(harness.folder.glob("*.out")) == []
    (harness.folder / "a-later-line-fails").unlink()
    done = sh(make, cwd=harness.folder)
    kept = sorted(KEPT.replace(b"out.jsonl", f"{each}.out".encode()) for each in "abcd")
    assert (done.status, sorted(done.stderr.splitlines(keepends=True))) == (0, kept)
    assert sh(f"chatpipe {run} -m a -o a.out in.jsonl", cwd=harness.folder) == (0, b"", b"")
    assert harness.new_prompts() == []
    assert sorted(path.name for path in harness.folder.glob("*.out*")) == [
        *("a.out", "b.out", "b.out.journal", "c.out", "c.out.journal", "d.out", "d.out.journal")
    ]


# The input or the options have changed


@pytest.mark.usefixtures("answered")
@cases(
    "rows, sent",
    {"edited": ("aBCDe", ["B", "C", "D"]), "removed": ("ae", []), "added": ("abcdef", ["f"])},
)
def test_only_new_lines_of_an_input_that_changed_are_sent(
    rows: str, sent: list[str], harness: RunHarness
) -> None:
    harness.write(*rows)
    assert harness.status_and_prompts() == (0, sent)
    assert texts(harness.out) == [f"{each} #1" for each in rows]
    assert names(harness.out) == [(line, f"line-{line}") for line in range(1, len(rows) + 1)]


def test_lines_that_moved_are_not_sent_and_have_their_new_names(harness: RunHarness) -> None:
    harness.write("a", "b", {"prompt": "c", "custom_id": "sea"})
    assert harness.status_and_prompts()[0] == 0
    harness.write({"prompt": "c", "custom_id": "ocean"}, "a", "new", "b")
    assert harness.status_and_prompts() == (0, ["new"])
    assert texts(harness.out) == ["c #1", "a #1", "new #1", "b #1"]
    assert names(harness.out) == [(1, "ocean"), (2, "line-2"), (3, "line-3"), (4, "line-4")]


@pytest.mark.usefixtures("answered")
@cases(
    "option",
    {
        "model": ("-m", "other"),
        "parameter": ("--temperature", "0.5"),
        "system message": ("-s", "Be brief."),
        "unknown parameter": ("--set", "top_k:=3"),
        "no request is looked up": ("--fresh",),
    },
)
def test_a_changed_request_is_sent(option: tuple[str, ...], harness: RunHarness) -> None:
    assert harness.status_and_prompts(*option) == (0, [*FIVE])
    assert texts(harness.out) == [f"{each} #2" for each in FIVE]
    assert option != ("--fresh",) or harness.files() == ["in.jsonl", "out.jsonl"]


@pytest.mark.usefixtures("answered")
@cases(
    "option",
    {
        "in flight": ("-j", "1"),
        "retries": ("--retries", "2"),
        "timeout": ("--timeout", "30"),
        "header": ("-H", "X-Trace: 1"),
        "format": ("-f", "string"),
        "order": ("-k",),
    },
)
def test_an_option_that_is_no_part_of_the_request_may_change(
    option: tuple[str, ...], harness: RunHarness
) -> None:
    assert harness.status_and_prompts(*option) == (0, [])


def test_the_order_of_keys_does_not_change_a_request(harness: RunHarness) -> None:
    harness.input.write_text('{"messages":[{"role":"user","content":"a"}],"seed":1,"n":1}\n')
    assert harness.status_and_prompts() == (0, ["a"])
    harness.input.write_text('{"n": 1, "seed": 1, "messages": [{"content": "a", "role": "user"}]}\n')
    assert harness.status_and_prompts() == (0, [])


# Whoever answered


@pytest.mark.usefixtures("answered")
def test_a_server_that_moved_sells_nothing_again_unless_the_same_is_asked_for(
    harness: RunHarness, tmp_path: Path
) -> None:
    with RunHarness(tmp_path) as moved:
        assert moved.status_and_prompts() == (0, [])
        assert moved.resume("--same-server").status == 0
        assert moved.new_prompts() == [*FIVE]
        assert moved.status_and_prompts("--same-server") == (0, [])
    assert harness.status_and_prompts("--same-server") == (0, [])
    assert texts(harness.out) == FIVE_ANSWERS


@cases("name", {"localhost": "localhost", "another address": "127.8.8.8", "any address": "0.0.0.0"})
@cases("options", {"a model": (), "no model": ("--no-check", "--override", "--unset", "model")})
@pytest.mark.usefixtures("answered")
def test_another_name_of_this_machine_is_the_same_server(
    name: str, options: tuple[str, ...], harness: RunHarness
) -> None:
    assert harness.resume(*options).status == 0
    harness.new_prompts()
    base_url = f"http://{name}:{harness.port}/v1"
    assert harness.status_and_prompts(*options, "--same-server", "--base-url", base_url) == (0, [])


def test_without_a_model_another_server_is_another_request(harness: RunHarness, tmp_path: Path) -> None:
    options = ("--no-check", "--override", "--unset", "model")
    assert harness.status_and_prompts(*options) == (0, [*FIVE])
    with RunHarness(tmp_path) as other:
        assert other.status_and_prompts(*options) == (0, [*FIVE])
    assert harness.status_and_prompts(*options) == (0, [])


def test_a_stream_is_no_part_of_a_request(harness: RunHarness) -> None:
    assert harness.status_and_prompts()[0] == 0
    rows = [{"messages": [{"role": "user", "content": each}], "stream": False} for each in FIVE]
    harness.write(*rows)
    assert harness.status_and_prompts("--include-usage", "--stream") == (0, [])


ECHO = ("batch", "-p", "echo", "-m", "m", *TO_OUT)


def test_answers_of_echo_are_never_taken_for_real_ones(harness: RunHarness) -> None:
    """They are a rehearsal: nobody paid for them, and they go when real ones come."""
    assert run(*ECHO, cwd=harness.folder).status == 0
    assert texts(harness.out) == [*FIVE]
    assert harness.finish() == [*FIVE]
    assert texts(harness.out) == FIVE_ANSWERS
    assert harness.files() == ["in.jsonl", "out.jsonl"]


def test_echo_takes_real_answers_and_buys_none_of_its_own(harness: RunHarness) -> None:
    assert harness.resume().status == 0
    assert run(*ECHO, cwd=harness.folder) == (0, b"", b"")
    assert texts(harness.out) == FIVE_ANSWERS


def test_records_say_when_they_were_made_and_by_whom(harness: RunHarness) -> None:
    before = time.time()
    assert harness.resume().status == 0
    about = [record["chatpipe"] for record in records(harness.out)]
    assert {each["server"] for each in about} == {f"http://127.0.0.1:{harness.port}/v1"}
    assert all(before - 0.001 <= parse_timestamp(each["at"]) <= time.time() for each in about)


def test_a_journal_of_other_fingerprints_is_no_obstacle_and_is_kept(harness: RunHarness) -> None:
    """Those of the development versions had the server in every fingerprint."""
    assert harness.resume("--keep-journal").status == 0
    for path in (harness.out, harness.journal):
        lines = path.read_bytes().replace(b'"fingerprint":"', b'"fingerprint":"0').splitlines(True)
        path.write_bytes(b"".join(lines))
    done = harness.resume()
    assert (done.status, harness.new_prompts()) == (0, sorted([*FIVE] * 2))
    assert b"kept 5 answers that no line of the input asks for in 'out.jsonl.journal'" in done.stderr


def test_answers_of_a_fresh_run_take_precedence(harness: RunHarness) -> None:
    assert harness.resume().status == 0
    harness.refused = {"e"}
    assert harness.resume("--fresh").status == 1
    harness.refused = set()
    harness.new_prompts()
    assert harness.status_and_prompts() == (0, [])
    assert texts(harness.out) == ["a #2", "b #2", "c #2", "d #2", "e #1"]


# Answers that are not welcome


def named(name: str, prompts: str = "abcde") -> list[dict[str, str]]:
    """A row for each of these prompts, with a custom_id; `{}` in it is the prompt."""
    return [{"prompt": prompt, "custom_id": name.format(prompt)} for prompt in prompts]


def test_an_unwelcome_answer_is_not_sent_again_by_itself(harness: RunHarness) -> None:
    harness.write(*named("id-{}"))
    harness.cut = {"b", "d"}
    assert harness.status_and_prompts()[0] == 1
    assert harness.status_and_prompts() == (1, [])
    assert harness.status_and_prompts("--allow", "truncated") == (0, [])
    assert texts(harness.out) == FIVE_ANSWERS
    assert [record["error"] for record in records(harness.out)] == [None] * 5
    assert outcomes(harness.out) == ["ok", "truncated", "ok", "truncated", "ok"]
    assert harness.status_and_prompts() == (1, [])
    refused = [record["error"] for record in records(harness.journal) if record.get("error")]
    assert refused[-1] == {"code": "truncated", "message": "the answer was cut off (finish_reason 'length')"}


def test_resend_buys_only_the_cut_ones_with_their_new_limit(harness: RunHarness) -> None:
    harness.write(*named("id-{}"))
    harness.cut = {"b", "d"}
    again = ("--match", "id", "--resend", "truncated", "--max-tokens", "4000")
    assert harness.status_and_prompts()[0] == 1

    harness.refused = {"d"}
    assert harness.status_and_prompts(*again) == (1, ["b", "d"])
    assert [request.json().get("max_tokens") for request in harness.server.requests[-2:]] == [4000, 4000]
    harness.refused = set()
    assert harness.finish(*again) == ["d"]
    assert texts(harness.out) == ["a #1", "b #2", "c #1", "d #3", "e #1"]
    assert names(harness.out) == [(line, f"id-{each}") for line, each in enumerate(FIVE, 1)]
    assert harness.finish(*again) == []


@cases(
    ("options", "reused"),
    {
        "as they are": ([], 3),
        "sent again": (["--resend", "truncated"], 2),
        "fresh": (["--fresh"], 0),
        "another model": (["-m", "n"], 0),
    },
)
def test_a_dry_run_counts_what_would_be_reused(options: list[str], reused: int, harness: RunHarness) -> None:
    harness.write(*"abc")
    harness.cut = {"b"}
    assert harness.status_and_prompts()[0] == 1
    harness.write(*"abcd")
    before = harness.files(), harness.journal.read_bytes()
    done = harness.resume("--dry-run", *options)
    record = json.loads(done.stdout)
    assert (done.status, record["lines"], record["reused"], harness.new_prompts()) == (0, 4, reused, [])
    assert (harness.files(), harness.journal.read_bytes()) == before


def test_resend_leaves_what_it_does_not_name(harness: RunHarness) -> None:
    harness.write(*named("id-{}"))
    harness.cut = {"b"}
    assert harness.status_and_prompts()[0] == 1
    assert harness.status_and_prompts("--resend", "refused,empty") == (1, [])


def test_match_id_is_by_the_lines_own_ids_and_never_by_their_numbers(harness: RunHarness) -> None:
    harness.write("a", {"prompt": "b", "custom_id": "mine"}, "c")
    assert harness.status_and_prompts()[0] == 0
    harness.write("new", "a", {"prompt": "B", "custom_id": "mine"}, "c")
    assert harness.status_and_prompts("--match", "id") == (0, ["new"])
    assert texts(harness.out) == ["new #1", "a #1", "b #1", "c #1"]


def test_a_reused_answer_of_a_provider_stays_in_the_journal(harness: RunHarness, tmp_path: Path) -> None:
    harness.write({"prompt": "a", "custom_id": "one"}, {"prompt": "b", "custom_id": "two"})
    harness.refused = {"b"}
    write_rows(tmp_path / "old.jsonl", recorded_answer("one", None))
    assert harness.status_and_prompts("--match", "id", "--reuse", "old.jsonl") == (1, ["b"])
    done = harness.resume("--match", "id")
    assert b"passed over" not in done.stderr
    assert (done.status, harness.new_prompts()) == (1, ["b"])
    kept = next(each for each in records(harness.journal) if each["custom_id"] == "one")
    assert kept["chatpipe"] == {
        "line": 1,
        "outcome": "ok",
        "fingerprint": None,
        "attempts": 1,
        "latency_s": None,
        "at": None,
        "server": None,
    }


def test_match_id_gives_no_line_the_answer_to_another_of_the_same_id(harness: RunHarness) -> None:
    harness.write(*named("twin", "ab"))
    assert harness.status_and_prompts()[0] == 0
    done = harness.batch("in.jsonl", "--reuse", "out.jsonl", "--match", "id")
    assert (done.status, harness.new_prompts()) == (1, [])
    one, two = records(done.stdout)
    assert one["response"]["body"]["choices"][0]["message"]["content"] == "a #1"
    assert (two["chatpipe"]["outcome"], two["response"]) == ("input", None)
    assert two["error"]["message"] == (
        "in.jsonl:2: custom_id 'twin' is on another line, too: give each its own, or leave out --match id"
    )


def test_match_id_counts_the_ids_of_all_shards(harness: RunHarness) -> None:
    harness.write(*({"prompt": f"p{line}", "custom_id": each} for line, each in enumerate("xyxyzx")))
    found: list[tuple[int, str]] = []
    for shard in ("1/2", "2/2"):
        done = harness.batch("in.jsonl", "--match", "id", "--journal", f"j{shard[0]}", "--shard", shard)
        assert done.status == 1
        found += zip(numbers(done.stdout), outcomes(done.stdout), strict=True)
    assert [line for line, outcome in sorted(found) if outcome == "ok"] == [1, 2, 5]
    assert [line for line, outcome in sorted(found) if outcome == "input"] == [3, 4, 6]


def test_without_match_id_twins_are_two_lines(harness: RunHarness) -> None:
    harness.write(*named("twin", "ab"))
    assert harness.resume().status == 0
    assert texts(harness.out) == ["a #1", "b #1"]


# Files of answers


@cases("to_out", {"of -o": True, "of stdout": False})
def test_shards_are_gathered_without_sending(to_out: bool, harness: RunHarness, tmp_path: Path) -> None:
    """At least one of five equal prompts is in each of three shards."""
    prompts = ["same", "b", "same", "same", "e", "f", "same", "h", "i", "j", "same"]
    harness.write(*prompts)
    for shard in (1, 2, 3):
        part = tmp_path / f"part-{shard}"
        done = harness.batch("in.jsonl", "--shard", f"{shard}/3", *(("-o", part.name) if to_out else ("-k",)))
        assert done.status == 0
        if not to_out:
            part.write_bytes(done.stdout)
    assert harness.new_prompts() == sorted(prompts)
    assert names(tmp_path / "part-2") == [(line, f"line-{line}") for line in (2, 5, 8, 11)]

    assert harness.finish("--reuse", "part-*", "--no-send") == []
    assert names(harness.out) == [(line, f"line-{line}") for line in range(1, 12)]
    answers = texts(harness.out)
    assert [(text or "").split(" #")[0] for text in answers] == prompts
    assert len({*answers}) == 11  # none of them stands for two


def test_shards_that_failed_in_part_are_gathered_from_their_journals(harness: RunHarness) -> None:
    harness.write(*FIVE, "f")
    harness.refused = {"c"}
    for shard, status in (("1", 1), ("2", 0)):
        assert harness.batch("in.jsonl", "--shard", f"{shard}/2", "-o", f"part-{shard}").status == status
    assert harness.files() == ["in.jsonl", "part-1.journal", "part-2"]
    harness.new_prompts()

    assert harness.status_and_prompts("--reuse", "part-*", "--no-send") == (1, [])
    assert not harness.out.exists()
    harness.refused = set()
    assert harness.status_and_prompts("--reuse", "part-*") == (0, ["c"])
    assert texts(harness.out) == ["a #1", "b #1", "c #2", "d #1", "e #1", "f #1"]


def test_partly_gathered_answers_are_in_the_journal(harness: RunHarness, tmp_path: Path) -> None:
    assert harness.batch("in.jsonl", "--shard", "2/2", "-o", "part-2").status == 0
    assert harness.resume("--reuse", "part-2", "--no-send").status == 1
    assert outcomes(harness.journal) == ["unsent", "ok", "unsent", "ok", "unsent"]
    (tmp_path / "part-2").unlink()
    harness.new_prompts()
    assert harness.status_and_prompts() == (0, ["a", "c", "e"])


def test_no_send_marks_missing_answers(harness: RunHarness, tmp_path: Path) -> None:
    write_rows(tmp_path / "some.jsonl", "b", "d")
    assert harness.batch("some.jsonl", "-o", "answers.jsonl").status == 0
    harness.new_prompts()
    done = harness.batch("in.jsonl", "--reuse", "answers.jsonl", "--no-send", "-k")
    assert (done.status, harness.new_prompts()) == (1, [])
    assert texts(done.stdout) == [None, "b #1", None, "d #1", None]
    assert outcomes(done.stdout) == ["unsent", "ok", "unsent", "ok", "unsent"]
    codes = [record["error"] and record["error"]["code"] for record in records(done.stdout)]
    assert codes == ["unsent", None, "unsent", None, "unsent"]


def test_unsent_lines_are_sent_by_a_later_run(harness: RunHarness) -> None:
    assert harness.status_and_prompts("--no-send") == (1, [])
    assert harness.status_and_prompts() == (0, ["a", "b", "c", "d", "e"])
    assert harness.files() == ["in.jsonl", "out.jsonl"]


def test_an_input_of_reuse_is_only_read(harness: RunHarness, tmp_path: Path) -> None:
    assert harness.batch("in.jsonl", "-o", "old.jsonl").status == 0
    before = (tmp_path / "old.jsonl").read_bytes()
    harness.write(*FIVE, "f")
    harness.new_prompts()
    assert harness.status_and_prompts("--reuse", "old.jsonl") == (0, ["f"])
    assert (tmp_path / "old.jsonl").read_bytes() == before
    assert texts(harness.out) == [*FIVE_ANSWERS, "f #1"]


@cases(
    "name, status",
    {
        "missing": ("none.jsonl", 66),
        "a pattern without a file": ("none-*", 66),
        "no result lines": ("in.jsonl", 65),
    },
)
def test_a_wrong_reuse_is_reported_before_anything_is_sent(
    name: str, status: int, harness: RunHarness
) -> None:
    done = harness.resume("--reuse", name)
    assert (done.status, harness.new_prompts()) == (status, [])
    assert name.encode() in done.stderr


# The same request more than once


def test_each_of_the_same_requests_gets_an_answer_of_its_own(harness: RunHarness) -> None:
    harness.write("same", "same", "b", "same")
    assert harness.status_and_prompts("-j", "1") == (0, ["b", "same", "same", "same"])
    assert texts(harness.out) == ["same #1", "same #2", "b #1", "same #3"]
    assert harness.status_and_prompts() == (0, [])
    assert texts(harness.out) == ["same #1", "same #2", "b #1", "same #3"]


def test_one_more_of_the_same_request_is_one_more_sale(harness: RunHarness) -> None:
    harness.write("same", "same")
    assert harness.status_and_prompts("-j", "1")[0] == 0
    harness.write("same", "same", "same")
    assert harness.status_and_prompts() == (0, ["same"])
    assert texts(harness.out) == ["same #1", "same #2", "same #3"]


@cases("jobs", {"in turn": "1", "all in flight": "16"})
@cases("to_out", {"to a file": True, "to stdout": False})
def test_dedupe_sends_the_same_request_once(to_out: bool, jobs: str, harness: RunHarness) -> None:
    harness.write("a", "a", "b", {"prompt": "a", "custom_id": "mine"}, "b", "a")
    harness.latency_s = 0.02
    target = ("-o", "out.jsonl") if to_out else ("-k",)
    done = harness.batch("in.jsonl", "--dedupe", "-j", jobs, *target)
    assert (done.status, done.stderr) == (0, b"")
    assert harness.new_prompts() == ["a", "b"]
    written = harness.out if to_out else done.stdout
    assert texts(written) == ["a #1", "a #1", "b #1", "a #1", "b #1", "a #1"]
    assert names(written) == [(line, "mine" if line == 4 else f"line-{line}") for line in range(1, 7)]
    assert harness.files() == (["in.jsonl", "out.jsonl"] if to_out else ["in.jsonl"])


def test_dedupe_in_completion_order_answers_every_line(harness: RunHarness) -> None:
    harness.write(*["a", "b"] * 20)
    harness.latency_s = 0.02
    done = harness.batch("in.jsonl", "--dedupe")
    assert harness.new_prompts() == ["a", "b"]
    assert sorted(names(done.stdout)) == [(line, f"line-{line}") for line in range(1, 41)]


def test_a_failure_of_a_request_that_many_lines_make_is_theirs_too(harness: RunHarness) -> None:
    harness.write("a", "a", "a")
    harness.refused = {"a"}
    harness.latency_s = 0.02
    assert harness.resume("--dedupe").status == 69  # as of all lines that fail alike
    assert harness.new_prompts() == ["a"]
    assert outcomes(harness.journal) == ["http", "http", "http"]
    harness.refused = set()
    assert harness.status_and_prompts("--dedupe") == (0, ["a"])
    assert texts(harness.out) == ["a #2", "a #2", "a #2"]


def test_dedupe_resumes_where_it_stopped(harness: RunHarness) -> None:
    harness.write("a", "b", "a", "b")
    harness.refused = {"b"}
    assert harness.status_and_prompts("--dedupe")[0] == 1
    harness.refused = set()
    assert harness.status_and_prompts("--dedupe") == (0, ["b"])
    assert [(text or "")[:1] for text in texts(harness.out)] == ["a", "b", "a", "b"]


def test_dedupe_holds_for_a_fresh_run_too(harness: RunHarness) -> None:
    harness.write("a", "b", "a", "a")
    assert harness.status_and_prompts("--dedupe")[0] == 0
    assert harness.status_and_prompts("--dedupe", "--fresh", "-j", "1") == (0, ["a", "b"])
    assert texts(harness.out) == ["a #2", "b #2", "a #2", "a #2"]


def test_dedupe_is_by_the_request_also_where_answers_are_found_by_id(harness: RunHarness) -> None:
    harness.write(*({"prompt": prompt, "custom_id": name} for prompt, name in ("a1", "b2", "a3", "b4")))
    assert harness.status_and_prompts("--dedupe", "--match", "id", "-j", "1") == (0, ["a", "b"])
    assert texts(harness.out) == ["a #1", "b #1", "a #1", "b #1"]
    assert names(harness.out) == [(1, "1"), (2, "2"), (3, "3"), (4, "4")]


# The journal


def test_a_journal_without_out_does_the_same(harness: RunHarness) -> None:
    kept = ("in.jsonl", "--journal", "kept", "-k")
    harness.refused = {"b"}
    done = harness.batch(*kept)
    assert done.status == 1
    assert texts(done.stdout) == ["a #1", None, "c #1", "d #1", "e #1"]
    harness.new_prompts()
    harness.refused = set()
    done = harness.batch(*kept)
    assert (done.status, done.stderr, harness.new_prompts()) == (0, b"", ["b"])
    assert texts(done.stdout) == ["a #1", "b #2", "c #1", "d #1", "e #1"]
    assert harness.files() == ["in.jsonl", "kept"]
    assert (harness.batch(*kept[:-1]).status, harness.new_prompts()) == (0, [])


def test_a_journal_may_be_named_beside_out(harness: RunHarness) -> None:
    harness.refused = {"b"}
    assert harness.status_and_prompts("--journal", "elsewhere")[0] == 1
    assert harness.files() == ["elsewhere", "in.jsonl"]
    harness.refused = set()
    assert harness.status_and_prompts("--journal", "elsewhere") == (0, ["b"])
    assert harness.out.exists()


def test_of_texts_the_journal_is_the_memory(harness: RunHarness, tmp_path: Path) -> None:
    command, out = ("in.jsonl", "-f", "string", "-o", "out.txt"), tmp_path / "out.txt"
    for sent in ([*FIVE], []):
        assert harness.batch(*command) == (0, b"", b"")
        assert out.read_text() == '"a #1"\n"b #1"\n"c #1"\n"d #1"\n"e #1"\n'
        assert harness.files() == ["in.jsonl", "out.txt", "out.txt.journal"]
        assert harness.new_prompts() == sent
    harness.write("new", *FIVE)
    assert (harness.batch(*command).status, harness.new_prompts()) == (0, ["new"])
    assert json.loads(out.read_text().splitlines()[0]) == "new #1"


def test_answers_outlive_an_out_that_changes_its_format(harness: RunHarness) -> None:
    """They were in OUT only, which holds texts now."""
    assert harness.status_and_prompts()[0] == 0
    assert harness.resume("-f", "text").status == 0
    assert harness.out.read_text() == "a #1\nb #1\nc #1\nd #1\ne #1\n"
    assert harness.finish() == []
    assert texts(harness.out) == FIVE_ANSWERS
    assert harness.files() == ["in.jsonl", "out.jsonl"]


def test_a_run_that_learns_nothing_new_leaves_the_journal_as_it_is(harness: RunHarness) -> None:
    harness.cut = {"b"}
    assert harness.resume().status == 1
    before = harness.journal.read_bytes()
    assert harness.resume().status == 1
    assert harness.journal.read_bytes() == before


def test_a_limit_that_is_lifted_costs_only_the_rest(harness: RunHarness) -> None:
    assert harness.status_and_prompts("--limit", "2") == (0, ["a", "b"])
    assert harness.status_and_prompts() == (0, ["c", "d", "e"])
    assert texts(harness.out) == FIVE_ANSWERS


@cases(
    "options, is_kept",
    {
        "result lines": ((), False),
        "result lines, keep": (("--keep-journal",), True),
        "result lines, remove": (("--no-keep-journal",), False),
        "another format": (("-f", "json"), True),
        "another format, keep": (("-f", "json", "--keep-journal"), True),
        "another format, remove": (("-f", "json", "--no-keep-journal"), False),
    },
)
def test_whether_a_run_that_is_done_keeps_its_journal(
    options: tuple[str, ...], is_kept: bool, harness: RunHarness
) -> None:
    assert harness.resume(*options).status == 0
    assert harness.journal.exists() is is_kept


def test_no_keep_journal_keeps_the_journal_of_a_run_that_failed(harness: RunHarness) -> None:
    harness.refused = {"b"}
    assert harness.resume("--no-keep-journal").status == 1
    assert texts(harness.journal).count(None) == 1


def test_a_journal_beside_a_whole_out_is_used_and_removed(harness: RunHarness) -> None:
    """A run that is killed between its last two steps leaves both."""
    assert harness.status_and_prompts("--keep-journal")[0] == 0
    assert harness.finish() == []
    assert texts(harness.out) == FIVE_ANSWERS
    assert harness.files() == ["in.jsonl", "out.jsonl"]


def test_a_second_run_on_a_journal_that_is_held_sends_nothing(harness: RunHarness) -> None:
    harness.held = 3
    with harness.begin("-j", "1") as process:
        harness.until_prompts(3)
        done = harness.resume()
        assert done.status == 75
        assert b"out.jsonl.journal: another run holds this journal" in done.stderr
        assert len(harness.prompts) == 3
        harness.gate.set()
        assert process.wait() == 0
    assert harness.new_prompts() == ["a", "b", "c", "d", "e"]
    assert texts(harness.out) == FIVE_ANSWERS


@cases(
    "content",
    {
        "text": b"Dear diary,\n",
        "JSONL": b'{"prompt": "a"}\n',
        "a journal of a later version": b'{"chatpipe_journal":2}\n',
    },
)
def test_a_foreign_file_in_the_journals_place_is_not_touched(content: bytes, harness: RunHarness) -> None:
    harness.journal.write_bytes(content)
    done = harness.resume()
    assert (done.status, harness.new_prompts()) == (65, [])
    assert b"out.jsonl.journal: " in done.stderr
    assert harness.journal.read_bytes() == content
    assert harness.files() == ["in.jsonl", "out.jsonl.journal"]


# Files of --reuse of which nothing is used


def recorded_answer(custom_id: str, server: str | None = "http://other/v1", **body: str) -> dict[str, Any]:
    """A result line to a request that nobody makes any more; without a server, of the Batch API."""
    facts = {"line": 1, "outcome": "ok", "fingerprint": f"{custom_id:0>32}", "server": server}
    response = {"status_code": 200, "request_id": None, "body": {**completion("x"), **body}}
    record = {"id": "r", "custom_id": custom_id, "response": response, "error": None}
    return record if server is None else {**record, "chatpipe": facts}


BUILT_IN = "old.jsonl: passed over 2 answers of the built-in model: a run uses those of its own server only"
OTHERS = "old.jsonl: passed over 2 answers of other servers, because of --same-server"
IN_VAIN = "--reuse: none of the 2 answers is to a request of this run"
NO_NAME = f"{IN_VAIN}: the custom_id of one is 'x', the input has 'a'"
BY_ID = f"{IN_VAIN}: --match id takes those whose custom_id is the same"


@cases(
    ("options", "records", "note"),
    {
        "of a chatpipe serve": (
            "",
            (recorded_answer("a", system_fingerprint="fp_chatpipe_1"),) * 2,
            BUILT_IN,
        ),
        "of its Batch API": (
            "--match id",
            (recorded_answer("a", None, system_fingerprint="fp_chatpipe_1"),) * 2,
            BUILT_IN,
        ),
        "of another server": ("--same-server", (recorded_answer("a"), recorded_answer("b")), OTHERS),
        "to other requests": ("", (recorded_answer("x"), recorded_answer("y")), IN_VAIN),
        "to other requests of the same name": ("", (recorded_answer("a"), recorded_answer("y")), BY_ID),
        "of other names": ("--match id", (recorded_answer("x"), recorded_answer("y")), NO_NAME),
        "of a provider": ("", (recorded_answer("a", None), recorded_answer("b", None)), BY_ID),
        "of a provider, of other names": (
            "",
            (recorded_answer("x", None), recorded_answer("y", None)),
            IN_VAIN,
        ),
        "of a provider, looked up in vain": (
            "--match id",
            (recorded_answer("x", None), recorded_answer("y", None)),
            NO_NAME,
        ),
        "of the same name": ("--match id", (recorded_answer("a"), recorded_answer("y")), ""),
    },
)
def test_a_file_whose_answers_are_not_used_is_named(
    options: str, records: Sequence[dict[str, Any]], note: str, tmp_path: Path
) -> None:
    write_rows(tmp_path / "in.jsonl", {"custom_id": "a", "prompt": "q"}, {"custom_id": "b", "prompt": "r"})
    write_rows(tmp_path / "old.jsonl", *records)
    command = ("batch", "-p", "echo", "-m", "m", "in.jsonl", "--reuse", "old.jsonl", *options.split())
    expected = f"chatpipe: {note}\n".encode() if note else b""
    for more in (("--dry-run",), ("-o", "out.jsonl", "--keep-journal")):
        done = run(*command, *more, cwd=tmp_path)
        assert (done.status, done.stderr) == (0, expected)
    if not note.startswith("old"):
        done = run(*command, "--no-send", cwd=tmp_path)
        assert (b"--reuse: none" in done.stderr, done.stderr.startswith(expected)) == (bool(note), True)
    done = run(*command, "-o", "out.jsonl", cwd=tmp_path)  # all is answered
    assert (done.status, done.stderr) == (0, expected if "passed over" in note else b"")
