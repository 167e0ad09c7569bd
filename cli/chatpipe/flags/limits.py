"""Limits that several processes share, for every command that sends requests."""

from __future__ import annotations

from typing import Any

import click

from chatpipe.errors import UsageFault
from chatpipe.flags import recordings, retries
from chatpipe.flags.types import FILE, Above0, Count, bundle, option_group
from chatpipe.options.run import CallOptions, SharedLimits

ABOVE_ZERO = Above0()

shared = [
    click.option("--rpm", metavar="N", type=ABOVE_ZERO, help="At most N requests a minute"),
    click.option("--tpm", metavar="N", type=ABOVE_ZERO, help="At most N tokens a minute"),
    click.option("--pace-file", metavar="FILE", type=FILE, help="Share the limits with other processes"),
    click.option("--pace-jobs", metavar="N", type=Count(1), help="Requests in flight in all of them"),
]


def refuse_alone(pace_file: str | None, pace_jobs: int | None) -> None:
    """Raise UsageFault for `--pace-jobs` without the file that shares it."""
    if pace_jobs is not None and pace_file is None:
        raise UsageFault("nothing to share the number in", place="--pace-jobs", fix="add --pace-file FILE")


def _read(**values: Any) -> SharedLimits:
    """Make the record. Raises UsageFault for a limit without `--pace-file`: one request needs none."""
    sharing = SharedLimits(**values)
    refuse_alone(sharing.pace_file, sharing.pace_jobs)
    for option, value in (("--rpm", sharing.rpm), ("--tpm", sharing.tpm)):
        if value is not None and sharing.pace_file is None:
            raise UsageFault("one request alone needs no limit", place=option, fix="add --pace-file FILE")
    return sharing


_shared = option_group("limits", shared, _read)

options = bundle(
    "call", CallOptions, {"retry": retries.options, "limits": _shared, "recordings": recordings.options}
)
