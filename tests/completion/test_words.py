"""What is offered where: the answers to a completion script, without a shell."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import pytest
from click.shell_completion import ShellComplete

from chatpipe.commands.table import cli
from chatpipe.flags import known_names
from chatpipe.options.outcomes import ALLOWABLE, RESENDABLE
from chatpipe.options.output import ANSWER_FORMATS, MAP_FORMATS, RUN_FORMATS, SHOW_FORMATS
from chatpipe.server.keys import KEY_WAYS
from chatpipe.server.profile_file import built_in_names
from completion import name_table
from manual import commands
from support.process import run

FILES = "(files)"


def offered(*words: str) -> list[str]:
    """The candidates for the last of words, which stand behind `chatpipe`."""
    kinds = [line.partition(",") for line in answer(*words)]
    return [FILES if kind == "file" else value for kind, _, value in kinds]


def answer(*words: str, environ: Mapping[str, str] = MappingProxyType({})) -> list[str]:
    """The lines that the script of bash gets. environ has further variables."""
    asked = {
        "_CHATPIPE_COMPLETE": "bash_complete",
        "COMP_WORDS": "\n".join(("chatpipe", *words)),
        "COMP_CWORD": str(len(words)),
    }
    done = run(env=asked | dict(environ))
    assert (done.status, done.stderr) == (0, b"")
    return [line for line in done.stdout.decode().splitlines() if line]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize("number", [{}, {"COMP_CWORD": ""}, {"COMP_CWORD": "9" * 5000}])
def test_a_call_by_hand_without_the_words_of_a_script(shell: str, number: dict[str, str]) -> None:
    done = run(env={"_CHATPIPE_COMPLETE": f"{shell}_complete", **number})
    assert (done.status, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ("",),
            [
                "ask",
                "batch",
                "build",
                "check",
                "completion",
                "config",
                "jobs",
                "man",
                "map",
                "models",
                "serve",
                "show",
            ],
        ),
        (("c",), ["check", "completion", "config"]),
        (("man", "op"), ["options"]),
        (("man", "ma"), ["man", "map"]),
        (("config", ""), ["show", "check", "path"]),
        (("x",), []),
        (("--",), ["--help", "--version"]),
        (("ask", "-f", "j"), ["json"]),
        (("show", "--format", "ta"), ["table"]),
        (("ask", "--format", "ta"), []),
        (("batch", "-f", "re"), ["results", "requests"]),
        (("batch", "--match", ""), ["body", "id"]),
        (("batch", "-j", "a"), ["auto"]),
        (("batch", "--engine", "l"), ["local"]),
        (("batch", "--halt", ""), ["soon,fail=", "now,fail=", "never"]),
        (("batch", "--progress", ""), ["bar", "json", "none"]),
        (("ask", "--modality", "text,"), ["text,audio"]),
        (("batch", "--resend", "e"), ["empty"]),
        (("batch", "--resend", "empty,"), [f"empty,{word}" for word in sorted(RESENDABLE - {"empty"})]),
        (("ask", "--allow", ""), sorted(ALLOWABLE)),
        (("ask", "--image-detail", ""), ["auto", "low", "high"]),
        (("ask", "--audio-voice", "a"), ["alloy", "ash"]),
        (("serve", "--dialect", "openr"), ["openrouter"]),
        (("serve", "--fault", "stat"), ["status"]),
        (("serve", "--replay-speed", ""), ["max"]),
        (("batch", ""), [FILES]),
        (("map", "--to", ""), ["jsonl", "csv", "tsv"]),
        (("map", "-f", ""), ["rows", "requests"]),
        (("map", "--template-file", ""), [FILES]),
        (("map", "{{a}}", ""), [FILES]),
        (("build", "-f", ""), ["body", "batch", "curl"]),
        (("check", "-f", ""), ["text", "problems"]),
        (
            ("ask", "--reasoning-effort", ""),
            ["none", "minimal", "low", "medium", "high", "xhigh", "max"],
        ),
        (("ask", "--reasoning", ""), ["drop", "stderr", "only"]),
        (("ask", "--error-format", ""), ["text", "json"]),
        (("ask", "--profile", ""), built_in_names()),
        (("ask", "-p", "echo", "--tool-choice", "r"), ["required"]),
        (("completion", ""), ["bash", "zsh", "fish"]),
        (("check", ""), [FILES]),
        (("show", "one.jsonl", ""), [FILES]),
        (("ask", "--temperature", ""), []),
        (("ask", "a prompt", ""), []),
        (("ask", "--", "--temp"), []),
        (("ask", "--key"), [way.option for way in KEY_WAYS]),
        (("ask", "--key", "secret", "--temp"), ["--temperature"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_words_are_offered_where_they_fit(words: tuple[str, ...], expected: list[str]) -> None:
    assert offered(*words) == expected


@pytest.mark.parametrize(
    ("words", "suffixes"),
    [
        (("map", "x", "--csv", ""), "csv csv.gz"),
        (("map", "--csv", "x", ""), "csv csv.gz"),
        (("map", "x", "--delimiter", ";", ""), "csv csv.gz"),
        (("map", "x", "--tsv", ""), "tsv tsv.gz"),
        (("map", "x", "--lines", ""), ""),
        (("map", "x", ""), "jsonl ndjson json jsonl.gz ndjson.gz"),
        (("batch", ""), "jsonl ndjson json jsonl.gz ndjson.gz"),
        (("batch", "--lines", ""), ""),
        (("check", ""), "jsonl ndjson json jsonl.gz ndjson.gz"),
        (("show", ""), ""),
        (("ask", "-r", ""), "json"),
        (("ask", "--schema", ""), "json"),
        (("ask", "--transcript", ""), "jsonl ndjson json jsonl.gz ndjson.gz"),
        (("batch", "--prices", ""), "toml"),
        (("ask", "--cacert", ""), ""),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_files_that_are_offered_first_have_the_suffixes_of_their_format(
    words: tuple[str, ...], suffixes: str
) -> None:
    assert answer(*words) == [f"file,{suffixes}"]


def test_the_table_of_names_is_current() -> None:
    """`make completions` writes it."""
    assert name_table.FILE.read_text(encoding="utf-8") == name_table.table()


@pytest.mark.parametrize(
    "words",
    [
        *((command,) for command in commands.COMMANDS),
        ("ask", "-s", "x", "--user=y"),
        ("build", "-mx", "--no-stream", "word"),
        ("batch", "--limit=1", "-o", "x"),
        ("map", "x", "--profile", "x", "--no-parallel-tool-calls"),
    ],
    ids=" ".join,
)
def test_names_of_options_are_those_that_click_offers(words: tuple[str, ...]) -> None:
    """Those that are given already are left out, unless they may be given again."""
    of_click = ShellComplete(cli, {}, "chatpipe", "").get_completions(list(words), "-")
    assert known_names.known_names(words, "-") == [(each.value, each.help, "plain", ()) for each in of_click]


@pytest.mark.parametrize("command", commands.COMMANDS)
def test_all_long_options_are_offered_and_no_hidden_one(command: str) -> None:
    long = [name for names in commands.options(command) for name in names if name.startswith("--")]
    assert sorted(offered(command, "--")) == sorted(long)


@pytest.mark.parametrize(
    "option",
    [
        *("-r", "--request", "--messages", "--system-file", "--user-file", "--image", "--audio-file"),
        *("--file", "--tool", "--prediction-file", "--key-file", "--header-file", "--cacert", "-o", "-M"),
    ],
)
def test_files_are_offered_where_a_file_is_taken(option: str) -> None:
    assert offered("ask", option, "") == [FILES]


@pytest.mark.parametrize("words", [("ask", "--key-env", ""), ("serve", "--require-key-env", "")])
def test_names_of_keys_are_offered_and_never_their_values(words: tuple[str, ...]) -> None:
    environ = {"B_API_KEY": "canary", "A_TOKEN": "canary", "KEYS": "canary", "OTHER": "canary"}
    assert answer(*words, environ=environ) == ["plain,A_TOKEN", "plain,B_API_KEY"]


@pytest.mark.parametrize("command", ["ask", "show", "batch", "map"])
def test_every_format_is_offered_after_f(command: str) -> None:
    names = {"batch": RUN_FORMATS, "map": MAP_FORMATS, "show": SHOW_FORMATS}.get(command, ANSWER_FORMATS)
    assert offered(command, "-f", "") == list(names)
