"""A key in the content of an answer -> `***`, also if it is split over the chunks of a stream.

A key may be a word, so that only one of 20 characters or more is replaced: see system/secrets.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set

from chatpipe.inputs import values
from chatpipe.inputs.values import Value, as_list
from chatpipe.response.key_spans import (
    Span,
    beginning_at_end,
    cut_span,
    encoded_spans,
    has_mark,
    may_begin,
    plain_spans,
)
from chatpipe.system import secrets
from chatpipe.system.secrets import MASK

# A stream is held back once this many characters of a key have come. Four are rarely there by chance.
_PROBE = 4
_RAW_PROBE = 8  # the same for the bytes of a stream, in which a short one is found less fast
_MOST_HELD = 1024  # chunks; a server that sends more of them inside a key sends it in another way
_MAX_LEVELS = 64  # as in response/merge.py
_CONTENT = (0, "content")  # the content of the first choice, as _growing() names it


def without_keys(value: Value, keys: Sequence[str], level: int = 0) -> Value:
    """The value with each key in its strings replaced. A part without a key is returned as it is."""
    if isinstance(value, str):
        for key in keys:
            if key in value:
                value = value.replace(key, MASK)
        return masked([value], keys)[0] if has_mark(value) else value
    if level >= _MAX_LEVELS:
        return value
    if isinstance(value, dict):
        clean = {
            without_keys(name, keys): without_keys(each, keys, level + 1) for name, each in value.items()
        }
        return _without_tokens(clean, keys)
    if isinstance(value, list):
        return [without_keys(each, keys, level + 1) for each in value]
    return value


def _without_tokens(value: dict[str, Value], keys: Sequence[str]) -> dict[str, Value]:
    """The value without the tokens that spell a key: `{"content": [{"token": "sk-"}, ...]}`.

    Or `{"tokens": ["sk-", ...]}`.
    """
    for name, each in value.items():
        if name == "tokens" and isinstance(each, list) and all(isinstance(token, str) for token in each):
            value[name] = masked(each, keys)
        if isinstance(each, list) and each and all(isinstance(t, dict) and "token" in t for t in each):
            texts = [str(item["token"]) for item in each]
            clean = masked(texts, keys)
            if clean != texts:
                value[name] = [
                    item if old == new else {**item, "token": new, "bytes": None, "top_logprobs": []}
                    for item, old, new in zip(each, texts, clean, strict=True)
                ]
    return value


def masked(texts: Sequence[str], keys: Sequence[str], *, is_end: bool = False) -> list[str]:
    """Texts that follow each other, each key in them replaced where it begins.

    is_end: no more will follow, and the beginning of a key that the end cuts is replaced, too.
    """
    pieces = list(texts)
    for key in keys:
        pieces = _without_spans(pieces, [*plain_spans("".join(pieces), key)])
        pieces = _without_spans(pieces, encoded_spans("".join(pieces), key))
        if is_end and (span := cut_span("".join(pieces), key)):
            pieces = _without_spans(pieces, [span])
    return pieces


def _without_spans(texts: list[str], spans: Sequence[Span]) -> list[str]:
    """The texts with each span of all of them replaced by one mask. Spans are in their order."""
    if not spans:
        return texts
    done, position, number = [], 0, 0
    for text in texts:
        kept, at = [], 0
        while number < len(spans) and spans[number][0] < position + len(text):
            first, last = spans[number][0] - position, spans[number][1] - position
            if first >= 0:
                kept += [text[at:first], MASK]
            at = min(last, len(text))
            if last > len(text):  # it goes on in the next text
                break
            number += 1
        done.append("".join([*kept, text[at:]]))
        position += len(text)
    return done


class HeldChunk:
    """A chunk that is held. event is what the caller gave with it, chunk a copy of its own."""

    __slots__ = ("chunk", "event", "is_changed")

    def __init__(self, event: bytes, chunk: dict[str, Value]) -> None:
        self.event = event
        self.chunk = chunk
        self.is_changed = False

    @property
    def payload(self) -> bytes:
        """The chunk as JSON, for one that was changed."""
        return values.dumps(self.chunk)


class _OpenText:
    """One text of a stream, as the content of a choice.

    tail is the end of what was passed on. places are where its next pieces are: in chunks that are held.
    open_from is the chunk in which a key may have begun; None if the text does not end in its beginning.
    """

    __slots__ = ("open_from", "places", "tail")

    def __init__(self, tail: str) -> None:
        self.tail = tail
        self.places: list[tuple[HeldChunk, dict[str, Value], str]] = []
        self.open_from: HeldChunk | None = None

    def pieces(self) -> list[str]:
        return [self.tail, *(parent[name] for _, parent, name in self.places)]

    def find_open(self, keys: Sequence[str]) -> None:
        """Set open_from."""
        pieces = self.pieces()
        end = "".join(pieces)
        size = max(beginning_at_end(end, key, _PROBE) for key in keys)
        self.open_from = None
        for (held, _, _), piece in zip(reversed(self.places), reversed(pieces), strict=False):
            if size <= 0:
                break
            self.open_from = held
            size -= len(piece)

    def pass_on(self, chunks: Set[HeldChunk]) -> None:
        """Move the pieces in these chunks, which are the first ones, to the tail."""
        count = sum(1 for held, _, _ in self.places if held in chunks)
        self.tail = "".join(self.pieces()[: count + 1])[1 - _PROBE :]
        del self.places[:count]


class KeyPieces:
    """The chunks of a stream in their order. They are held from the first one in which a key may have begun.

    found is true once a key was replaced.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self.found = False
        self.held: list[HeldChunk] = []
        self._keys = keys
        self._probes = tuple(key[:_PROBE] for key in keys)
        self._raw_probes = tuple(key[:_RAW_PROBE].encode() for key in keys)
        self._edge = b""
        self._is_near = self._was_near = False  # a key may be in the bytes that came last, or before
        self._has_event_end = False
        self._is_calm = True
        self._tail = ""  # the end of _CONTENT
        self._tails: dict[object, str] = {}  # those of the other texts
        self._texts: dict[object, _OpenText] = {}  # those that have pieces in held chunks

    def see(self, data: bytes) -> None:
        """Take bytes of the stream before the chunks in them: a key may be in any part of a chunk.

        One search of many chunks costs less than one search of each.
        """
        window = self._edge + data
        # The chunk of an event comes with its end, and may have begun many reads before.
        self._was_near = self._is_near or (self._was_near and not self._has_event_end)
        self._is_near = may_begin(window)
        for probe in self._raw_probes:
            if window.find(probe) >= 0:  # faster than `in`, which first tries the probe as a number
                self._is_near = True
        self._is_calm = not (self.held or self._is_near or self._was_near)
        if not self._is_calm:
            end = window[-len(data) - 2 :]
            self._has_event_end = b"\n\n" in end or b"\n\r\n" in end or b"\r\r" in end
        self._edge = window[-_RAW_PROBE:]

    def is_free(self, chunk: Mapping[str, Value]) -> bool:
        """Return True if the chunk can be passed on at once: nothing is held, and no key begins in it."""
        if not self._is_calm or "error" in chunk:
            return False
        try:  # nearly every chunk of a long answer: a piece of the content of one choice
            [choice] = chunk["choices"]
            delta = choice["delta"]
            if len(delta) == 1 and choice["index"] == 0:
                text = self._tail + delta["content"]
                for probe in self._probes:
                    if probe in text:
                        return False
                self._tail = text[1 - _PROBE :]
                return True
        except (TypeError, ValueError, LookupError):
            pass
        return self._is_odd_chunk_free(chunk)

    def _is_odd_chunk_free(self, chunk: Mapping[str, Value]) -> bool:
        if "choices" not in chunk:
            return False
        tails = {}
        for path, parent, name in _growing(chunk):
            text = self._tail_of(path) + parent[name]
            if any(probe in text for probe in self._probes):
                return False
            tails[path] = text[1 - _PROBE :]
        self._keep_tails(tails)
        return True

    def _tail_of(self, path: object) -> str:
        return self._tail if path == _CONTENT else self._tails.get(path, "")

    def _keep_tails(self, tails: dict[object, str]) -> None:
        self._tail = tails.pop(_CONTENT, self._tail)
        self._tails |= tails

    def hold(self, event: bytes, chunk: Mapping[str, Value]) -> list[HeldChunk]:
        """Hold a chunk that is not free; it is not modified. Returns those that are free now."""
        clean = without_keys(chunk, self._keys)
        if "choices" not in clean:
            clean = secrets.hide_value(clean)
        elif clean.get("error"):
            clean["error"] = secrets.hide_value(clean["error"])
        held = HeldChunk(event, clean)
        self.held.append(held)
        self._is_calm = False
        if clean != chunk:
            self._change(held)
        touched = []
        for path, parent, name in _growing(clean):
            if parent[name]:
                if path not in self._texts:
                    self._texts[path] = _OpenText(self._tail_of(path))
                self._texts[path].places.append((held, parent, name))
                touched.append(self._texts[path])
        for text in touched:
            self._replace(text)
            text.find_open(self._keys)
        if len(self.held) > _MOST_HELD:
            return self.end()
        opened = {text.open_from for text in self._texts.values()}
        closed = (at for at, each in enumerate(self.held) if each in opened)
        return self._release(next(closed, len(self.held)))

    def end(self) -> list[HeldChunk]:
        """Returns the chunks that are held, without the beginning of a key that the end cut."""
        for text in self._texts.values():
            self._replace(text, is_end=True)
        return self._release(len(self.held))

    def _replace(self, text: _OpenText, *, is_end: bool = False) -> None:
        """Replace the keys in a text, and at the end one that the end cuts, too."""
        before = text.pieces()
        after = masked(before, self._keys, is_end=is_end)
        if after[0] != text.tail:  # its characters are written, and the mask follows them
            after[1] = MASK + after[1]
        for (held, parent, name), old, new in zip(text.places, before[1:], after[1:], strict=True):
            if old != new:
                parent[name] = new
                self._change(held)

    def _change(self, held: HeldChunk) -> None:
        self.found = held.is_changed = True
        for choice in as_list(held.chunk.get("choices")):
            if isinstance(choice, dict) and choice.get("logprobs") is not None:
                choice["logprobs"] = None  # its tokens spell the text

    def _release(self, count: int) -> list[HeldChunk]:
        """Returns the first chunks that are held, as many as count, and holds them no more."""
        free, self.held = self.held[:count], self.held[count:]
        chunks = set(free)
        for path, text in list(self._texts.items()):
            if text.places[0][0] in chunks:
                text.pass_on(chunks)
            if not text.places:
                self._keep_tails({path: text.tail})
                del self._texts[path]
        self._is_calm = not (self.held or self._is_near or self._was_near)
        return free


def _growing(chunk: Mapping[str, Value]) -> Iterator[tuple[object, dict[str, Value], str]]:
    """The texts of a chunk that grow: for each an identity, the object that has it, its name there."""
    for choice in as_list(chunk.get("choices")):
        if not isinstance(choice, dict):
            continue
        if isinstance(delta := choice.get("delta"), dict):
            yield from _texts_in(choice.get("index"), delta)
        elif isinstance(choice.get("text"), str):  # the older API
            yield (choice.get("index"), "text"), choice, "text"


def _texts_in(
    path: object, parent: dict[str, Value], level: int = 0
) -> Iterator[tuple[object, dict[str, Value], str]]:
    for name, each in parent.items():
        if isinstance(each, str):
            yield (path, name), parent, name
        elif isinstance(each, dict) and level < _MAX_LEVELS:
            yield from _texts_in((path, name), each, level + 1)
        elif isinstance(each, list) and level < _MAX_LEVELS:
            for position, item in enumerate(each):
                if isinstance(item, dict):
                    yield from _texts_in((path, name, item.get("index", position)), item, level + 1)
