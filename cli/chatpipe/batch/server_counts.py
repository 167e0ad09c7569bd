"""Counts of a run by server, and which of several servers take part."""

from __future__ import annotations

from collections.abc import Mapping

from chatpipe.inputs.values import Value


class ServerCounts:
    """The lines that each server has answered, well or not. A server is known by its name in records."""

    def __init__(self) -> None:
        self._lines: dict[str, list[int]] = {}  # failed, good
        self._states: Mapping[str, bool] = {}

    def add(self, name: str, *, is_good: bool, count: int = 1) -> None:
        counts = self._lines.get(name)
        if counts is None:
            counts = self._lines[name] = [0, 0]
        counts[is_good] += count

    def note_states(self, states: Mapping[str, bool]) -> None:
        """Take over which servers of a run over several take part, by name."""
        self._states = states

    @property
    def text(self) -> str:
        """The words of the bar: `7 of 8 servers`; nothing for a run with one server."""
        return f"{sum(self._states.values())} of {len(self._states)} servers" if self._states else ""

    def report(self) -> dict[str, Value]:
        """The counts by name, and with several servers if each takes part."""
        report: dict[str, Value] = {}
        for name in dict.fromkeys((*self._states, *self._lines)):
            failed, good = self._lines.get(name, (0, 0))
            report[name] = {"good": good, "failed": failed}
            if name in self._states:
                report[name]["up"] = self._states[name]
        return report
