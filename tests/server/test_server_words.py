"""ServerOptions.words: the options with which another command finds the same server."""

from __future__ import annotations

import pytest

from chatpipe.options.server import KeySource, ServerOptions
from chatpipe.server.keys import KEY_WAYS

WAYS = {way.option: way for way in KEY_WAYS}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (ServerOptions(), ()),
        (
            ServerOptions("groq", keys=(KeySource(WAYS["--key-file"], "my key"),)),
            ("-p", "groq", "--key-file", "my key"),
        ),
        (
            ServerOptions(base_urls=("http://h/v1",), allow_http=True),
            ("--base-url", "http://h/v1", "--allow-http"),
        ),
        (ServerOptions(cacert="ca", insecure=True), ("--cacert", "ca", "--insecure")),
        (ServerOptions(keys=(KeySource(WAYS["--key-fd"], "3"),)), ()),  # it was read
        (ServerOptions(headers=("X-Key: secret",), proxy="http://user:secret@h"), ()),
    ],
)
def test_server_options_as_words_of_a_command(options: ServerOptions, words: tuple[str, ...]) -> None:
    assert options.words == words
