"""The environment of children holds no key: of any provider, of this call, of a proxy."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import orjson
import pytest

from chatpipe.server.children import child_environment
from chatpipe.server.profiles import secret_variables
from chatpipe.system import secrets
from support.process import run
from support.servers.loopback import completion, in_turn, reply, serve

KEY = "sk-Canary/0123456789"
PROXY = "http://user:pw@127.0.0.1:9"
LEFT_OUT = {
    **dict.fromkeys(sorted(secret_variables()), "any"),
    "MY_KEY": "named by the call",
    "COPY": KEY,
    "HEADER": f"Bearer {KEY}, and more",
    "BASIC": f"Basic {b64encode(f'user:{KEY}'.encode()).decode()}",
    "URL": "https://h.example/?key=sk-Canary%2F0123456789",
    "SHORT": "abc",
    **{f"{name}_proxy": PROXY for name in ("http", "https", "all")},
    **{f"{name}_PROXY": PROXY for name in ("HTTP", "HTTPS", "ALL")},
    "Ftp_Proxy": "user:pw@h.example:81",
}
KEPT = {
    "EMPTY": "",
    "LONGER": "abcd",
    "HALF": KEY[:10],
    "OP_SERVICE_ACCOUNT_TOKEN": "of another program",
    "AWS_SECRET_ACCESS_KEY": "of another program",
    "GIT_PROXY": "http://127.0.0.1:9",
    "no_proxy": "*",
    "MAIL": "a@b.example",
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_secret_is_left_out(name: str) -> None:
    for secret in (KEY, "abc"):
        secrets.add(secret)
    assert child_environment({name: LEFT_OUT[name], "KEPT": "x"}, frozenset({"MY_KEY"})) == {"KEPT": "x"}


@pytest.mark.parametrize("name", KEPT)
def test_everything_else_is_kept(name: str) -> None:
    for secret in (KEY, "abc"):
        secrets.add(secret)
    assert child_environment({name: KEPT[name]}, frozenset({"MY_KEY"})) == {name: KEPT[name]}


def names_in(text: str) -> set[str]:
    return {line.partition("=")[0] for line in text.splitlines()}


ENVIRON = {**LEFT_OUT, **KEPT, "OPENAI_API_KEY": KEY, "OPENAI_CUSTOM_HEADERS": "X-A: b"}
IN_A_CALL = set(LEFT_OUT) - {"MY_KEY", "SHORT"}  # which only the tests above make secrets


def test_a_tool_gets_none_of_them(folder: Path) -> None:
    (folder / "tool.json").write_bytes(orjson.dumps({"name": "look", "parameters": {"type": "object"}}))
    call = {"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    asks = reply(200, completion(None, message=message, finish_reason="tool_calls"))
    with serve(in_turn(asks, reply(200, completion("Fine.")))) as server:
        words = (
            "ask",
            "--base-url",
            server.url,
            "-m",
            "m",
            "--tool",
            "tool.json",
            "--exec",
            "look=env",
            "hi",
        )
        done = run(*words, env=ENVIRON, cwd=folder)
    assert (done.status, done.stdout) == (0, b"Fine.\n")
    seen = names_in(orjson.loads(server.requests[1].body)["messages"][-1]["content"])
    assert seen & IN_A_CALL == set()
    assert seen >= set(KEPT)


def test_the_command_that_prints_the_key_gets_none_of_them(folder: Path) -> None:
    """But for copies of the key, which is not known yet."""
    with serve() as server:
        words = (
            "ask",
            "--base-url",
            server.url,
            "-m",
            "m",
            "--key-command",
            "sh -c 'env > env; echo k'",
            "hi",
        )
        done = run(*words, env=ENVIRON, cwd=folder)
    assert done.status == 0
    seen = names_in((folder / "env").read_text())
    assert seen & (IN_A_CALL - {"COPY", "HEADER", "BASIC", "URL"}) == set()
    assert seen >= set(KEPT)
