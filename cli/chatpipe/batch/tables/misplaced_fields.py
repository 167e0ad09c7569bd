"""`{{field}}` in an option of `map` that is no template: what is refused, and what is sent with a warning."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from chatpipe.errors import UsageFault
from chatpipe.options.parameters import FILE_KINDS
from chatpipe.options.request import RequestOptions
from chatpipe.options.rows import RowOptions

_FIELD = re.compile(r"""\{\{\s*["\w][^{}]*\}\}""")
_TEMPLATES = "fields go into TEMPLATE, -s, -u or -a, and chatpipe batch reads whole requests"
_IMAGES = "name the field with --image-field NAME"
_TOOL_RESULT = "--tool-result"
# Braces may be meant in these: a chat template of the server, the end of a text that has templates.
_ANY_TEXT = frozenset({"--stop", "--set"})


def misplaced_fields(request: RequestOptions, rows: RowOptions) -> list[str]:
    """The warnings about fields in options where braces may be meant.

    Raises UsageFault for a field in any other option whose text would be sent, read or written as it is.
    """
    warnings = []
    for option, value in _texts(request, rows):
        if (field := _FIELD.search(value)) is None:
            continue
        if option not in _ANY_TEXT:
            fix = _IMAGES if option == "--image" else _TEMPLATES
            raise UsageFault(f"'{field[0]}' is not filled in here", place=option, fix=fix)
        warnings.append(f"{option}: '{field[0]}' is sent as it is: {_TEMPLATES}")
    return warnings


def _texts(request: RequestOptions, rows: RowOptions) -> Iterator[tuple[str, str]]:
    """The texts of options that are no templates, each with its option."""
    for parameter, value in request.parameters.values:
        if parameter.kind not in FILE_KINDS:
            yield from ((f"--{parameter.option}", text) for text in _strings(value))
    for edit in request.parameters.edits:
        if edit.path[0] != "messages":  # those are templates, whatever wrote them
            yield from (("--set", text) for text in _strings(edit.value))
    for attachment in request.prompt.attachments:
        yield attachment.option, attachment.value
    for message in request.prompt.role_options:
        if message.option == _TOOL_RESULT:
            yield _TOOL_RESULT, message.value
    names = {"--into": rows.into, "--usage-into": rows.usage_into, "--error-into": rows.error_into}
    yield from ((option, name) for option, name in names.items() if name is not None)


def _strings(value: Any) -> Iterator[str]:
    """The texts in the value of an option, at any depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _strings(tuple(value.values()))
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _strings(each)
