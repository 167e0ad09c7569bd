"""Gauges of the user's own server: the requests that run and wait there -> an upper bound of the window.

    text of /metrics -> Gauges -> QueueBound -> the most requests that are worth having in flight

Only servers that queue have such gauges. Throughput finds the capacity of these too, but its probes
go beyond it; the gauges show the queue at once. They never raise the number in flight.
"""

from __future__ import annotations

import math
import re
from collections import deque

from chatpipe.named_tuple import NamedTuple

# The gauges of requests that run and that wait, by server:
# vLLM (docs/design/metrics.md), SGLang (docs/references/production_metrics.md) and llama.cpp
# (tools/server/README.md, with --metrics), each as of November 2026.
_NAMES = (
    ("vllm:num_requests_running", "vllm:num_requests_waiting"),
    ("sglang:num_running_reqs", "sglang:num_queue_reqs"),
    ("llamacpp:requests_processing", "llamacpp:requests_deferred"),
)
# The text format of Prometheus, version 0.0.4: a name, labels in braces, a value and perhaps a time.
_SAMPLE = re.compile(
    rb"^[ \t]*(%b)[ \t]*(?:\{(?:[^\"}\n]|\"(?:[^\"\\\n]|\\.)*+\")*+\}|(?=[ \t]))[ \t]*(\S+)"
    % b"|".join(name.encode() for names in _NAMES for name in names),
    re.MULTILINE,
)
_COMMENT = re.compile(rb"^# (?:TYPE|HELP) ", re.MULTILINE)

# Readings in a row that set the bound, and that lift it: a burst of requests waits for a moment anywhere.
_IN_A_ROW = 3
# Readings with a queue that the bound is taken from: what runs at a time varies with the requests.
_REMEMBERED = 8
_SLACK = 1 / 10  # of what runs, and at least 1: the next requests wait at the server when others end
# The share of our requests that the gauges must count. They may be a second or two old.
_LEAST_COUNTED = 3 / 4


class Gauges(NamedTuple):
    """The requests that run at the server and those that wait, of all clients, models and engines."""

    running: float
    waiting: float


def parse_gauges(text: bytes) -> Gauges | None:
    """The gauges in a text of Prometheus. None for any other text, and for a value that is no count.

    Samples of one name are added up: servers have one for each model and engine. A gauge without a sample
    is 0, because some servers report nothing until a request has run.
    """
    sums: dict[str, float] = {}
    for name, value in _SAMPLE.findall(text):
        try:
            count = float(value)
        except ValueError:
            return None
        if not 0 <= count < math.inf:
            return None
        sums[name.decode()] = sums.get(name.decode(), 0.0) + count
    if not sums and not _COMMENT.search(text):
        return None
    found = (names for names in _NAMES if sums.keys() & names)
    running, waiting = next(found, _NAMES[0])
    return Gauges(sums.get(running, 0.0), sums.get(waiting, 0.0))


class QueueBound:
    """The most requests that are worth having in flight, None as long as the server has no queue.

    While requests wait, what runs is what the server has room for. After 3 readings with a queue the bound
    is the most that ran in the last 8 of them, and a tenth more. After 3 readings without a queue there is
    no bound. In between it stays, so that the limit does not change every second.

    Requests of other clients count as if they were ours: the bound is then higher than our share, and never
    below what of ours runs. The throughput finds our share. A reading that counts fewer requests than we
    have at the server is about a part of it, such as one of several servers behind a balancer. It shows no
    queue, and neither does one in which nothing runs.
    """

    __slots__ = ("_alike", "_has_queue", "_running", "most")

    def __init__(self) -> None:
        self.most: int | None = None
        self._has_queue = False  # in the last reading
        self._alike = 0  # readings in a row with a queue, or without
        self._running: deque[float] = deque(maxlen=_REMEMBERED)

    def observe(self, gauges: Gauges, ours: int) -> int | None:
        """Learn from a reading and return the bound. ours is the number of our requests at the server."""
        is_whole = gauges.running + gauges.waiting >= _LEAST_COUNTED * ours
        has_queue = is_whole and gauges.waiting >= 1 and gauges.running >= 1
        self._alike = self._alike + 1 if has_queue is self._has_queue else 1
        self._has_queue = has_queue
        if has_queue:
            self._running.append(gauges.running)
        if self._alike >= _IN_A_ROW:
            self._decide()
        return self.most

    def _decide(self) -> None:
        if not self._has_queue:
            self._running.clear()
            self.most = None
            return
        running = math.ceil(max(self._running))
        slack = max(1, round(_SLACK * running))
        if self.most is None or not running <= self.most <= running + 2 * slack:
            self.most = running + slack
