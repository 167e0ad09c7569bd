from __future__ import annotations

import pytest

from chatpipe.server import redact


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
        ("", ""),
    ],
)
def test_secrets_in_a_url_are_hidden(url: str, shown: str) -> None:
    assert redact.url(url) == shown
