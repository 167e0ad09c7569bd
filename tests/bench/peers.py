"""Two programs that do what `ask` does: `llm`, and five lines with the openai SDK. Both are asked for
no more than we do: no log, no retries."""

from __future__ import annotations

from . import peervenv
from .machine import Place
from .measure import Case

LLM = "llm"
# Each peer, and the end of the name of what we compare it with.
KINDS = {
    LLM: "",
    "llm, streamed": ", streamed",
    "openai SDK": "",
    "openai SDK, streamed": ", streamed",
}

_SDK = """\
import sys
from openai import OpenAI
client = OpenAI(base_url=sys.argv[1], api_key="none", max_retries=0)
messages = [{"role": "user", "content": "Hello"}]
print(client.chat.completions.create(model="m", messages=messages).choices[0].message.content)
"""
_SDK_STREAMED = """\
import sys
from openai import OpenAI
client = OpenAI(base_url=sys.argv[1], api_key="none", max_retries=0)
messages = [{"role": "user", "content": "Hello"}]
for chunk in client.chat.completions.create(model="m", messages=messages, stream=True):
    print(chunk.choices[0].delta.content or "", end="", flush=True)
"""


def cases(place: Place, whole: str, streamed: str) -> list[Case]:
    """whole and streamed are base URLs. Raises peervenv.Missing."""
    python = peervenv.python()
    user = place.scratch / "llm"
    user.mkdir()
    (user / "extra-openai-models.yaml").write_text(_model("whole", whole) + _model("streamed", streamed))
    environment = {**place.environment(), "LLM_USER_PATH": str(user)}
    llm = [str(python.with_name("llm")), "-m"]
    answer, last_piece = b"An answer that was made beforehand", b"piece 000019"
    return [
        Case(LLM, [*llm, "whole", "--no-log", "--no-stream", "Hello"], environment, answer),
        Case("llm, streamed", [*llm, "streamed", "--no-log", "Hello"], environment, last_piece),
        Case("openai SDK", [str(python), "-c", _SDK, whole], environment, answer),
        Case("openai SDK, streamed", [str(python), "-c", _SDK_STREAMED, streamed], environment, last_piece),
    ]


def _model(name: str, url: str) -> str:
    # api_key_name none: without it llm asks for a key
    return f"- model_id: {name}\n  model_name: m\n  api_base: {url}\n"
