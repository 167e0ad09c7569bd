"""Tally of a run: counts, tokens and latencies so far, as `--report` and the progress show them."""

from __future__ import annotations

import math
from collections import Counter, defaultdict

from chatpipe.batch.expenses import Expenses
from chatpipe.batch.failure_counts import FailureCounts
from chatpipe.batch.journal.send_reasons import SendReason, reasons_report
from chatpipe.batch.pause_counts import PauseCounts
from chatpipe.batch.result import Result
from chatpipe.batch.server_counts import ServerCounts
from chatpipe.inputs.values import Value
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.outcomes import Outcome

# Each bucket is 2 % wide, so that its middle is within 1 % of everything in it.
_GROWTH = math.log(1.02)
_LEAST_S = 1e-4


class Histogram:
    """A histogram of the logarithms of latencies: quantiles within 1 %, in a few kB for any number."""

    def __init__(self) -> None:
        self._buckets: defaultdict[int, int] = defaultdict(int)
        self._last_s, self._last_bucket = 0.0, 0

    def add(self, seconds: float) -> None:
        if seconds != self._last_s:  # all lines of a job have the same
            self._last_s = seconds
            self._last_bucket = int(math.log(seconds / _LEAST_S) / _GROWTH) if seconds > _LEAST_S else 0
        self._buckets[self._last_bucket] += 1

    def quantile(self, share: float) -> float | None:
        """The latency that this share of all did not exceed; None if there are no latencies."""
        left = math.ceil(share * sum(self._buckets.values()))
        for bucket in sorted(self._buckets):
            left -= self._buckets[bucket]
            if left <= 0:
                return _LEAST_S * math.exp((bucket + 0.5) * _GROWTH)
        return None


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

    own_ids counts the lines that have a custom_id of their own. reused counts answers that were paid for
    before this run, spent those of this run. model: see FailureKinds. send_reasons: see AnswerLookup.
    """

    def __init__(self, model: object = None) -> None:
        self.outcomes: dict[Outcome, int] = {}
        self.failures = FailureCounts(model)
        self.own_ids = 0
        self.finished = 0
        self.good = 0
        self.reused = 0
        self.send_reasons: dict[int, SendReason] = {}
        self._again: Counter[SendReason] = Counter()  # lines that were sent and are not new
        self._unanswered = 0  # wrong lines, and those that share a failure of another line
        self.failed_tools = 0  # good answers that follow the failure of a tool
        self.abandoned = 0  # lines that had no answer when a signal ended the run
        self.pauses = PauseCounts()
        self.spent = Expenses({})
        self.latencies = Histogram()
        self.servers = ServerCounts()
        self.open_jobs: OpenCounts | None = None

    def add(self, result: Result) -> None:
        self.finished += 1
        self.outcomes[result.outcome] = self.outcomes.get(result.outcome, 0) + 1
        if result.is_good:
            self.good += 1
            self.failed_tools += result.has_failed_tool
        else:
            self.failures.add(result)
        self.own_ids += result.item.has_own_id
        if self.send_reasons:
            self._count_reason(result)
        if result.latency_s is None:
            if result.completion is not None:
                self.reused += 1
            elif result.outcome is not Outcome.unsent:
                self._unanswered += 1
            return
        self.spent.add(result)
        if result.outcome is not Outcome.unsent:  # one in a job that failed as a whole took no time
            self.latencies.add(result.latency_s)
        if result.server is not None:
            self.servers.add(result.server, is_good=result.is_good)

    @property
    def failed(self) -> int:
        return self.finished - self.good

    @property
    def sent(self) -> int:
        """The number of lines that were sent in this run."""
        return self.finished - self.reused - self._unanswered - self.outcomes.get(Outcome.unsent, 0)

    @property
    def looked_up_in_vain(self) -> int:
        """The number of lines without a recorded answer: sent, or with --no-send unsent."""
        return self.sent + self.outcomes.get(Outcome.unsent, 0)

    def _count_reason(self, result: Result) -> None:
        """Count the reason why a line was sent, if it was."""
        reason = self.send_reasons.pop(result.item.line, None)
        if reason is not None and result.was_sent:
            self._again[reason] += 1

    def report(self, wall_s: float) -> dict[str, Value]:
        """The object of `--report` and `--progress json`. Times are in seconds."""
        return {
            "lines": self.finished,
            "good": self.good,
            "failed": self.failed,
            "reused": self.reused,
            "sent": reasons_report({**self._again, SendReason.new: self.sent - self._again.total()}),
            "outcomes": {str(outcome): count for outcome, count in sorted(self.outcomes.items())},
            "retries": self.pauses.retries,
            "pauses": self.pauses.report(),
            **self.spent.report(),
            "reasons": self.failures.reasons.report(),
            "requests_per_s": round(self.sent / wall_s, 3) if wall_s > 0 else None,
            "latency_s": {
                name: _rounded(self.latencies.quantile(share))
                for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
            },
            "servers": self.servers.report(),
            "wall_s": round(wall_s, 3),
            **({} if self.open_jobs is None else {"open_jobs": self.open_jobs.report()}),
        }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)
