"""`chatpipe jobs` through the Batch API of LiteLLM's proxy, with `serve` behind it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from peer.litellm_proxy import KEY
from support.process import Done, run

pytestmark = [pytest.mark.peer, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def url(litellm: str) -> str:
    return litellm


def jobs(url: str, *words: str) -> Done:
    return run("jobs", *words, "--base-url", url, env={"OPENAI_API_KEY": KEY})


def records(done: Done) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(("good", "status"), [(3, 0), (2, 1)])
def test_from_a_file_to_its_results(url: str, tmp_path: Path, good: int, status: int) -> None:
    """The upload is not visible at first, which the proxy makes a 500 of. The second job expires."""
    lines = [
        {
            "custom_id": f"{good}-{number}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": "echo", "messages": [{"role": "user", "content": f"say {number}"}]},
        }
        for number in range(3)
    ]
    path = tmp_path / "in.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    submitted = jobs(url, "submit", str(path), "--settle", "0.5")
    assert submitted.status == 0, submitted.stderr
    (job,) = records(submitted)
    assert [each["id"] for each in records(jobs(url, "submit", str(path)))] == [job["id"]]
    assert job["id"] in [each["id"] for each in records(jobs(url, "list"))]
    assert jobs(url, "wait", str(path), "--poll", "0.05").status == status
    done = jobs(url, "results", str(path))
    found = records(done)
    assert done.status == status
    assert [line["custom_id"] for line in found] == [line["custom_id"] for line in lines]
    says = {
        line["custom_id"]: line["response"]["body"]["choices"][0]["message"]["content"]
        for line in found
        if line["error"] is None
    }
    assert len(says) == good
    assert all(text == f"say {custom_id[-1]}" for custom_id, text in says.items())


def test_a_run_that_is_answered_by_jobs(url: str, tmp_path: Path) -> None:
    """What the first run has created is collected by the second."""
    says = [f"hello {number}" for number in range(5)]
    (tmp_path / "in.jsonl").write_text("".join(f"{json.dumps(text)}\n" for text in says))
    out = tmp_path / "out.jsonl"

    def batch(*options: str) -> Done:
        words = ("batch", str(tmp_path / "in.jsonl"), "-o", str(out), "-m", "echo", "--base-url", url)
        engine = ("--engine", "batch-api", "--poll", "0.05", "--settle", "0.5", "-q")
        return run(*words, *engine, *options, env={"OPENAI_API_KEY": KEY})

    created = batch("--no-wait")
    assert (created.status, out.exists()) == (124, False), created.stderr
    done = batch()
    assert (done.status, done.stderr) == (0, b"")
    found = [json.loads(line) for line in out.read_text().splitlines()]
    assert [each["response"]["body"]["choices"][0]["message"]["content"] for each in found] == says
    assert {each["chatpipe"]["engine"] for each in found} == {"batch-api"}
    made = records(jobs(url, "list"))
    assert sum(job["request_counts"]["total"] == len(says) for job in made) == 1  # it was created once
