"""The form of error lines, of the two error formats, and which fault a place belongs to."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from support.parametrize import cases

Chatpipe = Callable[..., Any]


@cases(
    ("words", "status", "line"),
    {
        "near command": ("aks hi", 2, "no command 'aks', did you mean 'ask'?: see chatpipe --help"),
        "unknown command": ("zzz", 2, "no command 'zzz': chatpipe ask zzz"),
        "option before the command": (
            "-p echo ask hi",
            2,
            "option '-p' comes before the command: chatpipe ask -p ...",
        ),
        "no prompt": ("ask", 2, "no prompt: give one as an operand or on stdin"),
        "a typo of a value": (
            "ask --reasoning olny hi",
            2,
            (
                "invalid value for '--reasoning': 'olny' is not one of 'drop', 'stderr', 'only': "
                "did you mean 'only'?"
            ),
        ),
        "another word for a value": (
            "check -f jsonl f",
            2,
            (
                "invalid value for '--format' / '-f': 'jsonl' is not one of 'text', 'problems': "
                "did you mean 'problems'?"
            ),
        ),
        "a typo in a list": (
            "ask --allow refused,trucated hi",
            2,
            (
                "invalid value for '--allow': 'trucated' is not one of empty, mismatch, refused, tool-calls, "
                "truncated: did you mean 'truncated'?"
            ),
        ),
        "a list of nothing": (
            "ask --allow , hi",
            2,
            (
                "invalid value for '--allow': ',' names none of empty, mismatch, refused, tool-calls, "
                "truncated: see chatpipe ask --help"
            ),
        ),
        "a typo of an operand": (
            "config Chekc",
            2,
            "invalid value for ACTION: 'Chekc' is not one of 'show', 'check', 'path': did you mean 'check'?",
        ),
        "another shell": (
            "completion ksh",
            2,
            (
                "invalid value for SHELL: 'ksh' is not one of 'bash', 'zsh', 'fish': "
                "see chatpipe completion --help"
            ),
        ),
        "no typo of an operand": (
            "completion tcsh",
            2,
            (
                "invalid value for SHELL: 'tcsh' is not one of 'bash', 'zsh', 'fish': "
                "see chatpipe completion --help"
            ),
        ),
        "missing file": (
            "build -r no hi",
            66,
            "--request: cannot read 'no': no such file or directory",
        ),
        "a newline in a name": (
            "build -r 'a\nb' hi",
            66,
            "--request: cannot read 'a\\nb': no such file or directory",
        ),
        "a problem at its option": (
            "build -m m --temperature 9 hi",
            65,
            "--temperature: is 9, not from 0 to 2",
        ),
        "a problem at --set": (
            "build -m m --set seed:=9223372036854775808 hi",
            65,
            "--set: /seed: is 9223372036854775808, not from -9223372036854775808 to 9223372036854775807",
        ),
        "a problem nobody typed": (
            "ask hi",
            65,
            "the request has no 'model': pass -m MODEL or set CHATPIPE_MODEL",
        ),
        "no key": (
            "ask -m m hi",
            77,
            (
                "no API key for 'https://api.openai.com/v1': "
                "set OPENAI_API_KEY, pass --key-file FILE, or try -p echo, which needs none"
            ),
        ),
        "no profile": (
            "ask -p nope hi",
            78,
            "--profile: no profile 'nope': chatpipe config show --profiles lists all",
        ),
        "no command": (
            "",
            2,
            "missing command: chatpipe ask PROMPT sends a prompt, chatpipe --help shows all",
        ),
        "no value": (
            "ask hi --temperature",
            2,
            "option '--temperature' requires an argument: see chatpipe ask --help",
        ),
        # JSON that deep could not be written.
        "an endless path": (
            f"build -m m --set {'a.' * 50_000}b=1 hi",
            2,
            "--set: a path of more than 100 steps",
        ),
    },
)
def test_a_fault_is_one_line(chatpipe: Chatpipe, words: str, status: int, line: str) -> None:
    assert chatpipe(*shlex.split(words)) == (status, "", f"chatpipe: {line}\n")


@cases(
    "words, fix",
    {
        "a table of answers": ("ask -f table hi", "chatpipe show -f table reads answers that are saved"),
        "CSV, of one answer": ("ask -f CSV hi", "chatpipe map reads and writes tables: --to csv"),
        "CSV, of many": ("batch -f tsv f", "chatpipe map reads and writes tables: --to tsv"),
        "CSV, of rows": ("map -f csv hi f", "write --to csv"),
        "JSONL, of rows": ("map -f jsonl hi f", "write --to jsonl"),
        "answers, of rows": (
            "map -f string hi f",
            "for the answers alone write --to jsonl | jq -r .answer",
        ),
        "capitals": ("map --to CSV hi f", "did you mean 'csv'?"),
        "the form of an answer": (
            "ask -f yaml hi",
            "-f is the form of the output: ask for yaml in the prompt",
        ),
        "of build": ("ask -f curl hi", "chatpipe build -f curl"),
        "of batch": ("build -f requests hi", "chatpipe batch -f requests"),
        "of check": ("show -f problems f", "chatpipe check -f problems"),
        "a synonym": ("models -f csv", "did you mean 'tsv'?"),
        "the outcome of a line without an answer": ("batch --allow http f", "did you mean 'failed'?"),
        "the same, which is sent again in any case": (
            "batch --resend empty,http f",
            "leave it out: every run sends lines without an answer again",
        ),
        "all of these": (
            "batch --resend Failed f",
            "leave it out: every run sends lines without an answer again",
        ),
    },
)
def test_a_wrong_word_names_the_way_to_what_is_meant(chatpipe: Chatpipe, words: str, fix: str) -> None:
    ran = chatpipe(*words.split())
    assert ran.status == 2
    assert ran.stderr.endswith(f": {fix}\n")


def test_unknown_option_is_named_with_where_help_is(chatpipe: Chatpipe) -> None:
    """The words in between are Click's, and differ among its versions."""
    ran = chatpipe("ask", "--nope", "hi")
    assert ran.status == 2
    assert ran.stderr.startswith("chatpipe: no such option")
    assert "--nope" in ran.stderr
    assert ran.stderr.endswith(": see chatpipe ask --help\n")
    assert ran.stderr.count("\n") == 1


def test_all_problems_are_reported_at_once_each_in_its_place(chatpipe: Chatpipe, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text('{"messages": [\n{"role": "sytem", "content": "x"}],\n"top_p": 3}')
    ran = chatpipe("build", "-r", "r.json", "--temperature", "9", "-n0", "hi")
    assert ran.status == 65
    assert ran.stderr == (
        "chatpipe: r.json:2: /messages/0/role: is 'sytem', not one of "
        "developer, system, user, assistant, tool, function: did you mean 'system'?\n"
        "chatpipe: r.json:3: /top_p: is 3, not from 0 to 1\n"
        "chatpipe: --temperature: is 9, not from 0 to 2\n"
        "chatpipe: --n: is 0, not from 1 to 128\n"
    )


def test_level_of_detail_of_an_image_is_at_fault_in_its_own_place(chatpipe: Chatpipe) -> None:
    ran = chatpipe("build", "-m", "m", "--image", "https://e.com/a.png", "--image-detail", "wrong", "hi")
    assert ran.status == 65
    assert ran.stderr.startswith("chatpipe: --image")


@cases(
    ("words", "is_json"),
    {
        "text last": (["--error-format", "json", "--error-format=text"], False),
        "JSON last": (["--error-format=text", "--error-format", "json"], True),
    },
)
def test_the_last_form_counts(chatpipe: Chatpipe, words: list[str], is_json: bool) -> None:
    assert chatpipe("build", *words, "-r", "no", "hi").stderr.startswith("{") == is_json


@pytest.mark.parametrize("form", [["--error-format", "json"], ["--error-format=json"]])
@pytest.mark.parametrize("front", [True, False])
def test_an_error_can_be_json(chatpipe: Chatpipe, form: list[str], front: bool) -> None:
    words = ["-r", "no", "hi"]
    ran = chatpipe("build", *(form + words if front else words + form))
    assert ran.status == 66
    assert ran.stderr.count("\n") == 1
    assert orjson.loads(ran.stderr) == {
        "error": {
            "status": 66,
            "type": "no_input",
            "message": "cannot read 'no': no such file or directory",
            "place": "--request",
            "http_status": None,
            "request_id": None,
            "body": None,
        }
    }


@pytest.mark.parametrize("words", [["--nope"], ["--temperature", "x"], []])
def test_a_wrong_call_can_be_json(chatpipe: Chatpipe, words: list[str]) -> None:
    ran = chatpipe("ask", *words, "--error-format", "json")
    assert ran.status == 2
    assert orjson.loads(ran.stderr)["error"]["type"] == "usage"


def test_several_problems_as_json_are_a_line_each(chatpipe: Chatpipe) -> None:
    ran = chatpipe("build", "--error-format", "json", "-m", "m", "--temperature", "9", "--top-p", "3", "hi")
    errors = [orjson.loads(line)["error"] for line in ran.stderr.splitlines()]
    assert [(error["place"], error["type"]) for error in errors] == [
        ("--temperature", "bad_input"),
        ("--top-p", "bad_input"),
    ]


@pytest.mark.parametrize("words", [["--error-format", "json"], ["--error-format=json"], ["--debug"]])
def test_words_behind_two_dashes_do_not_choose_the_error_format(chatpipe: Chatpipe, words: list[str]) -> None:
    ran = chatpipe("build", "-r", "no", "--", *words)
    assert ran.stderr == "chatpipe: --request: cannot read 'no': no such file or directory\n"


def test_debug_adds_a_traceback_above_the_line(chatpipe: Chatpipe) -> None:
    lines = chatpipe("build", "--debug", "-r", "no", "hi").stderr.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1] == "chatpipe: --request: cannot read 'no': no such file or directory"


@pytest.mark.parametrize(
    "words", [["--help"], ["-h"], ["ask", "--help"], ["ask", "-h"], ["completion", "--help"]]
)
def test_help_is_on_stdout_and_0(chatpipe: Chatpipe, words: list[str]) -> None:
    ran = chatpipe(*words)
    assert (ran.status, ran.stderr) == (0, "")
    assert ran.stdout.startswith("Usage: chatpipe")


def test_a_warning_is_reported_unless_quiet(chatpipe: Chatpipe) -> None:
    words = ["build", "-m", "m", "--max-tokens", "1", "--max-completion-tokens", "1", "hi"]
    loud, quiet = chatpipe(*words), chatpipe(*words, "-q")
    assert loud.stderr.startswith("chatpipe: warning: ")
    assert (loud.status, quiet.status, quiet.stderr) == (0, 0, "")
    assert loud.stdout == quiet.stdout
    strict = chatpipe(*words, "--strict")
    assert (strict.status, strict.stdout) == (65, "")
    assert chatpipe(*words, "--no-check").stderr == ""


def test_image_detail_without_an_image_is_reported(chatpipe: Chatpipe) -> None:
    """An option that has no effect is a slip in the command."""
    ran = chatpipe("build", "-m", "m", "--image-detail", "low", "hi")
    assert ran.status == 2 or "--image-detail" in ran.stderr


@cases(
    ("content", "words", "line"),
    {
        "a column": (
            "na\u00a0me\nx\n",
            ["map", "{{na me}}", "--csv", "f"],
            r"""f:1: TEMPLATE names 'na me', which is not a column: write {{"na\u00a0me"}}""",
        ),
        "a placeholder": (
            "name\nx\n",
            ["map", "{{n\u0430me}}", "--csv", "f"],
            r"f:1: TEMPLATE names 'n\u0430me', which is not a column: did you mean 'name'?",
        ),
        "an accent": (
            "cafe\u0301\nx\n",
            ["map", "{{caf\u00e9}}", "--csv", "f"],
            r"""f:1: TEMPLATE names 'caf\u00e9', which is not a column: write {{"cafe\u0301"}}""",
        ),
        "a field": (
            '{"name": "x"}',
            ["map", "{{\u200bname}}", "f", "--to", "csv", "--fields", "name"],
            r"f:1: no field '\u200bname': did you mean 'name'?",
        ),
        "a key of a body": (
            '{"model": "m", "st\u043ep": "x", "messages": [{"role": "user", "content": "x"}]}',
            ["ask", "-r", "f"],
            r"f:1: /st\u043ep: is not a key that any server is known to take: did you mean 'stop'?",
        ),
        "a role": (
            '{"model": "m", "messages": [{"role": "us\u0435r", "content": "x"}]}',
            ["ask", "-r", "f"],
            (
                r"f:1: /messages/0/role: is 'us\u0435r', not one of "
                "developer, system, user, assistant, tool, function: did you mean 'user'?"
            ),
        ),
        "an option": (
            "",
            ["ask", "--m\u043edel", "x", "hi"],
            r"no such option '--m\u043edel', did you mean '--model'?: see chatpipe ask --help",
        ),
        "a file": (
            "",
            ["build", "-r", "f\u200b"],
            r"--request: cannot read 'f\u200b': no such file or directory",
        ),
    },
)
def test_names_that_look_alike_are_told_apart(
    chatpipe: Chatpipe, tmp_path: Path, content: str, words: list[str], line: str
) -> None:
    (tmp_path / "f").write_text(content)
    ran = chatpipe(*words, *([] if words[0] == "build" or "--m\u043edel" in words else ["-p", "echo"]))
    assert ran.stderr.splitlines()[:1] == [f"chatpipe: {line}"]
