"""`--schema-fields 'mood good|bad, score int?'` -> a JSON Schema. Pure.

    fields       field, field ... or one field a line
    field        NAME [TYPE] [: DESCRIPTION]
    TYPE         str, int, number, float, bool, or WORD|WORD...; then [] for a list; then ? for null

A description may hold commas where each field has a line of its own.
"""

from __future__ import annotations

import re
from difflib import get_close_matches

from chatpipe.errors import UsageFault
from chatpipe.inputs.values import Value
from chatpipe.named_tuple import NamedTuple

OPTION = "--schema-fields"
_TYPES = {"str": "string", "int": "integer", "number": "number", "float": "number", "bool": "boolean"}
# Names of the same types in JSON Schema, in programming languages, and in plain English.
_FOREIGN_TYPES = {
    **dict.fromkeys(("string", "text", "char", "varchar", "date", "datetime", "enum", "any"), "str"),
    **dict.fromkeys(("integer", "long", "bigint", "count"), "int"),
    **dict.fromkeys(("num", "double", "decimal", "real"), "number"),
    **dict.fromkeys(("boolean", "flag", "yesno"), "bool"),
    **dict.fromkeys(("list", "array", "strings"), "str[]"),
}
_OBJECTS = frozenset({"object", "dict", "json"})  # no field has such a type
_NULLS = frozenset({"null", "none"})
_TRUTHS = frozenset({"true", "false"})
_QUOTES = "\"'`"
_LIST, _NULLABLE = "[]", "?"
# Descriptions that are a type, as YAML has it: `score: int`. `date: date` is a description.
_SURE_TYPES = frozenset({*_TYPES, "string", "integer", "boolean", "double", "array"})
_WORD_LIST = re.compile(r"[\w.-]+(?:\s*\|\s*[\w.-]+)+(?:\[\])?\??")
_LIKENESS = 0.7  # of a word and the type that it misspells; `name` and `number` have 0.6
_TYPED_LIST = re.compile(r"(?:list|array)\W\w+\W", re.IGNORECASE)


class _Type(NamedTuple):
    """A type as it was written, in its parts. words are the members of an enumeration."""

    name: str
    words: tuple[str, ...] = ()
    is_list: bool = False
    is_nullable: bool = False

    def schema(self) -> dict[str, Value]:
        value: dict[str, Value] = {"type": _TYPES[self.name]}
        if self.words:
            value["enum"] = list(self.words)
        if self.is_list:
            value = {"type": "array", "items": value}
        if self.is_nullable:
            value["type"] = [value["type"], "null"]
            if "enum" in value:
                value["enum"] = [*self.words, None]
        return value


def parse_fields(text: str) -> dict[str, Value]:
    """The strict object schema of the fields, all of them required, in the order written.

    Raises UsageFault for anything that the grammar does not have, with the nearest form that it has.
    """
    properties: dict[str, Value] = {}
    fields = _split(text)
    _refuse_yaml(fields)
    for field in fields:
        name, schema = _field(field)
        if name in properties:
            raise _fault(f"the field '{name}' is there twice", "give each field a name of its own")
        properties[name] = schema
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _split(text: str) -> list[str]:
    """The fields, without the space around them."""
    if "\n" in text.strip("\r\n"):
        fields = [line.strip() for line in text.splitlines() if line.strip()]
    else:
        fields = [field.strip() for field in text.split(",")] if text.strip() else []
    if not any(fields):
        raise _fault("there is no field", "write one, such as 'mood good|bad'")
    if "" in fields:
        kept = ", ".join(filter(None, fields))
        raise _fault("there is nothing between two commas or after the last one", _instead(kept))
    return fields


def _refuse_yaml(fields: list[str]) -> None:
    """Raise UsageFault if a type stands where a description is wanted, with the right form of all fields."""
    right = [_without_colon(field) for field in fields]
    for field, mended in zip(fields, right, strict=True):
        if mended != field:
            what = f"'{field.partition(':')[2].strip()}' is a type, and a colon begins a description"
            raise _fault(what, _instead(mended if any("," in each for each in right) else ", ".join(right)))


def _without_colon(field: str) -> str:
    """The field; if it has no type, and a description that is one, the field with this type."""
    name, _, description = field.partition(":")
    words, description = name.split(), description.strip()
    if not words or (len(words) > 1 and (_is_type(words[-1]) or not all(map(str.isalnum, words)))):
        return field
    name = "_".join(words)
    if _WORD_LIST.fullmatch(description):
        return f"{name} {_nearest_words(''.join(description.split()))}"
    core = description.rstrip(_LIST + _NULLABLE)
    if core.lower() in _SURE_TYPES or _TYPED_LIST.fullmatch(core + description[len(core) :].rstrip("?")):
        return f"{name} {_nearest_type(description)}"
    return field


def _refuse_name(name: str) -> None:
    """Raise UsageFault for a name that is a file, JSON, or the words of a field without a name."""
    if name.endswith(".json"):
        raise _fault(f"'{name}' is the name of a file", f"give a JSON Schema by --schema {name}")
    if "{" in name:
        raise _fault("this is JSON, not a list of fields", "give a JSON Schema by --schema-json")
    if '"' in name:
        raise _fault(f"a quote in the name '{name}'", "write names without quotes")
    if "|" in name:
        raise _fault(f"the words '{name}' have no name", _instead(f"name {_nearest_words(name)}"))


def _field(field: str) -> tuple[str, dict[str, Value]]:
    """The name of a field, and its schema."""
    head, colon, description = field.partition(":")
    description = description.strip()
    words = head.split()
    if not words:
        raise _fault(f"a field without a name: '{field}'", _instead(f"name: {description}"))
    name, *types = words
    _refuse_name(name)
    if ";" in name or (";" in head and len(types) > 1):
        right = ", ".join(filter(None, (part.strip() for part in head.split(";"))))
        raise _fault(f"a semicolon in '{head.strip()}'", _instead(right + field[len(head) :]))
    if "," in head:
        raise _fault(f"a comma in '{head.strip()}'", "write each field on a line of its own, or none")
    if len(types) > 1:
        raise _fault(
            f"'{' '.join(types)}' is not one word", _instead(_joined(name, types, colon, description))
        )
    schema = _type(name, types[0]).schema() if types else _Type("str").schema()
    if colon and not description:
        raise _fault(f"nothing follows the colon of '{field}'", _instead(head.strip()))
    return name, {**schema, "description": description} if colon else schema


def _joined(name: str, types: list[str], colon: str, description: str) -> str:
    """The nearest form of a field whose type has spaces: `good | bad ?`, `first name str`, a lost colon."""
    text = re.sub(r"\s+(?=[\[\]?])", "", " ".join(types))
    tail = f": {description}" if colon else ""
    if "|" in text:
        return f"{name} {_nearest_words(_bars(text))}{tail}"
    first, *rest = text.split()
    if not rest:
        return f"{name} {_nearest_type(first)}{tail}"
    if _is_type(first):
        return f"{name} {_nearest_type(first)}: {' '.join(rest)}"
    if len(rest) == 1 and first.isalnum() and _is_type(rest[0]):
        return f"{name}_{first} {_nearest_type(rest[0])}{tail}"
    if len(types) > 2 and all(word.isalnum() for word in types):
        return f"{name}: {text}"
    return f"{name} {_nearest_words('|'.join(word.strip(_QUOTES) for word in text.split()))}{tail}"


def _is_type(word: str) -> bool:
    return word.rstrip(_LIST + _NULLABLE) in _TYPES


def _bars(text: str) -> str:
    return "|".join("_".join(word.split()) for word in text.split("|") if word.strip())


def _type(name: str, text: str) -> _Type:
    """Parse the type of a field."""
    rest = text.removesuffix(_NULLABLE)
    is_nullable = rest != text
    core = rest.removesuffix(_LIST)
    is_list = core != rest
    suffix = _LIST * is_list + _NULLABLE * is_nullable
    if core in _TYPES:
        return _Type(core, (), is_list, is_nullable)
    if "|" not in core:
        if not _OBJECTS.isdisjoint(re.findall(r"\w+", core.lower())):
            raise _fault(f"'{text}' is not a type", "give a JSON Schema by --schema-json")
        near = _nearest(core, suffix)
        # A word that is like no type is more likely the second of a name than the only one of a list.
        right = f"{name}_{core}" if near == f"{core}|other" else f"{name} {near}"
        raise _fault(f"'{text}' is not a type", _instead(right))
    if (right := _nearest_words(text)) != text:
        raise _fault(_fault_of_words(text), _instead(f"{name} {right}"))
    return _Type("str", tuple(core.split("|")), is_list, is_nullable)


def _fault_of_words(text: str) -> str:
    """The words for a list that holds what is no text, or that is wrong in another way."""
    no_texts = {*_TYPES, *_NULLS, *_TRUTHS}
    for word in text.split("|"):
        if _bare(word).lower() in no_texts:
            return f"'{_bare(word)}' in '{text}' would be a text"
    return f"'{text}' is not a list of different words"


def _nearest_words(text: str) -> str:
    """The type that was meant by words between bars: the text itself if it is right.

    Names of types are no texts: `int|null` is `int?`, and `int|str` is text. Nor are true and false alone.
    """
    written = text.split("|")
    words = [word for word in dict.fromkeys(map(_bare, written)) if word]
    kept = [word for word in words if word.lower() not in _NULLS]
    around = "".join(word.replace(_bare(word), "", 1) for word in written)
    suffix = _LIST * (_LIST in around) + _NULLABLE * (_NULLABLE in around or kept != words)
    types = {_TYPES.get(word, "string") for word in kept}
    if {word.lower() for word in kept} == _TRUTHS:
        return f"bool{suffix}"
    if _TYPES.keys().isdisjoint(kept):
        return ("|".join(kept) if len(kept) > 1 else f"{kept[0]}|other" if kept else "str") + suffix
    if types <= {"integer", "number"}:
        return ("int" if types == {"integer"} else "number") + suffix
    return ("bool" if types == {"boolean"} else "str") + suffix


def _bare(word: str) -> str:
    """A word without the quotes, parentheses and marks that stand around it."""
    bare = word.strip(_LIST + _NULLABLE)
    bare = bare.removeprefix("(") if bare.count("(") > bare.count(")") else bare
    bare = bare.removesuffix(")") if bare.count(")") > bare.count("(") else bare
    bare = bare.strip(_LIST + _NULLABLE)
    return bare[1:-1] if len(bare) > 1 and bare[0] == bare[-1] and bare[0] in _QUOTES else bare


def _nearest_type(text: str) -> str:
    core = text.removesuffix(_NULLABLE).removesuffix(_LIST)
    return _nearest(core, text[len(core) :])


def _nearest(core: str, suffix: str) -> str:
    """The type that was meant by a word, with its suffix in the right order."""
    if inner := re.fullmatch(r"(?:list|array)\W(\w+)\W", core, re.IGNORECASE):  # list[str], array<int>
        core, suffix = inner[1], _LIST + suffix.removeprefix(_LIST)
    bare = core.strip("[]?<>(){}").lower()
    if bare in _NULLS:
        return f"str{suffix.removesuffix(_NULLABLE)}{_NULLABLE}"
    if core != bare and (bare in _TYPES or bare in _FOREIGN_TYPES):
        is_list = "[" in core or _LIST in suffix
        suffix = _LIST * is_list + _NULLABLE * ("?" in core + suffix)
    known = _FOREIGN_TYPES.get(bare) or (bare if bare in _TYPES else None if bare else "str")
    if known is None:
        near = get_close_matches(bare, [*_TYPES, *_FOREIGN_TYPES], 1, _LIKENESS)
        known = _FOREIGN_TYPES.get(near[0], near[0]) if near else None
    if known is None:
        return _nearest_words(f"{bare}|") + suffix
    return known + suffix.removeprefix(_LIST) if known.endswith(_LIST) else known + suffix


def _instead(field: str) -> str:
    return f"did you mean '{field}'?"


def _fault(what: str, fix: str) -> UsageFault:
    return UsageFault(what, place=OPTION, fix=fix)
