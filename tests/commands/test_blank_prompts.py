"""Prompts without text: each command that takes a prompt refuses them, with the place."""

from __future__ import annotations

from pathlib import Path

import orjson

from support import process
from support.parametrize import cases

LINE, ROW = "l.jsonl", "r.jsonl"
NOTHING = "there is nothing to ask"
BUILD = ("build", "-m", "m")


@cases(
    ("command", "stdin", "fault"),
    {
        "nothing on stdin": (BUILD, b"\n", f"<stdin>: stdin is empty: {NOTHING}"),
        "white space on stdin": (BUILD, b" \t\n", f"<stdin>: stdin is blank: {NOTHING}"),
        "white space for ask": (("ask", "-p", "echo"), b" \t\n", f"<stdin>: stdin is blank: {NOTHING}"),
        "an unset variable": ((*BUILD, ""), None, "PROMPT: the prompt is empty"),
        "white space": ((*BUILD, " "), None, "PROMPT: the prompt is empty"),
        "a message": ((*BUILD, "-u", " "), None, "--user: the text is blank: leave it out"),
        "instructions": ((*BUILD, "-s", " ", "q"), None, "--system: the text is blank: leave it out"),
        "a file": ((*BUILD, "--user-file", "f"), None, "--user-file: 'f' is blank: leave it out"),
    },
)
def test_a_call_refuses_a_blank_prompt(
    tmp_path: Path, command: tuple[str, ...], stdin: bytes | None, fault: str
) -> None:
    (tmp_path / "f").write_text(" \n")
    ran = process.run(*command, stdin=stdin, cwd=tmp_path)
    assert (ran.status, ran.stdout, ran.stderr) == (65, b"", f"chatpipe: {fault}\n".encode())


@cases(
    ("command", "texts"),
    {
        "beside a message": ((*BUILD, "-u", "q"), ["q"]),
        "beside a request": ((*BUILD, "-r", "body.json"), ["q"]),
        # What is joined is not blank: it stays as it is.
        "beside words": ((*BUILD, "q"), ["q\n\n "]),
    },
)
def test_blank_stdin_is_no_message_of_its_own(
    tmp_path: Path, command: tuple[str, ...], texts: list[str]
) -> None:
    (tmp_path / "body.json").write_text('{"messages":[{"role":"user","content":"q"}]}')
    ran = process.run(*command, stdin=b" \n", cwd=tmp_path)
    assert [each["content"] for each in orjson.loads(ran.stdout)["messages"]] == texts


CHECK, BATCH = ("check", LINE), ("batch", "-p", "echo", "-f", "requests", LINE)
MAP = ("map", "-p", "echo", "-f", "requests", "{{a}}", ROW)


@cases(
    ("line", "fault"),
    {
        "an empty row": ('{"prompt":""}', "/prompt: is empty"),
        "a blank row": ('{"prompt":" \\n"}', "/prompt: is blank"),
        "an empty string": ('""', "the request is empty"),
        "a blank string": ('" "', "the request is blank"),
        "an empty id": ('{"prompt":"q","custom_id":""}', "/custom_id: is empty: give each line its own"),
        "an empty id of a request": (
            '{"body":{"model":"m","messages":[{"role":"user","content":"q"}]},"custom_id":""}',
            "/custom_id: is empty: give each line its own",
        ),
        "a wrong url": (
            '{"body":{"model":"m","messages":[{"role":"user","content":"q"}]},"custom_id":"a","url":5}',
            "/url: is a number, not a string",
        ),
        "a wrong prompt": (
            '{"prompt":5}',
            "/prompt: is 5, not a string or an array: write a string, or an array of parts",
        ),
        "a wrong message": (
            '{"body":{"model":"m","messages":[{"role":"user","content":5}]},"custom_id":"a"}',
            "/body/messages/0/content: is 5, not a string or an array: write a string, or an array of parts",
        ),
    },
)
def test_check_and_batch_say_the_same_of_a_line(tmp_path: Path, line: str, fault: str) -> None:
    (tmp_path / LINE).write_text(f"{line}\n")
    checked = process.run("check", LINE, cwd=tmp_path)
    assert (checked.status, checked.stdout) == (65, f"{LINE}:1: {fault}\n".encode())
    # Messages before those of a line do not shift its places, and --override replaces other ones only.
    for more in ((), ("-s", "s", "-u", "q", "-a", "a"), ("--override", "-s", "s")):
        ran = process.run(*BATCH, *more, cwd=tmp_path)
        assert (ran.status, ran.stderr) == (65, f"chatpipe: {LINE}:1: {fault}\n".encode())


@cases(("cell", "word"), {"empty": ("", "empty"), "blank": (" \\n", "blank")})
def test_map_refuses_a_blank_prompt(tmp_path: Path, cell: str, word: str) -> None:
    (tmp_path / ROW).write_text(f'{{"a":"{cell}"}}\n')
    ran = process.run(*MAP, cwd=tmp_path)
    assert (ran.status, ran.stderr) == (65, f"chatpipe: {ROW}:1: the prompt is {word}\n".encode())


@cases(
    ("command", "line"),
    {
        "the message of a request": (BATCH, '{"messages":[{"role":"user","content":""}]}'),
        "a prompt that is not checked": ((*BATCH, "--no-check"), '{"prompt":" "}'),
        "a row that is not checked": ((*MAP, "--no-check"), '{"a":" "}'),
        "a blank part of a prompt": ((*MAP[:-2], "a{{a}}", ROW), '{"a":" "}'),
        "an id that is null": (BATCH, '{"prompt":"q","custom_id":null}'),
    },
)
def test_a_blank_that_may_be_meant_is_sent(tmp_path: Path, command: tuple[str, ...], line: str) -> None:
    for name in (LINE, ROW):
        (tmp_path / name).write_text(f"{line}\n")
    ran = process.run(*command, cwd=tmp_path)
    assert (ran.status, ran.stderr) == (0, b"")
