"""Connection options as plain records. `--help` imports this module, so it stays light."""

from typing import NamedTuple


class KeySource(NamedTuple):
    """The options that locate the API key. The first one that is set wins."""

    file: str | None = None
    command: str | None = None
    descriptor: int | None = None


class TimeLimits(NamedTuple):
    """Time limits in seconds: to connect, between two reads or writes, and for the whole exchange."""

    connect_s: float = 10.0
    between_bytes_s: float = 600.0
    deadline_s: float | None = None


class ServerOptions(NamedTuple):
    """The connection options as given on the command line. None or empty means not given."""

    profile: str | None = None
    base_url: str | None = None
    headers: tuple[str, ...] = ()
    header_file: str | None = None
    key: KeySource = KeySource()
    allow_http: bool = False
    proxy: str | None = None
    cacert: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    insecure: bool = False
    limits: TimeLimits = TimeLimits()

    @property
    def reads_stdin(self) -> bool:
        """True if the key is read from stdin, which then is neither a prompt nor an input."""
        return self.key.descriptor == 0

    @property
    def files(self) -> list[str]:
        """The files that these options name: not part of the request, and never valid output files."""
        named = (self.header_file, self.key.file, self.cacert, self.client_cert, self.client_key)
        return [name for name in named if name]


class RetryPolicy(NamedTuple):
    """Retry limits. retries excludes the first attempt. A server may request at most longest_wait_s."""

    retries: int = 4
    max_delay_s: float = 120.0
