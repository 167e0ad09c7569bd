"""The order in which role options were typed, which Click itself does not tell.

It comes from Click's parser, so these run against its lowest version, too (`make lowest`).
"""

from __future__ import annotations

import json

from support.parametrize import cases
from support.process import run


def roles(*arguments: str, stdin: bytes | None = None) -> str:
    """The conversation of a request in short: `s:Be brief u:1+1`."""
    done = run("build", "-m", "m", *arguments, stdin=stdin)
    assert (done.status, done.stderr) == (0, b"")
    return " ".join(f"{each['role'][0]}:{each['content']}" for each in json.loads(done.stdout)["messages"])


@cases(
    ("arguments", "expected"),
    {
        "an example": ("-u 1 -a 2 -u 3", "u:1 a:2 u:3"),
        "repeated": ("-u 1 -u 2 -a 3 -a 4 -u 5", "u:1 u:2 a:3 a:4 u:5"),
        "the other way round": ("-a 1 -u 2 -a 3", "a:1 u:2 a:3"),
        "with a prompt": ("-s 0 -u 1 -a 2 3", "s:0 u:1 a:2 u:3"),
        "the prompt first, and still last": ("3 -u 1 -a 2", "u:1 a:2 u:3"),
        "the prompt in between": ("-u 1 3 -a 2 4", "u:1 a:2 u:3 4"),
        "long and short": ("--user 1 --assistant 2 -u 3 --assistant=4", "u:1 a:2 u:3 a:4"),
        "joined to their letters": ("-u1 -a2 -u3", "u:1 a:2 u:3"),
        "behind a flag's letter": ("-qu 1 -a 2 -qu 3", "u:1 a:2 u:3"),
        "others in between": ("-u 1 --temperature 0 -a 2 --seed 1 -u 3", "u:1 a:2 u:3"),
        "a later system message keeps its place": ("-u 1 -s 2 -u 3", "u:1 s:2 u:3"),
        "both heads": ("--developer 1 -s 2 -u 3", "d:1 s:2 u:3"),
        "values that look like options": ("--user=-a --assistant=-u -u 3", "u:-a a:-u u:3"),
        "after the end of options": ("-u 1 -a 2 -- -u 3", "u:1 a:2 u:-u 3"),
        "a tool's result": ("-u 1 -a 2 --tool-result c=3", "u:1 a:2 t:3"),
    },
)
def test_messages_come_in_the_order_typed(arguments: str, expected: str) -> None:
    assert roles("--no-check", *arguments.split()) == expected


def test_files_and_texts_keep_their_order_among_each_other() -> None:
    assert roles("-u", "1", "--assistant-file", "-", "-u", "3", stdin=b"2\n") == "u:1 a:2 u:3"


def test_edits_are_made_in_the_order_typed() -> None:
    for arguments, expected in (
        (("--set", "x=1", "--unset", "x"), None),
        (("--unset", "x", "--set", "x=1"), "1"),
        (("--set", "x=1", "--set", "x=2"), "2"),
    ):
        done = run("build", "-m", "m", *arguments, "Hello")
        assert json.loads(done.stdout).get("x") == expected


def test_attachments_come_in_the_order_typed() -> None:
    done = run(
        "build", "-m", "m", "--image", "http://a/1", "--file-id", "f-2", "--image", "http://a/3", "Look"
    )
    parts = json.loads(done.stdout)["messages"][0]["content"]
    assert [part["type"] for part in parts] == ["text", "image_url", "file", "image_url"]
    assert parts[3]["image_url"]["url"] == "http://a/3"


def test_an_unknown_option_is_reported_once() -> None:
    """The options are parsed twice, for the order; a mistake is still one line."""
    done = run("build", "-m", "m", "-u", "1", "--nope")
    assert done.status == 2
    assert done.stderr.count(b"\n") == 1
