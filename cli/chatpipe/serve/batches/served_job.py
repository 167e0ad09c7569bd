"""One batch of the local server, from `validating` to its end. A client's look at it takes it further.

    validating -> in_progress -> finalizing -> completed
               -> failed            ... -> expired, or cancelling -> cancelled

The work is done in slices, between which other clients are served.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from chatpipe.inputs import values
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.serve import BatchLife
from chatpipe.serve.batches.job_fate import FAILURES, OF_LINES, JobFate
from chatpipe.serve.batches.job_input import JobFault, JobInput
from chatpipe.serve.batches.job_results import Answer, JobResults
from chatpipe.serve.batches.stored_files import FileStore, StoredFile
from chatpipe.system.spool import NoRoom, Spool

# The parts of its life after which a batch is checked, and answered.
_CHECKED, _ANSWERED = 0.1, 0.75
_WINDOW_S = 86_400
ENDS = ("completed", "failed", "expired", "cancelled")
_EXPIRED = (
    "batch_expired",
    "This request could not be executed before the completion window expired.",
)
_CANCELLED = ("batch_cancelled", "This request was not executed because the batch was cancelled.")


class JobOrder(NamedTuple):
    """A batch as it was ordered."""

    id: str
    input: StoredFile
    endpoint: str
    window: str
    metadata: dict[str, str] | None
    results_life_s: int | None
    created_at: float


class JobServices(NamedTuple):
    """The outside of a batch: its life, where its results go, and who answers the lines for an endpoint."""

    life: BatchLife
    most_lines: int
    store: FileStore
    answers: Callable[[str], Answer]


class ServedJob:
    """One batch, which is worked on whenever a client looks at it."""

    def __init__(self, order: JobOrder, fate: JobFate, services: JobServices) -> None:
        self.order = order
        self._fate = fate
        self._services = services
        order.input.spool.share()
        self._input = JobInput(order.input.spool, order.endpoint, services.most_lines)
        self._results: JobResults | None = None
        self._total = 0
        self._polls = 0
        self._cancelled_after = 0  # polls
        self._times: dict[str, int] = {}
        self._faults: list[JobFault] = []
        self._output: StoredFile | None = None
        self._errors: StoredFile | None = None
        self.status = "validating"

    def step(self, now: float) -> Iterator[None]:
        """Count a look at the batch at this Unix time, and do its work up to there, slice by slice."""
        self._polls += 1
        life = self._services.life
        done = self._polls / life.polls if life.polls else (now - self.order.created_at) / life.seconds
        try:
            while self.status not in ENDS and self._advance(min(1.0, done), int(now)):
                yield
        except NoRoom as error:
            self._fail([JobFault("server_error", f"The results have no room: {error}")], int(now))

    def cancel(self, now: float) -> bool:
        """Return False if the batch has ended."""
        if self.status in ENDS:
            return False
        self._enter("cancelling", int(now))
        return True

    def _advance(self, part: float, now: int) -> bool:
        """Do a slice of what is due in this part of the life. Return False if nothing is left of it."""
        match self.status:
            case "validating" if part >= _CHECKED:
                if not self._input.advance():
                    self._begin(now)
                return True
            case "in_progress":
                assert self._results is not None
                target = self._target(part)
                if self._results.answer_slice(target):
                    return True
                if part >= _ANSWERED:
                    self._enter("cancelling" if self._fate.end == "cancelled" else "finalizing", now)
                    return True
            case "finalizing" if part >= 1:
                return self._finish("expired" if self._fate.end == "expired" else "completed", now)
            case "cancelling" if self._polls > self._cancelled_after:
                return self._finish("cancelled", now)
        return False

    def _target(self, part: float) -> int:
        """The number of lines that are answered in this part of the life."""
        due = min(self._total, int(self._total * part / _ANSWERED))
        if self._fate.end is None:
            return due
        return min(due, self._total // 2 if self._fate.done is None else self._fate.done)

    def _begin(self, now: int) -> None:
        """Begin to answer, or fail if the input cannot be taken."""
        faults = self._input.faults
        if not faults and self._fate.failure is not None:
            line = len(self._input) if self._fate.failure in OF_LINES else None
            faults = [JobFault(self._fate.failure, FAILURES[self._fate.failure], line)]
        if faults:
            self._fail(faults, now)
            return
        self._total = len(self._input)
        self._results = JobResults(
            self.order.id, self._services.answers(self.order.endpoint), self._input, self._fate.odd
        )
        self._results.open(self._services.store.open_spool(), self._services.store.open_spool())
        self._enter("in_progress", now)

    def _fail(self, faults: list[JobFault], now: int) -> None:
        self._faults = faults
        self._enter("failed", now)
        if self._results is not None:
            self._results.output.close()
            self._results.errors.close()

    def _finish(self, status: str, now: int) -> bool:
        """Write the rest of the results, and end. Return True while there is more to write."""
        if self._results is not None:
            if status != "completed" and self._results.reject_slice(
                *(_EXPIRED if status == "expired" else _CANCELLED)
            ):
                return True
            self._results.finish()
            self._output = self._keep("output", self._results.output, now)
            self._errors = self._keep("error", self._results.errors, now)
        self._enter(status, now)
        return False

    def _keep(self, what: str, spool: Spool, now: int) -> StoredFile | None:
        if not spool.size:
            spool.close()
            return None
        name = f"{self.order.id}_{what}.jsonl"
        return self._services.store.add(name, "batch_output", spool, now, self.order.results_life_s)

    def _enter(self, status: str, now: int) -> None:
        self.status = status
        self._times[f"{status}_at"] = now
        if status == "cancelling":
            self._cancelled_after = self._polls
        elif status in ENDS:
            self._input.close()
            self.order.input.spool.close()

    def shown(self) -> dict[str, values.Value]:
        """The batch object of the API."""
        order, results = self.order, self._results
        created_at = int(order.created_at)
        shown: dict[str, values.Value] = {
            "id": order.id,
            "object": "batch",
            "endpoint": order.endpoint,
            "model": self._input.model,
            "errors": None,
            "input_file_id": order.input.id,
            "completion_window": order.window,
            "status": self.status,
            "created_at": created_at,
            "expires_at": created_at + _WINDOW_S,
        }
        for name in (
            "in_progress",
            "finalizing",
            "completed",
            "failed",
            "expired",
            "cancelling",
            "cancelled",
        ):
            shown[f"{name}_at"] = self._times.get(f"{name}_at")
        if self._faults:
            data = [fault._asdict() for fault in self._faults]
            shown["errors"] = {"object": "list", "data": data}
        for name, file in (("output_file_id", self._output), ("error_file_id", self._errors)):
            if file is not None or self._fate.no_id != "missing":
                shown[name] = file.id if file else "" if self._fate.no_id == "empty" else None
        completed, failed = (results.completed, results.failed) if results else (0, 0)
        shown["request_counts"] = {"total": self._total, "completed": completed, "failed": failed}
        shown["usage"] = _usage(*results.usage) if results and self.status in ENDS else None
        shown["metadata"] = order.metadata
        return shown


def _usage(prompt: int, completion: int) -> dict[str, values.Value]:
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": prompt + completion,
    }
