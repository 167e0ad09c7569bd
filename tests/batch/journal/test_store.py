"""The store of a run: what is found, what is appended, and in which order it is read again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest

from chatpipe.batch.items import Item
from chatpipe.batch.journal import store as module
from chatpipe.batch.journal.answer_files import AnswerFiles
from chatpipe.batch.journal.answers import AnswerIndex, MatchBy
from chatpipe.batch.journal.journal import Journal
from chatpipe.batch.journal.store import RunStore, StoreOptions, open_store
from chatpipe.batch.result import Result
from chatpipe.batch.run_spec import RunSpec
from chatpipe.errors import CannotWrite, Status
from chatpipe.options.outcomes import Outcome
from chatpipe.options.output import FORMATS
from chatpipe.options.run import ResumeOptions
from chatpipe.options.server import ServerOptions
from chatpipe.request.fingerprint import fingerprint
from chatpipe.server import endpoints
from support.parametrize import cases

BODY = {"model": "m", "messages": []}
SCOPE = "https://h/v1"


def item(line: int = 1, *, own_id: str | None = None, **fields: Any) -> Item:
    return Item(line, own_id or f"line-{line}", {**BODY, **fields}, has_own_id=own_id is not None)


def line_of(of: Item, name: str, outcome: str = "ok", text: str = "Hi") -> bytes:
    body = {"choices": [{"index": 0, "message": {"content": text}, "finish_reason": "stop"}]}
    metadata = {"line": of.line, "outcome": outcome, "fingerprint": name, "attempts": 1, "latency_s": 0.5}
    response = {"status_code": 200, "request_id": None, "body": body}
    record = {"id": f"chatpipe-{name}", "custom_id": of.custom_id, "response": response, "error": None}
    return orjson.dumps({**record, "chatpipe": metadata})


def result(of: Item, name: str, line: bytes, latency_s: float | None = 0.5, outcome: str = "ok") -> Result:
    return Result(of, Outcome(outcome), line, {}, True, Status.OK, latency_s=latency_s, fingerprint=name)


class Stores:
    """Stores of runs, one after the other, with OUT `out`, its journal and the file `reuse`."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def open(
        self, *, by_id: bool = False, reuse: bool = False, scope: str = SCOPE, **options: Any
    ) -> RunStore:
        self.close()
        journal = self._stack.enter_context(Journal("out.journal"))
        resume = ResumeOptions(reuse=("reuse",) if reuse else ())
        ways: list[MatchBy] = ["body", "id"] if by_id else ["body"]
        found = [AnswerIndex(resume, out="out", journal=journal, match=match) for match in ways]
        for each in found:
            self._stack.callback(each.close)
        return RunStore(AnswerFiles(journal, *found), StoreOptions(scope, **options))

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stores]:
    monkeypatch.chdir(tmp_path)
    found = Stores()
    yield found
    found.close()


def journaled() -> list[bytes]:
    """The result lines of the journal."""
    return [line for line in Path("out.journal").read_bytes().splitlines() if b'"custom_id"' in line]


# Fingerprints


@cases(
    ("options", "names"),
    {
        "no files": ({}, [1, 1, 1]),
        "a shard": ({"is_shard": True}, [1, 2, 3]),
        "a shard, deduped": ({"is_shard": True, "dedupe": True}, [1, 1, 1]),
    },
)
def test_identical_requests_are_numbered_if_they_are_looked_up(options: Any, names: list[int]) -> None:
    store = RunStore(AnswerFiles(), StoreOptions(SCOPE, **options))
    expected = [fingerprint(BODY, None, number) for number in names]
    assert [store.fingerprint(item(line)) for line in (1, 2, 3)] == expected


@pytest.mark.parametrize(("dedupe", "second"), [(False, 2), (True, 1)])
def test_a_journal_numbers_them_unless_one_answer_is_for_all(
    stores: Stores, dedupe: bool, second: int
) -> None:
    store = stores.open(dedupe=dedupe)
    assert store.fingerprint(item(1)) == fingerprint(BODY, None, 1)
    assert store.fingerprint(item(2)) == fingerprint(BODY, None, second)
    assert store.fingerprint(item(3, seed=1)) == fingerprint({**BODY, "seed": 1}, None, 1)


@cases(
    ("model", "scopes_all", "scope"),
    {
        "the body names the model": ("m", False, None),
        "the path names it": ("m", True, SCOPE),
        "the server decides": (None, False, SCOPE),
        "an empty name": ("", False, SCOPE),
    },
)
def test_a_server_that_decides_the_model_is_a_part(
    model: str | None, scopes_all: bool, scope: str | None
) -> None:
    store = RunStore(AnswerFiles(), StoreOptions(SCOPE, scopes_all=scopes_all))
    asked = item(model=model)
    assert store.fingerprint(asked) == fingerprint({**BODY, "model": model}, scope, 1)


# Finding and recording


def test_without_files_nothing_is_found_or_kept() -> None:
    store = RunStore(AnswerFiles(), StoreOptions(SCOPE))
    asked = item()
    assert store.find_answer(asked, store.fingerprint(asked)) is None
    store.record(0, result(asked, "f", b"{}"))


def test_without_a_journal_a_recorded_answer_is_found_and_none_is_kept(stores: Stores) -> None:
    asked = item()
    line = line_of(asked, fingerprint(BODY, None, 1))
    Path("reuse").write_bytes(line + b"\n")
    recorded = stores.open(reuse=True).files.recorded
    store = RunStore(AnswerFiles(None, recorded), StoreOptions(SCOPE))
    assert store.find_answer(asked, store.fingerprint(asked)) is not None
    store.record(0, result(asked, "f", line, None))
    assert journaled() == []


@pytest.mark.parametrize("order", [(2, 0, 1), (0, 1, 2), (1, 2, 0)])
def test_results_are_read_in_the_order_of_the_input(stores: Stores, order: tuple[int, ...]) -> None:
    store = stores.open(keeps_order=True)
    lines = {number: line_of(item(number + 1), f"{number:032}") for number in order}
    for number, line in lines.items():
        store.record(number, result(item(number + 1), f"{number:032}", line))
    assert journaled() == list(lines.values())
    assert b"".join(store.blocks()).splitlines() == [lines[0], lines[1], lines[2]]


def test_an_answer_is_found_by_the_next_run_and_stays_where_it_is(stores: Stores) -> None:
    asked = item()
    store = stores.open()
    name = store.fingerprint(asked)
    line = line_of(asked, name)
    assert store.find_answer(asked, name) is None
    store.record(0, result(asked, name, line))

    store = stores.open(keeps_order=True)
    found = store.find_answer(asked, name)
    assert found is not None
    assert (found.line, found.outcome) == (line, "ok")
    recorded = store.files.recorded
    assert recorded is not None
    assert list(recorded.unused_locations()) == []
    store.record(0, result(asked, name, line, None))
    assert journaled() == [line]
    assert b"".join(store.blocks()).splitlines() == [line]


def test_an_answer_that_is_changed_is_appended(stores: Stores) -> None:
    asked = item()
    store = stores.open()
    name = store.fingerprint(asked)
    line = line_of(asked, name)
    store.record(0, result(asked, name, line))
    store = stores.open(keeps_order=True)
    assert store.find_answer(asked, name) is not None
    other = line.replace(b'"line":1', b'"line":9')
    store.record(0, result(asked, name, other, None))
    assert journaled() == [line, other]
    assert b"".join(store.blocks()).splitlines() == [other]


@cases(
    ("file", "options", "is_copied"),
    {
        "OUT stays": ("out", {}, False),
        "OUT is replaced by texts": ("out", {"keeps_all": True}, True),
        "a file of --reuse": ("reuse", {"reuse": True}, True),
        "a file of --reuse, all kept": ("reuse", {"reuse": True, "keeps_all": True}, True),
    },
)
def test_an_answer_of_another_file_is_copied_unless_it_stays(
    stores: Stores, file: str, options: Any, is_copied: bool
) -> None:
    asked = item()
    line = line_of(asked, fingerprint(BODY, None, 1))
    Path(file).write_bytes(line + b"\n")
    store = stores.open(keeps_order=True, **options)
    name = store.fingerprint(asked)
    assert store.find_answer(asked, name) is not None
    store.record(0, result(asked, name, line, None))
    assert journaled() == ([line] if is_copied else [])
    assert b"".join(store.blocks()).splitlines() == [line]


def test_a_journal_line_stays_even_if_all_are_kept(stores: Stores) -> None:
    asked = item()
    store = stores.open()
    name = store.fingerprint(asked)
    line = line_of(asked, name)
    store.record(0, result(asked, name, line))
    store = stores.open(keeps_all=True)
    assert store.find_answer(asked, name) is not None
    store.record(0, result(asked, name, line, None))
    assert journaled() == [line]


@cases(
    ("dedupe", "outcome", "latency_s", "is_found"),
    {
        "deduped": (True, "ok", 0.5, True),
        "not deduped": (False, "ok", 0.5, False),
        "paid, but not good": (True, "truncated", 0.5, True),
        "no answer": (True, "http", 0.5, False),
        "an answer of an earlier run": (True, "ok", None, False),
    },
)
def test_an_answer_of_this_run_is_found_by_a_line_like_it(
    stores: Stores, dedupe: bool, outcome: str, latency_s: float | None, is_found: bool
) -> None:
    store = stores.open(dedupe=dedupe)
    name = store.fingerprint(item(1))
    line = line_of(item(1), name, outcome)
    store.record(0, result(item(1), name, line, latency_s, outcome))
    found = store.find_answer(item(2), name)
    assert (None if found is None else found.line) == (line if is_found else None)


@cases(
    ("own_id", "by_id", "is_found"),
    {
        "its id": ("x", True, True),
        "another id": ("y", True, False),
        "a line without an id": (None, True, False),
        "found by bodies only": ("x", False, False),
    },
)
def test_an_answer_is_found_by_the_id_of_the_line_itself(
    stores: Stores, own_id: str | None, by_id: bool, is_found: bool
) -> None:
    old = item(1, own_id="x", seed=1)
    name = fingerprint({**BODY, "seed": 1}, None, 1)
    stores.open().record(0, result(old, name, line_of(old, name)))
    store = stores.open(by_id=by_id, keeps_order=True)
    asked = item(2, own_id=own_id)
    found = store.find_answer(asked, store.fingerprint(asked))
    assert (None if found is None else found.line) == (line_of(old, name) if is_found else None)
    recorded = store.files.recorded
    assert recorded is not None
    assert len(recorded.unused_locations()) == (0 if is_found else 1)
    store.record(0, result(asked, "f", line_of(old, name), None))
    assert len(journaled()) == 2  # under a fingerprint that nobody else has


def test_a_full_disk_says_which_answers_are_lost(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the first fault, which is the one that is reported. What was not paid for now is not lost."""
    store = stores.open()

    def full(self: Journal, line: bytes) -> int:
        raise CannotWrite("full")

    monkeypatch.setattr(Journal, "append", full)
    faults: list[str] = []
    first: CannotWrite | None = None
    for line, latency_s, outcome in (
        *((2, 0.5, "http"), (3, None, "ok"), (4, 0.5, "ok")),
        *((5, 0.5, "network"), (6, None, "ok"), (7, 0.5, "truncated")),
    ):
        with pytest.raises(CannotWrite) as caught:
            store.record(0, result(item(line), "f", b"{}", latency_s, outcome))
        first = first or (caught.value if line == 4 else None)
        faults.append(caught.value.what if first is None else first.what)
    one, two = "the answer to line 4 is lost", "the answers to 2 lines are lost, the first is line 4"
    assert faults == ["full", "full", *[f"full: {one}"] * 3, f"full: {two}"]


# Options


@cases(
    ("changes", "expected"),
    {
        "none": ({}, StoreOptions("")),
        "dedupe": ({"input": SimpleNamespace(dedupe=True, shard=None)}, StoreOptions("", dedupe=True)),
        "a shard": ({"input": SimpleNamespace(dedupe=False, shard=(1, 2))}, StoreOptions("", is_shard=True)),
        "a file": ({"writes_at_the_end": True}, StoreOptions("", keeps_order=True)),
        "texts": (
            {"run_format": SimpleNamespace(properties=FORMATS["text"])},
            StoreOptions("", keeps_all=True),
        ),
    },
)
def test_the_options_of_a_run(
    changes: dict[str, Any], expected: StoreOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "open_answer_files", lambda spec: nullcontext(AnswerFiles()))
    monkeypatch.setattr(module, "open_resent_mismatches", lambda spec: None)
    monkeypatch.setattr(module, "RunStore", lambda files, options, resent: options)
    endpoint = endpoints.resolve_endpoints(ServerOptions(base_urls=("http://127.0.0.1:9/v1",)), {}, ())[0]
    spec = SimpleNamespace(
        endpoint=endpoint,
        endpoints=(endpoint,),
        input=SimpleNamespace(dedupe=False, shard=None),
        writes_at_the_end=False,
        run_format=SimpleNamespace(properties=FORMATS["results"]),
    )
    vars(spec).update(changes)
    with open_store(cast(RunSpec, spec)) as store:
        found = cast(StoreOptions, store)
    assert found._replace(scope="") == expected
    assert "127.0.0.1" in found.scope or "localhost" in found.scope
