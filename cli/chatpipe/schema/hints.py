"""A problem that the schema finds -> what to do about it, in the text of the body.

Many bodies have the right thing in the form of another API, so that a hint shows the form of this one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chatpipe.inputs import values
from chatpipe.inputs.names import did_you_mean

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

_FOR_MISSING = {
    "model": "add it",
    "messages": "add them or a 'prompt', or fill a template with chatpipe map",
    "role": "add one of developer, system, user, assistant, tool, function",
    "content": "add a string, or an array of parts",
    "tool_call_id": "add the id of the tool call that this answers",
    "type": "add it: it says which kind of thing this is",
    "arguments": "add the arguments as a JSON string",
    "url": "add the address, http(s): or data:",
    "image_url": "add the address, http(s): or data:",
    "data": "add the sound as base64",
    "format": "add it, such as wav or mp3",
    "json_schema": 'write {"type": "json_schema", "json_schema": {"name": ..., "schema": ...}}',
}
_FOR_EMPTY = {
    "messages": "add one",
    "content": "add a part, or write a string",
    "tools": "leave it out, or add one",
    "functions": "leave it out, or add one",
    "stop": "leave it out, or add one",
}
_FOR_TYPE = {
    "arguments": "write the arguments as a JSON string",
    "messages": "write an array of objects with role and content",
    "tools": "write an array, also for one tool",
    "tool_calls": "write an array, also for one call",
    "content": "write a string, or an array of parts",
    "response_format": 'write {"type": "json_object"}, or another type',
}
# The items of an array by its name.
_FOR_ITEM = {
    "messages": 'write {"role": "user", "content": ...}',
    "content": 'write {"type": "text", "text": ...}',
}
_FOR_KEYWORD = {"type": _FOR_TYPE, "minItems": _FOR_EMPTY, "minLength": _FOR_MISSING}

# The words of the Responses API, of Anthropic's, Gemini's and others, and the word of this one.
_SAME_WORDS = {
    "input_text": "text",
    "output_text": "text",
    "image": "image_url",
    "input_image": "image_url",
    "audio": "input_audio",
    "input_file": "file",
    "document": "file",
    "video": "video_url",
    "model": "assistant",
    "ai": "assistant",
    "bot": "assistant",
    "human": "user",
    "tool": "function",
    "pcm": "pcm16",
    "json": "json_object",
}
_FOR_WORD = {
    "tool_use": "write it as one of the 'tool_calls' of the message",
    "tool_result": "write it as a message with the role tool",
    "function_call": "write it as one of the 'tool_calls' of an assistant message",
    "function_call_output": "write it as a message with the role tool",
}
_CALL_FORM = 'write {"id": ..., "type": "function", "function": {"name": ..., "arguments": ...}}'
_LONGEST_NAME = 64  # characters that the API allows


def for_missing(key: str, path: list[str | int], value: dict[str, Any]) -> str:
    """The hint for an object at path that has no such key."""
    if key in ("type", "function", "custom") and (form := _tool_form(path, value)):
        return form
    if key == "function" and path[-2:-1] == ["tool_calls"]:
        return _CALL_FORM
    if key == "role" and isinstance(kind := value.get("type"), str) and kind in _FOR_WORD:
        return _FOR_WORD[kind]
    if key == "content" and (other := next((word for word in ("parts", "text") if word in value), "")):
        return f"write it in place of '{other}'"
    return _FOR_MISSING.get(key, f"add '{key}'")


def for_value(error: ValidationError) -> str:
    """The hint for a value that breaks a keyword; empty if the message says all that is allowed."""
    keyword, path, value = str(error.validator), list(error.absolute_path), error.instance
    hint = _FOR_KEYWORD.get(keyword, {}).get(str(path[-1]) if path else "", "")
    if keyword == "type" and isinstance(path[-1] if path else "", int):
        hint = _FOR_ITEM.get(str(path[-2]), "")
    if hint or keyword not in ("type", "enum"):
        return hint
    if path == ["function_call"]:
        return f'write {{"name": {_quoted(value)}}}'
    if path == ["tool_choice", "type"] and value in ("none", "auto", "required", "any"):
        return f'write "{value}" in place of the object'
    return _tool_form(path, value)


def for_word(word: str, allowed: list[str]) -> str:
    """The hint for a word that is not one of those allowed; empty if there is none."""
    same = _SAME_WORDS.get(word)
    if same in allowed:
        return f"did you mean '{same}'?"
    return did_you_mean(word, allowed, _FOR_WORD.get(word, ""))


def _tool_form(path: list[str | int], value: Any) -> str:
    """The form of a tool, or of the choice of one, with the name that value has; empty for another path."""
    is_tool = len(path) == 2 and path[0] == "tools"
    if not (is_tool or path == ["tool_choice"] or path[:-1] == ["tool_choice", "allowed_tools", "tools"]):
        return ""
    kind, name = "function", value
    if isinstance(value, dict):
        name = value.get("name")
        if value.get("type") == "custom" or (is_tool and "format" in value):
            kind = "custom"
    more = ", ..." if is_tool else ""
    return f'write {{"type": "{kind}", "{kind}": {{"name": {_quoted(name)}{more}}}}}'


def _quoted(name: object) -> str:
    is_shown = (
        isinstance(name, str) and 0 < len(name) <= _LONGEST_NAME and name.isascii() and name.isprintable()
    )
    return values.dumps(name).decode() if is_shown else "..."
