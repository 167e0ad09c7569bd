"""What a message calls, and what is said to the model about it: shapes and words, nothing is run.

Servers are less strict than the API's description: arguments come as an object, as nothing, or as
`null` where a tool takes none, and ids are missing. Such calls are answered, too.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

from chatpipe.inputs import values
from chatpipe.inputs.values import NotJSON, Value
from chatpipe.response.chunks import shorten

Kind = Literal["function", "custom", "legacy"]

_NO_ARGUMENTS = ("", "null")
_SHOWN = 200  # characters of arguments that are repeated to the model


class Call(NamedTuple):
    """A call to answer. input is the stdin of its command: JSON of an object, or a custom tool's text.

    id is made up where the server gave none, and empty for the older function_call (kind legacy),
    which has a name only. problem tells why nothing can be run; None where nothing is known against it.
    """

    id: str
    name: str
    input: bytes
    kind: Kind = "function"
    problem: str | None = None


def calls(message: Mapping[str, Value]) -> list[Call]:
    """The calls of an assistant's message, in its order. What is no object is none. Never raises."""
    found = [_call(call, _id(call, place)) for place, call in _tool_calls(message)]
    if isinstance(legacy := message.get("function_call"), dict):
        found.append(_function("", legacy, "legacy"))
    return found


def mended(message: Mapping[str, Value]) -> dict[str, Value]:
    """The message as the next request can hold it: each call with an id, and with arguments that are JSON.

    Ids are those of calls(). Arguments that are no object become `{}`, because vLLM and Ollama parse
    those of earlier turns and answer 400: what the model wrote stands in the answer to the call. The
    message itself stays as it is. Never raises.
    """
    result = dict(message)
    if isinstance(made := message.get("tool_calls"), list):
        result["tool_calls"] = [
            _mended(call, _id(call, place)) for place, call in enumerate(made) if isinstance(call, dict)
        ]
    if isinstance(legacy := message.get("function_call"), dict):
        result["function_call"] = {**legacy, "arguments": _arguments(legacy)[0].decode()}
    return result


def answer_message(call: Call, text: str) -> dict[str, Value]:
    """The message that gives the model text for its call."""
    if call.kind == "legacy":
        return {"role": "function", "name": call.name, "content": text}
    return {"role": "tool", "tool_call_id": call.id, "content": text}


def names(body: Mapping[str, Value]) -> frozenset[str]:
    """The names of the tools and functions that a request offers."""
    tools = [tool.get(kind) for tool in _objects(body.get("tools")) for kind in ("function", "custom")]
    named = [each.get("name") for each in (*_objects(tools), *_objects(body.get("functions")))]
    return frozenset(name for name in named if isinstance(name, str))


def no_such_tool(name: str, known: Iterable[str]) -> str:
    """The answer to a call of a tool that nobody offered."""
    offered = ", ".join(f"'{each}'" for each in sorted(known))
    return f"error: there is no tool '{shorten(name, _SHOWN)}': the tools are {offered}"


def failure(what: str, stdout: str, stderr: str) -> str:
    """The answer to a call whose command failed; what completes `the tool ...`."""
    parts = [f"error: the tool {what}"]
    parts += [f"{name}:\n{text}" for name, text in (("stdout", stdout), ("stderr", stderr)) if text]
    return "\n".join(parts)


def _tool_calls(message: Mapping[str, Value]) -> Iterator[tuple[int, dict[str, Value]]]:
    made = message.get("tool_calls")
    for place, call in enumerate(made if isinstance(made, list) else []):
        if isinstance(call, dict):
            yield place, call


def _id(call: Mapping[str, Value], place: int) -> str:
    """The call's own id, else one that is new in its message: of the turn before nothing is waiting."""
    given = call.get("id")
    return given if isinstance(given, str) and given else f"call_{place}"


def _call(call: Mapping[str, Value], call_id: str) -> Call:
    if call.get("type") != "custom" and "custom" not in call:
        return _function(call_id, _object(call.get("function")), "function")
    custom = _object(call.get("custom"))
    text = custom.get("input")
    if not isinstance(text, str):
        text = "" if text is None else values.dumps(text).decode()
    # A lone surrogate, half an emoji, has no bytes in UTF-8.
    return Call(call_id, _name(custom), text.encode("utf-8", "replace"), "custom")


def _function(call_id: str, function: Mapping[str, Value], kind: Kind) -> Call:
    data, problem = _arguments(function)
    return Call(call_id, _name(function), data, kind, problem)


def _name(called: Mapping[str, Value]) -> str:
    name = called.get("name")
    return name if isinstance(name, str) else ""


def _arguments(function: Mapping[str, Value]) -> tuple[bytes, str | None]:
    """The arguments' JSON text as it came, and why they are not good: they are `{}` then."""
    given = function.get("arguments")
    if isinstance(given, dict):
        return values.dumps(given), None
    if given is None or (isinstance(given, str) and given.strip() in _NO_ARGUMENTS):
        return b"{}", None
    if not isinstance(given, str):
        given = values.dumps(given).decode()
    data = given.encode("utf-8", "surrogatepass")
    try:
        what = "" if isinstance(values.loads_exactly(data), dict) else "not an object"
    except NotJSON as error:
        what = f"not JSON: {error}"
    if not what:
        return data, None
    shown = shorten(given.encode("utf-8", "replace").decode(), _SHOWN)
    return b"{}", f"error: the arguments are {what}: call the tool again with one JSON object, not '{shown}'"


def _mended(call: Mapping[str, Value], call_id: str) -> dict[str, Value]:
    result = {**call, "id": call_id}
    if isinstance(function := call.get("function"), dict):
        result["function"] = {**function, "arguments": _arguments(function)[0].decode()}
    return result


def _object(value: Value) -> dict[str, Value]:
    return value if isinstance(value, dict) else {}


def _objects(value: Value) -> list[dict[str, Value]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
