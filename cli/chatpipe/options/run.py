"""What the user asks of a run, as records: light, as `--help` imports them too."""

from __future__ import annotations

from typing import NamedTuple

# What `--resend` takes: outcomes that were paid for and may be unwelcome.
RESENDABLE = ("truncated", "refused", "empty", "mismatch", "tool-calls")
# What `map --to` writes; it reads these, and lines.
ROW_FORMATS = ("jsonl", "csv", "tsv")


class Jobs(NamedTuple):
    """How many requests are in flight; with auto, limit is the most there may be."""

    limit: int = 16
    auto: bool = False


class Halt(NamedTuple):
    """`--halt WHEN,fail=N` or `fail=N%`: now lets go of what is in flight, soon waits for it."""

    now: bool
    failures: int | None = None
    percent: float | None = None


class Feeding(NamedTuple):
    """Which lines are taken, and how they are read."""

    plain: bool = False
    limit: int | None = None
    shard: tuple[int, int] | None = None
    override: bool = False
    dedupe: bool = False


class Carrying(NamedTuple):
    """Rows of `map`: how they come and go, and what is put beside them.

    source and target are names of ROW_FORMATS; columns those of --fields.
    """

    source: str = "jsonl"
    target: str = "jsonl"
    columns: tuple[str, ...] | None = None
    into: str = "answer"
    error_into: str | None = None
    usage_into: str | None = None
    image_field: str | None = None
    image_root: str | None = None
    template_file: str | None = None

    @property
    def reason_field(self) -> str:
        """The field for why a row of JSON failed; in others it is there with --error-into only."""
        return self.error_into or f"{self.into}_error"


class Resuming(NamedTuple):
    """Where answers may be that were paid for already."""

    journal: str | None = None
    keep_journal: bool | None = None
    reuse: tuple[str, ...] = ()
    match: str = "body"
    resend: frozenset[str] = frozenset()
    any_server: bool = False
    fresh: bool = False
    no_send: bool = False


class Pacing(NamedTuple):
    """How fast, and when to stop."""

    jobs: Jobs = Jobs()
    rpm: float | None = None
    tpm: float | None = None
    pace_file: str | None = None
    pace_jobs: int | None = None
    max_pause_s: float = 600.0
    grace_s: float = 20.0
    halt: Halt | None = None
    max_total_tokens: int | None = None
    max_cost: float | None = None
    prices: str | None = None


class Showing(NamedTuple):
    """What is told of a run, and where."""

    keep_order: bool = False
    window: int | None = None
    errors: str | None = None
    report: str | None = None
    progress: str | None = None
    dry_run: bool = False
