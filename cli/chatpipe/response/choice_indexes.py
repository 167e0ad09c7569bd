"""The `index` of choices in a stream, as it should be: the position of the choice.

Servers write it as text or null, or leave it out; then the place in the chunk is meant. Some count chunks in
it: 0, 1, 2, 3 are the pieces of one answer (seen: TGI before 2.0 from 1, Foundry Local 0.7 from 0). An index
that repeats or goes back is that of a choice. Until there is one, or more chunks than a server would send
choices, a chunk may have to wait for the next one.
"""

from __future__ import annotations

from collections.abc import Mapping

from chatpipe.inputs.values import Value
from chatpipe.response.finish_reasons import has_ended

# More choices than any server offers, for a recording that does not say how many were asked for.
_MOST_CHOICES = 128
# More choices than a server sends that was not asked for so many. The first pieces of as many wait for it.
_MOST_UNASKED = 16
# The payload of a chunk as received, and the chunk with integers as the indexes of its choices.
PlacedChunk = tuple[bytes, dict[str, Value]]


class ChoiceIndexes:
    """The indexes of one stream. place() takes each chunk in order, end() what it held back.

    requested is the number of choices that were requested, None if it is not known. are_plain is True once
    the indexes are known to be those of choices. From then on only a chunk without has_plain_index() needs
    place(). are_mixed is True if indexes that were taken for a count go back: pieces of several choices were
    passed on as one.
    """

    __slots__ = (
        "_counted",
        "_has_ended",
        "_held",
        "_is_counting",
        "_is_settled",
        "_last",
        "_requested",
        "are_mixed",
        "are_plain",
    )

    def __init__(self, requested: int | None) -> None:
        self._requested = requested
        self._is_settled = False
        self.are_plain = False
        self.are_mixed = False
        self._is_counting = False
        self._counted = 0  # chunks so far, each with one choice and an index one above the last
        self._last = -1
        self._has_ended = False  # the last of them had a finish_reason
        self._held: list[PlacedChunk] = []

    def place(self, payload: bytes, chunk: dict[str, Value]) -> list[PlacedChunk]:
        """The chunks that can be passed on now. No chunk is modified."""
        choices = chunk.get("choices")
        if type(choices) is not list or not choices:
            return self._pass_on((payload, chunk))
        if len(choices) > 1 or type(choices[0]) is not dict or type(choices[0].get("index")) is not int:
            chunk = {**chunk, "choices": [_with_index(choice, at) for at, choice in enumerate(choices)]}
            choices = chunk["choices"]
        if self._is_settled:
            if self._is_counting:
                chunk = self._counted_chunk(chunk)
            return [(payload, chunk)]
        return self._observe((payload, chunk), choices)

    def end(self) -> list[PlacedChunk]:
        """The chunks that were held back. At the end it has to be decided whether the index counts chunks.

        It does if one choice was requested, or if only the last chunk ended: of several choices each ends.
        In a stream that was cut, three chunks are more likely to be one choice than three.
        """
        is_likely = self._requested == 1 or self._has_ended or self._counted > (self._requested or 1) + 1
        self._is_counting = self._counted > 1 and is_likely
        return self._settle()

    def _observe(self, placed: PlacedChunk, choices: list[Value]) -> list[PlacedChunk]:
        """Learn from a chunk of a stream whose indexes are not understood yet."""
        index = choices[0].get("index") if type(choices[0]) is dict else None
        is_next = len(choices) == 1 and (index == self._last + 1 or not self._counted)
        if type(index) is not int or not is_next or self._has_ended:
            # a chunk after the end is counted, too
            self._is_counting = self._has_ended and is_next and self._counted > 2
            return [*self._settle(), *self.place(*placed)]
        self._counted += 1
        self._last = index
        self._has_ended = has_ended(choices[0].get("finish_reason"))
        if self._counted > max(self._requested or _MOST_CHOICES, _MOST_UNASKED) + 1:
            self._is_counting = True
            self._held.append(placed)
            return self._settle()
        if index == 0:  # the first choice, whatever is counted
            return [placed]
        self._held.append(placed)
        return []

    def _counted_chunk(self, chunk: Mapping[str, Value]) -> dict[str, Value]:
        """A chunk of a stream that counts chunks. The last one, which says the end, may have any index."""
        for choice in chunk.get("choices") or ():
            index = choice.get("index") if type(choice) is dict else None
            if type(index) is int and not has_ended(choice.get("finish_reason")):
                self.are_mixed |= index < self._last
                self._last = index
        return _of_one_choice(chunk)

    def _pass_on(self, placed: PlacedChunk) -> list[PlacedChunk]:
        """Pass a chunk without choices on, but not before those that are held back."""
        if not self._held:
            return [placed]
        self._held.append(placed)
        return []

    def _settle(self) -> list[PlacedChunk]:
        held, self._held, self._is_settled = self._held, [], True
        self.are_plain = not self._is_counting
        if self._is_counting:
            return [(payload, _of_one_choice(chunk)) for payload, chunk in held]
        return held


def has_plain_index(chunk: Mapping[str, Value]) -> bool:
    """Return True for a chunk of one choice whose delta is an object and whose index is an integer."""
    try:
        (choice,) = chunk["choices"]
        return type(choice["index"]) is int and type(choice["delta"]) is dict
    except (LookupError, TypeError, ValueError):
        return False


def index_of(choice: Mapping[str, Value], position: int) -> int:
    """The index of a choice: as written, also as text, else its position in the chunk."""
    index = choice.get("index")
    if type(index) is int:
        return index
    if type(index) is str and index.isdecimal() and len(index) < 10:
        return int(index)
    return int(index) if type(index) is float and index.is_integer() else position


def _with_index(choice: Value, position: int) -> Value:
    if type(choice) is not dict or type(choice.get("index")) is int:
        return choice
    return {**choice, "index": index_of(choice, position)}


def _of_one_choice(chunk: Mapping[str, Value]) -> dict[str, Value]:
    """A chunk of a stream that counts chunks: whatever its index, it is about the only choice."""
    choices = [{**each, "index": 0} if type(each) is dict else each for each in chunk.get("choices") or ()]
    return {**chunk, "choices": choices}
