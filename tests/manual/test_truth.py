"""What the manual says of commands, options, defaults, variables and statuses is what the program has."""

from __future__ import annotations

import re
import signal
from itertools import combinations
from typing import Any

import pytest

import chatpipe
from chatpipe import main
from chatpipe.batch.tally import Tally
from chatpipe.errors import Status
from chatpipe.options.outcomes import ALLOWABLE, RESENDABLE, RUN_ALLOWABLE, Outcome
from chatpipe.options.output import FORMATS, SHOW_FORMATS
from chatpipe.options.parameters import TABLE, Parameter, ParameterKind
from chatpipe.options.server import ServerOptions
from chatpipe.server.endpoints import resolve
from chatpipe.server.server import open_server
from chatpipe.wire.transports import open_transport
from manual import commands, pages

PAGES = {command: f"{pages.WHOLE}-{command}" for command in commands.COMMANDS}
CONNECTING = (pages.WHOLE, *(PAGES[each] for each in ("ask", "batch", "build", "map", "models")))


# Commands


def test_each_command_has_a_page_and_each_page_a_command() -> None:
    assert pages.names() == sorted([pages.WHOLE, *PAGES.values()])


def test_chatpipe_1_lists_the_commands() -> None:
    listed = pages.entries(pages.subsections(pages.sections(pages.WHOLE)["DESCRIPTION"])["Commands"])
    assert [entry.head for entry in listed] == [f"Cm {command}" for command in commands.COMMANDS]


# Options


@pytest.mark.parametrize("command", ["", *commands.COMMANDS])
def test_options_of_the_page_are_those_of_the_command(command: str) -> None:
    documented = pages.options(PAGES.get(command, pages.WHOLE))
    assert sorted(documented) == sorted(commands.options(command))


def _cases() -> list[Any]:
    return [
        pytest.param(command, option, pages.options(page)[names], id=f"{command} {names[-1]}")
        for command, page in PAGES.items()
        for names, option in commands.options(command).items()
        if names in pages.options(page)  # that all of them are there is tested above
    ]


@pytest.mark.parametrize(("command", "option", "entry"), _cases())
def test_entry_fits_the_option(command: str, option: commands.Option, entry: pages.Entry) -> None:
    """Its value's name, its choices, its default, and whether it may be repeated."""
    text = pages.plain("\n".join(entry.text))
    flags = " , ".join(f"Fl {name.removeprefix('-')}" for name in option.names)
    assert entry.head == " ".join(part for part in (flags, _value(option)) if part)
    stated = re.findall(r"^The default is (.+)\.$", text, re.MULTILINE)
    assert stated == ([option.default] if option.default else [])
    assert ("May be repeated" in text) == option.info["multiple"]
    if option.choices and "FORMAT" in entry.head:
        assert tuple(re.findall(r"^\.It Cm (\S+)$", text, re.MULTILINE)) == option.choices


def _value(option: commands.Option) -> str:
    """What stands behind an option's names: nothing for a flag, its words when they are few."""
    if option.info["is_flag"]:
        return ""
    if option.choices:
        return "Ar FORMAT" if len(option.choices) > 5 else f"Cm {' | '.join(option.choices)}"
    name = (option.metavar or option.info["type"]["name"].upper()).strip("'")
    if name.startswith("[="):
        return f"Ns Op = Ns Ar {name.strip('[=]')}"
    return f'Ar "{name}"' if " " in name else f"Ar {name}"


@pytest.mark.parametrize("parameter", TABLE, ids=lambda parameter: parameter.option)
def test_entry_of_a_parameter_names_its_field_and_its_words(parameter: Parameter) -> None:
    option = next(option for option in commands.options("ask") if f"--{parameter.option}" in option)
    text = pages.plain("\n".join(pages.options(PAGES["ask"])[option].text))
    field = ".".join(parameter.path)
    if field != parameter.name:
        assert re.search(rf"^\.Va {re.escape(field)}(?: |$)", text, re.MULTILINE)
    if parameter.kind is not ParameterKind.BOOLEAN:
        assert tuple(re.findall(r"^\.Cm (\S+)", text, re.MULTILINE)) == parameter.words


@pytest.mark.parametrize(
    ("command", "option", "words"),
    [
        ("ask", "--allow", ALLOWABLE),
        ("batch", "--allow", RUN_ALLOWABLE),
        ("batch", "--resend", RESENDABLE),
        ("map", "--allow", RUN_ALLOWABLE),
        ("map", "--resend", RESENDABLE),
    ],
    ids=["ask --allow", "batch --allow", "batch --resend", "map --allow", "map --resend"],
)
def test_words_of_a_list_of_outcomes_are_all_there(command: str, option: str, words: frozenset[str]) -> None:
    entry = pages.options(PAGES[command])[(option,)]
    before = pages.plain("\n".join(entry.text)).partition("Another word is status 2.")[0]
    assert set(re.findall(r"^\.Cm (\S+)", before, re.MULTILINE)) == words


def test_outcomes_of_a_run_are_described() -> None:
    parts = pages.subsections(pages.sections(PAGES["batch"])["DESCRIPTION"])
    described = [entry.head.removeprefix("Cm ") for entry in pages.entries(parts["Results"])]
    assert described == [str(outcome) for outcome in Outcome]


def test_every_key_of_the_report_is_described() -> None:
    text = "\n".join(pages.options(PAGES["batch"])[("--report",)].text)
    console = re.findall(r"^\.Va (\w+)", text, re.MULTILINE)
    report = Tally().report(1.0)
    keys = {*report, *report["latency_s"], *report["pauses"]}
    assert set(console) == keys
    assert len(console) == len(keys)


# What is repeated


@pytest.mark.parametrize(("one", "other"), list(combinations(PAGES, 2)))
def test_an_option_of_two_commands_is_described_in_the_same_words(one: str, other: str) -> None:
    """mdoc(7) has no way to include a text that mandoc would lint, so these are copies."""
    left, right = commands.options(one), commands.options(other)
    for names in left.keys() & right.keys():
        if left[names].info == right[names].info and left[names].metavar == right[names].metavar:
            assert pages.options(PAGES[one])[names] == pages.options(PAGES[other])[names]


@pytest.mark.parametrize(("one", "other"), list(combinations(PAGES, 2)))
def test_group_of_options_of_two_commands_is_the_same_text(one: str, other: str) -> None:
    left, right = (pages.subsections(pages.sections(PAGES[each])["OPTIONS"]) for each in (one, other))
    for title in left.keys() & right.keys():
        heads = [[entry.head for entry in pages.entries(each[title])] for each in (left, right)]
        if heads[0] == heads[1]:
            assert left[title] == right[title], title


@pytest.mark.parametrize(
    ("title", "names"),
    [("ENVIRONMENT", CONNECTING), ("FILES", [PAGES[each] for each in ("ask", "build", "show")])],
    ids=["ENVIRONMENT", "FILES"],
)
def test_section_of_several_pages_is_the_same_text(title: str, names: tuple[str, ...]) -> None:
    assert len({"\n".join(pages.sections(name)[title]) for name in names}) == 1


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
    resolve(ServerOptions(), asked)
    for url in ("http://example.invalid/v1", "https://example.invalid/v1"):
        options = ServerOptions(base_urls=(url,))
        server = open_server(resolve(options, asked)[0], options, asked)
        assert open_transport(server, asked) is not None
    return asked.names | {"OPENAI_API_KEY", "CHATPIPE_API_KEY"}


@pytest.mark.parametrize("name", CONNECTING)
def test_environment_lists_what_a_request_looks_at(name: str) -> None:
    assert pages.variables(name) == _asked_for()


def test_no_other_variable_is_read_anywhere() -> None:
    """By the names in the source, for what the paths above do not come by."""
    read = set()
    for path in pages.ROOT.joinpath("cli", "chatpipe").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        for pattern in (
            r'environ(?:\.get\(|\[)"(\w+)"',
            r'"(\w+)" (?:not )?in (?:os\.)?environ',
            r'getenv\("(\w+)"',
            r'variable\(environ, "(\w+)"',
        ):
            read |= set(re.findall(pattern, text))
    elsewhere = OF_THE_BAR | OF_KEPT_MODELS | {"COMP_LINE"}  # its page is that of completion
    assert {name.upper() for name in read} - elsewhere <= pages.variables(pages.WHOLE)
    assert "CHATPIPE_MODEL" in read  # that anything is found at all


@pytest.mark.parametrize("name", ["batch", "map"])
def test_progress_names_the_variables_of_the_bar(name: str) -> None:
    entries = pages.entries(pages.sections(PAGES[name])["OPTIONS"])
    (text,) = ("\n".join(each.text) for each in entries if each.head.startswith("Fl -progress "))
    assert set(re.findall(r"^\.Ev (\w+)$", text, re.MULTILINE)) == OF_THE_BAR


def test_files_of_models_name_the_variable_of_their_folder() -> None:
    text = "\n".join(pages.sections(PAGES["models"])["FILES"])
    assert set(re.findall(r"^\.Ev (\w+)$", text, re.MULTILINE)) == OF_KEPT_MODELS


def test_variables_that_the_help_names_are_in_the_manual() -> None:
    named = {name for option in commands.options("ask").values() for name in option.variables}
    assert named
    assert named <= pages.variables(pages.WHOLE)


def test_completion_page_names_the_variables_of_its_scripts() -> None:
    scripts = [path.read_text(encoding="utf-8") for path in (pages.ROOT / "completions").iterdir()]
    set_by_them = {name for text in scripts for name in re.findall(r"\b([A-Z_]+)=", text)} - {
        "IFS",
        "COMPREPLY",
    }
    assert pages.variables(PAGES["completion"]) == set_by_them
    assert main._COMPLETION_VARIABLE in set_by_them


# Exit statuses


def test_chatpipe_1_lists_every_exit_status_in_order() -> None:
    numbers = list(pages.statuses(pages.WHOLE))
    assert numbers == sorted({*Status, *_signals(pages.WHOLE)})


def test_every_status_is_one_of_some_command() -> None:
    used = {number for page in PAGES.values() for number in pages.statuses(page)}
    assert used == set(pages.statuses(pages.WHOLE))


@pytest.mark.parametrize("name", pages.names())
def test_statuses_of_signals_are_what_a_shell_counts(name: str) -> None:
    above = {number for number in pages.statuses(name) if number > 128}
    assert above == _signals(name)
    assert above == {129, 130, 141, 143}


def _signals(name: str) -> set[int]:
    """128 and the number of each signal that EXIT STATUS names."""
    text = "\n".join(pages.sections(name)["EXIT STATUS"])
    return {128 + signal.Signals[signal_name] for signal_name in re.findall(r"\bSIG[A-Z]+\b", text)}


def test_version_option_is_the_only_place_for_the_version() -> None:
    """A version in a page would be one more thing to keep."""
    assert not [name for name in pages.names() if chatpipe.__version__ in pages.source(name)]


def test_suffixes_of_files_are_those_of_the_code() -> None:
    """They are a contract: people put them into .gitignore."""
    heads = [entry.head for entry in pages.entries(pages.sections(pages.WHOLE)["FILES"])]
    assert heads == ["Pa config.toml", "Pa FILE.chatpipe-part", "Pa .NAME.chatpipe-RANDOM", "Pa OUT.journal"]
    heads = [entry.head for entry in pages.entries(pages.sections(PAGES["batch"])["FILES"])]
    assert heads == ["Pa OUT.journal", "Pa OUT.chatpipe-part", "Pa .NAME.chatpipe-RANDOM"]
