"""Rules about tools, functions, the choice among them, and their names."""

from __future__ import annotations

import string
from collections.abc import Iterator

from chatpipe.inputs.names import nearest
from chatpipe.inputs.values import as_object
from chatpipe.schema.phrases import quote
from chatpipe.schema.rule import OTHER_SERVER, Breach, Object, Rule, objects

_NAME_CHARACTERS = frozenset(string.ascii_letters + string.digits + "_-")
_TOOL_TYPES = frozenset(("function", "custom"))


def _type_and_name(entry: Object) -> tuple[str, str] | None:
    """(type, name) of a tool, or of an object that chooses a tool; None if either is missing."""
    kind = entry.get("type")
    name = as_object(entry.get(kind)).get("name") if kind in ("function", "custom") else None
    return (kind, name) if isinstance(kind, str) and isinstance(name, str) else None


def _named_tool_missing(body: Object) -> Iterator[Breach]:
    defined = {_type_and_name(tool) for _, tool in objects(body.get("tools"))}
    choice = as_object(body["tool_choice"])
    chosen = [("/tool_choice", choice)]
    for index, entry in objects(as_object(choice.get("allowed_tools")).get("tools")):
        chosen.append((f"/tool_choice/allowed_tools/tools/{index}", entry))
    for pointer, entry in chosen:
        target = _type_and_name(entry)
        if target and target not in defined:
            kind, name = target
            same_kind = [other for other_kind, other in filter(None, defined) if other_kind == kind]
            yield _undefined(f"{pointer}/{kind}/name", name, "tools", same_kind)


def _named_function_missing(body: Object) -> Iterator[Breach]:
    target = as_object(body["function_call"]).get("name")
    names = [function.get("name") for _, function in objects(body.get("functions"))]
    defined = [name for name in names if isinstance(name, str)]
    if isinstance(target, str) and target not in defined:
        yield _undefined("/function_call/name", target, "functions", defined)


def _undefined(pointer: str, name: str, array: str, defined: list[str]) -> Breach:
    closest = nearest(name, frozenset(defined), least=3)
    hint = f"did you mean {quote(closest)}?" if closest else ""
    return Breach(pointer, f"is {quote(name)}, which is not in '{array}'", hint)


def _definitions(body: Object) -> Iterator[tuple[str, str, str]]:
    """(pointer, type, name) of every named entry in tools and functions."""
    for index, tool in objects(body.get("tools")):
        if named := _type_and_name(tool):
            yield f"/tools/{index}/{named[0]}/name", *named
    for index, function in objects(body.get("functions")):
        if isinstance(name := function.get("name"), str):
            yield f"/functions/{index}/name", "function", name


def _bad_name(body: Object) -> Iterator[Breach]:
    names = [(pointer, name) for pointer, _, name in _definitions(body)]
    schema = as_object(as_object(body.get("response_format")).get("json_schema"))
    if isinstance(name := schema.get("name"), str):
        names.append(("/response_format/json_schema/name", name))
    for pointer, name in names:
        if not name:
            yield Breach(pointer, "is empty")
        elif len(name) > 64:
            yield Breach(pointer, f"has {len(name)} characters, more than a name may have")
        elif not _NAME_CHARACTERS.issuperset(name):
            yield Breach(pointer, f"is {quote(name)}, which has other characters than a name may have")


def _duplicate_tool(body: Object) -> Iterator[Breach]:
    seen: set[tuple[bool, str]] = set()
    for pointer, _, name in _definitions(body):
        entry = (pointer.startswith("/tools"), name)
        if entry in seen:
            yield Breach(pointer, f"is {quote(name)}, which an earlier one has, too")
        seen.add(entry)


def _unknown_tool_types(body: Object) -> Iterator[tuple[str, str, str | None]]:
    """(pointer, type, likely intended type or None) of every tool that is neither function nor custom."""
    for index, tool in objects(body.get("tools")):
        kind = tool.get("type")
        if isinstance(kind, str) and kind and kind not in _TOOL_TYPES:
            yield f"/tools/{index}/type", kind, nearest(kind, _TOOL_TYPES)


def _misspelt_tool_type(body: Object) -> Iterator[Breach]:
    for pointer, kind, known in _unknown_tool_types(body):
        if known:
            yield Breach(
                pointer, f"is {quote(kind)}, not one of function, custom", f"did you mean '{known}'?"
            )


def _other_servers_tool(body: Object) -> Iterator[Breach]:
    for pointer, kind, known in _unknown_tool_types(body):
        if not known:
            yield Breach(pointer, f"is {quote(kind)}, and OpenAI takes function and custom only")


def _functions(body: Object) -> Iterator[tuple[str, Object]]:
    """(pointer, function) for every definition of a function."""
    for index, tool in objects(body.get("tools")):
        yield f"/tools/{index}/function", as_object(tool.get("function"))
    for index, function in objects(body.get("functions")):
        yield f"/functions/{index}", function


def _parameters_of_another_type(body: Object) -> Iterator[Breach]:
    for pointer, function in _functions(body):
        kind = as_object(function.get("parameters")).get("type", "object")
        if isinstance(kind, str) and kind != "object":
            what = f"is {quote(kind)}, and OpenAI accepts only the schema of an object"
            yield Breach(f"{pointer}/parameters/type", what)


def _beyond_strict_mode(body: Object) -> Iterator[Breach]:
    """The first part of each strict function that strict mode does not take."""
    from chatpipe.schema.strict import lint  # few functions are strict

    for pointer, function in _functions(body):
        schema = as_object(function.get("parameters")) if function.get("strict") is True else {}
        if schema and (found := lint(schema)):
            yield Breach(f"{pointer}/parameters{found[0].pointer}", found[0].what)


def _too_many_tools(body: Object) -> Iterator[Breach]:
    if isinstance(body["tools"], list) and len(body["tools"]) > 128:
        yield Breach("/tools", f"has {len(body['tools'])} items, at most 128 allowed")


def _tool_choice_without_tools(body: Object) -> Iterator[Breach]:
    if body.get("tools"):
        return
    # the rule named-tool-missing handles a choice by name
    if isinstance(body.get("tool_choice"), str) and body["tool_choice"] != "none":
        yield Breach("/tool_choice", "is set without 'tools'")
    if body.get("parallel_tool_calls") is not None:
        yield Breach("/parallel_tool_calls", "is set without 'tools'")


def _no_allowed_tool(body: Object) -> Iterator[Breach]:
    if as_object(as_object(body["tool_choice"]).get("allowed_tools")).get("tools") == []:
        yield Breach("/tool_choice/allowed_tools/tools", "is empty")


def _function_call_without_functions(body: Object) -> Iterator[Breach]:
    # the rule named-function-missing handles a choice by name
    if body["function_call"] == "auto" and not body.get("functions"):
        yield Breach("/function_call", "is set without 'functions'")


def _functions_with_tools(body: Object) -> Iterator[Breach]:
    if body["functions"] and body.get("tools"):
        yield Breach("/functions", "is set together with 'tools'")


TOOL_RULES = (
    Rule("bad-name", "error", ("tools", "functions", "response_format"), _bad_name,
         "write 1 to 64 of a-z A-Z 0-9 _ -"),
    Rule("duplicate-tool", "warning", ("tools", "functions"), _duplicate_tool, "give each its own name"),
    Rule("misspelt-tool-type", "error", ("tools",), _misspelt_tool_type, ""),
    Rule("other-servers-tool", "warning", ("tools",), _other_servers_tool, OTHER_SERVER),
    Rule("parameters-of-another-type", "warning", ("tools", "functions"), _parameters_of_another_type,
         "make it a property of an object"),
    Rule("beyond-strict-mode", "warning", ("tools", "functions"), _beyond_strict_mode,
         "or leave 'strict' out"),
    Rule("too-many-tools", "warning", ("tools",), _too_many_tools, "send fewer"),
    Rule("named-tool-missing", "error", ("tool_choice",), _named_tool_missing, "add it, or choose another"),
    Rule("tool-choice-without-tools", "warning", ("tool_choice", "parallel_tool_calls"),
         _tool_choice_without_tools, "add tools, or leave it out"),
    Rule("named-function-missing", "error", ("function_call",), _named_function_missing,
         "add it, or choose another"),
    Rule("no-allowed-tool", "warning", ("tool_choice",), _no_allowed_tool, "name one, or choose 'none'"),
    Rule("function-call-without-functions", "warning", ("function_call",),
         _function_call_without_functions, "add functions, or leave it out"),
    Rule("functions-with-tools", "warning", ("functions",), _functions_with_tools, "move them into 'tools'"),
)  # fmt: skip
