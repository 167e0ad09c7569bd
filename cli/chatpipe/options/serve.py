"""Options of `serve`. `--help` imports this module, so it stays light."""

from __future__ import annotations

from chatpipe.named_tuple import NamedTuple
from chatpipe.options.files import FileUse, optional_uses
from chatpipe.options.recordings import RecordingOptions


class Latency(NamedTuple):
    """A time before the first byte of a reply: always median_s, or lognormal if sigma is above 0."""

    median_s: float = 0.0
    sigma: float = 0.0


class StatusValue(NamedTuple):
    """A status with which a request is refused, and the seconds of Retry-After, None for no such header."""

    code: int
    retry_after_s: float | None = None


# Scheme, host and port of a web page, as they are compared.
Origin = tuple[str, str, int | None]
FaultValue = StatusValue | float | int | str | None


class BatchLife(NamedTuple):
    """The life of a batch from its creation to its end: a number of polls, or if that is 0, seconds."""

    polls: int = 0
    seconds: float = 0.0


class FaultRule(NamedTuple):
    """A fault, and the requests that have it. value is what its kind takes, None if it was not given.

    Requests with the same body are counted from 1; with of_all, all requests are. Requests that match and
    model exclude are not counted. The first `after` have no fault. Of the rest every `every`-th has it, with
    the probability chance, and `times` of them at most. match is a text in one of the messages, model a
    pattern that is searched for in the name of the model. place is the faulty call, a word of PLACES.
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
    place: str = "chat"

    def is_due(self, count: int) -> bool:
        """Return True for the count-th request, apart from its chance."""
        number, rest = divmod(count - self.after, self.every)
        return number > 0 and not rest and (self.times is None or number <= self.times)


# `line` is a line of a batch. The others are calls: `poll` retrieves a batch, `content` downloads a file.
PLACES = ("chat", "line", "upload", "content", "create", "poll", "list", "cancel")


class ServeOptions(NamedTuple):
    """The address of the local server, its limits, and the files that it writes.

    allow_hosts are more names of the server, and allow_origins the origins of web pages that may use it.
    slots is the number of requests that are answered at a time, and queue lets the others wait. rpm and tpm
    are requests and tokens a minute, reported in the headers of dialect. seed seeds everything random.
    port 0 is any free port. chunk_delay_s is the time before each chunk of a stream but the first.
    max_files is the bytes of all files together, batch_lines the most requests of a batch.
    require_key_env is the name of the variable with the key that clients have to send. upstream is the base
    URL of the server that answers in place of the model; with allow_http its keys may go unencrypted.
    script is a file of rules, which answer in place of the model. verdict is the file of the verdict on the
    client, and fail_on_verdict makes it the exit status.
    replay_speed divides the times of recordings, and is infinite for none.
    """

    host: str = "127.0.0.1"
    port: int = 0
    allow_hosts: tuple[str, ...] = ()
    allow_origins: tuple[Origin, ...] = ()
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
    batch_life: BatchLife = BatchLife(polls=4)
    batch_lines: int = 50_000
    max_files: int = 1_000_000_000
    script: str | None = None
    verdict: str | None = None
    fail_on_verdict: bool = False
    recordings: RecordingOptions = RecordingOptions()
    replay_speed: float = 1.0

    @property
    def uses(self) -> list[FileUse]:
        """The files of the server, without its standard streams."""
        written = (("--log", self.log), ("--verdict", self.verdict))
        script = None if self.script == "-" else self.script
        return [
            *optional_uses(("--script", script, "reads")),
            *optional_uses(*((option, path, "writes") for option, path in written if path != "-")),
            *self.recordings.uses,
        ]
