"""batch_api.py and below: the calls of /v1/files and /v1/batches, the life of a batch, and its faults."""

from __future__ import annotations

import json
from itertools import zip_longest
from typing import Any

import pytest

from chatpipe.options.serve import BatchLife, ServeOptions
from chatpipe.serve.fault_grammar import parse_fault
from chatpipe.serve.planner import Planner, Times
from chatpipe.serve.reply_steps import Close, Reset, steps_of_reply
from chatpipe.serve.served_request import ServedRequest
from serve.batches.test_job_input import URL, line
from serve.client import upload_form as form
from serve.test_faults import SELECTED

BEGIN = 1_790_000_000.0
HEADERS = {b"content-type": b"multipart/form-data; boundary=b"}
ORDER = {"endpoint": URL, "completion_window": "24h"}
DAY_S = 86_400


class Answer:
    """A reply as a client reads it. end is the step that ends the connection, None for no end."""

    def __init__(self, plan: Any, request: ServedRequest) -> None:
        data, self.end, self.faults = b"", None, plan.faults
        for step in steps_of_reply(plan, request):
            if isinstance(step, bytes):
                data += step
            if isinstance(step, Close | Reset):
                self.end = step
                break
        head, _, self.body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        self.status = int((first.split() or ["", "0"])[1])
        self.headers = dict(each.split(": ", 1) for each in lines)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def param(self) -> str | None:
        param: str | None = self.json["error"]["param"]
        return param


class Api:
    """A client of a planner. clock_s is the time since its begin."""

    def __init__(self, *faults: str, **options: Any) -> None:
        self.planner = Planner(ServeOptions(faults=tuple(map(parse_fault, faults)), **options))
        self.clock_s = 0.0

    def call(self, method: str, path: str, body: bytes = b"", form: bytes = b"", **headers: str) -> Answer:
        sent = {name.encode(): value.encode() for name, value in headers.items()}
        heads = {**(HEADERS if form else {}), **sent}
        reader = self.planner.open_form(method, f"/v1{path}", heads)
        if reader is not None:
            reader.feed(form)
        request = ServedRequest(method, f"/v1{path}", heads, body, form=reader)
        return Answer(self.planner.plan(request, Times(self.clock_s, BEGIN + self.clock_s)), request)

    def post(self, path: str, value: object) -> Answer:
        return self.call("POST", path, json.dumps(value).encode())

    def get(self, path: str, range: str = "") -> Answer:
        return self.call("GET", path, range=range)

    def upload(self, data: bytes, purpose: str = "batch", name: str = "a.jsonl", **fields: str) -> Answer:
        return self.call("POST", "/files", form=form(data, name, purpose=purpose, **fields))

    def create(self, lines: int = 8, **order: Any) -> Answer:
        data = b"\n".join(
            line(f"id-{n}", messages=[{"role": "user", "content": f"say {n}"}]) for n in range(lines)
        )
        return self.post("/batches", {"input_file_id": self.upload(data).json["id"], **ORDER, **order})

    def poll(self, job: Answer) -> Any:
        return self.get(f"/batches/{job.json['id']}").json

    def ended(self, job: Answer, polls: int = 6) -> Any:
        """The batch object at its end."""
        for _ in range(polls):
            shown = self.poll(job)
        return shown

    def lines(self, id_: str | None) -> dict[str, Any]:
        """The lines of a result file by their custom_id."""
        found = (
            [json.loads(each) for each in self.get(f"/files/{id_}/content").body.splitlines()] if id_ else []
        )
        return {each["custom_id"]: each for each in found}


# Files


def test_a_file_is_kept_shown_listed_read_and_deleted() -> None:
    api = Api()
    shown = api.upload(b"{}\n").json
    assert shown == {
        "id": shown["id"],
        "object": "file",
        "bytes": 3,
        "created_at": int(BEGIN),
        "expires_at": int(BEGIN) + 30 * DAY_S,
        "filename": "a.jsonl",
        "purpose": "batch",
        "status": "processed",
        "status_details": None,
    }
    path = f"/files/{shown['id']}"
    assert api.get(path).json == shown
    content = api.get(f"{path}/content")
    assert (content.body, content.headers["content-length"]) == (b"{}\n", "3")
    assert api.call("HEAD", f"{path}/content").body == b""
    assert api.call("DELETE", path).json == {"id": shown["id"], "object": "file", "deleted": True}
    for gone in (api.get(path), api.get(f"{path}/content"), api.call("DELETE", path)):
        assert (gone.status, gone.param) == (404, "id")


@pytest.mark.parametrize(
    ("range_", "status", "body", "content_range"),
    [
        ("bytes=2-", 206, b"23456789", "bytes 2-9/10"),
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=2-99", 206, b"23456789", "bytes 2-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=-99", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=10-", 416, None, "bytes */10"),
        ("bytes=-0", 416, None, "bytes */10"),
        ("bytes=-", 200, b"0123456789", None),
        ("bytes=0-1,4-5", 200, b"0123456789", None),
        ("lines=1-2", 200, b"0123456789", None),
    ],
)
def test_a_part_of_a_file_is_served_by_range(
    range_: str, status: int, body: bytes | None, content_range: str | None
) -> None:
    api = Api()
    reply = api.get(f"/files/{api.upload(b'0123456789').json['id']}/content", range=range_)
    assert reply.status == status
    assert reply.headers.get("content-range") == content_range
    assert body is None or (reply.body, reply.headers["content-length"]) == (body, str(len(body)))


@pytest.mark.parametrize(
    ("sent", "status", "param", "words"),
    [
        (form(b"{}"), 400, "purpose", "Missing required parameter: 'purpose'"),
        (form(b"{}", purpose="bath"), 400, "purpose", "Supported values are: 'assistants', 'batch'"),
        (form(b"", purpose="batch"), 400, "file", "File is empty"),
        (form(b"{}", "a.json", purpose="batch"), 400, "file", "Must be .jsonl"),
        (form(b"{}", purpose="batch")[:-9], 400, None, "ends before its last boundary"),
        (form(b"{}" * 100, purpose="batch"), 413, None, "at most 100 bytes of files"),
        (form(b"{}", purpose="batch", **{"expires_after[seconds]": "3600"}), 400, "expires_after", "anchor"),
        (
            form(
                b"{}",
                purpose="batch",
                **{"expires_after[anchor]": "created_at", "expires_after[seconds]": "1"},
            ),
            400,
            "expires_after",
            "from 3600 to 2592000",
        ),
        (
            b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--b--',
            400,
            "file",
            "Missing",
        ),
    ],
)
def test_uploads_that_are_refused(sent: bytes, status: int, param: str | None, words: str) -> None:
    api = Api(max_files=100)
    reply = api.call("POST", "/files", form=sent)
    assert (reply.status, reply.param) == (status, param)
    assert words in reply.json["error"]["message"]
    assert api.get("/files").json["data"] == []
    assert api.upload(b"a" * 100).status == 200  # nothing of it was kept


def test_an_upload_that_is_no_form() -> None:
    assert "multipart/form-data" in Api().post("/files", {"purpose": "batch"}).json["error"]["message"]


def test_files_expire_and_deleted_ones_give_their_room_back() -> None:
    api = Api(max_files=100)
    expires = {"expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}
    first = api.upload(b"a" * 60, "user_data", **expires).json
    assert first["expires_at"] == int(BEGIN) + 3600
    assert api.upload(b"a" * 60).status == 413
    api.clock_s = 3600
    assert api.get(f"/files/{first['id']}").status == 404
    second = api.upload(b"a" * 60, "user_data").json
    assert second["expires_at"] is None
    api.call("DELETE", f"/files/{second['id']}")
    assert api.upload(b"a" * 60).status == 200


@pytest.mark.parametrize(
    ("query", "found", "has_more"),
    [
        ("", "cba", False),
        ("?limit=2", "cb", True),
        ("?limit=3", "cba", False),
        ("?order=asc", "abc", False),
        ("?after=B", "a", False),
        ("?after=B&order=asc", "c", False),
        ("?purpose=batch", "a", False),
        ("?limit=0", "limit", None),
        ("?limit=x", "limit", None),
        ("?order=up", "order", None),
        ("?after=file-x", "after", None),
    ],
)
def test_pages_of_files(query: str, found: str, has_more: bool | None) -> None:
    api = Api()
    ids = {
        name: api.upload(b"{}", "batch" if name == "a" else "user_data", f"{name}.jsonl").json["id"]
        for name in "abc"
    }
    page = api.get("/files" + query.replace("=B", f"={ids['b']}"))
    if has_more is None:
        assert (page.status, page.param) == (400, found)
        return
    assert page.json == {
        "object": "list",
        "data": [api.get(f"/files/{ids[name]}").json for name in found],
        "first_id": ids[found[0]],
        "last_id": ids[found[-1]],
        "has_more": has_more,
    }


# Batches


@pytest.mark.parametrize(
    ("life", "polls"),
    [
        (
            BatchLife(4),
            [("in_progress", 2), ("in_progress", 5), ("finalizing", 8), ("completed", 8), ("completed", 8)],
        ),
        (BatchLife(1), [("completed", 8)]),
        (BatchLife(2), [("in_progress", 5), ("completed", 8)]),
        (BatchLife(seconds=20), [("validating", 0), ("in_progress", 1), ("in_progress", 2)]),
        (BatchLife(seconds=1), [("completed", 8)]),
    ],
)
def test_the_life_of_a_batch(life: BatchLife, polls: list[tuple[str, int]]) -> None:
    """By polls; or by time, one second before each poll."""
    api = Api(batch_life=life)
    job = api.create()
    assert (job.json["status"], job.json["request_counts"]["total"]) == ("validating", 0)
    found = []
    for _ in polls:
        api.clock_s += 1.5 if life.seconds == 20 else 1
        shown = api.poll(job)
        found.append((shown["status"], shown["request_counts"]["completed"]))
    assert found == polls


def test_a_list_takes_its_batches_further_as_a_poll_does() -> None:
    api = Api()
    jobs = [api.create().json["id"] for _ in range(3)]
    for _ in range(4):
        page = api.get("/batches?limit=2").json
    assert [each["id"] for each in page["data"]] == [jobs[2], jobs[1]]
    assert ([each["status"] for each in page["data"]], page["has_more"]) == (["completed"] * 2, True)
    last = api.get(f"/batches?after={jobs[1]}").json
    assert ([each["status"] for each in last["data"]], last["has_more"]) == (["in_progress"], False)


def test_the_batch_object_and_its_result_file() -> None:
    api = Api()
    expires = {"anchor": "created_at", "seconds": 3600}
    job = api.create(metadata={"a": "b"}, output_expires_after=expires)
    shown = api.ended(job)
    assert shown == {
        **job.json,
        "status": "completed",
        "in_progress_at": int(BEGIN),
        "finalizing_at": int(BEGIN),
        "completed_at": int(BEGIN),
        "output_file_id": shown["output_file_id"],
        "error_file_id": None,
        "request_counts": {"total": 8, "completed": 8, "failed": 0},
        "usage": shown["usage"],
        "metadata": {"a": "b"},
    }
    assert (shown["usage"]["input_tokens"], shown["usage"]["total_tokens"]) == (16, 32)
    lines = api.lines(shown["output_file_id"])
    assert sorted(lines) == [f"id-{n}" for n in range(8)]
    assert list(lines) != sorted(lines)  # not in the order of the input
    for custom_id, each in lines.items():
        assert list(each) == ["id", "custom_id", "response", "error"]
        assert each["response"]["status_code"] == 200
        content = each["response"]["body"]["choices"][0]["message"]["content"]
        assert content == custom_id.replace("id-", "say ")
    assert len({each["id"] for each in lines.values()}) == 8
    file = api.get(f"/files/{shown['output_file_id']}").json
    assert (file["purpose"], file["expires_at"]) == ("batch_output", int(BEGIN) + 3600)


def test_answers_are_those_of_a_live_request_and_refusals_go_to_the_error_file() -> None:
    api = Api()
    bodies: dict[str, dict[str, Any]] = {
        "good": {"messages": [{"role": "user", "content": "a b"}]},
        "streamed": {"messages": [{"role": "user", "content": "a b"}], "stream": True},
        "bad": {"messages": []},
    }
    data = b"\n".join(line(name, **body) for name, body in bodies.items())
    order = {"input_file_id": api.upload(data).json["id"], **ORDER}
    shown = api.ended(api.post("/batches", order))
    assert shown["request_counts"] == {"total": 3, "completed": 2, "failed": 1}
    live = api.call("POST", "/chat/completions", json.dumps(bodies["good"], separators=(",", ":")).encode())
    output, errors = api.lines(shown["output_file_id"]), api.lines(shown["error_file_id"])
    assert set(output) == {"good", "streamed"}
    for each in output.values():
        assert each["response"]["body"] == live.json
        assert each["response"]["request_id"] == live.headers["x-request-id"]
    assert set(errors) == {"bad"}
    assert (errors["bad"]["response"]["status_code"], errors["bad"]["error"]) == (400, None)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"input_file_id": None}, "input_file_id"),
        ({"input_file_id": "file-x"}, "input_file_id"),
        ({"endpoint": "/v1/embeddings"}, "endpoint"),
        ({"endpoint": None}, "endpoint"),
        ({"completion_window": "12h"}, "completion_window"),
        ({"metadata": []}, "metadata"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"metadata": {"a" * 65: "b"}}, "metadata"),
        ({"metadata": {"a": "b" * 513}}, "metadata"),
        ({"metadata": {str(n): "a" for n in range(17)}}, "metadata"),
        ({"output_expires_after": {"anchor": "now", "seconds": 3600}}, "output_expires_after"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 60}}, "output_expires_after"),
        ({"output_expires_after": 3600}, "output_expires_after"),
    ],
)
def test_creates_that_are_refused(change: dict[str, Any], param: str) -> None:
    api = Api()
    reply = api.create(**change)
    assert (reply.status, reply.param) == (400, param)
    assert api.get("/batches").json["data"] == []


def test_a_create_of_a_file_for_another_purpose_or_of_no_json() -> None:
    api = Api()
    file = api.upload(b"{}", "user_data").json["id"]
    assert api.post("/batches", {"input_file_id": file, **ORDER}).param == "input_file_id"
    assert api.call("POST", "/batches", b"{").status == api.call("POST", "/batches", b"1").status == 400


def test_an_input_that_cannot_be_taken_fails_the_batch_after_its_create() -> None:
    api = Api(batch_lines=7)
    shown = api.ended(api.create())
    assert (shown["status"], shown["failed_at"], shown["output_file_id"]) == ("failed", int(BEGIN), None)
    assert [error["code"] for error in shown["errors"]["data"]] == ["too_many_tasks"]


def test_results_without_room_fail_the_batch() -> None:
    api = Api(max_files=2000)
    shown = api.ended(api.create())
    assert (shown["status"], shown["errors"]["data"][0]["code"]) == ("failed", "server_error")
    assert api.upload(b"a" * 800).status == 200


@pytest.mark.parametrize(
    ("polls", "done", "files"), [(0, 0, (False, False)), (1, 2, (True, True)), (3, 8, (True, False))]
)
def test_a_batch_that_is_cancelled_keeps_what_is_done(
    polls: int, done: int, files: tuple[bool, bool]
) -> None:
    api = Api()
    job = api.create()
    for _ in range(polls):
        api.poll(job)
    path = f"/batches/{job.json['id']}/cancel"
    assert api.call("POST", path).json["status"] == "cancelling"
    shown = api.poll(job)
    assert (shown["status"], shown["request_counts"]["completed"]) == ("cancelled", done)
    assert (bool(shown["output_file_id"]), bool(shown["error_file_id"])) == files
    assert len(api.lines(shown["output_file_id"])) == done
    assert {each["error"]["code"] for each in api.lines(shown["error_file_id"]).values()} <= {
        "batch_cancelled"
    }
    assert api.call("POST", path).status == 409
    assert api.get("/batches/batch_x").status == api.call("POST", "/batches/batch_x/cancel").status == 404


def test_an_input_that_is_deleted_is_read_to_its_end() -> None:
    api = Api()
    job = api.create()
    api.call("DELETE", f"/files/{job.json['input_file_id']}")
    assert api.ended(job)["request_counts"]["completed"] == 8


def test_two_looks_at_once_do_the_work_once() -> None:
    """As two clients that poll while the slices of the work go on."""
    api = Api(batch_life=BatchLife(1))
    job = api.create(lines=200)
    request = ServedRequest("GET", f"/v1/batches/{job.json['id']}", {}, b"")
    plans = [api.planner.plan(request, Times(0.0, BEGIN)) for _ in range(2)]
    for _ in zip_longest(*(steps_of_reply(plan, request) for plan in plans)):
        pass
    shown = api.poll(job)
    assert len(api.lines(shown["output_file_id"])) == 200
    assert api.get(f"/files/{shown['output_file_id']}/content").body.count(b"\n") == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("OPTIONS", "/files", 204, "POST, GET, HEAD, OPTIONS"),
        ("OPTIONS", "/batches/b/cancel", 204, "POST, OPTIONS"),
        ("PUT", "/files/f", 405, "GET, DELETE"),
        ("GET", "/batches/b/cancel", 405, "POST"),
        ("GET", "/batches/b/content", 404, None),
        ("GET", "/files/f/cancel", 404, None),
        ("GET", "/files/f/content/x", 404, None),
    ],
)
def test_methods_that_a_path_does_not_take_are_refused(
    method: str, path: str, status: int, allow: str | None
) -> None:
    reply = Api().call(method, path)
    assert (reply.status, reply.headers.get("allow")) == (status, allow)


def test_a_key_is_required_and_lines_go_with_that_of_their_create() -> None:
    api = Api()
    api.planner = Planner(ServeOptions(), "k-1")
    assert api.upload(b"{}").status == api.get("/batches").status == 401
    assert api.planner._batches._store._room.used == 0  # what was sent with it is gone
    call = api.call
    api.call = lambda *words, **more: call(*words, **more, authorization="Bearer k-1")  # type: ignore[method-assign]
    assert api.ended(api.create())["request_counts"]["completed"] == 8


# Faults


@pytest.mark.parametrize(
    ("fault", "status", "counts", "output", "errors"),
    [
        ("batch-expire", "expired", (4, 0), 4, 4),
        ("batch-expire=1", "expired", (1, 0), 1, 7),
        ("batch-expire=0", "expired", (0, 0), 0, 8),
        ("batch-cancel=3", "cancelled", (3, 0), 3, 5),
        ("batch-lose", "completed", (8, 0), 7, 0),
        ("batch-lose=3", "completed", (8, 0), 5, 0),
        ("batch-foreign=2", "completed", (8, 0), 10, 0),
        ("batch-double=2", "completed", (8, 0), 8, 0),
        ("status=400:on=line", "completed", (0, 8), 0, 8),
        ("status=429:on=line:match=say 3", "completed", (7, 1), 7, 1),
        ("length:on=line", "completed", (8, 0), 8, 0),
        ("batch-fail=token_limit_exceeded", "failed", (0, 0), 0, 0),
        ("batch-fail=url_mismatch", "failed", (0, 0), 0, 0),
    ],
)
def test_faults_of_batches(
    fault: str, status: str, counts: tuple[int, int], output: int, errors: int
) -> None:
    api = Api(fault)
    shown = api.ended(api.create())
    assert shown["status"] == status
    assert (shown["request_counts"]["completed"], shown["request_counts"]["failed"]) == counts
    assert len(api.lines(shown["output_file_id"])) == output
    assert len(api.lines(shown["error_file_id"])) == errors


def test_what_faults_of_lines_and_batches_write() -> None:
    api = Api(
        "batch-double", "batch-expire=6", "status=404:on=line:match=say 2", "length:on=line:match=say 7"
    )
    shown = api.ended(api.create())
    data = api.get(f"/files/{shown['output_file_id']}/content").body
    output, errors = api.lines(shown["output_file_id"]), api.lines(shown["error_file_id"])
    assert (data.count(b"\n"), len(output)) == (6, 5)  # one of them twice
    reasons = {name: each["response"]["body"]["choices"][0]["finish_reason"] for name, each in output.items()}
    assert [name for name, reason in reasons.items() if reason != "stop"] == ["id-7"]
    assert errors["id-2"]["response"]["status_code"] == 404
    expired = [each for name, each in errors.items() if name != "id-2"]
    assert [(each["response"], each["error"]["code"]) for each in expired] == [(None, "batch_expired")] * 2
    failed = Api("batch-fail=duplicate_custom_id")
    (error,) = failed.ended(failed.create())["errors"]["data"]
    assert (error["code"], error["line"]) == ("duplicate_custom_id", 8)


@pytest.mark.parametrize(("form_", "shown"), [("empty", ""), ("missing", "missing")])
def test_ids_of_files_that_do_not_exist(form_: str, shown: str) -> None:
    api = Api(f"batch-no-id={form_}")
    assert api.ended(api.create()).get("error_file_id", "missing") == shown


@pytest.mark.parametrize(
    ("fault", "tries", "jobs"),
    [
        ("batch-unseen:times=2", [400, 400, 200], 1),
        ("batch-limit:times=1", [429, 200], 1),
        ("status=429:on=create:times=1", [429, 200], 1),
        ("status=503:on=create:times=1", [503, 200], 1),
        ("status=500:on=create:times=1", [500, 200], 2),
        ("empty:on=create:times=1", [0, 200], 2),
        ("reset:on=create:times=1", [0, 200], 2),
        ("html:on=create:times=1", [502, 200], 2),
    ],
)
def test_creates_that_fail_before_or_after_they_are_made(fault: str, tries: list[int], jobs: int) -> None:
    """The tries are counted by the content of the file, whatever its id."""
    api = Api(fault)
    assert [api.create().status for _ in tries] == tries
    assert len(api.get("/batches").json["data"]) == jobs


def test_faults_of_other_calls() -> None:
    api = Api("status=503:on=poll:times=2", "status=500:on=list:times=1", "status=404:on=cancel")
    job = api.create()
    path = f"/batches/{job.json['id']}"
    assert [api.get(path).status for _ in range(3)] == [503, 503, 200]
    assert [api.get("/batches").status for _ in range(2)] == [500, 200]
    assert api.call("POST", f"{path}/cancel").status == 404
    assert api.poll(job)["status"] != "cancelling"


def test_a_download_that_is_cut_and_one_that_knows_no_ranges() -> None:
    api = Api("cut:on=content:times=1", "no-range:on=content:after=1:times=1")
    path = f"/files/{api.upload(b'0123456789').json['id']}/content"
    cut = api.get(path)
    assert (cut.status, cut.headers["content-length"], cut.body, cut.end) == (200, "10", b"01234", Close())
    assert (api.get(path, range="bytes=5-").status, api.get(path, range="bytes=5-").body) == (200, b"56789")


def test_an_upload_whose_reply_is_lost_has_been_kept() -> None:
    api = Api("empty:on=upload")
    assert (api.upload(b"{}").end, len(api.get("/files").json["data"])) == (Close(), 1)


def test_faults_of_chats_leave_other_calls_alone() -> None:
    api = Api("status=500")
    assert api.ended(api.create())["request_counts"]["completed"] == 8
    assert (
        api.call("POST", "/chat/completions", b'{"messages":[{"role":"user","content":"a"}]}').status == 500
    )


# The finish reason or the status of a line that has the fault.
LINE_FAULTS = {"length": "length", "filter": "content_filter", "status=503": 503}


@pytest.mark.parametrize("fault", LINE_FAULTS)
def test_each_condition_selects_lines(fault: str) -> None:
    """As it selects requests. The lines name one model, and count in the order of their answers."""
    answered = _answered(Api(), dict.fromkeys(map(str, range(7)), "a"), "m")
    texts = dict(zip(answered, "aaababa", strict=True))

    def selected(conditions: str, model: str = "m") -> str:
        ends = _answered(Api(f"{fault}:on=line{conditions}"), texts, model)
        return "".join(
            texts[id_].upper() if end == LINE_FAULTS[fault] else texts[id_] for id_, end in ends.items()
        )

    expected = {text: bodies for text, bodies in SELECTED.items() if "model" not in text}
    assert {text: selected(text) for text in expected} == expected
    assert [selected(":times=1:model=^m-", model) for model in ("m-1", "m1")] == ["AaaBaba", "aaababa"]


def _answered(api: Api, texts: dict[str, str], model: str) -> dict[str, object]:
    """The lines of a batch in the order of their answers: the finish reason, or the status of another one."""
    data = b"\n".join(
        line(id_, model=model, messages=[{"role": "user", "content": text}])
        for id_, text in sorted(texts.items())
    )
    shown = api.ended(api.post("/batches", {"input_file_id": api.upload(data).json["id"], **ORDER}))
    lines = api.lines(shown["output_file_id"]) | api.lines(shown.get("error_file_id"))
    ends: dict[str, object] = {}
    for id_, each in sorted(lines.items(), key=lambda item: str(item[1]["id"])):
        status, body = each["response"]["status_code"], each["response"]["body"]
        ends[id_] = body["choices"][0]["finish_reason"] if status == 200 else status
    return ends
