"""A newly built request -> its warnings, or one exception that holds every error with its location."""

from __future__ import annotations

from chatpipe.errors import BadInput, Problems
from chatpipe.options.check import CheckOptions
from chatpipe.request.build import BuiltRequest
from chatpipe.request.response_format import ResponseFormat
from chatpipe.schema.check import Problem, check


def refuse(built: BuiltRequest, *, strict: bool = False, without_model: bool = False) -> list[str]:
    """The warnings, as lines. Raises Problems with all errors if there are any."""
    problems = check(built.body, strict=strict, without_model=without_model)
    faults = [_fault(built, problem) for problem in problems if problem.severity == "error"]
    if faults:
        raise Problems(faults)
    return [str(_fault(built, problem)) for problem in problems]


def refuse_schema(form: ResponseFormat | None, check: CheckOptions) -> list[str]:
    """The warnings about the schema that answers must satisfy, as lines; none with --no-check.

    Raises BadInput if it is not a valid schema, whatever check says, because no answer could be held to
    it. Raises Problems for its warnings if check is strict.
    """
    if form is None:
        return []
    from chatpipe.schema import json_schema  # imports jsonschema
    from chatpipe.schema.strict import lint_warnings

    json_schema.validator_class(form.schema.value, form.place)
    return [] if check.off else lint_warnings(form, strict=check.strict)


def _fault(built: BuiltRequest, problem: Problem) -> BadInput:
    return BadInput(describe(problem), place=built.place(problem.pointer), fix=problem.hint)


def describe(problem: Problem) -> str:
    """`/messages/0/role: is 'sytem', ...`, or `the request has no 'model'` for the body itself."""
    return f"{problem.pointer}: {problem.message}" if problem.pointer else f"the request {problem.message}"
