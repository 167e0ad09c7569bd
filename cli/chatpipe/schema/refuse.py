"""A newly built request -> its warnings, or one exception that holds every error with its location."""

from __future__ import annotations

import re

from chatpipe.errors import BadInput, Problems
from chatpipe.inputs.place import pointer_of, pointer_steps
from chatpipe.inputs.values import NotJSON, Value, dumps, loads_strict
from chatpipe.options.parameters import FILE_KINDS, TABLE
from chatpipe.options.request import CheckOptions
from chatpipe.request.build import BuiltRequest
from chatpipe.request.response_format import ResponseFormat
from chatpipe.schema.check import SCHEMA_KEYWORDS, Problem, check

_MODEL = "pass -m MODEL or set CHATPIPE_MODEL"
_UNSET = "--unset"
_PROMPT = "give a prompt, -u TEXT or --messages FILE"
# Options win over a request file, so these work wherever the value came from.
_CALL_HINTS = {
    ("", "has no 'model'"): _MODEL,
    ("", "has no 'messages'"): _PROMPT,
    ("/messages", "is empty"): _PROMPT,
    ("/top_logprobs", "is set without 'logprobs': true"): "add --logprobs",
    ("/stream_options", "is set without 'stream': true"): "add --stream, or leave it out",
    ("/response_format", "has no 'json_schema'"): "give the schema with --schema FILE in its place",
    ("/moderation", "has no 'model'"): "add --moderation-model MODEL",
    ("/audio", "has no 'voice'"): "add --audio-voice VOICE",
    ("/audio", "has no 'format'"): "add --audio-format FORMAT",
    ("/audio", "is set, but 'modalities' does not ask for audio"): "add --modality audio, or leave it out",
    ("/modalities", "has 'audio', but there is no 'audio' with a voice and a format"): (
        "add --audio-voice VOICE and --audio-format FORMAT, or leave it out"
    ),
    ("/tool_choice", "is set without 'tools'"): "add --tool FILE, or leave it out",
    ("/parallel_tool_calls", "is set without 'tools'"): "add --tool FILE, or leave it out",
    ("/function_call", "is set without 'functions'"): "add --function FILE, or leave it out",
}


def refuse(built: BuiltRequest, *, strict: bool = False, without_model: bool = False) -> list[str]:
    """The warnings, as lines. Raises Problems with all errors if there are any."""
    problems = check(built.body, strict=strict, without_model=without_model)
    faults = [fault_of(built, problem) for problem in problems if problem.severity == "error"]
    if faults:
        raise Problems(faults)
    return [str(fault_of(built, problem)) for problem in problems]


def refuse_defaults(built: BuiltRequest, model: str | None, *, strict: bool, is_whole: bool) -> None:
    """Raise Problems for the errors that options make in each line of a run.

    is_whole: a line adds only messages, so that all other fields are known, with this model if they have
    none. Otherwise a line may have any of them: the values of the options are checked, each by itself.
    """
    body = dict(built.body)
    if model is not None:
        body.setdefault("model", model)
    if isinstance(messages := body.get("messages", []), list) and built.origins.get("/messages") != _UNSET:
        body["messages"] = [*messages, {"role": "user", "content": "of a line"}]
    problems = check(body)
    if strict:
        problems += [each for each in check(body, strict=True) if each.keyword == "unlisted-key"]
    errors = [each for each in problems if each.severity == "error" and (is_whole or _is_of_one_value(each))]
    if errors:
        raise Problems([fault_of(built, each) for each in errors])


def _is_of_one_value(problem: Problem) -> bool:
    """True if no other field and no message of the request can mend it."""
    return problem.pointer != "" and problem.keyword in (*SCHEMA_KEYWORDS, "unknown-key", "unlisted-key")


def refuse_schema(form: ResponseFormat | None, check: CheckOptions) -> list[str]:
    """The warnings about the schema that answers must satisfy, as lines; none with --no-check.

    Raises BadInput if it is not a valid schema, whatever check says, because no answer could be held to
    it. Raises Problems for its warnings if check is strict.
    """
    if form is None:
        return []
    from chatpipe.schema import json_schema  # imports jsonschema
    from chatpipe.schema.strict import lint_warnings

    json_schema.validator_class(form.schema.value, form.place)
    return [] if check.off else lint_warnings(form, strict=check.strict)


def fault_of(built: BuiltRequest, problem: Problem) -> BadInput:
    """The error for a problem of a request, with the option or the line of a file that is wrong."""
    if removed := removed_key(built, problem):
        return BadInput(describe(problem), place=_UNSET, fix=f"leave out {_UNSET} {removed}")
    place = built.place(problem.pointer)
    hint = _CALL_HINTS.get((problem.pointer, problem.message), problem.hint)
    if place == "--set" and problem.keyword in ("type", "enum"):
        hint = _set_hint(built.body, problem) or hint
    is_value = any(place == f"--{row.option}" and problem.pointer == pointer_of(row.path) for row in TABLE)
    return BadInput(problem.message if is_value else describe(problem), place=place, fix=hint)


def removed_key(built: BuiltRequest, problem: Problem) -> str:
    """The path of a key that is missing because of --unset; empty if the problem is another one."""
    for pointer, origin in built.origins.items():
        parent, _, key = pointer.rpartition("/")
        if origin == _UNSET and (parent, f"has no '{key}'") == (problem.pointer, problem.message):
            return pointer[1:].replace("/", ".")
    return ""


def _set_hint(body: Value, problem: Problem) -> str:
    """The `--set`, or the option, that makes of the value that `--set` gave one of the right type.

    Empty if the value says nothing about it.
    """
    import shlex  # takes 3 ms, and few calls have such a problem

    path, value = "", body
    for step in pointer_steps(problem.pointer):
        is_index = isinstance(value, list)
        value = value[int(step)] if is_index else value[step]
        path += f"[{step}]" if is_index else "." + re.sub(r"([.\[\]\\])", r"\\\1", step)
    if not isinstance(value, str):
        is_text = isinstance(value, int | float) and problem.message.endswith("not a string")
        return f"--set {shlex.quote(f'{path[1:]}={dumps(value).decode()}')}" if is_text else ""
    try:
        loads_strict(value.encode("utf-8", "surrogateescape"))
    except NotJSON:
        return _option_hint(problem.pointer[1:], shlex.quote(value))
    return f"--set {shlex.quote(f'{path[1:]}:={value}')}"


def _option_hint(field: str, word: str) -> str:
    """The option that makes an object or an array of a word; empty for a field that has none."""
    if (field, word) == ("response_format", "json_schema"):
        return "give the schema with --schema FILE in its place"
    row = next((row for row in TABLE if row.path[0] == field), None)
    if row is None or row.kind in ("text", "integer", "number"):
        return ""
    if row.kind == "boolean" and row.path == (field,):
        return " or ".join(f"--{option}" for option in (row.option, f"no-{row.option}"))
    if row.kind in ("boolean", "empty object"):
        return f"--{row.option}"
    if row.kind in FILE_KINDS or row.kind.endswith("by key"):
        return f"--{row.option} {row.metavar or 'FILE'}"
    return f"--{row.option} {word}"


def describe(problem: Problem) -> str:
    """`/messages/0/role: is 'sytem', ...`, or `the request has no 'model'` for the body itself."""
    return f"{problem.pointer}: {problem.message}" if problem.pointer else f"the request {problem.message}"


def line_fault(problem: Problem) -> BadInput:
    """The error for a problem of a line of a run, where `-m` gives the model of all lines that have none."""
    is_model = problem.pointer in ("", "/body") and problem.message == "has no 'model'"
    return BadInput(describe(problem), fix=_MODEL if is_model else problem.hint)
