"""`chatpipe batch` as a process: the lines that it reads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import orjson

from batch.runs import (
    batch,
    jsonl,
)
from support.parametrize import cases
from support.process import CHATPIPE, environment


def test_all_shapes_of_a_line_in_one_stream() -> None:
    batch_line = {
        "custom_id": "a",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": "own", "messages": [{"role": "user", "content": "one"}], "n": 1},
    }
    body = {"messages": [{"role": "user", "content": "two"}], "temperature": 0}
    row = {"custom_id": "c", "prompt": "three", "system": "Be brief.", "seed": 7}
    stdin = b"\n".join([*map(orjson.dumps, (batch_line, body, row)), b"", b'"four"', b'{"prompt":"five"}\r'])
    done = batch("-j1", stdin=stdin)
    assert done.status == 0
    assert done.stderr == b""
    assert [request.json() for request in done.requests] == [
        {"model": "own", "messages": [{"role": "user", "content": "one"}], "n": 1},
        {"model": "m", "messages": [{"role": "user", "content": "two"}], "temperature": 0},
        {
            "model": "m",
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "three"}],
            "seed": 7,
        },
        {"model": "m", "messages": [{"role": "user", "content": "four"}]},
        {"model": "m", "messages": [{"role": "user", "content": "five"}]},
    ]
    assert [(each["custom_id"], each["chatpipe"]["line"]) for each in done.records] == [
        ("a", 1),
        ("line-2", 2),
        ("c", 3),
        ("line-5", 5),
        ("line-6", 6),
    ]


def test_plain_lines_are_prompts_as_they_are() -> None:
    done = batch("--lines", "-j1", stdin=b'  {"prompt": "x"} \n\n[1]\nlast')
    assert done.status == 0
    assert done.prompts == ['  {"prompt": "x"} ', "[1]", "last"]
    assert done.lines == [1, 3, 4]


def test_a_file_is_read_as_stdin_is(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(jsonl("one", "two"))
    done = batch("in.jsonl", stdin=None, cwd=tmp_path)
    assert (done.status, sorted(done.prompts)) == (0, ["one", "two"])


def test_a_missing_file_is_66_and_nothing_is_sent() -> None:
    done = batch("no-such-file", stdin=None)
    assert (done.status, done.stdout, done.requests) == (66, b"", [])


def messages_of(*pairs: str) -> list[dict[str, str]]:
    return [dict(zip(("role", "content"), pair.split(":"), strict=True)) for pair in pairs]


@cases(
    "options, expected",
    {
        "nothing is added but the model": (
            [],
            [("own", None, ["system:Own", "user:q"]), ("m", None, ["user:r"])],
        ),
        "a system message of the line wins": (
            ["-s", "Default", "--seed", "1"],
            [("own", 1, ["system:Own", "user:q"]), ("m", 1, ["system:Default", "user:r"])],
        ),
        "examples stand between the system message and the line": (
            ["-s", "Default", "-u", "Q", "-a", "A"],
            [
                ("own", None, ["system:Own", "user:Q", "assistant:A", "user:q"]),
                ("m", None, ["system:Default", "user:Q", "assistant:A", "user:r"]),
            ],
        ),
        "override turns it round": (
            ["--override", "-s", "Default", "-u", "Q", "-a", "A"],
            [
                ("m", None, ["system:Default", "user:Q", "assistant:A", "user:q"]),
                ("m", None, ["system:Default", "user:Q", "assistant:A", "user:r"]),
            ],
        ),
    },
)
def test_options_are_defaults_of_every_line(
    options: list[str], expected: list[tuple[str, int | None, list[str]]]
) -> None:
    """-f requests writes what would be sent, as Batch lines, and sends nothing."""
    stdin = b'{"custom_id":"x","prompt":"q","system":"Own","model":"own"}\n"r"\n'
    done = batch("-f", "requests", *options, stdin=stdin)
    assert (done.status, done.requests) == (0, [])
    written = done.records
    assert [(each["custom_id"], each["method"], each["url"]) for each in written] == [
        ("x", "POST", "/v1/chat/completions"),
        ("line-2", "POST", "/v1/chat/completions"),
    ]
    bodies = [each["body"] for each in written]
    assert [(body["model"], body.get("seed"), body["messages"]) for body in bodies] == [
        (model, seed, messages_of(*messages)) for model, seed, messages in expected
    ]


def test_bad_lines_are_reported_with_their_place_instead_of_requests() -> None:
    done = batch("-f", "requests", stdin=b'"a"\n\n{"a\n"b"\n')
    assert (done.status, done.requests) == (65, [])
    assert [each["custom_id"] for each in done.records] == ["line-1", "line-4"]
    assert done.stderr.startswith(b"chatpipe: <stdin>:3")


@cases(
    "line, words",
    {
        "not JSON": (b'{"prompt": "x"', "<stdin>:3"),
        "not UTF-8": (b'"caf\xe9"', "byte 0xe9 is not UTF-8"),
        "a NUL": (b'"a\0b"', "<stdin>:3"),
        "a number": (b"7", "is a number, not a request"),
        "an array": (b"[]", "is an array, not a request"),
        "an id that is no string": (b'{"custom_id":7,"prompt":"x"}', "/custom_id: is a number"),
        "no object": (b'{"custom_id":"x","body":[]}', "/body: is an array, not an object"),
        "refused by the check": (b'{"prompt":"x","temperature":9}', "/temperature: is 9, not from 0 to 2"),
        "a slip": (b'{"prompt":"x","max_token":9}', "did you mean 'max_tokens'"),
        "no messages": (b'{"messages":[]}', "/messages: is empty"),
    },
)
def test_a_bad_line_is_a_result_with_its_place_and_the_others_go_on(line: bytes, words: str) -> None:
    done = batch("-k", stdin=b'"a"\n \n' + line + b'\n"b"\n')
    assert done.status == 1
    assert sorted(done.prompts) == ["a", "b"]
    written = done.records
    assert [each["chatpipe"]["line"] for each in written] == [1, 3, 4]
    bad = written[1]
    assert bad["response"] is None
    assert bad["error"]["code"] == bad["chatpipe"]["outcome"] == "input"
    assert bad["chatpipe"]["attempts"] == 0
    assert bad["chatpipe"]["latency_s"] is None
    assert bad["error"]["message"].startswith("<stdin>:3")
    assert words in bad["error"]["message"]


def test_a_line_of_three_megabytes_goes_through() -> None:
    text = "long " * 600_000
    done = batch("-f", "string", stdin=jsonl("a", text, "b"))
    assert done.status == 0
    assert [orjson.loads(line) for line in done.stdout.splitlines()] == ["A", text.upper(), "B"]


# Memory


_PEAK_KB = """
import resource, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE)
lines = sum(1 for line in process.stdout)
print(process.wait(), lines, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def peak_kb(lines: int) -> int:
    """The peak memory of a run of this many lines, in kB."""
    run_it = f'yes \'{{"prompt":"hi"}}\' | head -{lines} | "$@"'
    command = (sys.executable, "-c", _PEAK_KB, *CHATPIPE, "batch", "-p", "echo", "-m", "m", "-q")
    done = subprocess.run(
        ["sh", "-c", run_it, "-", *command], capture_output=True, env=environment(), check=True
    )
    status, written, peak = map(int, done.stdout.split())
    assert (status, written) == (0, lines)
    return peak


def test_memory_does_not_grow_with_the_input() -> None:
    """A leak shows each time; on a busy machine, one run may have more in its buffers than another."""
    assert any(peak_kb(10_000) - peak_kb(2_000) < 1_200 for _ in range(3))
