"""The allotment of requests to workers: each goes to the one with the fewest in flight.

request -> worker -> ended
             +-> it is lost -> another worker
no worker there -> waits for one
"""

from __future__ import annotations

from collections import deque


class Allotment:
    """The requests of a run by worker. Requests and workers are known by their numbers."""

    def __init__(self) -> None:
        self._in_flight: dict[int, dict[int, None]] = {}  # by worker, in the order in which they came
        self._worker_of: dict[int, int | None] = {}  # by request, None for one that waits
        self._waiting: deque[int] = deque()

    @property
    def workers(self) -> int:
        """The number of workers."""
        return len(self._in_flight)

    def join(self, *workers: int) -> list[tuple[int, int]]:
        """Add workers. Returns the requests that waited for one, each with the worker that it goes to."""
        for worker in workers:
            self._in_flight[worker] = {}
        waiting, self._waiting = self._waiting, deque()
        given = [(number, self.give(number)) for number in waiting if number in self._worker_of]
        return [(number, worker) for number, worker in given if worker is not None]

    def leave(self, worker: int) -> list[int]:
        """Remove a worker. Returns the requests that it had, which have no worker now."""
        lost = list(self._in_flight.pop(worker, ()))
        for number in lost:
            del self._worker_of[number]
        return lost

    def give(self, number: int) -> int | None:
        """Give a request to a worker, and return that. None: it waits until one joins."""
        if not self._in_flight:
            self._worker_of[number] = None
            self._waiting.append(number)
            return None
        worker = min(self._in_flight, key=lambda each: len(self._in_flight[each]))
        self._give(number, worker)
        return worker

    def end(self, number: int) -> tuple[bool, int | None]:
        """End a request. Returns if it had not ended before, and its worker: None if it has none."""
        if number not in self._worker_of:
            return False, None
        worker = self._worker_of.pop(number)
        if worker is not None:
            del self._in_flight[worker][number]
        return True, worker

    def _give(self, number: int, worker: int) -> None:
        self._worker_of[number] = worker
        self._in_flight[worker][number] = None
