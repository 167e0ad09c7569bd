"""Format `logprobs`: a table for awk, sort and cut."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import zip_longest

from chatpipe.inputs import values
from chatpipe.inputs.values import Value, as_list, as_object
from chatpipe.output.records import LinesWriter
from chatpipe.response.completion import choices, sorted_by_index


class LogprobsWriter(LinesWriter):
    """TSV: choice, position, token, logprob, then token and logprob of each alternative.

    Tokens are JSON strings, so a tab or a newline inside one cannot break a column. The tokens of a
    refusal follow those of the content, and their positions continue the count. Together and servers of
    text completions have parallel lists in place of the content.
    """

    def records(self, completion: Mapping[str, Value], body: bytes | None) -> Iterator[bytes]:
        for number, choice in enumerate(sorted_by_index(choices(completion))):
            logprobs = choice.get("logprobs") if isinstance(choice, dict) else None
            if isinstance(logprobs, dict):
                tokens = [*as_list(logprobs.get("content")), *as_list(logprobs.get("refusal"))]
                tokens = tokens or _from_parallel_lists(logprobs)
                for position, token in enumerate(tokens):
                    yield _row([choice.get("index", number), position], token)


def _from_parallel_lists(logprobs: Mapping[str, Value]) -> list[Value]:
    """The tokens of `tokens`, `token_logprobs` and `top_logprobs`, of which the last has objects by token."""
    names = ("tokens", "token_logprobs", "top_logprobs")
    tokens, numbers, alternatives = (as_list(logprobs.get(name)) for name in names)
    return [
        {
            "token": token,
            "logprob": number,
            "top_logprobs": [{"token": each, "logprob": value} for each, value in as_object(others).items()],
        }
        for token, number, others in zip_longest(tokens, numbers[: len(tokens)], alternatives[: len(tokens)])
    ]


def _row(cells: list[Value], token: Value) -> bytes:
    """The row of one token and its alternatives; null for values that the server omitted."""
    alternatives = as_list(as_object(token).get("top_logprobs"))
    for each in (token, *alternatives):
        known = as_object(each)
        cells += [known.get("token"), known.get("logprob")]
    return b"\t".join(values.dumps(cell) for cell in cells)
