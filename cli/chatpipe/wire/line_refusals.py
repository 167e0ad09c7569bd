"""Refusals that concern the content of one request, so that they say nothing about the next one. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

_TOO_LARGE = 413
# Codes and types of error bodies, in lower case and without underscores and dashes.
# Sources: the error pages of OpenAI, Azure, Anthropic, DashScope, and bug reports, as of 2026-11.
_CODES = frozenset(
    {
        # too long
        "contextlengthexceeded",
        "exceedcontextsizeerror",  # llama.cpp
        "requesttoolarge",  # Anthropic
        "stringabovemaxlength",
        "arrayabovemaxlength",
        "tokenlimitexceeded",
        "prompttoolong",
        "inputtoolong",
        # not permitted
        "contentfilter",
        "contentpolicyviolation",
        "responsibleaipolicyviolation",  # Azure
        "moderationblocked",
        "moderation",
        "invalidprompt",  # OpenAI: the usage policy
        "datainspectionfailed",  # DashScope
        "prohibitedcontent",  # Gemini
        "safety",
        # the model itself failed, as it may not do for the next request
        "toolusefailed",  # Groq, with what the model wrote instead of a call
        "jsonvalidatefailed",
        # an attachment
        "invalidimage",
        "invalidimageurl",
        "invalidimageformat",
        "invalidbase64image",
        "imageparseerror",
        "imagetoolarge",
        "imagetoosmall",
        "unsupportedimagemediatype",
        "imagecontentpolicyviolation",
        "failedtodownloadimage",
        "imagefiletoolarge",
        "imagefilenotfound",
        "emptyimagefile",
    }
)
# The same in messages, in lower case: most servers have no code for it.
_PHRASES = (
    "context length",
    "context window",
    "context size",
    "context limit",
    "input length",
    "prompt length",
    "too long",
    "too many tokens",
    "too many input tokens",
    "token limit",
    "tokens exceed",
    "payload too large",
    "request entity too large",
    "content filter",
    "content_filter",
    "content management policy",
    "content policy",
    "content policies",
    "usage policy",
    "usage policies",
    "moderation",
    "flagged",
    "inappropriate content",
    "harmful content",
    "unsafe content",
    "sensitive content",
    "sensitive information",
    "sensitive words",
    "prohibited content",
    "blocked by safety",
    "safety system",
    "safety reasons",
    "safety settings",
    "image",
    "audio data",
    "audio file",
)


def concerns_one_line(status: int, codes: Iterable[str], message: str) -> bool:
    """True if a refusal is about the length, the words or the attachments of its own request."""
    if status == _TOO_LARGE or any(re.sub("[_ .-]", "", code.lower()) in _CODES for code in codes):
        return True
    text = message.lower()
    return any(phrase in text for phrase in _PHRASES)
