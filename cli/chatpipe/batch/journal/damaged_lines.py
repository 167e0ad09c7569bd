"""Lines of the files of a run that were passed over: they are not records, or were changed."""

from __future__ import annotations

from collections.abc import Iterator

from chatpipe.system.line_index import LineFiles


class DamagedLines:
    """By file the number of its damaged lines, and the offset of the first of them."""

    def __init__(self) -> None:
        self._found: dict[int, tuple[int, int]] = {}

    def add(self, file: int, offset: int, more: int = 1) -> None:
        count, first = self._found.get(file, (0, offset))
        self._found[file] = (count + more, min(first, offset))

    def merge(self, other: DamagedLines) -> None:
        for file, (count, first) in other._found.items():
            self.add(file, first, count)

    def texts(self, files: LineFiles) -> Iterator[str]:
        """A message for each file that has any. Raises MissingInput."""
        for file, (count, offset) in self._found.items():
            if count == 1 and files.is_torn(file, offset):
                continue  # a run was killed while it wrote the line
            what = (
                "a line that is not a record"
                if count == 1
                else f"{count} lines that are not records, the first"
            )
            yield f"{files.name(file)}:{files.number(file, offset)}: passed over {what}"
