"""chatpipe-formats(5) has a section for every schema, and it is the one that page.py makes."""

from __future__ import annotations

import re

from formats import page, schemas
from manual import pages

_TEXT = page.PAGE.read_text(encoding="utf-8")


def test_page_is_what_its_schemas_make() -> None:
    """After a change of a schema: `make manual`."""
    assert page.render(_TEXT) == _TEXT


def test_word_that_is_also_the_name_of_a_field_is_marked_as_a_word() -> None:
    """`wrong` is a severity and a count; `failed` is a status and a count."""
    marked = re.findall(r"^\.(Va|Cm) (wrong|failed|completed)\b", _TEXT, re.MULTILINE)
    assert set(marked) == {("Cm", "wrong"), ("Cm", "failed"), ("Cm", "completed")}


def test_every_schema_is_described_or_named() -> None:
    """Those that are only named are described elsewhere. That of requests is the schema of the check."""
    described = re.findall(r'^\.\\" schema (\S+)$', _TEXT, re.MULTILINE)
    named = re.findall(r"^\.Pa (\S+)\.schema\.json", _TEXT, re.MULTILINE)
    assert sorted(named) == sorted([*schemas.names(), "request"])
    assert set(named) - set(described) == {"config", "request"}


def test_fields_of_results_in_chatpipe_batch_exist() -> None:
    (variant,) = schemas.variants("result")
    paths = {field.path for field in schemas.fields(variant.schema, variant.schema)}
    known = {name for path in paths for name in path.split(".")}
    text = "\n".join(pages.subsections(pages.sections("chatpipe-batch")["DESCRIPTION"])["Results"])
    said = re.findall(r"^\.Va (\w+)", text, re.MULTILINE)
    assert set(said) - known <= {"usage"}
