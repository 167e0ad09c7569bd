"""Runs that are broken off, repeated and changed: what was answered is never bought again."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from batch.resuming import Shop, names, outcomes, records, texts, write_rows
from parametrize import cases
from process import environment, sh
from programs import program

FIVE = ("a", "b", "c", "d", "e")
FIVE_ANSWERS = ["a #1", "b #1", "c #1", "d #1", "e #1"]
TO_OUT = ("in.jsonl", "-o", "out.jsonl")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with Shop(tmp_path) as shop:
        yield shop


@pytest.fixture
def five(tmp_path: Path) -> Path:
    """An input of five prompts, a to e."""
    path = tmp_path / "in.jsonl"
    write_rows(path, *FIVE)
    return path


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# OUT: whole and in order, or as it was


def test_out_is_whole_and_in_the_order_of_the_input(shop: Shop, tmp_path: Path) -> None:
    prompts = [f"p{number}" for number in range(40)]
    write_rows(tmp_path / "in.jsonl", *prompts)
    shop.latency_s = 0.002
    done = shop.batch(*TO_OUT)
    assert done == (0, b"", b"")
    assert texts(tmp_path / "out.jsonl") == [f"{prompt} #1" for prompt in prompts]
    assert names(tmp_path / "out.jsonl") == [(line, f"line-{line}") for line in range(1, 41)]
    assert files(tmp_path) == ["in.jsonl", "out.jsonl"]


@pytest.mark.usefixtures("five")
def test_answers_that_come_in_another_order_are_put_in_the_inputs(shop: Shop, tmp_path: Path) -> None:
    shop.late = {"a"}
    journal = tmp_path / "out.jsonl.journal"
    with shop.start(*TO_OUT, "-j", "2") as process:
        shop.server.until(lambda: journal.exists() and len(records(journal)) == 4)
        shop.gate.set()
        assert process.wait(timeout=10) == 0
    assert texts(tmp_path / "out.jsonl") == FIVE_ANSWERS


@cases(
    "line, outcome, status",
    {
        "the server fails": ('{"prompt": "refused"}', "http", 1),
        "an answer is cut off": ('{"prompt": "cut"}', "truncated", 1),
        "a request is wrong": ('{"messages": 3}', "input", 1),
        "a line is not JSON": ("{", "input", 1),
    },
)
def test_a_failed_line_leaves_out_as_it_was_and_keeps_the_journal(
    line: str, outcome: str, status: int, shop: Shop, tmp_path: Path
) -> None:
    shop.refused, shop.cut = {"refused"}, {"cut"}
    (tmp_path / "in.jsonl").write_text(f'{{"prompt": "a"}}\n{line}\n{{"prompt": "b"}}\n')
    (tmp_path / "out.jsonl").write_text("old\n")
    done = shop.batch(*TO_OUT)
    assert done.status == status
    assert done.stdout == b""
    assert b"1 of 3 lines failed" in done.stderr
    assert (tmp_path / "out.jsonl").read_text() == "old\n"
    assert files(tmp_path) == ["in.jsonl", "out.jsonl", "out.jsonl.journal"]
    found = {record["chatpipe"]["line"]: record for record in records(tmp_path / "out.jsonl.journal")}
    assert {line: record["chatpipe"]["outcome"] for line, record in found.items()} == {
        1: "ok",
        2: outcome,
        3: "ok",
    }
    assert [found[line]["error"] is None for line in (1, 2, 3)] == [True, False, True]


@pytest.mark.usefixtures("five")
def test_the_next_run_sends_the_failed_lines_only_and_removes_the_journal(shop: Shop, tmp_path: Path) -> None:
    shop.refused = {"b", "d"}
    assert shop.batch(*TO_OUT).status == 1
    assert shop.sold() == ["a", "b", "c", "d", "e"]
    shop.refused = {"d"}
    assert shop.batch(*TO_OUT).status == 1
    assert shop.sold() == ["b", "d"]
    assert not (tmp_path / "out.jsonl").exists()
    shop.refused = set()
    assert shop.batch(*TO_OUT) == (0, b"", b"")
    assert shop.sold() == ["d"]
    assert texts(tmp_path / "out.jsonl") == ["a #1", "b #2", "c #1", "d #3", "e #1"]
    assert outcomes(tmp_path / "out.jsonl") == ["ok", "ok", "ok", "ok", "ok"]
    assert files(tmp_path) == ["in.jsonl", "out.jsonl"]


@pytest.mark.usefixtures("five")
def test_a_run_that_is_done_sends_nothing_and_writes_the_same(shop: Shop, tmp_path: Path) -> None:
    assert shop.batch(*TO_OUT).status == 0
    before = (tmp_path / "out.jsonl").read_bytes()
    shop.sold()
    assert shop.batch(*TO_OUT) == (0, b"", b"")
    assert shop.sold() == []
    assert (tmp_path / "out.jsonl").read_bytes() == before


@pytest.mark.usefixtures("five")
def test_all_lines_that_fail_alike_give_their_status_and_no_out(shop: Shop, tmp_path: Path) -> None:
    shop.refused = {*FIVE}
    assert shop.batch(*TO_OUT).status == 69
    assert files(tmp_path) == ["in.jsonl", "out.jsonl.journal"]


def linked(make: str, folder: Path) -> None:
    """Another name for in.jsonl: out.jsonl."""
    if make == "symlink":
        (folder / "out.jsonl").symlink_to("in.jsonl")
    else:
        os.link(folder / "in.jsonl", folder / "out.jsonl")


@pytest.mark.usefixtures("five")
def test_an_output_that_is_the_input_is_refused(shop: Shop, tmp_path: Path) -> None:
    before = (tmp_path / "in.jsonl").read_bytes()
    done = shop.batch("in.jsonl", "-o", "in.jsonl")
    assert done.status == 2
    assert b"'in.jsonl' is an input, too" in done.stderr
    assert shop.sold() == []
    assert files(tmp_path) == ["in.jsonl"]
    assert (tmp_path / "in.jsonl").read_bytes() == before


@pytest.mark.usefixtures("five")
@pytest.mark.parametrize("taken", ["in.jsonl", "out.jsonl", "out.jsonl.journal"])
@pytest.mark.parametrize("option", ["--errors", "--report"])
def test_a_side_file_that_would_destroy_what_a_run_needs_is_refused(
    option: str, taken: str, shop: Shop, tmp_path: Path
) -> None:
    before = (tmp_path / "in.jsonl").read_bytes()
    assert shop.batch(*TO_OUT, option, taken).status == 2
    assert shop.sold() == []
    assert (tmp_path / "in.jsonl").read_bytes() == before


@pytest.mark.usefixtures("five")
def test_a_journal_that_is_the_output_is_refused(shop: Shop, tmp_path: Path) -> None:
    assert shop.batch(*TO_OUT, "--journal", "out.jsonl").status == 2
    assert shop.sold() == []
    assert files(tmp_path) == ["in.jsonl"]


@pytest.mark.usefixtures("five")
@pytest.mark.parametrize("make", ["symlink", "hard link"])
def test_an_output_that_is_the_input_by_another_name_is_refused(
    make: str, shop: Shop, tmp_path: Path
) -> None:
    linked(make, tmp_path)
    assert shop.batch(*TO_OUT).status == 2
    assert shop.sold() == []
    assert files(tmp_path) == ["in.jsonl", "out.jsonl"]


# Broken off


def test_killed_at_any_moment_nothing_that_was_answered_is_sent_again(tmp_path: Path) -> None:
    """What was in flight may be sent again, and nothing else: at most -j requests a kill."""
    kills, jobs, lines = 8, 16, 300
    prompts = [f"p{number}" for number in range(lines)]
    write_rows(tmp_path / "in.jsonl", *prompts)
    journal = tmp_path / "out.jsonl.journal"
    moments = random.Random(11)
    with Shop(tmp_path, latency_s=0.005) as shop:
        again: list[tuple[set[str], int]] = []  # what the journal had at each kill, and the sales by then
        for _ in range(kills):
            with shop.start(*TO_OUT, "-j", str(jobs)) as process:
                shop.until_sold(len(shop.sales) + moments.randrange(1, 44))
                time.sleep(moments.uniform(0, 0.005))
                process.kill()
                process.wait(timeout=10)
            assert process.returncode == -signal.SIGKILL
            whole = journal.read_bytes().rpartition(b"\n")[0] if journal.exists() else b""
            again.append(({text.split()[0] for text in texts(whole) if text}, len(shop.sales)))
            assert not (tmp_path / "out.jsonl").exists()
        assert shop.batch(*TO_OUT, "-j", str(jobs)) == (0, b"", b"")
        sales = Counter(shop.sales)

        for answered, by_then in again:
            assert not answered & {*shop.sales[by_then:]}
    assert len(again[-1][0]) > 40  # else the kills came too early to show anything
    out = tmp_path / "out.jsonl"
    assert names(out) == [(line, f"line-{line}") for line in range(1, lines + 1)]
    assert [(text or "").split(" #")[0] for text in texts(out)] == prompts
    assert {*sales} == {*prompts}
    assert max(sales.values()) <= 1 + kills
    assert sum(sales.values()) - lines <= kills * jobs
    # Nothing can be tidied after kill -9: the temporary files have random names, out of the way
    assert [name for name in files(tmp_path) if not name.startswith(".")] == ["in.jsonl", "out.jsonl"]


@cases("number", {"Ctrl-C": signal.SIGINT, "SIGTERM": signal.SIGTERM})
def test_a_signal_waits_for_what_is_in_flight_and_the_next_run_sends_the_rest(
    number: signal.Signals, shop: Shop, tmp_path: Path
) -> None:
    write_rows(tmp_path / "in.jsonl", *"abcdefghij")
    (tmp_path / "out.jsonl").write_text("old\n")
    shop.held = 5
    with shop.start(*TO_OUT, "-j", "2") as process:
        shop.until_sold(6)
        process.send_signal(number)
        time.sleep(0.1)  # an answer that comes before the signal is noticed would let another request go
        shop.gate.set()
        stdout, stderr = process.communicate(timeout=10)
    assert process.returncode == -number
    assert stdout == b""
    assert stderr == b"chatpipe: interrupted after 6 lines: run the same command again\n"
    assert shop.sold() == [*"abcdef"]
    assert (tmp_path / "out.jsonl").read_text() == "old\n"
    assert sorted(texts(tmp_path / "out.jsonl.journal"), key=str) == [f"{each} #1" for each in "abcdef"]

    assert shop.batch(*TO_OUT, "-j", "2") == (0, b"", b"")
    assert shop.sold() == [*"ghij"]
    assert texts(tmp_path / "out.jsonl") == [f"{each} #1" for each in "abcdefghij"]
    assert files(tmp_path) == ["in.jsonl", "out.jsonl"]


@pytest.mark.usefixtures("five")
def test_after_a_signal_with_no_grace_what_was_answered_stays_answered(shop: Shop, tmp_path: Path) -> None:
    shop.held = 3
    with shop.start(*TO_OUT, "-j", "1", "--grace", "0.01") as process:
        shop.until_sold(3)
        process.send_signal(signal.SIGINT)
        process.wait(timeout=10)
    assert process.returncode == -signal.SIGINT
    assert texts(tmp_path / "out.jsonl.journal") == ["a #1", "b #1"]
    shop.sold()
    shop.held = None
    assert shop.batch(*TO_OUT).status == 0
    assert shop.sold() == ["c", "d", "e"]
    assert texts(tmp_path / "out.jsonl") == ["a #1", "b #1", "c #2", "d #1", "e #1"]


@pytest.mark.usefixtures("five")
def test_a_last_line_that_is_torn_is_dropped(shop: Shop, tmp_path: Path) -> None:
    shop.refused = {"d"}
    assert shop.batch(*TO_OUT).status == 1
    shop.sold()
    shop.refused = set()
    with (tmp_path / "out.jsonl.journal").open("ab") as journal:
        journal.write(b'{"id":"chatpipe-0","custom_id":"line-4","response":{"status_c')
    assert shop.batch(*TO_OUT) == (0, b"", b"")
    assert shop.sold() == ["d"]
    assert texts(tmp_path / "out.jsonl") == ["a #1", "b #1", "c #1", "d #2", "e #1"]


@pytest.mark.usefixtures("five")
@pytest.mark.parametrize("kept_bytes", [1, 40, -1])
def test_a_torn_answer_is_bought_again_and_no_other(kept_bytes: int, shop: Shop, tmp_path: Path) -> None:
    """The refused line comes first, so that the journal ends with an answer: that to e."""
    shop.refused = {"a"}
    assert shop.batch(*TO_OUT, "-j", "1").status == 1
    shop.sold()
    shop.refused = set()
    journal = tmp_path / "out.jsonl.journal"
    *whole, last, _ = journal.read_bytes().split(b"\n")
    journal.write_bytes(b"\n".join([*whole, last[:kept_bytes]]))
    assert shop.batch(*TO_OUT) == (0, b"", b"")
    assert shop.sold() == ["a", "e"]
    assert texts(tmp_path / "out.jsonl") == ["a #2", "b #1", "c #1", "d #1", "e #2"]


MAKEFILE = """\
.DELETE_ON_ERROR:
out.jsonl: in.jsonl
\tchatpipe batch in.jsonl -o $@ --base-url {url} -m m --retries 0 -j 2
"""


def test_make_again_costs_only_the_rest_after_the_server_died(tmp_path: Path) -> None:
    make = program("make")
    write_rows(tmp_path / "in.jsonl", *"abcdefghij")
    with Shop(tmp_path) as shop:
        (tmp_path / "Makefile").write_text(MAKEFILE.format(url=shop.server.url))
        shop.held = 6
        process = subprocess.Popen((make, "-s"), cwd=tmp_path, env=environment(), stderr=subprocess.PIPE)
        shop.until_sold(7)
    with process:  # which nobody answers any more
        _, stderr = process.communicate(timeout=10)
    assert process.returncode == 2
    assert b"chatpipe: 5 of 10 lines failed" in stderr
    assert not (tmp_path / "out.jsonl").exists()

    with Shop(tmp_path, port=shop.port) as shop:
        assert sh(f"{make} -s", cwd=tmp_path) == (0, b"", b"")
        assert shop.sold() == [*"fghij"]
        assert texts(tmp_path / "out.jsonl") == [f"{each} #1" for each in "abcdefghij"]
        assert sh(f"{make} -s", cwd=tmp_path).status == 0
        assert shop.sold() == []


# The input or the options have changed


@pytest.mark.usefixtures("five")
def test_of_an_edited_input_only_the_edited_lines_are_sent(shop: Shop, tmp_path: Path) -> None:
    assert shop.batch(*TO_OUT).status == 0
    shop.sold()
    write_rows(tmp_path / "in.jsonl", "a", "B", "C", "D", "e")
    assert shop.batch(*TO_OUT).status == 0
    assert shop.sold() == ["B", "C", "D"]
    assert texts(tmp_path / "out.jsonl") == ["a #1", "B #1", "C #1", "D #1", "e #1"]


def test_lines_that_moved_are_not_sent_and_have_their_new_names(shop: Shop, tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", "a", "b", {"prompt": "c", "custom_id": "sea"})
    assert shop.batch(*TO_OUT).status == 0
    shop.sold()
    write_rows(tmp_path / "in.jsonl", {"prompt": "c", "custom_id": "ocean"}, "a", "new", "b")
    assert shop.batch(*TO_OUT).status == 0
    assert shop.sold() == ["new"]
    assert texts(tmp_path / "out.jsonl") == ["c #1", "a #1", "new #1", "b #1"]
    assert names(tmp_path / "out.jsonl") == [(1, "ocean"), (2, "line-2"), (3, "line-3"), (4, "line-4")]


@pytest.mark.usefixtures("five")
def test_a_line_that_was_removed_is_not_in_out(shop: Shop, tmp_path: Path) -> None:
    assert shop.batch(*TO_OUT).status == 0
    shop.sold()
    write_rows(tmp_path / "in.jsonl", "a", "e")
    assert shop.batch(*TO_OUT).status == 0
    assert shop.sold() == []
    assert texts(tmp_path / "out.jsonl") == ["a #1", "e #1"]
    assert names(tmp_path / "out.jsonl") == [(1, "line-1"), (2, "line-2")]


@pytest.mark.usefixtures("five")
@cases(
    "option",
    {
        "model": ("-m", "other"),
        "parameter": ("--temperature", "0.5"),
        "system message": ("-s", "Be brief."),
        "unknown parameter": ("--set", "top_k:=3"),
    },
)
def test_a_changed_request_is_sent(option: tuple[str, ...], shop: Shop, tmp_path: Path) -> None:
    assert shop.batch(*TO_OUT).status == 0
    shop.sold()
    assert shop.batch(*TO_OUT, *option).status == 0
    assert shop.sold() == ["a", "b", "c", "d", "e"]
    assert texts(tmp_path / "out.jsonl") == ["a #2", "b #2", "c #2", "d #2", "e #2"]


@pytest.mark.usefixtures("five")
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
def test_what_is_not_of_the_request_may_change(option: tuple[str, ...], shop: Shop) -> None:
    assert shop.batch(*TO_OUT).status == 0
    shop.sold()
    assert shop.batch(*TO_OUT, *option).status == 0
    assert shop.sold() == []


def test_the_order_of_keys_does_not_change_a_request(shop: Shop, tmp_path: Path) -> None:
    lines = tmp_path / "in.jsonl"
    lines.write_text('{"messages":[{"role":"user","content":"a"}],"seed":1,"n":1}\n')
    assert shop.batch(*TO_OUT).status == 0
    lines.write_text('{"n": 1, "seed": 1, "messages": [{"content": "a", "role": "user"}]}\n')
    assert shop.batch(*TO_OUT).status == 0
    assert shop.sold() == ["a"]


@pytest.mark.usefixtures("five")
def test_another_server_is_another_request_unless_any_server_will_do(tmp_path: Path) -> None:
    with Shop(tmp_path) as one, Shop(tmp_path) as two:
        assert one.batch(*TO_OUT).status == 0
        assert two.batch(*TO_OUT).status == 0
        assert two.sold() == ["a", "b", "c", "d", "e"]

        assert one.batch("in.jsonl", "-o", "any.jsonl", "--any-server").status == 0
        assert two.batch("in.jsonl", "-o", "any.jsonl", "--any-server").status == 0
        assert two.sold() == []
    assert texts(tmp_path / "any.jsonl") == ["a #2", "b #2", "c #2", "d #2", "e #2"]


@pytest.mark.usefixtures("five")
def test_fresh_looks_nothing_up(shop: Shop, tmp_path: Path) -> None:
    assert shop.batch(*TO_OUT).status == 0
    shop.sold()
    assert shop.batch(*TO_OUT, "--fresh").status == 0
    assert shop.sold() == ["a", "b", "c", "d", "e"]
    assert texts(tmp_path / "out.jsonl") == ["a #2", "b #2", "c #2", "d #2", "e #2"]
    assert files(tmp_path) == ["in.jsonl", "out.jsonl"]


@pytest.mark.usefixtures("five")
def test_what_a_fresh_run_bought_counts_before_what_is_older(shop: Shop, tmp_path: Path) -> None:
    assert shop.batch(*TO_OUT).status == 0
    shop.refused = {"e"}
    assert shop.batch(*TO_OUT, "--fresh").status == 1
    shop.refused = set()
    shop.sold()
    assert shop.batch(*TO_OUT).status == 0
    assert shop.sold() == []
    assert texts(tmp_path / "out.jsonl") == ["a #2", "b #2", "c #2", "d #2", "e #1"]


# Answers that are not welcome


def write_named(folder: Path) -> None:
    write_rows(folder / "in.jsonl", *({"prompt": each, "custom_id": f"id-{each}"} for each in FIVE))


def test_an_answer_that_is_not_welcome_is_not_bought_again_by_itself(shop: Shop, tmp_path: Path) -> None:
    write_named(tmp_path)
    shop.cut = {"b", "d"}
    assert shop.batch(*TO_OUT).status == 1
    shop.sold()
    assert shop.batch(*TO_OUT).status == 1
    assert shop.sold() == []
    assert shop.batch(*TO_OUT, "--allow", "truncated").status == 0
    assert shop.sold() == []
    assert texts(tmp_path / "out.jsonl") == FIVE_ANSWERS
    assert [record["error"] for record in records(tmp_path / "out.jsonl")] == [None] * 5
    assert outcomes(tmp_path / "out.jsonl") == ["ok", "truncated", "ok", "truncated", "ok"]


def test_resend_buys_only_the_cut_ones_with_their_new_limit(shop: Shop, tmp_path: Path) -> None:
    write_named(tmp_path)
    shop.cut = {"b", "d"}
    again = (*TO_OUT, "--match", "id", "--resend", "truncated", "--max-tokens", "4000")
    assert shop.batch(*TO_OUT).status == 1
    shop.sold()

    shop.refused = {"d"}
    assert shop.batch(*again).status == 1
    assert shop.sold() == ["b", "d"]
    assert [request.json().get("max_tokens") for request in shop.server.requests[-2:]] == [4000, 4000]
    shop.refused = set()
    assert shop.batch(*again) == (0, b"", b"")
    assert shop.sold() == ["d"]
    assert texts(tmp_path / "out.jsonl") == ["a #1", "b #2", "c #1", "d #3", "e #1"]
    assert names(tmp_path / "out.jsonl") == [(line, f"id-{each}") for line, each in enumerate(FIVE, 1)]
    assert shop.batch(*again) == (0, b"", b"")
    assert shop.sold() == []


def test_resend_leaves_what_it_does_not_name(shop: Shop, tmp_path: Path) -> None:
    write_named(tmp_path)
    shop.cut = {"b"}
    assert shop.batch(*TO_OUT).status == 1
    shop.sold()
    assert shop.batch(*TO_OUT, "--resend", "refused,empty").status == 1
    assert shop.sold() == []


def test_match_id_is_by_the_lines_own_ids_and_never_by_their_numbers(shop: Shop, tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", "a", {"prompt": "b", "custom_id": "mine"}, "c")
    assert shop.batch(*TO_OUT).status == 0
    shop.sold()
    write_rows(tmp_path / "in.jsonl", "new", "a", {"prompt": "B", "custom_id": "mine"}, "c")
    assert shop.batch(*TO_OUT, "--match", "id").status == 0
    assert shop.sold() == ["new"]
    assert texts(tmp_path / "out.jsonl") == ["new #1", "a #1", "b #1", "c #1"]


def test_match_id_gives_no_line_the_answer_to_another_of_the_same_id(shop: Shop, tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", *({"prompt": each, "custom_id": "twin"} for each in "ab"))
    assert shop.batch(*TO_OUT).status == 0
    shop.sold()
    done = shop.batch("in.jsonl", "--reuse", "out.jsonl", "--match", "id")
    assert (done.status, shop.sold()) == (1, [])
    one, two = (json.loads(line) for line in done.stdout.splitlines())
    assert one["response"]["body"]["choices"][0]["message"]["content"] == "a #1"
    assert (two["chatpipe"]["outcome"], two["response"]) == ("input", None)
    assert two["error"]["message"] == (
        "in.jsonl:2: custom_id 'twin' is on another line, too: give each its own, or leave out --match id"
    )


def test_match_id_counts_the_ids_of_all_shards(shop: Shop, tmp_path: Path) -> None:
    ids = ("x", "y", "x", "y", "z", "x")
    write_rows(
        tmp_path / "in.jsonl", *({"prompt": f"p{line}", "custom_id": each} for line, each in enumerate(ids))
    )
    found = []
    for shard in ("1/2", "2/2"):
        done = shop.batch("in.jsonl", "--match", "id", "--journal", f"j{shard[0]}", "--shard", shard)
        assert done.status == 1
        found += [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted((each["chatpipe"]["line"], each["chatpipe"]["outcome"]) for each in found) == [
        (1, "ok"),
        (2, "ok"),
        (3, "input"),
        (4, "input"),
        (5, "ok"),
        (6, "input"),
    ]


def test_an_empty_id_is_none(shop: Shop, tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", *({"prompt": each, "custom_id": ""} for each in "ab"))
    assert shop.batch(*TO_OUT).status == 0
    write_rows(tmp_path / "in.jsonl", *({"prompt": each, "custom_id": ""} for each in "cb"))
    shop.sold()
    assert shop.batch(*TO_OUT, "--match", "id").status == 0
    assert shop.sold() == ["c"]
    assert texts(tmp_path / "out.jsonl") == ["c #1", "b #1"]


def test_without_match_id_twins_are_two_lines(shop: Shop, tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", *({"prompt": each, "custom_id": "twin"} for each in "ab"))
    assert shop.batch(*TO_OUT).status == 0
    assert texts(tmp_path / "out.jsonl") == ["a #1", "b #1"]


# Files of answers


def write_with_repeats(folder: Path) -> list[str]:
    """Eleven prompts; `same` is five of them, at least one in each of three shards."""
    prompts = ["same", "b", "same", "same", "e", "f", "same", "h", "i", "j", "same"]
    write_rows(folder / "in.jsonl", *prompts)
    return prompts


@cases("to_out", {"of -o": True, "of stdout": False})
def test_shards_are_gathered_without_sending(to_out: bool, shop: Shop, tmp_path: Path) -> None:
    prompts = write_with_repeats(tmp_path)
    for shard in (1, 2, 3):
        part = tmp_path / f"part-{shard}"
        done = shop.batch("in.jsonl", "--shard", f"{shard}/3", *(("-o", part.name) if to_out else ("-k",)))
        assert done.status == 0
        if not to_out:
            part.write_bytes(done.stdout)
    assert shop.sold() == sorted(prompts)
    assert names(tmp_path / "part-2") == [(line, f"line-{line}") for line in (2, 5, 8, 11)]

    done = shop.batch("in.jsonl", "--reuse", "part-*", "--no-send", "-o", "out.jsonl")
    assert done == (0, b"", b"")
    assert shop.sold() == []
    assert names(tmp_path / "out.jsonl") == [(line, f"line-{line}") for line in range(1, 12)]
    answers = texts(tmp_path / "out.jsonl")
    assert [(text or "").split(" #")[0] for text in answers] == prompts
    assert len({*answers}) == 11  # none of them stands for two


def test_shards_that_failed_in_part_are_gathered_from_their_journals(shop: Shop, tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", *FIVE, "f")
    shop.refused = {"c"}
    statuses = [
        shop.batch("in.jsonl", "--shard", f"{shard}/2", "-o", f"part-{shard}").status for shard in (1, 2)
    ]
    assert statuses == [1, 0]
    assert files(tmp_path) == ["in.jsonl", "part-1.journal", "part-2"]
    shop.sold()

    gather = ("in.jsonl", "--reuse", "part-*", "-o", "out.jsonl")
    assert shop.batch(*gather, "--no-send").status == 1
    assert shop.sold() == []
    assert not (tmp_path / "out.jsonl").exists()
    shop.refused = set()
    assert shop.batch(*gather).status == 0
    assert shop.sold() == ["c"]
    assert texts(tmp_path / "out.jsonl") == ["a #1", "b #1", "c #2", "d #1", "e #1", "f #1"]


@pytest.mark.usefixtures("five")
def test_what_was_gathered_in_part_is_in_the_journal(shop: Shop, tmp_path: Path) -> None:
    assert shop.batch("in.jsonl", "--shard", "2/2", "-o", "part-2").status == 0
    assert shop.batch(*TO_OUT, "--reuse", "part-2", "--no-send").status == 1
    assert outcomes(tmp_path / "out.jsonl.journal") == ["unsent", "ok", "unsent", "ok", "unsent"]
    (tmp_path / "part-2").unlink()
    shop.sold()
    assert shop.batch(*TO_OUT).status == 0
    assert shop.sold() == ["a", "c", "e"]


@pytest.mark.usefixtures("five")
def test_no_send_marks_what_it_lacks(shop: Shop, tmp_path: Path) -> None:
    write_rows(tmp_path / "some.jsonl", "b", "d")
    assert shop.batch("some.jsonl", "-o", "answers.jsonl").status == 0
    shop.sold()
    done = shop.batch("in.jsonl", "--reuse", "answers.jsonl", "--no-send", "-k")
    assert done.status == 1
    assert shop.sold() == []
    assert texts(done.stdout) == [None, "b #1", None, "d #1", None]
    assert outcomes(done.stdout) == ["unsent", "ok", "unsent", "ok", "unsent"]
    assert [record["error"] and record["error"]["code"] for record in records(done.stdout)] == [
        "unsent",
        None,
        "unsent",
        None,
        "unsent",
    ]


@pytest.mark.usefixtures("five")
def test_unsent_lines_are_sent_by_a_later_run(shop: Shop, tmp_path: Path) -> None:
    assert shop.batch(*TO_OUT, "--no-send").status == 1
    assert shop.sold() == []
    assert shop.batch(*TO_OUT).status == 0
    assert shop.sold() == ["a", "b", "c", "d", "e"]
    assert files(tmp_path) == ["in.jsonl", "out.jsonl"]


@pytest.mark.usefixtures("five")
def test_an_input_of_reuse_is_only_read(shop: Shop, tmp_path: Path) -> None:
    assert shop.batch("in.jsonl", "-o", "old.jsonl").status == 0
    before = (tmp_path / "old.jsonl").read_bytes()
    write_rows(tmp_path / "in.jsonl", *FIVE, "f")
    shop.sold()
    assert shop.batch(*TO_OUT, "--reuse", "old.jsonl").status == 0
    assert shop.sold() == ["f"]
    assert (tmp_path / "old.jsonl").read_bytes() == before
    assert texts(tmp_path / "out.jsonl") == [*FIVE_ANSWERS, "f #1"]


@pytest.mark.usefixtures("five")
@cases(
    "name, status",
    {
        "missing": ("none.jsonl", 66),
        "a pattern without a file": ("none-*", 66),
        "no result lines": ("in.jsonl", 65),
    },
)
def test_a_wrong_reuse_is_told_before_anything_is_sent(name: str, status: int, shop: Shop) -> None:
    done = shop.batch(*TO_OUT, "--reuse", name)
    assert done.status == status
    assert name.encode() in done.stderr
    assert shop.sold() == []


# The same request more than once


def test_each_of_the_same_requests_gets_an_answer_of_its_own(shop: Shop, tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", "same", "same", "b", "same")
    assert shop.batch(*TO_OUT, "-j", "1").status == 0
    assert shop.sold() == ["b", "same", "same", "same"]
    assert texts(tmp_path / "out.jsonl") == ["same #1", "same #2", "b #1", "same #3"]
    assert shop.batch(*TO_OUT).status == 0
    assert shop.sold() == []
    assert texts(tmp_path / "out.jsonl") == ["same #1", "same #2", "b #1", "same #3"]


def test_one_more_of_the_same_request_is_one_more_sale(shop: Shop, tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", "same", "same")
    assert shop.batch(*TO_OUT, "-j", "1").status == 0
    shop.sold()
    write_rows(tmp_path / "in.jsonl", "same", "same", "same")
    assert shop.batch(*TO_OUT).status == 0
    assert shop.sold() == ["same"]
    assert texts(tmp_path / "out.jsonl") == ["same #1", "same #2", "same #3"]


@cases("jobs", {"in turn": "1", "all in flight": "16"})
@cases("to_out", {"to a file": True, "to stdout": False})
def test_dedupe_sends_the_same_request_once(to_out: bool, jobs: str, shop: Shop, tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", "a", "a", "b", {"prompt": "a", "custom_id": "mine"}, "b", "a")
    shop.latency_s = 0.02
    target = ("-o", "out.jsonl") if to_out else ("-k",)
    done = shop.batch("in.jsonl", "--dedupe", "-j", jobs, *target)
    assert (done.status, done.stderr) == (0, b"")
    assert shop.sold() == ["a", "b"]
    written = tmp_path / "out.jsonl" if to_out else done.stdout
    assert texts(written) == ["a #1", "a #1", "b #1", "a #1", "b #1", "a #1"]
    assert names(written) == [
        (1, "line-1"),
        (2, "line-2"),
        (3, "line-3"),
        (4, "mine"),
        (5, "line-5"),
        (6, "line-6"),
    ]
    assert files(tmp_path) == (["in.jsonl", "out.jsonl"] if to_out else ["in.jsonl"])


def test_dedupe_in_completion_order_answers_every_line(shop: Shop, tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", *["a", "b"] * 20)
    shop.latency_s = 0.02
    done = shop.batch("in.jsonl", "--dedupe")
    assert shop.sold() == ["a", "b"]
    assert sorted(names(done.stdout)) == [(line, f"line-{line}") for line in range(1, 41)]


def test_a_failure_of_a_request_that_many_lines_make_is_theirs_too(shop: Shop, tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", "a", "a", "a")
    shop.refused = {"a"}
    shop.latency_s = 0.02
    assert shop.batch(*TO_OUT, "--dedupe").status == 69  # as of all lines that fail alike
    assert shop.sold() == ["a"]
    assert outcomes(tmp_path / "out.jsonl.journal") == ["http", "http", "http"]
    shop.refused = set()
    assert shop.batch(*TO_OUT, "--dedupe").status == 0
    assert shop.sold() == ["a"]
    assert texts(tmp_path / "out.jsonl") == ["a #2", "a #2", "a #2"]


def test_dedupe_goes_on_where_it_stopped(shop: Shop, tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", "a", "b", "a", "b")
    shop.refused = {"b"}
    assert shop.batch(*TO_OUT, "--dedupe").status == 1
    shop.sold()
    shop.refused = set()
    assert shop.batch(*TO_OUT, "--dedupe").status == 0
    assert shop.sold() == ["b"]
    assert [(text or "")[:1] for text in texts(tmp_path / "out.jsonl")] == ["a", "b", "a", "b"]


def test_dedupe_holds_for_a_fresh_run_too(shop: Shop, tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", "a", "b", "a", "a")
    assert shop.batch(*TO_OUT, "--dedupe").status == 0
    shop.sold()
    assert shop.batch(*TO_OUT, "--dedupe", "--fresh", "-j", "1").status == 0
    assert shop.sold() == ["a", "b"]
    assert texts(tmp_path / "out.jsonl") == ["a #2", "b #2", "a #2", "a #2"]


def test_dedupe_is_by_the_request_also_where_answers_are_found_by_id(shop: Shop, tmp_path: Path) -> None:
    rows = [("a", "1"), ("b", "2"), ("a", "3"), ("b", "4")]
    write_rows(tmp_path / "in.jsonl", *({"prompt": prompt, "custom_id": name} for prompt, name in rows))
    assert shop.batch(*TO_OUT, "--dedupe", "--match", "id", "-j", "1").status == 0
    assert shop.sold() == ["a", "b"]
    assert texts(tmp_path / "out.jsonl") == ["a #1", "b #1", "a #1", "b #1"]
    assert names(tmp_path / "out.jsonl") == [(1, "1"), (2, "2"), (3, "3"), (4, "4")]


# The journal


@pytest.mark.usefixtures("five")
def test_a_journal_without_out_does_the_same(shop: Shop, tmp_path: Path) -> None:
    shop.refused = {"b"}
    done = shop.batch("in.jsonl", "--journal", "kept", "-k")
    assert done.status == 1
    assert texts(done.stdout) == ["a #1", None, "c #1", "d #1", "e #1"]
    shop.sold()
    shop.refused = set()
    done = shop.batch("in.jsonl", "--journal", "kept", "-k")
    assert (done.status, done.stderr) == (0, b"")
    assert shop.sold() == ["b"]
    assert texts(done.stdout) == ["a #1", "b #2", "c #1", "d #1", "e #1"]
    assert files(tmp_path) == ["in.jsonl", "kept"]
    assert shop.batch("in.jsonl", "--journal", "kept").status == 0
    assert shop.sold() == []


@pytest.mark.usefixtures("five")
def test_a_journal_may_be_named_beside_out(shop: Shop, tmp_path: Path) -> None:
    shop.refused = {"b"}
    assert shop.batch(*TO_OUT, "--journal", "elsewhere").status == 1
    assert files(tmp_path) == ["elsewhere", "in.jsonl"]
    shop.sold()
    shop.refused = set()
    assert shop.batch(*TO_OUT, "--journal", "elsewhere").status == 0
    assert shop.sold() == ["b"]
    assert (tmp_path / "out.jsonl").exists()


@pytest.mark.usefixtures("five")
def test_of_texts_the_journal_is_the_memory(shop: Shop, tmp_path: Path) -> None:
    command = ("in.jsonl", "-f", "string", "-o", "out.txt")
    assert shop.batch(*command) == (0, b"", b"")
    assert (tmp_path / "out.txt").read_text() == '"a #1"\n"b #1"\n"c #1"\n"d #1"\n"e #1"\n'
    assert files(tmp_path) == ["in.jsonl", "out.txt", "out.txt.journal"]
    shop.sold()
    assert shop.batch(*command) == (0, b"", b"")
    assert shop.sold() == []
    assert (tmp_path / "out.txt").read_text() == '"a #1"\n"b #1"\n"c #1"\n"d #1"\n"e #1"\n'
    write_rows(tmp_path / "in.jsonl", "new", *FIVE)
    assert shop.batch(*command).status == 0
    assert shop.sold() == ["new"]
    assert json.loads((tmp_path / "out.txt").read_text().splitlines()[0]) == "new #1"


@pytest.mark.usefixtures("five")
def test_answers_outlive_an_out_that_changes_its_format(shop: Shop, tmp_path: Path) -> None:
    """They were in OUT only, which holds texts now."""
    assert shop.batch(*TO_OUT).status == 0
    shop.sold()
    assert shop.batch(*TO_OUT, "-f", "text").status == 0
    assert (tmp_path / "out.jsonl").read_text() == "a #1\nb #1\nc #1\nd #1\ne #1\n"
    assert shop.batch(*TO_OUT) == (0, b"", b"")
    assert shop.sold() == []
    assert texts(tmp_path / "out.jsonl") == FIVE_ANSWERS
    assert files(tmp_path) == ["in.jsonl", "out.jsonl"]


@pytest.mark.usefixtures("five")
def test_a_run_that_learns_nothing_new_leaves_the_journal_as_it_is(shop: Shop, tmp_path: Path) -> None:
    shop.cut = {"b"}
    assert shop.batch(*TO_OUT).status == 1
    before = (tmp_path / "out.jsonl.journal").read_bytes()
    assert shop.batch(*TO_OUT).status == 1
    assert (tmp_path / "out.jsonl.journal").read_bytes() == before


@pytest.mark.usefixtures("five")
def test_a_limit_that_is_lifted_costs_only_the_rest(shop: Shop, tmp_path: Path) -> None:
    assert shop.batch(*TO_OUT, "--limit", "2").status == 0
    assert shop.sold() == ["a", "b"]
    assert shop.batch(*TO_OUT).status == 0
    assert shop.sold() == ["c", "d", "e"]
    assert texts(tmp_path / "out.jsonl") == FIVE_ANSWERS


@pytest.mark.usefixtures("five")
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
    options: tuple[str, ...], is_kept: bool, shop: Shop, tmp_path: Path
) -> None:
    assert shop.batch(*TO_OUT, *options).status == 0
    assert (tmp_path / "out.jsonl.journal").exists() is is_kept


@pytest.mark.usefixtures("five")
def test_no_keep_journal_keeps_the_journal_of_a_run_that_failed(shop: Shop, tmp_path: Path) -> None:
    shop.refused = {"b"}
    assert shop.batch(*TO_OUT, "--no-keep-journal").status == 1
    assert texts(tmp_path / "out.jsonl.journal").count(None) == 1


@pytest.mark.usefixtures("five")
def test_a_journal_beside_a_whole_out_is_used_and_removed(shop: Shop, tmp_path: Path) -> None:
    """As a run leaves it that was killed between its last two steps."""
    assert shop.batch(*TO_OUT, "--keep-journal").status == 0
    shop.sold()
    assert shop.batch(*TO_OUT) == (0, b"", b"")
    assert shop.sold() == []
    assert texts(tmp_path / "out.jsonl") == FIVE_ANSWERS
    assert files(tmp_path) == ["in.jsonl", "out.jsonl"]


@pytest.mark.usefixtures("five")
def test_a_second_run_on_a_journal_that_is_held_sends_nothing(shop: Shop, tmp_path: Path) -> None:
    shop.held = 3
    with shop.start(*TO_OUT, "-j", "1") as process:
        shop.until_sold(3)
        done = shop.batch(*TO_OUT)
        assert done.status == 75
        assert b"out.jsonl.journal: another run holds this journal" in done.stderr
        assert len(shop.sales) == 3
        shop.gate.set()
        assert process.wait(timeout=10) == 0
    assert shop.sold() == ["a", "b", "c", "d", "e"]
    assert texts(tmp_path / "out.jsonl") == FIVE_ANSWERS


@pytest.mark.usefixtures("five")
@cases(
    "content",
    {
        "text": b"Dear diary,\n",
        "JSONL": b'{"prompt": "a"}\n',
        "a journal of a later version": b'{"chatpipe_journal":2}\n',
    },
)
def test_a_foreign_file_in_the_journals_place_is_not_touched(
    content: bytes, shop: Shop, tmp_path: Path
) -> None:
    (tmp_path / "out.jsonl.journal").write_bytes(content)
    done = shop.batch(*TO_OUT)
    assert done.status == 65
    assert b"out.jsonl.journal: " in done.stderr
    assert shop.sold() == []
    assert (tmp_path / "out.jsonl.journal").read_bytes() == content
    assert files(tmp_path) == ["in.jsonl", "out.jsonl.journal"]


@pytest.mark.usefixtures("five")
def test_a_journal_that_is_the_input_is_refused(shop: Shop, tmp_path: Path) -> None:
    before = (tmp_path / "in.jsonl").read_bytes()
    assert shop.batch("in.jsonl", "--journal", "in.jsonl").status == 2
    assert shop.sold() == []
    assert (tmp_path / "in.jsonl").read_bytes() == before
