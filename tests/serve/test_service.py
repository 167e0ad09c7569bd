"""`chatpipe serve` as a process: its URL, its end, and clients that behave badly."""

from __future__ import annotations

import json
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatpipe.errors import CannotWrite, Status
from chatpipe.serve.request_log import RequestLog
from serve.client import FORM_TYPE, Running, chat_request, get, post, read_all, serving, statuses, upload_form
from support.patience import PATIENCE_S, until
from support.process import run, sh


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with serving() as running:
        yield running


@pytest.mark.parametrize(
    "arguments", [("ask", "hello there"), ("ask", "-f", "sse", "hello there"), ("models",)]
)
def test_answers_are_those_of_echo(server: Running, arguments: tuple[str, ...]) -> None:
    """The model has the same name in both requests, so the bodies are the same."""
    model = [] if arguments == ("models",) else ["-m", "echo"]
    ours = run(*arguments, *model, "--base-url", server.url)
    assert ours == run(*arguments, "-p", "echo")
    assert ours.status == 0


def test_replies_are_in_the_order_of_the_requests(server: Running) -> None:
    """A stream, a plain answer and an error, all sent in one piece."""
    data = server.exchange(
        chat_request("first", b"", stream=True)
        + chat_request("second", b"")
        + get("/nothing", b"")
        + get("/health")
    )
    assert statuses(data) == [200, 200, 404, 200]
    assert data.index(b"[DONE]") < data.index(b'"content":"second"') < data.index(b"unknown_url")


def test_a_thousand_requests_in_one_piece(server: Running) -> None:
    data = server.exchange(get("/health", b"") * 1000 + get("/health"))
    assert statuses(data) == [200] * 1001


def test_a_client_that_waits_for_100_continue(server: Running) -> None:
    with server.connect() as connection:
        whole = chat_request(headers=b"Expect: 100-continue\r\nConnection: close\r\n")
        head, _, body = whole.partition(b"\r\n\r\n")
        connection.sendall(head + b"\r\n\r\n")
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert statuses(read_all(connection)) == [200]


@pytest.mark.parametrize(
    ("sent", "status"),
    [(b"hello\r\n\r\n", 400), (get("/", b"X: " + b"a" * 400_000), 431)],
    ids=["garbage", "long head"],
)
def test_what_cannot_be_read_is_refused_and_the_connection_closed(
    server: Running, sent: bytes, status: int
) -> None:
    data = server.exchange(sent)
    assert statuses(data) == [status]
    assert b"connection: close" in data
    assert json.loads(data.partition(b"\r\n\r\n")[2])["error"]["type"] == "invalid_request_error"


def test_a_body_without_end_is_refused_while_it_is_sent() -> None:
    """The client reads the reply, although it never stops sending before that."""
    with serving("--max-body", "100kB") as server, server.connect() as connection:
        connection.sendall(
            post(b"")[:-2].replace(b"Content-Length: 0", b"Transfer-Encoding: chunked") + b"\r\n"
        )
        for _ in range(200):
            connection.sendall(b"1000\r\n" + b"a" * 4096 + b"\r\n")
        assert statuses(connection.recv(1000)) == [413]


@pytest.mark.parametrize(
    ("framing", "split"),
    [
        (b"Content-Length: %d\r\n\r\n%b", 9),
        (b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n", 1 << 20),
    ],
)
def test_an_upload_beyond_the_largest_body_and_a_part_of_it(framing: bytes, split: int) -> None:
    """An upload has a limit of its own, because none of it is kept in memory."""
    data = b"".join(b'{"line":%d}\n' % n for n in range(200_000))
    form = upload_form(data, purpose="batch")
    head = b"POST /v1/files HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%b" % FORM_TYPE
    with serving("--max-body", "1kB") as server:
        whole = head + framing % (len(form), form)
        file = json.loads(server.exchange(whole[:-split], whole[-split:]).partition(b"\r\n\r\n")[2])
        assert file["bytes"] == len(data)
        path = f"/v1/files/{file['id']}/content"
        assert server.exchange(get(path)).partition(b"\r\n\r\n")[2] == data
        part = server.exchange(get(path, b"Range: bytes=2000000-\r\nConnection: close\r\n"))
        assert part.partition(b"\r\n\r\n")[2] == data[2_000_000:]


def test_a_download_that_is_left_and_an_upload_that_is(server: Running) -> None:
    """The server goes on, and answers others."""
    form = upload_form(b"a" * 5_000_000, purpose="user_data")
    head = b"POST /v1/files HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n%b\r\n" % (
        len(form),
        FORM_TYPE,
    )
    with server.connect() as connection:
        connection.sendall(head + form[:2_000_000])
    with server.connect() as connection:
        connection.sendall(head + form)
        (id_,) = re.findall(rb'"id":"(file-\w+)"', connection.recv(1000))
        connection.sendall(get(f"/v1/files/{id_.decode()}/content", b""))
        connection.recv(1000)
    assert statuses(server.exchange(get(f"/v1/files/{id_.decode()}"))) == [200]


def test_a_thousand_connections_and_64_streams_at_once(server: Running) -> None:
    connections = [server.connect() for _ in range(1000)]
    text = " ".join(["word"] * 500)
    for connection in connections[:64]:
        connection.sendall(chat_request(text, stream=True))
    for connection in connections[64:]:
        connection.sendall(get("/health"))
    replies = [read_all(connection) for connection in connections]
    assert all(reply.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n") for reply in replies[:64])
    assert all(statuses(reply) == [200] for reply in replies)
    for connection in connections:
        connection.close()


def test_a_slow_reader_holds_its_own_stream_only(server: Running) -> None:
    """A stream of 50 MB, not read: the server stops writing, and keeps on answering others."""
    with server.connect() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.sendall(chat_request(" ".join(["word"] * 200_000), stream=True))
        assert slow.recv(1) == b"H"
        assert statuses(server.chat()) == [200]
        status = Path(f"/proc/{server.process.pid}/status").read_text(encoding="ascii")
        resident = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert resident is not None
        assert int(resident[1]) < 150_000


def test_a_client_that_leaves_the_queue_or_a_slot_frees_it() -> None:
    with serving("--slots", "1", "--queue", "--chunk-delay", "1h") as server:
        first, second, third = (server.connect() for _ in range(3))
        first.sendall(chat_request(stream=True))
        assert first.recv(1) == b"H"
        second.sendall(chat_request("never answered"))
        third.sendall(chat_request("answered"))
        server.until(b"requests_waiting", 2)
        second.close()
        server.until(b"requests_waiting", 1)
        first.close()
        assert b"answered" in read_all(third)
        server.until(b"requests_running", 0)
        third.close()


def test_a_client_of_ours_waits_as_it_is_told() -> None:
    """600 a minute are one in 0.1 s: the last five of 605 wait for a moment."""
    lines = "".join(f'{{"messages":[{{"role":"user","content":"{n}"}}]}}\n' for n in range(605))
    with serving("--rpm", "600", "--dialect", "azure") as server:
        arguments = ("batch", "-m", "echo", "--base-url", server.url, "-f", "string", "-j", "32")
        done = run(*arguments, stdin=lines.encode())
    assert (done.status, done.stdout.count(b"\n")) == (0, 605)


# Start and end


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGTERM, 0), (signal.SIGINT, -signal.SIGINT), (signal.SIGHUP, -signal.SIGHUP)],
)
def test_a_signal_ends_it_within_a_second(number: int, status: int) -> None:
    """Although a stream is being written, a connection is idle, and a request is not complete."""
    with serving("--chunk-delay", "1h") as server, server.connect() as stream, server.connect() as half:
        idle = server.connect()
        stream.sendall(chat_request(stream=True))
        assert stream.recv(1) == b"H"
        half.sendall(b"POST / HT")
        began = time.monotonic()
        server.process.send_signal(number)
        assert server.process.wait() == status
        assert time.monotonic() - began < PATIENCE_S  # a second, and room for a busy machine
        assert server.process.communicate() == (b"", b"chatpipe: 1 request (1 stopped)\n")
        assert read_all(idle) == b""
        idle.close()


def test_a_pattern_that_takes_years_does_not_keep_the_server_from_the_next_request() -> None:
    schema = {"type": "string", "pattern": "^(a+)+$"}
    format_ = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    with serving() as server:
        data = server.exchange(chat_request("a" * 50 + "b", b"", response_format=format_) + get("/health"))
    assert statuses(data) == [200, 200]
    assert b'"content":"null"' in data


def test_a_signal_ends_it_although_a_reply_takes_for_ever() -> None:
    """A pattern of a schema that needs seconds for its text: the reply before it shows that it has begun."""
    schema = {"type": "string", "pattern": "^(a+)+$"}
    format_ = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    with serving() as server, server.connect() as client:
        slow = chat_request("a" * 50 + "b", response_format=format_)
        client.sendall(chat_request("at once", b"", stream=True) + slow)
        data = b""
        while b"[DONE]" not in data:
            data += client.recv(1 << 16)
        server.process.terminate()
        assert server.process.wait() == 0


def test_a_reply_that_is_nearly_done_is_finished_at_the_end() -> None:
    with serving("--chunk-delay", "50ms") as server, server.connect() as stream:
        stream.sendall(chat_request(stream=True))
        assert stream.recv(1) == b"H"
        server.process.terminate()
        assert read_all(stream).endswith(b"[DONE]\n\n\r\n0\r\n\r\n")
        assert server.process.wait() == 0


def test_a_port_in_use_is_one_line(server: Running) -> None:
    done = run("serve", "--port", str(server.port))
    what = f"chatpipe: --port: port {server.port} is in use: choose another one, or 0 for any\n"
    assert done == (69, b"", what.encode())


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        (("--host", "a.invalid"), 78, "--host: 'a.invalid' is not an address of this machine: "),
        (("--host", "192.0.2.1"), 78, "--host: cannot listen at '192.0.2.1': "),
        (("--require-key-env", "NO_SUCH"), 77, "--require-key-env: variable 'NO_SUCH' is not set: "),
        (
            ("--log", "/no/such/folder/log"),
            74,
            "/no/such/folder/log: cannot write: no such file or directory",
        ),
        (("--port", "65536"), 2, "invalid value for '--port': '65536' is not a port, 0 to 65535"),
        (
            ("--chunk-delay", "fast"),
            2,
            "invalid value for '--chunk-delay': 'fast' is not a time, such as 50ms or 1.5s",
        ),
    ],
)
def test_what_it_cannot_start_with(arguments: tuple[str, ...], status: int, line: str) -> None:
    done = run("serve", *arguments)
    assert (done.status, done.stdout) == (status, b"")
    assert done.stderr.decode().startswith(f"chatpipe: {line}")
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    ("command", "status", "stderr"),
    [
        ("chatpipe serve >&-", 74, b"chatpipe: stdout is closed: redirect it: the URL is written there\n"),
        (
            "chatpipe serve --log x >x",
            2,
            b"chatpipe: --log: 'x' is standard output, too: write to another file\n",
        ),
        (
            "chatpipe serve >/dev/full",
            74,
            b"chatpipe: stdout: cannot write: no space left on device: free some space\n",
        ),
    ],
)
def test_a_stdout_that_takes_no_url(command: str, status: int, stderr: bytes, tmp_path: Path) -> None:
    done = sh(command, cwd=tmp_path)
    assert (done.status, done.stderr) == (status, stderr)


# The key and the log


def test_the_key_is_required_and_never_shown(tmp_path: Path) -> None:
    log = tmp_path / "log"
    key = "k-0123456789abcdef"
    with serving("--require-key-env", "KEY", "--log", str(log), env={"KEY": f" {key}\n"}) as server:
        assert statuses(server.chat()) == [401]
        headers = f"Authorization: Bearer {key}\r\nConnection: close\r\n".encode()
        assert statuses(server.exchange(get(f"/v1/models?key={key}", headers))) == [200]
        server.process.terminate()
        assert key.encode() not in b"".join(server.process.communicate()) + log.read_bytes()


def test_log_has_a_line_for_each_request(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\n", encoding="ascii")
    with serving("--log", str(log), "--chunk-delay", "1h") as server:
        assert statuses(server.chat()) == [200]
        server.exchange(b"hello\r\n\r\n")
        with server.connect() as leaver:
            leaver.sendall(chat_request(stream=True))
            assert leaver.recv(1) == b"H"
        assert statuses(server.exchange(get("/nothing?a=b"))) == [404]
        server.process.terminate()
        assert server.process.wait() == 0
    before, *lines = log.read_text(encoding="utf-8").splitlines()
    assert before == "before"
    records = [json.loads(line) for line in lines]
    shown = [(each["method"], each["path"], each["status"], each["complete"]) for each in records]
    assert sorted(shown, key=str) == [
        ("GET", "/nothing", 404, True),
        ("POST", "/v1/chat/completions", 200, False),
        ("POST", "/v1/chat/completions", 200, True),
        (None, None, 400, True),
    ]
    assert all(each["bytes"] > 0 and each["duration_s"] >= 0 for each in records)
    assert {each["request_id"][:4] for each in records if each["method"] == "POST"} == {"req_"}


def test_a_log_that_is_moved_or_removed_is_followed_by_another_one(tmp_path: Path) -> None:
    """As logrotate does it, with and without SIGHUP to a service."""
    log, moved = tmp_path / "log", tmp_path / "log.1"
    with serving("--log", str(log), start_new_session=True) as server:
        server.chat("one")
        until(lambda: lines_of(log) == 1)
        log.rename(moved)
        server.process.send_signal(signal.SIGHUP)
        server.chat("two")
        server.chat("three")
        until(lambda: (lines_of(moved), lines_of(log)) == (1, 2))
        log.unlink()
        server.chat("four")
        until(lambda: lines_of(log) == 1)
        server.process.terminate()
        assert server.process.wait() == 0


def lines_of(log: Path) -> int:
    return log.read_bytes().count(b"\n") if log.exists() else 0


def test_a_log_that_cannot_be_written_leaves_the_replies_and_is_the_end_s_status() -> None:
    with serving("--log", "/dev/full") as server:
        assert [statuses(server.chat(text)) for text in ("one", "two")] == [[200], [200]]
        server.process.terminate()
        status, (_, stderr) = server.process.wait(), server.process.communicate()
    full = "/dev/full: cannot write: no space left on device"
    assert stderr.decode().splitlines() == [
        f"chatpipe: warning: {full}: free some space: further requests are missing from the log",
        "chatpipe: 2 requests (2 answered): nothing is wrong with the client",
        f"chatpipe: {full}: the log lacks 2 lines: free some space",
    ]
    assert status == Status.CANNOT_WRITE


def test_a_torn_line_of_a_log_stands_alone() -> None:
    written: list[bytes] = []

    class Output:
        def write(self, data: bytes) -> None:
            if not written:
                written.append(data[:5])
                raise CannotWrite("full")
            written.append(data)

    log = RequestLog(Output())
    with pytest.raises(CannotWrite):
        log.write({"a": "long"})
    log.write({"b": 2})
    log.write({"c": 3})
    assert b"".join(written).split(b"\n") == [b'{"a":', b'{"b":2}', b'{"c":3}', b""]


def test_verbose_has_a_line_for_each_request() -> None:
    with serving("-v", "--fault", "cut=0") as server:
        server.exchange(get("/health?key=1"))
        server.chat(stream=True)
        server.process.terminate()
        _, stderr = server.process.communicate()
    lines = stderr.decode().splitlines()
    assert re.fullmatch(r"chatpipe: GET /health: 200, \d+ bytes, \d+\.\d{3} s", lines[0])
    assert re.fullmatch(r"chatpipe: POST \S+: 200, \d+ bytes, \d+\.\d{3} s \(cut\)", lines[1])


def test_a_log_that_nobody_reads_any_more_ends_it_quietly() -> None:
    with serving("--log", "-") as server:
        assert server.process.stdout is not None
        server.process.stdout.close()
        server.chat()
        assert server.process.wait() == -signal.SIGPIPE
        assert server.process.stderr is not None
        assert server.process.stderr.read() == b""
