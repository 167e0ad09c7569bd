"""What the user asks of a run, as records: light, as `--help` imports them too."""

from __future__ import annotations

from typing import NamedTuple


class Jobs(NamedTuple):
    """How many requests are in flight; with auto, limit is the most there may be."""

    limit: int = 16
    auto: bool = False


class HaltRule(NamedTuple):
    """`--halt WHEN,fail=N` or `fail=N%`: now lets go of what is in flight, soon waits for it."""

    now: bool
    failures: int | None = None
    percent: float | None = None


class InputOptions(NamedTuple):
    """Which lines are taken, and how they are read."""

    plain: bool = False
    limit: int | None = None
    shard: tuple[int, int] | None = None
    override: bool = False
    dedupe: bool = False


class ResumeOptions(NamedTuple):
    """Where answers may be that were paid for already."""

    journal: str | None = None
    keep_journal: bool | None = None
    reuse: tuple[str, ...] = ()
    match: str = "body"
    resend: frozenset[str] = frozenset()
    any_server: bool = False
    fresh: bool = False
    no_send: bool = False


class RunLimits(NamedTuple):
    """How fast, and when to stop."""

    jobs: Jobs = Jobs()
    rpm: float | None = None
    tpm: float | None = None
    pace_file: str | None = None
    pace_jobs: int | None = None
    max_pause_s: float = 600.0
    grace_s: float = 20.0
    halt: HaltRule | None = None
    max_total_tokens: int | None = None
    max_cost: float | None = None
    prices: str | None = None


class ReportOptions(NamedTuple):
    """What is told of a run, and where."""

    keep_order: bool = False
    window: int | None = None
    errors: str | None = None
    report: str | None = None
    progress: str | None = None
    dry_run: bool = False


class SharedLimits(NamedTuple):
    """`--pace-file` and what holds in it: requests and tokens a minute, and the number in flight."""

    rpm: float | None = None
    tpm: float | None = None
    pace_file: str | None = None
    pace_jobs: int | None = None
