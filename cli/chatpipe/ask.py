"""One call of `ask`: from the draft of a request to the written answer, with its turns and its transcript."""

from __future__ import annotations

from chatpipe.call import Call
from chatpipe.conversation import transcript
from chatpipe.conversation.history import answer_message, new_messages
from chatpipe.options.output import FormatOptions, OutputOptions
from chatpipe.options.run import CallOptions
from chatpipe.options.server import KeyWaits
from chatpipe.output.delivery import finish_output
from chatpipe.output.formats import choose_format, decide_stream
from chatpipe.output.target import open_target, refuse_shared
from chatpipe.prepare import Draft, Prepared
from chatpipe.server.server import open_servers


def answer(draft: Draft, call: CallOptions, format: FormatOptions, output: OutputOptions) -> int:
    """Send the request of a draft, write the answer, and append both to the transcript. The exit status.

    The transcript is locked from reading to appending. Raises the fault that the call ends in.
    """
    prompt, console = draft.options.prompt, draft.console
    reads = draft.options.reads(draft.sources.files)
    refuse_shared(output, reads, [*prompt.uses, *call.limits.uses])
    deadline_s = draft.options.server.limits.deadline_s
    with transcript.open_transcript(prompt.transcript, console.note, deadline_s) as history:
        past = None if history is None else history.messages()

        def choose_stream(prepared: Prepared) -> None:
            nonlocal format
            format = choose_format(format, output, prepared.body)
            decide_stream(prepared.body, format, prepared.built.place("/stream"))

        prepared = draft.prepare(past, finish=choose_stream)
        waits = KeyWaits(console.note)
        servers = open_servers(prepared.endpoints, draft.options.server, draft.environ, waits)
        sending = Call(servers, call, prepared.turns, format, console, draft.environ)
        with open_target(output, draft.sources.names, escape=format.escape, is_only_copy=True) as out:
            result = sending.run(prepared.body, out)
            if history is None or not result.is_worth_keeping:
                return finish_output(out, result.fault)
            new = new_messages(prepared.built, is_new_transcript=not past)
            with history.appended([*new, *result.steps, answer_message(result.answer.completion)]):
                return finish_output(out, result.fault)
