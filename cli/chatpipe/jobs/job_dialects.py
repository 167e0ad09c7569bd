"""The Batch API as each provider implements it: one table of differences, and jobs read by it. Pure.

Source: the vendors' own SDKs and pages, as of November 2026.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from chatpipe.errors import BadConfiguration, BrokenAnswer, quantity
from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.jobs.job_reasons import NO_ROOM, TOO_MANY, JobReason, reasons_in
from chatpipe.jobs.job_shapes import MISTRAL_SHAPE, MORPH_SHAPE, OPENAI_SHAPE, JobShape
from chatpipe.named_tuple import NamedTuple
from chatpipe.response.result_line import parse_timestamp
from chatpipe.server.endpoints import Endpoint
from chatpipe.server.profile_file import built_in_names
from chatpipe.server.profiles import BATCH_URL, DEFAULT
from chatpipe.system import secrets
from chatpipe.system.escape import shorten

ENDS = ("completed", "failed", "expired", "cancelled")
KNOWN = (*ENDS, "validating", "in_progress", "finalizing", "cancelling")
LOST = "lost"  # of a job that the provider does not know
# The fixes for a server that has no Batch API, by `jobs` and by a run
WITHOUT_JOBS = "chatpipe batch works without one"
WITHOUT_ENGINE = "--engine local works without one"
# Other words for a status, and words with which one begins.
_STATUSES = {
    "queued": "validating",
    "pending": "validating",
    "running": "in_progress",
    "progress": "in_progress",
    "success": "completed",
    "succeeded": "completed",
    "error": "failed",
    "timeout_exceeded": "expired",
    "canceling": "cancelling",
    "cancellation_requested": "cancelling",
    "canceled": "cancelled",
}
_BEGINNINGS = ("job_state_", "batch_state_")
_MOST_SECONDS = 100_000_000_000  # of a Unix time; a larger number counts milliseconds
_WINDOW = re.compile(r"(\d{1,4})([hd])")
_UNIT_S = {"h": 3600, "d": 86400}
_END_TIMES = ("completed_at", "expired_at", "cancelled_at", "failed_at")


def smaller(lines: int) -> str:
    """The option that makes jobs of half as many lines. Empty for a single line."""
    return f"add --job-lines {lines // 2}" if lines > 1 else ""


class JobDialect(NamedTuple):
    """A provider's form of the API.

    upload_route is the path for new files. names_file: an upload has the name in a field of its own, too.
    most_lines and most_bytes are the limits of a file. longest_id is that of a custom_id, None if nothing
    is known. envelope is the field of the reply to a create that holds the job. has_metadata: a job keeps
    the metadata that it is created with. url is that of lines for a completion. shape is the form of
    the calls.
    """

    purpose: str = "batch"
    upload_route: str = "/files"
    names_file: bool = False
    most_lines: int = 50_000
    most_bytes: int = 200_000_000
    longest_id: int | None = None
    envelope: str = ""
    url: str = BATCH_URL
    has_metadata: bool = True
    shape: JobShape = OPENAI_SHAPE

    def with_job_lines(self, most: int | None) -> JobDialect:
        """The same with at most this many lines in a job, if a number is given."""
        return self if most is None else self._replace(most_lines=min(most, self.most_lines))


# By the names that profiles have in `batch`.
DIALECTS: Mapping[str, JobDialect] = {
    "openai": JobDialect(),
    "azure": JobDialect(),
    "groq": JobDialect(most_bytes=100_000_000),
    "zai": JobDialect(most_bytes=100_000_000),
    "together": JobDialect(
        purpose="batch-api",
        upload_route="/files/upload",
        names_file=True,
        most_bytes=100_000_000,
        longest_id=64,
        envelope="job",
        has_metadata=False,
    ),
    "morph": JobDialect(shape=MORPH_SHAPE),
    "mistral": JobDialect(most_lines=1_000_000, most_bytes=512_000_000, shape=MISTRAL_SHAPE),
}


def dialect_of(endpoint: Endpoint, without: str = WITHOUT_JOBS) -> JobDialect:
    """The dialect of a server. One that the data file says nothing about may have that of OpenAI.

    Raises BadConfiguration for a provider without a Batch API, or with one of another shape. without is the
    way to do it then, for the message.
    """
    profile = endpoint.profile
    is_known = profile.name != DEFAULT.name and profile.name in built_in_names()
    name = profile.batch or (None if is_known else DEFAULT.name)
    if name is not None and name in DIALECTS:
        return DIALECTS[name]._replace(url=endpoint.batch_url)
    lacks = "no Batch API" if name is None else "a Batch API of another shape than OpenAI's"
    fix = f"{without}; else name another provider with -p"
    if not is_known:
        fix = f"its batch in the configuration may be {', '.join(DIALECTS)}"
    raise BadConfiguration(f"profile '{profile.name}' has {lacks}", fix=fix)


class JobCounts(NamedTuple):
    """The lines of a job: all, those that have an answer, those that were refused."""

    total: int = 0
    completed: int = 0
    failed: int = 0


class ProviderJob(NamedTuple):
    """A job as the provider shows it. value is its object, without secrets that the provider sent back.

    status is one of the words of OpenAI, or an unknown word, and then the job is running. Times are
    those of Unix, 0 if the provider does not say. percent is the part that is done, for a provider that
    counts no lines.
    """

    id: str
    status: str
    value: Mapping[str, Value]
    counts: JobCounts = JobCounts()
    input_file_id: str | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    created_at: float = 0.0
    ended_at: float = 0.0
    expires_at: float = 0.0
    percent: int = 0

    @property
    def has_ended(self) -> bool:
        return self.status in ENDS or self.status == LOST

    @property
    def is_nameless(self) -> bool:
        """True if it says nothing about what it was created of: a file, lines in its create, or a blob."""
        names = ("metadata", "input_files", "input_blob")
        return self.input_file_id is None and all(self.value.get(name) is None for name in names)

    @property
    def progress(self) -> str:
        """Its status for people: `in_progress, 2 of 3 lines`, or `in_progress, 66%`."""
        counts = self.counts
        if counts.total:
            return f"{self.status}, {counts.completed + counts.failed} of {quantity(counts.total, 'line')}"
        return f"{self.status}, {self.percent}%" if self.percent else self.status

    def completed_of(self, lines: int) -> int:
        """The number of its lines that have an answer, as far as the provider says it."""
        return self.counts.completed if self.counts.total else lines * self.percent // 100

    @property
    def reasons(self) -> list[JobReason]:
        """The reasons why it failed as a whole."""
        return reasons_in(self.value)

    @property
    def is_too_large(self) -> bool:
        """True if it failed as a whole because of the number of its lines or of their tokens."""
        return self.lacks_room or self.has_too_many_lines

    @property
    def lacks_room(self) -> bool:
        """True if it failed because too many tokens of the account are in the queue."""
        return self._failed_for(NO_ROOM)

    @property
    def has_too_many_lines(self) -> bool:
        return self._failed_for(TOO_MANY)

    @property
    def has_bad_file(self) -> bool:
        """True if it failed as a whole, and the same file will fail again."""
        return self.status == "failed" and any(each.is_lasting for each in self.reasons)

    def _failed_for(self, code: str) -> bool:
        return self.status == "failed" and any(each.code == code for each in self.reasons)

    def shown(self) -> dict[str, Value]:
        """Its object, with the words and the types of OpenAI."""
        return {
            **self.value,
            **({"id": self.id} if "id" in self.value else {}),
            "status": self.status,
            "output_file_id": self.output_file_id,
            "error_file_id": self.error_file_id,
            "request_counts": self.counts._asdict(),
        }


def lost_job(id_: str) -> ProviderJob:
    """A job that the provider does not know."""
    errors: Value = {"data": [{"message": "the provider does not know it, or not by this key"}]}
    return ProviderJob(id_, LOST, {"errors": errors})


def job_of(value: Value, dialect: JobDialect) -> ProviderJob:
    """The job in a reply. Raises BrokenAnswer if there is none."""
    if isinstance(value, dict) and dialect.envelope and isinstance(value.get(dialect.envelope), dict):
        value = value[dialect.envelope]
    if not isinstance(value, dict) or not isinstance(value.get("id"), str) or not value["id"]:
        excerpt = shorten(values.dumps(value)[:400].decode("utf-8", "replace"), 80)
        raise BrokenAnswer(f"the answer is not a job: '{excerpt}'", fix="check the base URL")
    value = dialect.shape.job_value(value)
    counts = value.get("request_counts")
    numbers = counts if isinstance(counts, dict) else {}
    return ProviderJob(
        value["id"],
        _status(value.get("status")),
        secrets.hide_value(value),  # the ids of the fields stay: a job that is lost may be paid twice
        JobCounts(*(_count(numbers.get(name)) for name in ("total", "completed", "failed"))),
        _id(value.get("input_file_id")),
        _id(value.get("output_file_id")),
        _id(value.get("error_file_id")),
        _time(value.get("created_at")),
        _end_time(value),
        _due_time(value),
        _percent(value.get("progress")),
    )


def jobs_of(value: Value, dialect: JobDialect) -> list[ProviderJob]:
    """The jobs of a list, which may be a bare array. Raises BrokenAnswer."""
    data = value.get("data") if isinstance(value, dict) else value
    if not isinstance(data, list):
        raise BrokenAnswer("the answer is not a list of jobs", fix="check the base URL")
    return [job_of(each, dialect) for each in data]


def _status(value: Value) -> str:
    word = str(value).lower()
    for beginning in _BEGINNINGS:
        word = word.removeprefix(beginning)
    return _STATUSES.get(word, word)


def _id(value: Value) -> str | None:
    """An id; None for null and for an empty text, which some servers send for a file that does not exist."""
    return value if isinstance(value, str) and value else None


def _count(value: Value) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _percent(value: Value) -> int:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if is_number and 0 <= value <= 100 else 0


def _due_time(value: Mapping[str, Value]) -> float:
    """The time at which a job has to end, 0 if nothing says it. Together has a deadline, others a window."""
    found = _time(value.get("expires_at")) or _time(value.get("job_deadline"))
    window = _WINDOW.fullmatch(str(value.get("completion_window")))
    created_at = _time(value.get("created_at"))
    if found or window is None or not created_at:
        return found
    return created_at + int(window[1]) * _UNIT_S[window[2]]


def _end_time(value: Mapping[str, Value]) -> float:
    """The time at which a job ended, 0 if it does not say.

    A server may send an old date for what has not happened.
    """
    found = max(_time(value.get(name)) for name in _END_TIMES)
    return found if found >= _time(value.get("created_at")) else 0.0


def _time(value: Value) -> float:
    """Unix time of a number, which may count milliseconds, or an RFC 3339 text; 0 for anything else."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value / 1000 if value > _MOST_SECONDS else float(value)
    found = parse_timestamp(value) if isinstance(value, str) else 0.0
    return max(0.0, found)
