"""A canary in every place where a secret is given: nothing that a command writes or starts has it.

All canaries have CANARY in them, so that one search finds any.
"""

from __future__ import annotations

import shlex
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import orjson
import pytest

from chatpipe.errors import Status
from chatpipe.server.keys import KEY_WAYS, KEYRING
from chatpipe.server.profile_rules import KEY_SETTINGS
from chatpipe.server.profiles import secret_variables
from manual import commands
from support.leaks import has_key
from support.process import Done, run, sh
from support.servers.loopback import Answer, Handler, Request, completion, reply, serve

CANARY = "Canary/0123456789+abcDEF"
# Copies itself, that is its arguments and its environment, into a file.
SPY = "tr '\\0' '\\n' </proc/$$/cmdline >>seen\ntr '\\0' '\\n' </proc/$$/environ >>seen\n"
TOOL = {"name": "f", "parameters": {"type": "object"}}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CALLING = {"role": "assistant", "content": None, "tool_calls": [CALL]}
OURS = (
    "key",
    "headers",
    "tool",
    "tool.json",
    "print-key",
    "in.jsonl",
    "lines.jsonl",
    "answers.jsonl",
    "rows.csv",
    "config.toml",
)
WAYS = {
    "--key-file": ("--key-file", "key"),
    "--key-command": ("--key-command", "./print-key"),
    "--key-fd": ("--key-fd", "7"),
    "--key-env": ("--key-env", "MY_KEY"),
    "OPENAI_API_KEY": (),
    "CHATPIPE_API_KEY": (),
    "AZURE_OPENAI_API_KEY": ("-p", "azure"),
    "AZURE_OPENAI_AD_TOKEN": ("-p", "azure"),
    "profile: key_file": ("-p", "mine"),
    "profile: key_command": ("-p", "mine"),
    "profile: key_env": ("-p", "mine"),
    "profile: servers": ("-p", "mine"),
}
SETTINGS = {
    "profile: key_file": 'base_url = "{url}"\nkey_file = "key"',
    "profile: key_command": 'base_url = "{url}"\nkey_command = "./print-key"',
    "profile: key_env": 'base_url = "{url}"\nkey_env = ["NOT_SET", "MY_KEY"]',
    "profile: servers": (
        'base_urls = [{{url = "{url}", key_file = "key", headers = {{X-Token = "{secret}"}}}}]'
    ),
}
HEADERS = (
    "-H",
    f"X-Api-Token: h1-{CANARY}",
    "-H",
    f"Cookie: a=1; session=h2-{CANARY}",
    "--header-file",
    "headers",
)
SHOWN = ("-v", "--debug", "--error-format", "json", "--retries", "0")
RUN = ("-o", "out", "--journal", "j", "--report", "report", "--errors", "errors", "--progress", "json")
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "ask": (
        "ask",
        "-m",
        "m",
        *SHOWN,
        "-o",
        "out",
        "-M",
        "out.d",
        "--transcript",
        "talk",
        "--pace-file",
        "pace",
        "hi",
    ),
    "ask --record": ("ask", "-m", "m", *SHOWN, "--record", "recording", "hi"),
    "batch --record": ("batch", "-m", "m", "in.jsonl", "--record", "recording", "--replay", "recording"),
    "ask, with a tool": ("ask", "-m", "m", *SHOWN, "--tool", "tool.json", "--exec", "f=./tool", "hi"),
    "ask, on stdout": ("ask", "-m", "m", "-f", "chunks", "--stream", "--retries", "0", "hi"),
    "batch": ("batch", "-m", "m", "in.jsonl", *SHOWN, *RUN, "--pace-file", "pace"),
    "map": ("map", "-m", "m", "{{a}}", "rows.csv", "--csv", "--into", "b", *SHOWN, *RUN),
    "build": ("build", "-m", "m", "hi"),
    "build -f batch": ("build", "-m", "m", "-f", "batch", "hi"),
    "build -f curl": ("build", "-m", "m", "-f", "curl", "hi"),
    "jobs submit": ("jobs", "submit", "lines.jsonl", *SHOWN, "--settle", "0.1"),
    "jobs results": ("jobs", "results", "b", *SHOWN, "-o", "out"),
    "models": ("models", "-f", "tsv", *SHOWN),
    "models --save": ("models", "--save", *SHOWN),
    "config show": ("config", "show", "-m", "m"),
    "config show --json": ("config", "show", "-m", "m", "--json"),
    "config check": ("config", "check", "-m", "m", "--call"),
    "check": ("check", "in.jsonl"),
    "show": ("show", "answers.jsonl"),
}
OFFLINE = ("check", "show")
SILENT = (*OFFLINE, "config show", "config show --json", "build", "build -f batch", "build -f curl")


def good(request: Request) -> Answer:
    path = request.target.partition("?")[0]
    if path.endswith("/files"):
        return reply(200, {"id": "file-1"})
    if path.endswith("/content"):
        return reply(200, {"custom_id": "a", "response": {"status_code": 200, "body": str(request.headers)}})
    if "/batches" in path:
        return reply(200, {"id": "b", "status": "completed", "output_file_id": "file-2"})
    if request.method == "GET":
        return reply(200, {"data": [{"id": "m"}]})
    has_result = any(each["role"] == "tool" for each in request.json()["messages"])
    has_tool = "tools" in request.json() and not has_result
    return reply(
        200, completion(None, message=CALLING, finish_reason="tool_calls") if has_tool else completion("ok")
    )


def sent_back(request: Request) -> Answer:
    """All that has come, as it stands, percent-encoded, in base64, as JSON in JSON."""
    text = f"{request.target} {request.headers}"
    forms = [text, quote(text), b64encode(text.encode()).decode(), orjson.dumps({"a": text}).decode()]
    return reply(
        400, {"error": {"message": " | ".join(forms), "code": text, "param": forms}}, {"x-echo": text}
    )


MODES: Mapping[str, Handler] = {"answered": good, "refused": sent_back}


def prepare(folder: Path) -> None:
    (folder / "key").write_text(f"key-{CANARY}\nlogin: me\n")
    (folder / "headers").write_text(f"X-Secret: h3-{CANARY}\nAuthorization-Info: Basic {basic('h4')}\n")
    (folder / "tool").write_text(f"#!/bin/sh\n{SPY}echo done\n")
    (folder / "print-key").write_text(f"#!/bin/sh\n{SPY}cat key\n")
    for name in ("tool", "print-key"):
        (folder / name).chmod(0o755)
    (folder / "tool.json").write_bytes(orjson.dumps(TOOL))
    message = {"role": "user", "content": "hi"}
    (folder / "in.jsonl").write_bytes(orjson.dumps({"model": "m", "messages": [message]}) + b"\n")
    line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "m"}}
    (folder / "lines.jsonl").write_bytes(orjson.dumps(line) + b"\n")
    (folder / "answers.jsonl").write_bytes(orjson.dumps(completion("ok")) + b"\n")
    (folder / "config.toml").touch()
    (folder / "rows.csv").write_text("a\nhi\n")


def basic(name: str) -> str:
    return b64encode(f"{name}:{CANARY}".encode()).decode()


def environment(url: str, way: str) -> dict[str, str]:
    """Keys of all providers, and the place of the server in the variables that its kind of key needs."""
    keys = {name: f"{name}-{CANARY}" for name in (*secret_variables(), "MY_KEY")}
    keys["OPENAI_CUSTOM_HEADERS"] = f"X-Auth-Token: c1-{CANARY}\nX-Plain: p"
    url = f"{url}?key={quote(f'q-{CANARY}', safe='')}"
    if way.startswith("AZURE"):
        if way == "AZURE_OPENAI_API_KEY":
            del keys["AZURE_OPENAI_AD_TOKEN"]
        return {**keys, "AZURE_OPENAI_ENDPOINT": url, "OPENAI_API_VERSION": "2024-10-21"}
    names = {"CHATPIPE_API_KEY": "CHATPIPE_BASE_URL"}
    return {
        **keys,
        names.get(way, "OPENAI_BASE_URL"): url,
        "XDG_DATA_HOME": str(Path.cwd()),
        "CHATPIPE_CONFIG": "config.toml",
    }


def arguments(command: str, way: str, proxy: str) -> tuple[str, ...]:
    words = COMMANDS[command]
    if command in OFFLINE:
        return words
    through = ("--proxy", proxy.replace("//", f"//u:{quote(f'p-{CANARY}', safe='')}@")) if proxy else ()
    return (words[0], *WAYS[way], *HEADERS, *through, *words[1:])


def configure(folder: Path, way: str, url: str) -> None:
    """A profile with a secret header, and a password in its query."""
    secret = f"s1-{CANARY}"
    url = f"{url}?key={quote(f's2-{CANARY}', safe='')}"
    settings = SETTINGS.get(way, "").format(url=url, secret=secret)
    text = f"[profiles.mine]\n{settings}\n[profiles.mine.headers]\nX-Api-Secret = '{secret}'\n"
    (folder / "config.toml").write_text(text if settings else "")


def leaks(folder: Path, done: Done) -> list[tuple[str, list[bytes]]]:
    """All places that have a canary, each with its lines."""
    left = {
        path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name not in OURS
    }
    texts = {"stdout": done.stdout, "stderr": done.stderr, **left}
    return [
        (where, [line for line in data.splitlines() if has_key(line, CANARY)] or [data])
        for where, data in texts.items()
        if has_key(data, CANARY)
    ]


def check(command: str, way: str, mode: str, folder: Path, *, proxied: bool) -> None:
    prepare(folder)
    with serve(MODES[mode]) as server:
        configure(folder, way, server.url)
        words = arguments(command, way, server.origin if proxied else "")
        env = environment(server.origin if way.startswith("AZURE") else server.url, way)
        if way == "--key-fd":
            done = sh(f"chatpipe {shlex.join(words)} 7<key", env=env, cwd=folder)
        else:
            done = run(*words, env=env, cwd=folder)
        assert leaks(folder, done) == []
        if command not in SILENT:
            assert any(has_key(str(each.headers).encode(), CANARY) for each in server.requests), done.stderr
        assert (done.status == 0) == (mode == "answered"), done.stderr


def test_every_command_and_every_way_has_a_row() -> None:
    """The others take no key."""
    assert {words[0] for words in COMMANDS.values()} == {*commands.COMMANDS} - {"completion", "man", "serve"}
    settings = {f"profile: {name}" for name in KEY_SETTINGS if name != KEYRING.parameter}
    assert {*WAYS} >= {way.option for way in KEY_WAYS} | settings


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_writes_a_secret(command: str, folder: Path) -> None:
    check(command, "--key-file", "answered", folder, proxied=False)


@pytest.mark.parametrize("command", [command for command in COMMANDS if command not in SILENT])
def test_no_command_writes_what_a_server_sends_back(command: str, folder: Path) -> None:
    check(command, "--key-file", "refused", folder, proxied=True)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("command", ["ask, with a tool", "build -f curl", "config show"])
def test_no_way_to_give_a_key_shows_it(command: str, way: str, folder: Path) -> None:
    check(command, way, "answered", folder, proxied=False)
    if command not in SILENT:
        assert "tool" in Path("seen").read_text()


CRASHES = {
    "ask": (
        "server.endpoints:_endpoint",
        "server.keys:_key_in",
        "server.server:_add_key",
        "server.server:proxy_for",
        "prepare:draft",
        "wire.transports:_parse_proxy",
        "exchange:_attempt",
        "exchange:_show_request",
        "wire.sync:_BlockingLink.begin",
        "wire.http1:ReplyParser.on_header",
        "output.delivery:Delivery.finish",
        "output.text:TextWriter.end",
    ),
    "ask, with a tool": ("conversation.setup:child_environment",),
    "batch": (
        "batch.channel:open_transport",
        "batch.sender:Sender.send",
        "wire.pool:_SharedParts.encode",
        "batch.driver:Driver.answered",
        "batch.journal.journal:Journal.append",
        "batch.end:write_report",
    ),
    "build -f curl": ("output.curl:_connection_options", "output.curl:_key_words", "server.server:_add_key"),
    "models": (
        "wire.server_requests:get_request",
        "models.connections:with_key",
        "models.printer:ModelPrinter._row",
    ),
    "models --save": ("models.inquiry:keep",),
    "config check": ("models.connections:with_key",),
}


@pytest.mark.parametrize(
    ("command", "place"), [(command, place) for command, places in CRASHES.items() for place in places]
)
def test_no_crash_shows_a_secret(command: str, place: str, folder: Path) -> None:
    """Though the words of the exception have all arguments of the function."""
    prepare(folder)
    with serve(good) as server:
        env = environment(server.url, "--key-file") | {"STRIKE": f"chatpipe.{place},1,crash"}
        words = arguments(command, "--key-file", "")
        done = run(*words, *(() if "--debug" in words else ("--debug",)), env=env, cwd=folder)
    assert b"a bug at (" in done.stderr
    assert done.status == Status.BUG
    assert leaks(folder, done) == []
