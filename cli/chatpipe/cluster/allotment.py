"""The allotment of requests to workers: each goes to the one with the fewest in flight."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from typing import TypeVar

_T = TypeVar("_T")


def allot(requests: Iterable[_T], in_flight: Mapping[int, int]) -> dict[int, list[_T]]:
    """The requests by worker. in_flight has the number that each worker has already; it is not empty."""
    loads = [(load, worker) for worker, load in in_flight.items()]
    heapq.heapify(loads)
    allotted: dict[int, list[_T]] = {}
    for request in requests:
        load, worker = loads[0]
        allotted.setdefault(worker, []).append(request)
        heapq.heapreplace(loads, (load + 1, worker))
    return allotted
