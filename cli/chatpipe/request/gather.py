"""Options of the command line -> the parts of a request: reads the files and assigns stdin to its owner."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from chatpipe.errors import BadInput, UsageFault
from chatpipe.inputs import messages
from chatpipe.inputs.messages import LocatedValue
from chatpipe.inputs.place import Source
from chatpipe.inputs.sources import Sources, stdin_owner
from chatpipe.inputs.stdin import STDIN, STDIN_NAME, StdinKind
from chatpipe.inputs.values import Value, json_type
from chatpipe.options.parameters import FILE_KINDS, Parameter, Parameters
from chatpipe.options.prompt import PromptOptions, RoleOption, blankness, utf8_argument
from chatpipe.options.request import RequestOptions
from chatpipe.request import response_format
from chatpipe.request.build import HEAD_ROLES, RequestParts, TypedPart

_HEAD_OPTIONS = ("--system", "--system-file", "--developer", "--developer-file")
# An answer and the result of a tool may have no text, an instruction or a question without one is a mistake.
_TEXT_OPTIONS = (*_HEAD_OPTIONS, "--user", "--user-file")


def gather_request(
    options: RequestOptions,
    sources: Sources,
    default_model: str | None,
    transcript: Callable[[], Sequence[LocatedValue] | None] = tuple,
) -> RequestParts:
    """Read all inputs except the transcript. Raises UsageFault, BadInput, MissingInput.

    Two owners of stdin are reported before anything is read.

    The transcript must not be locked while stdin is read, because the piped data may come from a call that
    continues the same transcript. add_transcript() therefore adds it later. transcript() reads it without
    keeping the lock, and is called only if nothing else makes a prompt unnecessary.
    """
    owner = stdin_owner(_claims(options, sources))
    parts = _read_files(options, sources, default_model)

    def rest_needs_answer() -> bool:
        return _sets_messages(options.parameters) or _needs_answer(transcript())

    return parts._replace(prompt=_prompt(options.prompt, owner, sources, rest_needs_answer))


def add_transcript(
    parts: RequestParts, prompt: PromptOptions, transcript: Sequence[LocatedValue] | None
) -> RequestParts:
    """Add the messages of a transcript to the gathered parts. transcript is None if there is none.

    A prompt that the transcript ends with was asked before, by a call that was killed while it stored the
    answer. It is asked and stored once.

    Raises UsageFault if nothing is left to answer, because another call has answered in the meantime.
    """
    has_prompt = transcript is None or parts.prompt is not None or _sets_messages(parts.parameters)
    if not has_prompt and not _has_something_to_answer(prompt, lambda: _needs_answer(transcript)):
        raise UsageFault("no prompt, and nothing in the transcript that waits for an answer")
    if transcript and _is_last(parts, transcript[-1].value):
        parts = parts._replace(prompt=None)
    return parts._replace(transcript=transcript)


def _is_last(parts: RequestParts, message: Value) -> bool:
    """Return True if the prompt is this message, and nothing else comes after the transcript."""
    is_alone = not parts.content_parts and all(
        each.value["role"] in HEAD_ROLES for each in parts.typed_messages
    )
    return is_alone and message == {"role": "user", "content": parts.prompt}


def gather_defaults(options: RequestOptions, sources: Sources, input_file: str) -> RequestParts:
    """Like gather_request, for the defaults of a run: no prompt, and the input may be stdin."""
    stdin_owner([*_claims(options, sources), ("FILE", input_file)])
    return _read_files(options, sources, None)


def _read_files(options: RequestOptions, sources: Sources, default_model: str | None) -> RequestParts:
    prompt, parameters = options.prompt, options.parameters
    response_format.refuse_format_conflicts(options.schema, parameters)
    request = (
        messages.parse_request(sources.read(prompt.request, "--request"))
        if prompt.request is not None
        else None
    )
    history = (
        messages.parse_messages(sources.read(prompt.messages, "--messages"))
        if prompt.messages is not None
        else []
    )
    typed_messages = [_typed_message(option, sources) for option in prompt.role_options]
    content_parts = _content_parts(prompt, sources) if prompt.attachments else []
    parameters = parameters._replace(
        values=tuple((each, _load(each, value, sources)) for each, value in parameters.values)
    )
    answer_form = response_format.read(options.schema, sources)
    return RequestParts(
        request,
        history,
        typed_messages,
        None,
        content_parts,
        parameters,
        default_model,
        response_format=answer_form,
    )


def _content_parts(prompt: PromptOptions, sources: Sources) -> list[TypedPart]:
    from chatpipe.request import media  # few requests have attachments

    return [
        TypedPart(media.content_part(each, prompt.image_detail, sources), each.option)
        for each in prompt.attachments
    ]


def _claims(options: RequestOptions, sources: Sources) -> Iterator[tuple[str, str]]:
    """Yield each option that takes a file, with its value, which may make it the owner of stdin."""
    prompt = options.prompt
    if sources.stdin_owner is not None:
        yield sources.stdin_owner, STDIN
    yield "--request", prompt.request or ""
    yield "--messages", prompt.messages or ""
    yield from ((typed.option, typed.value) for typed in prompt.role_options if typed.is_file)
    yield from ((each.option, each.value) for each in prompt.attachments if each.kind != "file-id")
    for parameter, value in options.parameters.values:
        if parameter.kind in FILE_KINDS:
            names = [value] if isinstance(value, str) else value
            yield from ((f"--{parameter.option}", name) for name in names)
    yield "--schema", options.schema.file or ""
    yield from (("the operand '-'", word) for word in prompt.words if word == STDIN)


def _typed_message(typed: RoleOption, sources: Sources) -> TypedPart:
    text = (
        sources.text(typed.value, typed.option) if typed.is_file else utf8_argument(typed.value, typed.option)
    )
    if (blank := blankness(text)) and typed.option in _TEXT_OPTIONS:
        what = f"'{typed.value}' is {blank}" if typed.is_file else f"the text is {blank}"
        raise BadInput(what, place=typed.option, fix="leave it out")
    message: dict[str, Value] = {"role": typed.role, "content": text}
    if typed.tool_call_id is not None:
        message["tool_call_id"] = typed.tool_call_id
    return TypedPart(message, typed.option)


def _load(parameter: Parameter, value: Value, sources: Sources) -> Value:
    """The value for the body. Only options that name files still have something to read."""
    option = f"--{parameter.option}"
    if parameter.kind == "tool files":
        return [tool for name in value for tool in _tools(sources.read(name, option))]
    if parameter.kind == "function files":
        return [function for name in value for function in _definitions(sources.read(name, option))]
    if parameter.kind == "text file":
        text = sources.text(value, option)
        if not text:  # a prediction may be white space
            raise BadInput(f"'{value}' is empty", place=option, fix="leave it out")
        return {"type": "content", "content": text}
    return value


def _tools(source: Source) -> list[Value]:
    """The tools of a file. The definition of a function or a custom tool alone is wrapped as in the API."""
    tools = []
    for each in _definitions(source):
        # only a custom tool has a format of its input
        kind = "custom" if "format" in each and "parameters" not in each else "function"
        tools.append(each if "type" in each else {"type": kind, kind: each})
    return tools


def _definitions(source: Source) -> list[dict[str, Value]]:
    """The definitions in a file, which holds one or an array of them. Raises BadInput."""
    found = messages.parse_document(source)
    items = found.value if isinstance(found.value, list) else [found.value]
    for index, item in enumerate(items):
        if not isinstance(item, dict) or not ("name" in item or "type" in item):
            pointer = f"/{index}" if isinstance(found.value, list) else ""
            lack = " without 'name' or 'type'" if isinstance(item, dict) else ""
            raise BadInput(
                f"not a tool: {json_type(item)}{lack}",
                place=LocatedValue(item, source, pointer).place(),
                fix='a tool is {"type": "function", "function": {"name": ...}}, or the function alone',
            )
    return items


def _prompt(
    prompt: PromptOptions, owner: str | None, sources: Sources, rest_needs_answer: Callable[[], bool]
) -> str | None:
    """PROMPT and stdin joined; None if both are absent.

    Raises BadInput or UsageFault if there is nothing to answer at all.
    """
    before, has_dash, after = _around_stdin(tuple(utf8_argument(word, "PROMPT") for word in prompt.words))
    piped = sources.piped_text() if has_dash else _piped(prompt, owner, sources, rest_needs_answer)
    if prompt.words and not has_dash and blankness(before):  # blank between words of unset variables
        raise BadInput("the prompt is empty", place="PROMPT")
    text = "\n\n".join(part for part in (before, piped, after) if part)
    if text.startswith(("{", "[")) and not (prompt.words or prompt.role_options):
        _note_request(text, sources.stdin.notice)
    if not blankness(text):
        return text
    if not _has_something_to_answer(prompt, rest_needs_answer):
        raise _nothing_to_ask(piped)
    return None


def _nothing_to_ask(piped: str | None) -> BadInput | UsageFault:
    """The fault of a call without a prompt. piped is what came on stdin, None if it was not read."""
    if piped is None:
        return UsageFault("no prompt", fix="give one as an operand or on stdin")
    return BadInput(f"stdin is {blankness(piped)}: there is nothing to ask", place=STDIN_NAME)


def _note_request(text: str, note: Callable[[str], None]) -> None:
    from chatpipe.request.piped_request import meant_option  # few prompts are JSON

    if said := meant_option(text):
        note(said)


def _around_stdin(words: tuple[str, ...]) -> tuple[str, bool, str]:
    """Split the words at the operand `-`: text before it, True if it is present, text after it."""
    if STDIN not in words:
        return " ".join(words), False, ""
    index = words.index(STDIN)
    return " ".join(words[:index]), True, " ".join(words[index + 1 :])


def _piped(
    prompt: PromptOptions, owner: str | None, sources: Sources, rest_needs_answer: Callable[[], bool]
) -> str | None:
    """The text that stdin adds to the prompt without being named; None if stdin is not to be read."""
    stdin = sources.stdin
    kind = stdin.kind()
    if owner is not None or not prompt.read_stdin or kind in (StdinKind.CLOSED, StdinKind.DEVICE):
        return None
    if kind is StdinKind.TERMINAL:
        if prompt.words or _has_something_to_answer(prompt, rest_needs_answer):
            return None
        stdin.notice("type the prompt, then Ctrl-D")
        return sources.piped_text()
    return sources.piped_text("waiting for stdin: --no-stdin leaves it alone")


def _has_something_to_answer(prompt: PromptOptions, rest_needs_answer: Callable[[], bool]) -> bool:
    """True if there is a conversation to answer without a prompt. The check judges the content of files.

    The rest is messages given by `--set`, and a transcript, which usually ends with an answer and then does
    not count.
    """
    if prompt.request is not None or prompt.messages is not None or prompt.attachments:
        return True
    return any(typed.option not in _HEAD_OPTIONS for typed in prompt.role_options) or rest_needs_answer()


def _sets_messages(parameters: Parameters) -> bool:
    """True if `--set` gives messages."""
    return any(edit.path[0] == "messages" and not edit.is_removal for edit in parameters.edits)


def _needs_answer(transcript: Sequence[LocatedValue] | None) -> bool:
    """True if the last message needs an answer: a question, or the result of a tool."""
    if not transcript:
        return False
    role = transcript[-1].value.get("role")
    return role in ("user", "tool", "function")
