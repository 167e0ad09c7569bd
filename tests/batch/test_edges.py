"""Edges of runs: answers that nobody asks for any more, inputs that are outputs, kills, broken servers."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import orjson
import pytest

from batch.result_lines import names, outcomes, records, texts
from batch.resuming import TO_OUT, RunHarness
from batch.runs import answer, batch, command, jsonl, prompt, started
from support.parametrize import cases
from support.patience import PATIENCE_S, until
from support.process import environment, run, sh, start
from support.programs import program
from support.resident import measured
from support.servers.loopback import Answer, Request, Stall, WaitFor, closed_port, error, steps_of


def kept(count: str, path: str = "out.jsonl.journal") -> bytes:
    what = f"kept {count} that no line of the input asks for in '{path}': --no-keep-journal drops them"
    return f"chatpipe: {what}\n".encode()


# Answers that no line asks for any more


@pytest.mark.usefixtures("answered")
def test_answers_to_removed_lines_are_kept_until_they_are_asked_for_again(harness: RunHarness) -> None:
    harness.write(*"ae")
    assert harness.resume() == (0, b"", kept("3 answers"))
    assert texts(harness.out) == ["a #1", "e #1"]
    assert texts(harness.journal) == ["b #1", "c #1", "d #1"]  # and nothing that OUT has
    harness.write(*"edcba")
    assert harness.resume() == (0, b"", b"")
    assert texts(harness.out) == ["e #1", "d #1", "c #1", "b #1", "a #1"]
    assert harness.files() == ["in.jsonl", "out.jsonl"]
    assert harness.new_prompts() == []


@pytest.mark.usefixtures("answered")
def test_answers_beyond_a_limit_are_kept(harness: RunHarness) -> None:
    assert harness.resume("--limit", "1") == (0, b"", kept("4 answers"))
    assert texts(harness.out) == ["a #1"]
    assert harness.resume().status == 0
    assert texts(harness.out) == ["a #1", "b #1", "c #1", "d #1", "e #1"]
    assert harness.files() == ["in.jsonl", "out.jsonl"]
    assert harness.new_prompts() == []


@pytest.mark.usefixtures("answered")
def test_kept_answers_are_reported_once_and_stay_unchanged(harness: RunHarness) -> None:
    assert harness.resume("--limit", "4") == (0, b"", kept("1 answer"))
    before = harness.journal.read_bytes()
    assert harness.resume("--limit", "4") == (0, b"", b"")
    assert harness.journal.read_bytes() == before
    assert harness.resume("--limit", "3") == (0, b"", kept("1 answer"))
    assert texts(harness.journal) == ["d #1", "e #1"]
    assert harness.new_prompts() == []


@pytest.mark.usefixtures("answered")
@pytest.mark.parametrize("option", ["--no-keep-journal", "--fresh"])
def test_unused_answers_are_dropped_on_request(option: str, harness: RunHarness) -> None:
    assert harness.resume("--limit", "1", option) == (0, b"", b"")
    assert harness.files() == ["in.jsonl", "out.jsonl"]


def test_an_edited_line_of_a_run_that_failed_leaves_its_answer(harness: RunHarness) -> None:
    harness.write(*"abc")
    harness.refused = {"c"}
    assert harness.resume().status == 1
    harness.write(*"aBc")
    harness.refused = set()
    assert harness.resume() == (0, b"", kept("1 answer"))
    assert texts(harness.out) == ["a #1", "B #1", "c #2"]
    assert texts(harness.journal) == ["b #1"]


@pytest.mark.usefixtures("answered")
def test_a_named_journal_keeps_answers_that_only_out_had(harness: RunHarness, tmp_path: Path) -> None:
    assert harness.resume("--limit", "3", "--journal", "j") == (0, b"", kept("2 answers", "j"))
    assert texts(tmp_path / "j") == ["d #1", "e #1"]
    assert harness.finish("--journal", "j") == []


@pytest.mark.usefixtures("answered")
def test_an_out_that_becomes_texts_loses_nothing(harness: RunHarness) -> None:
    assert harness.resume("--limit", "2", "-f", "string").status == 0
    assert harness.out.read_bytes() == b'"a #1"\n"b #1"\n'
    assert sorted(texts(harness.journal), key=str) == ["a #1", "b #1", "c #1", "d #1", "e #1"]
    assert harness.finish("-f", "string") == []


@pytest.mark.usefixtures("answered")
def test_a_line_found_by_its_id_is_in_use(harness: RunHarness) -> None:
    rows = [{"prompt": each, "custom_id": each} for each in "abcde"]
    harness.write(*rows)
    assert harness.resume().status == 0
    done = harness.resume("--match", "id", "--temperature", "1", "--limit", "4")
    assert done == (0, b"", kept("1 answer"))
    assert texts(harness.journal) == ["e #1"]
    assert harness.new_prompts() == []


@pytest.mark.usefixtures("answered")
def test_a_failure_leaves_all_files_unchanged(harness: RunHarness) -> None:
    before = harness.out.read_bytes()
    harness.refused = {"x"}
    harness.write("a", "x")
    assert harness.resume().status == 1
    assert harness.out.read_bytes() == before
    harness.write(*"abcde")
    assert harness.resume() == (0, b"", b"")
    assert harness.files() == ["in.jsonl", "out.jsonl"]
    assert harness.new_prompts() == ["x"]


# A budget counts each answer once, and only this job's


def test_a_line_that_moved_does_not_cost_twice(harness: RunHarness) -> None:
    """Each answer uses 7 tokens; what the next may take is estimated at some 20 to 30 with this limit."""
    harness.write(*"abcdefgh", "x")
    harness.refused = {"x"}
    assert harness.resume("--max-tokens", "2").status == 1
    for order in ("hgfedcba", "abcdefgh", "bahgfedc"):  # 16, 24 and 32 lines of answers in the journal
        harness.write(*order, "x")
        assert harness.resume("--max-tokens", "2", "--max-total-tokens", "110").status == 1
    assert len(records(harness.journal)) > 20
    harness.refused = set()
    assert harness.resume("--max-tokens", "2", "--max-total-tokens", "110").status == 0


def test_what_was_lost_counts_in_the_next_run_too(harness: RunHarness) -> None:
    """The server may have charged for a try without an answer: it costs some 20, and answers 7 each."""
    harness.write(*"abc")
    harness.dropped = {"a"}
    budget = ("-j1", "--max-tokens", "2", "--retries", "1", "--max-total-tokens", "60")
    assert harness.status_and_prompts(*budget)[0] == 7
    lost = [each["chatpipe"].get("lost_usage") for each in records(harness.journal)]
    assert lost[0]["total_tokens"] == 40
    harness.dropped = set()
    assert harness.status_and_prompts(*budget) == (7, [])
    assert harness.status_and_prompts(*budget[:-1], "80")[1] != []
    assert harness.status_and_prompts(*budget[:-2])[0] == 0
    assert harness.files() == ["in.jsonl", "out.jsonl"]


@pytest.mark.usefixtures("answered")
def test_leftovers_of_a_finished_run_do_not_count_against_the_budget(harness: RunHarness) -> None:
    harness.write("x")
    assert harness.resume("--max-tokens", "2") == (0, b"", kept("5 answers"))
    harness.write("y")
    assert harness.status_and_prompts("--max-tokens", "2", "--max-total-tokens", "40") == (0, ["x", "y"])


@cases(
    ("options", "env"),
    {
        "another format": (("-f", "string"), {}),
        "kept": (("--keep-journal",), {}),
        "under make": ((), {"MAKELEVEL": "1"}),
        "to stdout": (("--journal", "j"), {}),
    },
)
def test_a_finished_run_does_not_count_against_the_budget(
    options: tuple[str, ...], env: dict[str, str], harness: RunHarness
) -> None:
    """Eight answers use 56 tokens, a new one 7, which is estimated at some 20 to 30."""
    harness.write(*"abcdefgh")
    again = ("--max-tokens", "2", *options)
    assert harness.resume(*again, env=env).status == 0
    harness.new_prompts()
    journals = [path for path in harness.folder.iterdir() if path.name in ("j", harness.journal.name)]
    kept_bytes = [path.read_bytes() for path in journals]
    assert harness.resume(*again, env=env).status == 0
    assert [path.read_bytes() for path in journals] == kept_bytes  # one head a finished run that added to it
    harness.write("x", *"hgfedcba", "y")  # the lines that moved are recorded under their new names
    harness.refused = {"y"}
    for _ in range(2):
        assert harness.resume(*again, "--max-total-tokens", "60", env=env).status == 1
        assert "y" in harness.new_prompts()
    harness.refused = set()
    assert harness.resume(*again, "--max-total-tokens", "60", env=env).status == 0
    assert harness.new_prompts() == ["y"]


def test_answers_that_moved_in_out_do_not_count_against_the_budget(harness: RunHarness) -> None:
    harness.write(*"abcde")
    assert harness.status_and_prompts("--max-tokens", "2")[0] == 0
    harness.write("x", *"edcba")
    harness.refused = {"x"}
    for _ in range(2):
        assert harness.resume("--max-tokens", "2", "--max-total-tokens", "40").status == 1
    assert "x" in harness.new_prompts()


def test_an_unfinished_run_counts_against_the_budget(harness: RunHarness) -> None:
    harness.write(*"abcdefgh", "x")
    harness.refused = {"x"}
    assert harness.resume("--max-tokens", "2", "-f", "string").status == 1
    done = harness.resume("--max-tokens", "2", "-f", "string", "--max-total-tokens", "60")
    assert done.status == 7
    assert b"is reached: 56 are spent in this run and those before it, and the next" in done.stderr


def test_an_answer_whose_usage_nobody_reported_counts_by_its_length(harness: RunHarness) -> None:
    """A run that is stopped by its budget must not get as much again each time that it is repeated."""
    harness.write(*"abcdefgh", "x")
    harness.refused = {"x"}
    assert harness.resume("--max-tokens", "2").status == 1
    whole = harness.journal.read_bytes()
    harness.journal.write_bytes(re.sub(rb'"usage":\{[^{}]*\}', b'"usage":null', whole))
    done = harness.resume("--max-tokens", "2", "--max-total-tokens", "60")
    assert done.status == 7
    assert re.search(rb"is reached: [1-9]\d* are spent in this run and those before it", done.stderr)


# What is read is not written


SAME = {
    "output": "batch -o in.jsonl < in.jsonl",
    "output by another name": "batch -o hard.jsonl < in.jsonl",
    "journal": "batch --journal in.jsonl < in.jsonl",
    "errors": "batch --errors in.jsonl < in.jsonl",
    "errors by another name": "batch --errors hard.jsonl < in.jsonl",
    "report": "batch --report in.jsonl < in.jsonl",
    "rule": "batch -o out -M in.jsonl < in.jsonl",
    "appended to itself": "batch < in.jsonl >> in.jsonl",
    "appended to itself by name": "batch in.jsonl >> in.jsonl",
    "errors where results go": "batch in.jsonl --errors old.jsonl >> old.jsonl",
    "errors are reused": "batch in.jsonl --reuse old.jsonl --errors old.jsonl",
    "report is reused": "batch in.jsonl --reuse 'ol?.jsonl' --report old.jsonl",
    "journal to stdout": "batch in.jsonl --journal -",
    "errors to stdout": "batch in.jsonl --errors -",
    "report among the results": "batch in.jsonl --report -",
    "ask": "ask -o in.jsonl < in.jsonl",
    "build": "build -o in.jsonl < in.jsonl",
    "show": "show -o in.jsonl < in.jsonl",
}


@pytest.mark.parametrize("command", SAME.values(), ids=SAME)
def test_an_output_that_is_an_input_is_refused_before_anything_is_written(
    command: str, tmp_path: Path
) -> None:
    content = b'{"id":"1","choices":[],"prompt":"a"}\n'
    for name in ("in.jsonl", "old.jsonl"):
        (tmp_path / name).write_bytes(content)
    os.link(tmp_path / "in.jsonl", tmp_path / "hard.jsonl")
    name, _, rest = command.partition(" ")
    profile = "" if name in ("show", "build") else "-p echo"
    done = sh(f"chatpipe {name} {profile} {rest}", cwd=tmp_path)
    assert (done.status, done.stdout) == (2, b"")
    assert done.stderr.count(b"\n") == 1
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == dict.fromkeys(
        ("hard.jsonl", "in.jsonl", "old.jsonl"), content
    )


# Kills


def test_killed_while_it_waits_it_leaves_no_temporary_file(harness: RunHarness) -> None:
    harness.write(*"ab")
    harness.held = 2
    with harness.begin() as process:
        harness.until_prompts(2)
        process.send_signal(signal.SIGKILL)
        process.wait()
    harness.gate.set()
    assert harness.files() == ["in.jsonl", "out.jsonl.journal"]


def test_a_removed_journal_is_reported_even_if_the_run_fails(harness: RunHarness) -> None:
    harness.write(*"ab")
    harness.held = 2
    harness.refused = {"a", "b"}
    with harness.begin() as process:
        harness.until_prompts(2)
        harness.journal.unlink()
        harness.gate.set()
        stderr = process.communicate()[1]
    assert b"the journal was removed during the run: its answers were saved as" in stderr
    assert outcomes(harness.journal) == ["http", "http"]


def test_an_id_that_is_half_a_character_comes_back_as_it_is() -> None:
    done = run("batch", "-p", "echo", stdin=b'{"prompt":"a","custom_id":"\\ud800"}\n')
    assert done.status == 0
    assert b'"custom_id": "\\ud800"' in done.stdout or b'"custom_id":"\\ud800"' in done.stdout


# Why a run failed


def test_the_last_line_says_why(harness: RunHarness) -> None:
    harness.write(*"abcd", {"messages": "none"})
    harness.refused = set("abc")
    done = harness.batch("in.jsonl")
    assert done.status == 1
    why = b"chatpipe: 4 of 5 lines failed: 3 http_500, 1 input"
    advice = b"correct line 5, run it again with --reuse FILE, where FILE has these results"
    first, last = done.stderr.splitlines()
    assert first.startswith(b"chatpipe: in.jsonl:")
    assert last == why + b": jq 'select(.error)' shows them, " + advice
    done = harness.resume()
    assert done.stderr.endswith(
        b"1 input: jq 'select(.error)' out.jsonl.journal shows them, correct line 5, "
        b"run the same command again\n"
    )


@cases(
    "options, where",
    {
        "on stdout": ((), "jq 'select(.error)' shows them"),
        "in a file": (("-o", "out"), "jq 'select(.error)' out.journal shows them"),
        "texts": (("-f", "text", "--journal", "j"), "jq 'select(.error)' j shows them"),
    },
)
def test_lines_that_are_wrong_are_to_be_mended(
    options: tuple[str, ...], where: str, harness: RunHarness
) -> None:
    harness.write("a", {"messages": "none"}, {"messages": "none"})
    done = harness.batch("in.jsonl", *options)
    wrong = "/messages: is 'none', not an array: write an array of objects with role and content"
    assert done.stderr.decode().splitlines() == [
        f"chatpipe: in.jsonl:2: {wrong}",
        f"chatpipe: 2 of 3 lines failed: 2 input: {where}, correct lines 2, 3",
    ]


def test_of_texts_on_stdout_nothing_can_be_looked_at(harness: RunHarness) -> None:
    harness.write(*"ab")
    harness.refused = {"b"}
    done = harness.batch("in.jsonl", "-f", "text")
    advice = b": run it again with --journal FILE, which keeps its answers\n"
    assert done.stderr.startswith(b"chatpipe: in.jsonl:2: 500 from ")
    assert done.stderr.endswith(b"\nchatpipe: 1 of 2 lines failed: 1 http_500" + advice)


@cases(
    "options, advice",
    {
        "without a journal": ((), "run it again with --reuse FILE, where FILE has these results"),
        "with one": (("--journal", "j"), "run the same command again"),
    },
)
def test_to_raise_a_budget_is_half_of_the_advice(
    options: tuple[str, ...], advice: str, harness: RunHarness
) -> None:
    harness.write(*"ab")
    done = harness.batch("in.jsonl", "--max-total-tokens", "1", *options)
    assert done.status == 7
    assert done.stderr.decode().endswith(f": raise --max-total-tokens, {advice}\n")


# The end of a run whose output is in order


@cases(
    "status, options, ends",
    {"no key": (401, (), 77), "a halt rule": (500, ("--halt", "soon,fail=1"), 1)},
)
def test_in_order_no_more_is_sent_than_out_of_order(
    status: int, options: tuple[str, ...], ends: int, tmp_path: Path
) -> None:
    gate = threading.Event()

    def handler(request: Request) -> Answer:
        if prompt(request) == "b":
            return error(status, "no")
        return [WaitFor(gate), *steps_of(answer(request))]

    options = ("--retries", "0", "-j4", "-f", "string", *options)
    lines = jsonl(*"abcdefghijklmnop")
    with started(*options, folder=tmp_path, lines=lines, handler=handler) as (server, process):
        server.until(lambda: len(server.requests) >= 4 and server.busy == 3)
        process.settle()  # many more would have come
        gate.set()
        stdout, _ = process.communicate()
    assert len(server.requests) == 4
    assert (process.returncode, stdout) == (ends, b'"A"\nnull\n"C"\n"D"\n')


def test_in_order_halt_now_waits_for_nobody() -> None:
    def handler(request: Request) -> Answer:
        return error(500, "no") if prompt(request) == "b" else [Stall()]

    began = time.monotonic()
    options = ("--retries", "0", "-j4", "-k", "--halt", "now,fail=1")
    done = batch(*options, stdin=jsonl(*"abcd"), handler=handler)
    assert (done.status, done.lines) == (1, [2])
    assert time.monotonic() - began < PATIENCE_S


def test_the_message_of_the_server_is_shown_if_all_lines_fail_alike(harness: RunHarness) -> None:
    harness.write(*"abc")
    harness.refused = set("abc")
    done = harness.batch("in.jsonl")
    assert done.status == 69
    assert b"chatpipe: 3 of 3 lines failed: http_500: " in done.stderr
    assert b"out of order" in done.stderr


def test_a_dry_run_shows_the_first_bad_lines_and_counts_all() -> None:
    done = run("batch", "-p", "echo", "--dry-run", stdin=b'"a"\n' + b"oops\n" * 15)
    assert done.status == 65
    assert orjson.loads(done.stdout)["bad"] == 15
    lines = done.stderr.splitlines()
    assert [line.partition(b": not JSON")[0] for line in lines[:10]] == [
        b"chatpipe: <stdin>:%d" % number for number in range(2, 12)
    ]
    assert lines[10:] == [b"chatpipe: there are more like these: chatpipe check shows them all"]


# Large inputs


def test_only_the_twelve_truncated_lines_of_many_are_sent_again(harness: RunHarness) -> None:
    cut = range(100, 2_500, 200)
    rows = [
        {"custom_id": f"id-{number}", "prompt": "many words " * 9 if number in cut else "few"}
        for number in range(2_500)
    ]
    harness.write(*rows)
    first = ("batch", "-p", "echo", *TO_OUT, "--report", "report")
    done = run(*first, "--max-tokens", "9", cwd=harness.folder)
    assert done.status == 1
    assert b"12 of 2500 lines failed: 12 truncated" in done.stderr
    options = ("--match", "id", "--resend", "truncated", "--max-tokens", "400")
    assert run(*first, *options, cwd=harness.folder) == (0, b"", b"")
    report = orjson.loads((harness.folder / "report").read_bytes())
    assert (report["lines"], report["reused"], report["outcomes"]) == (2_500, 2_488, {"ok": 2_500})
    assert names(harness.out) == [(line, f"id-{line - 1}") for line in range(1, 2_501)]
    lengths = [len(text or "") for text in texts(harness.out)]
    assert [number for number, length in enumerate(lengths) if length > 50] == list(cut)
    assert harness.files() == ["in.jsonl", "out.jsonl", "report"]


BAD_LINES = {1: b"{not JSON", 2: b'"\xff\xfe"', 3: b"[1]", 4: b'{"messages":[{"role":"nobody"}]}'}


def test_bad_lines_among_many_are_results_in_their_places(tmp_path: Path) -> None:
    """A line that is too long among them: a hole in the file, of 257 MiB that take no room on the disk."""
    count = 100_000 if os.environ.get("CHATPIPE_SOAK") else 4_000
    lines = [BAD_LINES.get(number % 100, b'"p%d"' % number) for number in range(1, count + 1)]
    with (tmp_path / "in").open("wb") as file:
        file.write(b"\n".join(lines) + b"\n")
        file.seek(257 << 20, os.SEEK_CUR)
        file.write(b'\n"last"\n')
    done = run("batch", "-p", "echo", "in", "-k", cwd=tmp_path)
    assert done.status == 1
    results = records(done.stdout)
    assert [record["chatpipe"]["line"] for record in results] == list(range(1, count + 3))
    for number, record in enumerate(results[:count], 1):
        if number % 100 in BAD_LINES:
            assert record["error"]["code"] == record["chatpipe"]["outcome"] == "input"
            assert record["error"]["message"].startswith(f"in:{number}: ")
        else:
            assert record["response"]["body"]["choices"][0]["message"]["content"] == f"p{number}"
    assert results[count]["error"] == {"code": "input", "message": f"in:{count + 1}: longer than 256 MiB"}
    assert results[count + 1]["response"]["body"]["choices"][0]["message"]["content"] == "last"


# A server that goes, and a make that is stopped


LOOPBACK = Path(__file__).parents[1] / "support" / "servers" / "loopback.py"


def serving(port: int, latency_s: float = 0.0) -> subprocess.Popen[bytes]:
    """The loopback server as a program of its own; it listens when this returns."""
    command = (sys.executable, str(LOOPBACK), "--port", str(port), "--latency", f"{latency_s}")
    server = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment())
    assert server.stdout is not None
    assert server.stdout.readline() == b"http://127.0.0.1:%d/v1\n" % port
    return server


def test_a_server_that_is_started_again_in_mid_run_loses_and_doubles_nothing(harness: RunHarness) -> None:
    port = closed_port()
    harness.write(*(f"p{number}" for number in range(300)))
    command_line = command(f"http://127.0.0.1:{port}/v1", "-j", "16", "--retries", "9", *TO_OUT)
    with serving(port, latency_s=0.2) as server, start(*command_line, cwd=harness.folder) as process:
        until(lambda: harness.journal.exists() and harness.journal.read_bytes().count(b"\n") >= 50)
        server.kill()
        server.wait()
        with serving(port) as again:
            _, stderr = process.communicate()
            again.kill()
    assert (process.returncode, stderr) == (0, b"")
    assert texts(harness.out) == [f"p{number}" for number in range(300)]
    assert max(record["chatpipe"]["attempts"] for record in records(harness.out)) > 1


MAKEFILE = """\
.DELETE_ON_ERROR:
out.jsonl: in.jsonl
\tchatpipe batch in.jsonl -o $@ --base-url {url} -m m --retries 0 -j 2 --grace 0.01
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=str)
def test_make_that_is_stopped_and_run_again_costs_only_the_rest(
    number: signal.Signals, harness: RunHarness, tmp_path: Path
) -> None:
    make = program("make")
    harness.write(*"abcdefghij")
    harness.out.write_text("old\n")
    os.utime(harness.out, (1, 1))
    (tmp_path / "Makefile").write_text(MAKEFILE.format(url=harness.server.url))
    harness.held = 6
    with subprocess.Popen(
        (make, "-s"), cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        harness.until_prompts(7)
        paid, rest = sorted(harness.prompts[:5]), sorted({*"abcdefghij"} - {*harness.prompts[:5]})
        os.killpg(process.pid, number)  # as Ctrl-C does: make, its shell and chatpipe
        process.communicate()
    assert process.returncode != 0
    assert harness.out.read_text() == "old\n"
    assert sorted(filter(None, texts(harness.journal))) == [f"{each} #1" for each in paid]
    harness.held = None
    harness.gate.set()
    harness.new_prompts()
    assert sh(f"{make} -s", cwd=tmp_path) == (
        0,
        b"",
        (
            b"chatpipe: out.jsonl.journal: journal kept, "
            b"because make removes the output of a recipe that fails\n"
        ),
    )
    assert harness.new_prompts() == rest
    assert harness.files() == ["Makefile", "in.jsonl", "out.jsonl", "out.jsonl.journal"]


# Memory


MEMORY = """
import sys
from chatpipe.request.fingerprint import body_digest, fingerprint_of
from chatpipe.batch.journal.journal import Journal
from chatpipe.batch.items import Item
from chatpipe.batch.journal.answer_files import AnswerFiles
from chatpipe.batch.journal.answers import AnswerIndex
from chatpipe.options.outcomes import Outcome
from chatpipe.batch.result import Result
from chatpipe.batch.journal.store import RunStore, StoreOptions
from chatpipe.errors import Status

LINES = 100_000
ABOUT = '"chatpipe":{"line":1,"outcome":"ok","fingerprint":"%s","attempts":1,"latency_s":0.5}'
RESPONSE = '"response":{"status_code":200,"request_id":"","body":{"choices":[{}]}}'
LINE = '{"id":"","custom_id":"line-%d",' + RESPONSE + ',"error":null,' + ABOUT + '}'

def answered(number):
    return (LINE % (number + 1, fingerprint_of(body_digest({"p": number}), "u", 1))).encode()

def bytes_taken(lines, recorded_lines, name):
    with open(f"{name}.out", "wb") as file:
        for number in range(recorded_lines):
            file.write(answered(number) + b"\\n")
    journal = Journal(name, clock=lambda: 0.0)
    before = resident()
    recorded = AnswerIndex(out=f"{name}.out", journal=journal)
    store = RunStore(AnswerFiles(journal, recorded), StoreOptions("u", dedupe=True, keeps_order=True))
    for number in range(lines):
        item = Item(number + 1, f"line-{number + 1}", {"p": number})
        fingerprint = store.fingerprint(item)
        found = store.find_answer(item, fingerprint)
        assert (found is not None) == (number < recorded_lines)
        line = found.line if found else answered(number)
        latency_s = None if found else 0.5
        result = Result(item, Outcome.ok, line, None, True, Status.OK, latency_s, None, fingerprint)
        store.record(number, result)
    return resident() - before

share = float(sys.argv[1])
bytes_taken(1_000, int(1_000 * share), "first")  # what every run takes, whatever its length
print(bytes_taken(LINES, int(LINES * share), "run") / LINES)
"""


@cases("share", {"a new run": 0.0, "half of it recorded": 0.5})
def test_order_and_dedupe_and_an_index_take_40_bytes_a_line(share: float, tmp_path: Path) -> None:
    (each,) = measured(MEMORY, str(share), cwd=tmp_path)
    assert 20 < each < 40
