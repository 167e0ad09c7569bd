"""What the command line names -> what a request is made of: files read, stdin given to its owner."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from chatpipe.errors import BadInput, UsageFault
from chatpipe.inputs import messages
from chatpipe.inputs.argument import argument
from chatpipe.inputs.messages import Found
from chatpipe.inputs.place import Source
from chatpipe.inputs.sources import STDIN, STDIN_NAME, Sources, one_owner, text_of
from chatpipe.inputs.stdin import Kind as StdinKind
from chatpipe.inputs.values import Value
from chatpipe.request import form
from chatpipe.request.build import Material, Turn
from chatpipe.request.parameters import FILE_KINDS, Kind, Parameter, Parameters
from chatpipe.request.prompt import Prompt, Typed
from chatpipe.request.structure import Structure

_PLAIN = Structure()
_HEAD_OPTIONS = ("--system", "--system-file", "--developer", "--developer-file")


def gather(
    prompt: Prompt,
    parameters: Parameters,
    sources: Sources,
    default_model: str | None,
    structure: Structure = _PLAIN,
    transcript: Callable[[], Sequence[Found] | None] = tuple,
) -> Material:
    """Read everything that is named. Raises UsageFault, BadInput, MissingInput; two owners of stdin first.

    But not the transcript, whose lock must not be held while stdin is waited for: what is piped in
    may come from a call that goes on with the same one. continued() adds it. The callable transcript
    reads it without keeping it, and is called only where it decides whether a prompt is wanted.
    """
    owner = one_owner(_claims(prompt, parameters, structure))
    material = _files(prompt, parameters, sources, default_model, structure)
    return material._replace(
        prompt=_prompt(prompt, owner, sources, lambda: _are_set(parameters) or _waits(transcript()))
    )


def continued(material: Material, prompt: Prompt, transcript: Sequence[Found] | None) -> Material:
    """What was gathered, behind the messages of a transcript; None: there is none.

    Raises UsageFault where nothing is left to answer: since gather() looked, another call may have
    done so.
    """
    has_prompt = transcript is None or material.prompt is not None or _are_set(material.parameters)
    if not has_prompt and not _has_something_to_answer(prompt, lambda: _waits(transcript)):
        raise UsageFault("no prompt, and nothing in the transcript that waits for an answer")
    return material._replace(transcript=transcript)


def gather_defaults(
    prompt: Prompt,
    parameters: Parameters,
    sources: Sources,
    input_file: str,
    structure: Structure = _PLAIN,
) -> Material:
    """The same for every line of a run: no prompt, and stdin belongs to the input when that is `-`."""
    one_owner([*_claims(prompt, parameters, structure), ("FILE", input_file)])
    return _files(prompt, parameters, sources, None, structure)


def _files(
    prompt: Prompt,
    parameters: Parameters,
    sources: Sources,
    default_model: str | None,
    structure: Structure,
) -> Material:
    form.refuse_rivals(structure, parameters)
    request = (
        messages.request(sources.read(prompt.request, "--request")) if prompt.request is not None else None
    )
    history = (
        messages.conversation(sources.read(prompt.messages, "--messages"))
        if prompt.messages is not None
        else []
    )
    turns = [_turn(typed, sources) for typed in prompt.typed]
    parts = _parts(prompt, sources) if prompt.attachments else []
    parameters = parameters._replace(
        given=tuple((each, _loaded(each, value, sources)) for each, value in parameters.given)
    )
    wanted = form.read(structure, sources)
    return Material(request, history, turns, None, parts, parameters, default_model, form=wanted)


def _parts(prompt: Prompt, sources: Sources) -> list[Turn]:
    from chatpipe.request import media  # few requests have any

    return [Turn(media.part(each, prompt.image_detail, sources), each.option) for each in prompt.attachments]


def _claims(prompt: Prompt, parameters: Parameters, structure: Structure) -> Iterator[tuple[str, str]]:
    """Every option that takes a file, with its value: `-` makes it the owner of stdin."""
    yield "--request", prompt.request or ""
    yield "--messages", prompt.messages or ""
    yield from ((typed.option, typed.value) for typed in prompt.typed if typed.is_file)
    yield from ((each.option, each.value) for each in prompt.attachments if each.kind != "file-id")
    for parameter, value in parameters.given:
        if parameter.kind in FILE_KINDS:
            names = [value] if isinstance(value, str) else value
            yield from ((f"--{parameter.option}", name) for name in names)
    yield "--schema", structure.file or ""
    yield from (("the operand '-'", word) for word in prompt.words if word == STDIN)


def _turn(typed: Typed, sources: Sources) -> Turn:
    text = sources.text(typed.value, typed.option) if typed.is_file else argument(typed.value, typed.option)
    message: dict[str, Value] = {"role": typed.role, "content": text}
    if typed.tool_call_id is not None:
        message["tool_call_id"] = typed.tool_call_id
    return Turn(message, typed.option)


def _loaded(parameter: Parameter, value: Value, sources: Sources) -> Value:
    """The value that goes into the body; only those of files are still to be read."""
    option = f"--{parameter.option}"
    if parameter.kind is Kind.TOOL_FILES:
        return [tool for name in value for tool in _tools(sources.read(name, option))]
    if parameter.kind is Kind.FUNCTION_FILES:
        return [function for name in value for function in _items(sources.read(name, option))]
    if parameter.kind is Kind.TEXT_FILE:
        return {"type": "content", "content": sources.text(value, option)}
    return value


def _tools(source: Source) -> list[Value]:
    """The tools of a file; a bare function definition is wrapped as the API wants it."""
    return [{"type": "function", "function": each} if "type" not in each else each for each in _items(source)]


def _items(source: Source) -> list[dict[str, Value]]:
    """The definitions of a file that holds one or an array of them. Raises BadInput."""
    found = messages.document(source)
    items = found.value if isinstance(found.value, list) else [found.value]
    for index, item in enumerate(items):
        if not isinstance(item, dict) or not ("name" in item or "type" in item):
            pointer = f"/{index}" if isinstance(found.value, list) else ""
            raise BadInput(
                f"not a tool: {messages.kind(item)} without 'name' or 'type'"
                if isinstance(item, dict)
                else f"not a tool: {messages.kind(item)}",
                place=Found(item, source, pointer).place(),
                fix='a tool is {"type": "function", "function": {"name": ...}}, or the function alone',
            )
    return items


def _prompt(prompt: Prompt, owner: str | None, sources: Sources, waits: Callable[[], bool]) -> str | None:
    """PROMPT and stdin joined, None when there is neither. Raises where there is nothing to ask at all."""
    before, here, after = _around_stdin(tuple(argument(word, "PROMPT") for word in prompt.words))
    piped = (
        text_of(Source(STDIN_NAME, sources.stdin.read())) if here else _piped(prompt, owner, sources, waits)
    )
    if prompt.words and not here and not before:
        raise BadInput("the prompt is empty", place="PROMPT")
    text = "\n\n".join(part for part in (before, piped, after) if part)
    if text:
        return text
    if not _has_something_to_answer(prompt, waits):
        if piped is not None:
            raise BadInput("stdin is empty: there is nothing to ask", place=STDIN_NAME)
        raise UsageFault("no prompt", fix="give one as an operand or on stdin")
    return None


def _around_stdin(words: tuple[str, ...]) -> tuple[str, bool, str]:
    """The words before and after the operand `-`, and whether it is there."""
    if STDIN not in words:
        return " ".join(words), False, ""
    index = words.index(STDIN)
    return " ".join(words[:index]), True, " ".join(words[index + 1 :])


def _piped(prompt: Prompt, owner: str | None, sources: Sources, waits: Callable[[], bool]) -> str | None:
    """What stdin adds to the prompt though nobody asked for it; None when it is not to be read."""
    stdin = sources.stdin
    kind = stdin.kind()
    if owner is not None or not prompt.read_stdin or kind in (StdinKind.CLOSED, StdinKind.DEVICE):
        return None
    if kind is StdinKind.TERMINAL:
        if prompt.words or _has_something_to_answer(prompt, waits):
            return None
        stdin.notice("type the prompt, then Ctrl-D")
        return text_of(Source(STDIN_NAME, stdin.read()))
    return text_of(Source(STDIN_NAME, stdin.read("waiting for stdin: --no-stdin leaves it alone")))


def _has_something_to_answer(prompt: Prompt, waits: Callable[[], bool]) -> bool:
    """Whether there is a conversation without a prompt. What is in files is for the check to judge.

    waits tells whether that of a transcript is one, which mostly ends with an answer, or one is set.
    """
    if prompt.request is not None or prompt.messages is not None or prompt.attachments:
        return True
    return any(typed.option not in _HEAD_OPTIONS for typed in prompt.typed) or waits()


def _are_set(parameters: Parameters) -> bool:
    """Whether `--set` gives messages."""
    return any(edit.path[0] == "messages" and not edit.remove for edit in parameters.edits)


def _waits(transcript: Sequence[Found] | None) -> bool:
    """Whether the last message is one to answer: a question, or the result of a tool."""
    if not transcript:
        return False
    role = transcript[-1].value.get("role")
    return role in ("user", "tool", "function")
