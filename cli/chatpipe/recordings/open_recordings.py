"""The recordings of a call or a run, open for its length."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

from chatpipe.options.recordings import RecordingOptions
from chatpipe.recordings.recorded_attempts import Recordings
from chatpipe.recordings.recorded_transport import recorded
from chatpipe.recordings.recording_index import RecordingIndex
from chatpipe.recordings.recording_writer import RecordingWriter
from chatpipe.server.server import Server
from chatpipe.system.lock import LockPatience
from chatpipe.system.same_file import identify


@contextmanager
def open_recordings(
    options: RecordingOptions,
    servers: Sequence[Server],
    note: Callable[[str], None],
    deadline_s: float | None,
) -> Iterator[tuple[Server, ...]]:
    """The servers with the files of --record and --replay around them.

    With one file for both, what is recorded is used, and what is not, or has failed, is added. With two, all
    exchanges are recorded. Raises MissingInput, BadInput and CannotWrite, and at the end the reason why
    something was not recorded.
    """
    is_same = options.replay is not None and options.record is not None
    is_same = is_same and identify(options.replay or "") == identify(options.record or "")
    with ExitStack() as stack:
        index = None if is_same else _open_index(options, note)
        writer = None
        if options.record is not None:
            writer = RecordingWriter(options.record, LockPatience(note, deadline_s))
            stack.callback(writer.close)
        if is_same:
            index = _open_index(options, note, grows=True)  # now that the file is there
        if index is not None:
            stack.callback(index.close)
        recordings = Recordings(index, writer, copies=not is_same)
        try:
            yield tuple(_recorded_server(server, recordings) for server in servers)
        except BaseException as error:
            if writer is not None and writer.failure not in (None, error):  # error itself is reported later
                note(str(writer.failure))
            raise
        if writer is not None:
            writer.check()


def _recorded_server(server: Server, recordings: Recordings) -> Server:
    """The server with recordings around its transport, which may have something around it already."""
    if (inner := server.around) is None:
        return server._replace(around=partial(recorded, recordings))
    return server._replace(around=lambda open_below: recorded(recordings, lambda: inner(open_below)))


def _open_index(
    options: RecordingOptions, note: Callable[[str], None], *, grows: bool = False
) -> RecordingIndex | None:
    if options.replay is None:
        return None
    return RecordingIndex(options.replay, loose=options.match == "loose", grows=grows, note=note)
