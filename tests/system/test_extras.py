"""The extras of the package are the same in pyproject.toml, in messages, in the manual and in README.md."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import chatpipe
from manual import pages

PACKAGE = Path(chatpipe.__file__).parent
EXTRAS = set(
    tomllib.loads((pages.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ]
)


def test_messages_name_each_extra_in_one_form() -> None:
    sources = {path: path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}
    called = set(re.findall(r"installation\(['\"](\w+)['\"]\)", "".join(sources.values())))
    from_table = set(re.findall(r'"\w+": "(\w+)"', sources[PACKAGE / "wire/unpack.py"]))
    assert called | from_table == EXTRAS
    other = r"pip install|chatpipe\["
    assert [path.name for path, text in sources.items() if re.search(other, text)] == []


def test_the_manual_and_the_readme_list_them() -> None:
    listed = pages.entries(pages.sections(pages.WHOLE)["EXTRAS"])
    assert {entry.head.removeprefix("Cm ") for entry in listed} == EXTRAS
    readme = (pages.ROOT / "README.md").read_text(encoding="utf-8")
    line = next(line for line in readme.splitlines() if line.startswith("Optional features are extras"))
    assert set(re.findall(r"`(\w+)`", line)) == EXTRAS
