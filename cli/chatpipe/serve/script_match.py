"""The conditions of a script: the requests that a rule admits, and those that it leaves to later rules. Pure.

A condition about texts is met by one text of several. A text in a rule is what it has to contain; a name is
what it has to be. An object says it otherwise: {"equals": TEXT}, {"contains": TEXT} or {"regex": PATTERN}.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, Protocol, TypeVar

from chatpipe.errors import quantity
from chatpipe.inputs import values
from chatpipe.inputs.names import nearest, or_list
from chatpipe.inputs.values import Value
from chatpipe.named_tuple import NamedTuple

_WAYS = ("contains", "equals", "regex")
_SYSTEM = ("system", "developer")
_RESULTS = ("tool", "function")

Body = dict[str, Any]


_T = TypeVar("_T")
_SHOWN = 40  # characters of a value in a message


class NoRule(ValueError):
    """A value that is no rule, or no part of one. Its words are for the user, pointer leads to it."""

    def __init__(self, pointer: str, what: str, fix: str = "") -> None:
        self.pointer, self.what, self.fix = pointer, what, fix
        super().__init__(what)


class Facts:
    """A request, and what conditions ask of it, which is found once for all rules."""

    def __init__(self, body: Body) -> None:
        self.body = body
        self._texts: dict[str, list[str]] = {}
        self._numbers: dict[str, int] = {}

    def texts(self, part: str) -> list[str]:
        """The texts of a part, a key of TEXTS."""
        if part not in self._texts:
            self._texts[part] = TEXTS[part].texts(self.body)
        return self._texts[part]

    def number(self, part: str) -> int:
        """The number or the truth of a part, a key of _NUMBERS."""
        if part not in self._numbers:
            self._numbers[part] = _NUMBERS[part](self.body)
        return self._numbers[part]


class Condition(Protocol):
    """A condition of a rule."""

    def admits(self, request: Facts) -> bool: ...

    def implies(self, other: Condition) -> bool:
        """Return True if other, which is about the same, admits all that this one does."""


# Tests of one text, or of one value


class TextTest(NamedTuple):
    """A test of a text. way is one of _WAYS."""

    way: str
    text: str

    def passes(self, text: str) -> bool:
        if self.way == "regex":
            return re.search(self.text, text) is not None
        return text == self.text if self.way == "equals" else self.text in text

    def is_within(self, other: TextTest) -> bool:
        """Return True if each text that passes also passes the other test."""
        if other.way == "contains" and self.way != "regex":
            return other.text in self.text
        return self == other or (self.way == "equals" and other.passes(self.text))


class TextCondition(NamedTuple):
    """Tests of the texts that a part of the body has. One of the texts passes them all."""

    part: str
    tests: tuple[TextTest, ...]

    def admits(self, request: Facts) -> bool:
        return any(all(test.passes(text) for test in self.tests) for text in request.texts(self.part))

    def implies(self, other: Condition) -> bool:
        if not isinstance(other, TextCondition):
            return False
        for each in other.tests:  # loops, because each pair of rules comes here
            for test in self.tests:
                if test.is_within(each):
                    break
            else:
                return False
        return True


class NumberCondition(NamedTuple):
    """A number that a part of the body has, or a truth value."""

    part: str
    number: int

    def admits(self, request: Facts) -> bool:
        return request.number(self.part) == self.number

    def implies(self, other: Condition) -> bool:
        return self == other


class PointerCondition(NamedTuple):
    """A value of the body at a JSON Pointer (RFC 6901): a test of its text, its presence, or equality."""

    pointer: str
    test: TextTest | None
    exists: bool
    value: Value

    def admits(self, request: Facts) -> bool:
        found = list(_at(request.body, self.pointer))
        if not self.exists or not found:
            return bool(found) == self.exists
        if self.test is not None:
            return isinstance(found[0], str) and self.test.passes(found[0])
        return self.value is ... or _is_same(found[0], self.value)

    def implies(self, other: Condition) -> bool:
        if self == other:
            return True
        if not isinstance(other, PointerCondition) or not (self.exists and other.exists):
            return False
        if other.test is None:
            return other.value is ...
        if self.test is None:
            return isinstance(self.value, str) and other.test.passes(self.value)
        return self.test.is_within(other.test)


class AllOf(NamedTuple):
    """Several conditions, each by a name."""

    conditions: Mapping[str, PointerCondition]

    def admits(self, request: Facts) -> bool:
        return all(each.admits(request) for each in self.conditions.values())

    def implies(self, other: Condition) -> bool:
        return isinstance(other, AllOf) and covers(other.conditions, self.conditions)


def covers(weaker: Mapping[str, Condition], stronger: Mapping[str, Condition]) -> bool:
    """Return True if each body that all conditions of stronger admit is admitted by those of weaker."""
    for name, each in weaker.items():
        other = stronger.get(name)
        if other is None or not other.implies(each):
            return False
    return True


# Parts of a request


def _message_texts(body: Body) -> Iterator[tuple[str, str]]:
    """The role and the text of each message."""
    for message in _objects(body.get("messages")):
        yield str(message.get("role")), content_text(message.get("content"))


def _objects(value: Value) -> list[Body]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def content_text(content: Value) -> str:
    """The text of a content: itself, or the texts of its parts with a line break between them."""
    if isinstance(content, list):
        parts = (part.get("text") for part in _objects(content))
        return "\n".join(text for text in parts if isinstance(text, str))
    return content if isinstance(content, str) else ""


def _model(body: Body) -> list[str]:
    return [body["model"]] if isinstance(body.get("model"), str) else []


def _last_user(body: Body) -> list[str]:
    return [text for role, text in _message_texts(body) if role == "user"][-1:]


def _last_results(body: Body) -> list[str]:
    """The texts of the results after the last message of the model."""
    texts: list[str] = []
    for role, text in _message_texts(body):
        texts = [*texts, text] if role in _RESULTS else []
    return texts


def _call_ids(body: Body) -> list[str]:
    """The ids of the calls whose results come last."""
    ids: list[str] = []
    for message in _objects(body.get("messages")):
        ids = [*ids, str(message.get("tool_call_id"))] if message.get("role") == "tool" else []
    return ids


def _tool_names(body: Body) -> list[str]:
    inner = (tool.get(str(tool.get("type"))) for tool in _objects(body.get("tools")))
    return [str(each.get("name")) for each in inner if isinstance(each, dict)]


class TextPart(NamedTuple):
    """A part of a body with texts. way is how a plain text in a rule is compared."""

    way: Literal["contains", "equals"]
    texts: Callable[[Body], list[str]]


TEXTS: Mapping[str, TextPart] = {
    "model": TextPart("equals", _model),
    "user": TextPart("contains", _last_user),
    "system": TextPart(
        "contains", lambda body: [text for role, text in _message_texts(body) if role in _SYSTEM]
    ),
    "tool": TextPart("contains", _last_results),
    "last": TextPart("contains", lambda body: [text for _, text in _message_texts(body)][-1:]),
    "any": TextPart("contains", lambda body: [text for _, text in _message_texts(body)]),
    "tool_call_id": TextPart("equals", _call_ids),
    "tool_name": TextPart("equals", _tool_names),
}
_NUMBERS: Mapping[str, Callable[[Body], int]] = {
    "turn": lambda body: sum(role == "assistant" for role, _ in _message_texts(body)),
    "tool_results": lambda body: bool(_last_results(body)),
    "stream": lambda body: body.get("stream") is True,
}
_TRUTHS = ("tool_results", "stream")
COUNTS = ("occurrence", "attempt")
NAMES = frozenset((*TEXTS, *_NUMBERS, *COUNTS, "body"))


# A rule's words -> conditions


def parse_condition(name: str, value: Value, faults: list[NoRule]) -> Condition:
    """The condition `name` of a rule, other than COUNTS. Raises NoRule.

    What is wrong with its parts is added to faults. Then the condition is of no use.
    """
    pointer = f"/match/{name}"
    if name in TEXTS:
        listed = isinstance(value, list) and value
        tests = [(f"{pointer}/{at}", each) for at, each in enumerate(value)] if listed else [(pointer, value)]
        found = [tried(faults, _text_test, place, each, TEXTS[name].way) for place, each in tests]
        return TextCondition(name, tuple(test for test in found if test is not None))
    if name in _TRUTHS:
        if not isinstance(value, bool):
            raise NoRule(pointer, f"'{name}' is {shown_value(value)}, not true or false")
        return NumberCondition(name, value)
    if name in _NUMBERS:
        return NumberCondition(name, whole_number(pointer, name, value, least=0))
    if name == "body":
        if not isinstance(value, dict):
            raise NoRule(pointer, f"'body' is {shown_value(value)}, not an object of JSON Pointers")
        parts = {each: tried(faults, _pointer_condition, each, wanted) for each, wanted in value.items()}
        return AllOf({each: part for each, part in parts.items() if part is not None})
    raise unknown(pointer, name, NAMES, "a condition")


def parse_count(name: str, value: Value, faults: list[NoRule]) -> frozenset[int]:
    """The numbers that `occurrence` or `attempt` names: one, or an array of them.

    What is none is added to faults.
    """
    pointer = f"/match/{name}"
    listed = isinstance(value, list) and value
    numbers = [(f"{pointer}/{at}", each) for at, each in enumerate(value)] if listed else [(pointer, value)]
    found = [tried(faults, whole_number, place, name, each, 1) for place, each in numbers]
    return frozenset(number for number in found if number is not None)


def whole_number(pointer: str, name: str, value: Value, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise NoRule(pointer, f"'{name}' is {shown_value(value)}, not a whole number ({least} or more)")
    return value


def shown_value(value: Value) -> str:
    """A value as JSON, for a message."""
    text = values.dumps(value).decode()
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def tried(faults: list[NoRule], parse: Callable[..., _T], *words: Any) -> _T | None:
    """The result of parse for the words. None if they are no part of a rule: then its fault is added."""
    try:
        return parse(*words)
    except NoRule as fault:
        faults.append(fault)
        return None


def unknown(pointer: str, name: str, known: frozenset[str], kind: str) -> NoRule:
    """The fault of a name that is not known."""
    likely = nearest(name, known, 3)
    fix = f"did you mean '{likely}'?" if likely else f"use {or_list(sorted(known))}"
    return NoRule(pointer, f"'{name}' is not {kind}", fix)


def _text_test(pointer: str, value: Value, way: str) -> TextTest:
    if isinstance(value, str):
        return TextTest(way, value)
    if not isinstance(value, dict):
        raise NoRule(
            pointer, f'it is {shown_value(value)}, not a text or an object such as {{"regex": PATTERN}}'
        )
    if len(value) != 1:
        raise NoRule(pointer, f"{quantity(len(value), 'test')} in one object", f"use one of {or_list(_WAYS)}")
    ((name, text),) = value.items()
    if name not in _WAYS:
        raise unknown(f"{pointer}/{name}", name, frozenset(_WAYS), "a test of a text")
    if not isinstance(text, str):
        raise NoRule(f"{pointer}/{name}", f"it is {shown_value(text)}, not a text")
    if name == "regex":
        try:
            re.compile(text)
        except (re.error, OverflowError, RecursionError) as error:
            raise NoRule(f"{pointer}/{name}", f"'{text}' is not a regular expression: {error}") from error
    return TextTest(name, text)


def _pointer_condition(pointer: str, value: Value) -> PointerCondition:
    place = f"/match/body/{pointer.replace('~', '~0').replace('/', '~1')}"
    if not pointer.startswith("/") or re.search("~(?![01])", pointer):
        fix = f"begin with a slash, as '/{pointer}'" if pointer[:1] != "/" else "write ~0 for ~ and ~1 for /"
        raise NoRule(place, f"'{pointer}' is not a JSON Pointer", fix)
    if isinstance(value, dict) and list(value) == ["exists"]:
        if not isinstance(value["exists"], bool):
            raise NoRule(place, f"'exists' is {shown_value(value['exists'])}, not true or false")
        return PointerCondition(pointer, None, value["exists"], ...)
    if isinstance(value, dict) and len(value) == 1 and next(iter(value)) in _WAYS:
        return PointerCondition(pointer, _text_test(place, value, "equals"), True, ...)
    return PointerCondition(pointer, None, True, value)


def _at(value: Value, pointer: str) -> Iterator[Value]:
    """The value at a JSON Pointer, if there is one."""
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and re.fullmatch("0|[1-9][0-9]{0,8}", name) and int(name) < len(value):
            value = value[int(name)]
        else:
            return
    yield value


def _is_same(one: Value, other: Value) -> bool:
    """Equality in JSON: true is not 1, and 1 is 1.0."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)
