"""An option for every parameter of the API, made from the table; and --set, --unset for all the others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from chatpipe.errors import UsageFault
from chatpipe.flags.types import FILE, Integer, Number, Pair, Word, group, in_order
from chatpipe.inputs.argument import argument
from chatpipe.options.parameters import FILE_KINDS, TABLE, Kind, Parameter, Parameters

_MANY = (
    Kind.TEXTS,
    Kind.ONE_OR_MORE,
    Kind.NUMBERS_BY_KEY,
    Kind.TEXTS_BY_KEY,
    Kind.TOOL_FILES,
    Kind.FUNCTION_FILES,
)
_TYPES: dict[Kind, Any] = {
    Kind.INTEGER: Integer(),
    Kind.NUMBER: Number(),
    Kind.NUMBERS_BY_KEY: Pair(numeric=True),
    Kind.TEXTS_BY_KEY: Pair(numeric=False),
    Kind.TOOL_FILES: FILE,
    Kind.FUNCTION_FILES: FILE,
    Kind.TEXT_FILE: FILE,
}


def _option(parameter: Parameter) -> Any:
    if parameter.kind is Kind.SWITCH:
        flag = f"--{parameter.option}/--no-{parameter.option}"
        return click.option(flag, parameter.name, default=None, help=parameter.help)
    names = [f"--{parameter.option}"] + ([f"-{parameter.letter}"] if parameter.letter else [])
    if parameter.kind is Kind.MARK:
        return click.option(*names, parameter.name, is_flag=True, help=parameter.help)
    return click.option(
        *names,
        parameter.name,
        metavar=parameter.metavar,
        multiple=parameter.kind in _MANY,
        type=_TYPES.get(parameter.kind) or Word(parameter.words),
        help=parameter.help,
    )


def _read(**given: Any) -> Parameters:
    if given["model"] == "":  # an unset variable in a script: servers answer 400, or take any model
        raise UsageFault("the name is empty", place="--model", fix="name a model, or leave it out")
    typed = _edits(given)
    pairs = []
    for parameter in TABLE:
        value = given[parameter.name]
        if value is None or value == () or (parameter.kind is Kind.MARK and not value):
            continue
        pairs.append((parameter, _value(parameter, value)))
    return Parameters(tuple(pairs), typed)


def _value(parameter: Parameter, value: Any) -> Any:
    """The JSON value of what Click made of an option; files are still names."""
    if parameter.kind not in FILE_KINDS:
        for text in _texts(value):
            argument(text, f"--{parameter.option}")
    match parameter.kind:
        case Kind.ONE_OR_MORE:
            return value[0] if len(value) == 1 else list(value)
        case Kind.TEXTS | Kind.TOOL_FILES | Kind.FUNCTION_FILES:
            return list(value)
        case Kind.NUMBERS_BY_KEY | Kind.TEXTS_BY_KEY:
            return dict(value)
        case Kind.MARK:
            return {}
        case Kind.TYPE:
            return {"type": value}
        case Kind.CHOICE_OF_TOOL | Kind.CHOICE_OF_FUNCTION:
            return _choice(parameter, value)
    return value


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple):
        for each in value:
            yield from _texts(each)


def _choice(parameter: Parameter, text: str) -> Any:
    """A word or a name as it is, an object when it is JSON. The API wants a function's name in an object."""
    if text.startswith("{"):
        from chatpipe.inputs import values
        from chatpipe.inputs.values import NotJSON

        try:
            return values.loads_exactly(text.encode("utf-8", "surrogateescape"))
        except NotJSON as error:
            raise UsageFault(f"not JSON: {error.what}", place=f"--{parameter.option}") from error
    if parameter.kind is Kind.CHOICE_OF_FUNCTION and text not in parameter.words:
        return {"name": text}
    return text


def _edits(given: dict[str, Any]) -> tuple[Any, ...]:
    from chatpipe.request import edits

    make = {"set": edits.assignment, "unset": edits.removal}
    return tuple(
        make[name](argument(text, f"--{name}"))
        for name, text in in_order({name: given.pop(name) for name in make})
    )


options = group(
    "parameters",
    [
        *(_option(parameter) for parameter in TABLE),
        click.option(
            "--set", multiple=True, metavar="PATH=TEXT|PATH:=JSON", help="Set any other field of the body"
        ),
        click.option("--unset", multiple=True, metavar="PATH", help="Remove a field of the body"),
    ],
    _read,
)
