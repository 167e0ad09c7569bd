"""Options of recorded exchanges: `--record`, `--replay`, `--replay-match`."""

from __future__ import annotations

from typing import get_args

from chatpipe.errors import UsageFault
from chatpipe.flags.option_groups import Decorator, option_group, under
from chatpipe.flags.types import FILE, OneOf
from chatpipe.options.recordings import MatchRule, RecordingOptions

option = under("Recordings")


def _read(record: str | None, replay: str | None, replay_match: MatchRule | None) -> RecordingOptions:
    for option, name in (("--record", record), ("--replay", replay)):
        if name == "-":
            raise UsageFault("neither stdin nor stdout can hold recordings", place=option, fix="name a file")
    if replay_match is not None and replay is None:
        raise UsageFault("nothing to compare with", place="--replay-match", fix="add --replay FILE")
    return RecordingOptions(record, replay, replay_match or "exact")


def _group(record_help: str, replay_help: str) -> Decorator:
    return option_group(
        "recordings",
        [
            option("--record", type=FILE, help=record_help),
            option("--replay", type=FILE, help=replay_help),
            option(
                "--replay-match",
                type=OneOf(get_args(MatchRule)),
                default_text="exact",
                help="Compare requests exactly, or ignore fields such as seed and metadata",
            ),
        ],
        _read,
    )


options = _group(
    "Append each request and its reply to FILE", "Answer from the recordings in FILE, and send nothing"
)
server_options = _group(
    "Append each reply of --upstream to FILE", "Answer from the recordings in FILE; ask --upstream for others"
)
