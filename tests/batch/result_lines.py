"""Result lines read back, from stdout or from a file; the header of a journal is left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson


def records(data: bytes | Path) -> list[Any]:
    """The values of JSONL."""
    lines = (data.read_bytes() if isinstance(data, Path) else data).split(b"\n")
    parsed = [orjson.loads(line) for line in lines if line]
    return [record for record in parsed if not isinstance(record, dict) or "chatpipe_journal" not in record]


def texts(data: bytes | Path) -> list[str | None]:
    """The answer in each result line; None where there is none."""
    return [_text(record) for record in records(data)]


def names(data: bytes | Path) -> list[tuple[int, str]]:
    """`line` and `custom_id` of each result line."""
    return [(record["chatpipe"]["line"], record["custom_id"]) for record in records(data)]


def numbers(data: bytes | Path) -> list[int]:
    """`line` of each result line."""
    return [record["chatpipe"]["line"] for record in records(data)]


def outcomes(data: bytes | Path) -> list[str]:
    return [record["chatpipe"]["outcome"] for record in records(data)]


def _text(record: dict[str, Any]) -> str | None:
    if record["response"] is None or record["response"]["status_code"] != 200:
        return None
    text: str = record["response"]["body"]["choices"][0]["message"]["content"]
    return text
