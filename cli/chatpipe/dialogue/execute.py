"""Runs the commands behind tools: an assistant's message -> the messages that answer its calls.

All calls of a message run at the same time, driven by the one thread that asked for them: it selects
over their pipes. That works in the main thread, where signals interrupt it, and in the threads of a run.
"""

from __future__ import annotations

import errno
import shutil
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from selectors import PollSelector
from time import monotonic, sleep
from typing import NamedTuple

from chatpipe.dialogue import tools
from chatpipe.dialogue.child import GRACE_S, STDOUT_LIMIT, Child, Ended, signals_held
from chatpipe.dialogue.tools import Call
from chatpipe.errors import MissingInput, UsageFault, reason
from chatpipe.inputs.values import Value
from chatpipe.response.chunks import shorten
from chatpipe.schema.rules import nearest

_TICK_S = 0.02  # how soon is noticed what no pipe tells: a process that ended, a time that is over
_SHORT_TICK_S = 0.001  # the same for a process whose pipes are closed: it is about to end
# In all threads. A model that calls a tool a thousand times is not to fill the machine, and each takes
# three descriptors, of which a process often has 1,024.
_MOST_AT_ONCE = 128
# Where the system has room for fewer: it has again when one of them has ended.
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.EAGAIN)
_STDERR_TOLD = 2000  # bytes of stderr, the last ones, that a model is told
_STDOUT_TOLD = 2000  # bytes, the first ones, of an output that is too long
_SHORTEST_SECRET = 6  # a shorter one is in half of all texts by chance
_SHOWN = 200  # characters of arguments that -v shows
_KEY_VARIABLES = ("OPENAI_API_KEY", "OPENAI_CUSTOM_HEADERS")


class Stopped(Exception):
    """stop() was called: nothing more is run."""


class _Running(NamedTuple):
    place: int
    call: Call
    child: Child
    since: float


class Toolbox:
    """The tools that have a command. environ is all that the commands get: see clean_environment().

    detail, where there is one, is told every step, and note what went wrong, in one line.
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
        self._children: set[Child] = set()  # of all threads, for stop()
        self._lock = threading.RLock()  # a signal may call stop() in the thread that holds it

    def can_answer(self, message: Mapping[str, Value], body: Mapping[str, Value]) -> bool:
        """Whether it calls tools, and none that body offered and has no command: those are the caller's.

        A name that was never offered is a slip of the model, which is told so.
        """
        found = tools.calls(message)
        offered = tools.names(body)
        return bool(found) and all(call.name in self._commands or call.name not in offered for call in found)

    def run(self, message: Mapping[str, Value], offered: Iterable[str] = ()) -> list[dict[str, Value]]:
        """Run what a message calls, and wait for it. The answers are in the order of the calls.

        offered are the tools that a model hears of where it called another one. Raises Stopped after
        stop(). Whatever is raised, no process is left.
        """
        found = tools.calls(message)
        texts: dict[int, str] = {}
        waiting = deque(enumerate(found))
        running: list[_Running] = []
        with PollSelector() as selector:
            try:
                while waiting or running:
                    self._refuse_stopped()
                    texts |= self._begin(waiting, offered, running, selector)
                    if waiting or running:
                        _turn(selector, running)
                    for each in [each for each in running if each.child.is_over(monotonic())]:
                        self._refuse_stopped()  # it may have ended by that
                        texts[each.place] = self._finish(each, running)
            finally:
                self._abandon(running, selector)
        self._refuse_stopped()
        return [tools.answer_message(call, texts[place]) for place, call in enumerate(found)]

    def stop(self) -> None:
        """Kill what runs, in every thread; run() raises Stopped there, and from now on. From any thread."""
        self._stopped.set()
        with self._lock:
            for child in self._children:
                child.kill()

    def _refuse_stopped(self) -> None:
        if self._stopped.is_set():
            raise Stopped

    def _refusal(self, call: Call, offered: Iterable[str]) -> str | None:
        """What the model is told where there is nothing to run."""
        shown = shorten(call.name, _SHOWN)
        if call.name not in self._commands:
            self._note(f"the model called '{shown}', which is no tool: it is told")
            return tools.no_such_tool(call.name, {*self._commands, *offered})
        if call.problem is not None:
            self._note(f"the model called '{shown}' with arguments that are no JSON object: it is told")
        return call.problem

    def _begin(
        self,
        waiting: deque[tuple[int, Call]],
        offered: Iterable[str],
        running: list[_Running],
        selector: PollSelector,
    ) -> dict[int, str]:
        """Start what waits, as far as there is room. Returns what is told where nothing can be started."""
        texts = {}
        while waiting:
            place, call = waiting[0]
            refused = self._refusal(call, offered)
            try:
                if refused is None and not self._start(place, call, running, selector):
                    break
            except (OSError, ValueError) as error:
                if self._children and isinstance(error, OSError) and error.errno in _NO_ROOM:
                    break
                refused = self._told(call, Ended(None, f"cannot be started: {reason(error)}", b"", b""))
            waiting.popleft()
            if refused is not None:
                texts[place] = refused
        return texts

    def _start(self, place: int, call: Call, running: list[_Running], selector: PollSelector) -> bool:
        """Start the call's command; False where too many run. Raises OSError or ValueError."""
        with signals_held(), self._lock:
            self._refuse_stopped()
            if len(self._children) >= _MOST_AT_ONCE:
                return False
            now = monotonic()
            child = Child(
                self._commands[call.name],
                call.input,
                environ=self._environ,
                selector=selector,
                now=now,
                timeout_s=self._timeout_s,
            )
            self._children.add(child)
            running.append(_Running(place, call, child, now))
        shown = call.input[: 4 * _SHOWN].decode("utf-8", "replace")
        self._tell(f"> tool {call.name}: {shorten(shown, _SHOWN)}")
        return True

    def _finish(self, each: _Running, running: list[_Running]) -> str:
        """The result of a command that is over, or what is told of its failure."""
        with signals_held(), self._lock:
            ended = each.child.close()
            self._children.discard(each.child)
            running.remove(each)
        how = ended.failure or "ended with status 0"
        took_s = monotonic() - each.since
        self._tell(f"< tool {each.call.name}: {how} after {took_s:.3f} s, {len(ended.stdout)} bytes")
        for line in ended.stderr.decode("utf-8", "replace").splitlines():
            self._tell(f"< tool {each.call.name}: stderr: {line}")
        return self._told(each.call, ended)

    def _told(self, call: Call, ended: Ended) -> str:
        """What the model is told, and the user where it is a failure."""
        what = ended.failure
        if what is None:
            return _text(ended.stdout).removesuffix("\n")
        self._note(f"tool '{call.name}' {what}: the model is told")
        stdout = ended.stdout[:_STDOUT_TOLD] if len(ended.stdout) > STDOUT_LIMIT else ended.stdout
        # A character of which the beginning was cut off says nothing.
        stderr = _text(ended.stderr[-_STDERR_TOLD:]).lstrip("\ufffd")
        return tools.failure(what, _text(stdout).removesuffix("\n"), stderr.removesuffix("\n"))

    def _abandon(self, running: list[_Running], selector: PollSelector) -> None:
        """End what still runs: by SIGTERM, and by SIGKILL after a moment. A second signal waits for it."""
        if not running:
            return
        with signals_held():
            now = monotonic()
            for each in running:
                each.child.end("was stopped", now)
            while monotonic() < now + GRACE_S and not all(each.child.is_over(now) for each in running):
                _turn(selector, running)
            with self._lock:
                for each in running:
                    each.child.close()
                    self._children.discard(each.child)
            running.clear()

    def _tell(self, text: str) -> None:
        if self._detail is not None:
            self._detail(text)


def _turn(selector: PollSelector, running: Sequence[_Running]) -> None:
    """Feed and read what is ready; with nothing ready it takes a tick."""
    if not running:  # those of other threads have to end first
        sleep(_TICK_S)
        return
    all_heard = all(each.child.is_heard() for each in running)
    for key, _ in selector.select(_TICK_S if all_heard else _SHORT_TICK_S):
        key.data()


def _text(data: bytes) -> str:
    """As text. What is not UTF-8 is replaced, and so is NUL, which many a server's database refuses."""
    return data.decode("utf-8", "replace").replace("\0", "\ufffd")


def clean_environment(
    environ: Mapping[str, str], secrets: Iterable[str], key_names: Iterable[str] = ()
) -> dict[str, str]:
    """The environment without keys: the variables that are known to hold one, and all that hold a secret."""
    dropped = {*_KEY_VARIABLES, *key_names}
    hidden = [secret for secret in secrets if secret]
    return {
        name: value
        for name, value in environ.items()
        if name not in dropped and not any(_holds(value, secret) for secret in hidden)
    }


def _holds(value: str, secret: str) -> bool:
    return value == secret or (len(secret) >= _SHORTEST_SECRET and secret in value)


def check_commands(commands: Mapping[str, Sequence[str]]) -> None:
    """Raises MissingInput for a command that cannot be run, before anything is sent."""
    for name, words in commands.items():
        path = shutil.which(words[0])
        if path is None:
            raise MissingInput(
                f"no program '{words[0]}'", place=f"--exec {name}", fix="is it executable, and on PATH?"
            )
        if _has_no_interpreter(path):
            raise MissingInput(
                f"'{path}' does not say what runs it", place=f"--exec {name}", fix="begin it with '#!/bin/sh'"
            )


def _has_no_interpreter(path: str) -> bool:
    """Whether it is a script without `#!`: a shell runs such a text itself, the system does not."""
    try:
        with open(path, "rb") as file:
            head = file.read(64)
    except OSError:  # which may be run, but not be read
        return False
    return not head.startswith(b"#!") and b"\0" not in head and head.isascii()


def check_names(commands: Iterable[str], body: Mapping[str, Value]) -> None:
    """Raises UsageFault for a command whose tool is not in the request, and for more than one choice."""
    offered = tools.names(body)
    for name in commands:
        if name not in offered:
            near = nearest(name, offered, least=3)
            fix = f"did you mean '{near}'?" if near else "offer it with --tool FILE"
            raise UsageFault(f"the request has no tool '{name}'", place="--exec", fix=fix)
    choices = body.get("n")
    if commands and isinstance(choices, int) and choices > 1:
        raise UsageFault("one choice only can be followed", place="--exec", fix="leave out --n")
