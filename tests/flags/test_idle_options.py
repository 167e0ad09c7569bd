"""Options without an effect in a call are refused, with the reason; others are left alone."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.parametrize import cases

Chatpipe = Callable[..., Any]
BATCH, MAP = "batch -p echo l.jsonl", "map -p echo '{{a}}' l.jsonl"
SENDS_NOTHING = "-f requests sends nothing: leave it out, or take another format"
OF_JOBS = "is for the Batch API: add --engine batch-api"
NO_JOURNAL = "there is no journal: add -o FILE or --journal FILE"
NOT_RECORDED = "there are no recorded answers: add --journal FILE or --reuse FILE"
NO_ORDER = "results are written as they are ready"
OF_SENDING = (
    *("--journal", "--keep-journal", "--no-keep-journal", "--reuse", "--resend", "--same-server", "--fresh"),
    *("--no-send", "--record", "--replay", "--replay-match", "--errors", "--report"),
)
OF_ROWS = ("--into", "--unpack", "--usage-into", "--error-into", "--to", "--csv-safe")
OF_ENGINE = ("--poll", "--settle", "--job-lines", "--max-wait", "--no-wait")
# The actions of `jobs` that an option is for.
ACTIONS = {
    "--window": "submit",
    "--job-lines": "submit",
    "--settle": "submit and wait",
    "--poll": "wait",
    "--max-wait": "wait",
    "--limit": "list",
    "--input": "results",
    "--output": "results",
}
# The value of each option that takes one.
VALUES = {
    **dict.fromkeys(("--poll", "--settle", "--job-lines", "--max-wait", "--limit"), "9"),
    **dict.fromkeys(("--journal", "--reuse", "--record", "--errors", "--report", "--input", "--output"), "f"),
    **dict.fromkeys(("--into", "--usage-into", "--error-into"), "field"),
    "--replay": "f",
    "--replay-match": "loose --replay f",
    "--resend": "empty",
    "--to": "csv",
    "--csv-safe": "--to csv",
    "--unpack": "--schema-fields b",
}


def _fault(chatpipe: Chatpipe, tmp_path: Path, line: str) -> str:
    (tmp_path / "l.jsonl").write_text('{"prompt":"q","a":"q"}\n')
    ran = chatpipe(*shlex.split(line))
    assert ran.status in (0, 2), ran.stderr
    assert (ran.stderr != "") == (ran.status == 2)
    return str(ran.stderr).removeprefix("chatpipe: ").removesuffix("\n")


@cases("option", {option: option for option in OF_SENDING})
def test_an_option_of_sending_beside_requests(chatpipe: Chatpipe, tmp_path: Path, option: str) -> None:
    for command in (BATCH, MAP):
        fault = _fault(chatpipe, tmp_path, f"{command} -f requests {option} {VALUES.get(option, '')}")
        assert fault.partition(": ")[2] == SENDS_NOTHING


@cases("option", {option: option for option in OF_ROWS})
def test_an_option_of_rows_beside_requests(chatpipe: Chatpipe, tmp_path: Path, option: str) -> None:
    fault = _fault(chatpipe, tmp_path, f"{MAP} -f requests {option} {VALUES.get(option, '')}")
    assert fault.partition(": ")[2] == "-f requests writes no rows: leave it out, or take another format"


@cases("option", {option: option for option in OF_ENGINE})
def test_an_option_of_jobs_for_another_engine(chatpipe: Chatpipe, tmp_path: Path, option: str) -> None:
    for command in (BATCH, MAP):
        line = f"{command} {option} {VALUES.get(option, '')}"
        assert _fault(chatpipe, tmp_path, line) == f"{option}: {OF_JOBS}"


@cases("option", {option: option for option in ACTIONS})
def test_an_option_of_another_action(chatpipe: Chatpipe, tmp_path: Path, option: str) -> None:
    value = "24h" if option == "--window" else VALUES[option]
    fault = _fault(chatpipe, tmp_path, f"jobs cancel id -p echo {option} {value}")
    assert fault == f"{option}: it is for {ACTIONS[option]} only: leave it out"


@cases(
    ("line", "fault"),
    {
        "a default that is typed": (f"{BATCH} --poll 60", f"--poll: {OF_JOBS}"),
        "another engine in the end": (f"{BATCH} --engine batch-api --poll 60 --engine local", ""),
        "limits": (f"{BATCH} -f requests -j 2 --retries 1 --rpm 600 --halt never --window 9", ""),
        "the journal": (f"{BATCH} --keep-journal", f"--keep-journal: {NO_JOURNAL}"),
        "no journal": (f"{BATCH} --no-keep-journal -o -", f"--no-keep-journal: {NO_JOURNAL}"),
        "answers": (f"{MAP} --resend empty", f"--resend: {NOT_RECORDED}"),
        "answers of a server": (f"{BATCH} --same-server", f"--same-server: {NOT_RECORDED}"),
        "answers that are not used": (
            f"{BATCH} --fresh --resend empty -o f",
            "--resend: --fresh sends every line: leave it out",
        ),
        "a window": (f"{BATCH} --window 9", f"--window: {NO_ORDER}: add --keep-order, or leave it out"),
        "a window of rows": (
            f"{MAP} --window 9 --no-keep-order",
            f"--window: {NO_ORDER}: leave out --no-keep-order",
        ),
        # What has an effect.
        "order": (f"{BATCH} -k -f requests -q", ""),
        "the place of requests": (f"{BATCH} -f requests -o f --if-changed", ""),
        "an estimate of requests": (f"{BATCH} -f requests --dry-run --report f -j 2", ""),
        "a window of ordered rows": (f"{MAP} --window 9", ""),
        "a window of records in order": (f"{BATCH} --window 9 -f string", ""),
        "a kept journal": (f"{BATCH} --keep-journal -o f", ""),
        "answers of a journal": (f"{BATCH} --resend empty --same-server --journal f", ""),
        "all lines": (f"{BATCH} --fresh", ""),
    },
)
def test_an_option_has_an_effect_or_is_refused(
    chatpipe: Chatpipe, tmp_path: Path, line: str, fault: str
) -> None:
    assert _fault(chatpipe, tmp_path, line) == fault
