"""Options of Click with what their help says, and groups of options that make records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial, wraps
from typing import Any, Literal

import click

Decorator = Callable[[Any], Any]

# Headings of options, in the order of `--help`.
Heading = Literal[
    "Input",
    "Messages",
    "Parameters",
    "Structured output",
    "Tools",
    "Server",
    "Replies",
    "Limits and faults",
    "Connection",
    "Pace and retries",
    "Batch",
    "Resume",
    "Batch API",
    "Recordings",
    "Output",
    "Diagnostics",
]


class Option(click.Option):
    """An option, with the facts that its help shows.

    The help lists it under heading. daily is True if `-h` shows it as `--help` does, or names the commands
    where `-h` does. variables are environment variables that set it, too. default_text is the default in
    words; without it the default itself is shown, if the option takes a value. may_be_empty is True if an
    empty value means something. A type may name its values: then an option needs no metavar.
    """

    def __init__(
        self,
        declarations: Sequence[str],
        *,
        heading: Heading,
        daily: bool | tuple[str, ...] = False,
        variables: tuple[str, ...] = (),
        default_text: str | None = None,
        may_be_empty: bool = False,
        **others: Any,
    ) -> None:
        if others.get("metavar") is None:
            others["metavar"] = getattr(others.get("type"), "metavar", None)
        super().__init__(declarations, **others)
        default = None if others.get("is_flag") else others.get("default")
        if default_text is None and default is not None:
            default_text = f"{default:g}" if isinstance(default, float) else str(default)
        self.heading: Heading = heading
        self.daily = daily
        self.variables = variables
        self.default_text = default_text
        self.may_be_empty = may_be_empty


def under(heading: Heading) -> Callable[..., Decorator]:
    """Make a click.option() for the options under heading. They take the keywords of Option."""
    return partial(click.option, cls=Option, heading=heading)


class OptionalValue(Option):
    """An option whose value may be omitted: `--unpack` and `--unpack=PREFIX`. An omitted value is empty.

    The next word is never its value. Click's own optional value would swallow a file name that follows.
    """


def option_group(name: str, options: Iterable[Decorator], read: Callable[..., Any]) -> Decorator:
    """Make a decorator that adds options to a command, and passes their values as one record called name.

    read takes the options' values as keyword arguments and returns the record.
    """
    decorators = list(options)

    def decorate(command: Any) -> Any:
        @wraps(command)
        def run(**values: Any) -> Any:
            given = {key: values.pop(key) for key in names}
            return command(**{name: read(**given)}, **values)

        before = len(getattr(command, "__click_params__", []))
        run.__dict__["__click_params__"] = list(getattr(command, "__click_params__", []))
        result = run
        for decorator in reversed(decorators):
            result = decorator(result)
        ours = result.__dict__["__click_params__"][before:]
        names = [parameter.name for parameter in ours if parameter.expose_value]
        return result

    return decorate


def bundle(name: str, record: Callable[..., Any], groups: Mapping[str, Decorator]) -> Decorator:
    """Make a decorator that joins groups of options, in their order, to one record called name.

    The keys of groups are the names of the groups, and the fields of record.
    """

    def decorate(command: Any) -> Any:
        @wraps(command)
        def run(**values: Any) -> Any:
            return command(**{name: record(**{field: values.pop(field) for field in groups})}, **values)

        result = run
        for group in reversed(list(groups.values())):
            result = group(result)
        return result

    return decorate
