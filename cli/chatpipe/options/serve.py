"""Options of `serve`. `--help` imports this module, so it stays light."""

from __future__ import annotations

from chatpipe.named_tuple import NamedTuple


class Latency(NamedTuple):
    """A time before the first byte of a reply: always median_s, or lognormal if sigma is above 0."""

    median_s: float = 0.0
    sigma: float = 0.0


class StatusValue(NamedTuple):
    """A status with which a request is refused, and the seconds of Retry-After, None for no such header."""

    code: int
    retry_after_s: float | None = None


FaultValue = StatusValue | float | int | str | None


class FaultRule(NamedTuple):
    """A fault, and the requests that have it. value is that of its kind, None if it was not given.

    The requests of one body are counted from 1, or with of_all those of all bodies; only those count that
    match and model admit. The first `after` have no fault; of the rest each `every`-th has it, `times` of
    them at most, with the probability chance. match is a text in one of the messages, model a pattern that
    the name of the model has to contain.
    """

    kind: str
    value: FaultValue = None
    times: int | None = None
    after: int = 0
    every: int = 1
    chance: float = 1.0
    of_all: bool = False
    match: str | None = None
    model: str | None = None

    def is_due(self, count: int) -> bool:
        """Return True for the count-th request, apart from its chance."""
        number, rest = divmod(count - self.after, self.every)
        return number > 0 and not rest and (self.times is None or number <= self.times)


class ServeOptions(NamedTuple):
    """The address of the local server, its limits, and the files that it writes.

    slots is the number of requests that are answered at a time, and queue lets the others wait. rpm and tpm
    are requests and tokens a minute, reported in the headers of dialect. seed is that of all that is random.
    port 0 is any free port. chunk_delay_s is the time before each chunk of a stream but the first.
    require_key_env is the name of the variable with the key that clients have to send. upstream is the base
    URL of the server that answers in place of the model; with allow_http its keys may go unencrypted.
    """

    host: str = "127.0.0.1"
    port: int = 0
    chunk_delay_s: float = 0.0
    max_body: int = 64_000_000
    log: str | None = None
    latency: Latency = Latency()
    slots: int | None = None
    queue: bool = False
    rpm: float | None = None
    tpm: float | None = None
    dialect: str = "openai"
    seed: int = 0
    faults: tuple[FaultRule, ...] = ()
    require_key_env: str | None = None
    upstream: str | None = None
    allow_http: bool = False
