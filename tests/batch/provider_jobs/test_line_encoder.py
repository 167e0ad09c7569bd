"""line_encoder.py: the lines of requests as a provider takes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from chatpipe.batch.items import Item
from chatpipe.batch.provider_jobs.line_encoder import LineEncoder
from chatpipe.errors import BadInput
from chatpipe.jobs.job_dialects import DIALECTS
from chatpipe.options.output import ConsoleOptions
from chatpipe.server.patches import Patch
from chatpipe.system.console import Console
from support.parametrize import cases

HI = {"role": "user", "content": 'say "tool_calls"'}
IDS = [b"0" * 32, b"1" * 32]


def lines(
    *bodies: dict[str, Any], provider: str = "openai", patches: tuple[Patch, ...] = ()
) -> tuple[list[dict[str, Any]], list[str | None]]:
    encoder = LineEncoder(patches, DIALECTS[provider], Console(ConsoleOptions()), "in.jsonl")
    items = [Item(number, "", body) for number, body in enumerate(bodies, 5)]
    found, models = encoder.encode(items, IDS[: len(items)])
    assert all(line.endswith(b"}\n") and line.count(b"\n") == 1 for line in found)
    return [orjson.loads(line) for line in found], models


@cases(
    "body, patches, expected",
    {
        "as it is": ({"messages": [HI], "n": 1}, (), {"messages": [HI], "n": 1}),
        "a stream": ({"messages": [HI], "stream": True, "stream_options": {}}, (), {"messages": [HI]}),
        "empty calls": ({"messages": [{**HI, "tool_calls": []}]}, (), {"messages": [HI]}),
        "a patch": (
            {"messages": [HI], "seed": 1},
            (Patch(rename={"seed": "random_seed"}),),
            {"messages": [HI], "random_seed": 1},
        ),
    },
)
@pytest.mark.parametrize("others", [0, 1])
def test_a_request_is_sent_as_the_provider_takes_it(
    body: dict[str, Any], patches: tuple[Patch, ...], expected: Mapping[str, Any], others: int
) -> None:
    usual = {"model": "m", "messages": [HI]}
    found, models = lines(*[usual] * others, {"model": "m", **body}, patches=patches)
    bodies = [usual] * others + [{"model": "m", **expected}]
    assert models == ["m"] * len(bodies)
    assert found == [
        {"custom_id": id_.decode(), "method": "POST", "url": "/v1/chat/completions", "body": each}
        for id_, each in zip(IDS, bodies, strict=False)
    ]


@cases("model", {"none": None, "empty": "", "no text": 7})
def test_a_model_without_a_name_is_none(model: object) -> None:
    assert lines({"model": "m", "messages": []}, {"model": model, "messages": []})[1] == ["m", None]


def test_the_model_of_a_job_is_not_in_its_lines() -> None:
    found, models = lines({"model": "m", "messages": [HI]}, provider="mistral")
    assert (found, models) == ([{"custom_id": "0" * 32, "body": {"messages": [HI]}}], ["m"])


def test_a_line_without_the_model_of_its_job_is_named() -> None:
    with pytest.raises(BadInput) as caught:
        lines({"model": "m", "messages": []}, {"messages": []}, provider="mistral")
    assert caught.value.place == "in.jsonl:6"
