"""Options that each line of a run would suffer from are refused once, before a line is read."""

from __future__ import annotations

import shlex
from pathlib import Path

from support import process
from support.parametrize import cases

MISSING = "no-such-file"  # status 66, if it is opened
BATCH = ("batch", "-p", "echo", "-f", "requests")
MAP = ("map", "-p", "echo", "-f", "requests", "{{a}}")
ALONE = "is set without 'logprobs': true: add --logprobs"
UNKNOWN = "is not a key that any server is known to take"

# Each is wrong whatever a line has.
VALUES = {
    "a range": ("--temperature 9", "--temperature: is 9, not from 0 to 2"),
    "too many": ("--stop 1 --stop 2 --stop 3 --stop 4 --stop 5", "--stop: has 5 items, at most 4 allowed"),
    "a word": ("--verbosity loud", "--verbosity: is 'loud', not one of low, medium, high, xhigh, max"),
    "a field that is set": ("--set temperature:=9", "--set: /temperature: is 9, not from 0 to 2"),
    "a number as text": (
        "--set temperature=0.5",
        "--set: /temperature: is '0.5', not a number: --set temperature:=0.5",
    ),
    "a misspelt field": ("--set max_token:=3", f"--set: /max_token: {UNKNOWN}: did you mean 'max_tokens'?"),
    "an unlisted field": (
        "--strict --set my_own:=3",
        f"--set: /my_own: {UNKNOWN}: leave it out, or check without --strict",
    ),
    "a part of an object": (
        "--audio-voice alloy",
        "--audio-voice: /audio: has no 'format': add --audio-format FORMAT",
    ),
    "messages": (
        "--set messages:=5",
        "--set: /messages: is 5, not an array: write an array of objects with role and content",
    ),
    "a message of a file": (
        "--messages m.json",
        (
            "m.json:1: /messages/0/role: is 'sytem', not one of developer, system, user, assistant, tool, "
            "function: did you mean 'system'?"
        ),
    ),
}
# Each is wrong if a line can have no field that mends it.
RELATIONS = {
    "a field without another": ("--top-logprobs 2", f"--top-logprobs: {ALONE}"),
    "no messages": ("--unset messages", "--unset: the request has no 'messages': leave out --unset messages"),
}


@cases(("options", "fault"), VALUES)
def test_a_value_is_refused_once(tmp_path: Path, options: str, fault: str) -> None:
    for command in (BATCH, (*BATCH, "--lines"), MAP):
        assert _refused(tmp_path, *command, *shlex.split(options)) == fault


@cases(("options", "fault"), RELATIONS)
def test_a_relation_is_refused_once_if_lines_have_no_fields(tmp_path: Path, options: str, fault: str) -> None:
    for command in ((*BATCH, "--lines"), MAP):
        assert _refused(tmp_path, *command, *shlex.split(options)) == fault


def test_a_model_is_missed_once(tmp_path: Path) -> None:
    words = ("map", "--base-url", "http://127.0.0.1:1/v1", "{{a}}")
    assert _refused(tmp_path, *words) == "the request has no 'model': pass -m MODEL or set CHATPIPE_MODEL"


@cases(
    ("options", "line", "fault"),
    {
        "a field that only lacks another": ("--top-logprobs 2", '{"prompt":"q"}', f"--top-logprobs: {ALONE}"),
        "which the line has": ("--top-logprobs 2", '{"prompt":"q","logprobs":true}', ""),
        "removed messages": (
            "--override --unset messages",
            '{"prompt":"q"}',
            "--unset: the request has no 'messages': leave out --unset messages",
        ),
        "a wrong field that is removed": ("--override --unset n", '{"prompt":"q","n":0}', ""),
        "a wrong field that is replaced": ("--override -n 1", '{"prompt":"q","n":0}', ""),
        "a right field that is replaced": ("-n 1", '{"prompt":"q","n":0}', "/n: is 0, not from 1 to 128"),
        "a wrong field beside one that is replaced": (
            "--override -m m",
            '{"custom_id":"a","body":{"messages":[{"role":"user","content":"q"}],"n":0}}',
            "/body/n: is 0, not from 1 to 128",
        ),
        "no check": ("--no-check --temperature 9 --set messages:=5", '{"prompt":"q"}', ""),
    },
)
def test_a_line_may_mend_the_rest(tmp_path: Path, options: str, line: str, fault: str) -> None:
    (tmp_path / "l.jsonl").write_text(line + "\n")
    ran = process.run(*BATCH, "l.jsonl", *shlex.split(options), cwd=tmp_path)
    assert ran.stderr.decode() == (f"chatpipe: l.jsonl:1: {fault}\n" if fault else "")
    assert ran.status == (65 if fault else 0)


def _refused(folder: Path, *words: str) -> str:
    """The fault of a run that is refused before its input is opened."""
    (folder / "m.json").write_text('[{"role":"sytem","content":"x"}]')
    ran = process.run(*words, MISSING, cwd=folder)
    assert (ran.status, ran.stdout) == (65, b"")
    return ran.stderr.decode().removeprefix("chatpipe: ").removesuffix("\n")
