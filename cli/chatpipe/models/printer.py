"""Models -> lines of stdout: names, objects, or a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.models import model_list
from chatpipe.output.cells import TsvLines, encodable

_TSV = TsvLines()


class ModelPrinter:
    """A printer in one of MODEL_FORMATS. has_several: more than one server is asked."""

    def __init__(self, format: str, *, has_several: bool) -> None:
        self._line = {"text": self._name, "json": self._object, "tsv": self._row}[format]
        self._has_several = has_several
        self._names: set[str] = set()
        self._head = _cells((*model_list.COLUMNS, "server")) if format == "tsv" else b""

    def lines(self, models: Sequence[Mapping[str, Value]], server: str) -> bytes:
        """The lines of the models that a server offers. The first server's have the head of a table above."""
        head, self._head = self._head, b""
        return head + b"".join(self._line(model, server) for model in models)

    def _name(self, model: Mapping[str, Value], server: str) -> bytes:
        """Each name once, whichever servers have it."""
        name = model_list.name_of(model)
        if name in self._names:
            return b""
        self._names.add(name)
        return encodable(name.replace("\r", "\\r").replace("\n", "\\n")).encode() + b"\n"

    def _object(self, model: Mapping[str, Value], server: str) -> bytes:
        """The object as the server sends it, with `server` if there are several."""
        return values.dumps({**model, "server": server} if self._has_several else {**model}) + b"\n"

    def _row(self, model: Mapping[str, Value], server: str) -> bytes:
        return _cells([*model_list.cells(model), server])


def _cells(cells: Sequence[str]) -> bytes:
    return _TSV.line([_TSV.cell(encodable(cell)) for cell in cells])
