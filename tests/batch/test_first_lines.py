"""Runs whose first lines all fail alike: which of them end early, in the order in which lines were sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from chatpipe.batch.first_lines import FirstLines
from chatpipe.batch.items import Item
from chatpipe.batch.result import Result, ResultBuilder
from chatpipe.errors import (
    BadInput,
    BrokenAnswer,
    ChatpipeError,
    NoAccess,
    Status,
    TryLater,
    Unreachable,
    UnreadableReply,
)
from chatpipe.options.outcomes import Outcome
from chatpipe.options.output import FORMATS
from chatpipe.wire.answer import Answer
from support.parametrize import cases

Make = Callable[[int], Result]


def result(number: int, outcome: Outcome, fault: ChatpipeError | None, *, is_good: bool = False) -> Result:
    item = Item(number + 1, f"line-{number + 1}", {})
    status = Status.OK if fault is None else fault.status
    completion: dict[str, object] | None = {} if outcome in (Outcome.ok, Outcome.truncated) else None
    return Result(item, outcome, b"{}", completion, is_good, status, 0.1, fault)


def refused(
    status: int, message: str = "no such model", code: str = "", kind: type[ChatpipeError] = BadInput
) -> Make:
    """A refusal; N in its message stands for the number of the line."""

    def make(number: int) -> Result:
        text = message.replace("N", str(number))
        body = f'{{"error":{{"message":"{text}","code":"{code}"}}}}'.encode()
        fault = kind(f"{status} from 'http://h/image': {text}", http_status=status, body=body)
        return result(number, Outcome.http, fault)

    return make


def failed(fault: Callable[[], ChatpipeError], *, reached_server: bool = True) -> Make:
    def make(number: int) -> Result:
        made = fault()
        made.reached_server = reached_server
        return result(number, Outcome.network, made)

    return make


def good(number: int) -> Result:
    return result(number, Outcome.ok, None, is_good=True)


def cut(number: int) -> Result:
    return result(number, Outcome.truncated, None)


def answered(completion: dict[str, Any]) -> Make:
    """A reply with status 200."""
    answer = Answer(completion, orjson.dumps(completion))
    builder = ResultBuilder(frozenset(), FORMATS["results"])
    return lambda number: builder.of_answer(Item(number + 1, f"line-{number + 1}", {}), "f", answer, 0.1)


MODEL = refused(404)
BUSY = refused(500, "oops", kind=Unreachable)
TOO_LONG = refused(400, "This model's maximum context length is 10 tokens")
FORBIDDEN = refused(403, "no", kind=NoAccess)
FLAGGED = refused(403, "your input was flagged", kind=NoAccess)
NOBODY = failed(lambda: Unreachable("cannot reach"), reached_server=False)
LATE = failed(lambda: TryLater("cannot reach in time"), reached_server=False)
LOST = failed(lambda: Unreachable("lost the connection"))
UNREADABLE = failed(lambda: UnreadableReply("compressed"))
BROKEN = failed(lambda: BrokenAnswer("cut stream"))


def ended(
    results: list[Make], order: list[int] | None = None, *, window: int = 20, stops_early: bool = True
) -> tuple[int, int] | None:
    """The number of results after which the run ends, and its status; None if it goes on.

    All lines are sent first. order is that of the results.
    """
    first = FirstLines(window, "in", stops_early=stops_early)
    for number in range(len(results)):
        first.send(number)
    for count, number in enumerate(order or range(len(results)), 1):
        if (fault := first.observe(number, results[number](number))) is not None:
            return count, int(fault.status)
    return None


ALIKE = refused(400, "no N for req_8f2aN40c71d2e95b, trace 8f-N-aaaa-bbbb-cccc-N")


@cases(
    "results, expected",
    {
        "twenty alike": ([MODEL] * 40, (20, 65)),
        "nineteen": ([MODEL] * 19, None),
        "numbers and identifiers differ": ([ALIKE] * 40, (20, 65)),
        "another message": ([MODEL] * 19 + [refused(404, "no route")] + [MODEL] * 20, None),
        "another code": ([MODEL] * 19 + [refused(404, code="x")] + [MODEL] * 20, None),
        "another status": ([MODEL] * 19 + [refused(400)] + [MODEL] * 20, None),
        "the status of the refusal": ([BUSY] * 40, (20, 69)),
        "a success before": ([good] + [MODEL] * 40, None),
        "an answer that is not good": ([MODEL] * 19 + [cut] + [MODEL] * 40, None),
        "about the content": ([TOO_LONG] * 60, None),
        "about the content, in between": ([TOO_LONG, MODEL] * 30, (40, 65)),
        "a broken answer is no refusal": ([BROKEN] * 40, None),
        "replies that cannot be read": ([UNREADABLE] * 40, (20, 76)),
        "answers of another API": ([answered({"message": {"content": "Hi"}, "done": True})] * 40, (20, 76)),
        "unknown objects": ([answered({"status": "up"})] * 40, (20, 76)),
        "completions without choices": ([answered({"model": "m", "choices": []})] * 40, None),
        "three times 403": ([FORBIDDEN] * 9, (3, 77)),
        "403 about the content": ([FLAGGED] * 60, None),
        "two times 403": ([FORBIDDEN, FORBIDDEN, MODEL] * 9, None),
        "no server": ([NOBODY] * 40, (20, 69)),
        "no server, or not in time": ([NOBODY, LATE] * 20, (20, 69)),
        "a server that goes away": ([LOST] * 40, None),
        "a server at last": ([NOBODY] * 19 + [LOST] + [NOBODY] * 20, None),
        "a refusal at last": ([NOBODY] * 19 + [MODEL] + [NOBODY] * 20, None),
    },
)
def test_first_lines_that_fail_alike_end_a_run(results: list[Make], expected: object) -> None:
    assert ended(results) == expected


def test_nothing_is_decided_while_one_of_them_is_in_flight() -> None:
    """Refusals are fast, answers are slow."""
    slow_first = [*range(1, 40), 0]
    assert ended([MODEL] * 40, slow_first) == (40, 65)
    assert ended([good, *[MODEL] * 39], slow_first) is None
    assert ended([FORBIDDEN] * 40, slow_first) == (40, 77)


def test_any_success_counts_wherever_it_was_sent() -> None:
    assert ended([MODEL] * 30 + [good], [30, *range(30)]) is None


@cases("window, count", {"one": (1, 1), "four": (4, 4), "more than count": (64, 20)})
def test_no_server_is_noticed_by_all_that_are_in_flight(window: int, count: int) -> None:
    assert ended([NOBODY] * 40, window=window) == (count, 69)
    assert ended([MODEL] * 40, window=window) == (20, 65)


def test_halt_never_leaves_the_rule_for_403() -> None:
    assert ended([MODEL] * 40, stops_early=False) is None
    assert ended([NOBODY] * 40, window=4, stops_early=False) is None
    assert ended([FORBIDDEN] * 40, stops_early=False) == (3, 77)


def test_lines_that_were_not_sent_count_only_as_successes() -> None:
    first = FirstLines(20, "in")
    for number in range(40, 60):
        first.send(number)
    for number in range(30):  # bad input, and failures of an earlier run
        assert first.observe(number, MODEL(number)) is None
    faults = [first.observe(number, MODEL(number)) for number in range(40, 59)]
    assert faults == [None] * 19
    assert first.observe(39, good(39)) is None  # a recorded answer
    assert first.observe(59, MODEL(59)) is None


def test_line_that_the_budget_held_back_was_not_sent() -> None:
    unsent = lambda number: result(number, Outcome.unsent, None)  # noqa: E731
    assert ended([unsent] * 40 + [MODEL] * 20) == (60, 65)


@pytest.mark.parametrize("lines", [1, 20])
def test_fault_has_place_reason_and_facts_of_the_first(lines: int) -> None:
    first = FirstLines(lines, "in.jsonl")
    make = NOBODY if lines == 1 else MODEL
    for number in range(5, 5 + lines):
        first.send(number)
    fault = [first.observe(number, make(number)) for number in range(5, 5 + lines)][-1]
    assert fault is not None
    assert (
        str(fault)
        == {
            1: "in.jsonl:6: cannot reach: stopped, because the first line found no server: "
            "continue with --halt never",
            20: "in.jsonl:6: 404 from 'http://h/image': no such model: stopped, because the first 20 lines "
            "were refused alike: continue with --halt never",
        }[lines]
    )
    assert fault.http_status == (None if lines == 1 else 404)
