"""-o with real files, devices and processes, and what make does with it."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import threading
from pathlib import Path

import pytest

from commands.asking import ask
from support.parametrize import cases
from support.patience import PATIENCE_S
from support.process import NO_BYTECODE, Process, begun, environment, run, sh, start
from support.programs import program
from support.servers.loopback import (
    Handler,
    Request,
    Step,
    WaitFor,
    completion,
    event_stream,
    in_turn,
    reply,
    serve,
    stream_of,
)


def saying(text: str) -> Handler:
    return lambda _: event_stream(stream_of(text))


# Where the answer goes


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o664])
def test_a_replaced_file_keeps_its_mode(mode: int, tmp_path: Path) -> None:
    out = tmp_path / "out.txt"
    out.touch()
    out.chmod(mode)
    assert run("ask", "-p", "echo", "-o", str(out), "Hello").status == 0
    assert stat.S_IMODE(out.stat().st_mode) == mode


def test_a_new_file_obeys_the_umask(tmp_path: Path) -> None:
    assert sh("umask 027; chatpipe ask -p echo -o out.txt Hello", cwd=tmp_path).status == 0
    assert stat.S_IMODE((tmp_path / "out.txt").stat().st_mode) == 0o640


def test_a_link_is_followed_and_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "real.txt").write_text("old")
    (tmp_path / "out.txt").symlink_to("elsewhere/real.txt")
    assert run("ask", "-p", "echo", "-o", "out.txt", "Hello", cwd=tmp_path).status == 0
    assert (tmp_path / "out.txt").is_symlink()
    assert (tmp_path / "elsewhere" / "real.txt").read_text() == "Hello\n"


def test_a_fifo_is_written_as_it_comes(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    done = sh(f"{program('cat')} fifo & chatpipe ask -p echo -o fifo Hello; wait", cwd=tmp_path)
    assert done == (0, b"Hello\n", b"")
    assert (tmp_path / "fifo").is_fifo()


def test_a_process_substitution_is_written(tmp_path: Path) -> None:
    command = f"chatpipe ask -p echo -o >(tr a-z A-Z > upper) Hello; wait $!; {program('cat')} upper"
    done = sh(f"{program('bash')} -c '{command}'", cwd=tmp_path)
    assert done == (0, b"HELLO\n", b"")


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "-"])
def test_stdout_by_a_name_goes_on_where_it_is(name: str, tmp_path: Path) -> None:
    """The file that stdout is redirected to is neither emptied nor replaced."""
    done = sh(f"{{ echo before; chatpipe ask -p echo -o {name} Hello; echo after; }} > log", cwd=tmp_path)
    assert done == (0, b"", b"")
    assert (tmp_path / "log").read_text() == "before\nHello\nafter\n"


def test_dev_null_takes_everything() -> None:
    assert run("ask", "-p", "echo", "-o", "/dev/null", "Hello") == (0, b"", b"")
    assert not Path("/dev/null").is_file()


@cases(
    ("name", "words"),
    {
        "a directory": ("folder", "is a directory"),
        "a directory with a slash": ("folder/", "is a directory"),
        "in no directory": ("nowhere/out.txt", "no such file or directory"),
        "in a file": ("file/out.txt", "not a directory"),
        "a link to itself": ("loop", "too many levels of symbolic links"),
    },
)
def test_an_output_that_cannot_be_is_74_before_anything_is_sent(
    name: str, words: str, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    before = sorted(path.name for path in tmp_path.rglob("*"))
    with serve() as server:
        done = ask(server.url, "-o", name, cwd=tmp_path)
        assert server.requests == []
    assert done.status == 74
    assert words in done.stderr.decode()
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_nothing_is_written_into_the_home_directory(tmp_path: Path) -> None:
    assert run("ask", "-p", "echo", "Hello", env={"HOME": str(tmp_path)}).status == 0
    assert list(tmp_path.iterdir()) == []


# What is no answer


@cases(
    ("body", "shown", "line"),
    {
        "4 KiB": (
            b"x" * 4096,
            b"x" * 4096 + b"\n",
            f"(expecting value): '{'x' * 77}...': check the base URL\n",
        ),
        "more than 4 KiB are not shown": (
            b"x" * 4097,
            b"",
            (
                f"(expecting value): '{'x' * 77}...': "
                "--output FILE keeps the 4097 bytes that came, check the base URL\n"
            ),
        ),
        "bytes that are no text": (b"\xff\n", b"\\xff\n", "(byte 0xff is not UTF-8)"),
    },
)
def test_a_body_that_is_no_answer_is_shown_up_to_4_kib(body: bytes, shown: bytes, line: str) -> None:
    with serve(lambda _: reply(200, body)) as server:
        done = ask(server.url)
    assert done.stderr.startswith(shown + b"chatpipe: the answer is not JSON " + line.encode())
    assert not line.endswith("\n") or done.stderr.endswith(line.encode())
    assert (done.status, done.stdout) == (76, b"")


# When it is replaced


def test_a_retry_leaves_nothing_of_the_first_try(tmp_path: Path) -> None:
    with serve(in_turn(reply(500), event_stream(stream_of("second")))) as server:
        done = ask(server.url, "-q", "-o", "out.txt", cwd=tmp_path)
    assert done == (0, b"", b"")
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]
    assert (tmp_path / "out.txt").read_text() == "second\n"


def test_two_at_once_leave_one_whole_answer(tmp_path: Path) -> None:
    """Each has a temporary file of its own: the last to end wins, and nothing is mixed."""
    go = {"first": threading.Event(), "second": threading.Event()}

    def handler(request: Request) -> list[Step]:
        said: str = request.json()["messages"][0]["content"]
        return [WaitFor(go[said]), *event_stream(stream_of(said * 1000))]

    with serve(handler) as server:
        command = ("ask", "--base-url", server.url, "-m", "m", "-o", "out.txt")
        with start(*command, "first", cwd=tmp_path) as one, start(*command, "second", cwd=tmp_path) as two:
            server.until(lambda: len(server.requests) == 2)
            go["second"].set()
            assert two.wait() == 0
            assert (tmp_path / "out.txt").read_text() == "second" * 1000 + "\n"
            go["first"].set()
            assert one.wait() == 0
    assert (tmp_path / "out.txt").read_text() == "first" * 1000 + "\n"
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]


def test_if_changed_leaves_an_identical_file_alone(tmp_path: Path) -> None:
    out = tmp_path / "out.txt"
    out.write_text("Hello\n")
    os.utime(out, (1, 1))
    assert run("ask", "-p", "echo", "--if-changed", "-o", str(out), "Hello").status == 0
    assert out.stat().st_mtime == 1
    assert run("ask", "-p", "echo", "--if-changed", "-o", str(out), "Goodbye").status == 0
    assert out.stat().st_mtime > 1
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]


def test_a_disk_that_fills_up_is_74_and_leaves_the_file(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the full disk."""
    (tmp_path / "out.txt").write_text("old")
    with serve(saying("x" * 5000)) as server:
        command = f"trap '' XFSZ; ulimit -f 1; chatpipe ask --base-url {server.url} -m m -o out.txt Hello"
        done = sh(command, cwd=tmp_path, env=NO_BYTECODE, is_new=True)
    assert done.status == 74
    assert b"file too large" in done.stderr
    assert (tmp_path / "out.txt").read_text() == "old"
    assert not list(tmp_path.glob(".*"))


# What was paid for is not lost


@cases(
    ("options", "status"),
    {
        "the dependencies cannot be written": (("-M", "/dev/full"), 74),
        "they would replace a directory": (("-M", "folder"), 74),
    },
)
def test_an_answer_outlives_a_failed_side_file(options: tuple[str, ...], status: int, tmp_path: Path) -> None:
    """Found out before sending, or else the answer is kept as FILE.chatpipe-part, and the line says so."""
    (tmp_path / "folder").mkdir()
    with serve(saying("paid for")) as server:
        done = ask(server.url, "-o", "out.txt", *options, cwd=tmp_path)
        sent = len(server.requests)
    assert done.status == status
    assert not (tmp_path / "out.txt").exists()
    if sent:
        assert (tmp_path / "out.txt.chatpipe-part").read_text() == "paid for\n"
        assert b"'out.txt.chatpipe-part'" in done.stderr


@cases(
    "options",
    {
        "the target": ("-o", "a;b"),
        "an input": ("-o", "out.txt", "--system-file", "new\nline"),
    },
)
def test_a_name_that_make_cannot_read_is_refused_before_sending(
    options: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "new\nline").write_text("x")
    with serve(saying("paid for")) as server:
        done = ask(server.url, "-M", "out.d", *options, cwd=tmp_path)
        assert server.requests == []
    assert done.status == 2
    assert b"make cannot read the name" in done.stderr


# make

MAKEFILE = """\
.DELETE_ON_ERROR:

all: answer.txt copy.txt

answer.txt: Makefile
	chatpipe ask -p echo -q --no-stdin --system-file rules.txt --if-changed -M $@.d -o $@ "$$(cat prompt.txt)"

copy.txt: answer.txt
	cp answer.txt copy.txt

-include answer.txt.d
"""


class Project:
    """A folder with a Makefile whose answer depends on files that only --depfile knows."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "Makefile").write_text(MAKEFILE)
        (folder / "rules.txt").write_text("Be brief.\n")
        (folder / "prompt.txt").write_text("Hello\n")
        self.age("Makefile", "rules.txt", "prompt.txt")

    def make(self) -> list[str]:
        """The commands that make ran."""
        done = subprocess.run(
            [program("make")],
            cwd=self.folder,
            env=environment(),
            capture_output=True,
            check=True,
            text=True,
            timeout=PATIENCE_S,
        )
        return [line.split()[0] for line in done.stdout.splitlines() if not line.startswith("make:")]

    def age(self, *names: str) -> None:
        """Make files a thousand seconds older than now."""
        for name in names:
            past = (self.folder / name).stat().st_mtime - 1000
            os.utime(self.folder / name, (past, past))


def test_make_rebuilds_when_an_input_changes_and_only_then(tmp_path: Path) -> None:
    project = Project(tmp_path)
    assert project.make() == ["chatpipe", "cp"]
    assert (tmp_path / "copy.txt").read_text() == "Hello\n"
    assert project.make() == []
    project.age("answer.txt", "copy.txt")
    (tmp_path / "rules.txt").write_text("Be long.\n")
    assert "chatpipe" in project.make()


def test_if_changed_stops_the_chain(tmp_path: Path) -> None:
    """The rules changed, the answer did not: what is made from it is not made again."""
    project = Project(tmp_path)
    project.make()
    project.age("answer.txt", "copy.txt")
    (tmp_path / "rules.txt").write_text("Be long.\n")
    assert project.make() == ["chatpipe"]


def test_a_deleted_input_does_not_stop_make(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.make()
    (tmp_path / "rules.txt").rename(tmp_path / "other.txt")
    (tmp_path / "Makefile").write_text(MAKEFILE.replace("rules.txt", "other.txt"))
    assert "chatpipe" in project.make()


def test_an_interrupted_make_loses_no_answer(tmp_path: Path) -> None:
    """make deletes the target of a command that a signal ended; FILE.chatpipe-part is not the target."""
    (tmp_path / "answer.txt").write_text("old")
    os.utime(tmp_path / "answer.txt", (1, 1))
    go = threading.Event()
    with serve(lambda _: [*event_stream(stream_of("Half")[:2], end=False), WaitFor(go)]) as server:
        (tmp_path / "Makefile").write_text(
            f"answer.txt: Makefile\n\tchatpipe ask --base-url {server.url} -m m -o $@ Hello\n"
        )
        command = [program("make"), "-s"]
        with Process(
            command, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, start_new_session=True
        ) as process:
            server.until(lambda: begun(tmp_path) == b"Half")
            os.killpg(process.pid, signal.SIGINT)
            process.communicate()
    assert (tmp_path / "answer.txt.chatpipe-part").read_text() == "Half"
    assert not list(tmp_path.glob(".*"))


def test_the_next_call_removes_the_temporary_file_of_a_killed_one_and_of_no_other(tmp_path: Path) -> None:
    go = threading.Event()
    texts = iter(["killed", "alive", "whole"])

    def answer(_: Request) -> list[Step]:
        text = next(texts)
        if text == "whole":
            return event_stream(stream_of(text))
        return [*event_stream(stream_of(text)[:2], end=False), WaitFor(go)]

    with serve(answer) as server:
        command = ("ask", "--base-url", server.url, "-m", "m", "-o", "a.txt", "Hello")
        with start(*command, cwd=tmp_path) as killed:
            server.until(lambda: begun(tmp_path) == b"killed")
            killed.kill()
            killed.wait()
        assert begun(tmp_path) == b"killed"
        with start(*command, cwd=tmp_path) as alive:
            server.until(lambda: begun(tmp_path) == b"alive")
            assert run(*command, cwd=tmp_path) == (0, b"", b"")
            assert begun(tmp_path) == b"alive"
            alive.terminate()
            alive.wait()
    assert (tmp_path / "a.txt").read_text() == "whole\n"
    assert not list(tmp_path.glob(".*"))


def test_usage_and_answer_go_apart(tmp_path: Path) -> None:
    with serve(lambda _: reply(200, completion("x"))) as server:
        command = f"chatpipe ask --base-url {server.url} -m m --json --usage Hello > answer 2> usage"
        assert sh(command, cwd=tmp_path).status == 0
    assert (tmp_path / "usage").read_text() == (
        '{"model":"m","prompt_tokens":5,"completion_tokens":2,"total_tokens":7}\n'
    )
