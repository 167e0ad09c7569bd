"""A JSON Schema -> the validator class of its draft, or its first fault, before any answer is paid for.

Besides the check by the draft's meta-schema, every $ref is resolved (within the schema: nothing is
ever fetched), every pattern is compiled, and endless $ref cycles are rejected.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from graphlib import CycleError, TopologicalSorter
from typing import Any

from jsonschema import validators
from jsonschema.protocols import Validator
from referencing import Registry, Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import SchemaRegistry, specification_with

from chatpipe.errors import BadInput
from chatpipe.inputs.place import pointer_of
from chatpipe.inputs.values import Value, as_object, json_type
from chatpipe.schema import explain
from chatpipe.schema.phrases import ARTICLES, quote

_Schema = dict[str, Any]

_REFS = ("$ref", "$dynamicRef", "$recursiveRef")
# In-place applicators: their subschemas apply to the same value as the parent, so a cycle never ends.
_IN_PLACE = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else")
_IN_PLACE_BY_NAME = ("dependentSchemas", "dependencies")
_NOTHING = "leads to nothing in the schema"
_OUTSIDE = "leads out of the schema"
_COPY = "nothing else is read: copy what it means into '$defs'"
_ENDLESS = "leads back to itself without an end"
# Keywords of all drafts that no answer is checked by.
_ANNOTATIONS = frozenset(
    (
        *("$schema", "$id", "id", "$anchor", "$dynamicAnchor", "$recursiveAnchor", "$vocabulary", "$comment"),
        *("$defs", "definitions", "title", "description", "default", "examples"),
        *("deprecated", "readOnly", "writeOnly"),
    )
)
_DRAFTS = "the drafts are 3, 4, 6, 7, 2019-09 and 2020-12: leave '$schema' out for the last"


class SchemaFault(Exception):
    """A fault of a schema.

    node is the object inside the schema that has the fault. key is the JSON Pointer from there to the
    faulty member, "" for node itself.
    """

    def __init__(self, node: object, key: str, what: str, fix: str = "") -> None:
        self.node = node
        self.key = key
        self.what = what
        self.fix = fix
        super().__init__(what)


def validator_class(schema: _Schema, place: Callable[[str], str]) -> type[Validator]:
    """The jsonschema class for the draft of a schema, after all checks have passed.

    place maps a pointer into the schema to its `file:line`. Raises BadInput.
    """
    draft = _draft_of(schema, place)
    try:
        _check_keywords(schema, draft)
        _check_by_meta_schema(schema, draft)
        _Walk(schema, draft).check()
    except RecursionError as error:
        raise BadInput("the schema is nested too deeply", place=place("")) from error
    except SchemaFault as wrong:
        pointer = _pointer_to(schema, wrong.node) + wrong.key
        text = f"{pointer}: {wrong.what}" if pointer else f"not a JSON Schema: {wrong.what}"
        raise BadInput(text, place=place(pointer), fix=wrong.fix) from wrong
    return draft


def _draft_of(schema: _Schema, place: Callable[[str], str]) -> type[Validator]:
    name = schema.get("$schema", "https://json-schema.org/draft/2020-12/schema")
    found = _validator_for(name) if isinstance(name, str) else None
    if found is None:
        what = f"/$schema: {explain.summary(name)} is not a draft of JSON Schema that is known"
        raise BadInput(what, place=place("/$schema"), fix=_DRAFTS)
    return found


def _validator_for(draft: str) -> type[Validator] | None:
    try:
        found: type[Validator] | None = validators.validator_for({"$schema": draft}, default=None)  # type: ignore[arg-type]  # None: an unknown draft then gives None instead of a warning
    except ValueError:  # not even a URI
        return None
    return found


def _check_keywords(schema: _Schema, draft: type[Validator]) -> None:
    """Raise SchemaFault for an object without a keyword, which any answer would fit.

    It may be the json_schema of a request, or the whole response_format, with the schema inside.
    """
    keywords = draft.VALIDATORS.keys() & schema.keys()
    if schema.get("type") == "json_schema":
        keywords.remove("type")
    if keywords or _ANNOTATIONS.issuperset(schema):
        return
    format_ = {"/schema": schema, "/json_schema/schema": as_object(schema.get("json_schema"))}
    for pointer, holder in format_.items():
        if isinstance(holder.get("schema"), dict):
            raise SchemaFault(schema, "", f"the schema is under {pointer}", "give only that object")
    raise SchemaFault(schema, "", "it has no keyword that checks anything, such as 'type' or 'properties'")


def _check_by_meta_schema(part: _Schema, draft: type[Validator]) -> None:
    """Check by the meta-schema, without its formats: _check_patterns reports more about a pattern."""
    errors = list(draft(draft.META_SCHEMA).iter_errors(part))
    if errors:
        raise SchemaFault(part, *explain.explain(errors))


class _Walk:
    """Walk through all subschemas of a schema and the targets of their references, without recursion."""

    def __init__(self, schema: _Schema, draft: type[Validator]) -> None:
        self._schema = schema
        self._draft = draft
        self._specification = specification_with(draft.ID_OF(draft.META_SCHEMA))  # type: ignore[attr-defined]  # every draft's class has it
        self._refs = [keyword for keyword in _REFS if keyword in draft.VALIDATORS]
        self._nodes: dict[int, _Schema] = {}
        self._edges: dict[int, list[int]] = {}

    def check(self) -> None:
        root = self._specification.create_resource(self._schema)
        registry: SchemaRegistry = Registry()
        todo = [(root, registry.with_resource(root.id() or "", root).resolver_with_root(root))]
        targets: list[tuple[Resource[Any], Any]] = []
        while todo or targets:
            # Subschemas come before reference targets: on the walk to them, the base URI of $id is known.
            is_target = not todo
            resource, resolver = (todo or targets).pop()
            node = resource.contents
            if not isinstance(node, dict) or id(node) in self._nodes:
                continue
            resolver = resolver if resource is root else resolver.in_subresource(resource)
            if is_target:
                _check_by_meta_schema(node, self._draft)  # the meta-schema did not treat it as a schema
            self._nodes[id(node)] = node
            self._edges[id(node)] = [id(each) for each in _in_place(node)]
            _check_patterns(node)
            _check_types(node)
            _check_enum(node)
            todo += [(each, resolver) for each in resource.subresources()]
            targets += [self._target(node, keyword, resolver) for keyword in self._refs if keyword in node]
        self._check_cycles()

    def _target(self, node: _Schema, keyword: str, resolver: Any) -> tuple[Resource[Any], Any]:
        reference = node[keyword]
        if not isinstance(reference, str):  # the meta-schemas of drafts 3 and 4 allow that
            raise SchemaFault(node, f"/{keyword}", f"{explain.summary(reference)} is not a string")
        try:
            found = resolver.lookup(reference)
        except (Unresolvable, ValueError) as error:
            is_outside = type(error) is Unresolvable  # subclasses: failures inside a known resource
            what = f"{quote(reference)} {_OUTSIDE if is_outside else _NOTHING}"
            raise SchemaFault(node, f"/{keyword}", what, _COPY if is_outside else "") from error
        target = found.contents
        if not isinstance(target, dict | bool):
            what = f"{quote(reference)} leads to {json_type(target)}, not a schema"
            raise SchemaFault(node, f"/{keyword}", what)
        self._edges[id(node)].append(id(target))
        return self._specification.create_resource(target), found.resolver

    def _check_cycles(self) -> None:
        """Raise SchemaFault for a reference on a cycle of subschemas that apply to the same value."""
        try:
            TopologicalSorter(self._edges).prepare()
        except CycleError as error:
            cycle = set(error.args[1])
            on_it = [node for key, node in self._nodes.items() if key in cycle]
            node, keyword = next((node, key) for node in on_it for key in self._refs if key in node)
            raise SchemaFault(node, f"/{keyword}", _ENDLESS) from error


def _in_place(node: _Schema) -> Iterator[_Schema]:
    for keyword in _IN_PLACE:
        inner = node.get(keyword)
        yield from (
            each for each in (inner if isinstance(inner, list) else [inner]) if isinstance(each, dict)
        )
    for keyword in _IN_PLACE_BY_NAME:
        named = node.get(keyword)
        if isinstance(named, dict):  # a keyword of another draft may hold any value
            yield from (each for each in named.values() if isinstance(each, dict))


def _check_patterns(node: _Schema) -> None:
    named = node.get("patternProperties")
    patterns = [("/pattern", node["pattern"])] if "pattern" in node else []
    patterns += [("/patternProperties" + pointer_of([each]), each) for each in named or ()]
    for key, pattern in patterns:
        try:
            re.compile(pattern)
        except (re.error, OverflowError) as error:
            what = f"{quote(pattern)} is not a regular expression as Python has them"
            raise SchemaFault(node, key, f"{what} ({error})") from error


def _check_types(node: _Schema) -> None:
    """Raise SchemaFault for an unknown type name. Draft 3 allows any, but jsonschema cannot apply it."""
    names = node.get("type")
    for name in names if isinstance(names, list) else [names]:
        if isinstance(name, str) and name not in ARTICLES:
            raise SchemaFault(node, "/type", f"{quote(name)} is not a type")


def _check_enum(node: _Schema) -> None:
    """Raise SchemaFault for an enum that no answer fits. Newer drafts allow it."""
    if node.get("enum") == []:
        raise SchemaFault(node, "/enum", "is empty, so that no answer would fit")


def _pointer_to(schema: Value, node: object) -> str:
    """The JSON Pointer to node inside schema; node is found by identity."""
    todo: list[tuple[str, Value]] = [("", schema)]
    while todo:
        pointer, value = todo.pop()
        if value is node:
            return pointer
        inner = (
            enumerate(value) if isinstance(value, list) else value.items() if isinstance(value, dict) else ()
        )
        todo += [(pointer + pointer_of([key]), each) for key, each in inner]
    return ""
