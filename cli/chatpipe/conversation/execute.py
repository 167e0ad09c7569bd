"""Run the commands behind tools: an assistant's message -> the messages that answer its calls.

All calls of a message run concurrently. The thread that requested them drives them all by selecting on
their pipes. This works in the main thread, where signals interrupt it, and in the threads of a run.
"""

from __future__ import annotations

import errno
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from selectors import PollSelector
from time import monotonic, sleep

from chatpipe.conversation import tool_calls
from chatpipe.conversation.process import GRACE_S, STDOUT_LIMIT, ChildProcess, CommandResult
from chatpipe.conversation.tool_calls import ToolCall
from chatpipe.conversation.turns import ToolResults
from chatpipe.errors import quantity, reason
from chatpipe.inputs.values import Value
from chatpipe.named_tuple import NamedTuple
from chatpipe.system.escape import shorten
from chatpipe.system.signals import delay_signals

_TICK_S = 0.02  # latency of events that no pipe reports: a process exits, a time limit passes
_SHORT_TICK_S = 0.001  # the same for a process with closed pipes: it is about to exit
# For all threads together. A model that calls a tool a thousand times must not fill the machine, and
# each command takes three descriptors, of which a process often has only 1,024.
_MAX_CONCURRENT = 128
# The system has room for fewer commands. There is room again when one of ours has ended.
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.EAGAIN)
_STDERR_REPORTED = 2000  # bytes of stderr, the last ones, in a failure report to the model
_STDOUT_REPORTED = 2000  # bytes, the first ones, of an output over the limit in such a report
_SHOWN = 200  # characters of arguments that -v prints


class ToolsStopped(Exception):
    """Raised by run() after stop() was called: nothing more runs."""


class _RunningCall(NamedTuple):
    position: int
    call: ToolCall
    child: ChildProcess
    started: float


class Toolbox:
    """The tools that have a command.

    environ is the complete environment of the commands: see server/children.py. detail, if set,
    receives a line for every step. note receives one line for every failure.
    """

    def __init__(
        self,
        commands: Mapping[str, Sequence[str]],
        *,
        timeout_s: float,
        environ: Mapping[str, str],
        detail: Callable[[str], None] | None,
        note: Callable[[str], None],
    ) -> None:
        self._commands = commands
        self._timeout_s = timeout_s
        self._environ = environ
        self._detail = detail
        self._note = note
        self._stopped = threading.Event()
        self._children: set[ChildProcess] = set()  # those of all threads, for stop()
        self._lock = threading.RLock()  # a signal may call stop() in the thread that holds it

    def can_answer(self, message: Mapping[str, Value], body: Mapping[str, Value]) -> bool:
        """Return True if the message calls tools, and we are to answer all of the calls.

        We leave it to the caller if it calls a tool that body offers and that has no command. A name
        that was never offered is a mistake of the model: run() answers it with an error.
        """
        calls = tool_calls.calls_of(message)
        offered = tool_calls.tool_names(body)
        return bool(calls) and all(call.name in self._commands or call.name not in offered for call in calls)

    def run(self, message: Mapping[str, Value], offered: Iterable[str] = ()) -> ToolResults:
        """Run all calls of a message and wait for them. The results are in the order of the calls.

        If the model called an unknown tool, its error lists offered and the tools with a command.
        Raises ToolsStopped after stop(). Whatever is raised, no process is left behind.
        """
        calls = tool_calls.calls_of(message)
        texts: dict[int, str] = {}
        failed: set[str] = set()
        queue = deque(enumerate(calls))
        running: list[_RunningCall] = []
        with PollSelector() as selector:
            try:
                while queue or running:
                    self._raise_if_stopped()
                    texts |= self._start_queued(queue, offered, running, selector, failed)
                    if queue or running:
                        _poll(selector, running)
                    for each in [each for each in running if each.child.is_over(monotonic())]:
                        self._raise_if_stopped()  # stop() may be the reason why it ended
                        texts[each.position] = self._finish(each, running, failed)
            finally:
                self._abandon(running, selector)
        self._raise_if_stopped()
        messages = [tool_calls.tool_message(call, texts[position]) for position, call in enumerate(calls)]
        return ToolResults(messages, frozenset(failed))

    def stop(self) -> None:
        """Kill all running commands, in every thread. run() raises ToolsStopped there, and from now on.

        May be called from any thread.
        """
        self._stopped.set()
        with self._lock:
            for child in self._children:
                child.kill()

    def _raise_if_stopped(self) -> None:
        if self._stopped.is_set():
            raise ToolsStopped

    def _refusal(self, call: ToolCall, offered: Iterable[str]) -> str | None:
        """The error for the model if the call cannot be run; None if it can."""
        shown = shorten(call.name, _SHOWN)
        if call.name not in self._commands:
            self._note(f"the model called '{shown}', which is not a tool: it gets an error")
            return tool_calls.no_such_tool(call.name, {*self._commands, *offered})
        if call.problem is not None:
            self._note(
                f"the model called '{shown}' with arguments that are not a JSON object: it gets an error"
            )
        return call.problem

    def _start_queued(
        self,
        queue: deque[tuple[int, ToolCall]],
        offered: Iterable[str],
        running: list[_RunningCall],
        selector: PollSelector,
        failed: set[str],
    ) -> dict[int, str]:
        """Start queued calls while there is room. Returns the errors of those that cannot, by position."""
        texts = {}
        while queue:
            position, call = queue[0]
            refusal = self._refusal(call, offered)
            try:
                if refusal is None and not self._start(position, call, running, selector):
                    break
            except (OSError, ValueError) as error:
                if self._children and isinstance(error, OSError) and error.errno in _NO_ROOM:
                    break
                failed.add(call.name)
                refusal = self._report(
                    call, CommandResult(None, f"cannot be started: {reason(error)}", b"", b"")
                )
            queue.popleft()
            if refusal is not None:
                texts[position] = refusal
        return texts

    def _start(
        self, position: int, call: ToolCall, running: list[_RunningCall], selector: PollSelector
    ) -> bool:
        """Start the call's command; return False if too many are running. Raises OSError or ValueError."""
        with delay_signals(), self._lock:
            self._raise_if_stopped()
            if len(self._children) >= _MAX_CONCURRENT:
                return False
            now = monotonic()
            child = ChildProcess(
                self._commands[call.name],
                call.input,
                environ=self._environ,
                selector=selector,
                now=now,
                timeout_s=self._timeout_s,
            )
            self._children.add(child)
            running.append(_RunningCall(position, call, child, now))
        shown = call.input[: 4 * _SHOWN].decode("utf-8", "replace")
        self._emit_detail(f"> tool {call.name}: {shorten(shown, _SHOWN)}")
        return True

    def _finish(self, each: _RunningCall, running: list[_RunningCall], failed: set[str]) -> str:
        """Release a command that is over, and return its result or its failure report for the model.

        The name of a tool that failed goes to failed.
        """
        with delay_signals(), self._lock:
            ended = each.child.close()
            self._children.discard(each.child)
            running.remove(each)
        if ended.failure is not None:
            failed.add(each.call.name)
        outcome = ended.failure or "ended with status 0"
        took_s = monotonic() - each.started
        self._emit_detail(
            f"< tool {each.call.name}: {outcome} after {took_s:.3f} s, {quantity(len(ended.stdout), 'byte')}"
        )
        for line in ended.stderr.decode("utf-8", "replace").splitlines():
            self._emit_detail(f"< tool {each.call.name}: stderr: {line}")
        return self._report(each.call, ended)

    def _report(self, call: ToolCall, ended: CommandResult) -> str:
        """The result for the model. A failure is also reported to the user."""
        problem = ended.failure
        if problem is None:
            return _text(ended.stdout).removesuffix("\n")
        self._note(f"tool '{call.name}' {problem}: the model gets the error")
        stdout = ended.stdout[:_STDOUT_REPORTED] if len(ended.stdout) > STDOUT_LIMIT else ended.stdout
        # A character that lost its first bytes to the cut carries no meaning.
        stderr = _text(ended.stderr[-_STDERR_REPORTED:]).lstrip("\ufffd")
        return tool_calls.failure_text(problem, _text(stdout).removesuffix("\n"), stderr.removesuffix("\n"))

    def _abandon(self, running: list[_RunningCall], selector: PollSelector) -> None:
        """End all commands that still run: SIGTERM, then SIGKILL after GRACE_S. Delay a second signal."""
        if not running:
            return
        with delay_signals():
            now = monotonic()
            for each in running:
                each.child.end("was stopped", now)
            while monotonic() < now + GRACE_S and not all(each.child.is_over(now) for each in running):
                _poll(selector, running)
            with self._lock:
                for each in running:
                    each.child.close()
                    self._children.discard(each.child)
            running.clear()

    def _emit_detail(self, text: str) -> None:
        if self._detail is not None:
            self._detail(text)


def _poll(selector: PollSelector, running: Sequence[_RunningCall]) -> None:
    """Feed and read the pipes that are ready, after a wait of at most one tick."""
    if not running:  # the commands of other threads have to end first
        sleep(_TICK_S)
        return
    all_heard = all(each.child.has_open_output() for each in running)
    for key, _ in selector.select(_TICK_S if all_heard else _SHORT_TICK_S):
        key.data()


def _text(data: bytes) -> str:
    """The data as text. Invalid UTF-8 is replaced, and so is NUL, which many servers' databases reject."""
    return data.decode("utf-8", "replace").replace("\0", "\ufffd")
