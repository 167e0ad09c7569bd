"""What a run knows and keeps: answers recorded before it, the journal it writes, the order of its lines."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from chatpipe.batch import fingerprint as fingerprints
from chatpipe.batch.fingerprint import Occurrences
from chatpipe.batch.journal import Journal
from chatpipe.batch.lines import Item
from chatpipe.batch.options import Resuming
from chatpipe.batch.recorded import Found, Recorded
from chatpipe.batch.results import PAID, Result
from chatpipe.inputs import values


class Store:
    """The memory of one run. Without journal, --reuse and --dedupe it keeps nothing and looks nothing up.

    by_id is there with --match id: it finds, by a line's own custom_id, what is not found by its
    body. base_url is a part of each fingerprint, unless --any-server leaves it out. Of repeated
    bodies each has a fingerprint of its own, unless dedupe gives all of them one answer. With
    keeps_all the journal gets every answer, also what OUT has; what --reuse has it always gets.
    """

    def __init__(
        self,
        resuming: Resuming,
        *,
        base_url: str,
        journal: Journal | None,
        recorded: Recorded | None,
        by_id: Recorded | None,
        dedupe: bool,
        keeps_order: bool,
        keeps_all: bool,
        is_shard: bool,
    ) -> None:
        self._base_url = None if resuming.any_server else base_url
        self._journal = journal
        self._recorded = recorded
        self._by_id = by_id
        self._keeps_all = keeps_all
        self._counts = (recorded is not None or is_shard) and not dedupe
        self._occurrences = Occurrences()
        self._dedupe = dedupe
        # 8 bytes a line: where the result of each line is, in input order. 0 where there is none yet.
        self._places: array[int] | None = array("Q") if keeps_order else None
        self._found: dict[int, Found] = {}

    def fingerprint(self, item: Item) -> str:
        """The name of a request. Without a memory repeated bodies share one: to count them needs one."""
        assert item.body is not None
        digest = fingerprints.digest(item.body)
        occurrence = self._occurrences.next(digest) if self._counts else 1
        return fingerprints.mix(digest, self._base_url, occurrence)

    def answer(self, item: Item, fingerprint: str) -> Found | None:
        """The recorded answer to an item; with dedupe also one that this run was given for another line."""
        if self._recorded is None:
            return None
        found = self._recorded.find(fingerprint)
        if found is None:
            return self._by_own_id(item)
        self._recorded.use(fingerprint, found)
        self._found[item.line] = found
        return found

    def keep(self, number: int, result: Result) -> None:
        """Record a result before anybody counts it. What is there already, word for word, stays."""
        found = self._found.pop(result.item.line, None)
        if self._journal is None or self._recorded is None:
            return
        if found is not None and found.line == result.line and self._is_safe(found):
            place = found.place
        else:
            place = self._recorded.place(self._journal.append(result.line), str(result.outcome))
        if self._dedupe and result.outcome in PAID and result.latency_s is not None:
            self._recorded.learn(result.fingerprint, place)
        if self._places is not None:
            if number >= len(self._places):
                self._places.extend([0] * (number + 1 - len(self._places)))
            self._places[number] = place

    def lines(self) -> Iterator[bytes]:
        """The result lines in the order of the input. Only where the order was kept, and all have come."""
        assert self._recorded is not None
        assert self._places is not None
        return self._recorded.lines(self._places)

    def _is_safe(self, found: Found) -> bool:
        """Whether a recorded answer will be there next time, too.

        OUT may be about to hold texts only, and the files of --reuse are not named the next time.
        """
        assert self._recorded is not None
        if self._recorded.is_in_journal(found.place):
            return True
        return not self._keeps_all and self._recorded.is_in_out(found.place)

    def _by_own_id(self, item: Item) -> Found | None:
        """Its place is of another table, and therefore not kept."""
        assert self._recorded is not None
        if self._by_id is None or not item.has_own_id:
            return None
        found = self._by_id.find(item.custom_id)
        if found is not None:
            fingerprint = (values.loads(found.line).get("chatpipe") or {}).get("fingerprint") or ""
            if (same := self._recorded.find(fingerprint)) is not None:
                self._recorded.use(fingerprint, same)
        return found
