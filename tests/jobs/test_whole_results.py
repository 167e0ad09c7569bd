"""whole_results.py: a file in doubt is downloaded again, unless the provider has no more of it."""

from __future__ import annotations

import json

import pytest

from chatpipe.errors import BadInput, BrokenAnswer
from chatpipe.jobs.job_dialects import JobCounts, ProviderJob
from chatpipe.jobs.whole_results import settled_job, whole_results
from chatpipe.system.spool import Room, Spool
from jobs.provider import BEGIN, Provider
from support.parametrize import cases

A, B, C = (json.dumps({"custom_id": id_}) + "\n" for id_ in "abc")
ALL_SAID = len(A + B)
COUNTS = JobCounts(3, 2, 1)


def results(
    monkeypatch: pytest.MonkeyPatch,
    *downloads: str,
    errors: str | None = None,
    size: int | None = None,
    ended_at: float = BEGIN,
    counts: JobCounts = COUNTS,
    lines: int = 0,
) -> tuple[list[str], int, list[str]]:
    """The files of a job with two answers, the number of downloads of the output, and the notes.

    downloads are what comes of the output one after the other, size is what the provider names.
    """
    provider = Provider(retries=2)
    api = provider.api()

    def file_size(file_id: str) -> int | None:
        if size == 404:
            raise BadInput("404 from 'http://provider.test/v1/files/out'", http_status=404)
        return size

    monkeypatch.setattr(api, "file_size", file_size)
    asked: list[str] = []

    def download(id_: str) -> Spool | None:
        asked.append(id_)
        text = errors if id_ == "err" else downloads[min(asked.count("out"), len(downloads)) - 1]
        if text is None:
            return None
        spool = Spool(Room(1 << 20))
        spool.write(text.encode())
        return spool

    error_id = None if errors is None else "err"
    job = ProviderJob("batch_1", "completed", {}, counts, "in", "out", error_id, BEGIN, ended_at)
    files = whole_results(api, job, download, lines)
    texts = [file.spool.read(0, file.spool.size).decode() for file in files.values()]
    return texts, asked.count("out"), provider.notes


@cases(
    ("downloads", "errors", "size", "taken", "tries"),
    {
        "whole": ([A + B], None, None, A + B, 1),
        "whole, without its last newline": ([(A + B).rstrip()], None, None, (A + B).rstrip(), 1),
        "whole, with a line that is no result": (["{}\n" + A + B], None, None, "{}\n" + A + B, 1),
        "short by a line": ([A, A + B], None, ALL_SAID, A + B, 2),
        "short by a line, of unknown size": ([A, A, A + B], None, None, A + B, 3),
        "short by a line, no such call": ([A, A + B], None, 404, A + B, 2),
        "cut in a line": ([A + B[:5], A + B], None, ALL_SAID, A + B, 2),
        "cut in a line that is not counted": ([A + B + C[:5], A + B + C], None, None, A + B + C, 2),
        "damaged": ([A + '{"\0' + B, A + B], None, ALL_SAID, A + B, 2),
        "empty": (["", A + B], None, ALL_SAID, A + B, 2),
        "lost by the provider": ([A], None, len(A), A, 1),
        "damaged at the provider": ([A + B[:5] + "}\n"], None, len(A) + 7, A + B[:5] + "}\n", 1),
        "a failed line of the error file": ([A + B], C, None, A + B, 1),
        "a failed line that is nowhere": ([A + B], None, None, A + B, 1),
    },
)
def test_files_are_taken_when_they_are_whole(
    monkeypatch: pytest.MonkeyPatch,
    downloads: list[str],
    errors: str | None,
    size: int | None,
    taken: str,
    tries: int,
) -> None:
    texts, asked, notes = results(monkeypatch, *downloads, errors=errors, size=size)
    assert texts == ([taken] if errors is None else [taken, errors])
    assert asked == tries
    assert len(notes) == tries - 1
    assert all("downloading again in" in note for note in notes)


@pytest.mark.parametrize("size", [None, 404, 0, ALL_SAID])
@pytest.mark.parametrize(
    ("came", "doubt"),
    [
        (A, "its result files have 1 of 2 results"),
        (A + B[:5], "1 line of its result files cannot be read"),
        ("", "its result files have 0 of 2 results"),
    ],
)
def test_files_that_stay_in_doubt(
    monkeypatch: pytest.MonkeyPatch, came: str, doubt: str, size: int | None
) -> None:
    if came or size != 0:  # an empty file of no bytes is whole
        with pytest.raises(BrokenAnswer, match=f"batch_1.*{doubt}"):
            results(monkeypatch, came, size=size)
    texts, asked, _ = results(monkeypatch, came, size=size, ended_at=BEGIN - 2 * 86400)
    assert texts == [came]
    assert asked == (3 if came or size != 0 else 1)


@pytest.mark.parametrize(
    ("errors", "doubt"),
    [
        (C[:5], "1 line of its result files cannot be read"),
        ("", "its result files have 2 of 3 results"),
    ],
)
def test_errors_that_stay_in_doubt(monkeypatch: pytest.MonkeyPatch, errors: str, doubt: str) -> None:
    with pytest.raises(BrokenAnswer, match=f"batch_1.*{doubt}"):
        results(monkeypatch, A + B, errors=errors)


@cases(
    ("downloads", "lines", "taken", "tries"),
    {
        "all of them": ([A + B], 2, A + B, 1),
        "cut at the end of a line": ([A, A + B], 2, A + B, 2),
        "a job of which nobody knows the lines": ([A, A + B], 0, A, 1),
    },
)
def test_results_of_a_provider_that_counts_none_are_compared_with_the_lines(
    monkeypatch: pytest.MonkeyPatch, downloads: list[str], lines: int, taken: str, tries: int
) -> None:
    texts, asked, _ = results(monkeypatch, *downloads, size=ALL_SAID, counts=JobCounts(), lines=lines)
    assert (texts, asked) == ([taken], tries)


def test_of_several_short_downloads_the_best_one_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results that have come are not given up for a download that broke earlier."""
    long_ago = BEGIN - 2 * 86400
    counts = JobCounts(3, 3, 0)
    texts, asked, _ = results(monkeypatch, A, A + B, C, counts=counts, size=999, ended_at=long_ago)
    assert (texts, asked) == ([A + B], 3)


NAMELESS = ProviderJob("batch_1", "completed", {}, JobCounts(3, 2, 1), "in", None, "err", BEGIN, BEGIN)
SILENT = NAMELESS._replace(counts=JobCounts(), error_file_id=None)


@cases(
    ("looks", "job", "output", "slept"),
    {
        "named at once": (["out"], NAMELESS._replace(output_file_id="out"), "out", 0),
        "named later": ([None, "out"], NAMELESS, "out", 2),
        "no answers": ([], NAMELESS._replace(counts=JobCounts(3, 0, 3)), None, 0),
        "no answers, counted otherwise": ([], NAMELESS._replace(counts=JobCounts(3, 3, 3)), None, 0),
        "unknown counts": ([], NAMELESS._replace(counts=JobCounts()), None, 0),
        "no file at all, unknown counts": (["out"], SILENT, "out", 1),
        "no file at all, and no line counted": (["out"], SILENT._replace(counts=JobCounts(3)), "out", 1),
        "no file at all, all lines refused": ([], SILENT._replace(counts=JobCounts(3, 0, 3)), None, 0),
        "no file at all, and old": ([None] * 3, SILENT._replace(ended_at=BEGIN - 2 * 86400), None, 2),
        "failed as a whole": ([], NAMELESS._replace(status="failed"), None, 0),
        "cancelled, and named later": ([None, "out"], NAMELESS._replace(status="cancelled"), "out", 2),
        "cancelled, and never named": ([None] * 3, NAMELESS._replace(status="cancelled"), None, 2),
        "never named, and old": ([None] * 3, NAMELESS._replace(ended_at=BEGIN - 2 * 86400), None, 2),
    },
)
def test_a_job_with_answers_names_their_file(
    monkeypatch: pytest.MonkeyPatch, looks: list[str | None], job: ProviderJob, output: str | None, slept: int
) -> None:
    provider = Provider(retries=2)
    api = provider.api()
    shown = iter(looks)
    monkeypatch.setattr(api, "retrieve", lambda _: job._replace(output_file_id=next(shown)))
    assert settled_job(api, job).output_file_id == output
    assert len(provider.slept) == slept


@pytest.mark.parametrize(
    ("job", "words"),
    [
        (NAMELESS, "it has 2 answers, and names no file with them"),
        (SILENT, "it has completed, and names no result file"),
    ],
)
def test_a_job_that_names_no_file_is_for_a_later_run(
    monkeypatch: pytest.MonkeyPatch, job: ProviderJob, words: str
) -> None:
    api = Provider(retries=2).api()
    monkeypatch.setattr(api, "retrieve", lambda _: job)
    with pytest.raises(BrokenAnswer, match=words):
        settled_job(api, job)
