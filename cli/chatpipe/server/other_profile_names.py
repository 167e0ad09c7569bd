"""The name of a company or of a model in place of a profile -> the profile that is meant."""

from __future__ import annotations

from collections.abc import Iterable

from chatpipe.inputs.names import did_you_mean
from chatpipe.server.profiles import LIST_PROFILES

_WORDS = {
    "openai": "chatgpt gpt",
    "azure": "microsoft foundry",
    "anthropic": "claude",
    "gemini": "google vertex",
    "xai": "grok",
    "moonshot": "kimi",
    "zai": "glm zhipu bigmodel",
    "dashscope": "qwen alibaba aliyun",
    "bedrock": "aws amazon",
    "huggingface": "hf",
    "perplexity": "pplx sonar",
    "llamacpp": "llama-server",
}


def meant_profile(name: str, known: Iterable[str]) -> str:
    """The advice for a word that is none of the known profiles."""
    if "://" in name or name.startswith("localhost"):
        return "a URL goes to --base-url, or to base_url in a profile"
    # First, because `grok` is a typo of groq, too.
    if meant := [profile for profile, words in _WORDS.items() if name.lower() in words.split()]:
        return f"did you mean '{meant[0]}'?"
    return did_you_mean(name, known, LIST_PROFILES)
