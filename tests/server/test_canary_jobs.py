"""A canary in all that a provider says about a job: no result, journal, report or message has it.

The provider sends back what it got with each call: in answers, refusals, ids, reasons and headers.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest

from server.test_canary import CANARY, HEADERS, RUN, SHOWN, environment, leaks, prepare, sent_back
from support.leaks import has_key
from support.process import run
from support.servers.loopback import Answer, Request, completion, reply, serve

KEY = f"key-{CANARY}"  # that of --key-file
FORMS = [
    f"Bearer {KEY}",
    quote(KEY, safe=""),
    b64encode(KEY.encode()).decode(),
    orjson.dumps({"a": KEY}).decode(),
]
SAYS = " | ".join(FORMS)
ERROR = {"message": SAYS, "code": KEY, "param": FORMS}


def answered(text: str, status: int = 200, request_id: str = "r", **fields: Any) -> dict[str, Any]:
    body = completion(text) if status == 200 and not fields else fields
    return {"response": {"status_code": status, "request_id": request_id, "body": body}, "error": None}


# The results of one job, by the text of the line.
RESULTS: Mapping[str, dict[str, Any]] = {
    "an answer": answered(f"Your key is {KEY}."),
    "an answer with escapes": answered(KEY),  # its first letter is written as an escape: see Provider
    "an answer beside an error": answered("ok", 200, error=ERROR, **completion("ok")),
    "a request id": answered("ok", 200, request_id=KEY),
    "a refusal": answered("", 400, error=ERROR),
    "a refusal of another form": answered("", 500, detail=FORMS),
    "the request id of a refusal": answered("", 400, request_id=KEY, error={"message": "no"}),
    "an error instead of an answer": answered("", 200, error=ERROR),
    "an error without a response": {"response": None, "error": ERROR},
    "an error that is a text": {"response": None, "error": SAYS},
    "an expired line": {"response": {"status_code": 0, "body": None}, "error": ERROR},
}
JOBS: Mapping[str, dict[str, Any]] = {
    "results": {"status": "completed", "output_file_id": "file-out"},
    "results and a reason": {
        "status": "cancelled",
        "output_file_id": "file-out",
        "errors": {"data": [{"line": 1, **ERROR}]},
    },
    "a failure as a whole": {"status": "failed", "errors": {"data": [{"line": 1, **ERROR}]}},
    "a failure as a text": {"status": "failed", "error": SAYS},
    "a status": {"status": "completed", "output_file_id": "file-out", "metadata": {"echo": SAYS}},
    "results that it has not": {"status": "completed", "output_file_id": "file-gone", "created_at": 1},
}


class Provider:
    """A provider with one job, which ends as fields say. It makes the results of the lines that come.

    It refuses the calls of a method to paths with an end.
    """

    def __init__(self, fields: Mapping[str, Any], refused: tuple[str, str] | None = None) -> None:
        self._fields = fields
        self._refused = refused
        self._results: list[bytes] = []

    def __call__(self, request: Request) -> Answer:
        path = request.target.partition("?")[0]
        headers = {"x-request-id": KEY, "x-echo": SAYS}
        if (
            self._refused is not None
            and request.method == self._refused[0]
            and path.endswith(self._refused[1])
        ):
            return sent_back(request)
        if path.endswith("/files"):
            lines = [line for line in request.body.splitlines() if line.startswith(b'{"custom_id"')]
            self._results = [self._result(orjson.loads(line)) for line in lines]
            return reply(200, {"id": "file-in", "echo": SAYS}, headers)
        if path.endswith("/content"):
            if "file-gone" in path:
                return reply(404, {"error": ERROR}, headers)
            return reply(200, b"\n".join([*self._results, f"torn {SAYS}".encode()]), headers)
        return reply(200, {"id": "b", "created_at": 1, "input_file_id": "file-in", **self._fields}, headers)

    def _result(self, line: dict[str, Any]) -> bytes:
        text = line["body"]["messages"][-1]["content"]
        data = orjson.dumps({"id": "x", "custom_id": line["custom_id"], **RESULTS[text]})
        return data.replace(b"key-", b"\\u006bey-") if text.endswith("escapes") else data


def write_input(folder: Path) -> None:
    messages = [{"model": "m", "messages": [{"role": "user", "content": text}]} for text in RESULTS]
    (folder / "in.jsonl").write_bytes(b"".join(orjson.dumps(each) + b"\n" for each in messages))
    lines = [
        {"custom_id": f"{n}", "method": "POST", "url": "/v1/chat/completions", "body": body}
        for n, body in enumerate(messages)
    ]
    (folder / "lines.jsonl").write_bytes(b"".join(orjson.dumps(each) + b"\n" for each in lines))


ENGINE = ("--engine", "batch-api", "--poll", "0.01", "--settle", "0.1")


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize("command", ["batch", "jobs"])
def test_no_result_of_a_job_has_a_secret(command: str, job: str, folder: Path) -> None:
    prepare(folder)
    write_input(folder)
    given = ("--key-file", "key", *HEADERS, *SHOWN)
    with serve(Provider(JOBS[job])) as server:
        env = environment(server.url, "--key-file")
        if command == "batch":
            done = run("batch", *given, "in.jsonl", *RUN, "--keep-journal", *ENGINE, env=env, cwd=folder)
            assert leaks(folder, done) == []
            assert (folder / "j").read_bytes().count(b'"chatpipe":{') == len(RESULTS)
        else:
            for words in (("submit", "lines.jsonl"), ("status", "b"), ("list",), ("cancel", "b")):
                assert leaks(folder, run("jobs", *given, *words, env=env, cwd=folder)) == []
            for word in ("b", "lines.jsonl"):
                done = run("jobs", *given, "results", word, env=env, cwd=folder)
                assert leaks(folder, done) == []
                is_whole = "output_file_id" in JOBS[job] and "gone" not in str(JOBS[job])
                assert done.stdout.count(b"custom_id") == (
                    len(RESULTS) if is_whole else done.stdout.count(b"\n")
                )
        assert any(has_key(str(each.headers).encode(), CANARY) for each in server.requests), done.stderr


REFUSED = {
    "an upload": ("POST", "/files"),
    "a create": ("POST", "/batches"),
    "a look": ("GET", "/batches/b"),
    "a download": ("GET", "/content"),
}


@pytest.mark.parametrize("refused", REFUSED)
def test_no_refusal_of_a_step_has_a_secret(refused: str, folder: Path) -> None:
    prepare(folder)
    write_input(folder)
    with serve(Provider(JOBS["results"], REFUSED[refused])) as server:
        env = environment(server.url, "--key-file")
        words = ("batch", "--key-file", "key", *HEADERS, *SHOWN, "in.jsonl", *RUN, *ENGINE)
        done = run(*words, env=env, cwd=folder)
        assert leaks(folder, done) == []
        assert b"***" in done.stderr
        assert (done.status, b'"planned"' in (folder / "j").read_bytes()) == (65, True), done.stderr
