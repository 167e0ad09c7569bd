"""The script of a server: it answers what one of its rules admits, and leaves the rest to the model.

The first rule counts that admits a request. A rule counts each request that its other conditions admit,
whichever rule answers it: so rules with `occurrence` 1, 2 and 3 follow one another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from chatpipe.errors import BadInput
from chatpipe.inputs.place import Source, line_source
from chatpipe.inputs.sources import process_sources
from chatpipe.local.chat_body import ChatBody
from chatpipe.local.model import Reply
from chatpipe.serve.aimock_fixtures import fixture_lines, left_out_notes
from chatpipe.serve.attempts import body_key, digest_of
from chatpipe.serve.script_match import Facts
from chatpipe.serve.script_rules import ScriptRule, rules_from, shadowed
from chatpipe.system.console import Console


class Script:
    """Rules, and the counts of the requests that they have admitted. notes are about the file."""

    def __init__(self, rules: Sequence[ScriptRule], notes: Sequence[str]) -> None:
        self._notes = notes
        self._rules = rules
        self._counts = [0] * len(rules)
        self._answers = [0] * len(rules)
        self._attempts: Counter[bytes] = Counter()
        self._counts_attempts = any(rule.attempt is not None for rule in rules)

    def reply_to(self, sent: ChatBody) -> Reply | None:
        """The reply to the body of a request for a completion, None if it is left to the model."""
        if not isinstance(sent.value, dict):
            return None
        rule = self._first(Facts(sent.value), self._attempt(sent))
        return None if rule is None else rule.answer.reply_to(sent)

    def warnings(self) -> Iterator[str]:
        """The rules that can never answer, and what the file has besides."""
        yield from self._notes
        for rule, earlier in shadowed(self._rules):
            yield f"{rule.place}: it never answers: {earlier.place} admits all that it does"

    def unused(self) -> Iterator[str]:
        """The rules that have answered nothing."""
        for rule, answers in zip(self._rules, self._answers, strict=True):
            if not answers:
                yield f"{rule.place}: it answered nothing"

    def _attempt(self, sent: ChatBody) -> int:
        """The number of requests with this body so far, this one included. 0 if no rule asks for it."""
        if not self._counts_attempts:
            return 0
        key = digest_of(body_key(sent))
        self._attempts[key] += 1
        return self._attempts[key]

    def _first(self, request: Facts, attempt: int) -> ScriptRule | None:
        """Count the request for each rule, and return the first one that admits it."""
        found: int | None = None
        for at, rule in enumerate(self._rules):
            if found is not None and rule.occurrence is None:
                continue  # its count is of no use
            if (rule.attempt is not None and attempt not in rule.attempt) or not rule.admits(request):
                continue
            self._counts[at] += 1
            if found is None and (rule.occurrence is None or self._counts[at] in rule.occurrence):
                found = at
        if found is None:
            return None
        self._answers[found] += 1
        return self._rules[found]


def read_script(path: str, console: Console) -> Script:
    """The script in the file of `--script`. Warnings go to the console.

    Raises MissingInput, and what parse_script() raises.
    """
    sources = process_sources(console.note, console.note_wait)
    script = parse_script(sources.read(path, "--script"))
    console.warnings(script.warnings())
    return script


def parse_script(source: Source) -> Script:
    """The script in a file. Raises Problems, and BadInput for a file without rules."""
    lines, notes = fixture_lines(source), []
    if lines is None:
        split = source.data.split(b"\n")
        lines = [line_source(source.name, line, number) for number, line in enumerate(split, 1)]
    else:
        notes = list(left_out_notes(source, lines))
    rules = rules_from(lines)
    if not rules:
        raise BadInput(
            "there are no rules in it",
            place=source.name,
            fix='write one a line: {"answer": {"content": "Hi"}}',
        )
    return Script(rules, notes)
