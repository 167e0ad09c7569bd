"""Rows of a table -> Items: each the request of one row, which is carried along to its result."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches

from chatpipe.batch.lines import Item, checked
from chatpipe.errors import BadInput
from chatpipe.inputs.place import Source
from chatpipe.inputs.rows import Row, Rows
from chatpipe.inputs.values import Value
from chatpipe.request.filling import Filling
from chatpipe.request.placeholders import Missing, written

_COLUMNS_TOLD = 8


class RowRequests:
    """Lines of a table -> Items: see lines.Reader. A row that is wrong is an Item with its fault."""

    def __init__(self, rows: Rows, filling: Filling, *, strict: bool, unchecked: bool) -> None:
        """Raises BadInput where rows have no field that a template names, if that is known by now."""
        self._rows = rows
        self._filling = filling
        self._strict = strict
        self._unchecked = unchecked
        self._knows_names = not rows.is_flat  # of JSON each row has its own
        self._check_names("")

    @property
    def wants_head(self) -> bool:
        return self._rows.wants_head

    def item(self, source: Source) -> Item | None:
        row = self._rows.row(source)
        if not self._knows_names:
            self._check_names(source.place())
        return None if row is None else self._item(row)

    def end(self) -> Item | None:
        row = self._rows.end()
        return None if row is None else self._item(row)

    def _item(self, row: Row) -> Item:
        own_id = row.fields.get("custom_id")
        if not isinstance(own_id, str) or not own_id:  # an empty cell is no name
            own_id = None
        body, fault = self._request(row)
        item = Item(
            row.source.line,
            own_id or f"line-{row.source.line}",
            body,
            fault,
            has_own_id=own_id is not None,
            row=row,
            row_number=row.number,
        )
        return item if body is None or self._unchecked else checked(item, row.source, strict=self._strict)

    def _request(self, row: Row) -> tuple[dict[str, Value] | None, BadInput | None]:
        """The request of a row, or why there is none."""
        if row.fault is not None:
            return None, row.fault
        try:
            return self._filling.body(row.fields), None
        except Missing as missing:
            return None, BadInput(f"no field '{missing.name}'", place=row.source.place())
        except BadInput as fault:
            fault.place = row.source.place()
            return None, fault

    def _check_names(self, place: str) -> None:
        """Once the columns are known, no template may name another. Raises BadInput."""
        columns = self._rows.columns
        if columns is None or self._knows_names:
            return
        self._knows_names = True
        known = frozenset(columns)
        for placeholder, option in self._filling.placeholders:
            if not placeholder.is_in(known):
                raise _unknown(placeholder.name, option, columns, place)


def _unknown(name: str, option: str, columns: Sequence[str], place: str) -> BadInput:
    near = get_close_matches(name, columns, 1)
    listed = ", ".join(columns[:_COLUMNS_TOLD]) + (", ..." if len(columns) > _COLUMNS_TOLD else "")
    fix = f"there is {listed}"
    if near:
        way = written(near[0])
        fix = f"did you mean '{near[0]}'?" if way == near[0] else f"write {{{{{way}}}}}"
    if len(columns) == 1 and re.search(r"[;,\t|]", columns[0]):
        fix = f"the only column is '{columns[0]}': cells stand between commas in CSV, between tabs in TSV"
    return BadInput(f"{option} names '{name}', which is no column", place=place, fix=fix)
