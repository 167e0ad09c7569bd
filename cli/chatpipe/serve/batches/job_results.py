"""The result files of a batch: its lines are answered one by one, not in their order."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from chatpipe.inputs import values
from chatpipe.named_tuple import NamedTuple
from chatpipe.serve.batches.job_fate import OddLines
from chatpipe.serve.batches.job_input import JobInput, JobLine
from chatpipe.system.spool import Spool

_SLICE = 32  # lines before other clients have a turn
_GOLDEN = 0.618


class LineReply(NamedTuple):
    """The reply to the request of a line. body is JSON; usage is its prompt and completion tokens."""

    status: int
    request_id: str
    body: bytes
    usage: tuple[int, int]


Answer = Callable[[dict[str, Any]], LineReply]


class JobResults:
    """Answers the lines of an input that was checked. output and errors are the lines of the two files."""

    def __init__(self, job: str, answer: Answer, lines: JobInput, odd: OddLines) -> None:
        self._job = job.removeprefix("batch_").encode()
        self._answer = answer
        self._lines = lines
        self._odd = odd
        self._total = len(lines)
        self._step = _coprime(self._total)
        self._done = 0
        self.completed = 0
        self.failed = 0
        self.usage = (0, 0)

    def open(self, output: Spool, errors: Spool) -> None:
        self.output, self.errors = output, errors

    def answer_slice(self, target: int) -> bool:
        """Answer some lines, up to target in all. Return False if so many are answered."""
        end = min(target, self._done + _SLICE)
        for number in range(self._done, end):
            self._done = number + 1
            self._answer_line(number)
        return self._done < target

    def reject_slice(self, code: str, message: str) -> bool:
        """Write to the error file that some of the other lines were not answered. False if none is left."""
        error = values.dumps({"code": code, "message": message})
        for number in range(self._done, min(self._total, self._done + _SLICE)):
            self._done = number + 1
            line = self._lines.line(self._index(number))
            self.errors.write(self._record(number, line, b"null", error))
        return self._done < self._total

    def finish(self) -> None:
        """Add results that belong to no request."""
        for number in range(self._odd.foreign):
            line = JobLine(f"foreign-{number + 1}", {"messages": [{"role": "user", "content": "foreign"}]})
            self._write(self._total + number, line, self._answer(line.body))

    def _answer_line(self, number: int) -> None:
        line = self._lines.line(self._index(number))
        line.body.pop("stream", None)  # results are whole
        line.body.pop("stream_options", None)
        reply = self._answer(line.body)
        if reply.status == 200:
            self.completed += 1
            self.usage = (self.usage[0] + reply.usage[0], self.usage[1] + reply.usage[1])
        else:
            self.failed += 1
        if number < self._odd.lost:
            return
        self._write(number, line, reply)
        if number < self._odd.lost + self._odd.doubled:
            self._write(number, line, reply)

    def _write(self, number: int, line: JobLine, reply: LineReply) -> None:
        response = b'{"status_code":%d,"request_id":"%b","body":%b}' % (
            reply.status,
            reply.request_id.encode(),
            reply.body,
        )
        file = self.output if reply.status == 200 else self.errors
        file.write(self._record(number, line, response, b"null"))

    def _record(self, number: int, line: JobLine, response: bytes, error: bytes) -> bytes:
        id_ = values.dumps(line.custom_id)
        return b'{"id":"batch_req_%b%06x","custom_id":%b,"response":%b,"error":%b}\n' % (
            self._job,
            number,
            id_,
            response,
            error,
        )

    def _index(self, number: int) -> int:
        """The line that is answered as the number-th: each line once, neighbours far apart."""
        return (number + 1) * self._step % self._total


def _coprime(total: int) -> int:
    """A step that visits each of total places once."""
    step = max(1, round(total * _GOLDEN))
    while math.gcd(step, total) != 1:
        step += 1
    return step
