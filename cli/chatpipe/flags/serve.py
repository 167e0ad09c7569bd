"""Options of `serve`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from chatpipe.errors import UsageFault
from chatpipe.flags.limits import ABOVE_ZERO
from chatpipe.flags.option_groups import option_group, under
from chatpipe.flags.server import KeyVariable
from chatpipe.flags.types import FILE, Count, Integer, OneOf, Size, TextType, Word
from chatpipe.options.recordings import RecordingOptions
from chatpipe.options.serve import BatchLife, FaultRule, Latency, Origin, ServeOptions
from chatpipe.response.delays import parse_duration, parse_number
from chatpipe.serve.dialects import DIALECTS
from chatpipe.serve.draws import parse_latency
from chatpipe.serve.fault_grammar import API_KINDS, KINDS, NoFault, parse_fault
from chatpipe.serve.site_access import parse_host, parse_origin

option = under("Server")
_replies_option = under("Replies")
_limits_option = under("Limits and faults")
_batch_option = under("Batch API")
_recordings_option = under("Recordings")
_output_option = under("Output")

_MAX_PORT = 65_535
_UNKNOWN_TOKENS = "the tokens of an answer are not known before it is complete"
_LONGEST_S = 86_400.0
_DEFAULTS = ServeOptions()


class _Port(Integer):
    name = "port"

    def parse(self, text: str) -> int:
        port = super().parse(text)
        if not 0 <= port <= _MAX_PORT:
            raise ValueError(f"'{text}' is not a port, 0 to {_MAX_PORT}")
        return port


class _AddressType(TextType):
    """A name, or an address, which may have the brackets that it has in a URL."""

    name = "address"

    def parse(self, text: str) -> str:
        return text[1:-1] if text.startswith("[") and text.endswith("]") else text


class _HostType(TextType):
    name = "name"

    def parse(self, text: str) -> str:
        return parse_host(text)


class _OriginType(TextType):
    name = "origin"

    def parse(self, text: str) -> Origin:
        return parse_origin(text)


class Duration(TextType):
    """A time with its unit, `50ms` or `1.5s`, or a number of seconds; at most a day."""

    name = "time"
    metavar = "TIME"

    def parse(self, text: str) -> float:
        seconds = parse_duration(text)
        if seconds is None or not 0 <= seconds <= _LONGEST_S:
            raise ValueError(f"'{text}' is not a time, such as 50ms or 1.5s, of at most a day")
        return seconds


class _LatencyType(TextType):
    name = "time"

    def parse(self, text: str) -> Latency:
        latency = parse_latency(text)
        if latency is None:
            raise ValueError(f"'{text}' is neither a time such as 50ms nor lognormal:50ms:0.5")
        return latency


class _LifeType(TextType):
    name = "life"

    def parse(self, text: str) -> BatchLife:
        if text.isascii() and text.isdecimal() and 1 <= len(text) < 10 and int(text) > 0:
            return BatchLife(polls=int(text))
        seconds = None if text[-1:].isdecimal() else parse_duration(text)
        if seconds is None or not 0 < seconds <= _LONGEST_S:
            raise ValueError(f"'{text}' is neither a number of polls such as 4 nor a time such as 10s")
        return BatchLife(seconds=seconds)


class _SpeedType(Word):
    name = "speed"

    def parse(self, text: str) -> float:
        if text == "max":
            return math.inf
        speed = parse_number(text)
        if speed is None or not 0 < speed < math.inf:
            raise ValueError(f"'{text}' is not a number above 0, such as 10, and not max")
        return speed


class _FaultType(Word):
    name = "fault"

    def parse(self, text: str) -> FaultRule:
        try:
            return parse_fault(text)
        except NoFault as error:
            raise ValueError(str(error)) from error


def _read(*, chunk_delay: float, **others: Any) -> ServeOptions:
    if others["upstream"] is not None:
        _refuse_with_upstream(others)
    elif others["allow_http"]:
        raise UsageFault("there is no --upstream", place="--allow-http", fix="leave it out")
    if others["queue"] and others["slots"] is None:
        raise UsageFault("no request waits for a slot", place="--queue", fix="add --slots N")
    if others["dialect"] != _DEFAULTS.dialect and others["rpm"] is None and others["tpm"] is None:
        raise UsageFault("there is no limit to report", place="--dialect", fix="add --rpm N or --tpm N")
    return ServeOptions(chunk_delay_s=chunk_delay, **others)


def with_recordings(options: ServeOptions, recordings: RecordingOptions) -> ServeOptions:
    """The options, with those of recordings. Raises UsageFault for combinations without a meaning."""
    if recordings.record is not None and options.upstream is None:
        raise UsageFault("there is nothing to record", place="--record", fix="add --upstream URL")
    if recordings.replay is None and options.replay_speed != 1:
        raise UsageFault("there is nothing to replay", place="--replay-speed", fix="add --replay FILE")
    if recordings.replay is not None and options.tpm is not None:
        raise UsageFault(_UNKNOWN_TOKENS, place="--tpm", fix="limit requests with --rpm")
    if options.upstream is not None:
        _refuse_of_batches(options, "--upstream")
    elif recordings.replay is not None:
        _refuse_of_batches(options, "--replay")
    return options._replace(recordings=recordings)


def _refuse_of_batches(options: ServeOptions, beside: str) -> None:
    """Refuse the options of the Batch API, which the server has only where it answers by itself."""
    reason = f"the server has no Batch API of its own beside {beside}"
    for name in ("batch_life", "batch_lines", "max_files"):
        if getattr(options, name) != getattr(_DEFAULTS, name):
            raise UsageFault(reason, place=f"--{name.replace('_', '-')}", fix="leave it out")
    if fault := next((each for each in options.faults if each.place != "chat"), None):
        raise UsageFault(reason, place=f"--fault {fault.kind}", fix="leave it out")


def _refuse_with_upstream(given: Mapping[str, Any]) -> None:
    """Refuse the options that have no effect with --upstream."""
    if given["tpm"] is not None:
        raise UsageFault(_UNKNOWN_TOKENS, place="--tpm", fix="limit requests with --rpm")
    if given["require_key_env"] is not None:
        reason = "the keys of clients are those of --upstream, which checks them itself"
        raise UsageFault(reason, place="--require-key-env", fix="leave it out")


options = option_group(
    "options",
    [
        option(
            "--host",
            metavar="ADDRESS",
            type=_AddressType(),
            default=_DEFAULTS.host,
            help="Address to listen on",
        ),
        option(
            "--port",
            metavar="N",
            type=_Port(),
            default=_DEFAULTS.port,
            daily=True,
            help="Port to listen on; 0 is any free port",
        ),
        _replies_option(
            "--chunk-delay",
            type=Duration(),
            default=_DEFAULTS.chunk_delay_s,
            daily=True,
            help="Time between two chunks of a stream, such as 20ms",
        ),
        _replies_option(
            "--latency",
            metavar="TIME",
            type=_LatencyType(),
            default="0",
            daily=True,
            help="Time before a reply, such as 50ms or lognormal:50ms:0.5",
        ),
        _limits_option(
            "--slots",
            type=Count(1),
            daily=True,
            help="Answer at most N requests at once, and refuse others with 429",
        ),
        _limits_option(
            "--queue",
            is_flag=True,
            daily=True,
            help="With --slots, let other requests wait instead of refusing them",
        ),
        _limits_option("--rpm", type=ABOVE_ZERO, daily=True, help="Answer 429 above N requests per minute"),
        _limits_option("--tpm", type=ABOVE_ZERO, daily=True, help="Answer 429 above N tokens per minute"),
        _replies_option(
            "--dialect",
            type=OneOf(list(DIALECTS)),
            default=_DEFAULTS.dialect,
            help="Provider whose rate-limit headers are sent",
        ),
        _limits_option(
            "--fault",
            "faults",
            metavar="KIND[=VALUE][:CONDITION]",
            type=_FaultType((*KINDS, *API_KINDS)),
            multiple=True,
            daily=True,
            help="Damage replies, as in cut, status=429:times=1 or stall=30s:p=0.1",
        ),
        _batch_option(
            "--batch-life",
            metavar="POLLS|TIME",
            type=_LifeType(),
            default="4",
            help="Time from creation to end of a batch: a number of polls, or 10s",
        ),
        _batch_option(
            "--batch-lines",
            type=Count(1),
            default=_DEFAULTS.batch_lines,
            help="Accept at most N requests per batch",
        ),
        _batch_option(
            "--max-files",
            type=Size(),
            default=_DEFAULTS.max_files,
            default_text="1GB",
            help="Keep uploads and results of at most SIZE in total",
        ),
        _replies_option(
            "--seed", metavar="N", type=Integer(), default=_DEFAULTS.seed, help="Seed of everything random"
        ),
        option(
            "--max-body",
            type=Size(),
            default=_DEFAULTS.max_body,
            default_text="64MB",
            help="Refuse request bodies that are longer than SIZE",
        ),
        option(
            "--allow-host",
            "allow_hosts",
            metavar="NAME",
            type=_HostType(),
            multiple=True,
            help="Answer requests to this host name, too, such as chatpipe.internal",
        ),
        option(
            "--allow-origin",
            "allow_origins",
            metavar="ORIGIN",
            type=_OriginType(),
            multiple=True,
            help="Answer web pages of this origin, such as https://app.example",
        ),
        option(
            "--require-key-env",
            metavar="NAME",
            type=KeyVariable(),
            help="Environment variable with the key that clients must send",
        ),
        option(
            "--upstream",
            metavar="URL",
            daily=True,
            help="Pass requests on to the server at URL, and its replies back",
        ),
        option(
            "--allow-http",
            is_flag=True,
            help="Allow keys of clients to be passed to --upstream over plain http",
        ),
        _recordings_option(
            "--replay-speed",
            metavar="N",
            type=_SpeedType(("max",)),
            default=_DEFAULTS.replay_speed,
            help="Replay N times as fast; max replays at once",
        ),
        _output_option("--log", type=FILE, daily=True, help="Append one line of JSON per request to FILE"),
        _replies_option(
            "--script",
            type=FILE,
            daily=True,
            help="Answer by the rules in FILE, one JSON object per line; the first match wins",
        ),
        _output_option(
            "--verdict",
            type=FILE,
            daily=True,
            help="Write what the client did wrong to FILE as JSON at the end",
        ),
        _output_option(
            "--fail-on-verdict", is_flag=True, help="Exit with status 1 if the client did anything wrong"
        ),
    ],
    _read,
)
