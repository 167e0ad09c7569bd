"""Names of models that are kept: where, for which server, and that broken files are silent."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatpipe.errors import CannotWrite
from chatpipe.models.kept_models import keep, kept_names, kept_path
from chatpipe.options.server import ServerOptions
from chatpipe.server.endpoints import Endpoint, resolve_endpoints
from support.parametrize import cases


def endpoint(url: str = "https://a.example/v1") -> Endpoint:
    return resolve_endpoints(ServerOptions(base_urls=(url,)), {})[0]


@cases(
    "url, name",
    {
        "port and path": ("http://a.example:8000/v1", "a.example%3A8000%2Fv1"),
        "no secrets": ("https://a.example/v1?key=secret", "a.example%2Fv1"),
        "this machine": ("http://127.0.0.1:11434/v1", "localhost%3A11434%2Fv1"),
        "no way out of the folder": ("https://a.example/../../x", "a.example%2F..%2F..%2Fx"),
    },
)
def test_names_are_kept_in_one_file_a_server(url: str, name: str, tmp_path: Path) -> None:
    found = kept_path(endpoint(url), {"XDG_DATA_HOME": str(tmp_path)})
    assert found == f"{tmp_path}/chatpipe/models/{name}"


def test_path_of_a_long_url_is_short_and_its_own() -> None:
    paths = [kept_path(endpoint(f"https://a.example/{'x' * 400}{end}"), {}) for end in "ab"]
    assert paths[0] != paths[1]
    assert all(len(Path(path).name) == 200 for path in paths)


@pytest.mark.parametrize("value", ["", "relative"])
def test_folder_that_is_not_absolute_does_not_count(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    folder = "/home/me/.local/share/chatpipe/models"
    assert kept_path(endpoint(), {"XDG_DATA_HOME": value}).startswith(folder)


def test_kept_names_come_back_by_server(tmp_path: Path) -> None:
    environ = {"XDG_DATA_HOME": str(tmp_path)}
    keep(["old"], endpoint(), environ)
    keep(["b:1", "two\nlines", "", "a/c é"], endpoint(), environ)
    assert kept_names(endpoint(), environ) == ["b:1", "a/c é"]
    assert kept_names(endpoint("https://b.example/v1"), environ) == []
    assert [path.name for path in tmp_path.rglob("*")] == ["chatpipe", "models", "a.example%2Fv1"]


def test_broken_file_is_silent(tmp_path: Path) -> None:
    environ = {"XDG_DATA_HOME": str(tmp_path)}
    path = Path(keep(["a"], endpoint(), environ))
    path.write_bytes(b"a\n\xff\n")
    assert kept_names(endpoint(), environ) == ["a", "\ufffd"]
    path.unlink()
    path.mkdir()
    assert kept_names(endpoint(), environ) == []


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "chatpipe").write_text("")
    with pytest.raises(CannotWrite, match="cannot write: "):
        keep(["a"], endpoint(), {"XDG_DATA_HOME": str(tmp_path)})
