"""job_dialects.py: jobs as providers show them, and who has an API of this shape."""

from __future__ import annotations

from typing import Any

import pytest

from chatpipe.errors import BadConfiguration, BrokenAnswer
from chatpipe.jobs.job_dialects import DIALECTS, KNOWN, JobCounts, dialect_of, job_of, jobs_of, smaller
from chatpipe.jobs.job_reasons import JobReason
from chatpipe.jobs.job_shapes import CreateOrder
from chatpipe.jobs.line_reasons import LineReasons
from chatpipe.server.endpoints import Endpoint
from chatpipe.server.profile_file import built_in_names, read_profile
from chatpipe.server.profiles import DEFAULT, ECHO, Profile, ProfileServer
from support.parametrize import cases

OPENAI = DIALECTS["openai"]


@pytest.mark.parametrize(
    ("value", "status", "output", "error", "created_at"),
    [
        ({"id": "b", "status": "in_progress", "created_at": 5}, "in_progress", None, None, 5.0),
        ({"id": "b", "status": "COMPLETED", "output_file_id": "f"}, "completed", "f", None, 0.0),
        ({"id": "b", "status": "completed", "error_file_id": ""}, "completed", None, None, 0.0),
        ({"id": "b", "status": "PROGRESS", "error_file_id": "e"}, "in_progress", None, "e", 0.0),
        ({"id": "b", "status": "JOB_STATE_SUCCEEDED"}, "completed", None, None, 0.0),
        ({"id": "b", "status": "TIMEOUT_EXCEEDED"}, "expired", None, None, 0.0),
        ({"id": "b", "status": "canceled"}, "cancelled", None, None, 0.0),
        ({"id": "b", "status": "resting"}, "resting", None, None, 0.0),
        ({"id": "b", "created_at": "1970-01-01T00:01:00Z"}, "none", None, None, 60.0),
        ({"id": "b", "status": "failed", "created_at": "soon"}, "failed", None, None, 0.0),
        ({"id": "b", "status": "failed", "created_at": 1762136757500}, "failed", None, None, 1762136757.5),
    ],
)
def test_a_job_is_read_in_the_forms_of_providers(
    value: dict[str, Any], status: str, output: str | None, error: str | None, created_at: float
) -> None:
    job = job_of(value, OPENAI)
    assert (job.status, job.output_file_id, job.error_file_id) == (status, output, error)
    assert job.created_at == created_at
    assert job.has_ended == (status in ("completed", "failed", "expired", "cancelled"))


@cases(
    ("running", "ended"),
    {
        "Mistral": (
            "QUEUED RUNNING CANCELLATION_REQUESTED",
            {"SUCCESS": "completed", "FAILED": "failed", "TIMEOUT_EXCEEDED": "expired"},
        ),
        "Novita": (
            "VALIDATING PROGRESS CANCELLING",
            {"COMPLETED": "completed", "FAILED": "failed", "EXPIRED": "expired"},
        ),
        "Together": (
            "VALIDATING IN_PROGRESS",
            {"COMPLETED": "completed", "FAILED": "failed", "EXPIRED": "expired"},
        ),
    },
)
def test_the_words_of_a_provider_are_known(running: str, ended: dict[str, str]) -> None:
    """A word that nobody knows would be waited for until the end of the job is overdue."""
    words = [*running.split(), *ended, "CANCELLED"]
    found = {word: job_of({"id": "b", "status": word}, OPENAI) for word in words}
    assert all(job.status in KNOWN for job in found.values())
    assert {word: job.status for word, job in found.items() if job.has_ended} == {
        **ended,
        "CANCELLED": "cancelled",
    }


MB = 1_000_000


@cases(
    ("profile", "purpose", "lines", "size", "longest_id", "has_metadata"),
    {
        "OpenAI": ("openai", "batch", 50_000, 200 * MB, None, True),
        "Azure": ("azure", "batch", 50_000, 200 * MB, None, True),
        "Groq": ("groq", "batch", 50_000, 100 * MB, None, True),
        "Zhipu": ("zai", "batch", 50_000, 100 * MB, None, True),
        "Moonshot": ("moonshot", "batch", 50_000, 200 * MB, None, True),
        "DashScope, which takes larger ones": ("dashscope", "batch", 50_000, 200 * MB, None, True),
        "Together": ("together", "batch-api", 50_000, 100 * MB, 64, False),
        "Mistral": ("mistral", "batch", 1_000_000, 512 * MB, None, True),
    },
)
def test_what_a_provider_takes(
    profile: str, purpose: str, lines: int, size: int, longest_id: int | None, has_metadata: bool
) -> None:
    """The limits of the vendors' pages and SDKs, as of November 2026."""
    found = read_profile(profile)
    assert found is not None
    dialect = dialect_of(Endpoint("https://a.test/v1", (), None, found))
    assert (dialect.purpose, dialect.most_lines, dialect.most_bytes) == (purpose, lines, size)
    assert (dialect.longest_id, dialect.has_metadata) == (longest_id, has_metadata)


def test_the_job_of_a_create_in_its_envelope_and_a_bare_list() -> None:
    together = DIALECTS["together"]
    assert job_of({"job": {"id": "b", "status": "VALIDATING"}, "warning": "w"}, together).id == "b"
    assert job_of({"id": "b", "status": "VALIDATING"}, together).status == "validating"
    bare: list[Any] = [{"id": "a"}, {"id": "b"}]
    assert [job.id for job in jobs_of(bare, together)] == ["a", "b"]
    assert together.shape.next_cursor(bare, 2, "") is None


@pytest.mark.parametrize(
    ("value", "size", "cursor", "found"),
    [
        ({"data": [{"id": "a"}, {"id": "b"}], "has_more": True}, 2, "", "b"),
        ({"data": [{"id": "a"}], "has_more": False}, 2, "", None),
        ({"data": [], "has_more": True}, 2, "a", None),
        ({"data": [{"id": "a"}, {"id": "b"}]}, 2, "", "b"),
        ({"data": [{"id": "a"}, {"id": "b"}], "has_more": None}, 3, "", None),
        ([{"id": "a"}, {"id": "b"}], 2, "", None),
    ],
)
def test_the_next_page_of_openai(value: Any, size: int, cursor: str, found: str | None) -> None:
    assert OPENAI.shape.next_cursor(value, size, cursor) == found


MISTRAL = DIALECTS["mistral"]


@pytest.mark.parametrize(
    ("value", "cursor", "found"),
    [
        ({"data": [{"id": "a"}, {"id": "b"}], "has_more": True}, "", "2"),
        ({"data": [{"id": "a"}, {"id": "b"}], "has_more": True}, "2", "4"),
        ({"data": [{"id": "a"}, {"id": "b"}]}, "4", "6"),
        ({"data": [{"id": "a"}]}, "4", None),
        ({"data": [{"id": "a"}, {"id": "b"}], "has_more": False}, "4", None),
        ({}, "", None),
    ],
)
def test_the_next_page_of_morph(value: Any, cursor: str, found: str | None) -> None:
    shape = DIALECTS["morph"].shape
    assert shape.next_cursor(value, 2, cursor) == found
    assert shape.page_query(2, "4") == {"limit": "2", "after": "4"}


@pytest.mark.parametrize(
    ("total", "cursor", "found"), [(0, "", None), (2, "", None), (3, "", "1"), (5, "1", "2"), (4, "1", None)]
)
def test_the_next_page_of_mistral(total: int, cursor: str, found: str | None) -> None:
    assert MISTRAL.shape.next_cursor({"data": [], "total": total}, 2, cursor) == found
    page = cursor or "0"
    assert MISTRAL.shape.page_query(2, cursor) == {"page": page, "page_size": "2", "order_by": "-created"}


@pytest.mark.parametrize(("window", "hours"), [("24h", 24), ("7d", 168), ("1h", 1)])
def test_a_job_of_mistral_has_a_model_and_hours(window: str, hours: int) -> None:
    order = CreateOrder("f", "/v1/chat/completions", "m", window, {})
    assert MISTRAL.shape.create_body(order) == {
        "input_files": ["f"],
        "endpoint": "/v1/chat/completions",
        "model": "m",
        "timeout_hours": hours,
    }


def test_a_job_of_mistral_is_read_as_one_of_openai() -> None:
    value: dict[str, Any] = {
        "id": "b",
        "status": "TIMEOUT_EXCEEDED",
        "input_files": ["f"],
        "output_file": "o",
    }
    value |= {"error_file": None, "errors": [{"message": "too slow", "count": 2}], "created_at": 7}
    counts = {"total_requests": 5, "completed_requests": 3, "succeeded_requests": 2, "failed_requests": 1}
    job = job_of({**value, **counts}, MISTRAL)
    assert (job.status, job.counts, job.created_at) == ("expired", JobCounts(5, 2, 1), 7.0)
    assert (job.input_file_id, job.output_file_id, job.error_file_id) == ("f", "o", None)
    assert job.reasons == [JobReason("", "too slow")]


@pytest.mark.parametrize(
    ("errors", "reasons", "texts"),
    [
        (None, [], []),
        ([], [], []),
        ({}, [], []),
        ({"object": "list", "data": []}, [], []),
        ("it failed", [JobReason("", "it failed")], ["it failed"]),
        ({"data": [{"code": "c", "message": "m", "line": 3}]}, [JobReason("c", "m", 3)], ["line 3: c: m"]),
        ([{"code": "c", "message": None, "line": None}, "odd"], [JobReason("c", "")], ["c"]),
        ([{"code": 7, "message": "m", "line": True}], [JobReason("7", "m")], ["7: m"]),
    ],
)
def test_reasons_of_a_failure_in_any_form(errors: object, reasons: list[JobReason], texts: list[str]) -> None:
    job = job_of({"id": "b", "status": "failed", "errors": errors}, OPENAI)
    assert (job.reasons, LineReasons(job).summary()) == (reasons, texts)


@cases(
    ("code", "line", "is_lasting", "is_too_large"),
    {
        "a line": ("invalid_json_line", 3, True, False),
        "a line, for a reason that nobody knows": ("odd", 3, True, False),
        "the file": ("empty_file", None, True, False),
        "the model": ("model_not_found", None, True, False),
        "the tokens in the queue": ("token_limit_exceeded", None, False, True),
        "the number of lines": ("too_many_tasks", 50_001, False, True),
        "a fault of the provider": ("internal_error", None, False, False),
        "no code": (None, None, False, False),
    },
)
def test_failures_that_come_again(
    code: str | None, line: int | None, is_lasting: bool, is_too_large: bool
) -> None:
    value = {"id": "b", "status": "failed", "errors": [{"code": code, "message": "m", "line": line}]}
    job = job_of(value, OPENAI)
    assert (job.has_bad_file, job.is_too_large) == (is_lasting, is_too_large)
    running = job_of({**value, "status": "in_progress"}, OPENAI)
    assert (running.has_bad_file, running.is_too_large) == (False, False)


@pytest.mark.parametrize(
    ("status", "reason"),
    [("COMPLETED", "b: its result has neither an answer nor an error"), ("EXPIRED", "b expired")],
)
def test_the_reason_of_a_result_that_says_nothing(status: str, reason: str) -> None:
    job = job_of({"id": "b", "status": status}, DIALECTS["openai"])
    assert LineReasons(job).of_empty_result == reason


def test_a_job_of_together_has_its_own_words() -> None:
    value = {"id": "b", "status": "FAILED", "error": "no such model", "input_file_id": "f"}
    times = {"created_at": "2026-11-28T10:00:00Z", "completed_at": "2026-11-28T11:00:00.500Z"}
    job = job_of({"job": {**value, **times}, "warning": "w"}, DIALECTS["together"])
    assert (job.status, job.reasons, job.input_file_id) == ("failed", [JobReason("", "no such model")], "f")
    assert job.ended_at - job.created_at == 3600.5


@pytest.mark.parametrize(
    ("times", "ended_at"),
    [
        ({}, 0.0),
        ({"completed_at": None, "expired_at": 9}, 9.0),
        ({"completed_at": "", "failed_at": 7, "expires_at": 3}, 7.0),
        ({"created_at": 5000, "completed_at": 946, "expired_at": 6000}, 6000.0),
        ({"created_at": 5000, "completed_at": 946}, 0.0),  # a date that stands for none
    ],
)
def test_the_end_of_a_job(times: dict[str, Any], ended_at: float) -> None:
    assert job_of({"id": "b", "status": "failed", **times}, OPENAI).ended_at == ended_at


@pytest.mark.parametrize(
    ("fields", "expires_at"),
    [
        ({"created_at": 10, "expires_at": 9000, "completion_window": "1h"}, 9000.0),
        ({"created_at": 10, "expires_at": None, "completion_window": "24h"}, 86410.0),
        ({"created_at": 10, "completion_window": "7d"}, 604810.0),
        ({"created_at": "1970-01-01T00:00:10Z", "job_deadline": "1970-01-01T00:01:00Z"}, 60.0),
        ({"created_at": 10, "completion_window": "soon"}, 0.0),
        ({"completion_window": "24h"}, 0.0),
    ],
)
def test_the_time_at_which_a_job_has_to_end(fields: dict[str, Any], expires_at: float) -> None:
    assert job_of({"id": "b", "status": "resting", **fields}, OPENAI).expires_at == expires_at


@pytest.mark.parametrize(
    ("counts", "found"),
    [
        ({"total": 3, "completed": 1, "failed": 2}, JobCounts(3, 1, 2)),
        ({"total": None}, JobCounts()),
        (None, JobCounts()),
        ([1], JobCounts()),
    ],
)
def test_counts_of_a_job_in_the_forms_of_providers(counts: object, found: JobCounts) -> None:
    job = job_of({"id": "b", "status": "validating", "request_counts": counts}, OPENAI)
    assert job.counts == found
    assert job.progress == ("validating, 3 of 3 lines" if found == (3, 1, 2) else "validating")


@pytest.mark.parametrize(
    ("value", "progress", "completed"),
    [
        ({"progress": 45.5}, "in_progress, 45%", 90),
        ({"progress": 0.0}, "in_progress", 0),
        ({"progress": 100}, "in_progress, 100%", 200),
        ({"progress": True}, "in_progress", 0),
        ({"progress": 101}, "in_progress", 0),
        ({"progress": "half"}, "in_progress", 0),
        (
            {"progress": 50, "request_counts": {"total": 200, "completed": 7, "failed": 1}},
            "in_progress, 8 of 200 lines",
            7,
        ),
    ],
)
def test_the_progress_of_a_job(value: dict[str, Any], progress: str, completed: int) -> None:
    job = job_of({"id": "b", "status": "in_progress", **value}, OPENAI)
    assert (job.progress, job.completed_of(200)) == (progress, completed)


@pytest.mark.parametrize(
    ("value", "is_nameless"),
    [
        ({}, True),
        ({"input_file_id": "", "metadata": None}, True),
        ({"input_file_id": "f"}, False),
        ({"metadata": {}}, False),
        ({"input_files": []}, False),  # the lines came with the create
        ({"input_file_id": None, "input_blob": "https://a.test/b"}, False),
    ],
)
def test_jobs_that_do_not_say_what_they_were_created_of(value: dict[str, Any], is_nameless: bool) -> None:
    assert job_of({"id": "b", **value}, OPENAI).is_nameless == is_nameless


@pytest.mark.parametrize("value", [None, [], "b", {}, {"id": ""}, {"id": 5}, {"job": {"id": "b"}}])
def test_what_is_no_job(value: object) -> None:
    with pytest.raises(BrokenAnswer, match="the answer is not a job"):
        job_of(value, OPENAI)
    with pytest.raises(BrokenAnswer, match="the answer is not a list of jobs"):
        jobs_of({"jobs": value}, OPENAI)


def test_each_provider_has_a_dialect_or_is_refused_by_its_name() -> None:
    """The row of a new provider belongs here."""
    found: dict[str, str] = {}
    for name in built_in_names():
        profile = ECHO if name == "echo" else read_profile(name)
        assert profile is not None
        try:
            dialect_of(Endpoint("https://a.test/v1", (), None, profile))
        except BadConfiguration as fault:
            found[name] = fault.what.removeprefix(f"profile '{name}' has ")
        else:
            found[name] = "yes"
    shape = "a Batch API of another shape than OpenAI's"
    assert [name for name, text in found.items() if text == "yes"] == [
        *("openai", "azure", "groq", "mistral", "together", "cerebras"),
        *("moonshot", "zai", "dashscope", "litellm"),
    ]
    assert set(found.values()) == {"yes", shape, "no Batch API"}
    assert [name for name, text in found.items() if text == shape] == [
        *("openrouter", "gemini", "fireworks", "xai")
    ]


DEPLOYMENT = "https://a.test/openai/deployments/{model}?api-version=2024-10-21"


@pytest.mark.parametrize(
    ("profile", "base_url", "url"),
    [
        ("zai", "https://a.test/v1", "/v4/chat/completions"),
        ("dashscope", "https://a.test/v1", "/v1/chat/completions"),
        ("azure", "https://a.test/openai/v1", "/v1/chat/completions"),
        ("azure", DEPLOYMENT, "/chat/completions"),
        ("openai", DEPLOYMENT, "/v1/chat/completions"),
    ],
)
def test_the_url_of_lines(profile: str, base_url: str, url: str) -> None:
    found = read_profile(profile)
    assert found is not None
    assert dialect_of(Endpoint(base_url, (), None, found)).url == url


@pytest.mark.parametrize(
    ("batch", "dialect"),
    [(None, "openai"), *((name, name) for name in ("openai", "groq", "morph", "mistral"))],
)
def test_a_profile_of_ones_own_may_name_its_dialect(batch: str | None, dialect: str) -> None:
    own = Profile("mine", (ProfileServer("https://a.test/v1"),), batch=batch)
    assert dialect_of(Endpoint("https://a.test/v1", (), None, own)) == DIALECTS[dialect]


@pytest.mark.parametrize("batch", ["xai", "nobody"])
def test_a_profile_of_ones_own_with_a_dialect_that_there_is_not(batch: str) -> None:
    own = Profile("mine", (ProfileServer("https://a.test/v1"),), batch=batch)
    with pytest.raises(BadConfiguration, match=r"another shape .* may be openai, azure, groq"):
        dialect_of(Endpoint("https://a.test/v1", (), None, own))


def test_a_server_without_a_profile_has_the_shape_of_openai() -> None:
    assert dialect_of(Endpoint("http://localhost:1/v1", (), None, DEFAULT)) == OPENAI


@pytest.mark.parametrize(
    ("lines", "fix"), [(5, "add --job-lines 2"), (2, "add --job-lines 1"), (1, ""), (0, "")]
)
def test_a_job_that_is_too_large_may_be_made_smaller(lines: int, fix: str) -> None:
    assert smaller(lines) == fix


def test_a_job_is_shown_in_the_words_of_openai_beside_its_own() -> None:
    counts = {"total_requests": 3, "succeeded_requests": 2, "failed_requests": 1}
    own = {"status": "SUCCESS", "output_file": "o", "error_file": "e", **counts}
    shown = job_of({"id": "b", **own}, DIALECTS["mistral"]).shown()
    assert shown == {
        **own,
        "id": "b",
        "status": "completed",
        "input_file_id": None,
        "output_file_id": "o",
        "error_file_id": "e",
        "request_counts": {"total": 3, "completed": 2, "failed": 1},
    }
