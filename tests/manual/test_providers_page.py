"""chatpipe-providers(7) says of each profile what the data file has, and its lines work as they stand."""

from __future__ import annotations

import re
import shlex
import tomllib
from typing import Any, NamedTuple

import pytest

from chatpipe.options.server import ServerOptions
from chatpipe.server.endpoints import resolve_endpoints
from chatpipe.server.keys import chosen_source
from chatpipe.server.profile_file import built_in_names, read_profile
from manual import pages

PAGE = "chatpipe-providers"
TABLES: dict[str, Any] = tomllib.loads(
    (pages.ROOT / "cli" / "chatpipe" / "server" / "profiles.toml").read_text(encoding="utf-8")
)
# The profile of those who choose none has variables of its own.
OF_OPENAI = {"OPENAI_API_KEY"}
EACH = pytest.mark.parametrize("name", TABLES)


class Line(NamedTuple):
    """The lines to type for one provider: the variables that are set, and the words of the call."""

    environ: dict[str, str]
    words: list[str]


def text_of(name: str) -> str:
    return pages.plain("\n".join(pages.subsections(pages.sections(PAGE)["PROVIDERS"])[name]))


def line_of(name: str) -> Line:
    display = text_of(name).partition(".Bd -literal -offset indent\n")[2].partition(".Ed")[0]
    typed = [shlex.split(line.removeprefix("$ ")) for line in display.splitlines()]
    pairs = [words[1].split("=", 1) for words in typed if words[0] == "export"]
    return Line({each[0]: each[1] for each in pairs}, typed[-1])


def variables_of(table: dict[str, Any]) -> set[str]:
    """All variables that a profile reads."""
    keys = {each if isinstance(each, str) else each["name"] for each in table.get("key_env", ())}
    lists = (table.get(field, ()) for field in ("base_url_env", "model_env", "api_version_env"))
    templates = [table["base_url"], *table.get("token_files", ())]
    in_templates = (each.split("|") for text in templates for each in re.findall(r"\{([A-Z_|]+)\}", text))
    return {
        *keys,
        *(each for found in lists for each in found),
        *(name for found in in_templates for name in found),
    }


def changes_of(table: dict[str, Any]) -> list[str]:
    """All changes of the patches, in their order, each as `build` names it."""
    found: list[str] = []
    for patch in table.get("patch", ()):
        found += (f"{old} -> {new}" for old, new in patch.get("rename", {}).items())
        found += (f"role {old} -> {new}" for old, new in patch.get("roles", {}).items())
        values = patch.get("replace", {}).items()
        found += (f"{field} {old} -> {new}" for field, words in values for old, new in words.items())
        found += ["logprobs true -> NUMBER"] if patch.get("logprobs_as_count") else []
        found += (f"{field} left out" for field in patch.get("drop", ()))
    return found


def test_every_profile_has_its_part_in_the_order_of_the_file() -> None:
    parts = pages.subsections(pages.sections(PAGE)["PROVIDERS"])
    assert [title for title in parts if title] == built_in_names()


@EACH
def test_variables_are_those_of_the_profile(name: str) -> None:
    text = text_of(name)
    spoken = {*re.findall(r"^\.Ev (\w+)", text, re.MULTILINE), *re.findall(r"\b([A-Z][A-Z0-9_]+)=", text)}
    in_url = {each for found in re.findall(r"\{([A-Z_|]+)\}", text) for each in found.split("|")}
    assert spoken | in_url == variables_of(TABLES[name]) | (OF_OPENAI if name == "openai" else set())


@EACH
def test_base_url_is_that_of_the_profile(name: str) -> None:
    assert re.search(r"^\.Pa (\S+)", text_of(name), re.MULTILINE)[1] == TABLES[name]["base_url"]  # type: ignore[index]


@EACH
def test_changes_are_the_patches(name: str) -> None:
    said = re.findall(r"^\.Ql (.+? -> .+?|.+ left out)(?: [,.])?$", text_of(name), re.MULTILINE)
    assert said == changes_of(TABLES[name])
    assert text_of(name).count("\nChanged") == len(TABLES[name].get("patch", ()))


@pytest.mark.parametrize("name", built_in_names())
def test_call_names_the_profile_and_a_model(name: str) -> None:
    words = line_of(name).words
    model = [] if name == "echo" else ["-m", words[5]]
    assert words == ["chatpipe", "ask", "-p", name, *model, "Hello"]


@EACH
def test_lines_are_all_that_a_call_needs(name: str) -> None:
    """They name the server, and hold the key where one is needed."""
    environ = line_of(name).environ
    (endpoint,) = resolve_endpoints(ServerOptions(name), environ)
    source = chosen_source(endpoint.keys, environ)
    profile = read_profile(name)
    assert profile is not None
    assert profile.needs_key == (source is not None)
    assert source is None or environ[source.value] == "..."
    assert len(environ) <= 2


def test_pattern_of_a_change_is_seen() -> None:
    assert "max_tokens -> max_completion_tokens" in changes_of(TABLES["azure"])
    assert {"AWS_REGION", "AWS_DEFAULT_REGION"} < variables_of(TABLES["bedrock"])
