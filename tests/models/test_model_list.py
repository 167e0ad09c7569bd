"""Lists of models in every shape, their names, their pages, and the cells of a table."""

from __future__ import annotations

from typing import Any

import pytest

from chatpipe.models.model_list import COLUMNS, Page, cells, distinct, model_page, name_of, sole_model
from support.parametrize import cases

A, B = {"id": "a"}, {"id": "b"}


@cases(
    "value, page",
    {
        "OpenAI": ({"object": "list", "data": [A, B]}, Page((A, B))),
        "bare array": ([A, B], Page((A, B))),
        "models": ({"models": [{"name": "models/g"}]}, Page(({"name": "models/g"},))),
        "endpoints": ({"endpoints": [{"name": "e"}]}, Page(({"name": "e"},))),
        "data and models": ({"models": [{"name": "x"}], "data": [A]}, Page((A,))),
        "models beside empty data": ({"data": [], "models": [A]}, Page((A,))),
        "texts": (["a"], Page((A,))),
        "empty": ({"data": []}, Page(())),
        "empty array": ([], Page(())),
        "null": ({"data": None}, Page(())),
        "without names": ([A, {}, 1, None, "", {"id": None}, {"id": 3}], Page((A,), 6)),
        "name where the id is none": ([{"id": "", "name": "n"}], Page(({"id": "", "name": "n"},))),
        "has more": ({"data": [A, B], "has_more": True, "last_id": "z"}, Page((A, B), after="z")),
        "more, without saying where": ({"data": [A, B], "has_more": True}, Page((A, B), after="b")),
        "more of nothing": ({"data": [], "has_more": True, "last_id": None}, Page(())),
        "last page": ({"data": [A], "has_more": False, "last_id": "a"}, Page((A,))),
    },
)
def test_a_list_is_read_in_the_form_of_any_server(value: Any, page: Page) -> None:
    assert model_page(value) == page


@pytest.mark.parametrize("value", [{}, {"status": "ok"}, {"data": {"id": "a"}}, {"data": 1}, A, "a", 1, None])
def test_no_page(value: Any) -> None:
    assert model_page(value) is None


@cases(
    "value, model",
    {
        "OpenAI": (A, A),
        "by name": ({"name": "e", "config": {}}, {"name": "e", "config": {}}),
        "envelope": ({"data": A}, A),
        "a list": ({"data": [A]}, None),
        "without a name": ({"object": "model"}, None),
        "text": ("a", None),
        "null": (None, None),
    },
)
def test_one_model(value: Any, model: Any) -> None:
    assert sole_model(value) == model


def test_name_and_copies() -> None:
    assert [name_of(each) for each in ({"id": "a", "name": "A"}, {"id": 1, "name": "n"})] == ["a", "n"]
    assert distinct([A, B, {"id": "a"}, {"id": "a", "n": 1}]) == [A, B, {"id": "a", "n": 1}]


@cases(
    "model, column, cell",
    {
        "owner": ({"owned_by": "me"}, "owner", "me"),
        "organization": ({"owned_by": "", "organization": "org"}, "owner", "org"),
        "publisher": ({"publisher": "pub"}, "owner", "pub"),
        "owner that is no text": ({"owned_by": {"a": 1}}, "owner", ""),
        "seconds": ({"created": 1714521600}, "created", "2024-05-01T00:00:00.000Z"),
        "seconds in text": ({"created": "1714521600"}, "created", "2024-05-01T00:00:00.000Z"),
        "milliseconds": ({"creation_timestamp": 1714521600123}, "created", "2024-05-01T00:00:00.123Z"),
        "a date": ({"created_at": "2024-05-01T02:00:00+02:00"}, "created", "2024-05-01T00:00:00.000Z"),
        "no date": ({"created_at": "yesterday"}, "created", ""),
        "second that is none": (
            {"created": 0, "created_at": "2024-05-01"},
            "created",
            "2024-05-01T00:00:00.000Z",
        ),
        "beyond the calendar": ({"created": 1e300}, "created", ""),
        "true is no time": ({"created": True}, "created", ""),
        "OpenRouter": ({"context_length": 8192}, "context_length", "8192"),
        "vLLM": ({"max_model_len": 4096}, "context_length", "4096"),
        "Groq": ({"context_window": 131072}, "context_length", "131072"),
        "Mistral": ({"max_context_length": 32768}, "context_length", "32768"),
        "GitHub": ({"limits": {"max_input_tokens": 128000}}, "context_length", "128000"),
        "llama.cpp": ({"meta": {"n_ctx_train": 2048}}, "context_length", "2048"),
        "the first that is there": ({"context_length": None, "context_window": 5}, "context_length", "5"),
        "one that is zero": ({"context_length": 0, "context_window": 5}, "context_length", "5"),
        "no number": ({"context_length": "long", "meta": None}, "context_length", ""),
        "price of a token": ({"pricing": {"prompt": "0.00000015"}}, "input_price", "0.15"),
        "dear token": ({"pricing": {"completion": 0.0006}}, "output_price", "600"),
        "price of a million": ({"pricing": {"input": 0.88}}, "input_price", "0.88"),
        "free": ({"pricing": {"prompt": "0"}}, "input_price", "0"),
        "varies": ({"pricing": {"prompt": "-1"}}, "input_price", ""),
        "infinite": ({"pricing": {"prompt": "inf"}}, "input_price", ""),
        "pricing that is text": ({"pricing": "free"}, "input_price", ""),
    },
)
def test_cells_of_a_model(model: dict[str, Any], column: str, cell: str) -> None:
    row = cells({"id": "m", **model})
    assert len(row) == len(COLUMNS)
    assert row[COLUMNS.index(column)] == cell
    assert row[0] == "m"
