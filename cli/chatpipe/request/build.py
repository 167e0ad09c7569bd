"""The parts of a request -> one request body that records where each part came from.

The contract fixes the order of messages: those of the request file, of `--messages` and of the
transcript, then the role options as typed, then the prompt. Nothing is added that was not asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from chatpipe.errors import BadInput
from chatpipe.inputs.messages import LocatedValue, without_empty_calls
from chatpipe.inputs.place import pointer_of, pointer_steps
from chatpipe.inputs.values import Value, as_list, json_type
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.parameters import COMPANIONS, Parameters
from chatpipe.request import edits
from chatpipe.request.response_format import ResponseFormat

HEAD_ROLES = ("system", "developer")


class TypedPart(NamedTuple):
    """One message or content part from the command line. option gave it, and is the place of its errors."""

    value: Mapping[str, Value]
    option: str


class RequestParts(NamedTuple):
    """The parts of a request, read and parsed.

    typed_messages come from role options. content_parts are for the last user message; with a transcript,
    they are never added to a message that was read from a file. transcript is None if none was asked for.
    """

    request: LocatedValue | None = None
    messages: Sequence[LocatedValue] = ()
    typed_messages: Sequence[TypedPart] = ()
    prompt: str | None = None
    content_parts: Sequence[TypedPart] = ()
    parameters: Parameters = Parameters()
    default_model: str | None = None
    response_format: ResponseFormat | None = None
    transcript: Sequence[LocatedValue] | None = None


class _Message(NamedTuple):
    """A message and its origin.

    part_origins has (pointer, option) for each content part that another option gave. The pointer is
    relative to the message.
    """

    value: Value
    origin: LocatedValue | str
    part_origins: tuple[tuple[str, str], ...] = ()


class BuiltRequest(NamedTuple):
    """A request body.

    origins maps the JSON Pointer of each part to the value that was read, or to the option that gave it.
    """

    body: dict[str, Value]
    origins: Mapping[str, LocatedValue | str]

    def place(self, pointer: str) -> str:
        """The place that gave the value at pointer: `file:line` or an option; empty if there is none.

        An object that options made has the place of the first part that one of them gave.
        """
        prefix = pointer
        while prefix not in self.origins and prefix:
            prefix = prefix.rpartition("/")[0]
        origin = self.origins.get(prefix, "")
        rest = pointer[len(prefix) :]
        field = pointer_steps(rest)[:1]
        is_there = origin if isinstance(origin, str) else _value_at(origin.value, field) is not None
        if rest and not is_there:
            inside = (each for at, each in self.origins.items() if at.startswith(pointer + "/"))
            origin = next(inside, origin)
        return origin if isinstance(origin, str) else origin.place(rest)


def build(parts: RequestParts) -> BuiltRequest:
    """Assemble the request body. Raises BadInput, or UsageFault for a `--set` that cannot be applied."""
    body: dict[str, Value] = {}
    origins: dict[str, LocatedValue | str] = {}
    if parts.request is not None:
        body.update(parts.request.value)
        origins[""] = parts.request
    messages = _conversation(parts)
    if messages or "messages" in body:
        body["messages"] = [without_empty_calls(message.value) for message in messages]
        for index, message in enumerate(messages):
            origins[f"/messages/{index}"] = message.origin
            origins.update(
                (f"/messages/{index}{pointer}", option) for pointer, option in message.part_origins
            )
    if parts.default_model is not None:
        body.setdefault("model", parts.default_model)
    if parts.response_format is not None:
        _set_form(body, origins, parts.response_format)
    _set_parameters(body, origins, parts.parameters)
    return BuiltRequest(_in_reading_order(body), origins)


def _conversation(parts: RequestParts) -> list[_Message]:
    messages = [
        *_messages_of(parts.request),
        *(_Message(found.value, found) for found in (*parts.messages, *(parts.transcript or ()))),
    ]
    head, tail = _head_and_tail(parts.typed_messages)
    messages = _with_head(messages, head)
    messages += [_Message(dict(each.value), each.option) for each in tail]
    if parts.prompt is not None:
        messages.append(_Message({"role": "user", "content": parts.prompt}, "PROMPT"))
    return _with_parts(messages, parts.content_parts, only_new=parts.transcript is not None)


def _messages_of(request: LocatedValue | None) -> list[_Message]:
    """The messages of the request file. Raises BadInput if they are not an array to append to."""
    if request is None or "messages" not in request.value:
        return []
    messages = request.value["messages"]
    if not isinstance(messages, list):
        raise BadInput(f"/messages: is {json_type(messages)}, not an array", place=request.place("/messages"))
    return [
        _Message(message, LocatedValue(message, request.source, f"{request.pointer}/messages/{index}"))
        for index, message in enumerate(messages)
    ]


def _head_and_tail(typed: Sequence[TypedPart]) -> tuple[list[TypedPart], list[TypedPart]]:
    """Split off the system and developer messages typed before any other; the rest keep their order."""
    for index, each in enumerate(typed):
        if each.value["role"] not in HEAD_ROLES:
            return list(typed[:index]), list(typed[index:])
    return list(typed), []


def _with_head(messages: list[_Message], head: Sequence[TypedPart]) -> list[_Message]:
    """Put head before messages. It replaces messages of the same role in their own head where they stand."""
    new = [_Message(dict(each.value), each.option) for each in head]
    length = next((i for i, m in enumerate(messages) if _role(m) not in HEAD_ROLES), len(messages))
    old_roles = [_role(message) for message in messages[:length]]
    result = [message for message in new if _role(message) not in old_roles]
    replaced: set[str | None] = set()
    for message, role in zip(messages[:length], old_roles, strict=True):
        replacements = [each for each in new if _role(each) == role]
        if not replacements:
            result.append(message)
        elif role not in replaced:
            result += replacements
            replaced.add(role)
    return result + messages[length:]


def _role(message: _Message) -> Any:
    return message.value.get("role") if isinstance(message.value, dict) else None


def _with_parts(messages: list[_Message], parts: Sequence[TypedPart], *, only_new: bool) -> list[_Message]:
    """Append content parts to the last user message, or to a new one if there is none.

    only_new skips messages that were read from a file.
    """
    if not parts:
        return messages
    for index in reversed(range(len(messages))):
        message = messages[index]
        if _role(message) == "user" and (not only_new or isinstance(message.origin, str)):
            return [*messages[:index], _extended(message, index, parts), *messages[index + 1 :]]
    new = _Message({"role": "user", "content": []}, parts[0].option)
    return [*messages, _extended(new, len(messages), parts)]


def _extended(message: _Message, index: int, parts: Sequence[TypedPart]) -> _Message:
    """The message at an index of the body, with more parts. Raises BadInput if its content has no parts."""
    content = message.value.get("content")
    if content is not None and not isinstance(content, str | list):
        place = message.origin if isinstance(message.origin, str) else message.origin.place("/content")
        raise BadInput(
            f"/messages/{index}/content: is {json_type(content)}, not a string or an array", place=place
        )
    existing = [{"type": "text", "text": content}] if isinstance(content, str) else list(content or [])
    value = {**message.value, "content": [*existing, *(dict(part.value) for part in parts)]}
    part_origins = tuple((f"/content/{len(existing) + i}", part.option) for i, part in enumerate(parts))
    return _Message(value, message.origin, part_origins)


def _set_form(body: dict[str, Value], origins: dict[str, LocatedValue | str], form: ResponseFormat) -> None:
    """Set the response format before the parameters, so that --set can add to it, such as a description."""
    body["response_format"] = form.field
    pointer = _set_origin(origins, ("response_format",), form.option)
    origins[f"{pointer}/json_schema/schema"] = form.origin


def _set_parameters(
    body: dict[str, Value], origins: dict[str, LocatedValue | str], parameters: Parameters
) -> None:
    for parameter, given in parameters.values:
        value = _as_tool_choice(given, body) if parameter.kind == "choice of tool" else given
        _put(body, parameter.path, value, keep=parameter.kind == "empty object")
        _set_origin(origins, parameter.path, f"--{parameter.option}")
        for prefix, (companion, word) in COMPANIONS.items():
            if parameter.path[: len(prefix)] == prefix and _value_at(body, companion) is None:
                _put(body, companion, word)
    for edit in parameters.edits:
        replaced = edits.apply(body, edit)
        option = "--unset" if edit.is_removal else "--set"
        pointer = _set_origin(origins, edit.path, option, is_scalar=not isinstance(replaced, dict | list))
        if edit.is_removal and isinstance(edit.path[-1], int):
            _shift_origins(origins, pointer)


def _set_origin(
    origins: dict[str, LocatedValue | str],
    path: Iterable[str | int],
    option: str,
    *,
    is_scalar: bool = False,
) -> str:
    """Record option as the origin of the value at path and of all inside. Returns the pointer of path.

    is_scalar: nothing was inside the value that was there before.
    """
    pointer = pointer_of(path)
    for below in [] if is_scalar else [known for known in origins if known.startswith(pointer + "/")]:
        del origins[below]
    origins[pointer] = option
    return pointer


def _shift_origins(origins: dict[str, LocatedValue | str], pointer: str) -> None:
    """Shift the origins of the items after a removed array item, which have moved up by one."""
    parent, _, position = pointer.rpartition("/")
    del origins[pointer]
    for known in [known for known in origins if known.startswith(parent + "/")]:
        index, slash, rest = known[len(parent) + 1 :].partition("/")
        if index.isdecimal() and int(index) > int(position):
            origins[f"{parent}/{int(index) - 1}{slash}{rest}"] = origins.pop(known)


def _put(body: dict[str, Value], path: Sequence[str], value: Value, *, keep: bool = False) -> None:
    """Set the value at path. Objects on the way are copied, so that those of the request file stay as read.

    keep preserves an object that already exists there.
    """
    parent = body
    for step in path[:-1]:
        child = parent.get(step)
        parent[step] = dict(child) if isinstance(child, dict) else {}
        parent = parent[step]
    if not (keep and isinstance(parent.get(path[-1]), dict)):
        parent[path[-1]] = value


def _value_at(body: Value, path: Iterable[str]) -> Value:
    for step in path:
        if not isinstance(body, dict):
            return None
        body = body.get(step)
    return body


def _as_tool_choice(choice: Value, body: Mapping[str, Value]) -> Value:
    """Expand a bare name to the form of the API: type function, or custom if the tool is a custom one."""
    if not isinstance(choice, str) or choice in ("auto", "none", "required"):
        return choice
    kinds = ("custom", "function")
    tools = as_list(body.get("tools"))
    found = {kind for kind in kinds for tool in tools if _value_at(tool, (kind, "name")) == choice}
    if choice == "any" and not found:  # Mistral's word
        return choice
    kind = "custom" if "custom" in found else "function"
    return {"type": kind, kind: {"name": choice}}


def _in_reading_order(body: dict[str, Value]) -> dict[str, Value]:
    """Put the model and the messages first, because people read bodies, too."""
    first: dict[str, Value] = {key: body[key] for key in ("model", "messages") if key in body}
    return {**first, **body}
