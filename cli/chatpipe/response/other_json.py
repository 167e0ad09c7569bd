"""JSON that is no completion -> what it is instead: an answer of another API, or an input of chatpipe.

Servers with an API of their own beside Chat Completions send the first kind where the base URL is that
of the other API, and some gateways always. People give the second to `show`.

Sources: the API references of Ollama, llama.cpp, Text Generation Inference, Anthropic, OpenAI, Gemini,
Cloudflare, Cohere, Amazon Bedrock and DashScope.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from chatpipe.inputs.values import Value
from chatpipe.named_tuple import NamedTuple


class OtherJson(NamedTuple):
    """A kind of JSON.

    what names it in an error line. fix is the advice if a server sent it. use says which command takes a
    FILE of it; empty if none does.
    """

    what: str
    fix: str = "check the base URL"
    use: str = ""


def _has(**types: type) -> Callable[[dict[str, Value]], bool]:
    """A test for members of these types."""
    return lambda value: all(isinstance(value.get(name), kind) for name, kind in types.items())


def _has_type(*starts: str) -> Callable[[dict[str, Value]], bool]:
    """A test for a `type` that begins with one of some words."""
    return lambda value: str(value.get("type", "")).startswith(starts)


def _is_cohere(value: dict[str, Value]) -> bool:
    message = value.get("message")
    return "choices" not in value and isinstance(message, dict) and isinstance(message.get("content"), list)


def _is_dashscope(value: dict[str, Value]) -> bool:
    output = value.get("output")
    return (
        isinstance(output, dict)
        and "request_id" in value
        and not output.keys().isdisjoint(("text", "choices"))
    )


def _is_bedrock(value: dict[str, Value]) -> bool:
    output = value.get("output")
    return isinstance(output, dict) and "message" in output and "stopReason" in value


def _is_job(value: dict[str, Value]) -> bool:
    if value.get("choices") or value.get("error"):
        return False
    return re.match(_NOT_DONE, str(value.get("status")), re.IGNORECASE) is not None


def _api(name: str, base_url: str) -> OtherJson:
    """An answer of another API. base_url is a predicate of the base URL for Chat Completions."""
    return OtherJson(f"an answer of {name}", f"its base URL for Chat Completions {base_url}")


_OLLAMA = _api("Ollama's own API", "ends in /v1")
_ANTHROPIC = _api("Anthropic's Messages API", "is https://api.anthropic.com/v1")
_RESPONSES = _api("the Responses API", "has no /responses")
_GEMINI = _api("Gemini's own API", "is https://generativelanguage.googleapis.com/v1beta/openai")
_CLOUDFLARE = _api("Cloudflare's own API", "ends in /ai/v1")
_BEDROCK = _api("Bedrock's Converse API", "is https://bedrock-runtime.REGION.amazonaws.com/openai/v1")

# An answer that comes later, on another request. The job is paid for: it must not be started again.
JOB = OtherJson(
    "a job that is not done", "chatpipe does not fetch it later: use an endpoint that waits for the answer"
)
_NOT_DONE = r"(?:queued|pending|accepted|submitted|scheduled|processing|running|starting|in[_ -]?progress)\b"

# The first that fits counts. A stream is the object that its chunks make, in which the last value of
# each member stays.
KINDS: tuple[tuple[Callable[[dict[str, Value]], bool], OtherJson], ...] = (
    (_has(done=bool, message=dict), _OLLAMA),
    (_has(done=bool, response=str), _OLLAMA),
    (_has(content=str, stop=bool), _api("llama.cpp's own API", "ends in /v1")),
    (lambda value: "generated_text" in value, _api("Text Generation Inference's own API", "ends in /v1")),
    (lambda value: value.get("type") == "message" and "content" in value, _ANTHROPIC),
    (_has_type("message_", "content_block_"), _ANTHROPIC),
    (_has_type("response."), _RESPONSES),
    (lambda value: value.get("object") == "response", _RESPONSES),
    (_has(candidates=list), _GEMINI),
    (_has(result=dict, success=bool), _CLOUDFLARE),
    (_has(response=str, p=str), _CLOUDFLARE),
    (_is_bedrock, _BEDROCK),
    (_is_dashscope, _api("DashScope's own API", "ends in /compatible-mode/v1")),
    (_is_cohere, _api("Cohere's own API", "is https://api.cohere.ai/compatibility/v1")),
    (_is_job, JOB),
    (lambda value: value.get("object") == "list", OtherJson("a list, such as one of models or embeddings")),
    (
        _has(custom_id=str, body=dict),
        OtherJson("a line of a Batch input", use="chatpipe batch FILE sends it"),
    ),
    (
        _has(request=dict, response=dict),
        OtherJson("a recorded exchange", use="chatpipe ask --replay FILE answers its request"),
    ),
    (_has(messages=list), OtherJson("a request body", use="chatpipe ask -r FILE sends it")),
    (_has(prompt=str), OtherJson("a row with a prompt", use="chatpipe batch FILE sends it")),
    (_has(role=str), OtherJson("a message", use="chatpipe ask --messages FILE sends it")),
)


# An object without any of these is no completion.
_COMPLETION_KEYS = frozenset(("choices", "usage", "model"))


def other_reply(value: Value) -> OtherJson | None:
    """The kind of a reply without choices that is no completion, as a clause. None if it may be one."""
    if (other := other_json(value)) is not None:
        return other._replace(what=f"the reply is {other.what}")
    if isinstance(value, dict) and value and _COMPLETION_KEYS.isdisjoint(value):
        return OtherJson("the answer has no choices")
    return None


def other_json(value: Value) -> OtherJson | None:
    """The kind of an object, or of the first item of an array, that is no completion. None if unknown."""
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, dict):
        return None
    return next((kind for is_one, kind in KINDS if is_one(value)), None)
