"""The words for the end of an answer: every vendor's, in any spelling."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest

from chatpipe.options.outcomes import Outcome
from chatpipe.response.finish_reasons import VENDORS, has_ended, is_context_full, meaning
from support.parametrize import cases

# An example of each vendor's own words, in the vendor's own spelling.
EXAMPLES = {
    "OpenAI": {"stop": "ok", "tool_calls": "tool-calls", "length": "truncated", "content_filter": "refused"},
    "Azure": {"token_limit_reached": "truncated", "content_filtered": "refused"},
    "Anthropic": {
        "end_turn": "ok",
        "tool_use": "tool-calls",
        "max_tokens": "truncated",
        "refusal": "refused",
    },
    "Gemini": {
        "STOP": "ok",
        "MAX_TOKENS": "truncated",
        "SAFETY": "refused",
        "RECITATION": "refused",
        "OTHER": "network",
        "MALFORMED_FUNCTION_CALL": "network",
    },
    "Bedrock": {"STOP_CRITERIA_MET": "ok", "guardrail_intervened": "refused", "CONTENT_FILTERED": "refused"},
    "Cohere": {"COMPLETE": "ok", "ERROR_TOXIC": "refused", "ERROR": "network", "ERROR_LIMIT": "truncated"},
    "Mistral": {"model_length": "truncated", "error": "network"},
    "DeepSeek": {"insufficient_system_resource": "network"},
    "Zhipu": {"sensitive": "refused", "network_error": "network"},
    "MiniMax": {"max_output": "truncated"},
    "Qwen, Ernie": {"normal": "ok"},
    "xAI": {"REASON_MAX_LEN": "truncated", "REASON_STOP": "ok", "REASON_TIME_LIMIT": "network"},
    "OpenRouter": {"error": "network"},
    "Together": {"eos": "ok"},
    "Groq": {"tool_use_failed": "network"},
    "Aleph Alpha": {"maximum_tokens": "truncated", "end_of_text": "ok"},
    "GigaChat": {"blacklist": "refused"},
    "YandexGPT": {"ALTERNATIVE_STATUS_FINAL": "ok", "ALTERNATIVE_STATUS_TRUNCATED_FINAL": "truncated"},
    "watsonx": {"EOS_TOKEN": "ok", "CANCELLED": "network"},
    "vLLM, SGLang": {"abort": "network", "repetition": "truncated"},
    "TGI": {"eos_token": "ok", "stop_sequence": "ok"},
    "TensorRT-LLM": {"end_id": "ok", "timeout": "network"},
    "llama.cpp": {"limit": "truncated"},
    "Ollama": {"load": "network"},
    "LM Studio": {"eosFound": "ok", "maxPredictedTokensReached": "truncated", "toolCalls": "tool-calls"},
    "others": {"max_new_tokens": "truncated", "blocked": "refused", "aborted": "network", "end": "ok"},
}


@pytest.mark.parametrize("vendor", VENDORS)
def test_words_of_a_vendor(vendor: str) -> None:
    for word, outcome in EXAMPLES[vendor].items():
        assert meaning(word) is Outcome(outcome), word


@cases(
    ("reason", "is_full"),
    {
        "Mistral": ("model_length", True),
        "an enumeration": ("FinishReason.MODEL_CONTEXT_WINDOW_EXCEEDED", True),
        "LM Studio": ("contextLengthReached", True),
        "a limit of tokens": ("length", False),
        "another end": ("stop", False),
        "none": (None, False),
    },
)
def test_a_full_context_is_no_limit_that_can_be_raised(reason: Any, is_full: bool) -> None:
    assert is_context_full(reason) is is_full


def test_no_word_has_two_meanings() -> None:
    found = defaultdict(set)
    for words in VENDORS.values():
        for number, text in enumerate(words):
            for word in text.split():
                found[word.replace("_", "")].add(number)
    assert {word: numbers for word, numbers in found.items() if len(numbers) > 1} == {}


@cases(
    "word",
    {
        "capitals": "MAX_TOKENS",
        "dashes": "max-tokens",
        "spaces": " Max tokens\n",
        "one word": "maxTokens",
        "enumeration": "FINISH_REASON_MAX_TOKENS",
        "member of an enumeration": "FinishReason.MAX_TOKENS",
        "with a detail": "max_tokens: 4096",
    },
)
def test_spellings_of_one_word(word: str) -> None:
    assert meaning(word) is Outcome.truncated


@cases(
    ("reason", "outcome", "ended"),
    {
        "none yet": (None, Outcome.ok, False),
        "empty": ("", Outcome.ok, False),
        "the word null": ("null", Outcome.ok, False),
        "unspecified": ("FINISH_REASON_UNSPECIFIED", Outcome.ok, False),
        "false": (False, Outcome.ok, False),
        "a new word": ("enlightened", None, True),
        "a number": (2, None, True),
        "a list": (["stop"], None, True),
    },
)
def test_words_outside_the_table(reason: Any, outcome: Outcome | None, ended: bool) -> None:
    assert (meaning(reason), has_ended(reason)) == (outcome, ended)
