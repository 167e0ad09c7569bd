"""The payload of one event -> one chunk."""

from chatpipe.errors import BrokenAnswer
from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.system.escape import shorten

# Reasoning text: the first field from DeepSeek, llama.cpp and older vLLM, the second from vLLM, Ollama and
# OpenRouter. OpenAI sends none.
REASONING_FIELDS = ("reasoning_content", "reasoning")

_EXCERPT = 80  # characters of a broken payload that an error line shows


def parse(payload: bytes) -> dict[str, Value]:
    """The JSON object in one event. Raises BrokenAnswer with the payload as its body."""
    try:
        value = values.loads(payload)
    except values.NotJSON as error:
        raise _broken(payload, f"is not JSON ({error.what})") from error
    if type(value) is not dict:
        raise _broken(payload, "is not a JSON object")
    return value


def _broken(payload: bytes, what: str) -> BrokenAnswer:
    excerpt = shorten(payload[: 4 * _EXCERPT].decode("utf-8", "replace"), _EXCERPT)
    return BrokenAnswer(f"an event of the stream {what}: '{excerpt}'", fix="try again", body=payload)
