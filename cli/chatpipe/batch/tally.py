"""Tally of a run: counts, tokens and latencies so far, as `--report` and the progress show them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from chatpipe.batch.expenses import Expenses
from chatpipe.batch.failure_counts import FailureCounts
from chatpipe.batch.histogram import Histogram
from chatpipe.batch.pause_counts import PauseCounts
from chatpipe.batch.result import Result
from chatpipe.batch.send_counts import SendCounts
from chatpipe.batch.server_counts import ServerCounts
from chatpipe.inputs.values import Value
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.outcomes import OK, UNSENT, Outcome


class OpenCounts(NamedTuple):
    """The counts of jobs that have not ended: their number, and that of their lines.

    expected_cost is what the lines will cost, None without prices.
    """

    jobs: int
    lines: int
    expected_cost: float | None = None

    def report(self) -> dict[str, Value]:
        return {name: value for name, value in self._asdict().items() if value is not None}


class Tally:
    """The counts of the results that were written, and of the pauses.

    own_ids counts the lines that have a custom_id of their own, failed_tools good answers that follow the
    failure of a tool. reused counts answers that were paid for before this run, spent adds up the others.
    model: see FailureKinds.
    """

    def __init__(self, model: object = None) -> None:
        self.outcomes: defaultdict[Outcome, int] = defaultdict(int)
        self.failures = FailureCounts(model)
        self.own_ids = 0
        self.failed_tools = 0
        self.reused = 0
        self.sent = SendCounts()
        self.spent = Expenses({})
        self.latencies = Histogram()
        self.servers = ServerCounts()
        self.pauses = PauseCounts()
        self.open_jobs: OpenCounts | None = None

    def add(self, result: Result) -> None:
        """Count a result that is written."""
        self.outcomes[result.outcome] += 1
        self.own_ids += result.item.has_own_id
        if not result.is_good:
            self.failures.add(result)
        elif result.has_failed_tool:
            self.failed_tools += 1
        self.sent.add(result)
        if result.latency_s is None:
            self.reused += result.completion is not None
            return
        self.spent.add(result)
        if result.outcome is not UNSENT:  # one in a job that failed as a whole took no time
            self.latencies.add(result.latency_s)
        if result.server is not None:
            self.servers.add(result.server, is_good=result.is_good)

    def add_plain(self, results: Sequence[Result]) -> None:
        """Count plain answers of one job, as add() counts each: all have one server and one latency."""
        count, latency_s, server = len(results), results[0].latency_s, results[0].server
        self.outcomes[OK] += count
        self.own_ids += sum(result.item.has_own_id for result in results)
        self.sent.add_new(count)
        for result in results:
            self.spent.add(result)
        if latency_s is not None:
            self.latencies.add(latency_s, count)
        if server is not None:
            self.servers.add(server, is_good=True, count=count)

    @property
    def finished(self) -> int:
        """The number of results."""
        return sum(self.outcomes.values())

    @property
    def failed(self) -> int:
        return self.failures.total

    @property
    def good(self) -> int:
        return self.finished - self.failed

    @property
    def looked_up_in_vain(self) -> int:
        """The number of lines without a recorded answer: sent, or with --no-send unsent."""
        return self.sent.total + self.outcomes.get(UNSENT, 0)

    def report(self, wall_s: float) -> dict[str, Value]:
        """The object of `--report` and `--progress json`. Times are in seconds."""
        return {
            "lines": self.finished,
            "good": self.good,
            "failed": self.failed,
            "reused": self.reused,
            "sent": self.sent.report(),
            "outcomes": {str(outcome): count for outcome, count in sorted(self.outcomes.items())},
            "retries": self.pauses.retries,
            "pauses": self.pauses.report(),
            **self.spent.report(),
            "reasons": self.failures.reasons.report(),
            "requests_per_s": round(self.sent.total / wall_s, 3) if wall_s > 0 else None,
            "latency_s": self.latencies.report(),
            "servers": self.servers.report(),
            "wall_s": round(wall_s, 3),
            **({} if self.open_jobs is None else {"open_jobs": self.open_jobs.report()}),
        }
