"""Options and commands of other tools, and typos of ours: each leads to what was meant."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from chatpipe.commands.table import cli
from chatpipe.flags import foreign, usage
from manual import commands
from support.parametrize import cases

Chatpipe = Callable[..., Any]

OPTIONS = {
    command: {name for names in commands.options(command) for name in names} for command in commands.COMMANDS
}


def test_every_choice_names_the_word_that_is_meant() -> None:
    """Click's own Choice does not, nor does it read a word with a line end."""
    types = [option.info["type"] for each in commands.COMMANDS for option in commands.options(each).values()]
    assert "Choice" not in {type["param_type"] for type in types}


def meant(option: str, command: str) -> str:
    """What the error says behind the name of the option."""
    text = str(usage.unknown_option(cli, option, command))
    return text.removeprefix(f"no such option '{option}'").removesuffix(f": see chatpipe {command} --help")


@pytest.mark.parametrize("command", OPTIONS)
def test_every_remedy_names_options_that_the_command_has(command: str) -> None:
    for word in foreign.table():
        if word in OPTIONS[command]:
            continue
        text = meant(word, command)
        own, _, other = text.partition("chatpipe ")
        named = set(re.findall(r"(?<![\w'-])'?(--?[a-z][a-z-]*)", own))
        assert named <= OPTIONS[command], (word, text)
        owners = re.findall(r"chatpipe ([a-z]+)", f"chatpipe {other}") if other else []
        for option in re.findall(r"(?<![\w-])(--?[a-z][a-z-]*)", other):
            assert all(option in OPTIONS[owner] | {"--version"} for owner in owners), (word, text)


def test_every_word_leads_somewhere() -> None:
    lost = [word for word in foreign.table() if not any(meant(word, command) for command in OPTIONS)]
    assert lost == []


def test_no_word_of_the_table_is_hidden_by_an_option_that_has_it_everywhere() -> None:
    everywhere = set.intersection(
        *(OPTIONS[name] for name in ("ask", "batch", "build", "check", "map", "show"))
    )
    assert everywhere.isdisjoint(foreign.table())


@cases(
    ("command", "option", "said"),
    {
        "another name": ("batch", "--concurrency", ", did you mean '--jobs'?"),
        "another name of what other commands have": (
            "ask",
            "--concurrency",
            ": chatpipe batch and chatpipe map have --jobs",
        ),
        "an option of other commands": ("ask", "--shard", ": chatpipe batch and chatpipe map have --shard"),
        "an option of one other command": ("ask", "--csv", ": chatpipe map has --csv"),
        "a letter for a run": ("batch", "-c", ", did you mean '--jobs'?"),
        "a letter for a call": ("ask", "-c", ": --transcript FILE continues a conversation"),
        "a letter that another command has": ("ask", "-j", ": chatpipe batch and chatpipe map have -j"),
        "a run goes on": (
            "batch",
            "--resume",
            ": leave it out: with -o FILE the same command continues where it stopped",
        ),
        "a call goes on": ("ask", "--continue", ": --transcript FILE continues a conversation"),
        "what a server limits": ("serve", "--concurrency", ", did you mean '--slots'?"),
        "what a server delays": ("serve", "--delay", ": --latency TIME delays each reply"),
        "what a run delays": ("batch", "--delay", ": --rpm N limits the requests of a minute"),
        "a log of a server": ("serve", "--log-file", ", did you mean '--log'?"),
        "an operand": ("ask", "--prompt", ": the prompt is an operand: chatpipe ask PROMPT"),
        "another command": ("batch", "--csv", ": a table is read by chatpipe map TEMPLATE --csv FILE"),
        "a letter with two meanings": ("map", "-t", ": the template is an operand: chatpipe map TEMPLATE"),
        "the same letter": ("ask", "-t", ", did you mean '--temperature'?"),
        "another unit": ("ask", "--timeout-ms", ": --timeout S is in seconds"),
        "a field without an option": (
            "ask",
            "--num-ctx",
            ": --set num_ctx:=JSON sets this field of the request, which has no option",
        ),
        "no option at all": ("ask", "--no-log", ": nothing is logged or cached: leave it out"),
        "trust instead of none": ("ask", "-k", ": --cacert PATH names the certificates to trust"),
        "underscores": ("ask", "--max_tokens", ", did you mean '--max-tokens'?"),
        "underscores of another name": ("batch", "--max_retries", ", did you mean '--retries'?"),
        "capitals": ("ask", "--Model", ", did you mean '--model'?"),
        "a hyphen that does not break": ("ask", "--max\u2011tokens", ", did you mean '--max-tokens'?"),
        "swapped letters": ("ask", "--modle", ", did you mean '--model'?"),
        "a missing letter": ("ask", "--temprature", ", did you mean '--temperature'?"),
        "the code": ("ask", "-x", ": -f code writes the code block of an answer"),
        "a typo of a short name": ("ask", "--promt", ": the prompt is an operand: chatpipe ask PROMPT"),
        "a typo of another name": ("batch", "--concurency", ", did you mean '--jobs'?"),
        "a beginning": ("ask", "--temp", ", did you mean '--temperature'?"),
        "a beginning of two": ("map", "--tem", ", did you mean '--temperature' or '--template-file'?"),
        "a beginning of many": ("ask", "--max", ""),
        "a beginning of two letters": ("ask", "--mo", ""),
        "far from all": ("ask", "--nope", ""),
        "three letters, one missing": ("ask", "--sed", ", did you mean '--seed'?"),
        "three letters, two swapped": ("batch", "--rmp", ", did you mean '--rpm'?"),
        "three letters, one wrong": ("batch", "--rpn", ""),
        "two letters, one missing": ("ask", "--rw", ""),
        "short and not near": ("ask", "--n8", ""),
        "version": ("ask", "--version", ": chatpipe --version writes the version"),
    },
)
def test_what_was_meant(command: str, option: str, said: str) -> None:
    assert meant(option, command) == said


@pytest.mark.parametrize(
    "option",
    [
        *(
            "--insecur",
            "--insecrue",
            "--ins",
            "--no-chek",
            "--no_check",
            "--allow-htp",
            "--no-escap",
            "--fresch",
        ),
        *("--Insecure", "--resends", "--allo", "--no-schema-stric"),
    ],
)
def test_no_typo_leads_to_less_safety_or_more_cost(option: str) -> None:
    assert [meant(option, command) for command in ("ask", "batch", "map", "show")] == [""] * 4


@pytest.mark.parametrize("option", [*sorted(foreign.KEY_WORDS), "--api_key", "--API-KEY", "-api_key"])
def test_a_key_is_never_taken_nor_shown(chatpipe: Chatpipe, option: str) -> None:
    for words in ((option, "sk-secret"), (f"{option}=sk-secret",)):
        for line in (("ask", *words, "hi"), (*words, "ask", "hi")):
            ran = chatpipe(*line)
            assert ran.status == 2
            assert "--key-file FILE" in ran.stderr
            assert "secret" not in ran.stderr


@cases(
    ("words", "said"),
    {
        "a prompt": (["hello"], "no command 'hello': chatpipe ask hello"),
        "a prompt of two words": (["hello", "world"], "no command 'hello': chatpipe ask hello world"),
        "a prompt in quotes": (["What's up?"], """no command 'What's up?': chatpipe ask 'What'"'"'s up?'"""),
        "a long prompt": (["x" * 99], f"no command '{'x' * 37}...': chatpipe ask PROMPT"),
        "a prompt of two lines": (["a\nb"], "no command 'a b': chatpipe ask PROMPT"),
        "a prompt and options": (["hello", "-m", "x"], "no command 'hello': chatpipe ask hello ..."),
        "nothing": ([], f"missing command: {usage._MISSING}"),
        "an empty word": ([""], f"missing command: {usage._MISSING}"),
        "only options": (["-p", "echo", "hello"], "missing command: chatpipe ask -p ..."),
        "an action of jobs": (
            ["status", "batch_1"],
            "no command 'status': chatpipe jobs status; as a prompt chatpipe ask status batch_1",
        ),
        "what a list may be of": (
            ["list"],
            "no command 'list': chatpipe models, or chatpipe jobs list; as a prompt chatpipe ask list",
        ),
        "a report": (
            ["report", "-o", "x"],
            (
                "no command 'report': chatpipe batch and chatpipe map write one with --report FILE; "
                "as a prompt chatpipe ask report ..."
            ),
        ),
        "a typo": (["bacth", "f"], "no command 'bacth', did you mean 'batch'?: see chatpipe --help"),
        "another tool's": (["chat", "hi"], "no command 'chat', did you mean 'ask'?: see chatpipe --help"),
        "help": (["help"], "no command 'help': chatpipe --help"),
        "help of one": (["help", "batch"], "no command 'help': chatpipe batch --help"),
        "version": (["version"], "no command 'version': chatpipe --version"),
        "-V": (["-V"], "no such option '-V': chatpipe --version writes the version"),
        "an unknown option alone": (["--nope"], "no such option '--nope': see chatpipe --help"),
        "an option before": (
            ["-p", "echo", "ask", "hi"],
            "option '-p' comes before the command: chatpipe ask -p ...",
        ),
        "dashes before": (["--", "ask", "hi"], "'--' comes before the command: chatpipe ask ..."),
        "a dash before": (["-", "ask"], "'-' comes before the command: chatpipe ask ..."),
        "dashes and a prompt": (["--", "hello", "you"], "missing command: chatpipe ask hello you"),
        "dashes and a prompt with a dash": (["--", "-x"], "missing command: chatpipe ask -- ..."),
        "dashes": (["--"], f"missing command: {usage._MISSING}"),
        "a dash": (["-"], "missing command: chatpipe ask sends stdin as a prompt, chatpipe --help shows all"),
        "with its value": (["-pecho", "ask"], "option '-p' comes before the command: chatpipe ask -p ..."),
        "whose value is a command": (
            ["-s", "map", "ask"],
            "option '-s' comes before the command: chatpipe ask -s ...",
        ),
        "with a web page's dash": (
            ["\u2014model", "x", "ask"],
            "option '--model' comes before the command: chatpipe ask --model ...",
        ),
        "one of another tool": (
            ["--concurrency", "8", "batch", "f"],
            "no such option '--concurrency', did you mean '--jobs'?: see chatpipe batch --help",
        ),
    },
)
def test_a_first_word_that_is_no_command(chatpipe: Chatpipe, words: list[str], said: str) -> None:
    assert chatpipe(*words) == (2, "", f"chatpipe: {said}\n")
