"""Rules for request bodies that no schema expresses: relations of fields, likely typos, server extensions.

All rules are in one table, RULES. A top-level key of the body triggers a rule; some rules always
apply. A rule yields its breaches. It checks the type of every value that it reads, because it also
gets bodies that the schema rejects. Sources: the API description of 2026-08-21, and the code or
documentation of the named servers, as of 2026.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Literal

from chatpipe.inputs.data_url import find_fault, is_data_url
from chatpipe.inputs.names import nearest
from chatpipe.inputs.place import pointer_of
from chatpipe.inputs.values import as_list, as_object
from chatpipe.line_record import LineRecord
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.parameters import TABLE
from chatpipe.schema.phrases import quote

Object = dict[str, Any]


def _word_set(text: str) -> frozenset[str]:
    return frozenset(text.split())


PARAMETERS = frozenset({"messages", *(parameter.path[0] for parameter in TABLE)})

# Keys that some server accepts in addition: never reported as typos, whatever they resemble.
_EXTENSIONS = {
    "Azure OpenAI": _word_set("data_sources"),
    "DeepSeek": _word_set("thinking"),
    "Gemini": _word_set("extra_body google"),
    "Groq": _word_set("citation_options compound_custom disable_tool_validation documents search_settings"),
    "llama.cpp": _word_set("""
        add_generation_prompt cache_prompt chat_template_kwargs dry_allowed_length dry_base
        dry_multiplier dry_penalty_last_n dry_sequence_breakers dynatemp_exponent dynatemp_range
        grammar grammar_lazy grammar_triggers id_slot ignore_eos json_schema lora min_keep min_p
        mirostat mirostat_eta mirostat_tau n_discard n_indent n_keep n_predict n_probs
        parse_tool_calls post_sampling_probs preserved_tokens reasoning_budget_tokens
        reasoning_control reasoning_format repeat_last_n repeat_penalty response_fields
        return_progress return_tokens samplers sse_ping_interval t_max_predict_ms
        thinking_forced_open timings_per_token top_k top_n_sigma typical_p xtc_probability
        xtc_threshold
    """),
    "LM Studio": _word_set("draft_model ttl"),
    "Mistral": _word_set("""
        document_image_limit document_page_limit guardrails prompt_mode random_seed safe_prompt
    """),
    "Ollama": _word_set("format keep_alive options reasoning think"),
    "OpenRouter": _word_set("""
        cache_control debug image_config include_reasoning min_p models plugins provider
        repetition_penalty route session_id top_a top_k trace transforms
    """),
    "SGLang": _word_set("""
        continue_final_message custom_logit_processor custom_params ebnf lora_path min_tokens
        no_stop_trim regex return_hidden_states separate_reasoning stop_regex stop_token_ids
        stream_reasoning
    """),
    "Together": _word_set("compliance context_length_exceeded_behavior echo repetition_penalty safety_model"),
    "vLLM": _word_set("""
        add_generation_prompt add_special_tokens allowed_token_ids bad_words best_of cache_salt
        chat_template chat_template_kwargs continue_final_message documents echo guided_choice
        guided_decoding_backend guided_grammar guided_json guided_regex guided_whitespace_pattern
        ignore_eos include_reasoning include_stop_str_in_output kv_transfer_params length_penalty
        logits_processors logprob_token_ids min_p min_tokens mm_processor_kwargs priority
        prompt_logprobs repetition_penalty request_id return_token_ids return_tokens_as_token_ids
        session_id skip_special_tokens spaces_between_special_tokens stop_token_ids structural_tag
        structured_outputs thinking_token_budget top_k truncate_prompt_tokens use_beam_search
        vllm_xargs
    """),
}
_ACCEPTED = PARAMETERS.union(*_EXTENSIONS.values())
# The names that people mean by a misspelled one: also that of a row, whose prompt becomes the messages.
_TYPED = PARAMETERS | {"prompt"}

# Keys of the objects inside the body: the published ones, then those that some server adds.
_MESSAGE = _word_set("role content name refusal audio tool_calls tool_call_id function_call")
_MESSAGE_ACCEPTED = _MESSAGE | _word_set("""
    annotations cache_control context images partial prefix reasoning reasoning_content reasoning_details
    thinking tool_name tools wait
""")
_TOOL = _word_set("type function custom cache_control")
_FUNCTION = _word_set("name description parameters strict cache_control defer_loading")
_FORMAT = _word_set("type json_schema schema grammar structures triggers format")
_JSON_SCHEMA = _word_set("name description schema strict")
# The members of a body in which there are such objects, messages with more than texts among them.
_WITH_KEYS = _word_set("messages tools functions response_format stream_options")
_STREAM_OPTIONS = _word_set("include_usage include_obfuscation continuous_usage_stats")

_CONTENT_KEYS = _word_set(
    "tool_calls function_call audio refusal reasoning reasoning_content reasoning_details"
)

_NAME_CHARACTERS = frozenset(string.ascii_letters + string.digits + "_-")
_TOOL_TYPES = frozenset(("function", "custom"))
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
_ROLES_OF_PART = {
    "image_url": ("user",),
    "input_audio": ("user",),
    "file": ("user",),
    "refusal": ("assistant",),
}
_MAX_INLINE_BYTES = 50_000_000
_EXTENSION_VALUES = {
    "reasoning_effort": {"default": "Groq"},
    "verbosity": {"xhigh": "OpenRouter", "max": "OpenRouter"},
    "service_tier": {"on_demand": "Groq", "performance": "Groq"},
    "tool_choice": {"any": "Mistral"},
}


class Breach(NamedTuple):
    """A breach of a rule. pointer is a JSON Pointer into the body. A hint replaces the hint of the rule."""

    pointer: str
    message: str
    hint: str = ""


class Rule(LineRecord):
    """A rule about request bodies. Those of most requests make no generators, which cost a microsecond.

    triggers holds the top-level keys of which one triggers the rule. Without any it always applies.
    Breaches of severity "strict" are reported only under --strict, and then as errors.
    """

    name: str
    severity: Literal["error", "warning", "strict"]
    triggers: tuple[str, ...]
    check: Callable[[Object], Iterable[Breach]]
    hint: str


@lru_cache(maxsize=64)  # most lines of a run have the same keys
def rules_for(keys: tuple[str, ...], has_plain_messages: bool, strict: bool) -> tuple[Rule, ...]:
    """The rules that may find something in bodies with these keys, in the order of the table.

    Those without a trigger find nothing if all keys are known, and none finds anything in plain messages.
    """
    triggers = _TRIGGERS.intersection(keys)
    if has_plain_messages:
        triggers -= {"messages"}
    is_usual = triggers.isdisjoint(_WITH_KEYS) and _ACCEPTED.issuperset(keys)
    return tuple(
        rule
        for rule in RULES
        if (strict or rule.severity != "strict")
        and (not triggers.isdisjoint(rule.triggers) or not (rule.triggers or is_usual))
    )


def rules_for_usual_values(keys: tuple[str, ...], strict: bool) -> tuple[Rule, ...]:
    """The rules for bodies with these keys, plain messages and USUAL_VALUES."""
    triggers = USUAL_VALUES.keys() & set(keys)
    return tuple(
        rule
        for rule in rules_for(keys, True, strict)
        if not rule.triggers or not triggers.issuperset(set(rule.triggers).intersection(keys))
    )


def are_plain(messages: Any) -> bool:
    """Return True for messages with a role and a text each: the schema accepts them, no rule concerns them.

    Nearly all messages are. The check takes a microsecond.
    """
    try:
        for message in messages:
            if (
                message["role"] not in {"user", "system", "assistant", "developer"}
                or type(message["content"]) is not str
                or len(message) != 2
            ):
                return False
    except (KeyError, TypeError):  # TypeError: it is no object, its role no text, or messages are no array
        return False
    return type(messages) is list and len(messages) > 0


def _objects(value: object) -> list[tuple[int, Object]]:
    """The objects in an array with their indexes; none if value is not an array."""
    return [(index, item) for index, item in enumerate(as_list(value)) if isinstance(item, dict)]


def _parts(body: Object) -> Iterator[tuple[str, object, Object]]:
    """(pointer, role of the message, part) for every content part."""
    for index, message in _objects(body.get("messages")):
        for part_index, part in _objects(message.get("content")):
            yield f"/messages/{index}/content/{part_index}", message.get("role"), part


def _type_and_name(entry: Object) -> tuple[str, str] | None:
    """(type, name) of a tool, or of an object that chooses a tool; None if either is missing."""
    kind = entry.get("type")
    name = as_object(entry.get(kind)).get("name") if kind in ("function", "custom") else None
    return (kind, name) if isinstance(kind, str) and isinstance(name, str) else None


def _objects_with_known_keys(body: Object) -> Iterator[tuple[str, Object, frozenset[str], frozenset[str]]]:
    """(pointer, object, published keys, keys that some server accepts) for every object with known keys.

    Typos are matched against the published keys only.
    """
    yield "", body, _TYPED, _ACCEPTED
    for index, message in _objects(body.get("messages")):
        yield f"/messages/{index}", message, _MESSAGE, _MESSAGE_ACCEPTED
    for index, tool in _objects(body.get("tools")):
        if tool.get("type") == "function":
            yield f"/tools/{index}", tool, _TOOL, _TOOL
            yield f"/tools/{index}/function", as_object(tool.get("function")), _FUNCTION, _FUNCTION
    for index, function in _objects(body.get("functions")):
        yield f"/functions/{index}", function, _FUNCTION, _FUNCTION
    format_ = as_object(body.get("response_format"))
    yield "/response_format", format_, _FORMAT, _FORMAT
    yield "/response_format/json_schema", as_object(format_.get("json_schema")), _JSON_SCHEMA, _JSON_SCHEMA
    yield "/stream_options", as_object(body.get("stream_options")), _STREAM_OPTIONS, _STREAM_OPTIONS


def _unaccepted_keys(body: Object) -> Iterator[tuple[str, str | None]]:
    """(pointer, likely intended key or None) for each key that no known server accepts."""
    for pointer, value, published, accepted in _objects_with_known_keys(body):
        if value.keys() <= accepted:
            continue
        for key in value:
            if key not in accepted and isinstance(key, str):
                near = nearest(key, published)
                yield pointer + pointer_of([key]), None if near == key else near


def misspelt_keys(body: Object) -> Iterator[Breach]:
    """The keys that are likely typos of known ones."""
    for pointer, known in _unaccepted_keys(body):
        if known:
            yield Breach(pointer, "is not a key that any server is known to take", f"did you mean '{known}'?")


def _unlisted_key(body: Object) -> Iterator[Breach]:
    for pointer, known in _unaccepted_keys(body):
        if not known:
            yield Breach(pointer, "is not a key that any server is known to take")


def _null_value(body: Object) -> Iterator[Breach]:
    for key in _NOT_NULLABLE:
        if key in body and body[key] is None:
            yield Breach("/" + key, "is null, which the API does not allow here")


def _top_logprobs_without_logprobs(body: Object) -> Iterator[Breach]:
    if body["top_logprobs"] and body.get("logprobs") is not True:
        yield Breach("/top_logprobs", "is set without 'logprobs': true")


def _stream_options_without_stream(body: Object) -> Iterator[Breach]:
    if body["stream_options"] is not None and body.get("stream") is not True:
        yield Breach("/stream_options", "is set without 'stream': true")


def _tool_message_without_call(body: Object) -> Iterator[Breach]:
    call_ids: set[object] = set()
    for index, message in _objects(body.get("messages")):
        if message.get("role") == "assistant":
            # any tool message may answer a call without an id
            call_ids.update(_string(call.get("id")) for _, call in _objects(message.get("tool_calls")))
        call_id = _string(message.get("tool_call_id"))
        if message.get("role") == "tool" and call_id is not None and call_ids.isdisjoint((call_id, None)):
            yield Breach(
                f"/messages/{index}/tool_call_id", f"is {quote(call_id)}, which answers no earlier tool call"
            )


def _tool_call_without_answer(body: Object) -> Iterator[Breach]:
    open_calls: dict[str, str] = {}
    for index, message in _objects(body.get("messages")):
        if message.get("role") == "tool":
            open_calls.pop(_string(message.get("tool_call_id")) or "", None)
            continue
        yield from _unanswered(open_calls)
        open_calls = {}
        if message.get("role") == "assistant":
            for call_index, call in _objects(message.get("tool_calls")):
                open_calls[_string(call.get("id")) or ""] = f"/messages/{index}/tool_calls/{call_index}"
    yield from _unanswered(open_calls)


def _unanswered(open_calls: dict[str, str]) -> Iterator[Breach]:
    for call_id, pointer in open_calls.items():
        if call_id:
            yield Breach(pointer, "is not answered by a tool message before the next turn")


def _string(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _tool_call_without_id(body: Object) -> Iterator[Breach]:
    for index, message in _objects(body.get("messages")):
        for at, call in _objects(message.get("tool_calls")):
            for key in ("id", "type"):
                if call.get(key) is None:
                    yield Breach(
                        f"/messages/{index}/tool_calls/{at}", f"has no '{key}', which the API asks for"
                    )


def _empty_assistant_message(body: Object) -> Iterator[Breach]:
    for index, message in _objects(body.get("messages")):
        empty = message.get("content") is None and not any(map(message.get, _CONTENT_KEYS))
        if empty and message.get("role") == "assistant":
            yield Breach(f"/messages/{index}", "has neither content nor calls")


def _part_of_another_role(body: Object) -> Iterator[Breach]:
    for pointer, role, part in _parts(body):
        kind = _string(part.get("type"))
        roles = _ROLES_OF_PART.get(kind) if kind else None
        if roles and role not in roles:
            yield Breach(
                pointer, f"is a part of type '{kind}', which OpenAI takes in {roles[0]} messages only"
            )


def _image_not_base64(body: Object) -> Iterator[Breach]:
    for pointer, url in _data_urls(body):
        if "image_url" in pointer and _is_not_base64(url):
            yield Breach(pointer, "is a data: URL that is not base64")


def _bad_data_url(body: Object) -> Iterator[Breach]:
    """Only the start of the data is looked at, because a line of a run may have megabytes of it."""
    for pointer, url in _data_urls(body):
        is_image = "image_url" in pointer
        if is_image and _is_not_base64(url):
            continue
        if (fault := find_fault(url, is_image=is_image, is_whole=False)) is not None:
            yield Breach(pointer, f"is a data: URL that {fault.what}", fault.fix)


def _data_urls(body: Object) -> Iterator[tuple[str, str]]:
    """(pointer, URL) of each data: URL of an image or a document."""
    for pointer, _, part in _parts(body):
        image, file = part.get("image_url"), part.get("file")
        found = {
            "/image_url": image,
            "/image_url/url": as_object(image).get("url"),
            "/file/file_data": as_object(file).get("file_data"),
        }
        for place, url in found.items():
            if isinstance(url, str) and is_data_url(url):
                yield pointer + place, url


def _is_not_base64(url: str) -> bool:
    return ";base64" not in url[:200].partition(",")[0].lower()


def _audio_as_url(body: Object) -> Iterator[Breach]:
    for pointer, _, part in _parts(body):
        data = as_object(part.get("input_audio")).get("data")
        if isinstance(data, str) and is_data_url(data):
            yield Breach(f"{pointer}/input_audio/data", "is a data: URL, and OpenAI takes its base64 alone")


def _empty_file(body: Object) -> Iterator[Breach]:
    for pointer, _, part in _parts(body):
        file = part.get("file") if part.get("type") == "file" else None
        if isinstance(file, dict) and not (file.get("file_id") or file.get("file_data")):
            yield Breach(pointer + "/file", "names no file")


def _audio_input_format(body: Object) -> Iterator[Breach]:
    for pointer, _, part in _parts(body):
        encoding = as_object(part.get("input_audio")).get("format")
        if isinstance(encoding, str) and encoding not in ("wav", "mp3"):
            yield Breach(
                pointer + "/input_audio/format", f"is {quote(encoding)}, and OpenAI takes wav and mp3 only"
            )


def _too_much_inside(body: Object) -> Iterator[Breach]:
    """The limit for inline data is 50 MB in a request.

    Source: OpenAI's guides to vision and to file inputs, 2026.
    """
    total = 0
    for pointer, _, part in _parts(body):
        total += _inline_bytes(part)
        if total > _MAX_INLINE_BYTES:
            size = f"{total / 1e6:.1f} MB"
            yield Breach(pointer, f"brings what is inside the request to {size}, and OpenAI takes 50 MB")
            return


def _inline_bytes(part: Object) -> int:
    """The size in bytes, as sent, of an image, audio clip or document that is inline in the request."""
    image, sound, file = part.get("image_url"), part.get("input_audio"), part.get("file")
    values = (
        image.get("url") if isinstance(image, dict) else image,
        as_object(sound).get("data"),
        as_object(file).get("file_data"),
    )
    return sum(len(data) for data in values if isinstance(data, str))


def _named_tool_missing(body: Object) -> Iterator[Breach]:
    defined = {_type_and_name(tool) for _, tool in _objects(body.get("tools"))}
    choice = as_object(body["tool_choice"])
    chosen = [("/tool_choice", choice)]
    for index, entry in _objects(as_object(choice.get("allowed_tools")).get("tools")):
        chosen.append((f"/tool_choice/allowed_tools/tools/{index}", entry))
    for pointer, entry in chosen:
        target = _type_and_name(entry)
        if target and target not in defined:
            kind, name = target
            same_kind = [other for other_kind, other in filter(None, defined) if other_kind == kind]
            yield _undefined(f"{pointer}/{kind}/name", name, "tools", same_kind)


def _named_function_missing(body: Object) -> Iterator[Breach]:
    target = as_object(body["function_call"]).get("name")
    names = [function.get("name") for _, function in _objects(body.get("functions"))]
    defined = [name for name in names if isinstance(name, str)]
    if isinstance(target, str) and target not in defined:
        yield _undefined("/function_call/name", target, "functions", defined)


def _undefined(pointer: str, name: str, array: str, defined: list[str]) -> Breach:
    closest = nearest(name, frozenset(defined), least=3)
    hint = f"did you mean {quote(closest)}?" if closest else ""
    return Breach(pointer, f"is {quote(name)}, which is not in '{array}'", hint)


def _definitions(body: Object) -> Iterator[tuple[str, str, str]]:
    """(pointer, type, name) of every named entry in tools and functions."""
    for index, tool in _objects(body.get("tools")):
        if named := _type_and_name(tool):
            yield f"/tools/{index}/{named[0]}/name", *named
    for index, function in _objects(body.get("functions")):
        if isinstance(name := function.get("name"), str):
            yield f"/functions/{index}/name", "function", name


def _bad_name(body: Object) -> Iterator[Breach]:
    names = [(pointer, name) for pointer, _, name in _definitions(body)]
    schema = as_object(as_object(body.get("response_format")).get("json_schema"))
    if isinstance(name := schema.get("name"), str):
        names.append(("/response_format/json_schema/name", name))
    for pointer, name in names:
        if not name:
            yield Breach(pointer, "is empty")
        elif len(name) > 64:
            yield Breach(pointer, f"has {len(name)} characters, at most 64 allowed")
        elif not _NAME_CHARACTERS.issuperset(name):
            yield Breach(pointer, f"is {quote(name)}, which has characters other than a-z A-Z 0-9 _ -")


def _duplicate_tool(body: Object) -> Iterator[Breach]:
    seen: set[tuple[bool, str]] = set()
    for pointer, _, name in _definitions(body):
        entry = (pointer.startswith("/tools"), name)
        if entry in seen:
            yield Breach(pointer, f"is {quote(name)}, as is one before it")
        seen.add(entry)


def _unknown_tool_types(body: Object) -> Iterator[tuple[str, str, str | None]]:
    """(pointer, type, likely intended type or None) of every tool that is neither function nor custom."""
    for index, tool in _objects(body.get("tools")):
        kind = tool.get("type")
        if isinstance(kind, str) and kind not in _TOOL_TYPES:
            yield f"/tools/{index}/type", kind, nearest(kind, _TOOL_TYPES)


def _misspelt_tool_type(body: Object) -> Iterator[Breach]:
    for pointer, kind, known in _unknown_tool_types(body):
        if known:
            yield Breach(
                pointer, f"is {quote(kind)}, not one of function, custom", f"did you mean '{known}'?"
            )


def _other_servers_tool(body: Object) -> Iterator[Breach]:
    for pointer, kind, known in _unknown_tool_types(body):
        if not known:
            yield Breach(pointer, f"is {quote(kind)}, and OpenAI takes function and custom only")


def _too_many_tools(body: Object) -> Iterator[Breach]:
    if isinstance(body["tools"], list) and len(body["tools"]) > 128:
        yield Breach("/tools", f"has {len(body['tools'])} items, at most 128 allowed")


def _tool_choice_without_tools(body: Object) -> Iterator[Breach]:
    if body.get("tools"):
        return
    # the rule named-tool-missing handles a choice by name
    if isinstance(body.get("tool_choice"), str) and body["tool_choice"] != "none":
        yield Breach("/tool_choice", "is set without 'tools'")
    if body.get("parallel_tool_calls") is not None:
        yield Breach("/parallel_tool_calls", "is set without 'tools'")


def _functions_with_tools(body: Object) -> Iterator[Breach]:
    if body["functions"] and body.get("tools"):
        yield Breach("/functions", "stands beside 'tools'")


def _two_token_limits(body: Object) -> Iterator[Breach]:
    if body.get("max_tokens") is not None and body["max_completion_tokens"] is not None:
        yield Breach("/max_tokens", "stands beside 'max_completion_tokens'")


def _no_tokens(body: Object) -> Sequence[Breach]:
    found = []
    for key in ("max_tokens", "max_completion_tokens"):
        limit = body.get(key)
        if type(limit) is int and limit < 1:
            found.append(Breach("/" + key, "is less than 1"))
    return found


def _requests_audio(body: Object) -> bool:
    wanted = body.get("modalities")
    return isinstance(wanted, list) and "audio" in wanted


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


def _blank_model(body: Object) -> Sequence[Breach]:
    """Only a server with one model may take any name."""
    model = body["model"]
    return [Breach("/model", "is blank")] if isinstance(model, str) and not model.strip() else ()


def _is_name(model: object) -> bool:
    return type(model) is str and model.strip() != ""


def _is_positive(tokens: object) -> bool:
    return type(tokens) is int and tokens > 0


# Tests of values that the schema accepts, and that break no rule which this key alone triggers.
USUAL_VALUES: dict[str, Callable[[object], bool]] = {"model": _is_name, "max_tokens": _is_positive}


def _metadata_size(body: Object) -> Iterator[Breach]:
    metadata = as_object(body["metadata"])
    if len(metadata) > 16:
        yield Breach("/metadata", f"has {len(metadata)} pairs, at most 16 allowed")
    for key, value in metadata.items():
        if len(str(key)) > 64:
            yield Breach("/metadata", f"has a key of {len(key)} characters, at most 64 allowed")
        if isinstance(value, str) and len(value) > 512:
            yield Breach("/metadata" + pointer_of([key]), f"has {len(value)} characters, at most 512 allowed")


def _logit_bias(body: Object) -> Iterator[Breach]:
    biases = body["logit_bias"]
    if isinstance(biases, list):
        yield Breach("/logit_bias", "is an array, which only llama.cpp takes")
    for token, bias in as_object(biases).items():
        pointer = "/logit_bias" + pointer_of([token])
        if isinstance(bias, bool):
            yield Breach(pointer, "is a boolean, which only llama.cpp takes")
        elif isinstance(bias, (int, float)) and not -100 <= bias <= 100:
            yield Breach(pointer, "is out of the range -100 to 100")
        elif isinstance(bias, float) and not bias.is_integer():
            yield Breach(pointer, "is a fraction, and OpenAI takes integers only")


def _json_not_mentioned(body: Object) -> Iterator[Breach]:
    if as_object(body["response_format"]).get("type") != "json_object":
        return
    texts = [message.get("content") for _, message in _objects(body.get("messages"))]
    texts += [part.get("text") for _, _, part in _parts(body)]
    if not any(isinstance(text, str) and "json" in text.lower() for text in texts):
        yield Breach("/response_format", "asks for a JSON object, but no message has the word JSON")


def _other_servers_word(body: Object) -> Iterator[Breach]:
    for key, servers in _EXTENSION_VALUES.items():
        word = _string(body.get(key))
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


_MESSAGES = ("messages",)
_OTHER_SERVER = "ignore this if the server is one that does"

RULES = (
    Rule("unknown-key", "error", (), misspelt_keys, ""),
    Rule("unlisted-key", "strict", (), _unlisted_key, "leave it out, or check without --strict"),
    Rule("null-value", "warning", _NOT_NULLABLE, _null_value, "leave it out"),
    Rule("blank-model", "warning", ("model",), _blank_model, "name a model"),
    Rule("tool-message-without-call", "error", _MESSAGES, _tool_message_without_call,
         "put the assistant message with that call before it"),
    Rule("tool-call-without-answer", "warning", _MESSAGES, _tool_call_without_answer,
         "add a tool message with its id as tool_call_id"),
    Rule("tool-call-without-id", "warning", _MESSAGES, _tool_call_without_id, _OTHER_SERVER),
    Rule("empty-assistant-message", "warning", _MESSAGES, _empty_assistant_message, "leave it out"),
    Rule("part-of-another-role", "warning", _MESSAGES, _part_of_another_role, _OTHER_SERVER),
    Rule("image-not-base64", "warning", _MESSAGES, _image_not_base64, "write data:image/png;base64,..."),
    Rule("bad-data-url", "warning", _MESSAGES, _bad_data_url, ""),
    Rule("audio-as-url", "warning", _MESSAGES, _audio_as_url, "leave out what stands before it"),
    Rule("empty-file", "warning", _MESSAGES, _empty_file, "give it a file_id, or a filename and file_data"),
    Rule("audio-input-format", "warning", _MESSAGES, _audio_input_format, _OTHER_SERVER),
    Rule("too-much-inside", "warning", _MESSAGES, _too_much_inside, _OTHER_SERVER),
    Rule("two-token-limits", "warning", ("max_completion_tokens",), _two_token_limits, "keep one of them"),
    Rule("no-tokens", "warning", ("max_tokens", "max_completion_tokens"), _no_tokens,
         "leave it out for no limit"),
    Rule("logit-bias", "warning", ("logit_bias",), _logit_bias, ""),
    Rule("top-logprobs-without-logprobs", "error", ("top_logprobs",), _top_logprobs_without_logprobs,
         "set 'logprobs' to true"),
    Rule("stream-options-without-stream", "warning", ("stream_options",), _stream_options_without_stream,
         "set 'stream' to true, or leave it out"),
    Rule("json-not-mentioned", "warning", ("response_format",), _json_not_mentioned,
         "ask for JSON in a message, or the answer may be endless whitespace"),
    Rule("bad-name", "error", ("tools", "functions", "response_format"), _bad_name, ""),
    Rule("duplicate-tool", "warning", ("tools", "functions"), _duplicate_tool, "give each its own name"),
    Rule("misspelt-tool-type", "error", ("tools",), _misspelt_tool_type, ""),
    Rule("other-servers-tool", "warning", ("tools",), _other_servers_tool, _OTHER_SERVER),
    Rule("too-many-tools", "warning", ("tools",), _too_many_tools, "send fewer"),
    Rule("named-tool-missing", "error", ("tool_choice",), _named_tool_missing, "add it, or choose another"),
    Rule("tool-choice-without-tools", "warning", ("tool_choice", "parallel_tool_calls"),
         _tool_choice_without_tools, "add tools, or leave it out"),
    Rule("named-function-missing", "error", ("function_call",), _named_function_missing,
         "add it, or choose another"),
    Rule("functions-with-tools", "warning", ("functions",), _functions_with_tools, "move them into 'tools'"),
    Rule("audio-modality-without-audio", "warning", ("modalities",), _audio_modality_without_audio,
         "set 'audio', or leave the modality out"),
    Rule("audio-without-modality", "warning", ("audio",), _audio_without_modality,
         "ask for it, or leave it out"),
    Rule("audio-not-streamable", "warning", ("audio",), _audio_not_streamable, _OTHER_SERVER),
    Rule("metadata-size", "warning", ("metadata",), _metadata_size, ""),
    Rule("other-servers-word", "warning",
         (*_EXTENSION_VALUES, "response_format", "modalities", "top_logprobs"),
         _other_servers_word, _OTHER_SERVER),
)  # fmt: skip

_TRIGGERS = frozenset(key for rule in RULES for key in rule.triggers)
