"""A key that expires during a run: its command is asked once more each time, and nobody else is."""

from __future__ import annotations

import asyncio
import signal
import threading
import traceback
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import orjson
import pytest

from batch.runs import Run, batch, jsonl, prompt, started, without_get
from chatpipe.batch.key_renewal import KeyRenewal
from chatpipe.errors import NoAccess
from chatpipe.limits.run_pacer import RunWaits
from chatpipe.wire import answer as exchange_answer
from support import process
from support.parametrize import cases
from support.servers.loopback import Answer, Handler, Pause, Request, WaitFor, completion, error, reply, serve
from support.speed import at_any_speed

OLD, NEW = "sk-old-key-0123456789", "sk-new-key-0123456789"
# Prints OLD the first time, then what follows it, one line each.
COMMAND = """#!/bin/sh
echo x >>calls
line=$(sed -n "$(wc -l <calls)p" keys)
case $line in !*) eval "${line#!}";; *) echo "$line";; esac
"""
ARGUMENTS = ("--key-command", "./key")


class Expiry:
    """Takes the first key for so many requests, then only what is in valid. It counts all prompts, by key."""

    def __init__(
        self, old: int, valid: tuple[str, ...] = (NEW,), status: int = 401, first: str = OLD
    ) -> None:
        self.old = old
        self.first = first
        self.valid = valid
        self.status = status
        self.answered: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    def __call__(self, request: Request) -> Answer:
        key = request.headers.get("authorization", "").removeprefix("Bearer ") or request.headers["api-key"]
        if key == self.first and self.old:
            self.old -= 1
        elif key not in self.valid:
            self.refused[key] += 1
            return error(self.status, f"{key} has expired")
        self.answered[prompt(request)] += 1
        return [Pause(0.005), reply(200, completion("ok"))]


@pytest.fixture
def keys(folder: Path) -> Path:
    """The file of what the command prints, call by call."""
    (folder / "key").write_text(COMMAND)
    (folder / "key").chmod(0o755)
    return folder / "keys"


def run(server: Handler, keys: Path, *options: str, lines: int = 40) -> tuple[Run, int]:
    """A run, and how often the command was called."""
    stdin = jsonl(*(f"p{number}" for number in range(lines)))
    done = batch(*ARGUMENTS, *options, stdin=stdin, handler=server, cwd=keys.parent)
    calls = keys.parent / "calls"
    return done, calls.read_text().count("x") if calls.exists() else 0


@pytest.mark.parametrize("options", [(), ("-j1",), ("-j40",), ("-jauto",), ("--retries", "0")])
def test_new_key_answers_all_lines_and_no_try_is_used_up(options: tuple[str, ...], keys: Path) -> None:
    keys.write_text(f"{OLD}\n{NEW}\n")
    server = Expiry(old=10)
    done, calls = run(server, keys, *options, "--report", "report")
    assert (done.status, done.stderr, calls) == (0, b"", 2)
    assert set(server.answered.values()) == {1}
    assert len(server.answered) == 40
    assert orjson.loads((keys.parent / "report").read_bytes())["retries"] == server.refused[OLD]
    assert server.refused[OLD] >= 1
    assert {record["chatpipe"]["attempts"] for record in done.records} == {1}


# Tokens of Entra, each of which is a bearer token at Azure, where keys go by another header.
TOKENS = ("eyJhbGciOi.eyJvbGQi.c2ln", "eyJhbGciOi.eyJuZXci.c2ln")
PROFILE = '[profiles.mine]\nkey_command = "./key"\nbase_url = "{url}"\n'
SERVERS = '[profiles.mine]\nkey_command = "./key"\nbase_urls = ["{url}", "{url}/a"]\n'
AZURE = '[profiles.mine]\nlike = "azure"\nkey_command = "./key"\nbase_url = "{origin}/openai/v1"\n'


@cases(
    "words, configuration, printed",
    {
        "a profile": (("-p", "mine"), PROFILE, (OLD, NEW)),
        "a profile of two servers": (("-p", "mine"), SERVERS, (OLD, NEW)),
        "the option at Azure": (("-p", "azure", *ARGUMENTS), "", TOKENS),
        "a profile of Azure": (("-p", "mine"), AZURE, TOKENS),
        "at Azure, a key behind a token": (("-p", "azure", *ARGUMENTS), "", (TOKENS[0], NEW)),
    },
)
def test_key_of_a_profile_is_renewed(
    words: tuple[str, ...], configuration: str, printed: tuple[str, str], keys: Path
) -> None:
    keys.write_text("\n".join(printed) + "\n")
    expiry = Expiry(10, (printed[1],), first=printed[0])
    headers: set[str] = set()

    def handler(request: Request) -> Answer:
        headers.update({"api-key", "authorization"} & request.headers.keys())
        return expiry(request)

    folder = keys.parent
    with serve(without_get(handler)) as server:
        (folder / "config.toml").write_text(configuration.format(url=server.url, origin=server.origin))
        env = {"CHATPIPE_CONFIG": "config.toml", "AZURE_OPENAI_ENDPOINT": server.origin}
        stdin = jsonl(*(f"p{number}" for number in range(40)))
        done = process.run("batch", "-j4", "-m", "m", *words, stdin=stdin, env=env, cwd=folder)
    assert (done.status, done.stderr) == (0, b"")
    assert (len(expiry.answered), set(expiry.answered.values())) == (40, {1})
    is_key_at_azure = printed == (TOKENS[0], NEW)
    assert headers == ({"authorization", "api-key"} if is_key_at_azure else {"authorization"})
    assert (folder / "calls").read_text().count("x") == 2


def test_a_401_before_the_first_answers_waits_for_them(keys: Path) -> None:
    keys.write_text(f"{OLD}\n{NEW}\n")
    refused, expiry = threading.Event(), Expiry(old=0)

    def handler(request: Request) -> Answer:
        if prompt(request) == "p0":
            return [WaitFor(refused), reply(200, completion("slow"))]
        answer = expiry(request)
        if expiry.refused[OLD] == 15:
            refused.set()
        return answer

    done = batch(*ARGUMENTS, "-j16", stdin=jsonl(*(f"p{number}" for number in range(40))), handler=handler)
    assert (done.status, expiry.refused[OLD], len(expiry.answered)) == (0, 15, 39)


@pytest.mark.parametrize("options", [("-j1",), ("-j8",), ("-j40",)])
def test_each_key_that_has_succeeded_is_renewed(options: tuple[str, ...], keys: Path) -> None:
    """A key that expires every hour, in a run of a day."""
    left = {f"sk-key-{number}-0123456789": 10 for number in range(5)}
    keys.write_text("\n".join(left) + "\n")
    answered: Counter[str] = Counter()

    def handler(request: Request) -> Answer:
        key = request.headers["authorization"].removeprefix("Bearer ")
        if not left[key]:
            return error(401, "it has expired")
        left[key] -= 1
        answered[prompt(request)] += 1
        return [Pause(0.005), reply(200, completion("ok"))]

    done, calls = run(handler, keys, *options)
    assert (done.status, done.stderr, calls) == (0, b"", 4)
    assert (len(answered), set(answered.values())) == (40, {1})
    assert {record["chatpipe"]["attempts"] for record in done.records} == {1}


def test_a_line_that_no_key_helps_is_refused(keys: Path) -> None:
    """Though each new key succeeds with other lines: its command does not run for ever."""
    keys.write_text(f"{OLD}\n" + f"{NEW}\n" * 40)

    def handler(request: Request) -> Answer:
        if prompt(request) == "p5":
            return [Pause(0.02), error(401, "not for you")]
        return [Pause(0.005), reply(200, completion("ok"))]

    done, calls = run(handler, keys, "-j4", lines=200)
    assert done.status == 77
    assert 2 <= calls <= 10
    assert b"not for you" in done.stderr


@at_any_speed
def test_a_deadline_ends_the_wait_for_the_new_key(factor: int, keys: Path) -> None:
    keys.write_text(f"{OLD}\n!exec sleep 600\n")
    keys.with_name("calls").unlink(missing_ok=True)
    done, calls = run(Expiry(old=10), keys, "-j1", "--deadline", f"{0.5 * factor}", lines=11)
    assert (done.status, calls) == (1, 2)
    [late] = [record for record in done.records if record["error"]]
    assert late["error"]["message"].endswith("within the deadline")


@cases(
    "old, printed, valid, calls",
    {
        "nothing has succeeded": (0, (OLD, NEW), (NEW,), 1),
        "the new key is refused": (10, (OLD, NEW, NEW), (), 2),
        "the command prints the same key": (10, (OLD, OLD), (), 2),
    },
)
def test_another_401_stops_the_run(
    old: int, printed: tuple[str, ...], valid: tuple[str, ...], calls: int, keys: Path
) -> None:
    keys.write_text("\n".join(printed) + "\n")
    server = Expiry(old, valid)
    done, called = run(server, keys)
    assert (done.status, called) == (77, calls)
    assert b"401 from" in done.stderr
    assert b"sk-" not in done.stderr + done.stdout
    assert len(server.answered) == old
    assert sum(server.refused.values()) <= 2 * 16  # what was in flight, with each key


@cases(
    "printed, why",
    {
        "fails": ("!exit 3", b"'./key' ended with status 3"),
        "prints nothing": ("!:", b"the key is empty"),
        "prints what is no key": ("no key", b"the first line has more than the key"),
    },
)
def test_command_that_prints_no_other_key_stops_the_run(printed: str, why: bytes, keys: Path) -> None:
    keys.write_text(f"{OLD}\n{printed}\n")
    server = Expiry(old=10)
    done, calls = run(server, keys)
    assert (done.status, calls) == (77, 2)
    assert b"--key-command: no new key after a 401: " + why in done.stderr
    assert len(server.answered) == 10
    assert sum(server.refused.values()) <= 16
    refused = [record for record in done.records if record["chatpipe"]["outcome"] == "http"]
    assert {record["error"]["code"] for record in refused} == {"http_401"}


def test_a_401_behind_the_end_of_the_command_has_its_reason_too() -> None:
    """Which of several refused requests ends the run must make no difference."""

    def read() -> httpx.Headers:
        raise NoAccess("the key is empty", place="--key-command")

    async def refused(_: object) -> tuple[exchange_answer.Answer, float]:
        fault = NoAccess("401 from 'http://h/v1'")
        fault.refusal_status = 401
        return exchange_answer.Answer(None, None, fault), 0.0

    async def late() -> exchange_answer.Answer:
        renewal = KeyRenewal(httpx.Headers(), read, pacer)
        renewal.key.has_succeeded = True
        renewal.begin(renewal.key)
        assert renewal._reading is not None
        await asyncio.wait([renewal._reading])
        for _ in range(3):
            answer, _ = await renewal.send(httpx.Request("POST", "http://h/v1"), send, refused)
            assert answer.fault is not None
            depths.add(len(traceback.extract_tb(answer.fault.__traceback__)))
        return answer

    pacer: Any = SimpleNamespace(waits=RunWaits(), rate=SimpleNamespace(repeats=0))
    send: Any = None
    depths: set[int] = set()  # of the tracebacks, which hold the requests
    fault = asyncio.run(late()).fault
    assert fault is not None
    assert len(depths) == 1
    assert (fault.place, fault.what) == ("--key-command", "no new key after a 401: the key is empty")


@cases("status", {"no permission": 403, "no credit": 402})
def test_only_a_401_asks_for_another_key(status: int, keys: Path) -> None:
    keys.write_text(f"{OLD}\n{NEW}\n")
    done, calls = run(Expiry(old=10, status=status), keys)
    assert (done.status != 0, calls) == (True, 1)


@cases("arguments", {"a file": ("--key-file", "file"), "a variable": ()})
def test_key_that_comes_another_way_is_read_once(arguments: tuple[str, ...], keys: Path) -> None:
    (keys.parent / "file").write_text(OLD)
    stdin = jsonl(*(f"p{number}" for number in range(40)))
    server = Expiry(old=10)
    done = batch(*arguments, stdin=stdin, handler=server, env={"OPENAI_API_KEY": OLD}, cwd=keys.parent)
    assert done.status == 77
    assert not server.refused[NEW]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_wait_for_the_new_key(number: signal.Signals, keys: Path) -> None:
    keys.write_text(f"{OLD}\n!echo $$ >pid; exec sleep 600\n")
    folder = keys.parent
    lines = jsonl(*(f"p{number}" for number in range(40)))
    with started(*ARGUMENTS, handler=Expiry(old=10), folder=folder, lines=lines) as (server, process):
        server.until(lambda: (folder / "pid").exists() and (folder / "pid").read_text())
        process.send_signal(number)
        process.communicate()
    assert process.returncode == -number
    assert not Path(f"/proc/{(folder / 'pid').read_text().strip()}").exists()


def test_answers_in_flight_arrive_while_the_command_runs(keys: Path) -> None:
    """The command ends only when they have arrived."""
    keys.write_text(f"{OLD}\n!until test -e go; do sleep 0.01; done; echo {NEW}\n")
    slow, expiry = threading.Event(), Expiry(old=10)

    def handler(request: Request) -> Answer:
        if prompt(request) != "p0":
            return expiry(request)
        return [WaitFor(slow), reply(200, completion("slow"))]

    lines = jsonl(*(f"p{number}" for number in range(40)))
    calls = keys.parent / "calls"
    with started(*ARGUMENTS, handler=handler, folder=keys.parent, lines=lines) as (server, process):
        server.until(lambda: calls.exists() and calls.read_text().count("x") == 2)
        slow.set()
        assert process.stdout is not None
        while b'"slow"' not in process.stdout.readline():
            pass
        (keys.parent / "go").touch()
        process.communicate()
    assert process.returncode == 0
    assert len(expiry.answered) == 39
