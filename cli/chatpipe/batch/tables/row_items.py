"""Rows of a table -> items: one request per row. The item keeps its row for the result."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from difflib import get_close_matches

from chatpipe.batch.body_check import BodyCheck
from chatpipe.batch.items import Item, with_problems
from chatpipe.batch.tables.bodies import RowTemplate
from chatpipe.batch.tables.template import MissingField, as_text, quote_name
from chatpipe.errors import BadInput, UsageFault
from chatpipe.inputs.line_decoder import InputForm
from chatpipe.inputs.names import nearest, reveal
from chatpipe.inputs.place import Source
from chatpipe.inputs.rows import Row, RowDecoder
from chatpipe.inputs.values import Value, as_object
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.prompt import blankness
from chatpipe.options.request import CheckOptions

_ID = "custom_id"
_COLUMNS_SHOWN = 8
_PREFIX = "name the new ones with --unpack=PREFIX"


class ColumnRules(NamedTuple):
    """The rules for columns besides those that templates name.

    unpacked are the fields that properties of the answer get, and that rows must not have. Two columns
    must not have the same name if it is one of written, or, with is_keyed, at all.
    """

    unpacked: Collection[str] = ()
    written: Collection[str] = ()
    is_keyed: bool = False


class RowReader:
    """An ItemReader for the lines of a table. A bad row becomes an Item with a fault."""

    def __init__(
        self,
        rows: RowDecoder,
        template: RowTemplate,
        check: CheckOptions,
        rules: ColumnRules,
        *,
        skips_empty: bool = False,
    ) -> None:
        """With skips_empty, a row without any text is no Item.

        Raises BadInput if the columns are known already and break a rule.
        """
        self._skips_empty = skips_empty
        self._rules = rules
        self._rows = rows
        self._template = template
        self._check = BodyCheck(check)
        self._is_checked = not check.off
        self._has_checked_names = not rows.is_flat  # rows of JSON have different fields: see _request
        self._needs_row = bool(rules.unpacked) and not rows.is_flat
        self._check_names("")

    @property
    def form(self) -> InputForm:
        return self._rows.form

    @property
    def needs_head(self) -> bool:
        return self._rows.needs_head or self._needs_row

    def item(self, source: Source) -> Item | None:
        row = self._rows.feed(source)
        if not self._has_checked_names:
            self._check_names(source.place())
        if row is None:
            return None
        if self._needs_row:
            self._needs_row = False
            if (taken := self._taken_field(row)) is not None:
                raise UsageFault(f"there is a field '{taken}'", place="--unpack", fix=_PREFIX)
        return self._item(row)

    def items(self, sources: Sequence[Source]) -> Iterable[Item | None]:
        return map(self.item, sources)

    def finish(self) -> Item | None:
        row = self._rows.finish()
        if not self._has_checked_names:  # no line has named the columns
            name = next(self._template.placeholders)[0].name
            fix = "name the columns with --fields if it may be empty"
            raise BadInput(f"the table is empty: it has no column '{name}'", fix=fix)
        return None if row is None else self._item(row)

    def _item(self, row: Row) -> Item | None:
        if self._skips_empty and _is_empty(row):
            return None
        own_id = row.fields.get(_ID)
        if not isinstance(own_id, str) or not own_id:  # an empty cell is not an id
            own_id = None
        body, fault = self._request(row)
        item = Item(
            row.source.line,
            own_id or f"line-{row.source.line}",
            body,
            own_id is not None,
            fault,
            row=row,
            row_number=row.number,
        )
        if body is None or not (problems := self._check.problems(body)):
            return item
        return with_problems(item, [(each, self._template.fault(each)) for each in problems], row.source)

    def _request(self, row: Row) -> tuple[dict[str, Value] | None, BadInput | None]:
        """The request of a row, or the fault that prevents it."""
        if row.fault is not None:
            return None, row.fault
        if self._rules.unpacked and (taken := self._taken_field(row)) is not None:
            return None, BadInput(f"there is a field '{taken}'", place=row.source.place(), fix=_PREFIX)
        try:
            body = self._template.body(row.fields)
        except MissingField as missing:
            shown, fix = _near(missing.name, list(row.fields))
            return None, BadInput(f"no field '{shown}'", place=row.source.place(), fix=fix)
        except BadInput as fault:
            fault.place = row.source.place()
            return None, fault
        prompt = as_object(body["messages"][-1]).get("content")
        if self._is_checked and (blank := blankness(prompt)):
            return None, BadInput(f"the prompt is {blank}", place=row.source.place())
        return body, None

    def _taken_field(self, row: Row) -> str | None:
        """The first field of a row that a property of the answer would get."""
        return next((name for name in self._rules.unpacked if name in row.fields), None)

    def _check_names(self, place: str) -> None:
        """Raise BadInput if the columns are known and break a rule: see ColumnRules.

        A template must name one of them. Does nothing after the first check.
        """
        columns = self._rows.columns
        if columns is None or self._has_checked_names:
            return
        self._has_checked_names = True
        names = frozenset(columns)
        if taken := names.intersection(self._rules.unpacked):
            raise UsageFault(f"there is a column '{min(taken)}'", place="--unpack", fix=_PREFIX)
        used = {_ID, *self._rules.written}
        for placeholder, option in self._template.placeholders:
            if (name := placeholder.column(names)) is None:
                raise _unknown_column(placeholder.name, option, columns, place)
            used.add(name)
        self._refuse_doubles(columns, used, place)

    def _refuse_doubles(self, columns: Sequence[str], used: Collection[str], place: str) -> None:
        """Raise BadInput if two columns have a name that stands for one."""
        twice = (name for name, count in Counter(columns).items() if count > 1)
        name = next((name for name in twice if self._rules.is_keyed or name in used), None)
        if name is None:
            return
        if not place:  # no line has named them
            raise UsageFault(f"'{name}' comes twice", place="--fields")
        raise BadInput(f"two columns are called '{name}'", place=place, fix="rename one")


def _is_empty(row: Row) -> bool:
    """True if all fields of a row are empty or white space, as a blank line is."""
    if row.cells:
        return not any(cell.strip() for cell in row.cells)
    return row.fault is None and not any(as_text(value).strip() for value in row.fields.values())


def _unknown_column(name: str, option: str, columns: Sequence[str], place: str) -> BadInput:
    shown, near_fix = _near(name, columns)
    names = [each for each in dict.fromkeys(columns) if each]
    listed = ", ".join(names[:_COLUMNS_SHOWN]) + (", ..." if len(names) > _COLUMNS_SHOWN else "")
    fix = f"choose from {listed}" if names else "no column has a name: name them with --fields"
    fix = near_fix or fix
    if len(columns) == 1 and (delimiter := re.search(r"[;,\t|]", columns[0])):
        reader = {",": "--csv", "\t": "--tsv"}.get(delimiter[0], f"--delimiter '{delimiter[0]}'")
        fix = f"the only column is '{columns[0]}': read it with {reader}"
    return BadInput(f"{option} names '{shown}', which is not a column", place=place, fix=fix)


def _near(name: str, names: Sequence[str]) -> tuple[str, str]:
    """The words for a name that is none of names, and the way to write the one that is meant, if any."""
    dotted = re.sub(r"\[(\d+)\]", r".\1", name)  # the form of --set and of jq
    if dotted != name and dotted.partition(".")[0] in names:
        return name, f"write {{{{{dotted}}}}}"
    near = nearest(name, frozenset(names), least=3)
    close = [near] if near is not None else get_close_matches(name, names, 1)
    if not close:
        return name, ""
    text = quote_name(close[0], is_ascii=reveal(close[0], name) != close[0])
    fix = f"did you mean '{text}'?" if text == close[0] else f"write {{{{{text}}}}}"
    return reveal(name, close[0]), fix
