"""The options of `serve` -> the source that answers in place of the model: see answer_source.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from chatpipe.options.recordings import RecordingOptions
from chatpipe.options.serve import ServeOptions
from chatpipe.recordings.recording_index import RecordingIndex
from chatpipe.recordings.recording_writer import RecordingWriter
from chatpipe.recordings.try_counter import TryCounter
from chatpipe.serve.answer_source import AnswerSource
from chatpipe.serve.exchange_recorder import ExchangeRecorder
from chatpipe.serve.replayed_reply import Replay
from chatpipe.serve.request_log import STDOUT_USE
from chatpipe.serve.upstream import open_upstream
from chatpipe.system.console import Console
from chatpipe.system.file_uses import refuse_shared_files
from chatpipe.system.lock import LockPatience
from chatpipe.system.same_file import identify

_LOCK_S = 10.0  # the server stands still while it waits


def open_source(
    options: ServeOptions,
    environ: Mapping[str, str],
    console: Console,
    fail: Callable[[BaseException], None],
) -> AnswerSource:
    """Open the recordings and the other server that the options name. fail gets what ends the server.

    Raises UsageFault, MissingInput, BadInput, CannotWrite and BadConfiguration.
    """
    refuse_shared_files([STDOUT_USE, *options.uses])
    counter = TryCounter()

    def warn(text: str) -> None:
        console.warn_once([text])

    upstream = None
    if options.upstream is not None:
        upstream = open_upstream(options.upstream, environ, console.note, allow_http=options.allow_http)
    recorder = None
    if options.recordings.record is not None:
        writer = RecordingWriter(options.recordings.record, LockPatience(console.note, _LOCK_S))
        recorder = ExchangeRecorder(writer, counter, warn, fail)
    replay = None
    if options.recordings.replay is not None:
        # After the writer, which makes the file if it is the same one.
        is_same = recorder is not None and _is_one_file(options.recordings)
        index = RecordingIndex(
            options.recordings.replay,
            loose=options.recordings.match == "loose",
            grows=is_same,
            note=console.warning,
        )
        if upstream is None:
            index.refuse_empty("record some with --record FILE --upstream URL")
        copies = recorder is not None and not is_same
        ended = recorder.end if copies and recorder is not None else counter.end
        replay = Replay(index, options.replay_speed, ended)
    return AnswerSource(counter, replay, upstream, recorder, warn)


def _is_one_file(options: RecordingOptions) -> bool:
    return identify(options.replay or "") == identify(options.record or "")
