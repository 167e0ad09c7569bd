"""A server that sends the key back: no file and no stream of ours has it, however it is written."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote

import orjson
import pytest

from support.leaks import has_key
from support.process import Done, run
from support.servers.loopback import (
    Answer,
    Close,
    Request,
    chunk,
    completion,
    event,
    event_stream,
    head,
    reply,
    serve,
    steps_of,
    stream_of,
)

KEY = "sk-Canary/0123456789+abcDEF"
SHORT, WORD = "sk-no-key-7", "ollama"
BASIC = b64encode(f"user:{KEY}".encode()).decode()


def refusal(text: str, status: int = 400, **headers: str) -> bytes:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return reply(status, {"error": {"message": text, "code": "invalid"}}, {"retry-after-ms": "1", **named})


def escaped(text: str) -> str:
    return "".join(f"\\u{ord(character):04x}" for character in text)


def failures(key: str) -> dict[str, Answer]:
    """Ways in which a server sends the key back when it fails."""
    page = f"<html><body>Who is <b>{key[:6]}<wbr>{key[6:]}</b>?</body></html>".encode()
    status_line = f"HTTP/1.1 {key} no\r\ncontent-length: 0\r\n\r\n".encode()
    return {
        "in a message": refusal(f"Incorrect API key provided: {key}.", 401),
        "as a word": refusal(key, 403),
        "in quotes": refusal(f"model '{key}' not found", 404),
        "busy": refusal(f"{key} has too many requests", 429),
        "overloaded": refusal(f"cannot serve {key}", 503),
        "in upper case": refusal(f"no user {key.upper()}"),
        "in JSON escapes": reply(400, f'{{"error": {{"message": "no {escaped(key)}"}}}}'.encode()),
        "in JSON inside JSON": refusal(orjson.dumps({"k": key.replace("/", "\\/")}).decode()),
        "as a member": reply(422, {"detail": [{"loc": ["header", key], "msg": "no", key: {key: [key]}}]}),
        "as an error": reply(400, {"error": key}),
        "in a list": reply(400, [{"error": {"message": f"bad {key}", "status": "INVALID"}}]),
        "percent-encoded": refusal(f"GET /v1?key={quote(key, safe='')} failed"),
        "twice percent-encoded": refusal(f"GET /v1?key={quote(quote(key, safe=''), safe='')} failed"),
        "in base64": refusal(f"Authorization: Basic {b64encode(f'user:{key}'.encode()).decode()}"),
        "in shifted base64": refusal(b64encode(f"{{Bearer {key}}}".encode()).decode()),
        "in hexadecimal": refusal(key.encode().hex()),
        "over two lines": refusal(f"the key is {key[:7]}\r\n  {key[7:]}, they say"),
        "as entities": reply(502, "".join(f"&#{ord(each)};" for each in key).encode()),
        "on a page": reply(500, page, {"content-type": "text/html"}),
        "behind a cut": refusal("x" * 480 + key + "x" * 30),
        "cut by the server": refusal(f"no such key: {key[:-2]}"),
        "in the request id": refusal("no", x_request_id=key),
        "in a header": reply(400, b"no", {"x-echo": f"Bearer {key}", f"x-{re.sub('[/+]', '', key)}": "1"}),
        "in a redirect": reply(307, b"", {"location": f"http://{re.sub('[/+]', '', key)}.example/{key}"}),
        "inside 200": reply(200, {"error": {"message": f"bad {key}", "code": 401}}),
        "no JSON": reply(200, f"hello {key}, who are you?".encode()),
        "no object": reply(200, [key]),
        "no choices": reply(200, completion(None, choices=[], note=key)),
        "an error beside choices": reply(200, completion("", error={"message": f"bad {key}"})),
        "an event": event_stream([event(chunk("Hi")), event({"error": {"message": f"bad {key}"}})]),
        "an event of another shape": event_stream([event(chunk("Hi")), event({"detail": f"bad {key}"})]),
        "an event without JSON": event_stream([event(chunk("Hi")), event(f"error: {key}".encode())]),
        "a cut event": event_stream([event(chunk("Hi")), f'data: {{"error": "{key}'.encode()]),
        "a status line": [status_line, Close()],
        "a cut reply": [head(400, {"content-length": "999"}) + f"no key {key}".encode(), Close()],
    }


SHOWN = ("-v", "--debug", "--error-format", "json")
ASK = {
    "everything": ("-f", "json", *SHOWN, "-o", "answer", "-M", "answer.d", "--transcript", "talk"),
    "text": ("-f", "text", "-o", "text"),
    "chunks": ("-f", "chunks", *SHOWN),
    "sse": ("-f", "sse", "-o", "sse"),
}
RUNS = {
    "batch": ("batch", "-", "-o", "out", "--errors", "errors", "--report", "report", "--progress", "json"),
    "bare": ("batch", "-", "-f", "string", *SHOWN),
    "map": (
        "map",
        "{{prompt}}",
        "-",
        "--into",
        "a",
        "--error-into",
        "why",
        "-o",
        "rows",
        "--report",
        "report",
    ),
    "csv": ("map", "{{prompt}}", "-", "--csv", "--into", "a", *SHOWN),
}
# The others leave the rest of a run unsent.
ENDS_A_RUN = ("in a message", "busy", "overloaded", "inside 200")


def words(name: str, url: str) -> tuple[str, ...]:
    common = ("--base-url", url, "-m", "m", "--key-file", "key", "--record", "recording")
    if name in ASK:
        return ("ask", *ASK[name], *common, "--retries", "0", "hi")
    return (*RUNS[name], *common, "--retries", "0", "--max-pause", "0.1")


def written(folder: Path, done: Done) -> Iterator[tuple[str, bytes]]:
    """All that a call left: its streams, and every file but the key's own."""
    yield "stdout", done.stdout
    yield "stderr", done.stderr
    for path in folder.rglob("*"):
        if path.is_file() and path.name != "key":
            yield path.name, path.read_bytes()
            path.unlink()


def leaks(url: str, names: Iterable[str], folder: Path, key: str, *lines: str) -> list[object]:
    """The places that have the key after each of these calls; lines are the prompts of a run."""
    (folder / "key").write_text(key)
    found: list[object] = []
    for name in names:
        rows = (
            [orjson.dumps({"prompt": line}).decode() for line in lines]
            if name != "csv"
            else ["prompt", *lines]
        )
        done = run(*words(name, url), stdin="\n".join(rows).encode(), cwd=folder)
        assert done.status != 0
        for where, data in written(folder, done):
            if has_key(data, key[:-2]):
                lines_with_it = [line[:300] for line in data.splitlines() if has_key(line, key[:-2])]
                found.append((name, where, lines_with_it))
    return found


KEYS = pytest.mark.parametrize("key", [KEY, SHORT], ids=["long", "short"])


@pytest.mark.parametrize("kind", failures(KEY))
def test_no_failure_of_a_call_writes_the_key(folder: Path, kind: str) -> None:
    answer = failures(KEY)[kind]
    sent = [each for each in steps_of(answer) if isinstance(each, bytes)]
    assert any(has_key(each, KEY[:-2]) for each in sent)
    names = ASK if len(sent) > 2 else ("everything",)
    with serve(lambda _: answer) as server:
        assert leaks(server.url, names, folder, KEY) == []


@KEYS
@pytest.mark.parametrize("ending", [None, *ENDS_A_RUN])
def test_no_failure_of_a_run_writes_the_key(folder: Path, ending: str | None, key: str) -> None:
    kinds = failures(key)
    lines = [kind for kind in kinds if kind not in ENDS_A_RUN] if ending is None else [ending]
    with serve(lambda request: kinds[request.json()["messages"][-1]["content"]]) as server:
        assert leaks(server.url, RUNS, folder, key, *lines) == []
        assert len(server.requests) >= len(lines)


WARNING = b"chatpipe: warning: the server sent the key back in its answer: it is replaced by '***'\n"
PIECES: dict[str, Answer] = {
    "whole": reply(200, completion(f"It is {KEY}!")),
    "escaped": reply(200, orjson.dumps(completion("It is KEY!")).replace(b"KEY", escaped(KEY).encode())),
    "JSON in a text": reply(200, completion(f"It is {escaped(KEY)}!")),
    "a URL in a text": reply(200, completion(f"It is {quote(KEY, safe='')}!")),
    "one chunk": event_stream(stream_of(f"It is {KEY}!")),
    "two chunks": event_stream(stream_of(["It is ", KEY[:9], f"{KEY[9:]}!"])),
    "small chunks": event_stream(stream_of([f"It is {KEY}!"[at : at + 3] for at in range(0, 40, 3)])),
    "chunks with escapes": event_stream(stream_of(["It is ", *map(escaped, KEY), "!"])),
    "chunks with parts of escapes": event_stream(
        stream_of([f"It is {escaped(KEY)}!"[at : at + 5] for at in range(0, 7 + 6 * len(KEY), 5)])
    ),
    "cut reads": event_stream(
        [b"".join(stream_of(f"It is {KEY}!"))[at : at + 11] for at in range(0, 1200, 11)], pace=0.0001
    ),
}


@pytest.mark.parametrize("way", PIECES)
def test_key_in_content_is_replaced_with_a_warning(folder: Path, way: str) -> None:
    (folder / "key").write_text(KEY)
    with serve(lambda _: PIECES[way]) as server:
        for format in ("text", "json", "chunks", "sse"):
            call = ("ask", "--base-url", server.url, "-m", "m", "--key-file", "key", "-f", format, "hi")
            done = run(*call, "--transcript", "talk", "--record", "recording", cwd=folder)
            assert (done.status, done.stderr) == (0, WARNING)
            assert b"***" in done.stdout
            assert [where for where, data in written(folder, done) if has_key(data, KEY)] == []
        lines = b'"hi"\n"ho"\n'
        done = run(
            "batch",
            "-",
            *call[1:7],
            "-f",
            "results",
            "--journal",
            "j",
            "--record",
            "recording",
            stdin=lines,
            cwd=folder,
        )
        assert (done.status, done.stderr) == (0, WARNING)
        assert done.stdout.count(b'"content":"It is ***!"') == 2
        assert [where for where, data in written(folder, done) if has_key(data, KEY)] == []


def test_key_in_escapes_reaches_no_tool_and_no_cell(folder: Path) -> None:
    (folder / "key").write_text(KEY)
    arguments = f'{{"text": "{escaped(KEY)}"}}'
    call = {"id": "c1", "type": "function", "function": {"name": "keep", "arguments": arguments}}
    calls = {"role": "assistant", "content": None, "tool_calls": [call]}
    asks = reply(200, completion(None, message=calls, finish_reason="tool_calls"))
    cell = reply(200, completion(f'{{"a": "{escaped(KEY)}"}}'))

    def answer(request: Request) -> Answer:
        body = request.json()
        return cell if body["messages"][-1]["role"] == "tool" or "response_format" in body else asks

    with serve(answer) as server:
        way = ("--base-url", server.url, "-m", "m", "--key-file", "key")
        (folder / "tool.json").write_text('{"name": "keep"}')
        done = run("ask", *way, "--tool", "tool.json", "-f", "tool-calls", "hi", cwd=folder)
        assert (done.status, orjson.loads(done.stdout)["arguments"]) == (0, {"text": "***"})
        tool = ("--tool", "tool.json", "--exec", "keep=tee seen")
        done = run("ask", *way, *tool, "--transcript", "talk", "hi", cwd=folder)
        assert (folder / "seen").read_text() == '{"text": "***"}'
        assert (done.status, [at for at, data in written(folder, done) if has_key(data, KEY)]) == (0, [])
        rows = ("--csv", "--schema-fields", "a", "--unpack")
        done = run("map", "{{q}}", "-", *way, *rows, "-o", "r.csv", stdin=b"q\nhi\n", cwd=folder)
        assert (folder / "r.csv").read_bytes() == b"q,a\nhi,***\n"
        assert (done.status, [at for at, data in written(folder, done) if has_key(data, KEY)]) == (0, [])


@pytest.mark.parametrize("key", [SHORT, WORD, "1234", "m"])
@pytest.mark.parametrize("format", ["text", "json", "sse"])
def test_word_that_is_a_key_never_changes_content(folder: Path, format: str, key: str) -> None:
    (folder / "key").write_text(key)
    sent = stream_of(["It is ", key[:3], f"{key[3:]}!"])
    answer: Answer = event_stream(sent)
    if format == "json":
        answer = reply(200, completion(f"It is {key}!"))
    with serve(lambda _: answer) as server:
        call = ("ask", "--base-url", server.url, "-m", "m", "--key-file", "key", "-f", format, "hi")
        done = run(*call, cwd=folder)
    expected = {
        "text": f"It is {key}!\n".encode(),
        "json": orjson.dumps(completion(f"It is {key}!")) + b"\n",
        "sse": b"".join(sent),
    }
    assert done == (0, expected[format], b"")
