"""The fingerprints of the requests of a run, by which answers are recorded and found."""

from __future__ import annotations

from chatpipe.batch.items import Item
from chatpipe.request.fingerprint import OccurrenceCounter, body_digest, fingerprint_of


class LineFingerprints:
    """Makes the fingerprint of each line.

    scope is a part of the fingerprint of a request without a model, and with scopes_all of each one, because
    the server then decides the model. With counts_occurrences, identical bodies have different fingerprints.
    """

    def __init__(self, scope: str, *, scopes_all: bool, counts_occurrences: bool) -> None:
        self._scope = scope
        self._scopes_all = scopes_all
        self._occurrences = OccurrenceCounter() if counts_occurrences else None

    def of(self, item: Item) -> str:
        """The fingerprint of an item, whose body is counted: call it once for each, in input order."""
        if item.fingerprint:
            return item.fingerprint
        assert item.body is not None
        digest = body_digest(item.body)
        occurrence = 1 if self._occurrences is None else self._occurrences.count(digest)
        is_scoped = self._scopes_all or not item.body.get("model")
        return fingerprint_of(digest, self._scope if is_scoped else None, occurrence)
