"""Secrets in texts about a failure: in every encoding, by their length, and nothing else."""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import quote

import orjson
import pytest

from chatpipe.system import secrets
from support.parametrize import cases

KEY = "sk-Canary/0123456789+abcDEF"
SPELT = "".join(f"\\u{ord(each):04x}" for each in KEY)
NAMED = "".join(f"&#{ord(each)};" for each in KEY)
BASIC = b64encode(f"user:{KEY}".encode()).decode()


@pytest.fixture(autouse=True)
def known() -> None:
    for secret in (KEY, "ollama", "1234", "abc", ""):
        secrets.add(secret)


@cases(
    ("text", "hidden"),
    {
        "as it is": (f"a {KEY}, b", "a ***, b"),
        "twice": (f"{KEY}{KEY} {KEY}", "*** ***"),
        "in another case": (f"x-{KEY.upper()}: 1", "x-***: 1"),
        "JSON escapes": (f'{{"a": "{SPELT}"}}', '{"a": "***"}'),
        "PHP's slash": (KEY.replace("/", "\\/"), "***"),
        "JSON in JSON": (KEY.replace("/", "\\\\\\/"), "***"),
        "an escape of other languages": (KEY.replace("-", "\\x2d"), "***"),
        "in a URL": (f"?key={quote(KEY, safe='')}&b=1", "?key=***&b=1"),
        "in a URL in a URL": (quote(f"?{quote(KEY, safe='')}", safe=""), "%3F***"),
        "HTML": (f"<p>{NAMED}</p>", "<p>***</p>"),
        "HTML, hexadecimal and named": (KEY.replace("-", "&#x2D;").replace("/", "&sol;"), "***"),
        "Basic": (f"Basic {BASIC}, b", "Basic ***, b"),
        "base64 of base64url": (b64encode(KEY.encode()).decode().translate({43: 45, 47: 95}), "***"),
        "hexadecimal": (KEY.encode().hex(), "***"),
        "over lines": (f"{KEY[:5]}\n  {KEY[5:]}", "***"),
        "over escaped lines": (f"{KEY[:5]}\\r\\n{KEY[5:]}", "***"),
        "base64 over lines": (f"{BASIC[:20]}\r\n{BASIC[20:]}", "***"),
        "over tags": (f"{KEY[:5]}<wbr>{KEY[5:]}", "***"),
        "over characters that nobody sees": (f"{KEY[:5]}\u200b\xad{KEY[5:]}", "***"),
        "cut at the end": (f"a {KEY[:-2]}", "a ***"),
        "a beginning that says nothing": (f"a {KEY[:6]}", f"a {KEY[:6]}"),
        "cut in the middle": (f"a {KEY[:-2]} b", f"a {KEY[:-2]} b"),
        "a word": ("key ollama, 'ollama' ollama.", "key ***, '***' ***."),
        "a part of a word": (
            "ollamas my-ollama 12345 1234-5 Ollama",
            "ollamas my-ollama 12345 1234-5 Ollama",
        ),
        "a number": ("port 1234", "port ***"),
        "too short to know": ("abc", "abc"),
        "nothing": ("100% \\ &amp; <b> =\ud800\udc80", "100% \\ &amp; <b> =\ud800\udc80"),
    },
)
def test_secret_is_hidden_in_what_a_server_says(text: str, hidden: str) -> None:
    assert secrets.hide(text) == hidden


def test_word_is_not_hidden_in_what_we_say() -> None:
    assert secrets.hide(f"ollama 1234 {KEY}", words=False) == "ollama 1234 ***"


@cases(
    ("body", "hidden"),
    {
        "values and names": ({KEY: [KEY, {"a": f"b {KEY}"}]}, {"***": ["***", {"a": "b ***"}]}),
        "words in values alone": ({"ollama": "ollama", "1234": 1234}, {"ollama": "***", "1234": 1234}),
        "the end of each string": ({"a": KEY[:-2], "b": "c"}, {"a": "***", "b": "c"}),
    },
)
def test_json_stays_json(body: object, hidden: object) -> None:
    assert orjson.loads(secrets.hide_body(orjson.dumps(body))) == hidden


def test_number_that_is_a_key_is_hidden() -> None:
    secrets.add("1234567890")
    assert secrets.hide_body(b'{"key": 1234567890}') == b'{"key":"***"}'


@cases(
    ("body", "hidden"),
    {
        "untouched": (b'{ "a": 1.50 }', b'{ "a": 1.50 }'),
        "no JSON": (f"<b>{KEY}".encode(), b"<b>***"),
        "not UTF-8": (b"\xff" + KEY.encode(), b"\xff***"),
        "nested deeply": (
            b"[" * 2000 + f'"{KEY}"'.encode() + b"]" * 2000,
            b"[" * 2000 + b'"***"' + b"]" * 2000,
        ),
        "long": (b'"' + b"x" * 99_999 + KEY.encode() + b'"', b'"' + b"x" * 99_999 + b'***"'),
    },
)
def test_body_keeps_the_rest_of_its_bytes(body: bytes, hidden: bytes) -> None:
    assert secrets.hide_body(body) == hidden


def test_nothing_is_hidden_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "_known", [])
    assert not secrets.are_known()
    assert secrets.hide(KEY) == KEY
    assert secrets.hide_body(KEY.encode()) == KEY.encode()
