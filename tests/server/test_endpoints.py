"""Where a request goes, with which headers, and where a key never goes."""

from __future__ import annotations

from typing import Any

import pytest

from chatpipe import __version__
from chatpipe.errors import BadConfiguration, ChatpipeError, Status, UsageFault
from chatpipe.options.server import ServerOptions
from chatpipe.server.endpoints import Endpoint, resolve_endpoints
from chatpipe.server.headers import parse_header
from chatpipe.server.profiles import DEFAULT, ECHO
from support.parametrize import cases
from support.refusals import refused

ROUTE = "/chat/completions"
OURS = (
    ("Content-Type", "application/json"),
    ("User-Agent", f"chatpipe/{__version__}"),
    ("Accept-Encoding", "identity"),
)


def endpoint(
    environ: dict[str, str] | None = None, *lines: str, profile: str | None = None, **options: Any
) -> Endpoint:
    """lines are those of --header-file."""
    return resolve_endpoints(ServerOptions(profile=profile, **options), environ or {}, lines)[0]


CHATPIPE = {"CHATPIPE_BASE_URL": "https://c.example/v1", "CHATPIPE_MODEL": "c"}
OPENAI = {"OPENAI_BASE_URL": "https://o.example/v1", "OPENAI_MODEL": "o"}


@cases(
    ("options", "environ", "url", "model"),
    {
        "nothing": ({}, {}, "https://api.openai.com/v1", None),
        "OPENAI_*": ({}, OPENAI, "https://o.example/v1", "o"),
        "CHATPIPE_* before OPENAI_*": ({}, CHATPIPE | OPENAI, "https://c.example/v1", "c"),
        "option before all": (
            {"base_urls": ("https://b.example/v1",)},
            CHATPIPE | OPENAI,
            "https://b.example/v1",
            "c",
        ),
        "profile openai reads OPENAI_*": ({"profile": "openai"}, OPENAI, "https://o.example/v1", "o"),
        "also when from its variable": (
            {},
            {"CHATPIPE_PROFILE": "openai"} | OPENAI,
            "https://o.example/v1",
            "o",
        ),
        "profile openai": ({"profile": "openai"}, {}, "https://api.openai.com/v1", None),
        "echo reads none": ({"profile": "echo"}, CHATPIPE | OPENAI, "http://echo.invalid/v1", "echo"),
        "echo from its variable reads no other": (
            {},
            {"CHATPIPE_PROFILE": "echo"} | CHATPIPE | OPENAI,
            "http://echo.invalid/v1",
            "echo",
        ),
        "-p before CHATPIPE_PROFILE": (
            {"profile": "openai"},
            {"CHATPIPE_PROFILE": "echo"},
            "https://api.openai.com/v1",
            None,
        ),
        "an empty model is none": ({}, {"CHATPIPE_MODEL": ""} | OPENAI, "https://o.example/v1", "o"),
        "sourced from a file with CRLF": (
            {},
            {"CHATPIPE_MODEL": "c\r", "CHATPIPE_PROFILE": "openai\r"}
            | {"OPENAI_BASE_URL": "https://o.example/v1\r", "OPENAI_ORG_ID": "o\r"},
            "https://o.example/v1",
            "c",
        ),
    },
)
def test_options_win_over_variables_and_these_over_profiles(
    options: dict[str, Any], environ: dict[str, str], url: str, model: str | None
) -> None:
    found = endpoint(environ, **options)
    assert (found.url(ROUTE), found.base_url, found.model) == (url + ROUTE, url, model)


def test_echo_is_in_process_and_takes_nothing_from_outside() -> None:
    openai = {"OPENAI_API_KEY": "k", "OPENAI_ORG_ID": "o", "OPENAI_PROJECT_ID": "p"}
    environ = {**openai, "OPENAI_CUSTOM_HEADERS": "A: b", "CHATPIPE_MODEL": "m"}
    found = endpoint(environ, profile="echo")
    assert found._replace(origins={}) == Endpoint("http://echo.invalid/v1", OURS, "echo", ECHO)
    assert found.in_process


@cases(
    ("options", "environ", "key_env", "needs_key"),
    {
        "api.openai.com": ({}, {}, "OPENAI_API_KEY", True),
        "profile openai": ({"profile": "openai"}, {}, "OPENAI_API_KEY", True),
        "by its URL": ({"base_urls": ("https://api.openai.com/v1",)}, {}, "OPENAI_API_KEY", True),
        "in capitals": ({"base_urls": ("https://API.OpenAI.com/v1",)}, {}, "OPENAI_API_KEY", True),
        "another server": ({"base_urls": ("https://b.example",)}, {}, None, False),
        "named openai": ({"base_urls": ("https://b.example",), "profile": "openai"}, {}, None, False),
        "lookalike": ({"base_urls": ("https://api.openai.com.evil.example",)}, {}, None, False),
    },
)
def test_a_key_is_needed_by_openai_only(
    options: dict[str, Any], environ: dict[str, str], key_env: str | None, needs_key: bool
) -> None:
    found = endpoint(environ, **options)
    assert (found.key_variable, found.needs_key, found.in_process) == (key_env, needs_key, False)


@cases(
    ("base_url", "url"),
    {
        "plain": ("https://a.example/v1", "https://a.example/v1/chat/completions"),
        "final slash": ("https://a.example/v1/", "https://a.example/v1/chat/completions"),
        "final slashes": ("https://a.example/v1//", "https://a.example/v1/chat/completions"),
        "no path": ("https://a.example", "https://a.example/v1/chat/completions"),
        "root": ("https://a.example/", "https://a.example/v1/chat/completions"),
        "the route itself": (
            "https://a.example/v1/chat/completions",
            "https://a.example/v1/chat/completions",
        ),
        "with a slash": ("https://a.example/v1/chat/completions/", "https://a.example/v1/chat/completions"),
        "query kept": (
            "https://a.example/d/x?api-version=1",
            "https://a.example/d/x/chat/completions?api-version=1",
        ),
        "fragment dropped": ("https://a.example/v1#x", "https://a.example/v1/chat/completions"),
        "port": ("http://127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1/chat/completions"),
        "IPv6": ("http://[::1]:8080/v1", "http://[::1]:8080/v1/chat/completions"),
        "scheme in capitals": ("HTTP://LOCALHOST/v1", "http://LOCALHOST/v1/chat/completions"),
        "blanks around": (" https://a.example/v1 ", "https://a.example/v1/chat/completions"),
        "escapes kept": ("https://a.example/%7Eu/v1", "https://a.example/%7Eu/v1/chat/completions"),
    },
)
def test_the_route_is_added_to_a_base_url(base_url: str, url: str) -> None:
    assert endpoint(base_urls=(base_url,)).url(ROUTE) == url
    assert endpoint({"CHATPIPE_BASE_URL": base_url}).url(ROUTE) == url


def test_every_route_has_the_same_base_and_query() -> None:
    found = endpoint(base_urls=("https://a.example/v1/chat/completions?v=1",))
    assert found.url("/models") == "https://a.example/v1/models?v=1"


@cases(
    ("base_url", "what"),
    {
        "ftp": ("ftp://a.example", "'ftp' is not a scheme of a base URL"),
        "no host": ("https://", "'https://' is not an http or https URL"),
        "empty host": ("https:///v1", "'https:///v1' is not an http or https URL"),
        "port a word": ("https://a:x/v1", "'x' in 'https://a:x/v1' is not a port"),
        "port too high": ("https://a:99999", "'99999' in 'https://a:99999' is not a port"),
        "port 0": ("https://a:0", "'0' in 'https://a:0' is not a port"),
        "open bracket": ("https://[::1/v1", "'https://[::1/v1' is not an http or https URL"),
        "password": ("https://u:p@a.example", "a base URL holds no user or password"),
        "user": ("https://u@a.example", "a base URL holds no user or password"),
        "blank": ("https://a.example/a b", "the base URL has a character that no URL has"),
        "not ASCII": ("https://ä.example", "the base URL has a character that no URL has"),
        "newline inside": ("https://a.exam\nple", "the base URL has a character that no URL has"),
        "tab inside": ("https://a.exam\tple", "the base URL has a character that no URL has"),
        "NUL": ("https://a.example/\x00", "the base URL has a character that no URL has"),
    },
)
def test_no_url_is_78_and_placed(base_url: str, what: str) -> None:
    for found, place in (
        ({"base_urls": (base_url,)}, "--base-url"),
        ({"environ": {"CHATPIPE_BASE_URL": base_url}}, "CHATPIPE_BASE_URL"),
        ({"environ": {"OPENAI_BASE_URL": base_url}}, "OPENAI_BASE_URL"),
    ):
        with refused(BadConfiguration, what=what, place=place, status=Status.BAD_CONFIGURATION):
            endpoint(**found)


def test_empty_base_url_as_an_option_does_not_lead_to_another_server() -> None:
    """`--base-url "$UNSET"` is a slip, and the prompt is not to go to api.openai.com for it."""
    with refused(ChatpipeError, place="--base-url"):
        endpoint(base_urls=("",))


def test_final_newline_of_a_variable_is_no_fault() -> None:
    assert endpoint({"CHATPIPE_BASE_URL": "https://a.example/v1\n"}).base_url == "https://a.example/v1"


@cases(
    ("options", "environ", "place"),
    {
        "option": ({"profile": "x"}, {}, "--profile"),
        "empty option": ({"profile": ""}, {}, "--profile"),
        "variable": ({}, {"CHATPIPE_PROFILE": "x"}, "CHATPIPE_PROFILE"),
    },
)
def test_unknown_profile_is_78(options: dict[str, Any], environ: dict[str, str], place: str) -> None:
    with refused(BadConfiguration, place=place, fix="chatpipe config show --profiles lists all"):
        endpoint(environ, **options)


def test_echo_has_no_base_url() -> None:
    with pytest.raises(UsageFault, match="profile 'echo' has no base URL"):
        endpoint({}, base_urls=("https://a.example",), profile="echo")


def test_base_url_takes_the_place_of_echo_in_the_variable() -> None:
    chosen = endpoint({"CHATPIPE_PROFILE": "echo"}, base_urls=("https://a.example/v1",))
    assert (chosen.base_url, chosen.profile.name) == ("https://a.example/v1", endpoint({}).profile.name)


# Headers


@cases(
    ("environ", "file", "typed", "headers"),
    {
        "ours": ({}, [], (), OURS),
        "one more": ({}, [], ("X-A: 1",), (*OURS, ("X-A", "1"))),
        "organization and project": (
            {"OPENAI_ORG_ID": "o", "OPENAI_PROJECT_ID": "p"},
            [],
            (),
            (*OURS, ("OpenAI-Organization", "o"), ("OpenAI-Project", "p")),
        ),
        "custom": (
            {"OPENAI_CUSTOM_HEADERS": "X-A: 1\n\nX-B: 2\n"},
            [],
            (),
            (*OURS, ("X-A", "1"), ("X-B", "2")),
        ),
        "option before file before variable, in any case of letters": (
            {"OPENAI_CUSTOM_HEADERS": "X-A: 1"},
            ["X-A: 2", "X-B: 2"],
            ("x-b: 3",),
            (*OURS, ("X-A", "2"), ("x-b", "3")),
        ),
        "of two the last": ({}, [], ("X-A: 1", "X-A: 2"), (*OURS, ("X-A", "2"))),
        "ours replaced": ({}, [], ("user-agent: me",), (OURS[0], OURS[2], ("user-agent", "me"))),
        "ours removed": ({}, [], ("Accept-Encoding:",), OURS[:2]),
        "the file's removed": ({}, ["X-A: 1"], ("X-A:",), OURS),
        "removed and set again": ({}, [], ("X-A:", "X-A: 1"), (*OURS, ("X-A", "1"))),
        "blanks around a value, a colon in it": ({}, [], ("X-A:  a b:c ",), (*OURS, ("X-A", "a b:c"))),
        "a tab in a value": ({}, [], ("X-A: a\tb",), (*OURS, ("X-A", "a\tb"))),
    },
)
def test_headers_come_from_variables_a_file_and_options(
    environ: dict[str, str], file: list[str], typed: tuple[str, ...], headers: tuple[tuple[str, str], ...]
) -> None:
    assert endpoint(environ, *file, headers=typed).headers == headers


@cases(
    ("line", "what"),
    {
        "no colon": ("secret", "not a header"),
        "no name": (": secret", "not a header"),
        "blank in the name": ("a b: secret", "not a header"),
        "name not ASCII": ("ä: secret", "not a header"),
        "newline behind a name": ("A\n: secret\nB: x", "header 'A' has a character that cannot be sent"),
        "another header in it": ("A: secret\r\nB: x", "header 'A' has a character that cannot be sent"),
        "NUL": ("A: sec\x00ret", "header 'A' has a character that cannot be sent"),
        "value not ASCII": ("A: sécret", "header 'A' has a character that cannot be sent"),
        "DEL": ("A: sec\x7fret", "header 'A' has a character that cannot be sent"),
        "length": (
            "Content-Length: 3",
            "header 'Content-Length' says where the body ends, which follows from the body",
        ),
        "framing": (
            "transfer-encoding: chunked",
            "header 'transfer-encoding' says where the body ends, which follows from the body",
        ),
    },
)
def test_no_header_is_2_and_its_value_is_not_shown(line: str, what: str) -> None:
    with pytest.raises(UsageFault) as fault:
        parse_header(line, "--header")
    assert (fault.value.what, fault.value.place) == (what, "--header")
    assert "secret" not in str(fault.value)


@cases(
    ("environ", "file", "place"),
    {
        "organization": ({"OPENAI_ORG_ID": "a\nb"}, [], "OPENAI_ORG_ID"),
        "custom": ({"OPENAI_CUSTOM_HEADERS": "x"}, [], "OPENAI_CUSTOM_HEADERS"),
        "file": ({}, ["x"], "--header-file"),
    },
)
def test_place_of_a_bad_header(environ: dict[str, str], file: list[str], place: str) -> None:
    with refused(UsageFault, place=place):
        endpoint(environ, *file)


@cases(
    "base_url, expected",
    {
        "loopback": ("http://localhost:8000/v1", "http://localhost:8000/metrics"),
        "loopback address": ("http://127.0.0.1/v1", "http://127.0.0.1/metrics"),
        "https": ("https://10.1.2.3/v1", "https://10.1.2.3/metrics"),
        "172.16": ("http://172.31.0.1:80/v1", "http://172.31.0.1:80/metrics"),
        "192.168": ("http://192.168.0.9/v1", "http://192.168.0.9/metrics"),
        "link-local": ("http://169.254.9.9/v1", "http://169.254.9.9/metrics"),
        "unique local": ("http://[fd12::1]:8000/v1", "http://[fd12::1]:8000/metrics"),
        "deeper": ("http://10.0.0.1/some/where/v1", "http://10.0.0.1/metrics"),
        "with a query": ("http://10.0.0.1/v1?key=k", "http://10.0.0.1/metrics"),
        "beside 172.16": ("http://172.32.0.1/v1", None),
        "public": ("https://8.8.8.8/v1", None),
        "public, IPv6": ("https://[2001:4860::1]/v1", None),
        "name": ("http://gpu1:8000/v1", None),
        "name like an address": ("https://10.0.0.1.example.com/v1", None),
    },
)
def test_gauges_are_read_at_the_root_of_a_near_server(base_url: str, expected: str | None) -> None:
    assert Endpoint(base_url, (), None, DEFAULT).metrics_url == expected


def test_echo_has_no_gauges() -> None:
    assert Endpoint("http://127.0.0.1/v1", (), None, ECHO).metrics_url is None
