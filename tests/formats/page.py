"""The sections of chatpipe-formats(5) that describe records, made from the schemas of share/schemas.

    PYTHONPATH=tests python -m formats.page

A section stands between `.\\" schema NAME` and `.\\" end`. The rest of the page is written by hand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from formats import schemas
from formats.schemas import Field, Schema, Variant

PAGE = Path(__file__).parents[2] / "man" / "chatpipe-formats.5"
_COLUMNS = 66  # of an example
_TOML = {"prices"}  # files that are not JSON, whose example is a table for each key
_SECTION = re.compile(r'^\.\\" schema (?P<name>\S+)\n.*?^\.\\" end\n', re.MULTILINE | re.DOTALL)
_MACRO = re.compile(
    r"(?:`(?P<code>[^`]+)`|(?P<page>chatpipe[a-z-]*)\((?P<section>[0-9])\))(?P<point>[.,;:]*)(?: |$)"
)


def render(page: str) -> str:
    """The page with the sections that its schemas make."""
    return _SECTION.sub(lambda match: "".join(f"{line}\n" for line in _section(match["name"])), page)


def _section(name: str) -> Iterator[str]:
    schema = schemas.load(name)
    yield f'.\\" schema {name}'
    yield f".Ss {schema['title']}"
    yield from _prose(schema["description"], schema)
    yield "The schema is"
    yield f".Pa {name}.schema.json ."
    for variant in schemas.variants(name):
        yield from _variant(variant, schema)
    written = _table if name in _TOML else _example
    lines = [line for example in schema["examples"] for line in written(example)]
    yield from (".Bd -literal -offset indent", *lines, ".Ed")
    yield '.\\" end'


def _variant(variant: Variant, root: Schema) -> Iterator[str]:
    if variant.title:
        yield ".Pp"
        yield from _prose(f"{variant.title}: {variant.schema['description']}", root)
    found = list(schemas.fields(variant.schema, root))
    if found:
        yield ".Bl -tag -width Ds"
        for field in found:
            yield f".It Va {_escaped(field.path)} Pq {_type(field)}"
            own = frozenset(map(str, field.schema.get("enum", field.schema.get("examples", ()))))
            yield from _prose(field.schema["description"] + _words(field.schema), root, own)
        yield ".El"


def _type(field: Field) -> str:
    types = field.schema.get("type") or [each.get("type") for each in field.schema.get("oneOf", ())]
    names = [types] if isinstance(types, str) else list(dict.fromkeys(types))
    text = " or ".join(names) or "any value"
    return text if field.is_required or "*" in field.path.split(".")[-1] else f"{text} , optional"


def _words(schema: Schema) -> str:
    """The words that are allowed, if the description does not say them."""
    words = [word for word in schema.get("enum", ()) if word is not None]
    words += schema.get("propertyNames", {}).get("enum", ())
    if not words or f"`{words[-1]}`" in schema["description"]:
        return ""
    *first, last = (f"`{word}`" for word in words)
    return f" It is {', '.join(first)} or {last}." if "enum" in schema else ""


def _prose(text: str, root: Schema, own: frozenset[str] = frozenset()) -> Iterator[str]:
    """A sentence a line, but for what is marked: `code`, `--options` and pages(1).

    own are the words that the field of the text may be. They may be the names of other fields, too.
    """
    for sentence in re.split(r"(?<=[.?]) (?=[A-Z`])", text):
        at = 0
        for match in _MACRO.finditer(sentence):
            if before := sentence[at : match.start()].strip():
                yield before
            yield f".{_macro(match, root, own)}{' ' + match['point'] if match['point'] else ''}"
            at = match.end()
        if rest := sentence[at:].strip():
            yield rest


def _macro(match: re.Match[str], root: Schema, own: frozenset[str]) -> str:
    if match["page"]:
        return f"Xr {match['page']} {match['section']}"
    code = match["code"]
    option = re.fullmatch(r"-(-[a-z-]+)(?: (\S+))?", code)
    if option:
        return f"Fl {_escaped(option[1])}{f' Cm {option[2]}' if option[2] else ''}"
    if code in own:
        return f"Cm {_escaped(code)}"
    if code in _names(root):
        return f"Va {_escaped(code)}"
    return f"{'Cm' if code in _all_words(root) else 'Ql'} {_escaped(code)}"


def _names(root: Schema) -> set[str]:
    """The names of all fields of a schema, and their paths."""
    forms = [root, *root.get("oneOf", ())]
    paths = {field.path for form in forms for field in schemas.fields(form, root)}
    return paths | {path.rpartition(".")[2] for path in paths}


def _all_words(root: Any) -> set[str]:
    """All words that some field of a schema may be."""
    if isinstance(root, dict):
        return set(map(str, root.get("enum", ()))).union(*map(_all_words, root.values()))
    return set().union(*map(_all_words, root)) if isinstance(root, list) else set()


def _escaped(text: str) -> str:
    return text.replace("\\", r"\e").replace("-", r"\-").replace('"', r"\(dq")


def _example(value: Any) -> Iterator[str]:
    """The JSON of an example, broken behind commas where it is too long."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    line = ""
    for piece in re.split(r'(?<=,)(?=["{\[])', text):
        if line and len(line) + len(piece) > _COLUMNS:
            yield _literal(line)
            line = " "
        line += piece
    yield _literal(line)


def _table(value: dict[str, dict[str, Any]]) -> Iterator[str]:
    """The TOML of an example that has only tables."""
    for name, table in value.items():
        yield _literal(f"[{json.dumps(name)}]")
        yield from (_literal(f"{key} = {json.dumps(each)}") for key, each in table.items())


def _literal(line: str) -> str:
    return line.replace("\\", r"\e").replace("-", r"\-")


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
