"""An item of a run -> its recorded answer, or the reason why it is sent.

by request        the answer recorded under its fingerprint
by custom_id      with --match id, else the answer recorded under the line's own id
is a mismatch     with --resend mismatch it is no answer for this run
"""

from __future__ import annotations

from chatpipe.batch.items import Item
from chatpipe.batch.journal.answer_files import AnswerFiles
from chatpipe.batch.journal.answers import RecordedAnswer
from chatpipe.batch.journal.resent_mismatches import ResentMismatches
from chatpipe.batch.journal.send_reasons import SendReason
from chatpipe.errors import quantity
from chatpipe.inputs import values
from chatpipe.response.result_line import ResultLine
from chatpipe.system.escape import shorten

_BY_ID = "--match id takes those whose custom_id is the same"


class AnswerLookup:
    """Looks up the answers of one run. With dedupe they may be from other lines of it.

    has_answers is true if answers were recorded before the run. Two attributes hold notes by line number, and
    who uses a note removes it: found has the answers that were found by request, send_reasons why lines that
    are not new are sent.
    """

    def __init__(self, files: AnswerFiles, resent: ResentMismatches | None, *, dedupe: bool) -> None:
        self._files = files
        self._recorded, self._by_id = files.recorded, files.by_id
        self._resent = resent
        self.has_answers = any(len(each) for each in (files.recorded, files.by_id) if each is not None)
        self._has_records = files.recorded is not None and bool(files.recorded.reasons)
        self._finds_answers = self.has_answers or dedupe
        self.found: dict[int, RecordedAnswer] = {}
        self.send_reasons: dict[int, SendReason] = {}
        self._have_changed = False  # lines whose own custom_id had another request
        self._example_id: str | None = None  # the first that was looked up

    @property
    def knows_nothing(self) -> bool:
        """True if find() finds nothing, and takes no note."""
        return not self._finds_answers and not self._has_records

    def has_answer(self, item: Item, fingerprint: str) -> bool:
        """Return True if an item has an answer that was recorded before this run. Takes no note of it."""
        if self._recorded is None or not self.has_answers:
            return False
        found = self._recorded.find(fingerprint) or self._find_by_id(item)
        return found is not None and not self._is_resent(item, fingerprint, found)

    def reason(self, item: Item, fingerprint: str) -> SendReason:
        """The reason why an item without an answer is sent."""
        recorded, by_id = self._recorded, self._by_id
        if recorded is None or not self._has_records:
            return SendReason.new
        if self._resent is not None and (recorded.find(fingerprint) or self._find_by_id(item)):
            return SendReason.resent  # an answer that is used has no reason
        found = recorded.reasons.of_request(fingerprint)
        if found is None and by_id is not None and item.has_own_id:
            found = by_id.reasons.of_request(item.custom_id)
        reason = found or recorded.reasons.of_custom_id(item.custom_id) or SendReason.new
        if reason is SendReason.changed and item.has_own_id:
            self._have_changed = True
        return reason

    def find(self, item: Item, fingerprint: str) -> RecordedAnswer | None:
        """The recorded answer to an item, of which a note is taken."""
        if self._recorded is None:
            return None
        found = self._recorded.find(fingerprint) if self._finds_answers else None
        if found is None:
            return self._missed(item, fingerprint) if self._has_records else None
        self._recorded.mark_used(fingerprint, found)
        if self._is_resent(item, fingerprint, found):
            self.send_reasons[item.line] = SendReason.resent
            return None
        self.found[item.line] = found
        return found

    def reused_in_vain_text(self) -> str:
        """A message if no answer of --reuse is to a request of this run, once all lines were looked up."""
        count = self._files.reused_in_vain
        if not count:
            return ""
        what = f"--reuse: none of the {quantity(count, 'answer')} is to a request of this run"
        if self._by_id is None:
            return f"{what}: {_BY_ID}" if self._have_changed else what
        theirs, ours = self._by_id.reused.example, self._example_id
        if theirs is None:
            return what
        ours_text = "no line of the input has one" if ours is None else f"the input has {_quoted(ours)}"
        return f"{what}: the custom_id of one is {_quoted(theirs)}, {ours_text}"

    def _missed(self, item: Item, fingerprint: str) -> RecordedAnswer | None:
        """The answer to an item whose request has none. Without one, its reason is noted."""
        found = self._by_own_id(item)
        if found is not None and self._is_resent(item, fingerprint, found):
            found = None
        if found is None and (reason := self.reason(item, fingerprint)) is not SendReason.new:
            self.send_reasons[item.line] = reason
        return found

    def _by_own_id(self, item: Item) -> RecordedAnswer | None:
        """The answer recorded under the item's own custom_id.

        Its location belongs to by_id, not to recorded, so that it is no part of found.
        """
        assert self._recorded is not None
        found = self._find_by_id(item)
        if found is not None:
            fingerprint = ResultLine(values.loads(found.line)).fingerprint or ""
            if (same := self._recorded.find(fingerprint)) is not None:
                self._recorded.mark_used(fingerprint, same)
        return found

    def _find_by_id(self, item: Item) -> RecordedAnswer | None:
        """The answer recorded under the item's own custom_id, with --match id. Takes no note of it."""
        if self._by_id is None or not item.has_own_id:
            return None
        if self._example_id is None:
            self._example_id = item.custom_id
        return self._by_id.find(item.custom_id)

    def _is_resent(self, item: Item, fingerprint: str, found: RecordedAnswer) -> bool:
        """Return True if an answer is a mismatch in this run, and --resend sends those again."""
        return self._resent is not None and self._resent.has(item, fingerprint, found)


def _quoted(custom_id: str) -> str:
    return f"'{shorten(custom_id)}'"
