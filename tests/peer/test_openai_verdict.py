"""The rows of the official library in the table of chatpipe-testing(7)."""

from __future__ import annotations

from pathlib import Path

import pytest

from manual.verdict_table import prompts, table, verdict_on
from peer.openai_python import run_with_openai

pytestmark = [pytest.mark.peer, pytest.mark.timeout(300)]

SCRIPT = """
import sys
import openai
client = openai.OpenAI(base_url=sys.argv[1], api_key="k-1")
for words in sys.argv[3:]:
    messages = [{"role": "user", "content": words}]
    try:
        if sys.argv[2] == "streamed":
            list(client.chat.completions.create(model="echo", messages=messages, stream=True))
        else:
            client.chat.completions.create(model="echo", messages=messages)
    except (openai.APIError, ValueError):
        pass
"""


@pytest.mark.parametrize("form", ["streamed", "whole"])
def test_row_is_what_the_library_does(form: str, tmp_path: Path) -> None:
    found = verdict_on(lambda url: run_with_openai(SCRIPT, url, form, *prompts()), tmp_path)
    assert found == table()[f"openai, {form}"]
