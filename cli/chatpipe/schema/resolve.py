"""A JSON Schema -> sure to work when an answer comes: what is wrong with it is found before one is paid for.

Beside what its draft's meta-schema says, every $ref is followed (within the schema: nothing is ever
fetched), every pattern compiled, and a $ref that leads back to itself is found.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from jsonschema import validators
from jsonschema.protocols import Validator
from referencing import Registry, Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import SchemaRegistry, specification_with

from chatpipe.errors import BadInput
from chatpipe.inputs.messages import kind
from chatpipe.inputs.values import Value
from chatpipe.schema import wording
from chatpipe.schema.rules import pointer_of

_Schema = dict[str, Any]

_REFS = ("$ref", "$dynamicRef", "$recursiveRef")
# What looks at the same value as the schema that it stands in: a loop of these never ends.
_IN_PLACE = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else")
_IN_PLACE_BY_NAME = ("dependentSchemas", "dependencies")
_NOTHING = "leads to nothing in the schema"
_OUTSIDE = "leads out of the schema"
_COPY = "nothing else is read: copy what it means into '$defs'"
_ENDLESS = "leads back to itself without an end"
_DRAFTS = "the drafts are 3, 4, 6, 7, 2019-09 and 2020-12: leave '$schema' out for the last"


class Wrong(Exception):
    """What is wrong, and the object in the schema that it is wrong with; key is the member meant."""

    def __init__(self, node: object, key: str, what: str, fix: str = "") -> None:
        self.node = node
        self.key = key
        self.what = what
        self.fix = fix
        super().__init__(what)


def checked(schema: _Schema, place: Callable[[str], str]) -> type[Validator]:
    """The class of jsonschema for the draft of a schema, once it is sure to work.

    place gives the `file:line` of a pointer into the schema. Raises BadInput.
    """
    draft = _draft_of(schema, place)
    try:
        _check_form(schema, draft)
        _Walk(schema, draft).check()
    except RecursionError as error:
        raise BadInput("the schema is nested too deeply", place=place("")) from error
    except Wrong as wrong:
        pointer = _pointer_to(schema, wrong.node) + wrong.key
        text = f"{pointer}: {wrong.what}" if pointer else f"not a JSON Schema: {wrong.what}"
        raise BadInput(text, place=place(pointer), fix=wrong.fix) from wrong
    return draft


def _draft_of(schema: _Schema, place: Callable[[str], str]) -> type[Validator]:
    name = schema.get("$schema", "https://json-schema.org/draft/2020-12/schema")
    found = _known(name) if isinstance(name, str) else None
    if found is None:
        what = f"/$schema: {wording.shown(name)} is not a draft of JSON Schema that is known"
        raise BadInput(what, place=place("/$schema"), fix=_DRAFTS)
    return found


def _known(draft: str) -> type[Validator] | None:
    try:
        found: type[Validator] | None = validators.validator_for({"$schema": draft}, default=None)  # type: ignore[arg-type]  # None is how it tells an unknown one without a warning
    except ValueError:  # not even a URI
        return None
    return found


def _check_form(part: _Schema, draft: type[Validator]) -> None:
    """By the meta-schema, its formats left aside: of patterns _check_patterns has more to say."""
    errors = list(draft(draft.META_SCHEMA).iter_errors(part))
    if errors:
        raise Wrong(part, *wording.told(errors))


class _Walk:
    """Through every schema inside a schema, and what their references lead to. No recursion."""

    def __init__(self, schema: _Schema, draft: type[Validator]) -> None:
        self._schema = schema
        self._draft = draft
        self._specification = specification_with(draft.ID_OF(draft.META_SCHEMA))  # type: ignore[attr-defined]  # of every draft's class
        self._refs = [keyword for keyword in _REFS if keyword in draft.VALIDATORS]
        self._nodes: dict[int, _Schema] = {}
        self._in_place: dict[int, list[int]] = {}

    def check(self) -> None:
        root = self._specification.create_resource(self._schema)
        registry: SchemaRegistry = Registry()
        todo = [(root, registry.with_resource(root.id() or "", root).resolver_with_root(root))]
        targets: list[tuple[Resource[Any], Any]] = []
        while todo or targets:
            # What is where schemas are looked for comes first: there it is known how its $id is to be read.
            is_target = not todo
            resource, resolver = (todo or targets).pop()
            node = resource.contents
            if not isinstance(node, dict) or id(node) in self._nodes:
                continue
            resolver = resolver if resource is root else resolver.in_subresource(resource)
            if is_target:
                _check_form(node, self._draft)  # the meta-schema did not know that it is a schema
            self._nodes[id(node)] = node
            self._in_place[id(node)] = [id(each) for each in _in_place(node)]
            _check_patterns(node)
            _check_types(node)
            todo += [(each, resolver) for each in resource.subresources()]
            targets += [self._target(node, keyword, resolver) for keyword in self._refs if keyword in node]
        self._check_loops()

    def _target(self, node: _Schema, keyword: str, resolver: Any) -> tuple[Resource[Any], Any]:
        reference = node[keyword]
        if not isinstance(reference, str):  # which the meta-schemas of drafts 3 and 4 allow
            raise Wrong(node, f"/{keyword}", f"{wording.shown(reference)} is not a string")
        try:
            found = resolver.lookup(reference)
        except (Unresolvable, ValueError) as error:
            is_outside = type(error) is Unresolvable  # its kinds are for what is looked for within
            what = f"{wording.quoted(reference)} {_OUTSIDE if is_outside else _NOTHING}"
            raise Wrong(node, f"/{keyword}", what, _COPY if is_outside else "") from error
        target = found.contents
        if not isinstance(target, dict | bool):
            what = f"{wording.quoted(reference)} leads to {kind(target)}, not a schema"
            raise Wrong(node, f"/{keyword}", what)
        self._in_place[id(node)].append(id(target))
        return self._specification.create_resource(target), found.resolver

    def _check_loops(self) -> None:
        """Take away, again and again, what leads to nothing that is left: loops remain."""
        ahead = {
            node: [each for each in nexts if each in self._nodes] for node, nexts in self._in_place.items()
        }
        behind: dict[int, list[int]] = {node: [] for node in ahead}
        for node, nexts in ahead.items():
            for each in nexts:
                behind[each].append(node)
        left = {node: len(nexts) for node, nexts in ahead.items()}
        ends = [node for node, count in left.items() if not count]
        while ends:
            for node in behind[ends.pop()]:
                left[node] -= 1
                if not left[node]:
                    ends.append(node)
        in_loops = [node for node, count in left.items() if count]
        if in_loops:
            raise Wrong(*self._in_loop({node: _first(ahead[node], left) for node in in_loops}), _ENDLESS)

    def _in_loop(self, after: dict[int, int]) -> tuple[_Schema, str]:
        """A schema whose reference is a part of a loop, and its keyword. after leads on, and into it."""
        node = next(iter(after))
        passed: set[int] = set()
        while node not in passed:
            passed.add(node)
            node = after[node]
        while not (keywords := [keyword for keyword in self._refs if keyword in self._nodes[node]]):
            node = after[node]
        return self._nodes[node], f"/{keywords[0]}"


def _first(nodes: list[int], left: dict[int, int]) -> int:
    return next(node for node in nodes if left[node])


def _in_place(node: _Schema) -> Iterator[_Schema]:
    for keyword in _IN_PLACE:
        inner = node.get(keyword)
        yield from (
            each for each in (inner if isinstance(inner, list) else [inner]) if isinstance(each, dict)
        )
    for keyword in _IN_PLACE_BY_NAME:
        named = node.get(keyword)
        if isinstance(named, dict):  # another draft's keyword may hold anything
            yield from (each for each in named.values() if isinstance(each, dict))


def _check_patterns(node: _Schema) -> None:
    named = node.get("patternProperties")
    patterns = [("/pattern", node["pattern"])] if "pattern" in node else []
    patterns += [("/patternProperties" + pointer_of([each]), each) for each in named or ()]
    for key, pattern in patterns:
        try:
            re.compile(pattern)
        except (re.error, OverflowError) as error:
            what = f"{wording.quoted(pattern)} is not a regular expression as Python has them"
            raise Wrong(node, key, f"{what} ({error})") from error


def _check_types(node: _Schema) -> None:
    """Draft 3 lets a schema name types that nobody knows, which jsonschema then cannot tell."""
    names = node.get("type")
    for name in names if isinstance(names, list) else [names]:
        if isinstance(name, str) and name not in wording.ARTICLES:
            raise Wrong(node, "/type", f"{wording.quoted(name)} is not a type")


def _pointer_to(schema: Value, node: object) -> str:
    """The JSON Pointer of a part of schema, found by its identity."""
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
