"""Rules about the parameters of a request that are neither messages nor tools."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from chatpipe.inputs.place import pointer_of
from chatpipe.inputs.values import as_object
from chatpipe.schema.phrases import quote
from chatpipe.schema.rule import OTHER_SERVER, Breach, Object, Rule, objects, parts, string_or_none

_NOT_NULLABLE = (
    "response_format",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "functions",
    "function_call",
    "user",
    "prompt_cache_options",
    "web_search_options",
)
_EXTENSION_VALUES = {
    "reasoning_effort": {"default": "Groq"},
    "verbosity": {"xhigh": "OpenRouter", "max": "OpenRouter"},
    "service_tier": {"on_demand": "Groq", "performance": "Groq"},
    "tool_choice": {"any": "Mistral"},
}


def _null_value(body: Object) -> Iterator[Breach]:
    for key in _NOT_NULLABLE:
        if key in body and body[key] is None:
            yield Breach("/" + key, "is null, which the API does not allow here")


def _blank_model(body: Object) -> Sequence[Breach]:
    """Only a server with one model may take any name."""
    model = body["model"]
    return [Breach("/model", "is blank")] if isinstance(model, str) and not model.strip() else ()


def _two_token_limits(body: Object) -> Iterator[Breach]:
    if body.get("max_tokens") is not None and body["max_completion_tokens"] is not None:
        yield Breach("/max_tokens", "is set together with 'max_completion_tokens'")


def _no_tokens(body: Object) -> Sequence[Breach]:
    found = []
    for key in ("max_tokens", "max_completion_tokens"):
        limit = body.get(key)
        if type(limit) is int and limit < 1:
            found.append(Breach("/" + key, "is less than 1"))
    return found


def _logit_bias(body: Object) -> Iterator[Breach]:
    biases = body["logit_bias"]
    if isinstance(biases, list):
        yield Breach("/logit_bias", "is an array, which only llama.cpp takes")
    for token, bias in as_object(biases).items():
        pointer = "/logit_bias" + pointer_of([token])
        if not token.isdecimal():
            yield Breach(pointer, "is not the id of a token, and only llama.cpp takes a text")
        if isinstance(bias, bool):
            yield Breach(pointer, "is a boolean, which only llama.cpp takes")
        elif isinstance(bias, (int, float)) and not -100 <= bias <= 100:
            yield Breach(pointer, "is out of range", "write a number from -100 to 100")
        elif isinstance(bias, float) and not bias.is_integer():
            yield Breach(pointer, "is a fraction, and OpenAI takes integers only")


def _top_logprobs_without_logprobs(body: Object) -> Iterator[Breach]:
    if body["top_logprobs"] and body.get("logprobs") is not True:
        yield Breach("/top_logprobs", "is set without 'logprobs': true")


def _stream_options_without_stream(body: Object) -> Iterator[Breach]:
    if body["stream_options"] is not None and body.get("stream") is not True:
        yield Breach("/stream_options", "is set without 'stream': true")


def _json_not_mentioned(body: Object) -> Iterator[Breach]:
    if as_object(body["response_format"]).get("type") != "json_object":
        return
    texts = [message.get("content") for _, message in objects(body.get("messages"))]
    texts += [part.get("text") for _, _, part in parts(body)]
    if not any(isinstance(text, str) and "json" in text.lower() for text in texts):
        yield Breach("/response_format", "asks for a JSON object, but no message has the word JSON")


def _requests_audio(body: Object) -> bool:
    wanted = body.get("modalities")
    return isinstance(wanted, list) and "audio" in wanted


def _no_modality(body: Object) -> Sequence[Breach]:
    return [Breach("/modalities", "is empty")] if body["modalities"] == [] else ()


def _audio_modality_without_audio(body: Object) -> Iterator[Breach]:
    if _requests_audio(body) and body.get("audio") is None:
        yield Breach("/modalities", "has 'audio', but there is no 'audio' with a voice and a format")


def _audio_without_modality(body: Object) -> Iterator[Breach]:
    if body["audio"] is not None and not _requests_audio(body):
        yield Breach("/audio", "is set, but 'modalities' does not ask for audio")


def _audio_not_streamable(body: Object) -> Iterator[Breach]:
    """A streamed request accepts pcm16 only. Source: the text of OpenAI's error, 2026."""
    encoding = as_object(body["audio"]).get("format")
    is_streamed = body.get("stream") is True and _requests_audio(body)
    if is_streamed and isinstance(encoding, str) and encoding != "pcm16":
        yield Breach("/audio/format", f"is {quote(encoding)}, and OpenAI streams pcm16 only")


def _country_code(body: Object) -> Iterator[Breach]:
    location = as_object(as_object(body["web_search_options"]).get("user_location"))
    country = as_object(location.get("approximate")).get("country")
    if isinstance(country, str) and not (len(country) == 2 and country.isascii() and country.isalpha()):
        yield Breach(
            "/web_search_options/user_location/approximate/country",
            f"is {quote(country)}, not a code of two letters",
        )


def _metadata_size(body: Object) -> Iterator[Breach]:
    metadata = as_object(body["metadata"])
    if len(metadata) > 16:
        yield Breach("/metadata", f"has {len(metadata)} pairs, at most 16 allowed")
    for key, value in metadata.items():
        if len(str(key)) > 64:
            yield Breach("/metadata", f"has a key of {len(key)} characters, at most 64 allowed")
        if isinstance(value, str) and len(value) > 512:
            yield Breach("/metadata" + pointer_of([key]), f"has {len(value)} characters, at most 512 allowed")


def _other_servers_word(body: Object) -> Iterator[Breach]:
    for key, servers in _EXTENSION_VALUES.items():
        word = string_or_none(body.get(key))
        if word is not None and word in servers:
            yield Breach("/" + key, f"is '{word}', which only {servers[word]} is known to take")
    format_type = as_object(body.get("response_format")).get("type")
    if format_type in ("grammar", "structural_tag"):
        server = "OpenRouter" if format_type == "grammar" else "vLLM"
        yield Breach("/response_format/type", f"is '{format_type}', which only {server} is known to take")
    if isinstance(body.get("modalities"), list) and "image" in body["modalities"]:
        index = body["modalities"].index("image")
        yield Breach(f"/modalities/{index}", "is 'image', which only OpenRouter is known to take")
    if body.get("top_logprobs") == -1:
        yield Breach("/top_logprobs", "is -1, which only vLLM is known to take")


def _is_name(model: object) -> bool:
    return type(model) is str and model.strip() != ""


def _is_positive(tokens: object) -> bool:
    return type(tokens) is int and tokens > 0


# Tests of values that the schema accepts, and that break no rule which this key alone triggers.
USUAL_VALUES: dict[str, Callable[[object], bool]] = {"model": _is_name, "max_tokens": _is_positive}
PARAMETER_RULES = (
    Rule("null-value", "warning", _NOT_NULLABLE, _null_value, "leave it out"),
    Rule("blank-model", "warning", ("model",), _blank_model, "name a model"),
    Rule("two-token-limits", "warning", ("max_completion_tokens",), _two_token_limits, "keep one of them"),
    Rule("no-tokens", "warning", ("max_tokens", "max_completion_tokens"), _no_tokens,
         "leave it out for no limit"),
    Rule("logit-bias", "warning", ("logit_bias",), _logit_bias, OTHER_SERVER),
    Rule("top-logprobs-without-logprobs", "error", ("top_logprobs",), _top_logprobs_without_logprobs,
         "set 'logprobs' to true"),
    Rule("stream-options-without-stream", "warning", ("stream_options",), _stream_options_without_stream,
         "set 'stream' to true, or leave it out"),
    Rule("json-not-mentioned", "warning", ("response_format",), _json_not_mentioned,
         "ask for JSON in a message, or the answer may be endless whitespace"),
    Rule("no-modality", "warning", ("modalities",), _no_modality, "leave it out"),
    Rule("audio-modality-without-audio", "warning", ("modalities",), _audio_modality_without_audio,
         "set 'audio', or leave the modality out"),
    Rule("audio-without-modality", "warning", ("audio",), _audio_without_modality,
         "ask for it, or leave it out"),
    Rule("audio-not-streamable", "warning", ("audio",), _audio_not_streamable, OTHER_SERVER),
    Rule("country-code", "warning", ("web_search_options",), _country_code, "write one such as SE"),
    Rule("metadata-size", "warning", ("metadata",), _metadata_size, "shorten or remove what is too much"),
    Rule("other-servers-word", "warning",
         (*_EXTENSION_VALUES, "response_format", "modalities", "top_logprobs"),
         _other_servers_word, OTHER_SERVER),
)  # fmt: skip
