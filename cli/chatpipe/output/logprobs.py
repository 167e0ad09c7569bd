"""Format `logprobs`: a table for awk, sort and cut."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from chatpipe.inputs import values
from chatpipe.inputs.values import Value, as_list, as_object
from chatpipe.output.records import LinesWriter
from chatpipe.response.completion import choices, sorted_by_index


class LogprobsWriter(LinesWriter):
    """TSV: choice, position, token, logprob, then token and logprob of each alternative.

    Tokens are JSON strings, so a tab or a newline inside one cannot break a column. The tokens of a
    refusal follow those of the content, and their positions continue the count.
    """

    def records(self, completion: Mapping[str, Value], body: bytes | None) -> Iterator[bytes]:
        for number, choice in enumerate(sorted_by_index(choices(completion))):
            logprobs = choice.get("logprobs") if isinstance(choice, dict) else None
            if isinstance(logprobs, dict):
                tokens = [*as_list(logprobs.get("content")), *as_list(logprobs.get("refusal"))]
                for position, token in enumerate(tokens):
                    yield _row([choice.get("index", number), position], token)


def _row(cells: list[Value], token: Value) -> bytes:
    """The row of one token and its alternatives; null for values that the server omitted."""
    alternatives = as_list(as_object(token).get("top_logprobs"))
    for each in (token, *alternatives):
        known = as_object(each)
        cells += [known.get("token"), known.get("logprob")]
    return b"\t".join(values.dumps(cell) for cell in cells)
