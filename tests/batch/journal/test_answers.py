"""Recorded answers found again: in which files, by which name, which of several, and never another's."""

from __future__ import annotations

import gzip
import json
import os
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatpipe.batch.journal.acceptance import Acceptance
from chatpipe.batch.journal.answers import AnswerIndex, MatchBy
from chatpipe.batch.journal.journal import Journal
from chatpipe.batch.journal.paid_lines import paid_lines
from chatpipe.errors import BadInput, MissingInput, Status
from chatpipe.inputs.values import Value
from chatpipe.options.run import ResumeOptions
from support.parametrize import cases
from support.resident import measured

F1, F2, F3 = "1" * 32, "2" * 32, "3" * 32
HEADER = b'{"chatpipe_journal":1,"chatpipe":"0.1.0"}'


def result(
    fingerprint: str | None = F1,
    outcome: str = "ok",
    text: str = "Hi",
    custom_id: str = "line-1",
    at: str | None = None,
    server: str | None = None,
) -> bytes:
    """A result line, as a run writes it."""
    return orjson.dumps(
        {
            "id": f"chatpipe-{fingerprint}",
            "custom_id": custom_id,
            "response": {"status_code": 200, "request_id": None, "body": completion(text)},
            "error": None if outcome == "ok" else {"code": outcome, "message": "why"},
            "chatpipe": {
                "line": 1,
                "outcome": outcome,
                "fingerprint": fingerprint,
                "attempts": 1,
                "latency_s": 0.5,
                "at": at,
                "server": server,
            },
        }
    )


def completion(text: str, finish_reason: str = "stop") -> Value:
    message = {"role": "assistant", "content": text}
    return {"choices": [{"index": 0, "message": message, "finish_reason": finish_reason}]}


def batch_api(custom_id: str, body: Value, status: int = 200) -> bytes:
    """An output line of the Batch API: with spaces, without our key."""
    response = f'{{"status_code": {status}, "request_id": "r", "body": {orjson.dumps(body).decode()}}}'
    return f'{{"id": "b_1", "custom_id": "{custom_id}", "response": {response}, "error": null}}'.encode()


def line_of(recorded: AnswerIndex, identity: str) -> bytes | None:
    """The recorded answer to a request; None when there is none."""
    found = recorded.find(identity)
    return found.line if found else None


def lines_at(recorded: AnswerIndex, locations: Sequence[int]) -> list[bytes]:
    """The lines of OUT, without their newlines."""
    return b"".join(recorded.files.blocks(locations)).splitlines()


class Files:
    """Files of lines in a directory that the test is in, so that their names are short."""

    def __init__(self) -> None:
        self._opened: list[AnswerIndex] = []

    def recorded(
        self,
        *,
        reuse: Iterable[str] = (),
        resend: frozenset[str] = frozenset(),
        fresh: bool = False,
        **files: Any,
    ) -> AnswerIndex:
        """An index that is closed at the end of the test."""
        options = ResumeOptions(reuse=tuple(reuse), resend=resend, fresh=fresh)
        self._opened.append(AnswerIndex(options, **files))
        return self._opened[-1]

    def close(self) -> None:
        for recorded in self._opened:
            recorded.close()

    def journal(self, *lines: bytes) -> str:
        return self.write("j", HEADER, *lines)

    def write(self, name: str, *lines: bytes) -> str:
        Path(name).write_bytes(b"".join(line + b"\n" for line in lines))
        return name


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Files]:
    monkeypatch.chdir(tmp_path)
    files = Files()
    yield files
    files.close()


def test_answers_are_found_in_out_its_journal_and_reused_files(files: Files) -> None:
    recorded = files.recorded(
        reuse=[files.write("old", result(F1, text="old"))],
        out=files.write("out", result(F2, text="out")),
        journal=files.write("journal", HEADER, result(F3, text="journal")),
    )
    assert line_of(recorded, F1) == result(F1, text="old")
    assert line_of(recorded, F2) == result(F2, text="out")
    assert line_of(recorded, F3) == result(F3, text="journal")
    assert line_of(recorded, "4" * 32) is None
    assert len(recorded) == 3


def test_missing_files_hold_no_answers(files: Files) -> None:
    recorded = files.recorded(out="none", journal="none.journal")
    assert line_of(recorded, F1) is None
    assert len(recorded) == 0


KEPT = ["ok", "truncated", "refused", "empty", "mismatch", "tool-calls"]


@pytest.mark.parametrize("outcome", KEPT)
def test_paid_answers_are_found(outcome: str, files: Files) -> None:
    found = files.recorded(journal=files.journal(result(F1, outcome))).find(F1)
    assert found is not None
    assert (found.line, found.outcome) == (result(F1, outcome), outcome)


@pytest.mark.parametrize("outcome", ["http", "network", "input", "unsent", "", "new one"])
def test_unpaid_results_are_not_found(outcome: str, files: Files) -> None:
    assert files.recorded(journal=files.journal(result(F1, outcome))).find(F1) is None


def test_outcomes_to_resend_are_not_found_and_others_are(files: Files) -> None:
    journal = files.journal(result(F1, "truncated"), result(F2, "refused"), result(F3))
    recorded = files.recorded(journal=journal, resend=frozenset({"truncated"}))
    assert line_of(recorded, F1) is None
    assert line_of(recorded, F2) == result(F2, "refused")
    assert line_of(recorded, F3) == result(F3)


SUCCESS = frozenset({"ok"})
ALLOWED = frozenset({"ok", "truncated"})
# outcomes in the order of their lines; which of them is found, by its number
WHICH: dict[str, Any] = {
    "the newest success": (["ok", "ok"], SUCCESS, 1),
    "a success, though something unwelcome is newer": (["ok", "truncated"], SUCCESS, 0),
    "a success that is newer": (["truncated", "ok"], SUCCESS, 1),
    "the newest of the unwelcome": (["truncated", "refused"], SUCCESS, 1),
    "a failure displaces nothing": (["ok", "http"], SUCCESS, 0),
    "not even the unwelcome": (["truncated", "network", "unsent"], SUCCESS, 0),
    "a success amid failures": (["http", "ok", "truncated", "http"], SUCCESS, 1),
    "what is allowed is a success": (["ok", "truncated"], ALLOWED, 1),
    "and is not displaced": (["truncated", "refused"], ALLOWED, 0),
    "nothing": (["http", "network"], SUCCESS, None),
}


@cases("outcomes, good, which", WHICH)
def test_of_several_answers_to_one_request_counts(
    outcomes: list[str], good: frozenset[str], which: int | None, files: Files
) -> None:
    lines = [result(F1, outcome, str(number)) for number, outcome in enumerate(outcomes)]
    expected = None if which is None else lines[which]
    accept = Acceptance(good)
    assert line_of(files.recorded(journal=files.journal(*lines), accept=accept), F1) == expected
    spread = [files.write(f"part-{number}", line) for number, line in enumerate(lines)]
    assert line_of(files.recorded(reuse=spread, accept=accept), F1) == expected


NOON = "2026-01-31T12:00:00.500Z"
# the times of a first and a second good answer; which of them is found
TIMES: dict[str, Any] = {
    "the second is newer": ("2026-01-31T12:00:00.499Z", NOON, 1),
    "the first is newer": (NOON, "2026-01-31T12:00:00.499Z", 0),
    "of the same time": (NOON, NOON, 1),
    "a time and none": (NOON, None, 0),
    "none and a time": (None, NOON, 1),
    "none at all": (None, None, 1),
    "no time at all": (NOON, "yesterday", 0),
    "without a fraction": (NOON, "2026-01-31T12:00:00Z", 0),
    "in another zone": ("2026-01-31T12:30:00+01:00", NOON, 1),
    "in another zone, later": ("2026-01-31T11:30:00-01:00", NOON, 0),
    "without a zone": ("2026-01-31T12:00:01", NOON, 0),
}


@cases("first, second, which", TIMES)
def test_the_newest_answer_is_that_of_the_last_time_wherever_it_stands(
    first: str | None, second: str | None, which: int, files: Files
) -> None:
    lines = [result(text=str(number), at=at) for number, at in enumerate((first, second))]
    out = files.write("out", lines[0])
    assert line_of(files.recorded(out=out, journal=files.journal(lines[1])), F1) == lines[which]
    spread = [files.write(f"part-{number}", line) for number, line in enumerate(lines)]
    assert line_of(files.recorded(reuse=spread), F1) == lines[which]


def test_a_newer_answer_that_is_unwelcome_displaces_no_success(files: Files) -> None:
    lines = [result(outcome="truncated", at=NOON), result(at="2020-01-31T12:00:00.500Z")]
    assert line_of(files.recorded(journal=files.journal(*lines)), F1) == lines[1]


HERE, THERE, ECHO = "http://127.0.0.1:8000/v1", "https://there.example/v1", "echo"
OWN = frozenset({"localhost:8000/v1"})
# the server of an answer, and whether the built-in model gave it; whether it is found; with --same-server
SERVERS: dict[str, Any] = {
    "the same": (HERE, False, True, True),
    "the same by another name": ("https://localhost:8000/v1/", False, True, True),
    "another": (THERE, False, True, False),
    "unknown": (None, False, True, False),
    "not a URL": ("http://[", False, True, False),
    "echo": (ECHO, True, False, False),
    "built-in, the same": (HERE, True, True, True),
    "built-in, another": ("http://127.0.0.1:8001/v1", True, False, False),
    "built-in, unknown": (None, True, False, False),
}


@cases("server, is_built_in, found, found_of_same", SERVERS)
def test_an_answer_counts_whoever_gave_it_unless_it_is_made_up_or_the_same_server_is_asked_for(
    server: str | None, is_built_in: bool, found: bool, found_of_same: bool, files: Files
) -> None:
    record = orjson.loads(result(server=server))
    if is_built_in:
        record["response"]["body"]["system_fingerprint"] = "fp_chatpipe"
    for line in (orjson.dumps(record), json.dumps(record).encode()):
        for match, identity in (("body", F1), ("id", "line-1")):
            for same_server, expected in ((False, found), (True, found_of_same)):
                accept = Acceptance(servers=OWN, same_server=same_server)
                recorded = files.recorded(out=files.write("out", line), match=match, accept=accept)
                assert line_of(recorded, identity) == (line if expected else None)


def test_an_answer_that_speaks_of_the_mark_is_not_made_up(files: Files) -> None:
    line = result(text='"system_fingerprint":"fp_chatpipe"', server=THERE)
    assert line_of(files.recorded(journal=files.journal(line)), F1) == line


def test_a_made_up_answer_hides_no_real_one_and_is_not_kept(files: Files) -> None:
    real, made_up = result(text="real", at=NOON), result(text="x", server=ECHO, at="2027-01-01T00:00:00.000Z")
    recorded = files.recorded(journal=files.journal(real, made_up))
    assert line_of(recorded, F1) == real
    assert len(recorded) == 1


def test_answers_of_other_servers_are_kept_beside_that_of_the_same(files: Files) -> None:
    lines = [result(text=server, server=server) for server in (THERE, HERE, "http://third.example")]
    accept = Acceptance(servers=OWN, same_server=True)
    recorded = files.recorded(journal=files.journal(*lines), accept=accept)
    found = recorded.find(F1)
    assert found is not None
    assert found.line == lines[1]
    recorded.mark_used(F1, found)
    assert lines_at(recorded, recorded.unused_locations()) == [lines[0], lines[2]]


def test_resend_falls_back_to_an_earlier_success(files: Files) -> None:
    journal = files.journal(result(F1, "ok", "good"), result(F1, "truncated"))
    recorded = files.recorded(journal=journal, resend=frozenset({"truncated"}))
    assert line_of(recorded, F1) == result(F1, "ok", "good")


def test_the_journal_is_newer_than_out_and_out_than_reused_files(files: Files) -> None:
    reuse = [files.write("a", result(text="a")), files.write("b", result(text="b"))]
    out, journal = files.write("out", result(text="out")), files.journal(result(text="j"))
    assert line_of(files.recorded(reuse=reuse, out=out, journal=journal), F1) == result(text="j")
    assert line_of(files.recorded(reuse=reuse, out=out), F1) == result(text="out")
    assert line_of(files.recorded(reuse=reuse), F1) == result(text="b")
    assert line_of(files.recorded(reuse=reuse[::-1]), F1) == result(text="a")


def test_answers_are_found_by_id_even_if_the_request_has_changed(files: Files) -> None:
    out = files.write("out", result(F1, custom_id='é \\ " 1'), result(F1, "truncated", "cut", custom_id="2"))
    recorded = files.recorded(out=out, match="id")
    assert line_of(recorded, 'é \\ " 1') == result(F1, custom_id='é \\ " 1')
    assert line_of(recorded, "2") == result(F1, "truncated", "cut", custom_id="2")
    assert line_of(recorded, F1) is None


BATCH_API: dict[str, Any] = {
    "good": (completion("Hi"), 200, "ok"),
    "cut": (completion("Hi", "length"), 200, "truncated"),
    "filtered": (completion("", "content_filter"), 200, "refused"),
    "empty": (completion(""), 200, "empty"),
    "an error with its status": ({"error": {"message": "no"}}, 400, None),
    "an error without": ({"error": {"message": "no"}}, 200, None),
    "no choices": ({"choices": []}, 200, None),
    "not an object": ("text", 200, None),
}


@cases("body, status, outcome", BATCH_API)
def test_lines_of_the_batch_api_are_judged_and_found_by_id(
    body: Value, status: int, outcome: str | None, files: Files
) -> None:
    line = batch_api("1", body, status)
    found = files.recorded(reuse=[files.write("output", line)], match="id").find("1")
    assert (found and (found.outcome, found.line)) == (outcome and (outcome, line))


def test_lines_of_the_batch_api_have_no_fingerprint(files: Files) -> None:
    assert len(files.recorded(reuse=[files.write("output", batch_api("1", completion("Hi")))])) == 0


def test_a_line_of_an_error_file_is_no_answer(files: Files) -> None:
    line = b'{"id":"b","custom_id":"1","response":null,"error":{"code":"batch_expired","message":"late"}}'
    assert line_of(files.recorded(reuse=[files.write("errors", line)], match="id"), "1") is None


# What lines may look like besides those that a run writes: all the same answer.
AS_WELL: dict[str, Any] = {
    "CRLF": lambda line: line + b"\r",
    "spaces around": lambda line: b" " + line + b" ",
    "keys sorted": lambda line: orjson.dumps(orjson.loads(line), option=orjson.OPT_SORT_KEYS),
    "spaces inside": lambda line: line.replace(b'":', b'": '),
    "one more key at the end": lambda line: line[:-1] + b',"label":"x"}',
    "one more key at the beginning": lambda line: b'{"row":1,' + line[1:],
    "half an emoji in the answer": lambda line: line.replace(b'"Hi"', b'"\\ud83d"'),
    "half an emoji in the id": lambda line: line.replace(b'"line-1"', b'"\\ud83d"'),
    "our key inside a string": lambda line: line.replace(b'"Hi"', b'"\\"chatpipe\\":{}"'),
    "our key in the server's body": lambda line: line.replace(
        b'"choices":', b'"chatpipe":{"outcome":"http"},"choices":'
    ),
    "a long answer": lambda line: line.replace(b'"Hi"', b'"' + b"x" * 20_000 + b'"'),
}


@cases("change", AS_WELL)
def test_other_forms_of_a_line_are_read_and_given_as_they_are(
    change: Callable[[bytes], bytes], files: Files
) -> None:
    line = change(result(F1))
    assert line_of(files.recorded(out=files.write("out", line, result(F2))), F1) == line.removesuffix(b"\r")


def test_our_key_below_the_top_says_nothing(files: Files) -> None:
    """Both end like a result line of ours, but for the closing braces."""
    about = b'"chatpipe":{"outcome":"ok","fingerprint":"%s"}' % F1.encode()
    inside = b'{"id":"a","custom_id":"b","error":null,"response":{"status_code":200,"body":{%s}}}' % about
    deeper = b'{"id":"a","custom_id":"b","response":{%s},"error":null}' % about
    assert len(files.recorded(out=files.write("out", inside, deeper))) == 0


NO_NAMES: dict[str, Any] = {
    "null": {"chatpipe": {"outcome": "ok", "fingerprint": None}, "custom_id": None},
    "numbers": {"chatpipe": {"outcome": "ok", "fingerprint": 7}, "custom_id": 7},
    "arrays": {"chatpipe": {"outcome": "ok", "fingerprint": [1]}, "custom_id": [1]},
    "odd outcome": {"chatpipe": {"outcome": ["ok"], "fingerprint": F1}, "custom_id": "1"},
    "nothing said": {"chatpipe": {}, "custom_id": "1"},
    "an array": {"chatpipe": [], "custom_id": "1"},
}


@cases("fields", NO_NAMES)
@pytest.mark.parametrize("match", ["body", "id"])
def test_lines_that_say_too_little_hold_no_answer(fields: Value, match: MatchBy, files: Files) -> None:
    plain = {"id": "x", "custom_id": fields["custom_id"], "response": None, "error": None}
    line = orjson.dumps({**plain, "chatpipe": fields["chatpipe"]})
    assert len(files.recorded(out=files.write("out", line), match=match)) == 0


OTHER_FORMATS: dict[str, Any] = {
    "text": [b"Hello", result(F1)],
    "strings": [b'"a string"', result(F1)],
    "completions": [orjson.dumps(completion("Hi")), result(F1)],
    "rows": [b'{"text":"a","label":"b"}', result(F1)],
    "null after a blank line": [b"", b"null", result(F1)],
    "not UTF-8": [b"\xff\xfe", result(F1)],
}


@cases("lines", OTHER_FORMATS)
def test_an_out_in_another_format_holds_no_answers(lines: list[bytes], files: Files) -> None:
    """Not even where a model's own words look like one."""
    assert line_of(files.recorded(out=files.write("out", *lines)), F1) is None


def test_damaged_lines_are_passed_over(files: Files) -> None:
    damaged = [b"", b"   ", result(F2)[:50], b"\0" * 20, b"\xff", b"[]", result(F3)[20:]]
    lines = [line for each in damaged for line in (each, result(F1))]
    for recorded in (
        files.recorded(out=files.write("out", result(F1), *lines)),
        files.recorded(journal=files.journal(*lines)),
        files.recorded(reuse=[files.write("reuse", *lines)]),
    ):
        assert line_of(recorded, F1) == result(F1)
        assert len(recorded) == 1


def test_a_line_damaged_in_its_middle_does_not_displace_a_whole_one(files: Files) -> None:
    newer = result(F1, text="newer and longer").replace(b"newer", b"\0\0\0\0\0")
    assert line_of(files.recorded(journal=files.journal(result(F1), newer)), F1) == result(F1)
    assert line_of(files.recorded(journal=files.journal(newer)), F1) is None
    assert line_of(files.recorded(journal=files.journal(newer, result(F1))), F1) == result(F1)


@pytest.mark.parametrize("missing", [0, 1, 2, 40])
def test_a_last_line_counts_if_it_lacks_no_more_than_its_newline(missing: int, files: Files) -> None:
    content = HEADER + b"\n" + result(F1) + b"\n" + result(F2)
    Path("j").write_bytes(content[: len(content) - missing])
    recorded = files.recorded(journal="j")
    assert line_of(recorded, F1) == result(F1)
    assert line_of(recorded, F2) == (result(F2) if missing == 0 else None)


def test_a_byte_order_mark_is_not_part_of_a_line(files: Files) -> None:
    Path("out").write_bytes(b"\xef\xbb\xbf" + result(F1) + b"\r\n" + result(F2) + b"\r\n")
    recorded = files.recorded(reuse=["out"])
    assert (line_of(recorded, F1), line_of(recorded, F2)) == (result(F1), result(F2))


NOT_REUSABLE: dict[str, Any] = {
    "text": ([b"some text"], 1),
    "requests, after blank lines": ([b"", b" ", b'{"messages":[]}'], 3),
    "completions": ([orjson.dumps(completion("Hi")), b"x"], 1),
    "one torn line": ([result(F1)[:-1]], 1),
}


@cases("lines, number", NOT_REUSABLE)
def test_a_file_to_reuse_without_a_result_line_is_bad_input(
    lines: list[bytes], number: int, files: Files
) -> None:
    with pytest.raises(BadInput) as caught:
        files.recorded(reuse=[files.write("file", *lines)])
    expected = f"file:{number}: not a result line: --reuse takes what a run or the Batch API wrote"
    assert str(caught.value) == expected


REUSABLE: dict[str, Any] = {
    "empty, as of a shard that got no lines": [],
    "blank": [b"", b" \r"],
    "a journal without a line": [HEADER],
    "a journal whose first line is torn": [HEADER, b'{"torn'],
    "failures only": [result(F1, "http")],
    "result lines after junk": [b"junk", result(F1)],
}


@cases("lines", REUSABLE)
def test_a_file_to_reuse_may_hold_no_answer(lines: list[bytes], files: Files) -> None:
    files.recorded(reuse=[files.write("file", *lines)])


def test_a_pattern_stands_for_the_files_it_fits_in_order(files: Files) -> None:
    for number in (2, 10, 1):
        files.write(f"part-{number}", result(str(number % 10) * 32), result(F3, text=f"{number}"))
    recorded = files.recorded(reuse=["part-*"])
    assert [line_of(recorded, fingerprint) is not None for fingerprint in (F1, F2, "0" * 32)] == [True] * 3
    assert line_of(recorded, F3) == result(F3, text="2")


def test_a_name_that_exists_is_no_pattern(files: Files) -> None:
    files.write("part-[1]", result(F1))
    files.write("part-1", result(F2))
    recorded = files.recorded(reuse=["part-[1]"])
    assert (line_of(recorded, F1), line_of(recorded, F2)) == (result(F1), None)


MISSING: dict[str, Any] = {
    "no file": ("none", "--reuse: cannot read 'none': no such file or directory"),
    "a pattern that fits nothing": ("none-*", "--reuse: no file matches 'none-*'"),
    "a directory": ("folder", "--reuse: cannot read 'folder': not a regular file"),
    "a FIFO, not waited for": ("fifo", "--reuse: cannot read 'fifo': not a regular file"),
    "a link to nowhere": ("link", "--reuse: cannot read 'link': no such file or directory"),
    "a NUL in the name": ("a\0b", "--reuse: cannot read 'a\0b': NUL byte in its name"),
}


@cases("name, message", MISSING)
def test_a_file_to_reuse_that_is_not_there_is_66(name: str, message: str, files: Files) -> None:
    os.mkfifo("fifo")
    Path("folder").mkdir()
    Path("link").symlink_to("nowhere")
    before = len(os.listdir("/dev/fd"))
    with pytest.raises(MissingInput) as caught:
        files.recorded(reuse=[files.write("there", result(F1)), name])
    assert str(caught.value) == message
    assert caught.value.status == Status.NO_INPUT
    assert len(os.listdir("/dev/fd")) == before


@pytest.mark.parametrize("out", ["/dev/null", "fifo", "."])
def test_an_out_that_is_no_file_holds_nothing(out: str, files: Files) -> None:
    os.mkfifo("fifo")
    assert len(files.recorded(out=out, journal=out)) == 0


def test_a_compressed_file_is_not_taken_for_results(files: Files) -> None:
    Path("old.gz").write_bytes(gzip.compress(result(F1) + b"\n"))
    with pytest.raises(BadInput, match=r"old\.gz: gzip, not UTF-8 text: zcat old\.gz > NEW makes text of it"):
        files.recorded(reuse=["old.gz"])


def test_the_journal_of_this_run_may_be_among_the_reused_files(files: Files) -> None:
    with Journal("part-1.journal") as journal:
        journal.append(result(F1))
        recorded = files.recorded(reuse=["part-*"], journal=journal)
        assert line_of(recorded, F1) == result(F1)
        assert len(recorded) == 1
        place = recorded.journal_location(journal.append(result(F2)), "ok")
        assert lines_at(recorded, [place]) == [result(F2)]


def test_a_run_reads_its_own_lines_in_the_order_of_its_input(files: Files) -> None:
    """Old and new answers, and failures too, from 8 bytes each."""
    with Journal("j") as journal:
        recorded = files.recorded(out=files.write("out", result(F2)), journal=journal)
        found = recorded.find(F2)
        assert found is not None
        third = recorded.journal_location(journal.append(result(F3, "http")), "http")
        first = recorded.journal_location(journal.append(result(F1)), "ok")
        assert lines_at(recorded, [first, found.location, third]) == [
            result(F1),
            result(F2),
            result(F3, "http"),
        ]


def test_a_line_copied_from_a_reused_file_is_no_purchase(files: Files) -> None:
    reused = files.write("part", result(F1), result(F2))
    with Journal("journal") as journal:
        for line in (result(F1), result(F3)):
            journal.append(line)
        recorded = files.recorded(reuse=[reused], journal=journal)
        assert [line.record for line in paid_lines(recorded.files)] == [orjson.loads(result(F3))]


def test_purchases_are_the_lines_of_the_journal_failures_too(files: Files) -> None:
    lines = [result(F1, "http"), result(F1)]
    journal = files.journal(lines[0], b"damaged", lines[1])
    recorded = files.recorded(out=files.write("out", result(F2)), journal=journal)
    assert [line.record for line in paid_lines(recorded.files)] == [orjson.loads(line) for line in lines]
    assert list(paid_lines(files.recorded(out="out").files)) == []


def moved(line: bytes, number: int) -> bytes:
    """A result line as it is copied for a line in another place, with another name."""
    record = orjson.loads(line)
    record["custom_id"] = f"line-{number}"
    record["chatpipe"]["line"] = number
    return orjson.dumps(record)


def test_an_answer_is_one_purchase_however_often_it_was_copied(files: Files) -> None:
    first, second = result(F1, "truncated"), result(F1, "truncated").replace(b"0.5", b"0.25")
    lines = [first, moved(first, 2), second, moved(first, 3), moved(second, 3), result(F2, "truncated")]
    recorded = files.recorded(journal=files.journal(*lines))
    assert [line.record for line in paid_lines(recorded.files)] == [
        orjson.loads(line) for line in (first, second, lines[5])
    ]


def test_leftovers_of_a_finished_run_are_no_purchases_of_this_job(files: Files) -> None:
    journal = Journal("j")
    journal.append(result(F1))
    journal.compact([result(F2) + b"\n"])
    with Journal("j") as journal:
        journal.append(result(F3))
        recorded = files.recorded(journal=journal)
        assert [line.record for line in paid_lines(recorded.files)] == [orjson.loads(result(F3))]
        found = [recorded.find(each) for each in (F1, F2, F3)]
        assert found[0] is None
        assert [recorded.files.was_unused(each.location) for each in found if each] == [True, False]


# What nobody asked for


def test_unused_are_the_answers_of_out_and_journal_that_were_not_used(files: Files) -> None:
    reuse = files.write("part", result("4" * 32))
    out = files.write("out", result(F1), result(F2), result("5" * 32))
    journal = files.journal(result(F3), result("6" * 32), result("5" * 32))
    recorded = files.recorded(reuse=[reuse], out=out, journal=journal)
    for fingerprint in (F2, "6" * 32):
        found = recorded.find(fingerprint)
        assert found is not None
        recorded.mark_used(fingerprint, found)
        again = recorded.find(fingerprint)
        assert again is not None
        recorded.mark_used(fingerprint, again)
        assert again.line == found.line
    assert lines_at(recorded, recorded.unused_locations()) == [result(F1), result(F3), result("5" * 32)]


def test_an_answer_that_just_came_serves_the_same_request_again(files: Files) -> None:
    """Also one that --resend does not want from earlier runs."""
    with Journal("j") as journal:
        recorded = files.recorded(journal=journal, resend=frozenset({"truncated"}))
        for fingerprint, outcome in ((F1, "ok"), (F3, "truncated")):
            recorded.add(
                fingerprint, recorded.journal_location(journal.append(result(fingerprint, outcome)), outcome)
            )
        assert line_of(recorded, F1) == result(F1)
        assert line_of(recorded, F3) == result(F3, "truncated")
        assert recorded.unused_locations().tolist() == []


def test_fresh_finds_only_answers_of_this_run(files: Files) -> None:
    out = files.write("out", result(F1))
    with Journal("j") as journal:
        journal.append(result(F2))
        recorded = files.recorded(out=out, reuse=["out"], journal=journal, fresh=True)
        assert [recorded.find(each) for each in (F1, F2)] == [None, None]
        recorded.add(F1, recorded.journal_location(journal.append(result(F1, text="new")), "ok"))
        assert line_of(recorded, F1) == result(F1, text="new")
        assert recorded.unused_locations().tolist() == []


def test_a_torn_line_is_dropped_before_the_journal_is_read(files: Files) -> None:
    Path("j").write_bytes(HEADER + b"\n" + result(F1) + b"\n" + result(F2)[:-9])
    with Journal("j") as journal:
        recorded = files.recorded(journal=journal)
        journal.append(result(F3))
    recorded = files.recorded(journal="j")
    assert [line_of(recorded, each) is not None for each in (F1, F2, F3)] == [True, False, True]


def test_a_file_that_changes_after_it_was_read_gives_no_wrong_answer(files: Files) -> None:
    recorded = files.recorded(out=files.write("out", result(F1), result(F2)))
    Path("out").write_bytes(b"x" + Path("out").read_bytes())
    assert line_of(recorded, F1) is None
    files.write("out", result(F3), result(F1))
    assert line_of(recorded, F1) is None
    Path("out").write_bytes(b"")
    assert line_of(recorded, F2) is None


@pytest.mark.parametrize("left", [0, 10, len(result(F1)) + 20])
def test_a_line_that_is_gone_when_out_is_written_is_no_empty_line(left: int, files: Files) -> None:
    """Neither is the beginning of one."""
    recorded = files.recorded(out=files.write("out", result(F1), result(F2)))
    found = files.recorded(out="out").find(F2)  # recorded itself has not read the line
    assert found is not None
    os.truncate("out", left)
    with pytest.raises(MissingInput, match="cannot read 'out': it was changed during the run"):
        lines_at(recorded, [found.location])


def test_out_has_the_lines_that_are_asked_for_in_any_order(files: Files) -> None:
    """Those that follow one another are read together."""
    many = [result(f"{number:032x}") for number in range(200)]
    recorded = files.recorded(out=files.write("out", *many[:100]), journal=files.journal(*many[100:]))
    places = {line: found.location for line in many if (found := recorded.find(line[16:48].decode()))}
    for wanted in (many, many[::-1], many[::2], many[1:70] + many[:1] + many[69:], many[130:] + many[:100]):
        assert lines_at(recorded, [places[line] for line in wanted]) == wanted


def test_a_file_that_is_replaced_is_still_read(files: Files) -> None:
    """-o replaces OUT while its old lines are what is written."""
    recorded = files.recorded(out=files.write("out", result(F1)))
    os.replace(files.write("new", b""), "out")
    assert line_of(recorded, F1) == result(F1)


@pytest.mark.parametrize("bits", [0, 1, 3])
def test_requests_that_share_their_8_bytes_are_distinguished(bits: int, files: Files) -> None:
    def short(identity: str) -> int:
        return hash(identity) & (1 << bits) - 1

    names = [f"{number:032x}" for number in range(20)]
    lines = [result(name, "truncated", text=f"old {name}") for name in names]
    lines += [result(name, text=name) for name in names[:10]]
    recorded = files.recorded(journal=files.journal(*lines), key=short)
    assert len(recorded) == 20
    for name in names[:10]:
        assert line_of(recorded, name) == result(name, text=name)
    for name in names[10:]:
        assert line_of(recorded, name) == result(name, "truncated", text=f"old {name}")
    assert line_of(recorded, "f" * 32) is None


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["ok", "truncated", "refused", "http", "unsent"])),
        max_size=12,
    ),
    st.sampled_from([frozenset[str](), frozenset({"truncated"}), frozenset({"truncated", "refused"})]),
    st.booleans(),
)
def test_any_history_is_read_as_a_simple_program_would(
    tmp_path_factory: pytest.TempPathFactory,
    history: list[tuple[str, str]],
    resend: frozenset[str],
    collide: bool,
) -> None:
    expected: dict[str, tuple[str, int]] = {}
    for number, (name, outcome) in enumerate(history):
        paid = outcome in {"ok", "truncated", "refused"} - resend
        if paid and (outcome == "ok" or expected.get(name, ("", 0))[0] != "ok"):
            expected[name] = (outcome, number)
    path = tmp_path_factory.mktemp("history") / "out"
    lines = [result(name * 32, outcome, str(number)) for number, (name, outcome) in enumerate(history)]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    key = (lambda _: 7) if collide else hash_of
    recorded = AnswerIndex(ResumeOptions(resend=resend), out=str(path), key=key)
    for name in "abcd":
        wanted = lines[expected[name][1]] if name in expected else None
        assert line_of(recorded, name * 32) == wanted
    recorded.close()


def hash_of(identity: str) -> int:
    return hash(identity) & 2**64 - 1


LOAD = """
import sys
from chatpipe.batch.journal.answers import AnswerIndex

small = AnswerIndex(out=sys.argv[1])
before = resident()
recorded = AnswerIndex(out=sys.argv[2])
print(len(recorded), (resident() - before) / len(recorded))
"""


@pytest.mark.timeout(600)  # it has taken more than a minute on a busy machine
def test_200000_lines_are_read_in_little_memory(files: Files) -> None:
    """Real memory of a process that has read a small file before, so that code and buffers are there."""
    numbers = random.Random(1)
    template = result("@" * 32, text="Hello, world. " * 20, custom_id="line-@")
    small = files.write("small", *(result(f"{number:032x}") for number in range(2000)))
    with open("out", "wb") as file:
        for number in range(200_000):
            fingerprint = numbers.randbytes(16).hex().encode()
            line = template.replace(b"@" * 32, fingerprint).replace(b"line-@", b"line-%d" % number)
            file.write(line + b"\n")
    count, each = measured(LOAD, small, "out")
    assert count == 200_000
    assert each < 36  # 21 of them the index, 6 the custom_ids; the rest is what reading leaves behind


# Reasons to send a request again


@cases(
    ("line", "options", "reason", "place"),
    {
        "it failed": (result(F1, "http"), {}, "http", "changed"),
        "it has an answer": (result(F1), {}, None, "changed"),
        "it is sent again": (result(F1, "empty"), {"resend": frozenset({"empty"})}, "resent", "changed"),
        "all is": (result(F1), {"fresh": True}, "resent", "changed"),
        "a failure is not sent again by choice": (
            result(F1, "network"),
            {"fresh": True},
            "network",
            "changed",
        ),
        "the line was wrong": (result(None, "input"), {}, None, "input"),
        "another server": (
            result(F1, server="https://b/v1"),
            {"accept": Acceptance(servers=frozenset({"https://a/v1"}), same_server=True)},
            "resent",
            "changed",
        ),
        "the built-in model": (result(F1, server="echo"), {}, None, None),
        "an outcome of a later release": (result(F1, "later"), {}, None, "changed"),
        "a failure of the Batch API": (batch_api("line-1", {}, 400), {"match": "id"}, "http", None),
        "its failure has no fingerprint": (batch_api("line-1", {}, 400), {}, None, "changed"),
        "a job": (b'{"chatpipe_job":"planned","token":"t"}', {}, None, None),
    },
)
def test_a_record_is_a_reason(
    line: bytes, options: dict[str, Any], reason: str | None, place: str | None, files: Files
) -> None:
    recorded = files.recorded(journal=files.journal(line), **options)
    identity = "line-1" if options.get("match") == "id" else F1
    assert (recorded.reasons.of_request(identity), recorded.reasons.of_custom_id("line-1")) == (reason, place)
    assert bool(recorded.reasons) is (reason is not None or place is not None)


def test_the_last_record_of_a_request_is_the_reason(files: Files) -> None:
    old = files.write("old", result(F1, "http"), result(F2, "unsent"), result(F3, "http"))
    recorded = files.recorded(reuse=[old], journal=files.journal(result(F1, "network"), result(F3, "unsent")))
    assert [recorded.reasons.of_request(each) for each in (F1, F2, F3)] == ["network", "unsent", "unsent"]


def test_a_custom_id_with_escapes_is_a_place(files: Files) -> None:
    names = ['a"b', "a\\b", "\u00e9", "a\nb"]
    recorded = files.recorded(journal=files.journal(*(result(F1, custom_id=each) for each in names)))
    assert [recorded.reasons.of_custom_id(each) for each in [*names, "b"]] == ["changed"] * 4 + [None]
