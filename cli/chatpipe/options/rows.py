"""Options of `map`: how rows are read and written, and which fields it adds."""

from __future__ import annotations

from chatpipe.named_tuple import NamedTuple
from chatpipe.options.run import InputOptions

# Formats that `map --to` writes. It reads these, and lines.
ROW_FORMATS = ("jsonl", "csv", "tsv")


class RowOptions(NamedTuple):
    """The formats of rows, and the names of the fields that `map` adds.

    source and target are names of ROW_FORMATS. columns are the names in --fields. delimiter separates the
    fields of a CSV input, None if it is not given. With unpack, each property of the answer has a field of
    its own, whose name begins with unpack, and there is no field `into`.
    """

    source: str = "jsonl"
    target: str = "jsonl"
    columns: tuple[str, ...] | None = None
    delimiter: str | None = None
    skip_empty: bool = False
    csv_safe: bool = False
    into: str = "answer"
    unpack: str | None = None
    error_into: str | None = None
    usage_into: str | None = None
    image_field: str | None = None
    image_root: str | None = None
    template_file: str | None = None

    @property
    def reason_field(self) -> str:
        """The field with the error of a failed JSON row. Other formats have it only with --error-into."""
        return self.error_into or f"{self.into}_error"


class MapOptions(NamedTuple):
    """The rows of `map`, and the part of them that is taken."""

    rows: RowOptions = RowOptions()
    input: InputOptions = InputOptions()
