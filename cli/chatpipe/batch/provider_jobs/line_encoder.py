"""Items of a run -> their lines in the input file of a job."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import chain

from chatpipe.batch.items import Item
from chatpipe.errors import BadInput
from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.jobs.input_parts import FINGERPRINT_DIGITS, requested_model
from chatpipe.jobs.job_dialects import JobDialect
from chatpipe.server.patches import Patch, patch_body
from chatpipe.system.console import Console, once
from chatpipe.wire.server_requests import body_to_send

_STREAMING = frozenset(("stream", "stream_options"))
_CALLS = b'"tool_calls"'
_END = b"}\n"


class LineEncoder:
    """Encodes the requests of a run as one provider takes them: patched, and never as a stream.

    envelope_bytes is the size of a line beside its body.
    """

    def __init__(
        self, patches: Sequence[Patch], dialect: JobDialect, console: Console, input_name: str
    ) -> None:
        """The changes of patches are printed with -v, each once. input_name is for places."""
        self._patches = patches
        self._detail = once(console.detail if console.options.verbose else None)
        self._dialect = dialect
        self._input_name = input_name
        self._is_of_job = dialect.shape.model_is_of_job  # it has the url, too
        envelope = b"" if self._is_of_job else b'"method":"POST","url":%b,' % values.dumps(dialect.url)
        self._before_id, self._before_body = b'{"custom_id":"', b'",%b"body":' % envelope
        self.envelope_bytes = FINGERPRINT_DIGITS + len(self._before_id + self._before_body + _END)

    def encode(
        self, items: Sequence[Item], fingerprints: Sequence[bytes]
    ) -> tuple[list[bytes], list[str | None]]:
        """The lines of items without a fault, with their newlines, and the models of their requests.

        Raises BadInput for a request without a model that the provider needs.
        """
        bodies: list[Mapping[str, Value]] = [item.body for item in items if item.body is not None]
        if self._patches:
            bodies = [patch_body(body, self._patches, self._detail) for body in bodies]
        if not _STREAMING.isdisjoint(chain.from_iterable(bodies)):
            bodies = [_without(_STREAMING, body) for body in bodies]
        models = self._models(items, bodies)
        if self._is_of_job:
            bodies = [_without(("model",), body) for body in bodies]
        texts = [*map(values.dumps, bodies)]
        if _CALLS in b"".join(texts):  # in the messages of few requests
            texts = [values.dumps(body_to_send(body)) for body in bodies]
        before_id, before_body = self._before_id, self._before_body
        pairs = zip(fingerprints, texts, strict=True)
        return [b"".join((before_id, digits, before_body, text, _END)) for digits, text in pairs], models

    def _models(self, items: Sequence[Item], bodies: Sequence[Mapping[str, Value]]) -> list[str | None]:
        named = [body.get("model") for body in bodies]
        if {*map(type, named)} == {str} and all(named):
            return named
        models: list[str | None] = []
        for body in bodies:
            try:
                models.append(requested_model(body, self._dialect))
            except BadInput as fault:
                fault.place = f"{self._input_name}:{items[len(models)].line}"
                raise
        return models


def _without(names: Collection[str], body: Mapping[str, Value]) -> Mapping[str, Value]:
    return {name: value for name, value in body.items() if name not in names}
