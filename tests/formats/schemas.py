"""The JSON Schemas of share/schemas: loaded, applied, and taken apart into the fields that they name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

FOLDER = Path(__file__).parents[2] / "share" / "schemas"
_SUFFIX = ".schema.json"

Schema = Mapping[str, Any]


class Field(NamedTuple):
    """A property of a schema. path is `a.b`, `a[].b` for the elements of an array, `a.*` for any key."""

    path: str
    schema: Schema
    is_required: bool


class Variant(NamedTuple):
    """One of the forms that a record has. The only form of a record has no title."""

    title: str
    schema: Schema


def names() -> list[str]:
    return sorted(path.name.removesuffix(_SUFFIX) for path in FOLDER.glob(f"*{_SUFFIX}"))


@cache
def load(name: str) -> Schema:
    schema: Schema = json.loads((FOLDER / f"{name}{_SUFFIX}").read_text(encoding="utf-8"))
    return schema


@cache
def _registry() -> Registry[Any]:
    """The schemas by the names of their files, which is how they refer to one another."""
    found = ((f"{name}{_SUFFIX}", Resource.from_contents(load(name))) for name in names())
    return Registry().with_resources(found)


@cache
def _validator(name: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": f"{name}{_SUFFIX}"}, registry=_registry())


def problems(name: str, value: Any) -> list[str]:
    """The places of a value that its schema refuses, each with the reason."""
    return [f"{error.json_path}: {error.message}" for error in _validator(name).iter_errors(value)]


def resolved(schema: Schema, root: Schema) -> Schema:
    """The schema that a `$ref` leads to, with what stands beside the `$ref` before it."""
    reference = schema.get("$ref")
    if reference is None:
        return schema
    file, _, pointer = reference.partition("#")
    found: Any = load(file.removesuffix(_SUFFIX)) if file else root
    for part in pointer.split("/")[1:]:
        found = found[part]
    return {**found, **{key: value for key, value in schema.items() if key != "$ref"}}


def variants(name: str) -> list[Variant]:
    schema = load(name)
    if "oneOf" not in schema:
        return [Variant("", schema)]
    return [Variant(each["title"], each) for each in schema["oneOf"]]


def fields(schema: Schema, root: Schema, prefix: str = "") -> Iterator[Field]:
    """The fields of an object, and of the objects inside it. Those of another file are left to it."""
    required = schema.get("required", ())
    named = [*schema.get("properties", {}).items()]
    named += [(_example_of(each), value) for each, value in schema.get("patternProperties", {}).items()]
    for name, value in named:
        path = f"{prefix}{name}"
        yield Field(path, resolved(value, root), name in required)
        yield from _inner(value, root, path)
    others = schema.get("additionalProperties")
    if isinstance(others, dict) and not prefix:
        yield from fields(resolved(others, root), root, "*.")


def _inner(value: Schema, root: Schema, path: str) -> Iterator[Field]:
    """The fields of a field. Those of a definition are described once, where it is used."""
    if "$ref" in value:
        return
    yield from fields(value, root, f"{path}.")
    if isinstance(items := value.get("items"), dict):
        yield from fields(items, root, f"{path}[].")
    if isinstance(others := value.get("additionalProperties"), dict):
        yield from fields(others, root, f"{path}.*.")


def _example_of(pattern: str) -> str:
    """A name for people: `patch N` for `^patch [1-9][0-9]*$`."""
    return pattern.removeprefix("^").removesuffix("$").replace("[1-9][0-9]*", "N")


def used(value: Any, path: str = "") -> Iterator[str]:
    """The paths of all that is in a value, as fields() writes them, with each key also as `*`."""
    if isinstance(value, dict):
        for key, each in value.items():
            for name in (re.sub(" [0-9]+$", " N", key), "*"):
                inner = f"{path}.{name}" if path else name
                yield inner
                yield from used(each, inner)
    elif isinstance(value, list):
        for each in value:
            yield from used(each, f"{path}[]")
