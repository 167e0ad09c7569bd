"""Gauges of one's own server: texts of /metrics, and the bound that a sequence of readings gives."""

from __future__ import annotations

from chatpipe.limits.gauges import Gauges, QueueBound, parse_gauges
from support.parametrize import cases

VLLM = b"""\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="a"} 5.0
vllm:num_requests_running{engine="1",model_name="a"} 3.0
# HELP vllm:num_requests_waiting Number of requests waiting to be processed.
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="a"} 2.0
vllm:num_requests_waiting{engine="1",model_name="a"} 0.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="a",reason="capacity"} 2.0
vllm:prompt_tokens_total{engine="0",model_name="a"} 1.7e+09
"""
LLAMACPP = b"""\
# HELP llamacpp:requests_processing Number of requests processing.
# TYPE llamacpp:requests_processing gauge
llamacpp:requests_processing 4
# HELP llamacpp:requests_deferred Number of requests deferred.
# TYPE llamacpp:requests_deferred gauge
llamacpp:requests_deferred 46
"""
SGLANG = b'sglang:num_running_reqs{model_name="b"} 8\nsglang:num_queue_reqs{model_name="b"} 4\n'
RUNNING = b"vllm:num_requests_running"


@cases(
    "text, expected",
    {
        "vLLM, summed over its engines": (VLLM, Gauges(8, 2)),
        "SGLang": (SGLANG, Gauges(8, 4)),
        "llama.cpp": (LLAMACPP, Gauges(4, 46)),
        "lines end in CR LF": (LLAMACPP.replace(b"\n", b"\r\n"), Gauges(4, 46)),
        "no end of the last line": (LLAMACPP.rstrip(), Gauges(4, 46)),
        "with times": (SGLANG.replace(b"\n", b" 1395066363000\n"), Gauges(8, 4)),
        "blanks and tabs": (b" \tvllm:num_requests_running\t{ } \t 7 \n", Gauges(7, 0)),
        "braces and quotes in a label": (RUNNING + rb'{model_name="a } \" {",engine="0"} 6', Gauges(6, 0)),
        "exponent": (RUNNING + b" 1.2e+01", Gauges(12, 0)),
        "names that only begin alike": (VLLM[:1] + b" TYPE x y\n" + RUNNING + b"_total 9", Gauges(0, 0)),
        "no sample yet": (b"# TYPE sglang:num_running_reqs gauge\n", Gauges(0, 0)),
        "gauges of another server": (b"# TYPE up gauge\nup 1\n", Gauges(0, 0)),
        "name inside a comment": (b"# HELP x\n# vllm:num_requests_running 5\n", Gauges(0, 0)),
        "empty": (b"", None),
        "web page": (b"<html><body># TYPE of page</body></html>", None),
        "JSON": (b'{"vllm:num_requests_running": 5}', None),
        "no number": (RUNNING + b" many", None),
        "not a number": (RUNNING + b" NaN", None),
        "infinite": (RUNNING + b" +Inf", None),
        "negative": (RUNNING + b" -1", None),
    },
)
def test_gauges_are_read_by_the_names_of_each_server(text: bytes, expected: Gauges | None) -> None:
    assert parse_gauges(text) == expected


def test_text_without_end_takes_linear_time() -> None:
    """Quotes that are never closed. Quadratic time would be minutes."""
    assert parse_gauges(RUNNING + b"{" + b'a="' * 1_000_000) is None


FULL, FREE = Gauges(64, 9), Gauges(40, 0)


def bounds(*readings: Gauges, ours: int = 60) -> list[int | None]:
    """The bound after each of the readings."""
    bound = QueueBound()
    return [bound.observe(reading, ours) for reading in readings]


@cases(
    "readings, expected",
    {
        "a queue for a moment": ([FULL, FULL, FREE, FULL, FULL], None),
        "a queue that stays": ([FULL] * 3, 70),
        "a gap is not the end of it": ([*[FULL] * 3, FREE, FREE], 70),
        "no queue any more": ([*[FULL] * 3, *[FREE] * 3], None),
        "a queue again": ([*[FULL] * 3, *[FREE] * 3, *[Gauges(20, 60)] * 3], 22),
        "at least one more": ([Gauges(1, 80)] * 3, 2),
        "the most that ran": ([Gauges(50, 30), Gauges(64, 16), Gauges(57, 23)], 70),
        "small changes do not move it": ([*[FULL] * 3, Gauges(68, 2)], 70),
        "more runs than it was": ([*[FULL] * 3, Gauges(80, 1)], 88),
        "less runs, for long": ([*[FULL] * 3, *[Gauges(30, 40)] * 7], 70),
        "less runs, for longer": ([*[FULL] * 3, *[Gauges(30, 40)] * 8], 33),
        "nothing runs": ([Gauges(0, 70)] * 9, None),
        "part of the server": ([Gauges(32, 5)] * 9, None),
        "a little late": ([Gauges(32, 14)] * 9, 35),
        "other clients": ([Gauges(100, 900)] * 3, 110),
    },
)
def test_a_queue_that_lasts_bounds_the_requests_in_flight(
    readings: list[Gauges], expected: int | None
) -> None:
    assert bounds(*readings)[-1] == expected
