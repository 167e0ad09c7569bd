"""One call of `ask`: from the draft of a request to the written answer, with its turns and its transcript."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from chatpipe.call import Call
from chatpipe.conversation import transcript
from chatpipe.conversation.history import history_answer, new_messages
from chatpipe.options.output import FormatOptions, OutputOptions
from chatpipe.options.run import CallOptions
from chatpipe.options.server import KeyWaits
from chatpipe.output.delivery import finish_output
from chatpipe.output.formats import choose_format, decide_stream
from chatpipe.output.target import open_target, refuse_shared
from chatpipe.prepare import Draft, Prepared
from chatpipe.server.server import Server, open_servers, unasked_servers


def answer(draft: Draft, call: CallOptions, format: FormatOptions, output: OutputOptions) -> int:
    """Send the request of a draft, write the answer, and append both to the transcript. The exit status.

    The transcript is locked from reading to appending. Raises the fault that the call ends in.
    """
    prompt, console = draft.options.prompt, draft.console
    reads = draft.options.reads(draft.sources.files)
    refuse_shared(output, reads, [*prompt.uses, *call.uses])
    deadline_s = draft.options.server.limits.deadline_s
    with transcript.open_transcript(prompt.transcript, console.note, deadline_s) as history:
        past = None if history is None else history.messages()
        prepared = draft.prepare(past)
        format = choose_format(format, output, prepared.body)
        decide_stream(prepared.body, format, prepared.built.place("/stream"))
        draft.check(prepared)
        new = []
        if history is not None:
            new = new_messages(prepared.built, is_new_transcript=not past)
            history.reserve(new)
        with (
            _open_servers(prepared, draft, call) as servers,
            open_target(output, draft.sources.names, escape=format.escape, is_only_copy=True) as out,
        ):
            sending = Call(servers, call, prepared.turns, format, console, draft.environ)
            result = sending.run(prepared.body, out)
            if history is None or not result.is_worth_keeping:
                return finish_output(out, result.fault)
            with history.appended([*new, *result.steps, history_answer(result.answer.completion)]):
                return finish_output(out, result.fault)


@contextmanager
def _open_servers(prepared: Prepared, draft: Draft, call: CallOptions) -> Iterator[tuple[Server, ...]]:
    """The servers with their keys. Recorded replies need none."""
    options, note = draft.options.server, draft.console.note
    if call.recordings.is_offline:
        servers = unasked_servers(prepared.endpoints, options)
    else:
        servers = open_servers(prepared.endpoints, options, draft.environ, KeyWaits(note))
    if not call.recordings.are_used:
        yield servers
        return
    from chatpipe.recordings.open_recordings import open_recordings  # few calls are recorded

    with open_recordings(call.recordings, servers, note, options.limits.deadline_s) as recorded:
        yield recorded
