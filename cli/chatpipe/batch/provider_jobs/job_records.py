"""The jobs that a journal names: what the lines about them say together."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from chatpipe.batch.journal.recorded_events import JOB_EVENT
from chatpipe.batch.provider_jobs.part_lines import LinePlace, PartLines
from chatpipe.errors import UsageFault
from chatpipe.inputs.values import Value
from chatpipe.jobs.part_record import PartRecord


class JobRecords:
    """The parts that the journal names. records has them by their tokens, in their order.

    server names the server of the run, whose jobs are its own.
    """

    def __init__(self, events: Iterable[Mapping[str, Value]]) -> None:
        self.server = ""
        self.records: dict[str, PartRecord] = {}
        self._tokens: list[str] = []  # by the numbers of parts
        self._lines = PartLines()
        for event in events:
            self.take(dict(event))

    def with_digest(self, digest: str, server: str) -> PartRecord | None:
        """The newest record of a part with these bytes for this server, unless it is over."""
        found = [
            record
            for record in self.records.values()
            if not record.is_over
            and record.fields.get("sha256") == digest
            and record.fields.get("server") == server
        ]
        return found[-1] if found else None

    def is_own(self, record: PartRecord) -> bool:
        """Return True for a part that is at the server of this run."""
        return record.fields.get("server") == self.server

    def open_records(self) -> list[PartRecord]:
        """The records of jobs whose results are not recorded yet."""
        return [each for each in self.records.values() if each.job_id is not None and not each.is_over]

    def lost_records(self) -> list[PartRecord]:
        """The records of jobs that the provider did not know."""
        return [each for each in self.records.values() if each.is_lost and not each.is_collected]

    def unconfirmed(self) -> list[PartRecord]:
        """The records of jobs that may have been created."""
        return [each for each in self.records.values() if each.creating_at is not None]

    @property
    def is_empty(self) -> bool:
        """True if no part was ever planned, so that job_of() finds none."""
        return not self._tokens

    def job_of(self, fingerprint: str) -> PartRecord | None:
        """The record of the open job that a request lies in, also of one that may have been created."""
        place = self.place_of(fingerprint) if self._tokens else None
        return None if place is None else self.part_at(place)

    def place_of(self, fingerprint: str) -> LinePlace | None:
        """The place of a request in an open job."""
        return next(self._open_places(self._lines.find(fingerprint)), None)

    def part_at(self, place: LinePlace) -> PartRecord:
        """The record of the part that a place is in."""
        return self.records[self._tokens[place.part]]

    def fingerprint_of(self, custom_id: str) -> str | None:
        """The fingerprint of the last line in an open job that has this custom_id of its own."""
        places = list(self._open_places(self._lines.find_by_id(custom_id)))
        return self._lines.fingerprint(places[-1]) if places else None

    def custom_id_of(self, fingerprint: str) -> str | None:
        """The own custom_id of a line in an open job, None if it has none."""
        place = self.place_of(fingerprint)
        return None if place is None else self._lines.custom_id(place)

    def fingerprints_of(self, record: PartRecord) -> Iterator[str]:
        """The fingerprints of the lines of a part."""
        return self._lines.each_fingerprint(self._tokens.index(record.token))

    def in_flight(self) -> list[PartRecord]:
        """The records of jobs whose answers are not recorded, also of those that may have been created."""
        return [each for each in self.records.values() if each.is_in_flight]

    def _open_places(self, places: Iterator[LinePlace]) -> Iterator[LinePlace]:
        return (each for each in places if self.part_at(each).is_in_flight)

    def take(self, event: dict[str, Value]) -> None:
        """Take over an event."""
        token = event.get("token")
        if not isinstance(token, str):
            return
        if event.get(JOB_EVENT) == "planned":
            self._tokens.append(token)
            self._lines.add(str(event.pop("fingerprints", "")), event.pop("custom_ids", None))
            self.records[token] = PartRecord(token, event)
        elif token in self.records:
            self.records[token].take(str(event.get(JOB_EVENT)), event)


def refuse_fresh(records: JobRecords) -> None:
    """Raise UsageFault for `--fresh` if the journal has jobs that were not collected."""
    if opened := records.open_records() or records.unconfirmed():
        what = f"job {opened[0].job_id or opened[0].token} of this journal has answers that are paid for"
        fix = "leave it out in the next run, which collects them, or name another file with --journal"
        raise UsageFault(what, place="--fresh", fix=fix)


def refuse_open_jobs(reused: Iterable[tuple[str, Mapping[str, Value]]], own: Collection[Value]) -> None:
    """Raise UsageFault for a file of --reuse with jobs whose answers nobody has collected.

    reused are the events in these files, each with the name of its file. own are the tokens of the journal,
    of which such a file may be a copy.
    """
    records: dict[str, PartRecord] = {}
    paths: dict[str, str] = {}
    for path, event in reused:
        token = str(event.get("token"))
        if event.get(JOB_EVENT) == "planned":
            records[token], paths[token] = PartRecord(token, dict(event)), path
        elif token in records:
            records[token].take(str(event.get(JOB_EVENT)), dict(event))
    for token, record in records.items():
        if token not in own and record.is_in_flight:
            what = f"{paths[token]} has job {record.job_id or token}, whose answers nobody has collected"
            raise UsageFault(what, place="--reuse", fix="name this file with --journal, or add --no-send")
