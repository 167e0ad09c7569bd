"""The first line of an input that should be JSONL -> what it is instead, and the command that reads it."""

from __future__ import annotations

import re

from chatpipe.errors import BadInput
from chatpipe.inputs import values
from chatpipe.inputs.place import Source
from chatpipe.inputs.text_decoder import with_name

_TABLE_SUFFIX = re.compile(r"\.(csv|tsv)(?:\.gz|\.zst)?", re.IGNORECASE)
# A space after the delimiter is how text uses commas.
_COLUMN_NAME = re.compile(r'"?\w[\w ./#%()-]*"?')
_OPTIONS = {"\t": "--tsv", ",": "--csv", ";": "--csv --delimiter ';'"}


def other_format_fault(
    first: Source, *, allows_documents: bool = False, text_fix: str | None = None
) -> BadInput | None:
    """The fault of an input whose first line that is not blank is first; None if that may be JSONL.

    A line that begins like an object, an array or a string in JSON is one, perhaps a broken one. With
    allows_documents, an object may take several lines. text_fix is the advice for a text or table where
    `batch` and `map` are none.
    """
    line = first.data.strip()
    if line == b"{" and not allows_documents:
        fix = f"put each value on one line with {with_name('jq -c . FILE', first.name)}"
        return BadInput("JSON that takes several lines", place=first.place(), fix=fix)
    suffix = _TABLE_SUFFIX.search(first.name[-8:])
    if (line[:1] in (b"{", b"[", b'"') and suffix is None) or values.is_json(line):
        return None
    text = line.decode("utf-8", "replace")
    delimiter = _delimiter(text)
    if suffix is not None:
        delimiter = "\t" if suffix[1].lower() == "tsv" else delimiter or ","
    kind = "plain text" if delimiter is None else "TSV" if delimiter == "\t" else "CSV"
    fix = text_fix or _fix(text, delimiter, first.name)
    return BadInput(f"{kind}, not JSON", place=first.place(), fix=fix)


def _fix(text: str, delimiter: str | None, name: str) -> str:
    """The command that reads a text, or a table whose columns text names."""
    if delimiter is None:
        return f"{with_name('chatpipe batch --lines FILE', name)} takes each line as a prompt"
    names = [cell.strip('"') for cell in text.split(delimiter)]
    column = next((name for name in names if re.fullmatch(r"[A-Za-z_]\w*", name)), "COLUMN")
    command = with_name(f"chatpipe map {_OPTIONS[delimiter]} '{{{{{column}}}}}' FILE", name)
    return f"{command} asks about each row"


def _delimiter(text: str) -> str | None:
    """The delimiter of a line that looks like names of columns."""
    if "\t" in text.strip():
        return "\t"
    for delimiter in ",;":
        cells = text.split(delimiter)
        if len(cells) > 1 and all(map(_COLUMN_NAME.fullmatch, cells)):
            return delimiter
    return None
