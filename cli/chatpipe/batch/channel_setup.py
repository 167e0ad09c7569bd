"""The parts of a run that the channels to its servers share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chatpipe.batch.budget import Budget
from chatpipe.batch.failures import FailureNotice
from chatpipe.batch.run_spec import RunSpec
from chatpipe.batch.shared_keys import SharedKeys
from chatpipe.errors import quantity
from chatpipe.limits.run_pacer import RunWaits
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.run import RunLimits
from chatpipe.options.server import RetryPolicy
from chatpipe.server.server import Server
from chatpipe.system.console import Console
from chatpipe.system.descriptor_limit import raise_descriptor_limit
from chatpipe.wire.reply_memory import ReplyMemory


class ChannelSetup(NamedTuple):
    """The parts of a run that its channels share. limits are those of the whole run.

    follows_gauges: the number in flight is bounded by what a server shows of its queue.
    """

    console: Console
    environ: Mapping[str, str]
    limits: RunLimits
    retry_policy: RetryPolicy
    waits: RunWaits
    budget: Budget
    notice: FailureNotice
    memory: ReplyMemory
    keys: SharedKeys
    follows_gauges: bool


def channel_setup(
    spec: RunSpec, servers: Sequence[Server], budget: Budget, notice: FailureNotice
) -> ChannelSetup:
    """The shared parts of a run that begins."""
    limits = _within_descriptors(spec, servers)
    return ChannelSetup(
        spec.console,
        spec.environ,
        limits,
        spec.retry_policy,
        RunWaits(servers[0].ready),
        budget,
        notice,
        ReplyMemory(),
        SharedKeys(spec.server_options, spec.environ, spec.console.note_once),
        follows_gauges=limits.jobs.auto and not spec.options.recordings.is_offline,
    )


def _within_descriptors(spec: RunSpec, servers: Sequence[Server]) -> RunLimits:
    """The limits of the run, with no more requests in flight than the system permits connections."""
    limits = spec.limits
    if servers[0].in_process or spec.options.recordings.is_offline:
        return limits
    jobs, others = limits.jobs, len(servers) - 1
    room = max(1, raise_descriptor_limit(jobs.limit + others) - others)
    if room >= jobs.limit:
        return limits
    connections = quantity(room, "connection")
    spec.console.note(f"--jobs: the limit that 'ulimit -n' shows has room for {connections} at a time")
    return limits._replace(jobs=jobs._replace(limit=room))
