"""Figures -> a table for people, and JSON lines for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple


class Figure(NamedTuple):
    """One result. reach and dream are limits in its unit: to stay below, or above where more is better."""

    what: str
    value: float
    unit: str
    reach: float | None = None
    dream: float | None = None
    more_is_better: bool = False
    note: str = ""

    def verdict(self) -> str:
        """`dream`, `reached`, `MISSED`; nothing where there is no limit."""
        if self.reach is None:
            return ""
        if self.dream is not None and self._is_within(self.dream):
            return "dream"
        return "reached" if self._is_within(self.reach) else "MISSED"

    def _is_within(self, limit: float) -> bool:
        return self.value >= limit if self.more_is_better else self.value <= limit


class Report:
    """Prints each table when it is there; file, when given, gets a JSON line a figure."""

    def __init__(self, file: Path | None, machine: Mapping[str, str]) -> None:
        self._file = file
        if file is not None:
            file.write_text("")
        self._line({"machine": dict(machine)})
        print(", ".join(f"{name} {value}" for name, value in machine.items()), flush=True)

    def table(self, bench: str, title: str, figures: Sequence[Figure]) -> None:
        for figure in figures:
            self._line({"bench": bench, **figure._asdict(), "verdict": figure.verdict()})
        rows = [
            (
                figure.what,
                number(figure.value),
                figure.unit,
                _limits(figure),
                figure.verdict(),
                figure.note,
            )
            for figure in figures
        ]
        print(f"\n{bench}: {title}")
        widths = [max(len(row[column]) for row in rows) for column in range(6)]
        for row in rows:
            cells = [
                cell.rjust(width) if column == 1 else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            print("  " + "  ".join(cells).rstrip())
        print(end="", flush=True)

    def say(self, bench: str, text: str) -> None:
        """A line that is no figure: what was left out, and why."""
        self._line({"bench": bench, "note": text})
        print(f"\n{bench}: {text}", flush=True)

    def _line(self, value: Mapping[str, object]) -> None:
        if self._file is not None:
            with self._file.open("a") as file:
                file.write(json.dumps(value) + "\n")


def number(value: float) -> str:
    """Three digits that count, thousands set apart."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _limits(figure: Figure) -> str:
    if figure.reach is None:
        return ""
    sign = ">=" if figure.more_is_better else "<="
    dream = "" if figure.dream is None else f" ({number(figure.dream)})"
    return f"{sign} {number(figure.reach)}{dream}"
