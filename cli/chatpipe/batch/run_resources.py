"""The resources of a live run: servers, journal, turn rules, jobs at a provider."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from chatpipe.batch.journal.store import RunStore
from chatpipe.batch.run_servers import Servers
from chatpipe.batch.run_spec import RunSpec
from chatpipe.conversation.turns import TurnRules
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.tool_commands import ToolOptions

if TYPE_CHECKING:
    from chatpipe.batch.provider_jobs.run_jobs import RunJobs


class RunResources(NamedTuple):
    """rules are those for further turns. jobs are those at a provider. Most runs have neither."""

    servers: Servers
    store: RunStore
    rules: TurnRules | None = None
    jobs: RunJobs | None = None


def open_resources(spec: RunSpec, servers: Servers, store: RunStore, stack: ExitStack) -> RunResources:
    """Open the resources, which stack closes. Raises what opening them raises."""
    return RunResources(servers, store, _open_rules(spec, stack), _open_jobs(spec, servers, store, stack))


def _open_jobs(spec: RunSpec, servers: Servers, store: RunStore, stack: ExitStack) -> RunJobs | None:
    """The jobs of a run at a provider, None for a run that has nothing to do with any."""
    recorded = store.files.recorded
    if not spec.options.engine.is_jobs and (recorded is None or not recorded.events):
        return None
    from chatpipe.batch.provider_jobs.open_run_jobs import open_run_jobs  # few runs have them

    return stack.enter_context(open_run_jobs(spec, servers, store))


def _open_rules(spec: RunSpec, stack: ExitStack) -> TurnRules | None:
    turns = spec.turns
    if spec.resume.no_send:
        turns = turns._replace(tools=ToolOptions())  # a schema is for recorded answers, too
    if turns.is_single_turn:
        return None
    from chatpipe.conversation import setup  # most runs have one turn a line

    return stack.enter_context(
        setup.open_rules(
            turns,
            spec.defaults,
            spec.console,
            environ=spec.environ,
            key_names=frozenset().union(*(each.key_names for each in spec.endpoints)),
            workers=spec.limits.jobs.limit,
        )
    )
