"""OUT and the file of --errors: names of stdout and stderr, devices, and files that change during a run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from batch.result_lines import texts
from support.parametrize import cases
from support.process import run, sh
from support.servers.loopback import Request, completion, reply, serve


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("in.jsonl").write_text("".join(f'"{word}"\n' for word in "abcde"))
    Path("to-stdout").symlink_to("/dev/stdout")
    return tmp_path


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "to-stdout"])
@cases("redirected", {"a file": "> log", "an appended file": ">> log", "a pipe": "| cat > log"})
def test_a_name_of_stdout_is_stdout(name: str, redirected: str, folder: Path) -> None:
    before = {*os.listdir()}
    done = sh(
        f"{{ echo before; chatpipe batch -p echo -f text -k in.jsonl -o {name}; }} {redirected}", cwd=folder
    )
    assert done == (0, b"", b"")
    assert Path("log").read_text() == "before\na\nb\nc\nd\ne\n"
    assert {*os.listdir()} - before == {"log"}


@cases(
    ("words", "expected"),
    {
        "ask": ("ask -p echo --max-tokens 1 'Hello there' -o /dev/stdout", "Hello\n"),
        "--if-changed": ("ask -p echo Hello -o /dev/stdout --if-changed", ""),
        "a failed line": ("batch bad.jsonl -p echo -f text -o /dev/stdout", "\n"),
    },
)
def test_what_holds_for_stdout_holds_for_its_names(words: str, expected: str, folder: Path) -> None:
    Path("bad.jsonl").write_text("{]\n")
    one = sh(f"chatpipe {words} > log", cwd=folder)
    assert one == sh(f"chatpipe {words.replace('/dev/stdout', '-')} > other", cwd=folder)
    assert Path("log").read_text() == Path("other").read_text() == expected
    assert one.status != 0


@pytest.mark.parametrize("option", ["--journal", "--errors", "--report"])
def test_stdout_is_for_the_results_alone(option: str, folder: Path) -> None:
    done = sh(f"chatpipe batch -p echo in.jsonl {option} -", cwd=folder)
    assert done == (2, b"", f"chatpipe: {option}: stdout is for the results: name a file\n".encode())


@pytest.mark.parametrize("name", ["/dev/stderr", "/dev/fd/2"])
def test_errors_on_stderr_follow_what_is_there(name: str, folder: Path) -> None:
    Path("in.jsonl").write_text('{]\n"a"\n')
    Path("log").write_text("before\n")
    assert sh(f"chatpipe batch -p echo in.jsonl -o out --errors {name} 2>> log", cwd=folder).status == 1
    first, *others = Path("log").read_text().splitlines()
    assert first == "before"
    assert [line[:6] for line in others].count('{"id":') == 1
    assert others[-1].startswith("chatpipe: 1 of 2 lines failed")


def test_errors_into_a_file_replace_what_is_there(folder: Path) -> None:
    Path("in.jsonl").write_text("{]\n")
    Path("errors").write_text("old\n" * 1000)
    assert run("batch", "-p", "echo", "in.jsonl", "-o", "out", "--errors", "errors", cwd=folder).status == 65
    assert Path("errors").read_text().count("\n") == 1


def test_a_report_on_stdout_beside_a_file(folder: Path) -> None:
    done = sh("chatpipe batch -p echo in.jsonl -o out --report /dev/stdout >> log", cwd=folder)
    assert (done.status, done.stderr) == (0, b"")
    assert Path("log").read_text().startswith('{"lines":5')


@cases("options", {"result lines": (), "texts": ("-f", "text")})
def test_a_fifo_that_is_there_for_a_moment_costs_no_line(options: tuple[str, ...], folder: Path) -> None:
    """What OUT is was decided before the first request."""
    seen = 0

    def answer(request: Request) -> list[bytes]:
        nonlocal seen
        seen += 1
        if seen == 2:
            os.mkfifo("out")
        if seen == 4:
            os.unlink("out")
        return [reply(200, completion(request.json()["messages"][0]["content"]))]

    with serve(answer) as server:
        words = ("batch", "--base-url", server.url, "-m", "m", "-j", "1", "in.jsonl", "-o", "out", *options)
        assert run(*words, cwd=folder) == (0, b"", b"")
    assert seen == 5
    text = Path("out").read_bytes()
    assert text.splitlines() == [b"a", b"b", b"c", b"d", b"e"] if options else texts(text) == [*"abcde"]


@cases(
    ("made", "mode"),
    {
        "a private OUT": (": >o; chmod 600 o", "600"),
        "one of a group": (": >o; chmod 640 o", "640"),
        "one that is only read": (": >o; chmod 444 o", "644"),
        "no OUT": ("true", "664"),
    },
)
def test_a_new_journal_keeps_its_answers_from_whom_out_keeps_them(made: str, mode: str, folder: Path) -> None:
    """The rows of a text output leave the journal after the run."""
    done = sh(
        f"umask 002; {made}; chatpipe batch -p echo -f string in.jsonl -o o; stat -c %a o.journal", cwd=folder
    )
    assert done.stdout.decode().split() == [mode]
