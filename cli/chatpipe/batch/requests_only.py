"""`-f requests`: Batch lines are written, and nothing is sent."""

from __future__ import annotations

from collections.abc import AsyncIterator

from chatpipe.batch.items import Item
from chatpipe.errors import BadInput, Status
from chatpipe.inputs import values
from chatpipe.output.target import OpenOutput
from chatpipe.request.batch_line import batch_line
from chatpipe.server.endpoints import Endpoint
from chatpipe.server.patches import patch_body
from chatpipe.system.console import Console, FirstFew, once
from chatpipe.system.signals import run_loop


def write_requests(items: AsyncIterator[Item], out: OpenOutput, console: Console, endpoint: Endpoint) -> int:
    """Write the Batch lines that would be sent, and print the errors of bad lines. Returns the status.

    The changes of a profile are printed, too, each once.
    """
    return run_loop(_write_requests(items, out, console, endpoint))


async def _write_requests(
    items: AsyncIterator[Item], out: OpenOutput, console: Console, endpoint: Endpoint
) -> int:
    bad, report = bad_lines(console), once(console.note)
    patches, url = endpoint.patches, endpoint.batch_url
    async for item in items:
        if not item.is_ours:
            continue
        if item.fault is not None:
            bad.report(item.fault)
            continue
        assert item.body is not None
        body = patch_body(item.body, patches, report) if patches else item.body
        out.write(values.dumps(batch_line(item.custom_id, body, url)) + b"\n")
    if bad.count:
        out.keep()
        return Status.BAD_INPUT
    out.replace()
    return Status.OK


def bad_lines(console: Console) -> FirstFew[BadInput]:
    """A reporter of bad lines: it prints the first ones and counts all."""
    return FirstFew(console.error, console.note, "chatpipe check shows them all")
