"""The proxy of LiteLLM, which this project did not write, with mock models, and `serve` behind its Batch API.

`make test` installs it into .venv-peer; CHATPIPE_PEER_PYTHON names another Python that has it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from serve.client import serving
from support.process import Process, environment
from support.programs import missing
from support.servers.loopback import closed_port

KEY = "sk-peer-1"
SAYS = "Good day to you, peer."
_START_S = 240.0  # 6 s on a fast machine, and it shares it with the other tests

# Every model but the last is a mock, and the keys are looked at by the function below.
_CONFIG = """
model_list:
  - model_name: mock
    litellm_params: {{model: openai/mock, api_key: none, mock_response: "{says}"}}
  - model_name: limited
    litellm_params: {{model: openai/mock, api_key: none, mock_response: litellm.RateLimitError}}
  - model_name: broken
    litellm_params: {{model: openai/mock, api_key: none, mock_response: litellm.InternalServerError}}
  - model_name: small
    litellm_params: {{model: openai/mock, api_key: none, mock_response: litellm.ContextWindowExceededError}}
  - model_name: labels
    litellm_params: {{model: openai/mock, api_key: none, mock_response: '{{"label": "good"}}'}}
  - model_name: caller
    litellm_params:
      model: openai/mock
      api_key: none
      mock_response: ""
      mock_tool_calls:
        - {{id: call_1, type: function, function: {{name: get_weather, arguments: '{{"city": "Oslo"}}'}}}}
  - model_name: echo
    litellm_params: {{model: openai/echo, api_key: none, api_base: "{url}"}}
files_settings:
  - {{custom_llm_provider: openai, api_base: "{url}", api_key: none}}
general_settings: {{master_key: {key}, custom_auth: peer_auth.check}}
litellm_settings: {{telemetry: false, num_retries: 0}}
router_settings: {{num_retries: 0, disable_cooldowns: true}}
"""
# Without a database of keys the proxy has no answer of its own to a wrong one.
_AUTH = f"""
from litellm.proxy._types import ProxyException, UserAPIKeyAuth

async def check(request, api_key):
    if api_key != "{KEY}":
        raise ProxyException(message="wrong key", type="auth_error", param="key", code=401)
    return UserAPIKeyAuth(api_key=api_key)
"""
# Of the server behind it. The files that it gets are told apart by their number.
_FAULTS = ("batch-expire=2:of=all:after=2:times=1", "batch-unseen:of=all:times=1")


def peer_python() -> Path:
    """The Python that has LiteLLM. The test is skipped where there is none."""
    named = os.environ.get("CHATPIPE_PEER_PYTHON")
    python = Path(named) if named else Path(__file__).parents[2] / ".venv-peer" / "bin" / "python"
    if not (python.parent / "litellm").exists():
        missing(f"no LiteLLM beside '{python}': make .venv-peer/.installed, or set CHATPIPE_PEER_PYTHON")
    return python


@contextmanager
def running_proxy(folder: Path) -> Iterator[str]:
    """The base URL of the proxy, once it answers."""
    python, port = peer_python(), closed_port()
    options = [word for fault in _FAULTS for word in ("--fault", fault)]
    with serving("--batch-life", "2", *options) as server, (folder / "log").open("wb") as log:
        (folder / "config.yaml").write_text(_CONFIG.format(url=server.url, key=KEY, says=SAYS))
        (folder / "peer_auth.py").write_text(_AUTH)
        command = [str(python.parent / "litellm"), "--config", "config.yaml", "--telemetry", "False"]
        command += ["--host", "127.0.0.1", "--port", str(port)]
        env = {"HOME": str(folder), "LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_PROXY": "*"}
        env |= {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "none"}
        with Process(
            command, cwd=folder, env=environment(env), stdin=subprocess.DEVNULL, stdout=log, stderr=log
        ) as process:
            _wait_until_it_answers(port, process, folder / "log")
            yield f"http://127.0.0.1:{port}/v1"


def _wait_until_it_answers(port: int, process: Process, log: Path) -> None:
    end = time.monotonic() + _START_S
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as connection:
            connection.settimeout(5)
            connection.sendall(b"GET /health/liveliness HTTP/1.0\r\n\r\n")
            if b"200" in connection.recv(100):
                return
        time.sleep(0.1)
    pytest.fail(f"LiteLLM does not come up:\n{log.read_text(errors='replace')[-3000:]}")
