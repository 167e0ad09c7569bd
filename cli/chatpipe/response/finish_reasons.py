"""A finish_reason in the words of any vendor -> what it says about the answer.

Gateways often pass on the word of the model's own API. One table holds them all, so that the same end has
the same exit status everywhere. Words are compared without case, `_`, `-` and spaces.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from chatpipe.inputs.values import Value, json_type
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.outcomes import OK, Outcome


class Words(NamedTuple):
    """The words of one vendor.

    end: the model ended its turn. calls: it ended it with tool calls; the message shows if there are any.
    limit: a limit cut the answer short. filter: content was held back. failure: the server gave up, so
    that a retry may help and a higher limit would not, also where the answer is cut short. context: the
    messages and the answer fill the context of the model.
    """

    end: str = ""
    calls: str = ""
    limit: str = ""
    filter: str = ""
    failure: str = ""
    context: str = ""


# From API references and the enumerations of the vendors' own clients, 2026-11.
VENDORS: Mapping[str, Words] = {
    "OpenAI": Words(
        "stop completed",
        "tool_calls function_call",
        "length max_output_tokens incomplete",
        "content_filter",
        "failed cancelled",
    ),
    "Azure": Words(limit="token_limit_reached", filter="content_filtered"),
    "Anthropic": Words(
        "end_turn stop_sequence",
        "tool_use",
        "max_tokens pause_turn compaction",
        "refusal",
        context="model_context_window_exceeded",
    ),
    # `other` is an end for no reason that the server names
    "Gemini": Words(
        "stop",
        limit="max_tokens",
        filter="safety recitation language blocklist prohibited_content spii model_armor image_safety"
        " image_prohibited_content image_recitation image_other",
        failure="other malformed_function_call unexpected_tool_call too_many_tool_calls malformed_response"
        " missing_thought_signature no_image",
    ),
    "Bedrock": Words(
        "end_turn stop_sequence finish finished stop_criteria_met endoftext",
        "tool_use",
        "max_tokens length",
        "guardrail_intervened content_filtered",
        "malformed_model_output malformed_tool_use",
        "model_context_window_exceeded",
    ),
    "Cohere": Words(
        "complete stop_sequence",
        "tool_call",
        "max_tokens error_limit",
        "error_toxic",
        "error user_cancel timeout",
    ),
    "Mistral": Words("stop", "tool_calls", "length", failure="error", context="model_length"),
    "DeepSeek": Words("stop", "tool_calls", "length", "content_filter", "insufficient_system_resource"),
    "Zhipu": Words(
        "stop", "tool_calls", "length", "sensitive", "network_error", "model_context_window_exceeded"
    ),
    "MiniMax": Words("stop", "tool_calls", "length max_output"),
    "Qwen, Ernie": Words("stop normal", "tool_calls function_call", "length", "content_filter"),
    "xAI": Words(
        "stop end_turn", "tool_calls", "length max_len", failure="time_limit invalid", context="max_context"
    ),
    "OpenRouter": Words("stop", "tool_calls", "length", "content_filter", "error"),
    "Together": Words("stop eos", "tool_calls function_call", "length"),
    "Groq": Words("stop", "tool_calls", "length", failure="tool_use_failed json_validate_failed"),
    "Aleph Alpha": Words("end_of_text stop_sequence_reached", limit="maximum_tokens"),
    "GigaChat": Words("stop", "function_call", "length", "blacklist", "error"),
    "YandexGPT": Words("final", "tool_calls", "truncated_final", "content_filter"),
    "watsonx": Words(
        "eos_token stop_sequence", "", "max_tokens token_limit", "", "cancelled time_limit error"
    ),
    "vLLM, SGLang": Words("stop", "tool_calls", "length repetition", failure="abort error"),
    "TGI": Words("eos_token stop_sequence", limit="length"),
    "TensorRT-LLM": Words("end_id stop_words", limit="length", failure="timeout cancelled"),
    "llama.cpp": Words("eos word", limit="limit"),
    "Ollama": Words("stop", limit="length", failure="load unload"),
    "LM Studio": Words(
        "eos_found stop_string_found",
        "tool_calls",
        "max_predicted_tokens_reached",
        failure="user_stopped model_unloaded failed",
        context="context_length_reached",
    ),
    # spellings of the same in gateways and other servers
    "others": Words(
        "end ended done success stopped end_of_turn eot eot_token eod stop_token stop_word stop_string"
        " stop_str stop_sequences stop_criteria end_of_sequence matched_stop",
        "tool_uses function_calls tool",
        "max_token max_length max_new_tokens max_completion_tokens max_tokens_reached length_limit truncated"
        " token_budget",
        "filter filtered content_blocked blocked safety_filter moderation guardrail guardrails refused toxic"
        " policy policy_violation content_policy content_policy_violation data_inspection_failed",
        "failure aborted canceled cancel interrupted internal_error server_error connection_error time_out"
        " unknown_error overloaded engine_overloaded rate_limit disconnected malformed_tool_call",
        "context_length context_limit context_length_exceeded context_window_exceeded",
    ),
}
# The names of enumerations that some libraries write before the word: FINISH_REASON_STOP, FinishReason.STOP
_PREFIXES = ("finishreason", "stopreason", "completionreason", "alternativestatus", "reason")
# Words of a choice that has not ended. DashScope writes "null" in every chunk before the last.
_NOT_ENDED = frozenset({"", "null", "none", "notfinished", "inprogress", "unspecified"})
_SEPARATORS = str.maketrans("", "", "_- \t\r\n")
# The outcomes of the fields of Words, in their order.
_OUTCOMES = (
    Outcome.ok,
    Outcome.tool_calls,
    Outcome.truncated,
    Outcome.refused,
    Outcome.broken,
    Outcome.truncated,
)


def meaning(reason: Value) -> Outcome | None:
    """The outcome that a finish_reason states; None for a word that no vendor is known to use.

    A choice without one is ok. tool_calls says that the model meant to call tools, not that it did.
    Never raises.
    """
    if reason == "stop" or reason is None:
        return OK
    word = _word(reason)
    return Outcome.ok if word in _NOT_ENDED else _table().get(word)


def has_ended(reason: Value) -> bool:
    """Return True if a finish_reason says that the choice has ended, in whatever word. Never raises."""
    return reason == "stop" or _word(reason) not in _NOT_ENDED


def is_context_full(reason: Value) -> bool:
    """Return True if a finish_reason says that a higher limit of tokens would not help. Never raises."""
    return _word(reason) in _context_words()


def _word(reason: Value) -> str:
    """The bare form of a word. Text after a colon is a detail: Gemini's `content_filter: RECITATION`."""
    if not reason:
        return ""
    if type(reason) is not str:
        return json_type(reason)
    name = reason.partition(":")[0].rpartition(".")[2].casefold()
    word = name.translate(_SEPARATORS)
    for prefix in _PREFIXES:
        if word.startswith(prefix) and word != prefix:
            return word.removeprefix(prefix)
    return word


@cache
def _context_words() -> frozenset[str]:
    return frozenset(_word(word) for vendor in VENDORS.values() for word in vendor.context.split())


@cache
def _table() -> Mapping[str, Outcome]:
    """The outcome of each bare word."""
    return {
        _word(word): outcome
        for vendor in VENDORS.values()
        for words, outcome in zip(vendor, _OUTCOMES, strict=True)
        for word in words.split()
    }
