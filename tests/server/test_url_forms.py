"""Base URLs as people have them: what each is taken as, with a note or without, or why it is refused."""

from __future__ import annotations

import pytest

from chatpipe.errors import BadConfiguration, Status
from chatpipe.server.base_url import parse_base_url
from chatpipe.server.profile_file import base_url_at, base_url_of, built_in_names, read_profile
from chatpipe.server.url_forms import _DASHBOARDS
from support.parametrize import cases

GROQ = "https://api.groq.com/openai/v1"
AZURE = "https://me.openai.azure.com"
DEPLOYMENT = f"{AZURE}/openai/deployments/d"


def parsed(text: str) -> tuple[str, list[str]]:
    """The URL that a text is taken as, and the notes about it."""
    noted: list[str] = []
    return parse_base_url(text, "--base-url", noted.append).geturl(), noted


@cases(
    ("text", "url"),
    {
        "plain": ("https://a.example/v1", "https://a.example/v1"),
        "another path": ("https://a.example/api/paas/v4", "https://a.example/api/paas/v4"),
        "final slashes": ("https://a.example/v1//", "https://a.example/v1"),
        "blanks": (" \thttps://a.example/v1\n", "https://a.example/v1"),
        "case of the scheme": ("HTTPS://A.example/v1", "https://A.example/v1"),
        "fragment": ("https://a.example/v1#top", "https://a.example/v1"),
        "query": ("https://a.example/v1?a=b&c", "https://a.example/v1?a=b&c"),
        "route": ("https://a.example/v1/chat/completions", "https://a.example/v1"),
        "route, a slash, a query": ("https://a.example/v1/chat/completions/?x=y", "https://a.example/v1?x=y"),
        "route at the root": ("https://a.example/chat/completions", "https://a.example"),
        "route at a provider": ("https://api.groq.com/chat/completions", "https://api.groq.com"),
        "IPv6": ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
        "IPv6 with a zone": ("http://[fe80::1%25eth0]:8000/v1", "http://[fe80::1%25eth0]:8000/v1"),
        "model in the path": ("https://a.example/d/{model}", "https://a.example/d/{model}"),
        "escapes": ("https://a.example/%7Eu/v1", "https://a.example/%7Eu/v1"),
        "models as a base": ("https://a.example/team/models", "https://a.example/team/models"),
        "chat as a base": ("https://a.example/team/chat", "https://a.example/team/chat"),
        "api as a base": ("http://localhost:3000/api", "http://localhost:3000/api"),
        "twice, but no version": ("https://a.example/x/x", "https://a.example/x/x"),
        "a provider's other path": ("https://api.deepseek.com/beta", "https://api.deepseek.com/beta"),
        "Azure, v1": (f"{AZURE}/openai/v1/", f"{AZURE}/openai/v1"),
        "Azure, of the portal": (
            f"{DEPLOYMENT}/chat/completions?api-version=2024-10-21",
            f"{DEPLOYMENT}?api-version=2024-10-21",
        ),
        "Azure, models": (
            "https://me.services.ai.azure.com/models?api-version=2024-05-01-preview",
            "https://me.services.ai.azure.com/models?api-version=2024-05-01-preview",
        ),
    },
)
def test_right_form_is_taken_without_a_note(text: str, url: str) -> None:
    assert parsed(text) == (url, [])


@cases(
    ("text", "url"),
    {
        # No scheme
        "localhost": ("localhost/v1", "http://localhost/v1"),
        "localhost and port": ("localhost:8000/v1", "http://localhost:8000/v1"),
        "loopback": ("127.0.0.1/v1", "http://127.0.0.1/v1"),
        "private address": ("10.1.2.3/v1", "http://10.1.2.3/v1"),
        "IPv6 in brackets": ("[::1]:8000/v1", "http://[::1]:8000/v1"),
        "one label": ("gpu1/v1", "http://gpu1/v1"),
        "one label and port": ("gpu1:8000/v1", "http://gpu1:8000/v1"),
        "own network": ("gpu1.local/v1", "http://gpu1.local/v1"),
        "public name": ("llm.example.com/v1", "https://llm.example.com/v1"),
        "public name and port": ("llm.example.com:8000/v1", "http://llm.example.com:8000/v1"),
        "port of https": ("llm.example.com:8443/v1", "https://llm.example.com:8443/v1"),
        "public address": ("8.8.8.8/v1", "https://8.8.8.8/v1"),
        "slashes alone": ("//llm.example.com/v1", "https://llm.example.com/v1"),
        "scheme in the query": ("localhost/v1?a=http://b", "http://localhost/v1?a=http://b"),
        # A scheme that is torn
        "one slash": ("http:/localhost:8000/v1", "http://localhost:8000/v1"),
        "no slash": ("https:a.example/v1", "https://a.example/v1"),
        "no colon": ("https//a.example/v1", "https://a.example/v1"),
        "two": ("https://https://a.example/v1", "https://a.example/v1"),
        "two, the inner counts": ("https://http://localhost:8000/v1", "http://localhost:8000/v1"),
        # What is around it
        "quotes": ('"https://a.example/v1"', "https://a.example/v1"),
        "typographic quotes": ("“https://a.example/v1”", "https://a.example/v1"),
        "angle brackets": ("<https://a.example/v1>", "https://a.example/v1"),
        "quotes and blanks": ("' https://a.example/v1 '", "https://a.example/v1"),
        # The path
        "no path": ("http://localhost:8000", "http://localhost:8000/v1"),
        "a slash": ("http://localhost:8000/", "http://localhost:8000/v1"),
        "no path but a query": ("https://a.example?x=y", "https://a.example/v1?x=y"),
        "nothing but host and port": ("localhost:8080", "http://localhost:8080/v1"),
        "slashes inside": ("https://a.example//v1", "https://a.example/v1"),
        "v1 twice": ("https://a.example/v1/v1", "https://a.example/v1"),
        "v1 three times": ("https://a.example/v1/v1/v1", "https://a.example/v1"),
        "route twice": (
            "https://a.example/v1/chat/completions/chat/completions",
            "https://a.example/v1",
        ),
        "v1 and route twice": (
            "https://a.example/v1/chat/completions/v1/chat/completions",
            "https://a.example/v1",
        ),
        "route behind v1 twice": ("https://a.example/v1/v1/chat/completions", "https://a.example/v1"),
        "half a route": ("https://a.example/v1/chat", "https://a.example/v1"),
        "singular": ("https://a.example/v1/chat/completion", "https://a.example/v1"),
        "completions": ("https://a.example/v1/completions", "https://a.example/v1"),
        "responses": ("https://a.example/v1/responses", "https://a.example/v1"),
        "models": ("https://a.example/v1/models/", "https://a.example/v1"),
        "messages": ("https://a.example/v1/messages", "https://a.example/v1"),
        "embeddings": ("https://a.example/v1/embeddings", "https://a.example/v1"),
        "speech": ("https://a.example/v1/audio/speech", "https://a.example/v1"),
        "models at the root": ("http://localhost:8000/models", "http://localhost:8000/v1"),
        "docs": ("http://localhost:8000/docs", "http://localhost:8000/v1"),
        # Ollama
        "Ollama's own": ("http://localhost:11434/api", "http://localhost:11434/v1"),
        "chat of Ollama": ("http://localhost:11434/api/chat", "http://localhost:11434/v1"),
        "generate of Ollama": ("localhost:11434/api/generate", "http://localhost:11434/v1"),
        "on another port": ("http://gpu1:8000/api/tags", "http://gpu1:8000/v1"),
        # Providers
        "host of a provider": ("https://api.groq.com", GROQ),
        "no scheme either": ("api.groq.com", GROQ),
        "the /v1 of others": ("https://api.groq.com/v1", GROQ),
        "half of its path": ("https://api.groq.com/openai", GROQ),
        "its list of models": ("https://api.groq.com/openai/v1/models", GROQ),
        "http": ("http://api.openai.com/v1", "https://api.openai.com/v1"),
        "in capitals": ("https://API.GROQ.COM", "https://API.GROQ.COM/openai/v1"),
        # Azure
        "Azure": (AZURE, f"{AZURE}/openai/v1"),
        "Azure, half a path": (f"{AZURE}/openai/", f"{AZURE}/openai/v1"),
        "Azure, v1 alone": (f"{AZURE}/v1", f"{AZURE}/openai/v1"),
        "Azure, responses": (f"{AZURE}/openai/responses?api-version=1", f"{AZURE}/openai/v1"),
        "Azure, preview": (f"{AZURE}/openai?api-version=preview", f"{AZURE}/openai/v1?api-version=preview"),
        "Azure, list": (f"{AZURE}/openai/v1/models", f"{AZURE}/openai/v1"),
        "Azure, dated list": (f"{AZURE}/openai/models?api-version=2024-10-21", f"{AZURE}/openai/v1"),
        "Azure, by region": (
            "https://eastus.api.cognitive.microsoft.com",
            "https://eastus.api.cognitive.microsoft.com/openai/v1",
        ),
        "Azure of a government": ("https://me.openai.azure.us/", "https://me.openai.azure.us/openai/v1"),
        "Azure, no deployment": (f"{AZURE}/openai/deployments", f"{AZURE}/openai/v1"),
        "Azure, route at the root": (f"{AZURE}/chat/completions", f"{AZURE}/openai/v1"),
    },
)
def test_other_form_is_mended_with_one_note(text: str, url: str) -> None:
    found, notes = parsed(text)
    assert found == url
    assert len(notes) == 1
    assert notes[0].startswith("--base-url: '")
    assert f"is taken as '{url.partition('?')[0]}'" in notes[0]
    assert parsed(url) == (url, [])


def test_note_about_v1_names_the_way_out() -> None:
    text, url = "http://localhost:8000", "http://localhost:8000/v1"
    root = f"{text}/chat/completions"
    assert parsed(text)[1] == [f"--base-url: '{text}' is taken as '{url}'; if it has no /v1, write '{root}'"]
    assert parsed(root) == (text, [])


BAD_CHARACTER = "the base URL has a character that no URL has"
HOLDS_PASSWORD = "a base URL holds no user or password"


@cases(
    ("text", "what", "fix"),
    {
        "misspelt scheme": ("htp://a.example/v1", "'htp' is not a scheme", "https://a.example/v1"),
        "and torn": ("htps//a.example", "'htps' is not a scheme", "https://a.example"),
        "ftp": ("ftp://a.example", "'ftp' is not a scheme", "https://a.example"),
        "websocket": ("wss://a.example/v1", "'wss' is not a scheme", "https://a.example/v1"),
        "no host": ("https://", "'https://' is not an http or https URL", "write https://HOST/v1"),
        "nothing": ("  ", "'' is not an http or https URL", "write https://HOST/v1"),
        "empty host": ("https:///v1", "'https:///v1' is not an http or https URL", "write https://HOST/v1"),
        "port a word": ("https://a:x/v1", "'x' in 'https://a:x/v1' is not a port", "from 1 to 65535"),
        "port too high": ("https://a:99999", "'99999' in 'https://a:99999' is not a port", "from 1 to 65535"),
        "and no scheme": ("a:99999/v1", "'99999' in 'a:99999/v1' is not a port", "from 1 to 65535"),
        "port 0": ("https://a:0", "'0' in 'https://a:0' is not a port", "from 1 to 65535"),
        "two ports": ("a:1:1", "'1:1' in 'a:1:1' is not a port", "from 1 to 65535"),
        "open bracket": ("https://[::1/v1", "'https://[::1/v1' is not", "in brackets"),
        "IPv6 without brackets": ("::1", "'::1' is not", "in brackets: http://[::1]:8000/v1"),
        "with scheme": ("http://fe80::1/v1", "'http://fe80::1/v1' is not", "in brackets"),
        "password": ("https://u:s3cret@a.example", HOLDS_PASSWORD, "use --header-file or --key-file"),
        "user": ("https://s3cret@a.example", HOLDS_PASSWORD, "use --header-file or --key-file"),
        "password, no scheme": ("u:s3cret@a.example:80/v1", HOLDS_PASSWORD, "use --header-file"),
        "password and a bad port": ("https://u:s3cret@a:x", "'x' in 'https://a:x' is not a port", ""),
        "and a torn scheme": ("https:/u:s3cret@a:x", "'x' in 'a:x' is not a port", ""),
        "a slash in the password": ("https://u:s3cret/x@a", "'a' is not an http or https URL", ""),
        "password and a bad scheme": (
            "htp://u:s3cret@a.example",
            "'htp' is not a scheme",
            "https://a.example",
        ),
        "two at signs": ("https://u:s3cret@a@b.example", HOLDS_PASSWORD, "use --header-file"),
        "blank": ("https://a.example/a b", BAD_CHARACTER, "percent-encode it"),
        "not ASCII": ("https://ä.example", BAD_CHARACTER, "xn--"),
        "newline inside": ("https://a.exam\nple", BAD_CHARACTER, ""),
        "tab inside": ("https://a.exam\tple", BAD_CHARACTER, ""),
        "NUL": ("https://a.example/\x00", BAD_CHARACTER, ""),
        "backslashes": ("https:\\\\a.example\\v1", "is not an http or https URL", "write https://HOST/v1"),
        "what was typed, without our scheme": ("./v1", "'./v1' is not", "write https://HOST/v1"),
        "an option": ("-m", "is not an http or https URL", "write https://HOST/v1"),
        "a dot": (".", "is not an http or https URL", "write https://HOST/v1"),
        "an empty label": ("https://a..example/v1", "is not an http or https URL", "write https://HOST/v1"),
        "escape in the host": ("https://a%2eexample/v1", "is not an http or https URL", ""),
        "profile": ("groq", "'groq' is a profile", "pass -p groq"),
        "key": ("sk-proj-s3cret", "no URL", "give the key by --key-file FILE"),
        "long word": ("gsk_s3cret0123456789012345", "no URL", "give the key by --key-file FILE"),
        "page of OpenAI": (
            "https://platform.openai.com/docs",
            "'platform.openai.com' has pages for people, not the API",
            "pass -p openai, whose API is 'https://api.openai.com/v1'",
        ),
        "page of Groq": ("console.groq.com/keys", "'console.groq.com' has pages", f"whose API is '{GROQ}'"),
        "page of Azure": (
            "https://ai.azure.com/x",
            "'ai.azure.com' has pages",
            "pass -p azure with AZURE_OPENAI_ENDPOINT, the address",
        ),
    },
)
def test_no_base_url_is_78_with_the_right_form_and_shows_no_secret(text: str, what: str, fix: str) -> None:
    check_refused(text, what, fix)


def check_refused(text: str, what: str, fix: str) -> None:
    """A text is 78 with these words, and shows no secret."""
    with pytest.raises(BadConfiguration) as caught:
        parsed(text)
    assert (caught.value.place, caught.value.status) == ("--base-url", Status.BAD_CONFIGURATION)
    assert what in caught.value.what
    assert fix in caught.value.fix
    assert "s3cret" not in str(caught.value)


TWO_URLS = "2 base URLs in one"
IS_SOCKET = "is a socket in the file system"
LOCAL = "write 'http://localhost:8000/v1'"


@cases(
    ("text", "what", "fix"),
    {
        # A variable in front is empty
        "/v1": ("/v1", "'/v1' names no host", "check that no variable in front of it is empty"),
        "//v1": ("//v1", "'//v1' names no host", "write https://HOST/v1"),
        "v1": ("v1/chat/completions", "'v1/chat/completions' names no host", "write https://HOST/v1"),
        "route": ("/chat/completions", "'/chat/completions' names no host", "write https://HOST/v1"),
        "path": ("/openai/v1?key=s3cret", "'/openai/v1' names no host", "write https://HOST/v1"),
        "port": ("8000", "'8000' is a port without a host", LOCAL),
        "port and path": ("8000/v1", "'8000' is a port without a host", LOCAL),
        "colon and port": (":8000", "'8000' is a port without a host", LOCAL),
        "colon, port, path": (":8000/x/v1", "'8000' is a port", "write 'http://localhost:8000/x/v1'"),
        "scheme and port": ("http://8000/v1", "'8000' is a port without a host", LOCAL),
        # A value that is missing
        "null": ("null", "'null' stands for a missing value", "check the command or variable"),
        "None": ("None", "'none' stands for a missing value", "check the command"),
        "undefined": ("undefined/v1", "'undefined' stands for a missing value", "check the command"),
        "in a URL": ("https://null/v1", "'null' stands for a missing value", "check the command"),
        "with a port": ("http://undefined:80/v1", "'undefined' stands for", "check the command"),
        "nil": ("<nil>", "'nil' stands for a missing value", "check the command"),
        # More than one
        "comma": ("http://a/v1,http://b/v1", TWO_URLS, "repeat --base-url for each"),
        "blank": ("http://a/v1 http://b/v1", TWO_URLS, "repeat --base-url for each"),
        "semicolon": ("https://u:s3cret@a/v1; https://b/v1", TWO_URLS, "repeat --base-url for each"),
        "newline": ("http://a/v1\nhttp://b/v1", TWO_URLS, "repeat --base-url for each"),
        "no schemes": ("a:1/v1,b:2/v1,c:3", "3 base URLs in one", "repeat --base-url for each"),
        # A line of a file
        ".env": ("OPENAI_BASE_URL=http://a/v1", "'OPENAI_BASE_URL=' begins a line", "pass 'http://a/v1'"),
        "export": ("export A='http://u:s3cret@a/v1';", "'A=' begins a line of a .env", "pass 'http://a/v1'"),
        "TOML": ('base_url = "http://a/v1"', "'base_url=' begins a line", "pass 'http://a/v1'"),
        "a key": ("OPENAI_API_KEY=sk-s3cret", "'OPENAI_API_KEY=' begins a line", "write https://HOST/v1"),
        # Sockets
        "unix": ("unix:///tmp/s", f"'unix:///tmp/s' {IS_SOCKET}", "write http://localhost:PORT/v1"),
        "http+unix": ("http+unix://%2Ftmp%2Fs/v1", IS_SOCKET, "let the server listen at a port"),
        "of nginx": ("http://unix:/tmp/s:/v1", IS_SOCKET, "let the server listen at a port"),
        "file": ("/run/llm.sock", f"'/run/llm.sock' {IS_SOCKET}", "let the server listen at a port"),
    },
)
def test_text_that_stands_for_no_server_is_78(text: str, what: str, fix: str) -> None:
    check_refused(text, what, fix)


@cases(
    "text",
    {
        "comma in a path": "https://a.example/x,y/v1",
        "URLs in a query": "https://a.example/v1?a=http://b,http://c",
        "equals sign in a query": "https://a.example/v1?a=b",
        "host that begins so": "http://nullable/v1",
        "host called unix": "http://unix:8000/v1",
        "host of digits with a port": "http://0:8000/v1",
        "host of digits": "http://2130706433/v1",
        "host that begins like a version": "http://v1.example/v1",
    },
)
def test_text_that_only_looks_so_is_taken(text: str) -> None:
    assert parsed(text) == (text, [])


def test_note_has_what_was_typed() -> None:
    assert parsed("http:/a/v1")[1] == ["--base-url: 'http:/a/v1' is taken as 'http://a/v1'"]


@pytest.mark.parametrize("name", built_in_names())
def test_base_url_of_a_profile_is_the_right_form(name: str) -> None:
    profile = read_profile(name)
    for server in () if profile is None else profile.servers:
        if "{" not in server.base_url:
            assert parsed(server.base_url) == (server.base_url, [])
            host = server.base_url.split("/")[2]
            assert base_url_at(host) == (server.base_url if server.base_url.startswith("https") else None)


def test_every_page_for_people_leads_to_a_profile() -> None:
    known = {name for name in _DASHBOARDS.values() if name in built_in_names()}
    assert {name for name in known if base_url_of(name)} == known
    assert known >= {"openai", "groq", "azure"}


def test_secret_in_a_query_is_in_no_note() -> None:
    (note,) = parsed("localhost:8000?api_key=s3cret-s3cret")[1]
    assert "s3cret" not in note
