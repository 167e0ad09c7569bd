"""A line of requests -> the problems of all but its body, which `check` and runs find alike."""

from __future__ import annotations

from collections.abc import Sequence

from chatpipe.inputs.values import json_type
from chatpipe.options.prompt import blankness
from chatpipe.request.batch_line import OTHER_ENDPOINT, USUAL_URLS, RequestLine
from chatpipe.schema.check import Problem
from chatpipe.schema.phrases import quote

OWN_ID = "give each line its own"


def envelope_problems(line: RequestLine) -> Sequence[Problem]:
    """The problems of the custom_id and the url of a line. A line with one of these cannot be sent."""
    custom_id, url = line.custom_id, line.url
    if url in USUAL_URLS and (custom_id is None or (type(custom_id) is str and custom_id)):
        return ()  # nearly all lines of a run
    problems = []
    if custom_id is not None and not isinstance(custom_id, str):
        problems.append(Problem("/custom_id", "type", f"is {json_type(custom_id)}, not a string"))
    elif custom_id == "":
        problems.append(Problem("/custom_id", "minLength", "is empty", OWN_ID))
    if url is not None and not isinstance(url, str):
        problems.append(Problem("/url", "type", f"is {json_type(url)}, not a string"))
    elif line.is_of_other_endpoint:
        problems.append(Problem("/url", "endpoint", f"{quote(str(url))} {OTHER_ENDPOINT}"))
    return problems


def prompt_problems(line: RequestLine) -> Sequence[Problem]:
    """The problem of a prompt without text. --no-check sends it."""
    if not (line.is_made and (blank := blankness(line.body["messages"][-1]["content"]))):
        return ()
    return [Problem("/prompt" if line.format == "row" else "", "blank", f"is {blank}")]
