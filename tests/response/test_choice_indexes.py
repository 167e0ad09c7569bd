"""The index of the choices of a stream, chunk by chunk: what each becomes, and which chunks have to wait."""

from __future__ import annotations

from typing import Any

from chatpipe.response.choice_indexes import ChoiceIndexes
from support.parametrize import cases


def chunk(*indexes: Any, finish: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": index, "finish_reason": finish} for index in indexes]}


def placed(requested: int | None, chunks: list[dict[str, Any]]) -> list[list[Any]]:
    """The indexes that are known after each chunk, and after the end."""
    indexes = ChoiceIndexes(requested)
    steps = [indexes.place(b"", each) for each in chunks]
    steps.append(indexes.end())
    return [[choice["index"] for _, each in step for choice in each["choices"]] for step in steps]


LAST = {"finish": "stop"}


@cases(
    ("requested", "chunks", "known"),
    {
        "one choice": (1, [chunk(0), chunk(0), chunk(0, **LAST)], [[0], [0], [0], []]),
        "counted": (1, [chunk(0), chunk(1), chunk(2), chunk(3, **LAST)], [[0], [], [0, 0], [0], []]),
        "counted from 1": (1, [chunk(1), chunk(2), chunk(3), chunk(4)], [[], [], [0, 0, 0], [0], []]),
        "counted, two": (1, [chunk(0), chunk(1, **LAST)], [[0], [], [0]]),
        "counted, usage between": (1, [chunk(0), chunk(1), chunk(), chunk(2)], [[0], [], [], [0, 0], []]),
        "two choices though one was asked for": (
            1,
            [chunk(0), chunk(1), chunk(0), chunk(1)],
            [[0], [], [1, 0], [1], []],
        ),
        "two choices": (2, [chunk(0), chunk(1), chunk(0), chunk(1)], [[0], [], [1, 0], [1], []]),
        "two choices, one after the other": (2, [chunk(0), chunk(0), chunk(1)], [[0], [0], [1], []]),
        "two choices, a chunk each": (2, [chunk(0, **LAST), chunk(1, **LAST)], [[0], [1], []]),
        "two choices in a chunk": (2, [chunk(0, 1), chunk(1, 0)], [[0, 1], [1, 0], []]),
        "more than were asked for": (
            2,
            [chunk(0), chunk(1), chunk(2), chunk(3)],
            [[0], [], [], [0, 0, 0], []],
        ),
        "nobody knows how many": (None, [chunk(0), chunk(1), chunk(2, **LAST)], [[0], [], [], [0, 0]]),
        "nobody knows, two": (None, [chunk(0), chunk(1), chunk(0)], [[0], [], [1, 0], []]),
        "another first choice": (1, [chunk(1), chunk(1)], [[], [1, 1], []]),
        "text, null and a float": (1, [chunk("0"), chunk(None), chunk(0.0)], [[0], [0], [0], []]),
        "null in two places": (2, [chunk(None, None)], [[0, 1], []]),
        "words": (1, [chunk("first"), chunk([])], [[0], [0], []]),
    },
)
def test_an_index_is_that_of_the_choice(
    requested: int | None, chunks: list[dict[str, Any]], known: list[list[Any]]
) -> None:
    assert placed(requested, chunks) == known


def test_a_recording_that_counts_is_not_held_for_ever() -> None:
    known = placed(None, [chunk(number) for number in range(1000)])
    assert [index for step in known for index in step] == [0] * 1000
    assert max(len(step) for step in known) < 130
