"""What the manual says of commands, options, defaults, variables and statuses is what the program has."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from functools import cache
from itertools import combinations
from typing import Any

import pytest

import chatpipe
from chatpipe import main
from chatpipe.errors import Status
from chatpipe.inputs.values import dumps
from chatpipe.local import model as echo
from chatpipe.options.outcomes import ALLOWABLE, RESENDABLE, RUN_ALLOWABLE, Outcome
from chatpipe.options.output import FORMATS, SHOW_FORMATS
from chatpipe.options.parameters import TABLE, Parameter
from chatpipe.options.server import ServerOptions
from chatpipe.server.endpoints import resolve_endpoints
from chatpipe.server.server import open_servers
from chatpipe.wire.transports import open_transport
from manual import commands, pages
from manual.generate import outdated

PAGES = {command: pages.page_of(command) for command in commands.COMMANDS}


# Commands


def test_each_command_has_a_page_and_each_page_a_command() -> None:
    assert pages.names() == sorted([pages.WHOLE, *PAGES.values()])


def test_the_readme_has_a_link_to_each_page() -> None:
    text = (pages.ROOT / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\(man/([a-z.-]+[1-8])\)", text)) == {
        path.name for path in (pages.ROOT / "man").glob("*.[1-8]")
    }


def test_chatpipe_1_lists_the_commands() -> None:
    listed = pages.entries(pages.subsections(pages.sections(pages.WHOLE)["DESCRIPTION"])["Commands"])
    assert [entry.head for entry in listed] == [f"Cm {command}" for command in commands.COMMANDS]


# Options


@cache
def described(command: str) -> Mapping[tuple[str, ...], pages.Entry]:
    """The entry that describes each option of a command: in its own page, else in chatpipe-options(7)."""
    own = pages.options(pages.page_of(command))
    shared = {names: entry for group in pages.shared_options().values() for names, entry in group.items()}
    known = {names: shared[names] for names in commands.options(command) if names in shared}
    return {**known, **own}


@pytest.mark.parametrize("command", ["", *commands.COMMANDS])
def test_every_option_of_a_command_is_described_and_no_other(command: str) -> None:
    assert sorted(described(command)) == sorted(commands.options(command))


def test_lists_of_shared_options_are_those_that_would_be_written_now() -> None:
    assert [path.name for path, _ in outdated()] == []


def test_no_option_is_described_twice() -> None:
    """What two commands have alike stands in chatpipe-options(7) alone, and what stands there is shared."""
    twice = [
        (one, other, names)
        for one, other in combinations(commands.COMMANDS, 2)
        for names in pages.options(PAGES[one]).keys() & pages.options(PAGES[other]).keys()
        if commands.options(one)[names].row == commands.options(other)[names].row
    ]
    assert twice == []
    for names in (names for entries in pages.shared_options().values() for names in entries):
        assert sum(names in pages.listed_options(page) for page in PAGES.values()) > 1, names


@pytest.mark.parametrize("command", commands.COMMANDS)
def test_shared_options_stand_under_the_headings_of_help(command: str) -> None:
    headings = {names: heading for heading, entries in pages.shared_options().items() for names in entries}
    for names in pages.listed_options(PAGES[command]):
        assert headings[names] == commands.options(command)[names].row.heading, names


def _cases() -> list[Any]:
    return [
        pytest.param(command, option, described(command)[names], id=f"{command} {names[-1]}")
        for command in commands.COMMANDS
        for names, option in commands.options(command).items()
        if names in described(command)  # that all of them are there is tested above
    ]


@pytest.mark.parametrize(("command", "option", "entry"), _cases())
def test_entry_fits_the_option(command: str, option: commands.Option, entry: pages.Entry) -> None:
    """Its value's name, its choices, its default, and whether it may be repeated."""
    text = pages.plain("\n".join(entry.text))
    flags = " , ".join(f"Fl {name.removeprefix('-')}" for name in option.names)
    assert entry.head == " ".join(part for part in (flags, _value(option)) if part)
    stated = re.findall(r"^The default is (.+)\.$", text, re.MULTILINE)
    assert stated == ([option.row.default] if option.row.default else [])
    assert ("May be repeated" in text) == option.row.is_repeatable
    if "choices" in option.info["type"] and "|" not in (option.row.metavar or ""):
        assert tuple(re.findall(r"^\.It Cm (\S+)$", text, re.MULTILINE)) == option.row.choices


def _value(option: commands.Option) -> str:
    """What stands behind an option's names: nothing for a flag, its words when they are few."""
    if option.row.metavar is None:
        return ""
    words = "|".join(option.row.choices)
    if words and option.row.metavar.startswith(words):  # an address may stand behind the last of them
        address = option.row.metavar.removeprefix(words).strip("[:]")
        return f"Cm {' | '.join(option.row.choices)}" + (f" Ns Op : Ns Ar {address}" if address else "")
    name = option.row.metavar.strip("'")
    if name.startswith("[="):
        return f"Ns Op = Ns Ar {name.strip('[=]')}"
    return f'Ar "{name}"' if " " in name else f"Ar {name}"


@pytest.mark.parametrize("parameter", TABLE, ids=lambda parameter: parameter.option)
def test_entry_of_a_parameter_names_its_field_and_its_words(parameter: Parameter) -> None:
    option = next(option for option in commands.options("ask") if f"--{parameter.option}" in option)
    text = pages.plain("\n".join(described("ask")[option].text))
    field = ".".join(parameter.path)
    if field != parameter.name:
        assert re.search(rf"^\.Va {re.escape(field)}(?: |$)", text, re.MULTILINE)
    if parameter.kind != "boolean":
        assert tuple(re.findall(r"^\.Cm (\S+)", text, re.MULTILINE)) == parameter.words


@pytest.mark.parametrize(
    ("option", "words"),
    [("--allow", ALLOWABLE | RUN_ALLOWABLE), ("--resend", RESENDABLE)],
    ids=["--allow", "--resend"],
)
def test_words_of_a_list_of_outcomes_are_all_there(option: str, words: frozenset[str]) -> None:
    text = pages.plain("\n".join(described("batch")[(option,)].text))
    assert set(re.findall(r"^\.Cm (\S+)", text, re.MULTILINE)) == words


def test_outcomes_of_a_run_are_described() -> None:
    parts = pages.subsections(pages.sections(PAGES["batch"])["DESCRIPTION"])
    described = [entry.head.removeprefix("Cm ") for entry in pages.entries(parts["Results"])]
    assert described == [str(outcome) for outcome in Outcome]


# Formats


def test_chatpipe_1_describes_the_formats() -> None:
    """Which of them ask for a stream, and which are nothing without one, included."""
    described = {
        entry.head.removeprefix("Cm "): "\n".join(entry.text)
        for entry in pages.entries(pages.sections(pages.WHOLE)["FORMATS"])
    }
    assert tuple(described) == SHOW_FORMATS
    for name, text in described.items():
        assert text.startswith(".Em Streams .") == FORMATS[name].streams, name
        assert (".Fl \\-no-stream\nit is status 2." in text) == FORMATS[name].needs_stream, name


# Environment


# No request looks at them.
OF_THE_BAR = {"TERM", "COLUMNS"}
OF_KEPT_MODELS = {"XDG_DATA_HOME"}
OF_INSTALL = {"SHELL", "FPATH", "BASH_COMPLETION_USER_DIR", "XDG_DATA_DIRS"}  # of completion scripts


class _Asked(dict[str, str]):
    """An environment that remembers what it was asked for, in upper case as proxies go by both."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.names.add(name.upper())
        return default

    def __contains__(self, name: object) -> bool:
        self.names.add(str(name).upper())
        return False

    def __getitem__(self, name: str) -> str:
        self.names.add(name.upper())
        raise KeyError(name)


def _asked_for() -> set[str]:
    """The variables that a request looks at on its way, over http and over https."""
    asked = _Asked()
    resolve_endpoints(ServerOptions(), asked)
    for url in ("http://example.invalid/v1", "https://example.invalid/v1"):
        options = ServerOptions(base_urls=(url,))
        server, *_ = open_servers(resolve_endpoints(options, asked)[:1], options, asked)
        assert open_transport(server, asked) is not None
    return asked.names | {"OPENAI_API_KEY", "CHATPIPE_API_KEY"}


def test_environment_lists_what_a_request_looks_at() -> None:
    assert pages.variables(pages.WHOLE) == _asked_for()


def test_no_variable_is_listed_twice() -> None:
    for one, other in combinations(pages.names(), 2):
        assert not pages.variables(one) & pages.variables(other), (one, other)


def test_no_other_variable_is_read_anywhere() -> None:
    """By the names in the source, for what the paths above do not come by."""
    read = set()
    for path in pages.ROOT.joinpath("cli", "chatpipe").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        for pattern in (
            r'environ(?:\.get\(|\[)"(\w+)"',
            r'"(\w+)" (?:not )?in (?:os\.)?environ',
            r'getenv\("(\w+)"',
            r'(?:variable|choice)\(environ, "(\w+)"',
        ):
            read |= set(re.findall(pattern, text))
    # MANWIDTH is on the page of man, RAY_ADDRESS in the text about --engine.
    elsewhere = (
        OF_THE_BAR | OF_KEPT_MODELS | pages.variables(PAGES["completion"]) | {"MANWIDTH", "RAY_ADDRESS"}
    )
    assert {name.upper() for name in read} - elsewhere <= pages.variables(pages.WHOLE)
    assert "CHATPIPE_MODEL" in read  # that anything is found at all


def test_progress_names_the_variables_of_the_bar() -> None:
    text = "\n".join(described("batch")[("--progress",)].text)
    assert set(re.findall(r"^\.Ev (\w+)$", text, re.MULTILINE)) == OF_THE_BAR


def test_files_of_models_name_the_variable_of_their_folder() -> None:
    text = "\n".join(pages.sections(PAGES["models"])["FILES"])
    assert set(re.findall(r"^\.Ev (\w+)$", text, re.MULTILINE)) == OF_KEPT_MODELS


def test_variables_that_the_help_names_are_in_the_manual() -> None:
    named = {name for option in commands.options("ask").values() for name in option.row.variables}
    assert named
    assert named <= pages.variables(pages.WHOLE)


def test_completion_page_names_the_variables_of_its_scripts() -> None:
    scripts = [path.read_text(encoding="utf-8") for path in (pages.ROOT / "completions").iterdir()]
    set_by_them = {name for text in scripts for name in re.findall(r"\b([A-Z_]+)=", text)} - {
        "IFS",
        "COMPREPLY",
    }
    assert pages.variables(PAGES["completion"]) == set_by_them | OF_INSTALL
    assert main._COMPLETION_VARIABLE in set_by_them


# Exit statuses


def test_chatpipe_1_lists_every_exit_status_in_order() -> None:
    numbers = list(pages.statuses(pages.WHOLE))
    assert numbers == sorted({*Status, *_signals(pages.WHOLE)})


@pytest.mark.parametrize("page", PAGES.values())
def test_statuses_of_a_page_are_in_the_table_which_it_names(page: str) -> None:
    """A page says what a status means for its command, where that is more than the table has."""
    assert set(pages.statuses(page)) <= set(pages.statuses(pages.WHOLE))
    assert ".Sx EXIT STATUS\nin\n.Xr chatpipe 1\n" in "\n".join(pages.sections(page)["EXIT STATUS"])


def test_statuses_of_signals_are_what_a_shell_counts() -> None:
    above = {number for number in pages.statuses(pages.WHOLE) if number > 128}
    assert above == _signals(pages.WHOLE)
    assert above == {129, 130, 141, 143}


def _signals(name: str) -> set[int]:
    """128 and the number of each signal that EXIT STATUS names."""
    text = "\n".join(pages.sections(name)["EXIT STATUS"])
    return {128 + signal.Signals[signal_name] for signal_name in re.findall(r"\bSIG[A-Z]+\b", text)}


# Bodies beside which the field makes a difference.
BESIDE: dict[str, dict[str, Any]] = {
    "stream_options": {"stream": True},
    "top_logprobs": {"logprobs": True},
    "tool_choice": {"tools": [{"type": "function", "function": {"name": "f"}}]},
    "function_call": {"functions": [{"name": "f"}]},
    "modalities": {"audio": {"voice": "v", "format": "wav"}},
    "audio": {"modalities": ["text", "audio"], "audio": {"voice": "v", "format": "wav"}},
}
HONOURED: dict[str, Any] = {
    "n": 2,
    "max_tokens": 1,
    "max_completion_tokens": 1,
    "stop": "two",
    "stream": True,
    "stream_options": {"include_usage": True},
    "logprobs": True,
    "top_logprobs": 2,
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "tool_choice": "none",
    "functions": [{"name": "f"}],
    "function_call": "none",
    "response_format": {"type": "json_object"},
    "modalities": ["text", "audio"],
    "audio": {"voice": "v", "format": "pcm16"},
}


@pytest.mark.parametrize("page", ["chatpipe", "chatpipe-serve"])
def test_pages_name_the_fields_that_echo_honours(page: str) -> None:
    [names] = re.findall(r"honours\n\.Va (.+)\nand\n\.Va (\w+)", pages.source(page))
    assert [*names[0].split(" , "), names[1]] == list(HONOURED)


@pytest.mark.parametrize("field", HONOURED)
def test_echo_honours_a_field(field: str) -> None:
    def answer(**change: Any) -> bytes:
        body = {"model": "echo", "messages": [{"role": "user", "content": "one two three"}], **change}
        return b"".join(echo.answer_http("POST", "/v1/chat/completions", dumps(body)).pieces)

    beside = BESIDE.get(field, {})
    assert without_id(answer(**beside | {field: HONOURED[field]})) != without_id(answer(**beside))


def without_id(reply: bytes) -> bytes:
    """The id of an answer is that of its request."""
    return re.sub(rb"[0-9a-f]{24}", b"", reply)


def test_version_option_is_the_only_place_for_the_version() -> None:
    """A version in a page would be one more thing to keep."""
    assert not [name for name in pages.names() if chatpipe.__version__ in pages.source(name)]


def test_suffixes_of_files_are_those_of_the_code() -> None:
    """They are a contract: people put them into .gitignore."""
    heads = [entry.head for entry in pages.entries(pages.sections(pages.WHOLE)["FILES"])]
    assert heads == ["Pa config.toml", "Pa FILE.chatpipe-part", "Pa .NAME.chatpipe-RANDOM", "Pa OUT.journal"]
    heads = [entry.head for entry in pages.entries(pages.sections(PAGES["batch"])["FILES"])]
    assert heads == ["Pa OUT.journal", "Pa OUT.chatpipe-part", "Pa .NAME.chatpipe-RANDOM"]
