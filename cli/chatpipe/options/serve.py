"""Options of `serve`. `--help` imports this module, so it stays light."""

from __future__ import annotations

from chatpipe.named_tuple import NamedTuple


class ServeOptions(NamedTuple):
    """The address of the local server, its limits, and the files that it writes.

    port 0 is any free port. chunk_delay_s is the time before each chunk of a stream but the first.
    require_key_env is the name of the variable with the key that clients have to send.
    """

    host: str = "127.0.0.1"
    port: int = 0
    chunk_delay_s: float = 0.0
    max_body: int = 64_000_000
    log: str | None = None
    require_key_env: str | None = None
