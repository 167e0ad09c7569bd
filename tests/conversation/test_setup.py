"""Rules of a conversation that cross into another process: all but the runner of tools."""

from __future__ import annotations

import pickle

import pytest

from chatpipe.conversation import setup
from chatpipe.conversation.turns import TurnOptions
from chatpipe.errors import UsageFault
from chatpipe.inputs.messages import LocatedValue
from chatpipe.inputs.place import Source
from chatpipe.options.output import ConsoleOptions
from chatpipe.options.tool_commands import ToolOptions
from chatpipe.request.response_format import ResponseFormat
from chatpipe.system.console import Console
from support.refusals import refused

# The validator is made anew, so the keywords that are ours must work in the copy, too.
SCHEMA = {"type": "object", "properties": {"price": {"multipleOf": 0.01}}, "required": ["price"]}
FORM = ResponseFormat("--schema", "s", LocatedValue(SCHEMA, Source("s.json", b"{}")), strict=True)
OPTIONS = TurnOptions(ToolOptions((("a", "true"),)), FORM, 2)
BODY = {"response_format": FORM.field, "tools": [{"type": "function", "function": {"name": "a"}}]}


def test_options_are_the_same_after_pickling() -> None:
    assert pickle.loads(pickle.dumps(OPTIONS)) == OPTIONS


@pytest.mark.parametrize("verbose", [False, True])
def test_rules_without_tools_check_the_same_after_pickling(verbose: bool) -> None:
    console = Console(ConsoleOptions(verbose=verbose))
    environ = {"PATH": "/bin:/usr/bin"}
    with setup.open_rules(OPTIONS, BODY, console, environ=environ, key_names=frozenset()) as rules:
        assert rules is not None
        assert rules.tools is not None
        copy = pickle.loads(pickle.dumps(rules._replace(tools=None)))
    assert (copy.reasks, copy.response_format, copy.detail is None) == (2, FORM.field, not verbose)
    assert copy.for_line(BODY).violation('{"price":19.99}') is None
    assert copy.violation('{"price":0.001}') is not None
    assert str(copy.violation("[]")) == "an array is not an object"


def test_the_first_answer_is_the_last_without_options() -> None:
    console = Console(ConsoleOptions())
    with setup.open_rules(TurnOptions(), {}, console, environ={}, key_names=frozenset()) as rules:
        assert rules is None


@pytest.mark.parametrize("workers", [None, 2])
def test_a_run_may_have_commands_whose_tools_its_lines_offer(workers: int | None) -> None:
    options = TurnOptions(ToolOptions((("a", "true"),)))
    opened = setup.open_rules(
        options,
        {},
        Console(ConsoleOptions()),
        environ={"PATH": "/bin:/usr/bin"},
        key_names=frozenset(),
        workers=workers,
    )
    if workers is None:
        with refused(UsageFault, what="the request has no tool 'a'"), opened:
            pass
    else:
        with opened as rules:
            assert rules is not None
            assert rules.tools is not None
