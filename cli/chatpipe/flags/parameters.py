"""One option for each parameter of the API, made from the table; --set and --unset for all other fields."""

from __future__ import annotations

from typing import Any

import click

from chatpipe.errors import UsageFault
from chatpipe.flags.command import in_order
from chatpipe.flags.model_name import MODEL_NAME
from chatpipe.flags.option_groups import option_group, under
from chatpipe.flags.types import FILE, JSON, Integer, Number, Pair, Word, WordList
from chatpipe.options.parameters import FILE_KINDS, TABLE, Parameter, ParameterKind, Parameters
from chatpipe.options.prompt import utf8_argument

_MANY = ("texts", "one or more", "numbers by key", "texts by key", "tool files", "function files")
_TYPES: dict[ParameterKind, Any] = {
    "integer": Integer(),
    "number": Number(),
    "numbers by key": Pair("TOKEN=BIAS", numeric=True),
    "one or more": click.STRING,  # a text, whose line ends count
    "texts by key": Pair("KEY=VALUE", numeric=False),
    "tool files": JSON,
    "function files": JSON,
    "text file": FILE,
}
_UNDER = {heading: under(heading) for heading in ("Parameters", "Structured output", "Tools")}


def _option(parameter: Parameter) -> Any:
    option = _UNDER[parameter.heading]
    if parameter.kind == "boolean":
        flag = f"--{parameter.option}/--no-{parameter.option}"
        return option(flag, parameter.name, default=None, help=parameter.help)
    names = [f"--{parameter.option}"] + ([f"-{parameter.short_option}"] if parameter.short_option else [])
    if parameter.kind == "empty object":
        return option(*names, parameter.name, is_flag=True, help=parameter.help)
    return option(
        *names,
        parameter.name,
        metavar=parameter.metavar,
        multiple=parameter.kind in _MANY,
        type=_type(parameter),
        daily=parameter.daily,
        help=parameter.help,
    )


def _type(parameter: Parameter) -> Any:
    if parameter.name == "model":
        return MODEL_NAME
    if parameter.kind == "texts":
        return WordList(parameter.words)
    return _TYPES.get(parameter.kind) or Word(parameter.words)


def _read(**given: Any) -> Parameters:
    typed = _edits(given)
    pairs = []
    for parameter in TABLE:
        value = given[parameter.name]
        if value is None or value == () or (parameter.kind == "empty object" and not value):
            continue
        pairs.append((parameter, _value(parameter, value)))
    return Parameters(tuple(pairs), typed)


def _value(parameter: Parameter, value: Any) -> Any:
    """Convert an option's value from Click to JSON. Files are still names."""
    if parameter.kind not in FILE_KINDS:
        value = _as_utf8(value, f"--{parameter.option}")
    match parameter.kind:
        case "one or more":
            return value[0] if len(value) == 1 else list(value)
        case "texts":
            return [word.strip() for text in value for word in text.split(",")]
        case "tool files" | "function files":
            return list(value)
        case "numbers by key" | "texts by key":
            return dict(value)
        case "empty object":
            return {}
        case "type" if not value.startswith("{"):
            return {"type": value}
        case "type":
            return _choice(parameter, value)
        case "name or object" | "choice of tool" | "choice of function":
            return _choice(parameter, value)
    return value


def _as_utf8(value: Any, option: str) -> Any:
    """The value with all its texts as UTF-8; see utf8_argument()."""
    if isinstance(value, tuple):
        return tuple(_as_utf8(each, option) for each in value)
    return utf8_argument(value, option) if isinstance(value, str) else value


def _choice(parameter: Parameter, text: str) -> Any:
    """Convert a choice: JSON becomes an object, a word stays text, and so does a name, but of a function."""
    if text.startswith("{"):
        from chatpipe.inputs import values
        from chatpipe.inputs.values import NotJSON

        try:
            return values.loads_strict(text.encode())
        except NotJSON as error:
            raise UsageFault(f"not JSON: {error.what}", place=f"--{parameter.option}") from error
    if parameter.kind == "choice of function" and text not in parameter.words:
        return {"name": text}
    return text


def _edits(given: dict[str, Any]) -> tuple[Any, ...]:
    from chatpipe.request import edits

    make = {"set": edits.parse_set, "unset": edits.parse_unset}
    return tuple(
        make[name](utf8_argument(text, f"--{name}"))
        for name, text in in_order({name: given.pop(name) for name in make})
    )


options = option_group(
    "parameters",
    [
        *(_option(parameter) for parameter in TABLE),
        _UNDER["Parameters"](
            "--set",
            multiple=True,
            metavar="PATH=TEXT|PATH:=JSON",
            help="Set any other field of the request, such as top_k:=40",
        ),
        _UNDER["Parameters"](
            "--unset", multiple=True, metavar="PATH", type=Word(), help="Remove a field of the request"
        ),
    ],
    _read,
)
