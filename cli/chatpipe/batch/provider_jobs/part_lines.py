"""The lines of the parts that a journal names: each is found by its request, or by its own custom_id."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator

import orjson

from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.jobs.input_parts import FINGERPRINT_DIGITS, split_fingerprints
from chatpipe.named_tuple import NamedTuple
from chatpipe.system.line_index import SortedIndex

_KEY_MASK = (1 << 64) - 1
_BYTES = FINGERPRINT_DIGITS // 2


class PlannedLines(NamedTuple):
    """The lines of a part: their fingerprints, one after the other, and their numbers as first and count.

    custom_ids is the JSON array of their own custom_ids, null for a line without one; None if no line has
    any. expected_usage is the usage that all of them may come to, in the words of the API, and expected_cost
    its cost, None without prices.
    """

    fingerprints: str
    numbers: list[list[int]]
    custom_ids: orjson.Fragment | None = None
    model: str | None = None
    expected_usage: Value = None
    expected_cost: float | None = None


class LinePlace(NamedTuple):
    """The number of a part, from 0, and that of a line in it, from 1."""

    part: int
    position: int


class PartLines:
    """The lines of all parts. Those that are searched take 28 bytes each, and 12 more by their custom_ids.

    The custom_ids are kept as they stand in the journal.
    """

    def __init__(self) -> None:
        self._fingerprints: list[bytes] = []  # by part
        self._custom_ids: list[bytes] = []  # by part
        self._starts = [0]  # the number of lines before each part
        # Most runs search nothing: parts are indexed by the first search after them.
        self._by_fingerprint, self._by_id = SortedIndex("I"), SortedIndex("I")
        self._indexed = self._indexed_by_id = 0  # parts
        self._ids: tuple[int, list[Value]] = (-1, [])  # those of the part that was asked for last

    def __len__(self) -> int:
        """The number of parts."""
        return len(self._fingerprints)

    def add(self, fingerprints: str, custom_ids: Value | orjson.Fragment) -> None:
        """Add a part, by the fields of its PlannedLines."""
        packed = bytes.fromhex(fingerprints)
        self._fingerprints.append(packed)
        self._custom_ids.append(values.dumps(custom_ids))
        self._starts.append(self._starts[-1] + len(packed) // _BYTES)

    def find(self, fingerprint: str) -> Iterator[LinePlace]:
        """The places of a request, the oldest first."""
        for part in range(self._indexed, len(self)):
            for number, each in enumerate(self.each_fingerprint(part), self._starts[part]):
                self._by_fingerprint.add(_key(each), number)
        self._indexed = len(self)
        return self._places(self._by_fingerprint.find(_key(fingerprint)))

    def find_by_id(self, custom_id: str) -> Iterator[LinePlace]:
        """The places of the lines with this custom_id of their own, the oldest first."""
        for part in range(self._indexed_by_id, len(self)):
            for number, each in enumerate(self._ids_of(part), self._starts[part]):
                if isinstance(each, str):
                    self._by_id.add(_id_key(each), number)
        self._indexed_by_id = len(self)
        return self._places(self._by_id.find(_id_key(custom_id)))

    def fingerprint(self, place: LinePlace) -> str:
        """The fingerprint of the line at a place."""
        end = place.position * _BYTES
        return self._fingerprints[place.part][end - _BYTES : end].hex()

    def each_fingerprint(self, part: int) -> Iterator[str]:
        """The fingerprints of the lines of a part."""
        return split_fingerprints(self._fingerprints[part].hex())

    def custom_id(self, place: LinePlace) -> str | None:
        """The line's own custom_id, None if it has none."""
        ids = self._ids_of(place.part)
        found = ids[place.position - 1] if place.position <= len(ids) else None
        return found if isinstance(found, str) else None

    def _ids_of(self, part: int) -> list[Value]:
        if self._ids[0] != part:
            found = values.loads(self._custom_ids[part])
            self._ids = part, found if isinstance(found, list) else []
        return self._ids[1]

    def _places(self, numbers: Iterable[int]) -> Iterator[LinePlace]:
        for number in numbers:
            part = bisect_right(self._starts, number) - 1
            yield LinePlace(part, number - self._starts[part] + 1)


class RequestSet:
    """A set of requests by their fingerprints, in 9 bytes each."""

    def __init__(self) -> None:
        self._index = SortedIndex("B")

    def __contains__(self, fingerprint: str) -> bool:
        return bool(self._index.find(_key(fingerprint)))

    def add(self, fingerprint: str) -> None:
        """Add a request that is not in the set."""
        self._index.add(_key(fingerprint), 0)


def _key(fingerprint: str) -> int:
    return int(fingerprint[:16], 16)


def _id_key(custom_id: str) -> int:
    return hash(custom_id) & _KEY_MASK
