"""Limits that several processes share, for every command that sends requests."""

from __future__ import annotations

from typing import Any

from chatpipe.errors import UsageFault
from chatpipe.flags import recordings, retries
from chatpipe.flags.option_groups import bundle, option_group, under
from chatpipe.flags.types import FILE, Above0, Count
from chatpipe.options.run import CallOptions, SharedLimits

option = under("Pace and retries")

ABOVE_ZERO = Above0()
_SHARE = "add --pace-file FILE, through which processes share it"

shared = [
    option("--rpm", type=ABOVE_ZERO, daily=("batch", "map"), help="Send at most N requests per minute"),
    option("--tpm", type=ABOVE_ZERO, help="Use at most N tokens per minute"),
    option("--pace-file", type=FILE, help="Share these limits with other processes through FILE"),
    option(
        "--pace-jobs", type=Count(1), help="Keep at most N requests in flight in all these processes together"
    ),
]


def refuse_unshared(pace_file: str | None, pace_jobs: int | None) -> None:
    """Raise UsageFault for `--pace-jobs` without the file that shares it, and for stdin in its place."""
    if pace_file == "-":
        raise UsageFault(
            "stdin cannot be shared with other processes", place="--pace-file", fix="name a file"
        )
    if pace_jobs is not None and pace_file is None:
        raise UsageFault("it is a limit of several processes", place="--pace-jobs", fix=_SHARE)


def _read(**values: Any) -> SharedLimits:
    """Make the record. Raises UsageFault for a limit without `--pace-file`: one request needs none."""
    sharing = SharedLimits(**values)
    refuse_unshared(sharing.pace_file, sharing.pace_jobs)
    for option, value in (("--rpm", sharing.rpm), ("--tpm", sharing.tpm)):
        if value is not None and sharing.pace_file is None:
            raise UsageFault("one request alone needs no limit", place=option, fix=_SHARE)
    return sharing


_shared = option_group("limits", shared, _read)

options = bundle(
    "call", CallOptions, {"retry": retries.options, "limits": _shared, "recordings": recordings.options}
)
