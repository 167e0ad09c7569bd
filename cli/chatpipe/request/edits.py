"""`--set` and `--unset`: dotted paths into a body, for every field that has no option of its own.

top_k:=40                  a JSON value
provider.order[0]=openai   a text, inside an array, which grows by one at its end
metadata.a\\.b=c            a key with a dot in it
"""

from __future__ import annotations

import copy
import re
from typing import Any

from chatpipe.errors import UsageFault
from chatpipe.inputs import values
from chatpipe.inputs.messages import kind
from chatpipe.inputs.values import NotJSON, Value
from chatpipe.request.parameters import Edit

# Far more than any field is deep, and far from where JSON cannot be written.
_DEEPEST = 100
_STEP = re.compile(r"((?:[^.\[\]\\]|\\.)+)|\[(\d+)\]")


def assignment(text: str) -> Edit:
    """The Edit of `PATH=TEXT` or `PATH:=JSON`. Raises UsageFault."""
    path, separator, value = text.partition("=")
    if not separator:
        raise UsageFault(f"'{text}' has no '='", place="--set", fix="write PATH=TEXT or PATH:=JSON")
    if not path.endswith(":"):
        return Edit(steps(path, "--set"), value, False, text)
    try:
        return Edit(
            steps(path[:-1], "--set"),
            values.loads_exactly(value.encode("utf-8", "surrogateescape")),
            False,
            text,
        )
    except NotJSON as error:
        raise UsageFault(
            f"'{value[:60]}' is not JSON: {error.what}",
            place="--set",
            fix="PATH=TEXT takes text without quotes",
        ) from error


def removal(text: str) -> Edit:
    """The Edit of `--unset PATH`. Raises UsageFault."""
    return Edit(steps(text, "--unset"), None, True, text)


def steps(text: str, option: str) -> tuple[str | int, ...]:
    """`a.b[0]` -> ("a", "b", 0). A backslash takes the next character as it is. Raises UsageFault."""
    found: list[str | int] = []
    position = 0
    while position < len(text):
        if len(found) > _DEEPEST:
            raise UsageFault(f"a path of more than {_DEEPEST} steps", place=option)
        if found and text[position] == ".":
            position += 1
            if text[position : position + 1] == "[":
                break
        match = _STEP.match(text, position)
        if match is None or (not found and match[2]):
            break
        found.append(int(match[2]) if match[2] else re.sub(r"\\(.)", r"\1", match[1]))
        position = match.end()
        if text[position : position + 1] not in ("", ".", "["):
            break
    else:
        if found:
            return tuple(found)
    raise UsageFault(f"'{text}' is not a path", place=option, fix="write a.b or a.b[0]")


def apply(body: dict[str, Value], edit: Edit) -> None:
    """Change body, but nothing in it that others may hold: what is on the path is copied.

    Missing parents are made. Raises UsageFault where the path meets a scalar.
    """
    if edit.remove:
        _remove(body, edit.path)
        return
    parent: Any = body
    for step, following in zip(edit.path, edit.path[1:], strict=False):
        child = parent[step] if _has(parent, step) else None
        if child is None:
            child = [] if isinstance(following, int) else {}
        child = copy.copy(child)
        _put(parent, step, child, edit)
        parent = child
    _put(parent, edit.path[-1], edit.value, edit)


def _put(parent: Any, step: str | int, value: Value, edit: Edit) -> None:
    if isinstance(step, str) and isinstance(parent, dict):
        parent[step] = value
    elif isinstance(step, int) and isinstance(parent, list) and step <= len(parent):
        parent[step : step + 1] = [value]
    elif isinstance(step, int) and isinstance(parent, list):
        raise UsageFault(f"'{edit.text}': [{step}] is past the end, there are {len(parent)}", place="--set")
    else:
        wanted = "an array" if isinstance(step, int) else "an object"
        raise UsageFault(
            f"'{edit.text}': '{step}' is looked for in {kind(parent)}, not {wanted}", place="--set"
        )


def _remove(body: Any, path: tuple[str | int, ...]) -> None:
    """Take away what is at path; what is not there is removed already."""
    parent = body
    for step in path[:-1]:
        if not _has(parent, step):
            return
        parent[step] = copy.copy(parent[step])
        parent = parent[step]
    if _has(parent, path[-1]):
        del parent[path[-1]]


def _has(parent: Any, step: str | int) -> bool:
    if isinstance(step, str):
        return isinstance(parent, dict) and step in parent
    return isinstance(parent, list) and step < len(parent)
