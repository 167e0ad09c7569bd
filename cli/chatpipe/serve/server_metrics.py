"""The text of `/metrics`: gauges and counters by the names of vLLM, in the format of Prometheus 0.0.4.

Source: vLLM, docs/design/metrics.md, as of November 2026.
"""

from __future__ import annotations

from chatpipe.local.model import MODEL, Reply
from chatpipe.serve.slots_in_use import Slots

_CONTENT_TYPE = ("content-type", "text/plain; version=0.0.4; charset=utf-8")


class Metrics:
    """Counts what was answered, and shows it."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self.requests = 0
        self.prompt_tokens = 0
        self.completion_tokens = 0

    def count(self, usage: tuple[int, int]) -> None:
        """Count an answer that was sent whole, with its prompt and completion tokens."""
        self.requests += 1
        self.prompt_tokens += usage[0]
        self.completion_tokens += usage[1]

    def reply(self) -> Reply:
        rows = (
            ("num_requests_running", "gauge", "Requests that are being answered.", self._slots.running),
            ("num_requests_waiting", "gauge", "Requests that wait for a slot.", self._slots.waiting),
            ("request_success_total", "counter", "Answers that were sent whole.", self.requests),
            ("prompt_tokens_total", "counter", "Tokens of their prompts.", self.prompt_tokens),
            ("generation_tokens_total", "counter", "Tokens of their answers.", self.completion_tokens),
        )
        lines = [
            f"# HELP vllm:{name} {text}\n# TYPE vllm:{name} {kind}\n"
            f'vllm:{name}{{engine="0",model_name="{MODEL}"}} {float(value)}\n'
            for name, kind, text, value in rows
        ]
        return Reply(200, (_CONTENT_TYPE,), ("".join(lines).encode(),))
