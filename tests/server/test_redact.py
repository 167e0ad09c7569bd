from __future__ import annotations

import pytest

from chatpipe.server import redact
from chatpipe.system import secrets


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Authorization", "Bearer ***"),
        ("Proxy-Authorization", "Bearer ***"),
        ("api-key", "***"),
        ("X-API-Key", "***"),
        ("x-goog-api-key", "***"),
        ("Cookie", "***"),
        ("Set-Cookie", "***"),
        ("X-Auth-Token", "***"),
        ("X-Client-Secret", "***"),
        ("X-Password", "***"),
        ("X-Amz-Signature", "***"),
        ("Content-Type", "Bearer s3cret"),
        ("X-Request-Id", "Bearer s3cret"),
        ("x-ratelimit-remaining-tokens", "Bearer s3cret"),
        ("OpenAI-Project", "Bearer s3cret"),
    ],
)
def test_a_secret_header_is_hidden(name: str, shown: str) -> None:
    assert redact.header(name, "Bearer s3cret") == shown


def test_an_authorization_without_a_scheme_is_hidden_whole() -> None:
    assert redact.header("Authorization", "s3cret") == "***"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("sk-proj-0123456789abcdefABCDEF", "***"),
        ("a=sk-proj-0123456789abcdefABCDEF; b", "***"),
        ("sk-short", "sk-short"),
        ("task-0123456789abcdefABCDEF", "task-0123456789abcdefABCDEF"),
        ("req_0123456789abcdefABCDEF", "req_0123456789abcdefABCDEF"),
    ],
)
def test_a_value_that_has_the_form_of_a_key_is_hidden(value: str, shown: str) -> None:
    assert redact.header("X-Custom", value) == shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://h.example/v1/chat/completions", "https://h.example/v1/chat/completions"),
        ("https://user:s3cret@h.example:81/v1", "https://h.example:81/v1"),
        ("https://s3cret@h.example", "https://h.example"),
        ("https://a@s3cret@h.example", "https://h.example"),
        ("https://h.example/v1?key=s3cret&api-version=1", "https://h.example/v1"),
        ("https://h.example/v1#s3cret", "https://h.example/v1"),
        ("http://[::1]:81/v1?s3cret", "http://[::1]:81/v1"),
        ("http://s3cret@[::1/v1?s3cret", "[::1/v1"),
        ("http:/h.example/v1?s3cret", "http:/h.example/v1"),
        ("http:/h.example/v1#s3cret", "http:/h.example/v1"),
        ("", ""),
    ],
)
def test_secrets_in_a_url_are_hidden(url: str, shown: str) -> None:
    assert redact.url(url) == shown


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Authorization", "Bearer s3cret-value"),
        ("Authorization", "s3cret-value"),
        ("Authorization", "Basic dXNlcjpzM2NyZXQtdmFsdWU="),
        ("X-Api-Key", "s3cret-value"),
        ("X-Auth", "s3cret-value"),
        ("Cookie", "a=1; session=s3cret-value"),
    ],
)
def test_secret_of_a_header_is_hidden_from_now_on(name: str, value: str) -> None:
    redact.hide_headers([("X-Plain", "plain-value"), (name, value)])
    assert secrets.hide("s3cret-value plain-value") == "*** plain-value"


@pytest.mark.parametrize(
    "url",
    [
        "http://user:s3cret-value@h.example:81",
        "user:s3cret%2Dvalue@h.example:81",
        "http://s3cret-value@h.example",
        "https://h.example/v1?api-version=2024-10-21&key=s3cret-value",
        "https://h.example/v1?code=s3cret%2Dvalue",
    ],
)
def test_secret_of_a_url_is_hidden_from_now_on(url: str) -> None:
    redact.hide_url(url)
    assert secrets.hide("s3cret-value 2024-10-21 user h.example") == "*** 2024-10-21 user h.example"


def test_url_that_is_none_holds_no_secret() -> None:
    redact.hide_url("http://[::1")
    assert not secrets.are_known()


def test_header_of_a_reply_is_shown_without_our_secrets() -> None:
    secrets.add("s3cret-value")
    shown = redact.shown_header("x-s3cret-value", "a S3CRET-VALUE")
    assert shown == "x-***: a ***"
    assert redact.shown_header("set-cookie", "a=b") == "set-cookie: ***"
