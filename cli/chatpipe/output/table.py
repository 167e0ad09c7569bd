"""Format `logprobs`: a table for awk, sort and cut."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.output.records import Whole, choices, in_order, items


class Logprobs(Whole):
    """TSV: choice, position, token, logprob, then token and logprob of each alternative.

    Tokens are JSON strings, so that a tab or a line end inside one breaks no column. The tokens of
    a refusal come after those of the content, their positions going on.
    """

    def records(self, completion: Mapping[str, Value], body: bytes | None) -> Iterator[bytes]:
        for number, choice in enumerate(in_order(choices(completion))):
            logprobs = choice.get("logprobs") if isinstance(choice, dict) else None
            if isinstance(logprobs, dict):
                tokens = [*items(logprobs.get("content")), *items(logprobs.get("refusal"))]
                for position, token in enumerate(tokens):
                    yield _row([choice.get("index", number), position], token)


def _row(cells: list[Value], token: Value) -> bytes:
    """One token and its alternatives; null where a server has left something out."""
    alternatives = items(token.get("top_logprobs")) if isinstance(token, dict) else []
    for each in (token, *alternatives):
        known = each if isinstance(each, dict) else {}
        cells += [known.get("token"), known.get("logprob")]
    return b"\t".join(values.dumps(cell) for cell in cells)
