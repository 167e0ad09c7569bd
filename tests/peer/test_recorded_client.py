"""The official library of OpenAI through a server that records, and cassettes that vcrpy makes of it.

`make test` installs both libraries into .venv-peer; CHATPIPE_PEER_PYTHON names another Python that has them.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from peer.openai_python import run_with_openai
from peer.test_openai_client import FAULTS, SCRIPT
from serve.client import serving

pytestmark = [pytest.mark.peer, pytest.mark.timeout(300)]

CASSETTE = """
import sys
try:
    import openai, vcr
except ImportError:
    sys.exit(9)
url, path, serializer = sys.argv[1:]
with vcr.VCR(serializer=serializer).use_cassette(path, record_mode="all"):
    client = openai.OpenAI(base_url=url, api_key="k-1")
    for stream in (False, True):
        message = {"role": "user", "content": f"stream {stream}"}
        answer = client.chat.completions.create(model="echo", messages=[message], stream=stream)
        list(answer) if stream else answer
"""
REPLAY = """
import sys, openai
client = openai.OpenAI(base_url=sys.argv[1], api_key="k-2", max_retries=0)
for recorded in (False, True):
    messages = [{"role": "user", "content": f"stream {recorded}"}]
    print(client.chat.completions.create(model="echo", messages=messages).choices[0].message.content)
    chunks = client.chat.completions.create(model="echo", messages=messages, stream=True)
    print("".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices))
"""


def test_the_library_sees_no_difference(tmp_path: Path) -> None:
    """Whether it asks a server itself, or through one that records: answers, faults, files and batches."""
    faults = [word for fault in FAULTS for word in ("--fault", f"{fault}:match=<{fault}>")]
    recording = ("--record", str(tmp_path / "r.jsonl"))
    with serving("--require-key-env", "KEY", *faults, env={"KEY": "k-1"}) as behind:
        direct = json.loads(run_with_openai(SCRIPT, behind.url, *FAULTS))
        with serving("--upstream", behind.url, *recording) as ours:
            assert json.loads(run_with_openai(SCRIPT, ours.url, *FAULTS)) == direct


@pytest.mark.parametrize("serializer", ["json", "yaml"])
def test_cassettes_of_the_library(tmp_path: Path, serializer: str) -> None:
    path = tmp_path / f"cassette.{serializer}"
    with serving() as behind:
        run_with_openai(CASSETTE, behind.url, str(path), serializer)
    with serving("--replay", str(path)) as ours:
        texts = run_with_openai(REPLAY, ours.url).splitlines()
    assert texts == [b"stream False", b"stream False", b"stream True", b"stream True"]
