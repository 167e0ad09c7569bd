"""The verdict on a client: tables of attempts, and what each of them shows."""

from __future__ import annotations

import json
from typing import NamedTuple

import pytest

from chatpipe.local.chat_body import ChatBody
from chatpipe.serve import verdict as rules
from chatpipe.serve.attempts import Attempt, Outcome, beginning_of, body_key, credential_of, first_words
from chatpipe.serve.verdict import ClientVerdict
from chatpipe.serve.verdict_report import verdict_lines, verdict_record

UNIX = 1_790_000_000.0


class Sent(NamedTuple):
    """An attempt: when it came, how its reply ended, and when. headers are those of a refusal."""

    at: float
    status: int = 200
    outcome: Outcome = "answered"
    took: float = 0.0
    headers: tuple[tuple[str, str], ...] = ()
    body: str = "hello"
    key: str = "k"
    stalled: float = 0.0
    connections: int = 1


def refused(at: float, status: int, wait: str | None = None, **fields: object) -> Sent:
    headers = () if wait is None else (("retry-after", wait),)
    return Sent(at, status, "refused", headers=headers, **fields)  # type: ignore[arg-type]


def ended(at: float, outcome: Outcome, **fields: object) -> Sent:
    return Sent(at, outcome=outcome, **fields)  # type: ignore[arg-type]


def body_of(text: str) -> ChatBody:
    return ChatBody(json.dumps({"messages": [{"role": "user", "content": text}]}).encode())


def judged(*attempts: Sent, is_quick: bool = False) -> ClientVerdict:
    """The verdict on attempts, whose ends are ordered by their times.

    With is_quick those that are answered as they arrive are judged in one step.
    """
    verdict = ClientVerdict()
    running: list[tuple[float, Attempt, Sent]] = []

    def end_until(now: float) -> None:
        running.sort(key=lambda each: each[0])
        while running and running[0][0] <= now:
            at, attempt, sent = running.pop(0)
            attempt.stalled_s = sent.stalled
            attempt.end(sent.outcome, sent.status, sent.headers, at, UNIX + at)
            verdict.end(attempt)

    for sent in attempts:
        end_until(sent.at)
        if is_quick and sent.outcome == "answered" and not (sent.took or sent.stalled):
            verdict.answer(body_of(sent.body), hash(sent.key), sent.connections, sent.at)
            continue
        attempt = verdict.begin(body_of(sent.body), hash(sent.key), sent.connections, sent.at)
        running.append((sent.at + sent.took, attempt, sent))
    end_until(float("inf"))
    return verdict


def found(verdict: ClientVerdict) -> dict[str, int]:
    """The times of each kind: `early-retry`, `sent-after-success?` for a note."""
    return {
        kind + ("?" if severity == "note" else ""): times
        for (kind, severity), times in verdict.counts().items()
    }


CUT = "its answer was cut, and it was not asked again: the client took it for whole, or gave up"
MANY = [refused(i * 0.01, 429, body=f"b{i}", connections=2) for i in range(60)]

WRONG = {
    "before the wait was over": ([refused(0, 429, "2"), Sent(1.9)], {"early-retry": 1}),
    "before the wait of another status": ([refused(0, 503, "2"), Sent(0.5)], {"early-retry": 1}),
    "before a date": (
        [refused(0, 429, "Mon, 21 Sep 2026 14:13:30 GMT"), Sent(1)],
        {"early-retry": 1},
    ),
    "after 400": ([refused(0, 400), refused(5, 400), Sent(10)], {"useless-retry": 2}),
    "after 401 with the same key": ([refused(0, 401), Sent(5)], {"useless-retry": 1}),
    "after a 429 that is told to stay": (
        [Sent(0, 429, "refused", headers=(("x-should-retry", "false"),)), Sent(60)],
        {"useless-retry": 1},
    ),
    "six retries in a second": ([refused(i * 0.1, 500) for i in range(7)], {"storm": 1}),
    "every quarter of a second": ([refused(i * 0.25, 500) for i in range(10)], {"storm": 2}),
    "six retries after resets": ([ended(i * 0.1, "lost") for i in range(7)], {"storm": 1}),
    "new requests at full speed, all refused": (MANY, {"storm": 1}),
    "cut and never asked again": ([ended(0, "cut"), Sent(9, body="next")], {"took-cut-for-whole": 1}),
    "two copies that are both cut": (
        [ended(0, "cut", took=1), ended(0, "cut", took=1)],
        {"took-cut-for-whole": 2},
    ),
    "again after its retry was answered": (
        [refused(0, 500), Sent(1), Sent(2), Sent(3)],
        {"sent-after-success": 2},
    ),
    "half a minute on a stall": ([ended(0, "left", took=31, stalled=31)], {"hung-on-stall": 1}),
    "a stall that ended by itself": ([Sent(0, took=40, stalled=40)], {"hung-on-stall": 1}),
}

NOTES = {
    "the same request twice": ([Sent(0), Sent(1)], {"sent-after-success?": 1}),
    "copies in flight, one of which failed": (
        [refused(0, 500, took=1), Sent(0, took=5), Sent(3), Sent(4)],
        {"sent-after-success?": 1},
    ),
    "cut to the last attempt": ([ended(0, "cut"), ended(1, "cut")], {"took-cut-for-whole?": 1}),
}

RIGHT = {
    "one request": [Sent(0)],
    "the wait, less the resolution of a clock": [refused(0, 429, "2"), Sent(1.96)],
    "the shorter of two waits": [
        Sent(0, 429, "refused", headers=(("retry-after", "1"), ("retry-after-ms", "300"))),
        Sent(0.3),
    ],
    "the wait of another request": [refused(0, 429, "9", body="a"), Sent(0.1, body="b")],
    "back-off that doubles from 0.1 s": [refused(at, 503) for at in (0, 0.1, 0.3, 0.7, 1.5, 3.1)],
    "every second": [refused(i, 500) for i in range(20)],
    "every quarter of a second, as it was told": [
        *(Sent(i * 0.25, 429, "refused", headers=(("retry-after-ms", "250"),)) for i in range(20)),
    ],
    "back-off with jitter from nothing on": [refused(at, 503) for at in (0, 0.05, 0.5, 0.6, 2, 6, 7, 14, 16)],
    "back-off from 0.1 s up to a half": [
        refused(at, 503) for at in (0, 0.1, 0.3, 0.7, 1.2, 1.7, 2.2, 2.7, 3.2, 3.7, 4.2)
    ],
    "back-off of the official library": [refused(at, 429) for at in (0, 0.38, 1.13)],
    "64 at once, each three times": [
        refused(at + i / 1000, 429, body=f"b{i}", connections=64) for at in (0, 0.4, 0.9) for i in range(64)
    ],
    "a given up refusal": [refused(0, 500)],
    "a given up reset": [ended(0, "lost")],
    "again after a cut": [ended(0, "cut"), Sent(0.1)],
    "again after a spoiled answer": [ended(0, "spoiled"), Sent(0.1)],
    "a spoiled answer that is kept": [ended(0, "spoiled")],
    "again after its own time-out": [ended(0, "left", took=10, stalled=9), Sent(11)],
    "again after 408, 409 and 425": [refused(0, 408), refused(1, 409), refused(3, 425), Sent(7)],
    "401 and then another key": [refused(0, 401), Sent(1, key="new")],
    "many copies, all retried at once": [
        *(refused(0, 503, took=0.1) for _ in range(20)),
        *(Sent(1, took=0.1) for _ in range(20)),
    ],
    "stopped by the server's own end": [ended(0, "stopped", took=5)],
}


@pytest.mark.parametrize("is_quick", [False, True], ids=["two steps", "one step"])
@pytest.mark.parametrize("name", [*WRONG, *NOTES])
def test_is_found(name: str, is_quick: bool) -> None:
    attempts, expected = (WRONG | NOTES)[name]
    verdict = judged(*attempts, is_quick=is_quick)
    assert found(verdict) == expected
    assert verdict.wrong == sum(times for kind, times in expected.items() if not kind.endswith("?"))


@pytest.mark.parametrize("is_quick", [False, True], ids=["two steps", "one step"])
@pytest.mark.parametrize("name", RIGHT)
def test_is_left_alone(name: str, is_quick: bool) -> None:
    assert found(judged(*RIGHT[name], is_quick=is_quick)) == {}


def test_an_answer_in_one_step_is_remembered_as_one_in_two() -> None:
    attempts = [Sent(0), Sent(1, body="other"), Sent(2), refused(3, 500), Sent(4), Sent(5)]
    records = [verdict_record(judged(*attempts, is_quick=is_quick), UNIX) for is_quick in (False, True)]
    assert records[0] == records[1]
    assert [finding["kind"] for finding in records[0]["findings"]] == ["sent-after-success"] * 2


def test_a_body_is_known_by_its_value() -> None:
    same = (b'{"a": 1, "b": [2]}', b'{"b":[2],"a":1}')
    assert len({body_key(ChatBody(data)) for data in same}) == 1
    other = (b'{"a":1}', b'{"a":2}', b"", b"{", b"\xff", b"[1]", b'{"a":' * 2000)
    keys = {body_key(ChatBody(data)) for data in other}
    assert (len(keys), max(map(len, keys)) < 100) == (len(other), True)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"messages": [{"role": "user", "content": "  two\nwords "}]}, "two words"),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}, "a"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "part"}]}]}, "part"),
        ({"messages": [{"role": "user", "content": "x" * 99}]}, "x" * 57 + "..."),
        ({"messages": [{"role": "user", "content": 3}, None]}, ""),
        ({"messages": "no"}, ""),
        ([], ""),
    ],
)
def test_first_words_of_the_last_user_message(body: object, text: str) -> None:
    assert first_words(beginning_of(ChatBody(json.dumps(body).encode()))) == text


def test_two_keys_are_two_credentials() -> None:
    keys: list[dict[bytes, bytes]] = [
        {},
        {b"authorization": b"Bearer a"},
        {b"api-key": b"a"},
        {b"api-key": b"b"},
    ]
    assert len({credential_of(headers) for headers in keys}) == len(keys)
    assert credential_of({b"api-key": b"a", b"x": b"1"}) == credential_of({b"api-key": b"a"})


def test_memory_is_bounded_and_counts_are_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "MOST_OPEN", 10)
    monkeypatch.setattr(rules, "MOST_SETTLED", 5)
    cuts = [ended(at, "cut", body=f"b{at}") for at in range(200)]
    repeated = [Sent(200 + at, body=f"r{at // 2}") for at in range(200)]
    verdict = judged(*cuts, *repeated)
    assert found(verdict) == {"took-cut-for-whole": 200, "sent-after-success?": 100}
    assert (len(verdict._open), len(verdict._settled), len(verdict.remarks())) == (9, 4, 109)


def test_a_late_end_of_a_body_that_was_given_up_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "MOST_OPEN", 2)
    verdict = judged(*(Sent(0, took=5, body=f"b{i}") for i in range(5)), Sent(1, took=1, body="b0"))
    assert found(verdict) == {}
    assert verdict.outcomes["answered"] == 6


def test_lines_and_record_show_the_same() -> None:
    verdict = judged(refused(0, 429, "2"), Sent(0.5), ended(3, "cut", body="cut"))
    assert list(verdict_lines(verdict)) == [
        "3 requests (1 refused, 1 answered, 1 cut)",
        "wrong early-retry        'hello' sent again 0.5 s after 429, which asked for 2 s",
        "wrong took-cut-for-whole 'cut' " + CUT,
    ]
    record = verdict_record(verdict, UNIX)
    assert (record["wrong"], record["requests"], record["retries"]) == (2, 3, 1)
    early = record["findings"][0]
    assert (early["kind"], early["severity"], early["times"], early["text"]) == (
        "early-retry",
        "wrong",
        1,
        "hello",
    )
    assert early["attempts"] == [
        {
            "at": "2026-09-21T14:13:20.000Z",
            "after_s": None,
            "status": 429,
            "outcome": "refused",
            "wait_s": 2.0,
            "duration_s": 0.0,
        },
        {
            "at": "2026-09-21T14:13:20.500Z",
            "after_s": 0.5,
            "status": 200,
            "outcome": "answered",
            "wait_s": None,
            "duration_s": 0.0,
        },
    ]


def test_nothing_wrong_is_one_line() -> None:
    assert list(verdict_lines(judged(Sent(0)))) == [
        "1 request (1 answered): nothing is wrong with the client"
    ]


def test_a_note_is_nothing_wrong() -> None:
    total, note = verdict_lines(judged(Sent(0), Sent(1)))
    assert total == "2 requests (2 answered): nothing is wrong with the client"
    assert note.startswith("note  sent-after-success")
