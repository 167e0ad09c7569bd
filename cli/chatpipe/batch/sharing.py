"""The limits that processes share, as the command line of one of them gives them: light, for `--help`."""

from typing import NamedTuple


class Sharing(NamedTuple):
    """`--pace-file` and what holds in it: requests and tokens a minute, and the number in flight."""

    rpm: float | None = None
    tpm: float | None = None
    pace_file: str | None = None
    pace_jobs: int | None = None
