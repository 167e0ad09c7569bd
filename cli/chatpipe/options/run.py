"""Options of a run and of the limits that processes share."""

from __future__ import annotations

from chatpipe.named_tuple import NamedTuple
from chatpipe.options.engines import EngineOptions
from chatpipe.options.files import FileUse, optional_uses
from chatpipe.options.output import FormatOptions
from chatpipe.options.recordings import RecordingOptions
from chatpipe.options.server import RetryPolicy

JOURNAL_SUFFIX = ".journal"  # of the journal of OUT, without --journal


class Jobs(NamedTuple):
    """The number of requests in flight. With auto, limit is its maximum."""

    limit: int = 16
    auto: bool = False


class HaltRule(NamedTuple):
    """`--halt WHEN,fail=N` or `fail=N%`. With now, requests in flight are abandoned; without it the run
    waits for them.

    never is `--halt never`: the run continues even if its first lines all fail alike.
    """

    now: bool = False
    failures: int | None = None
    percent: float | None = None
    never: bool = False


class InputOptions(NamedTuple):
    """The lines that a run takes, and how it reads them."""

    plain: bool = False
    limit: int | None = None
    shard: tuple[int, int] | None = None
    override: bool = False
    dedupe: bool = False


class ResumeOptions(NamedTuple):
    """Files that may hold answers from earlier runs, and how they are used."""

    journal: str | None = None
    keep_journal: bool | None = None
    reuse: tuple[str, ...] = ()
    match: str = "body"
    resend: frozenset[str] = frozenset()
    same_server: bool = False
    fresh: bool = False
    no_send: bool = False


class SharedLimits(NamedTuple):
    """Requests and tokens a minute, of one process or of all that share the `--pace-file`.

    pace_jobs limits the requests in flight of all these processes.
    """

    rpm: float | None = None
    tpm: float | None = None
    pace_file: str | None = None
    pace_jobs: int | None = None

    @property
    def uses(self) -> list[FileUse]:
        return optional_uses(("--pace-file", self.pace_file, "locks"))


class CallOptions(NamedTuple):
    """Options of a single request: retries, the limits that it shares with other processes, recordings."""

    retry: RetryPolicy = RetryPolicy()
    limits: SharedLimits = SharedLimits()
    recordings: RecordingOptions = RecordingOptions()

    @property
    def uses(self) -> list[FileUse]:
        return [*self.limits.uses, *self.recordings.uses]

    @property
    def stdin_claims(self) -> list[tuple[str, str]]:
        """Each of these options that reads a file, with its name: see ServerOptions.stdin_claims."""
        return [("--replay", self.recordings.replay or "")]


class RunLimits(NamedTuple):
    """The speed of a run, and its stop rules."""

    jobs: Jobs = Jobs()
    shared: SharedLimits = SharedLimits()
    max_pause_s: float = 600.0
    grace_s: float = 20.0
    halt: HaltRule | None = None
    max_total_tokens: int | None = None
    max_cost: float | None = None
    prices: str | None = None


class ReportOptions(NamedTuple):
    """The order of results, and the reports about a run."""

    keep_order: bool = False
    window: int | None = None
    errors: str | None = None
    report: str | None = None
    progress: str | None = None
    dry_run: bool = False


class RunOptions(NamedTuple):
    """Everything about a run but its input and its requests."""

    retry: RetryPolicy = RetryPolicy()
    limits: RunLimits = RunLimits()
    resume: ResumeOptions = ResumeOptions()
    results: FormatOptions = FormatOptions()
    report: ReportOptions = ReportOptions()
    recordings: RecordingOptions = RecordingOptions()
    engine: EngineOptions = EngineOptions()

    @property
    def stdin_claims(self) -> list[tuple[str, str]]:
        """Each of these options that reads a file, with its name: see ServerOptions.stdin_claims."""
        return [
            ("--prices", self.limits.prices or ""),
            *(("--reuse", path) for path in self.resume.reuse),
            ("--replay", self.recordings.replay or ""),
        ]
