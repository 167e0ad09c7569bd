"""The check of the bodies of a run that share their response format: the format itself is checked once."""

from __future__ import annotations

from collections.abc import Mapping

from chatpipe.inputs.values import Value
from chatpipe.options.request import CheckOptions
from chatpipe.schema.check import Problem, check

_FORMAT = "response_format"


class BodyCheck:
    """Checks one body after the other. A response format is known by identity, so nobody may change it."""

    def __init__(self, options: CheckOptions) -> None:
        self._options = options
        self._good_format: Value = None

    def problems(self, body: Mapping[str, Value]) -> list[Problem]:
        """All problems of a body, none with --no-check."""
        if self._options.off:
            return []
        form = body.get(_FORMAT)
        if form is not None and form is self._good_format:
            body = {name: value for name, value in body.items() if name != _FORMAT}
        problems = check(body, strict=self._options.strict)
        # No rule reads a schema together with another field. `json_object` has one about the messages.
        if not problems and isinstance(form, dict) and form.get("type") == "json_schema":
            self._good_format = form
        return problems
