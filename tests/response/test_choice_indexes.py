"""The index of the choices of a stream, chunk by chunk: what each becomes, and which chunks have to wait."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chatpipe.response.choice_indexes import ChoiceIndexes
from support.parametrize import cases


def chunk(*indexes: Any, finish: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": index, "finish_reason": finish} for index in indexes]}


def after(*numbers: int) -> list[dict[str, Any]]:
    return [chunk(number) for number in numbers]


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
        "counted": (1, [chunk(0), chunk(1), chunk(2), chunk(3, **LAST)], [[0], [], [], [], [0, 0, 0]]),
        "counted from 1": (1, after(1, 2, 3, 4), [[], [], [], [], [0, 0, 0, 0]]),
        "counted for long": (1, after(*range(19)), [[0], *[[]] * 16, [0] * 17, [0], []]),
        "counted, two": (1, [chunk(0), chunk(1, **LAST)], [[0], [], [0]]),
        "counted, usage between": (1, [chunk(0), chunk(1), chunk(), chunk(2)], [[0], [], [], [], [0, 0]]),
        "two choices though one was asked for": (
            1,
            [chunk(0), chunk(1), chunk(0), chunk(1)],
            [[0], [], [1, 0], [1], []],
        ),
        "three choices though one was asked for": (
            1,
            after(0, 1, 2, 0, 1, 2),
            [[0], [], [], [1, 2, 0], [1], [2], []],
        ),
        "one after the other though one was asked for": (
            1,
            after(0, 1, 2, 2, 1, 0),
            [[0], [], [], [1, 2, 2], [1], [0], []],
        ),
        "three choices, a piece and an end each": (
            1,
            [*after(0, 1, 2), *(chunk(number, **LAST) for number in range(3))],
            [[0], [], [], [1, 2, 0], [1], [2], []],
        ),
        "three choices from 1": (1, after(1, 2, 3, 1), [[], [], [], [1, 2, 3, 1], []]),
        "two choices": (2, [chunk(0), chunk(1), chunk(0), chunk(1)], [[0], [], [1, 0], [1], []]),
        "two choices, one after the other": (2, [chunk(0), chunk(0), chunk(1)], [[0], [0], [1], []]),
        "two choices, a chunk each": (2, [chunk(0, **LAST), chunk(1, **LAST)], [[0], [1], []]),
        "two choices in a chunk": (2, [chunk(0, 1), chunk(1, 0)], [[0, 1], [1, 0], []]),
        "more than were asked for": (
            2,
            after(0, 1, 2, 3),
            [[0], [], [], [], [0, 0, 0]],
        ),
        "four choices though two were asked for": (
            2,
            after(0, 1, 2, 3, 0),
            [[0], [], [], [], [1, 2, 3, 0], []],
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


@cases(
    ("indexes", "finish", "are_mixed"),
    {
        "a count": (range(40), None, False),
        "the end of a count has the index 0": ((*range(40), 0), "stop", False),
        "twenty choices": ((*range(20), 0), None, True),
        "three choices": ((0, 1, 2, 0, 1, 2), None, False),
    },
)
def test_choices_that_were_taken_for_one_are_noticed(
    indexes: Sequence[int], finish: str | None, are_mixed: bool
) -> None:
    read = ChoiceIndexes(1)
    for each in [*after(*indexes[:-1]), chunk(indexes[-1], finish=finish)]:
        read.place(b"", each)
    assert read.are_mixed is are_mixed


def test_a_recording_that_counts_is_not_held_for_ever() -> None:
    known = placed(None, [chunk(number) for number in range(1000)])
    assert [index for step in known for index in step] == [0] * 1000
    assert max(len(step) for step in known) < 130
