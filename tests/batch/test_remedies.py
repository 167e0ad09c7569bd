"""The remedy in the last line of a run works as it stands, and pays for no good answer again."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

from batch.runs import REPLIES, command, jsonl, prompt
from support.parametrize import cases
from support.process import Done, run
from support.servers.loopback import Answer, Request, Server, completion, reply, serve

SCHEMA = ("--schema-json", '{"type":"object","properties":{"a":{"type":"integer"}}}', "--no-schema-strict")
OUT = ("-o", "out")
RESULTS = "run it again with --reuse FILE{}, where FILE has these results"


class Moody:
    """Each prompt named in REPLIES is answered badly the first time, and well from then on.

    `limited` is cut off unless max_tokens is 4 or more, `always cut` and `call` are never good. With a
    schema all other answers fit it, but for the first one to `odd`.
    """

    def __init__(self) -> None:
        self.prompts: list[str] = []
        self._counts: Counter[str] = Counter()

    def __call__(self, request: Request) -> Answer:
        body, text = request.json(), prompt(request)
        self.prompts.append(text)
        self._counts[text] += 1
        good = '{"a": 1}' if "response_format" in body else f"{text}!"
        if text == "limited" and body.get("max_tokens", 0) < 4:
            return REPLIES["cut"]
        if text == "long":
            return reply(200, completion("x" * 1500))
        if text in REPLIES and (self._counts[text] == 1 or text == "call"):
            return REPLIES[text]
        return reply(200, completion("x" if text == "odd" and self._counts[text] == 1 else good))


class Situation:
    """A folder with an input, and one run of it that failed."""

    def __init__(self, folder: Path, rows: list[Any], options: tuple[str, ...], server: Server) -> None:
        self.folder, self._rows, self._options, self._server = folder, rows, options, server
        folder.mkdir()
        self.write(rows)
        done = self.run()
        assert done.status not in (0, 2, 70)
        self.results = done.stdout
        self.last = done.stderr.decode().splitlines()[-1]

    def write(self, rows: list[Any]) -> None:
        (self.folder / "in").write_bytes(b"".join(row if type(row) is bytes else jsonl(row) for row in rows))

    def follow(self, text: str) -> Done:
        """Do what a remedy says: edit the lines that it names, and run the command with its options."""
        rows = list(self._rows)
        for number in map(int, re.findall(r"\d+", "".join(re.findall(r"correct (lines? [\d, ]+)", text)))):
            rows[number - 1] = {"prompt": f"mended {number}", "logprobs": True}
        for number in map(int, re.findall(r"shorten line (\d)", text)):
            rows[number - 1] = "short"
        if "more" in text:
            rows = [f"mended {row!r}" if type(row) is bytes else row for row in rows]
        for number in map(int, re.findall(r"limit in line (\d)", text)):
            rows[number - 1] = {**rows[number - 1], "max_tokens": 4}
        self.write(rows)
        if "without --no-send" in text:
            self._options = tuple(each for each in self._options if each != "--no-send")
            return self.run()
        words = " ".join(re.findall(r"--[a-z-]+(?: [\w,.-]*\w)?", text)).split()
        (self.folder / "FILE").write_bytes(self.results) if "--reuse" in words else None
        return self.run(*words)

    def run(self, *more: str) -> Done:
        arguments = command(self._server, "--retries", "0", *self._options, *more, "in")
        return run(*arguments, cwd=self.folder)


def own(*rows: Any) -> list[dict[str, Any]]:
    """The rows with names of their own."""
    return [{"prompt": row, "custom_id": f"id-{row}"} for row in rows]


LIMITED = {"messages": [{"role": "user", "content": "limited"}], "max_tokens": 2}
# rows, options, and the remedy
RUNS: dict[str, Any] = {
    "a server that fails": (["a", "500", "reset"], OUT, "run the same command again"),
    "the same, without a journal": (["a", "500"], (), RESULTS.format("")),
    "the same, with nothing to keep": (["500"], (), "run the same command again"),
    "cut off": (
        ["a", "cut"],
        OUT,
        "run the same command again with --resend truncated, or with --allow truncated",
    ),
    "cut off, without a journal": (
        ["a", "cut"],
        (),
        RESULTS.format(" --resend truncated") + ", or with --allow truncated",
    ),
    "cut off, and texts alone": (
        ["a", "cut"],
        ("-f", "text"),
        "run it again with --journal FILE, which keeps its answers, or with --allow truncated",
    ),
    "several kinds, and a failure": (
        ["a", "no", "nothing", "500"],
        OUT,
        "run the same command again with --resend refused,empty, or with --allow refused,empty",
    ),
    "at a limit of the options": (
        ["a", "limited"],
        (*OUT, "--max-tokens", "2"),
        "run the same command again with --allow truncated",
    ),
    "at a limit of the options, with names": (
        own("a", "limited"),
        (*OUT, "--max-tokens", "2"),
        (
            "run the same command again with --match id --resend truncated --max-tokens 4, "
            "or with --allow truncated"
        ),
    ),
    "at a limit, and texts alone": (
        ["a", "limited"],
        ("-f", "text", "--max-tokens", "2"),
        "run it again with --journal FILE --max-tokens 4, which keeps its answers, or with --allow truncated",
    ),
    "at the limit of a reply": (
        ["a", "long"],
        (*OUT, "--max-reply", "1kB"),
        "run the same command again with --resend truncated --max-reply 2kB",
    ),
    "at the limit of a reply, with a limit of tokens": (
        ["a", "long"],
        (*OUT, "--max-reply", "999", "--max-tokens", "9"),
        "run the same command again with --resend truncated --max-reply 1.998kB",
    ),
    "at the limit of a reply, and texts alone": (
        ["a", "long"],
        ("-f", "text", "--max-reply", "1kB"),
        "run it again with --journal FILE --max-reply 2kB, which keeps its answers",
    ),
    "at a limit of the line": (
        ["a", LIMITED],
        OUT,
        "raise the limit in line 2, or run the same command again with --allow truncated",
    ),
    "at the end of the context": (
        ["a", "full"],
        OUT,
        "shorten line 2, or run the same command again with --allow truncated",
    ),
    "at the end of the context, and cut off": (
        ["a", "full", "cut"],
        OUT,
        "shorten line 2, run the same command again with --resend truncated, or with --allow truncated",
    ),
    "another form": (
        ["a", "odd"],
        (*OUT, *SCHEMA),
        "run the same command again with --resend mismatch --reask 2, or with --allow mismatch",
    ),
    "tool calls": (["a", "call"], (*OUT, "-f", "text"), "run the same command again with --allow tool-calls"),
    "a wrong line": (["a", {"messages": 1}, "b"], OUT, "correct line 2"),
    "a line that is refused": (["a", "400"], OUT, "correct line 2"),
    "a server that is another one": (["a", "302"], OUT, "correct the base URL, run the same command again"),
    "a key that may not": (["a", "403"], OUT, "check the key or the account, run the same command again"),
    "an option that lacks another": (
        ["b", "c"],
        (*OUT, "--top-logprobs", "2"),
        "add --logprobs, or correct lines 1, 2",
    ),
    "many wrong lines": ([b'{"a\n'] * 5 + ["a"], OUT, "correct lines 1, 2, 3 and 2 more"),
    "a wrong line and a failure": (
        ["a", b'{"a\n', "500"],
        OUT,
        "correct line 2, run the same command again",
    ),
    "a run that was halted": (
        ["a", b'{"a\n', "b", "c"],
        (*OUT, "-j1", "--halt", "soon,fail=1"),
        "correct line 2, run the same command again",
    ),
    "a limit of the line, and a refusal": (
        ["a", LIMITED, "no"],
        OUT,
        (
            "raise the limit in line 2, run the same command again with --resend refused, "
            "or with --allow truncated,refused"
        ),
    ),
    "nothing was sent": (["a", "b"], (*OUT, "--no-send"), "run it again without --no-send"),
}
EACH = cases("rows, options, remedy", RUNS)


@EACH
def test_each_remedy_works_as_it_stands(
    rows: list[Any], options: tuple[str, ...], remedy: str, tmp_path: Path
) -> None:
    """Each way that it names ends in status 0, and sends no line again that was good."""
    first, *others = remedy.split(", or ")
    for number, way in enumerate((first, *others)):
        moody = Moody()
        with serve(moody) as server:
            failed = Situation(tmp_path / str(number), rows, options, server)
            assert LEADS.sub("", failed.last) == remedy
            moody.prompts.clear()
            # A second way stands in place of the options of the first.
            text = way if number == 0 else f"{re.sub(SECONDARY, '', first)} {way}"
            assert failed.follow(text).status == 0, text
            assert "a" not in moody.prompts or "--no-send" in options or "--journal" in remedy


def test_a_recorded_line_that_was_too_long_has_the_same_remedy(tmp_path: Path) -> None:
    with serve(Moody()) as server:
        failed = Situation(tmp_path / "0", ["a", "long"], (*OUT, "--max-reply", "1kB"), server)
        assert failed.run().stderr.decode().splitlines()[-1] == failed.last


LEADS = re.compile(
    r"^.*?: (?:jq 'select\(\.error\)'(?: \w+\.journal)? shows them, )?"
    r"(?=add |check |correct |raise |run |set |shorten )"
)
SECONDARY = r"raise the limit in line \d|--logprobs|--(?:match|resend|reask|max-tokens) [\w,]+"
