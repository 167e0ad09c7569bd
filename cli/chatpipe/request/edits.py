"""`--set` and `--unset`: dotted paths into a body, for fields that have no option of their own.

top_k:=40                  a JSON value
provider.order[0]=openai   a text in an array, which may grow by one item at its end
metadata.a\\.b=c            a key that contains a dot; `\\=` stands for an equals sign
"""

from __future__ import annotations

import copy
import re
from typing import Any

from chatpipe.errors import UsageFault
from chatpipe.inputs import values
from chatpipe.inputs.values import NotJSON, Value, json_type
from chatpipe.options.parameters import Edit

# Far deeper than any field, and far below the depth at which JSON cannot be written.
_MAX_STEPS = 100
_MOST_SHOWN = 60  # characters
# An index has at most 18 digits: int() refuses thousands.
_STEP = r"((?:[^.\[\]\\]|\\.)+)|\[(\d{1,18})\]"
_ASSIGNMENT = r"(?s)((?:[^=\\]|\\.)*?)(:?)=(.*)"


def parse_set(text: str) -> Edit:
    """Parse `PATH=TEXT` or `PATH:=JSON`. Raises UsageFault."""
    parts = re.fullmatch(_ASSIGNMENT, text)
    if parts is None:
        raise UsageFault(f"{_quoted(text)} has no '='", place="--set", fix="write PATH=TEXT or PATH:=JSON")
    path, colon, value = parse_path(parts[1], "--set"), parts[2], parts[3]
    if not colon:
        return Edit(path, value, False, text)
    try:
        return Edit(path, values.loads_strict(value.encode("utf-8", "surrogateescape")), False, text)
    except NotJSON as error:
        raise UsageFault(
            f"{_quoted(value)} is not JSON: {error.what}",
            place="--set",
            fix="PATH=TEXT takes text without quotes",
        ) from error


def parse_unset(text: str) -> Edit:
    """Parse the PATH of `--unset`. Raises UsageFault."""
    return Edit(parse_path(text, "--unset"), None, True, text)


def parse_path(text: str, option: str) -> tuple[str | int, ...]:
    """Parse a path: `a.b[0]` -> ("a", "b", 0). A backslash escapes the next character. Raises UsageFault."""
    path: list[str | int] = []
    position = 0
    while position < len(text):
        if len(path) > _MAX_STEPS:
            raise UsageFault(f"a path of more than {_MAX_STEPS} steps", place=option)
        if path and text[position] == ".":
            position += 1
            if text[position : position + 1] == "[":
                break
        match = re.compile(_STEP).match(text, position)
        if match is None or (not path and match[2]):
            break
        path.append(int(match[2]) if match[2] else re.sub(r"\\(.)", r"\1", match[1]))
        position = match.end()
        if text[position : position + 1] not in ("", ".", "["):
            break
    else:
        if path:
            return tuple(path)
    raise UsageFault(f"{_quoted(text)} is not a path", place=option, fix="write a.b or a.b[0]")


def _quoted(text: str) -> str:
    """The words for a text that was typed. A long one is not cut, because only whole keys are redacted."""
    if len(text) <= _MOST_SHOWN:
        return f"'{text}'"
    path, equals, _ = text.partition("=")
    return f"'{path}=...'" if equals and len(path) < _MOST_SHOWN else f"a text of {len(text)} characters"


def apply(body: dict[str, Value], edit: Edit) -> Value:
    """Apply one edit to body. Containers on the path are copied, because others may share them.

    Missing parents are created. Returns the value that stood there, None if there was none. Raises
    UsageFault if the path meets a scalar.
    """
    if edit.is_removal:
        return _remove(body, edit.path)
    parent: Any = body
    for step, following in zip(edit.path, edit.path[1:], strict=False):
        child = parent[step] if _has(parent, step) else None
        if child is None:
            child = [] if isinstance(following, int) else {}
        child = copy.copy(child)
        _put(parent, step, child, edit)
        parent = child
    replaced = parent[edit.path[-1]] if _has(parent, edit.path[-1]) else None
    _put(parent, edit.path[-1], edit.value, edit)
    return replaced


def _put(parent: Any, step: str | int, value: Value, edit: Edit) -> None:
    if isinstance(step, str) and isinstance(parent, dict):
        parent[step] = value
    elif isinstance(step, int) and isinstance(parent, list) and step <= len(parent):
        parent[step : step + 1] = [value]
    elif isinstance(step, int) and isinstance(parent, list):
        raise UsageFault(
            f"{_quoted(edit.text)}: [{step}] is past the end of an array of {len(parent)}", place="--set"
        )
    else:
        expected = "an array" if isinstance(step, int) else "an object"
        where = f"needs {expected}, and there is {json_type(parent)}"
        raise UsageFault(f"{_quoted(edit.text)}: {_quoted(str(step))} {where}", place="--set")


def _remove(body: Any, path: tuple[str | int, ...]) -> Value:
    """Delete the value at path, and return it. A missing value is not an error."""
    parent = body
    for step in path[:-1]:
        if not _has(parent, step):
            return None
        parent[step] = copy.copy(parent[step])
        parent = parent[step]
    return parent.pop(path[-1]) if _has(parent, path[-1]) else None


def _has(parent: Any, step: str | int) -> bool:
    if isinstance(step, str):
        return isinstance(parent, dict) and step in parent
    return isinstance(parent, list) and step < len(parent)
