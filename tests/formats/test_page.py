"""chatpipe-formats(5) has a section for every schema, and it is the one that page.py makes."""

from __future__ import annotations

import re

from formats import page, schemas

_TEXT = page.PAGE.read_text(encoding="utf-8")


def test_page_is_what_its_schemas_make() -> None:
    """After a change of a schema: `make manual`."""
    assert page.render(_TEXT) == _TEXT


def test_every_schema_has_a_section() -> None:
    assert sorted(re.findall(r'^\.\\" schema (\S+)$', _TEXT, re.MULTILINE)) == schemas.names()


def test_schema_of_requests_is_named() -> None:
    """It is that of the check, and is installed beside the others."""
    assert ".Pa request.schema.json" in _TEXT
