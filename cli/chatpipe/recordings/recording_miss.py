"""A request that was not recorded: the words for it, with the nearest recording and where the two differ."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from chatpipe.errors import NotRecorded
from chatpipe.inputs import values
from chatpipe.inputs.values import Value, as_list
from chatpipe.named_tuple import NamedTuple
from chatpipe.recordings.exchange_record import RecordedRequest
from chatpipe.recordings.recording_index import RecordingIndex
from chatpipe.recordings.request_key import compared_members, request_key, route_of

_SHOWN_CHARS = 40
_BEFORE_CHARS = 12  # shown of what two texts share
_MISSING = object()
_OTHER_TRY = "the first try of this request was not recorded"


class Difference(NamedTuple):
    """The first place at which two bodies differ, a JSON Pointer, and what stands there in each."""

    pointer: str
    recorded: str
    asked: str


def no_recording(index: RecordingIndex, request: RecordedRequest, n: int) -> NotRecorded:
    """The fault of the attempt n of a request that the index does not have.

    Its place is the line of the nearest recording. Reads the whole file. Raises MissingInput and BadInput.
    """
    path = "FILE, another one than the cassette," if index.is_cassette else shlex.quote(index.path)
    fix = f"add --record {path} to record it"
    nearest, place, named_key = None, index.path, ""
    best: tuple[int, ...] = ()
    for number, recorded, key in index.requests():
        likeness = _likeness(recorded, request)
        if likeness >= best:
            nearest, place, named_key, best = recorded, f"{index.path}:{number}", key, likeness
    if nearest is None:
        what = "there is no recording in it"
    elif named_key not in ("", request_key(nearest)) and not index.loose:
        what, fix = "the 'key' of this recording is not that of its request", "delete the key"
    elif request_key(nearest, loose=index.loose) == request_key(request, loose=index.loose):
        what = f"try {n} of this request was not recorded" if n > 1 else _OTHER_TRY
    else:
        where = _difference_text(nearest, request, loose=index.loose)
        what = f"no recording of this request: the nearest differs at {where}"
    return NotRecorded(what, place=place, fix=fix)


def first_difference(recorded: Value, asked: Value) -> Difference | None:
    """The first difference between two values, None if they are equal."""
    found = next(_differences(recorded, asked, ""), None)
    if found is None:
        return None
    pointer, old, new = found
    if isinstance(old, str) and isinstance(new, str):
        return Difference(pointer, *_shortened_texts(old, new))
    return Difference(pointer, _shown(old), _shown(new))


def _difference_text(recorded: RecordedRequest, asked: RecordedRequest, *, loose: bool) -> str:
    bodies = [
        compared_members(each.body, loose=loose) if isinstance(each.body, dict) else each.body
        for each in (recorded, asked)
    ]
    routes = [f"{each.method} {route_of(each.path)}" for each in (recorded, asked)]
    try:
        found = first_difference(*bodies)
    except RecursionError:  # hundreds of levels
        found = None
    if found is None or routes[0] != routes[1]:
        found = Difference("the request line", routes[0], routes[1])
    return f"{found.pointer or 'the body'}: recorded {found.recorded}, asked {found.asked}"


def _likeness(recorded: RecordedRequest, asked: RecordedRequest) -> tuple[int, ...]:
    """The likeness of two requests: greater tuples are more alike."""
    is_same_route = (recorded.method, route_of(recorded.path)) == (asked.method, route_of(asked.path))
    old, new = recorded.body, asked.body
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return (is_same_route, old == new)
    before, after = as_list(old.get("messages")), as_list(new.get("messages"))
    return (
        is_same_route,
        before[-1:] == after[-1:] and bool(after),
        old.get("model") == new.get("model"),
        sum(name in old and old[name] == value for name, value in new.items()),
        -sum(name not in new for name in old),
        sum(one == other for one, other in zip(before, after, strict=False)),
        _shared_chars(_text_of(before[-1:]), _text_of(after[-1:])),
    )


def _text_of(messages: list[Value]) -> str:
    content = messages[0].get("content") if messages and isinstance(messages[0], dict) else None
    return content if isinstance(content, str) else ""


def _differences(recorded: Value, asked: Value, pointer: str) -> Iterator[tuple[str, Value, Value]]:
    """The places at which two values differ: those of the asked one first."""
    if isinstance(recorded, dict) and isinstance(asked, dict):
        for name in [*asked, *(each for each in recorded if each not in asked)]:
            below = f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}"
            yield from _differences(recorded.get(name, _MISSING), asked.get(name, _MISSING), below)
    elif isinstance(recorded, list) and isinstance(asked, list):
        for at in range(max(len(recorded), len(asked))):
            old, new = (each[at] if at < len(each) else _MISSING for each in (recorded, asked))
            yield from _differences(old, new, f"{pointer}/{at}")
    elif type(recorded) is not type(asked) or recorded != asked:
        yield pointer, recorded, asked


def _shortened_texts(one: str, other: str) -> tuple[str, str]:
    """Two different texts as JSON, cut to where they begin to differ."""
    shared = _shared_chars(one, other)
    start = shared - _BEFORE_CHARS if shared > _BEFORE_CHARS + 3 else 0
    return _excerpt(one, start), _excerpt(other, start)


def _shared_chars(one: str, other: str) -> int:
    """The number of characters that two texts begin with alike."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def _excerpt(text: str, start: int) -> str:
    end = start + _SHOWN_CHARS
    shown = f"{'...' if start else ''}{text[start:end]}{'...' if end < len(text) else ''}"
    return values.dumps(shown).decode()


def _shown(value: Value) -> str:
    if value is _MISSING:
        return "nothing"
    if isinstance(value, str):
        return _excerpt(value, 0)
    text = values.dumps(value).decode()
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."
