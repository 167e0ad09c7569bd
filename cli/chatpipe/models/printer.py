"""Models -> lines of stdout: names, objects, or a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.output.cells import TsvLines, encodable
from chatpipe.response import model_list


class ModelPrinter(Protocol):
    """A format. server is the name of the server."""

    def head(self) -> bytes:
        """The line before all models."""

    def line(self, model: Mapping[str, Value], server: str) -> bytes:
        """The line of a model."""


class _ModelNames:
    """Each name once, whichever servers have it."""

    def __init__(self) -> None:
        self._written: set[str] = set()

    def head(self) -> bytes:
        return b""

    def line(self, model: Mapping[str, Value], server: str) -> bytes:
        name = model_list.name_of(model)
        if name in self._written:
            return b""
        self._written.add(name)
        one_line = name.replace("\r", "\\r").replace("\n", "\\n")
        return encodable(one_line).encode() + b"\n"


class _ModelObjects:
    """The objects as the servers send them, with `server` if there are several."""

    def __init__(self, *, has_several: bool) -> None:
        self._has_several = has_several

    def head(self) -> bytes:
        return b""

    def line(self, model: Mapping[str, Value], server: str) -> bytes:
        return values.dumps({**model, "server": server} if self._has_several else {**model}) + b"\n"


class _ModelTable:
    """Tab-separated cells below their names. The last one is the server."""

    def __init__(self) -> None:
        self._lines = TsvLines()

    def head(self) -> bytes:
        return self._line((*model_list.COLUMNS, "server"))

    def line(self, model: Mapping[str, Value], server: str) -> bytes:
        return self._line([*model_list.cells(model), server])

    def _line(self, cells: Sequence[str]) -> bytes:
        return self._lines.line([self._lines.cell(encodable(cell)) for cell in cells])


def create_printer(format: str, *, has_several: bool) -> ModelPrinter:
    """The printer of one of MODEL_FORMATS. has_several: more than one server is asked."""
    if format == "json":
        return _ModelObjects(has_several=has_several)
    return _ModelTable() if format == "tsv" else _ModelNames()
