"""Whole behaviour, one text file a case: tests/cases/AREA/WHAT.case.

A case begins with words that say what it shows. Then come its parts, each under a line `== PART`:

    == command              a shell line or several, run by sh with chatpipe on PATH, in a folder of its own
    == stdin                /dev/null when it is left out
    == file NAME            a file that is there before
    == reply                what the server says: raw HTTP, the length added where it has none
    == reply (answer)       this text, in a stream or whole, as the request asks
    == reply (completion)   this JSON, whole
    == reply (events)       a stream, a line an event: see _event
    == reply (events cut)   the same, the connection closed before its proper end
    == reply (error 401)    this message, in the shape of OpenAI's errors
    == wire                 what the server must have been sent: method and path, headers (`!Name` for one
                            that must not be there), a blank line, the JSON body
    == wire (none)          that it was sent nothing
    == stdout, == stderr    every byte; empty when left out
    == exit                 0 when left out
    == leaves NAME          a file that must be there afterwards; no other may have come or changed

A server runs, $URL is its base URL; it repeats what it is told (`echo`) unless
there are replies, which are given in turn. $URL, and $PWD for the folder, may stand in stdout, stderr
and leaves, too. The blank line before a part is not in the one before it. Two words may stand behind
a part: `(escaped)` joins its lines and reads Python's escapes, for bytes that do not show; in an output
`(pattern)` lets `...` stand for anything on its line.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest

from support.process import sh
from support.servers.loopback import (
    Answer,
    Close,
    Handler,
    Request,
    chunk,
    completion,
    echoing,
    error,
    event,
    event_stream,
    reply,
    serve,
    stream_of,
)

CASES = Path(__file__).parent / "cases"
_PART = re.compile(r"== (?P<name>\w+)(?: (?P<what>[^()]+?))?(?: \((?P<how>[^()]*)\))?")
_PARTS = {"command", "stdin", "file", "reply", "wire", "stdout", "stderr", "exit", "leaves"}


class Part(NamedTuple):
    """`== name what (how)` and the text below it."""

    name: str
    what: str
    how: str
    text: str

    @property
    def data(self) -> bytes:
        if "escaped" not in self.how:
            return self.text.encode()
        # Through Latin-1 what is not ASCII goes in and out as the bytes it has in UTF-8.
        joined = self.text.replace("\n", "").encode().decode("latin-1")
        return joined.encode("latin-1", "backslashreplace").decode("unicode_escape").encode("latin-1")


class Case(NamedTuple):
    shows: str
    parts: list[Part]

    def all(self, name: str) -> list[Part]:
        return [part for part in self.parts if part.name == name]

    def one(self, name: str) -> Part | None:
        found = self.all(name)
        assert len(found) <= 1, f"several parts '{name}'"
        return found[0] if found else None


def read(text: str) -> Case:
    """The parts of a case file. Fails for a part that there is not, so that a slip tests nothing silently."""
    head, *rest = re.split(r"^(?=== )", text, flags=re.MULTILINE)
    parts = []
    for section in rest:
        title, _, body = section.partition("\n")
        match = _PART.fullmatch(title)
        if match is None or match["name"] not in _PARTS:
            raise AssertionError(f"not a part: {title}")
        body = body[:-1] if body.endswith("\n\n") or body == "\n" else body
        parts.append(Part(match["name"], match["what"] or "", match["how"] or "", body))
    return Case(head.strip(), parts)


# What the server says


def _handler(parts: list[Part]) -> Handler:
    """The replies in turn, the last one for ever; without any, the model `echo`."""
    if not parts:
        return echoing
    makers = [_reply(part) for part in parts]
    return lambda request: (makers.pop(0) if len(makers) > 1 else makers[0])(request)


def _reply(part: Part) -> Handler:
    kind, *words = part.how.replace("escaped", "").split() or ["raw"]
    made: Answer
    match kind:
        case "answer":
            return lambda request: _answer(request, part.text.removesuffix("\n"))
        case "completion":
            made = reply(200, part.data, {"content-type": "application/json"})
        case "events":
            steps = event_stream([_event(line) for line in part.text.splitlines()], end=not words)
            made = [*steps, *([Close()] if words else [])]
        case "error":
            made = error(int(words[0]), part.text.removesuffix("\n"))
        case "raw":
            made = _raw(part.data)
        case _:
            raise AssertionError(f"not a kind of reply: {part.how}")
    return lambda _: made


def _answer(request: Request, text: str) -> Answer:
    if request.json().get("stream"):
        return event_stream(stream_of(re.findall(r"\S+\s*|\s+", text)))
    return reply(200, completion(text))


def _event(line: str) -> bytes:
    """One event of a stream.

    "text"         a chunk with this content
    delta {...}    a chunk with this delta
    finish WORD    the chunk that ends the choice
    : comment      as it is
    anything else  the event's data: {"error": ...}, [DONE]
    """
    word, _, rest = line.partition(" ")
    match word:
        case "delta":
            return event(chunk(orjson.loads(rest)))
        case "finish":
            return event(chunk(finish_reason=rest))
        case ":":
            return line.encode() + b"\n\n"
    return event(chunk(orjson.loads(line)) if line.startswith('"') else line.encode())


def _raw(data: bytes) -> bytes:
    """HTTP as a file holds it: the head's lines end as in HTTP, and the length of the body is told."""
    head, _, body = data.partition(b"\n\n")
    lines = head.split(b"\n")
    names = {line.partition(b":")[0].lower() for line in lines[1:]}
    if not names & {b"content-length", b"transfer-encoding"}:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([*lines, b"", body])


# What came of it


def _sent(request: Request, part: Part) -> tuple[Any, Any]:
    """What was sent, and what the part says of it, in like form."""
    head, _, body = part.text.partition("\n\n")
    first, *lines = head.splitlines()
    names = [line.partition(":")[0] for line in lines]
    wanted = {
        name.lstrip("!"): None if name[0] == "!" else line.partition(": ")[2]
        for name, line in zip(names, lines, strict=True)
    }
    headers = {name: request.headers.get(name.lower()) for name in wanted}
    sent_body = request.json() if body else None
    return (
        [f"{request.method} {request.target}", headers, sent_body],
        [first, wanted, orjson.loads(body) if body else None],
    )


def _matches(expected: Part | None, actual: bytes, url: str, folder: Path) -> tuple[bytes, bytes]:
    """Actual and expected; the same twice where a pattern fits."""
    wanted = b"" if expected is None else expected.data
    wanted = wanted.replace(b"$URL", url.encode()).replace(b"$PWD", bytes(folder))
    if expected is not None and "pattern" in expected.how:
        pattern = b"[^\n]*".join(map(re.escape, wanted.split(b"...")))
        return (actual, actual if re.fullmatch(pattern, actual) else wanted)
    return actual, wanted


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _cases() -> list[Any]:
    return [
        pytest.param(path, id=f"{path.parent.name}/{path.stem}") for path in sorted(CASES.glob("*/*.case"))
    ]


@pytest.mark.parametrize("path", _cases())
def test_case(path: Path, tmp_path: Path) -> None:
    case = read(path.read_text(encoding="utf-8"))
    command, stdin, status = case.one("command"), case.one("stdin"), case.one("exit")
    assert case.shows, "a case says in words what it shows"
    assert command is not None
    for file in case.all("file"):
        (tmp_path / file.what).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file.what).write_bytes(file.data)

    with serve(_handler(case.all("reply"))) as server:
        done = sh(
            command.text, stdin=None if stdin is None else stdin.data, env={"URL": server.url}, cwd=tmp_path
        )

    wire = case.all("wire")
    stderr, wanted_stderr = _matches(case.one("stderr"), done.stderr, server.url, tmp_path)
    stdout, wanted_stdout = _matches(case.one("stdout"), done.stdout, server.url, tmp_path)
    # stderr first: where something went wrong it says what.
    assert stderr.decode("utf-8", "backslashreplace") == wanted_stderr.decode("utf-8", "backslashreplace")
    assert stdout.decode("utf-8", "backslashreplace") == wanted_stdout.decode("utf-8", "backslashreplace")
    assert done.status == int(status.text if status else 0)
    if wire:
        expected = [part for part in wire if part.how != "none"]
        assert [f"{sent.method} {sent.target}" for sent in server.requests] == [
            part.text.partition("\n")[0] for part in expected
        ]
        for request, part in zip(server.requests, expected, strict=True):
            sent, wanted = _sent(request, part)
            assert sent == wanted
    before = {file.what: file.data for file in case.all("file")}
    after = {left.what: left for left in case.all("leaves")}
    assert sorted(_files(tmp_path)) == sorted({*before, *after})
    for name, data in _files(tmp_path).items():
        if name in after:
            actual, wanted = _matches(after[name], data, server.url, tmp_path)
            assert actual == wanted, name
        else:
            assert data == before[name], name


def test_there_are_cases() -> None:
    assert len(_cases()) >= 60


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("x\n\n== comand\nls\n", id="a part that there is not"),
        pytest.param("x\n\n== stdout pattern)\nls\n", id="a title that cannot be read"),
    ],
)
def test_a_slip_in_a_case_is_an_error(text: str) -> None:
    with pytest.raises(AssertionError, match="not a part"):
        read(text)


def test_escaped_parts_are_bytes() -> None:
    part = read("x\n\n== stdout (escaped)\na\\0é\\xff\n\\n\n").parts[0]
    assert part.data == b"a\x00\xc3\xa9\xff\n"
