"""Options of `serve`. `--help` imports this module, so it stays light."""

from __future__ import annotations

from chatpipe.named_tuple import NamedTuple


class Latency(NamedTuple):
    """A time before the first byte of a reply: always median_s, or lognormal if sigma is above 0."""

    median_s: float = 0.0
    sigma: float = 0.0


class ServeOptions(NamedTuple):
    """The address of the local server, its limits, and the files that it writes.

    slots is the number of requests that are answered at a time, and queue lets the others wait. rpm and tpm
    are requests and tokens a minute, reported in the headers of dialect. seed is that of all that is random.
    port 0 is any free port. chunk_delay_s is the time before each chunk of a stream but the first.
    require_key_env is the name of the variable with the key that clients have to send.
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
    require_key_env: str | None = None
