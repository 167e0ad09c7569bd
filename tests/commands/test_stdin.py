"""Standard input in all its states: closed, empty, a device, endless, slow, large, not text."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import click
import pytest

from chatpipe.commands.table import cli
from chatpipe.flags.types import FileName
from commands.asking import ask
from support import delays
from support.parametrize import cases
from support.process import run, sh, start
from support.programs import program
from support.servers.loopback import completion, reply, serve

MEGABYTES_10 = 10 * 1000 * 1000


@cases(
    "redirection",
    {
        "a device": "< /dev/null",
        "closed": "<&-",
        "an empty file": "< empty",
        "an endless device": "< /dev/zero",
    },
)
def test_with_a_prompt_an_absent_stdin_adds_nothing(redirection: str, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    done = sh(f"chatpipe ask -p echo Hello {redirection}", cwd=tmp_path)
    assert done == (0, b"Hello\n", b"")


def test_an_empty_pipe_adds_nothing_either() -> None:
    assert run("ask", "-p", "echo", "Hello", stdin=b"") == (0, b"Hello\n", b"")
    assert run("ask", "-p", "echo", "Hello", stdin=b"\n") == (0, b"Hello\n", b"")


@pytest.mark.parametrize("redirection", ["< /dev/null", "<&-"])
def test_without_a_prompt_an_absent_stdin_is_wrong_usage(redirection: str) -> None:
    done = sh(f"chatpipe ask -p echo {redirection}")
    assert done.status == 2
    assert done.stderr.startswith(b"chatpipe: no prompt: ")


@pytest.mark.parametrize("arguments", ["ask -p echo -r -", "ask -p echo -", "check", "show", "build -m m -"])
def test_a_closed_stdin_that_is_asked_for_is_66(arguments: str) -> None:
    done = sh(f"chatpipe {arguments} <&-")
    assert done.status == 66
    assert done.stderr == b"chatpipe: <stdin>: stdin is closed: pipe something in or name a file\n"


def test_a_slow_producer_is_waited_for_with_one_notice() -> None:
    with start("ask", "-p", "echo", "Sum up:", env=delays.AT_ONCE, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        notice = process.stderr.readline()
        stdout, rest = process.communicate(b"late\n")
    assert notice == b"chatpipe: waiting for stdin: --no-stdin leaves it alone\n"
    assert (process.returncode, stdout, rest) == (0, b"Sum up:\n\nlate\n", b"")


@pytest.mark.parametrize("options", [("-q", "Sum up:"), ("-",)], ids=["-q", "the operand -"])
def test_no_notice_where_none_is_wanted(options: tuple[str, ...]) -> None:
    with start("ask", "-p", "echo", *options, env=delays.AT_ONCE, stdin=subprocess.PIPE) as process:
        process.settle()  # a notice would have come before it waits
        _, stderr = process.communicate(b"late\n")
    assert (process.returncode, stderr) == (0, b"")


def test_no_stdin_leaves_an_endless_one_alone() -> None:
    done = sh(f"{program('yes')} | chatpipe ask -p echo --no-stdin Hello")
    assert done == (0, b"Hello\n", b"")


def test_a_prompt_of_10_mb_arrives_whole() -> None:
    text = b"0123456789abcde\n" * (MEGABYTES_10 // 16)
    with serve(lambda _: reply(200, completion("read"))) as server:
        done = run("ask", "--base-url", server.url, "-m", "m", "-f", "string", stdin=text)
        (request,) = server.requests
    assert done == (0, b'"read"\n', b"")
    assert request.json()["messages"][0]["content"] == text.decode().removesuffix("\n")


def test_an_answer_of_10_mb_on_one_line_arrives_whole() -> None:
    text = "x" * MEGABYTES_10
    with serve(lambda _: reply(200, completion(text))) as server:
        done = ask(server.url, "-f", "json")
        shown = run("show", stdin=done.stdout)
    assert done.status == 0
    assert shown == (0, text.encode() + b"\n", b"")


def test_a_line_of_10_mb_is_checked() -> None:
    line = b'{"model": "m", "messages": [{"role": "user", "content": "%b"}]}\n' % (b"x" * MEGABYTES_10)
    done = run("check", stdin=line + b'{"model": "m", "messages": []}\n')
    assert (done.status, done.stderr) == (65, b"")
    assert done.stdout.startswith(b"<stdin>:2: /messages: is empty")
    assert done.stdout.count(b"\n") == 1


def body(more: bytes) -> bytes:
    return b'{"model": "m", "messages": [{"role": "user", "content": "x"}], "x": ' + more + b"}"


@cases(
    ("data", "words"),
    {
        "nothing": (b"", "nothing there"),
        "an array": (b"[1]", "a request is a JSON object, not an array"),
        "a string": (b'"x"', "a request is a JSON object, not a string"),
        "a number": (b"5", "a request is a JSON object, not a number"),
        "null": (b"null", "a request is a JSON object, not null"),
        "cut off": (b"{", "not JSON"),
        "a NUL": (b'{"model": "m"\0}', "not JSON"),
        "not UTF-8": (body(b'"\xff"'), "byte 0xff is not UTF-8"),
        "NaN": (body(b"NaN"), "'NaN' is not JSON"),
        "deep": (body(b"[" * 100_000 + b"]" * 100_000), "nested too deeply"),
        "almost too deep": (body(b"[" * 995 + b"]" * 995), "nested too deeply"),
        "messages no array": (b'{"model": "m", "messages": 5}', "/messages: is a number"),
        "a message no object": (b'{"model": "m", "messages": [5]}', "/messages/0: is 5"),
    },
)
def test_input_that_is_no_request_is_65_and_not_sent(data: bytes, words: str) -> None:
    with serve() as server:
        done = run("ask", "--base-url", server.url, "-r", "-", stdin=data)
        assert server.requests == []
    assert done.status == 65
    assert done.stdout == b""
    assert done.stderr.startswith(b"chatpipe: <stdin>:1: ")
    assert words in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1


def test_a_deep_body_can_be_edited() -> None:
    """What can be read can be sent, with --set as well."""
    deep = body(b"[" * 500 + b"]" * 500)
    with serve() as server:
        done = run("ask", "--base-url", server.url, "-r", "-", "--set", "y=z", stdin=deep)
        assert len(server.requests) == 1
    assert done == (0, b"x\n", b"")


@pytest.mark.parametrize(
    "option", ["-r", "--messages", "--system-file", "--image", "--audio-file", "--file", "--tool"]
)
@cases(
    ("name", "words"),
    {
        "missing": ("nope", "no such file or directory"),
        "a directory": (".", "is a directory"),
        "a name that is too long": ("x" * 300, "file name too long"),
    },
)
def test_a_file_that_cannot_be_read_is_66_and_nothing_is_sent(option: str, name: str, words: str) -> None:
    with serve() as server:
        done = ask(server.url, option, name)
        assert server.requests == []
    assert (done.status, done.stdout) == (66, b"")
    assert words in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1


@cases(
    "data, option",
    {
        "an image": (b"\x89PNG\r\n\x1a\n" + bytes(8), "--image"),
        "a document": (b"%PDF-1.7\n", "--file"),
    },
)
def test_attachment_on_stdin_is_refused_with_the_option_that_sends_it(data: bytes, option: str) -> None:
    refused = run("ask", "-p", "echo", "x", stdin=data)
    assert (refused.status, refused.stdout) == (65, b"")
    assert refused.stderr.decode().endswith(f"send it with {option} -\n")
    assert run("ask", "-p", "echo", "x", option, "-", stdin=data).status == 0


@cases(
    "arguments",
    {
        "the prompt": ("-m", "m", b"a\xffb"),
        "a system message": ("-m", "m", "-s", b"a\xffb", "x"),
        "the model": ("-m", b"a\xffb", "x"),
        "--set": ("-m", "m", "--set", b"a=\xff", "x"),
    },
)
def test_an_argument_that_is_not_utf_8_is_65_and_not_sent(arguments: tuple[str | bytes, ...]) -> None:
    """Sent as it is it would be a lone surrogate, which is not what was typed, and not Unicode."""
    with serve() as server:
        done = run("ask", "--base-url", server.url, *arguments)
        assert server.requests == []
    assert (done.status, done.stdout) == (65, b"")
    assert b"UTF-8" in done.stderr


@cases(
    "command",
    {
        "stdin": "yes | chatpipe ask -q -p echo",
        "stdin of a request": "yes | chatpipe ask -q -p echo -r -",
        "a device": "chatpipe ask -q -p echo --system-file /dev/zero hi",
        "a device as a request": "chatpipe ask -q -p echo -r /dev/zero hi",
        "a device as an image": "chatpipe ask -q -p echo --image /dev/zero hi",
    },
)
def test_endless_input_is_refused_before_it_fills_the_memory(command: str) -> None:
    done = sh(f"ulimit -v 1500000; {command}", is_new=True)
    assert (done.status, done.stdout) == (65, b"")
    assert done.stderr.count(b"\n") == 1


# What stands behind the options, so that stdin has an owner.
OPERANDS = {"ask": "x -", "build": "x -", "batch": "-", "map": "{{a}} -"}


def is_file(option: click.Option) -> bool:
    return isinstance(option.type, FileName) and option.name != "image_root"  # a folder


def file_options() -> list[tuple[str, str]]:
    """Each option with a file of the commands that read a prompt or an input."""
    found = [("ask", "--tool-result-file"), ("build", "--tool-result-file")]
    for name in OPERANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        options = [each for each in command.params if isinstance(each, click.Option)]
        found += [(name, each.opts[0]) for each in options if is_file(each)]
    return found


@pytest.mark.parametrize(("command", "option"), file_options())
def test_stdin_is_no_file_of_an_option_beside_its_owner(command: str, option: str, tmp_path: Path) -> None:
    """Whatever the option does with a file: stdin has one owner, and its file is not written over."""
    (tmp_path / "in").write_bytes(b"a: b\n")
    words = OPERANDS[command].split()
    if option == "--template-file":
        words = words[-1:]
    value = "call=/dev/stdin" if option == "--tool-result-file" else "/dev/stdin"
    more = ["-o", "out"] if option == "--depfile" else []
    line = shlex.join(["chatpipe", command, "-p", "echo", option, value, *more, *words])
    done = sh(f"{line} <in", cwd=tmp_path)
    assert done.status == 2
    assert re.search(b"both read stdin|is standard input, too|stdin cannot be", done.stderr)
    assert (tmp_path / "in").read_bytes() == b"a: b\n"


@cases(
    ("command", "words"),
    {
        "a configuration": ("CHATPIPE_CONFIG=/dev/stdin chatpipe build -m m - <in", b"CHATPIPE_CONFIG and"),
        "models": (
            "chatpipe models --key-file /dev/stdin --header-file /dev/stdin <in",
            b"--header-file and --key-file",
        ),
        "config": ("chatpipe config --cacert - --key-fd 0 <in", b"--cacert and --key-fd"),
        "jobs": ("chatpipe jobs submit - --key-fd 0 <in", b"--key-fd and FILE"),
        "results": ("chatpipe jobs results x --input - --key-fd 0 <in", b"--key-fd and --input"),
        "check": ("chatpipe check - /dev/stdin <in", b"FILE and FILE"),
        "show": ("chatpipe show /dev/stdin - <in", b"FILE and FILE"),
    },
)
def test_stdin_has_one_owner(command: str, words: bytes, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"")
    done = sh(command, cwd=tmp_path)
    assert done.status == 2
    assert done.stderr.startswith(b"chatpipe: " + words)
    assert b"both read stdin" in done.stderr


@cases(
    ("arguments", "words"),
    {
        "a transcript": (("ask", "--transcript", "-", "x"), b"--transcript: stdin cannot be appended to"),
        "limits": (
            ("ask", "--pace-file", "-", "x"),
            b"--pace-file: stdin cannot be shared with other processes",
        ),
        "answers": (("batch", "--reuse", "-", "in"), b"--reuse: stdin cannot be searched for answers"),
        "a recording": (
            ("ask", "--replay", "-", "x"),
            b"--replay: neither stdin nor stdout can hold recordings",
        ),
    },
)
def test_what_has_to_be_a_file_is_not_stdin(arguments: tuple[str, ...], words: bytes, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b'{"prompt": "a"}\n')
    done = run(*arguments, "-p", "echo", cwd=tmp_path, stdin=b"")
    assert (done.status, done.stderr) == (2, b"chatpipe: " + words + b": name a file\n")
    assert not (tmp_path / "-").exists()


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_prices_on_stdin(name: str, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b'{"prompt": "a"}\n')
    prices = b"[echo]\ninput = 1\noutput = 1\n"
    done = run("batch", "-p", "echo", "in", "--prices", name, "--dry-run", cwd=tmp_path, stdin=prices)
    assert done.status == 0
    assert b'"estimated_cost":' in done.stdout
    done = run("batch", "-p", "echo", "in", "--prices", name, cwd=tmp_path, stdin=b"[echo\n")
    assert (done.status, done.stderr[:21]) == (78, b"chatpipe: <stdin>:1: ")
