"""The check of bodies that share a response format finds what a check of each by itself finds."""

from __future__ import annotations

from typing import Any

import pytest

from chatpipe.batch.body_check import BodyCheck
from chatpipe.options.request import CheckOptions
from chatpipe.schema.check import check
from support.parametrize import cases

MESSAGES = [{"role": "user", "content": "x"}]
GOOD = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}


@cases(
    "form",
    {
        "good": GOOD,
        "a bad name": {"type": "json_schema", "json_schema": {"name": "a b", "schema": {}}},
        "a typo": {"type": "json_schema", "json_schema": {"name": "a", "shema": {}}},
        "no JSON mentioned": {"type": "json_object"},
        "another server's": {"type": "grammar"},
        "none": None,
    },
)
@pytest.mark.parametrize("strict", [False, True])
def test_each_body_has_the_problems_that_it_has_by_itself(form: Any, strict: bool) -> None:
    bodies: list[dict[str, Any]] = [
        {"model": "m", "messages": MESSAGES, "response_format": form},
        {"model": "m", "messages": [{"role": "user", "content": "as JSON"}], "response_format": form},
        {"model": "m", "messages": [{"role": "sytem", "content": "x"}], "response_format": form},
        {"model": "m", "messages": MESSAGES, "response_format": {"type": "json_schema"}},
        {"model": "m", "messages": MESSAGES, "temperature": 9, "response_format": form},
        {"model": "m", "messages": MESSAGES, "response_format": form},
    ]
    together = BodyCheck(CheckOptions(strict=strict))
    assert [together.problems(body) for body in bodies] == [check(body, strict=strict) for body in bodies]


def test_without_the_check_there_are_no_problems() -> None:
    assert BodyCheck(CheckOptions(off=True)).problems({"messages": 5}) == []
