"""Options -> a request that is ready to be sent: the one sequence of stages, for every command.

    options -> server, stdin, files -> schema checked        draft()
            -> transcript -> body -> one choice?             Draft.prepare()
            -> checked                                       Draft.check()
            -> body -> one choice?                           Draft.defaults()

A draft is made without the lock of a transcript: stdin may be slow, and what it waits for may need
the same transcript. A run has no transcript, and checks each of its lines by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from chatpipe.conversation import history, transcript
from chatpipe.conversation.turns import TurnOptions
from chatpipe.inputs.messages import LocatedValue
from chatpipe.inputs.sources import Sources, process_sources, stdin_owner
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.output import ConsoleOptions
from chatpipe.options.request import RequestOptions
from chatpipe.request.build import BuiltRequest, RequestParts, build
from chatpipe.request.gather import add_transcript, gather_defaults, gather_request
from chatpipe.request.response_format import refuse_several_choices
from chatpipe.schema.refuse import refuse, refuse_defaults, refuse_schema
from chatpipe.server.call_servers import find_servers, stdin_claims
from chatpipe.server.endpoints import Endpoint
from chatpipe.system.console import Console


class Prepared(NamedTuple):
    """A request that is ready to be sent, or the part of it that all lines of a run share.

    built knows the place of every value of the body. endpoints are the servers, still without keys.
    """

    built: BuiltRequest
    endpoints: tuple[Endpoint, ...]
    turns: TurnOptions

    @property
    def endpoint(self) -> Endpoint:
        """The first server."""
        return self.endpoints[0]

    @property
    def body(self) -> dict[str, Any]:
        return self.built.body


class Draft(NamedTuple):
    """A request whose options have been resolved and whose files, but for a transcript, have been read."""

    options: RequestOptions
    endpoints: tuple[Endpoint, ...]
    parts: RequestParts
    sources: Sources
    console: Console
    environ: Mapping[str, str]

    def read_transcript(self) -> Sequence[LocatedValue] | None:
        """Read the transcript without keeping its lock; None if there is none. It becomes an input."""
        path = self.options.prompt.transcript
        past = transcript.read_messages(path, self.console.note)
        if past and path is not None:
            self.sources.add(path, "--transcript")
        return past

    def prepare(self, past: Sequence[LocatedValue] | None = None) -> Prepared:
        """Build the body after the messages of a transcript; past is None without one.

        It is not checked yet: see check(). Raises UsageFault, BadInput.
        """
        built = build(add_transcript(self.parts, self.options.prompt, past))
        if past is not None:
            history.refuse_unstorable(built)
        refuse_several_choices(built.body, self.options.schema)
        return self._prepared(built)

    def check(self, prepared: Prepared, *, needs_model: bool = True) -> None:
        """Check the body. Warnings go to the console.

        needs_model is False for a body that gets its model later. Raises BadInput for its errors.
        """
        check = self.options.check
        if not check.off:
            self.console.warnings(refuse(prepared.built, strict=check.strict, without_model=not needs_model))

    def defaults(self, *, lines_have_fields: bool) -> Prepared:
        """Build and check the body that lines of a run are merged with.

        lines_have_fields: a line may have any field, and not only text for the messages.
        Raises UsageFault, BadInput.
        """
        built = build(self.parts)
        refuse_several_choices(built.body, self.options.schema)
        if not self.options.check.off:
            strict = self.options.check.strict
            refuse_defaults(built, self.endpoints[0].model, strict=strict, is_whole=not lines_have_fields)
        return self._prepared(built)

    def _prepared(self, built: BuiltRequest) -> Prepared:
        turns = TurnOptions(self.options.tools, self.parts.response_format, self.options.schema.reask)
        return Prepared(built, self.endpoints, turns)


def draft(
    options: RequestOptions,
    console_options: ConsoleOptions,
    environ: Mapping[str, str],
    input_file: str | None = None,
    others: Iterable[tuple[str, str]] = (),
) -> Draft:
    """Resolve the server, give stdin to its owner, read every file that is named, and check the schema.

    input_file is the input of a run, None for a single request. others are options of the
    command with files that are no part of the request. If one is stdin, it is neither a prompt nor an input.

    Raises UsageFault, BadConfiguration, BadInput, MissingInput. The warnings about the schema go to the
    console.
    """
    console = Console(console_options)
    server = options.server
    owner = stdin_owner([*stdin_claims(server, environ), *others])
    sources = process_sources(console.note, console.note_wait, owner)
    servers = find_servers(server, environ, console.note)
    if input_file is None:
        read = partial(transcript.read_messages, options.prompt.transcript, console.note)
        parts = gather_request(options, sources, servers[0].model, read)
    else:
        parts = gather_defaults(options, sources, input_file)
    console.warnings(refuse_schema(parts.response_format, options.check))
    return Draft(options, servers, parts, sources, console, environ)
