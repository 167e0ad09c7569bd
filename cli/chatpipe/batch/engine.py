"""The interface between a run and the code that sends its requests.

    Driver -- submit(RunRequest) --> Engine -- answered(number, Answer) --> Driver

The driver (driver.py) decides which items are sent, in which order results are written and when the run
stops. The engine (async_engine.py) waits for the rate limits and keeps requests in flight. How a request
travels is decided below it, by the transport: from this process, or through a worker of a cluster.
"""

from __future__ import annotations

from typing import Protocol

from chatpipe.inputs.values import Value
from chatpipe.line_record import LineRecord
from chatpipe.wire.answer import Answer


class RunRequest(LineRecord):
    """A request of a run. number counts its items from 0, line the lines of the input from 1."""

    number: int
    line: int
    custom_id: str
    body: dict[str, Value]
    fingerprint: str


class RequestSender(Protocol):
    """Sends one request to its final answer."""

    async def send(self, request: RunRequest) -> tuple[Answer, float]:
        """The answer, and the seconds that its last attempt took."""

    def stop(self) -> None:
        """End all waits that precede an attempt: their requests raise CancelledError."""


class Capacity(Protocol):
    """The number of requests that may be in flight now."""

    @property
    def limit(self) -> int: ...


class Callbacks(Protocol):
    """Questions and reports from an engine to the driver. No method raises or suspends."""

    def may_send(self, request: RunRequest) -> bool:
        """Reserve the budget of the first request in the queue, immediately before it is sent.

        After False the request stays in the queue. The engine asks again after the next answer, which
        may free a part of the budget. Once the run stops, the reply is always False.
        """

    def answered(self, number: int, answer: Answer, latency_s: float) -> None:
        """Accept the final answer to a request, and the seconds that its last attempt took."""

    def failed(self, error: BaseException) -> None:
        """End the run because of an error that is not the fault of one request."""


class Engine(Protocol):
    """Sends requests and reports each answer once. Answers may come in any order.

    The driver calls start() first, then submit() for each request, each followed by room(), then drain().
    It may call stop() at any time. A request that stop() prevents or abandons has no answer.
    """

    def start(self, callbacks: Callbacks) -> None:
        """Set the receiver of the answers."""

    def submit(self, request: RunRequest) -> None:
        """Add a request to the queue, and send it if there is a free slot."""

    async def room(self) -> None:
        """Wait until the engine wants another request.

        An engine should want some requests before it can send them, so that the next one is ready
        when an answer arrives.
        """

    def flush(self) -> None:
        """Send the queue soon, without waiting for more: the driver waits for an answer itself."""

    async def drain(self) -> None:
        """Wait until nothing is in flight. No more requests will be submitted."""

    def stop(self, *, now: bool) -> None:
        """Start nothing more. With now, abandon the requests in flight too. May be called again."""
