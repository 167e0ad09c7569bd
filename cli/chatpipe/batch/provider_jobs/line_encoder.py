"""An item of a run -> its line in the input file of a job."""

from __future__ import annotations

from collections.abc import Sequence

from chatpipe.batch.items import Item
from chatpipe.exchange import body_to_send
from chatpipe.inputs import values
from chatpipe.jobs.input_parts import requested_model
from chatpipe.jobs.job_dialects import JobDialect
from chatpipe.server.patches import Patch
from chatpipe.system.console import Console, once

_STREAMING = frozenset(("stream", "stream_options"))


class LineEncoder:
    """Encodes the requests of a run as one provider takes them: patched, and never as a stream."""

    def __init__(self, patches: Sequence[Patch], dialect: JobDialect, console: Console) -> None:
        """The changes of patches are printed with -v, each once."""
        self._patches = patches
        self._detail = once(console.detail if console.options.verbose else None)
        self._dialect = dialect
        self._is_of_job = dialect.shape.model_is_of_job  # it has the url, too
        envelope = "" if self._is_of_job else f'"method":"POST","url":{values.dumps(dialect.url).decode()},'
        self._form = b'{"custom_id":"%%b",%b"body":%%b}\n' % envelope.encode()

    def encode(self, item: Item, fingerprint: bytes) -> tuple[bytes, str | None]:
        """The line of an item without a fault, with its newline, and the model of the request.

        Raises BadInput, without a place, for a request without a model that the provider needs.
        """
        assert item.body is not None
        body = body_to_send(item.body, self._patches, self._detail)
        if "stream" in body or "stream_options" in body:
            body = {name: value for name, value in body.items() if name not in _STREAMING}
        model = requested_model(body, self._dialect)
        if self._is_of_job:
            body = {name: value for name, value in body.items() if name != "model"}
        return self._form % (fingerprint, values.dumps(body)), model
