"""`chatpipe serve` under a client that this project did not write: the official library of OpenAI."""

from __future__ import annotations

import json
from typing import Any

import pytest

from peer.openai_python import run_with_openai
from serve.client import serving

pytestmark = [pytest.mark.peer, pytest.mark.timeout(300)]

FAULTS = ("cut", "truncate", "garbage", "error-event", "empty", "status=429,retry_after=0:times=1", "slice=1")
SCRIPT = """
import asyncio, json, sys
import openai
url, faults = sys.argv[1], sys.argv[2:]
client = openai.OpenAI(base_url=url, api_key="k-1")
hello = [{"role": "user", "content": "hello there"}]
tool = {"type": "function", "function": {"name": "f", "parameters": {
    "type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}}}
shape = {"type": "json_schema", "json_schema": {"name": "s", "schema": tool["function"]["parameters"]}}

def ask(messages=hello, **fields):
    return client.chat.completions.create(model="echo", messages=messages, **fields)

def text(chunks):
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)

def faulty(fault, **fields):
    try:
        answer = ask([{"role": "system", "content": f"<{fault}>"}, *hello], **fields)
        return text(answer) if fields else answer.choices and answer.choices[0].message.content
    except (openai.APIError, ValueError) as error:
        return type(error).__name__

async def together():
    client = openai.AsyncOpenAI(base_url=url, api_key="k-1")
    async def one(number):
        answer = await client.chat.completions.create(
            model="echo", messages=[{"role": "user", "content": str(number)}], stream=number % 2 == 1)
        return "".join([c.choices[0].delta.content or "" async for c in answer]) if number % 2 else (
            answer.choices[0].message.content)
    return await asyncio.gather(*(one(number) for number in range(64)))

def line(number):
    body = {"model": "echo", "messages": [{"role": "user", "content": f"say {number}"}]}
    return json.dumps({"custom_id": str(number), "method": "POST", "url": ORDER["endpoint"], "body": body})

ORDER = {"endpoint": "/v1/chat/completions", "completion_window": "24h"}
LINES = ("a.jsonl", "\\n".join(map(line, range(5))).encode())
ENDS = ("completed", "failed", "expired", "cancelled")

def contents(text):
    bodies = [json.loads(each)["response"]["body"] for each in text.splitlines()]
    return sorted(body["choices"][0]["message"]["content"] for body in bodies)

def batch(**order):
    expires = {"anchor": "created_at", "seconds": 3600}
    file = client.files.create(file=LINES, purpose="batch", expires_after=expires)
    job = client.batches.create(input_file_id=file.id, **ORDER, **order)
    statuses = [job.status]
    while job.status not in ENDS:
        job = client.batches.retrieve(job.id)
        statuses.append(job.status)
    text = client.files.content(job.output_file_id).text
    listed = [each.id for each in client.batches.list(limit=1)]
    files = [each.id for each in client.files.list(purpose="batch")]
    deleted = client.files.delete(file.id).deleted
    return {"statuses": statuses, "counts": job.request_counts.to_dict(), "metadata": job.metadata,
        "contents": contents(text), "found": [job.id in listed, file.id in files, deleted]}

async def async_batch():
    client = openai.AsyncOpenAI(base_url=url, api_key="k-1")
    file = await client.files.create(file=LINES, purpose="batch")
    job = await client.batches.create(input_file_id=file.id, **ORDER)
    while job.status not in ENDS:
        job = await client.batches.retrieve(job.id)
    other = await client.batches.create(input_file_id=file.id, **ORDER)
    cancelled = [await client.batches.cancel(other.id), await client.batches.retrieve(other.id)]
    pieces = b""
    async with client.files.with_streaming_response.content(job.output_file_id) as reply:
        async for piece in reply.iter_bytes():
            pieces += piece
    return {"contents": contents(pieces.decode()), "cancelled": [each.status for each in cancelled]}

def refused(call):
    try:
        call()
    except openai.APIStatusError as error:
        return [type(error).__name__, error.param]

found = {
    "batch": batch(metadata={"a": "b"}),
    "async batch": asyncio.run(async_batch()),
    "no file": refused(lambda: client.files.retrieve("file-x")),
    "no batch": refused(lambda: client.batches.retrieve("batch_x")),
    "bad upload": refused(lambda: client.files.create(file=("a.txt", b"a"), purpose="batch")),
    "bad batch": refused(lambda: client.batches.create(input_file_id="file-x", **ORDER)),
    "models": [model.id for model in client.models.list()] + [client.models.retrieve("echo").id],
    "whole": ask().choices[0].message.content,
    "usage": ask().usage.total_tokens,
    "request_id": ask()._request_id[:4],
    "streamed": text(ask(stream=True)),
    "streamed usage": [c.usage.total_tokens for c in ask(stream=True, stream_options={"include_usage": True})
        if c.usage],
    "call": ask(tools=[tool]).choices[0].message.tool_calls[0].function.arguments,
    "shape": ask(response_format=shape).choices[0].message.content,
    "together": asyncio.run(together()) == [str(number) for number in range(64)],
    "wrong key": "",
    "faults": {fault: [faulty(fault), faulty(fault, stream=True)] for fault in faults},
}
try:
    client.with_options(api_key="k-2").models.list()
except openai.AuthenticationError as error:
    found["wrong key"] = error.code
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """What the library makes of each request."""
    options = [word for fault in FAULTS for word in ("--fault", f"{fault}:match=<{fault}>")]
    with serving("--require-key-env", "KEY", *options, env={"KEY": "k-1"}) as server:
        return dict(json.loads(run_with_openai(SCRIPT, server.url, *FAULTS)))


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("models", ["echo", "echo"]),
        ("whole", "hello there"),
        ("usage", 4),
        ("request_id", "req_"),
        ("streamed", "hello there"),
        ("streamed usage", [4]),
        ("call", '{"a":"hello there"}'),
        ("shape", '{"a":"hello there"}'),
        ("together", True),
        ("wrong key", "invalid_api_key"),
        (
            "batch",
            {
                "statuses": ["validating", "in_progress", "in_progress", "finalizing", "completed"],
                "counts": {"total": 5, "completed": 5, "failed": 0},
                "metadata": {"a": "b"},
                "contents": [f"say {number}" for number in range(5)],
                "found": [True, True, True],
            },
        ),
        (
            "async batch",
            {
                "contents": [f"say {number}" for number in range(5)],
                "cancelled": ["cancelling", "cancelled"],
            },
        ),
        ("no file", ["NotFoundError", "id"]),
        ("no batch", ["NotFoundError", None]),
        ("bad upload", ["BadRequestError", "file"]),
        ("bad batch", ["BadRequestError", "input_file_id"]),
    ],
)
def test_what_the_library_reads(found: dict[str, Any], what: str, expected: object) -> None:
    assert found[what] == expected


@pytest.mark.parametrize(
    ("fault", "whole", "streamed"),
    [
        ("cut", "APIConnectionError", "APIConnectionError"),
        ("truncate", "JSONDecodeError", "hello there"),  # it takes a stream without its end for whole
        ("garbage", "UnicodeDecodeError", "UnicodeDecodeError"),
        ("error-event", None, "APIError"),
        ("empty", "APIConnectionError", "APIConnectionError"),
        ("status=429,retry_after=0:times=1", "hello there", "hello there"),  # retried by itself
        ("slice=1", "hello there", "hello there"),
    ],
)
def test_what_the_library_makes_of_a_fault(
    found: dict[str, Any], fault: str, whole: str | None, streamed: str
) -> None:
    assert found["faults"][fault] == [whole, streamed]
