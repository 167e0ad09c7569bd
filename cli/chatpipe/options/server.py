"""Connection options as plain records. `--help` imports this module, so it stays light."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from chatpipe.named_tuple import NamedTuple
from chatpipe.options.files import FileUse, optional_uses


class KeyWaits(NamedTuple):
    """Waits for a key. note prints a note after two seconds.

    has_stopped is called many times a second, and the wait ends with NoAccess once it returns True. It is
    None for a wait in the main thread, which signals end.
    """

    note: Callable[[str], None] = lambda text: None
    has_stopped: Callable[[], bool] | None = None


SILENT_WAITS = KeyWaits()


class KeyWay(NamedTuple):
    """A way to give the API key: an option, or a setting of a profile.

    option is empty for a way that only profiles have. names is the kind of thing that the value names.
    read(value, environ, waits) returns the text that holds the key. shell_words(value) returns the expression
    by which a POSIX shell reads the same text in a here-document.
    """

    option: str
    metavar: str
    help: str
    names: Literal["file", "command", "descriptor", "variable", "keyring"]
    read: Callable[[str, Mapping[str, str], KeyWaits], str]
    shell_words: Callable[[str], str]

    @property
    def parameter(self) -> str:
        """The name that click gives to the value of the option, and that of the setting."""
        return self.option.removeprefix("--").replace("-", "_") or self.names


class KeySource(NamedTuple):
    """A place that holds the API key: a way, and its value.

    setting is its place in messages, None for the option. An optional source without a key is passed over.
    auth is the form in which the key is sent, None for that of the profile.
    """

    way: KeyWay
    value: str
    setting: str | None = None
    is_optional: bool = False
    auth: str | None = None

    @property
    def place(self) -> str:
        return self.setting or self.way.option

    @property
    def is_built_in(self) -> bool:
        """True for a variable that a built-in profile names, or that is known by itself."""
        return self.setting is not None and self.setting == self.variable

    @property
    def file(self) -> str | None:
        return self.value if self.way.names == "file" else None

    @property
    def descriptor(self) -> int | None:
        return int(self.value) if self.way.names == "descriptor" else None

    @property
    def variable(self) -> str | None:
        return self.value if self.way.names == "variable" else None


class ExchangeLimits(NamedTuple):
    """Limits of an exchange.

    Seconds to connect, between two reads or writes, and for the whole exchange; bytes of each reply.
    """

    connect_s: float = 10.0
    between_bytes_s: float = 600.0
    deadline_s: float | None = None
    max_reply_bytes: int = 64_000_000


class ServerOptions(NamedTuple):
    """The connection options as given on the command line. None or empty means not given.

    Of several keys the first counts. They are in the order of the table keys.KEY_WAYS. uses_jobs is true for
    the Batch API, which the built-in model does not have.
    """

    profile: str | None = None
    base_urls: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    header_file: str | None = None
    keys: tuple[KeySource, ...] = ()
    allow_http: bool = False
    proxy: str | None = None
    cacert: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    insecure: bool = False
    limits: ExchangeLimits = ExchangeLimits()
    uses_jobs: bool = False

    @property
    def stdin_claims(self) -> list[tuple[str, str]]:
        """Each of these options that reads a file, with its name; `-` for a key from descriptor 0.

        If one of the names is stdin, it is neither a prompt nor an input.
        """
        files = [(use.option, use.path) for use in self.uses]
        return files + [(source.way.option, "-") for source in self.keys if source.descriptor == 0]

    @property
    def words(self) -> tuple[str, ...]:
        """The options with which another command finds the same server, without what may be secret."""
        named = [("-p", self.profile), *(("--base-url", url) for url in self.base_urls)]
        named += [
            (source.way.option, source.value)
            for source in self.keys
            if source.setting is None and source.descriptor is None
        ]
        named += [("--header-file", self.header_file), ("--cacert", self.cacert)]
        named += [("--client-cert", self.client_cert), ("--client-key", self.client_key)]
        flags = [("--allow-http", self.allow_http), ("--insecure", self.insecure)]
        words = [word for option, value in named if value is not None for word in (option, value)]
        return (*words, *(flag for flag, is_set in flags if is_set))

    @property
    def uses(self) -> list[FileUse]:
        """The files that these options name: not part of the request, and never valid output files."""
        return optional_uses(
            ("--header-file", self.header_file, "reads"),
            *((source.way.option, source.file, "reads") for source in self.keys),
            ("--cacert", self.cacert, "reads"),
            ("--client-cert", self.client_cert, "reads"),
            ("--client-key", self.client_key, "reads"),
        )


class RetryPolicy(NamedTuple):
    """Retry limits. retries excludes the first attempt. A server may ask for max_delay_s at most."""

    retries: int = 4
    max_delay_s: float = 120.0
