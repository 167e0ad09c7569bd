"""The five examples of the provider's reference: what their cases send, against the collected originals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from test_cases import CASES, read

EXAMPLES = Path(__file__).parents[2].parent / "shared" / "api" / "examples"


@pytest.mark.parametrize("name", ["default", "image", "functions", "logprobs", "stream"])
def test_the_case_sends_what_the_reference_shows(name: str) -> None:
    original = EXAMPLES / f"seed-{name}.request.json"
    if not original.exists():
        pytest.skip("the reference's examples are not here")
    wire = read((CASES / "reference" / f"{name}.case").read_text(encoding="utf-8")).one("wire")
    assert wire is not None
    assert json.loads(wire.text.partition("\n\n")[2]) == json.loads(original.read_text(encoding="utf-8"))
