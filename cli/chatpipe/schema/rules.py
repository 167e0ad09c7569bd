"""What no schema says of a request body: rules between fields, likely slips, other servers' words.

One table, RULES. A rule is woken by a top-level key of the body (or always) and yields what it
found; it guards every type, since it also sees bodies that the schema refused. Sources: the API
description of 2026-08-21, and the code or documentation of the servers named, as of 2026.
"""

import string
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any, Literal, NamedTuple

Object = dict[str, Any]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PARAMETERS = _words("""
    messages model max_completion_tokens max_tokens temperature top_p n stop frequency_penalty
    presence_penalty logit_bias logprobs top_logprobs seed stream stream_options response_format tools
    tool_choice parallel_tool_calls functions function_call modalities audio prediction reasoning_effort
    verbosity service_tier store metadata user safety_identifier prompt_cache_key prompt_cache_options
    prompt_cache_retention moderation web_search_options
""")

# Keys beside those that some server is known to take: never a slip, whatever they look like.
EXTENSIONS = {
    "Azure OpenAI": _words("data_sources"),
    "DeepSeek": _words("thinking"),
    "Gemini": _words("extra_body google"),
    "Groq": _words("citation_options compound_custom disable_tool_validation documents search_settings"),
    "llama.cpp": _words("""
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
    "LM Studio": _words("draft_model ttl"),
    "Mistral": _words("""
        document_image_limit document_page_limit guardrails prompt_mode random_seed safe_prompt
    """),
    "Ollama": _words("format keep_alive options reasoning think"),
    "OpenRouter": _words("""
        cache_control debug image_config include_reasoning min_p models plugins provider
        repetition_penalty route session_id top_a top_k trace transforms
    """),
    "SGLang": _words("""
        continue_final_message custom_logit_processor custom_params ebnf lora_path min_tokens
        no_stop_trim regex return_hidden_states separate_reasoning stop_regex stop_token_ids
        stream_reasoning
    """),
    "Together": _words("compliance context_length_exceeded_behavior echo repetition_penalty safety_model"),
    "vLLM": _words("""
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
_TAKEN = PARAMETERS.union(*EXTENSIONS.values())

# Inside the body: the published keys, then those that some server adds.
_MESSAGE = _words("role content name refusal audio tool_calls tool_call_id function_call")
_MESSAGE_TAKEN = _MESSAGE | _words("""
    annotations cache_control context images partial prefix reasoning reasoning_content reasoning_details
    thinking tool_name tools wait
""")
_TOOL = _words("type function custom cache_control")
_FUNCTION = _words("name description parameters strict cache_control defer_loading")
_FORMAT = _words("type json_schema schema grammar structures triggers format")
_JSON_SCHEMA = _words("name description schema strict")
_STREAM_OPTIONS = _words("include_usage include_obfuscation continuous_usage_stats")

_SAYS_SOMETHING = _words(
    "tool_calls function_call audio refusal reasoning reasoning_content reasoning_details"
)

_NAME_CHARACTERS = frozenset(string.ascii_letters + string.digits + "_-")
_TOOL_TYPES = frozenset(("function", "custom"))
_NULLS_REFUSED = (
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
_MOST_INSIDE = 50_000_000
_OTHER_SERVERS_WORDS = {
    "reasoning_effort": {"default": "Groq"},
    "verbosity": {"xhigh": "OpenRouter", "max": "OpenRouter"},
    "service_tier": {"on_demand": "Groq", "performance": "Groq"},
    "tool_choice": {"any": "Mistral"},
}


class Found(NamedTuple):
    """One breach of a rule. pointer is a JSON Pointer; hint, if any, replaces that of the rule."""

    pointer: str
    message: str
    hint: str = ""


class Rule(NamedTuple):
    """wakes: the top-level keys it is about, none for always.

    Breaches of severity "strict" are told only when strictness was asked for, and are errors then.
    """

    name: str
    severity: Literal["error", "warning", "strict"]
    wakes: tuple[str, ...]
    find: Callable[[Object], Iterable[Found]]
    hint: str


def broken(body: Object, *, strict: bool) -> Iterator[tuple[Rule, Found]]:
    """Every breach, in the order of the table. Never raises."""
    woken = _WAKING & body.keys()
    if _is_plain(body.get("messages")):
        woken -= {"messages"}
    if not woken and body.keys() <= _TAKEN and None not in body.values():
        return
    for rule in RULES:
        if (strict or rule.severity != "strict") and not (rule.wakes and woken.isdisjoint(rule.wakes)):
            for found in rule.find(body):
                yield rule, found


def _is_plain(messages: object) -> bool:
    """Nothing but roles and texts, which no rule is about: most requests, checked in a microsecond."""
    if not isinstance(messages, list):
        return False
    for message in messages:
        if not isinstance(message, dict) or len(message) != 2 or not isinstance(message.get("content"), str):
            return False
        if message.get("role") not in ("user", "system", "developer", "assistant"):
            return False
    return True


def nearest(word: str, words: frozenset[str], least: int = 5) -> str | None:
    """The one of words that word is likely a slip of: other case or dashes, a missing plural s, one
    wrong, missing, doubled or swapped letter (two from eight letters on). Words shorter than
    least letters are compared for case, dashes and plural only.
    """
    return _nearest(word, words, least) if len(word) <= 64 else None


@lru_cache(maxsize=1024)  # a batch may repeat its odd key a million times
def _nearest(word: str, words: frozenset[str], least: int) -> str | None:
    folded = _fold(word)
    for candidate in sorted(words):
        if _fold(candidate) == folded:
            return candidate
    if len(word) < least:
        return None
    limit = 1 if len(word) < 8 else 2
    close = [other for other in sorted(words) if abs(len(other) - len(word)) <= limit]
    steps = {other: _steps(word.lower(), other.lower()) for other in close}
    best = min(close, key=steps.__getitem__, default=None)
    return best if best is not None and steps[best] <= limit else None


def _fold(word: str) -> str:
    return "".join(filter(str.isalnum, word.lower())).removesuffix("s")


def _steps(a: str, b: str) -> int:
    """Letters to add, drop, replace or swap with their neighbour (optimal string alignment)."""
    before: list[int] = []
    last = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row = [i]
        for j, y in enumerate(b, 1):
            row.append(min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (x != y)))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                row[j] = min(row[j], before[j - 2] + 1)
        before, last = last, row
    return last[-1]


def shown(text: str) -> str:
    """Quoted, on one line, of some 60 characters at most."""
    return repr(text if len(text) <= 60 else text[:57] + "...")


def pointer_of(path: Iterable[object]) -> str:
    """The JSON Pointer of keys and indexes, RFC 6901."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


def _objects(value: object) -> list[tuple[int, Object]]:
    """The objects of an array with their indexes; none when it is no array."""
    if not isinstance(value, list):
        return []
    return [(index, item) for index, item in enumerate(value) if isinstance(item, dict)]


def _object(value: object) -> Object:
    return value if isinstance(value, dict) else {}


def _parts(body: Object) -> Iterator[tuple[str, object, Object]]:
    """Pointer, role of the message, and part, of every content part."""
    for index, message in _objects(body.get("messages")):
        for place, part in _objects(message.get("content")):
            yield f"/messages/{index}/content/{place}", message.get("role"), part


def _named(entry: Object) -> tuple[str, str] | None:
    """(type, name) of a tool, or of the choice of one."""
    kind = entry.get("type")
    name = _object(entry.get(kind)).get("name") if kind in ("function", "custom") else None
    return (kind, name) if isinstance(kind, str) and isinstance(name, str) else None


def _keyed(body: Object) -> Iterator[tuple[str, Object, frozenset[str], frozenset[str]]]:
    """Pointer, object, keys a slip may be of, and keys that some server takes."""
    yield "", body, PARAMETERS, _TAKEN
    for index, message in _objects(body.get("messages")):
        yield f"/messages/{index}", message, _MESSAGE, _MESSAGE_TAKEN
    for index, tool in _objects(body.get("tools")):
        if tool.get("type") == "function":
            yield f"/tools/{index}", tool, _TOOL, _TOOL
            yield f"/tools/{index}/function", _object(tool.get("function")), _FUNCTION, _FUNCTION
    for index, function in _objects(body.get("functions")):
        yield f"/functions/{index}", function, _FUNCTION, _FUNCTION
    style = _object(body.get("response_format"))
    yield "/response_format", style, _FORMAT, _FORMAT
    yield "/response_format/json_schema", _object(style.get("json_schema")), _JSON_SCHEMA, _JSON_SCHEMA
    yield "/stream_options", _object(body.get("stream_options")), _STREAM_OPTIONS, _STREAM_OPTIONS


def _unlisted(body: Object) -> Iterator[tuple[str, str | None]]:
    """Pointer of each key that no server is known to take, and the key it may be a slip of."""
    for pointer, value, published, taken in _keyed(body):
        if value.keys() <= taken:
            continue
        for key in value:
            if key not in taken and isinstance(key, str):
                yield pointer + pointer_of([key]), nearest(key, published)


def _unknown_key(body: Object) -> Iterator[Found]:
    for pointer, known in _unlisted(body):
        if known:
            yield Found(pointer, "is not a key that any server is known to take", f"did you mean '{known}'?")


def _unlisted_key(body: Object) -> Iterator[Found]:
    for pointer, known in _unlisted(body):
        if not known:
            yield Found(pointer, "is not a key that any server is known to take")


def _null_value(body: Object) -> Iterator[Found]:
    for key in _NULLS_REFUSED:
        if key in body and body[key] is None:
            yield Found("/" + key, "is null, which the API does not allow here")


def _top_logprobs_without_logprobs(body: Object) -> Iterator[Found]:
    if body["top_logprobs"] and body.get("logprobs") is not True:
        yield Found("/top_logprobs", "is set without 'logprobs': true")


def _stream_options_without_stream(body: Object) -> Iterator[Found]:
    if body["stream_options"] is not None and body.get("stream") is not True:
        yield Found("/stream_options", "is set without 'stream': true")


def _tool_message_without_call(body: Object) -> Iterator[Found]:
    asked: set[object] = set()
    for index, message in _objects(body.get("messages")):
        if message.get("role") == "assistant":
            # a call without an id may be answered by any
            asked.update(_text(call.get("id")) for _, call in _objects(message.get("tool_calls")))
        answered = _text(message.get("tool_call_id"))
        if message.get("role") == "tool" and answered is not None and asked.isdisjoint((answered, None)):
            yield Found(
                f"/messages/{index}/tool_call_id", f"is {shown(answered)}, which answers no earlier tool call"
            )


def _tool_call_without_answer(body: Object) -> Iterator[Found]:
    waiting: dict[str, str] = {}
    for index, message in _objects(body.get("messages")):
        if message.get("role") == "tool":
            waiting.pop(_text(message.get("tool_call_id")) or "", None)
            continue
        yield from _unanswered(waiting)
        waiting = {}
        if message.get("role") == "assistant":
            for place, call in _objects(message.get("tool_calls")):
                waiting[_text(call.get("id")) or ""] = f"/messages/{index}/tool_calls/{place}"
    yield from _unanswered(waiting)


def _unanswered(waiting: dict[str, str]) -> Iterator[Found]:
    for call_id, pointer in waiting.items():
        if call_id:
            yield Found(pointer, "is not answered by a tool message before the next turn")


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _tool_call_without_id(body: Object) -> Iterator[Found]:
    for index, message in _objects(body.get("messages")):
        for place, call in _objects(message.get("tool_calls")):
            for key in ("id", "type"):
                if call.get(key) is None:
                    yield Found(
                        f"/messages/{index}/tool_calls/{place}", f"has no '{key}', which the API asks for"
                    )


def _empty_assistant_message(body: Object) -> Iterator[Found]:
    for index, message in _objects(body.get("messages")):
        empty = message.get("content") is None and not any(map(message.get, _SAYS_SOMETHING))
        if empty and message.get("role") == "assistant":
            yield Found(f"/messages/{index}", "has neither content nor calls")


def _part_of_another_role(body: Object) -> Iterator[Found]:
    for pointer, role, part in _parts(body):
        kind = _text(part.get("type"))
        roles = _ROLES_OF_PART.get(kind) if kind else None
        if roles and role not in roles:
            yield Found(
                pointer, f"is a part of type '{kind}', which OpenAI takes in {roles[0]} messages only"
            )


def _image_not_base64(body: Object) -> Iterator[Found]:
    for pointer, _, part in _parts(body):
        image = part.get("image_url")
        place = "/image_url/url" if isinstance(image, dict) else "/image_url"
        url = image.get("url") if isinstance(image, dict) else image
        head = url[:200].partition(",")[0].lower() if isinstance(url, str) else ""
        if head.startswith("data:") and ";base64" not in head:
            yield Found(pointer + place, "is a data: URL that is not base64")


def _empty_file(body: Object) -> Iterator[Found]:
    for pointer, _, part in _parts(body):
        file = part.get("file") if part.get("type") == "file" else None
        if isinstance(file, dict) and not (file.get("file_id") or file.get("file_data")):
            yield Found(pointer + "/file", "names no file")


def _audio_input_format(body: Object) -> Iterator[Found]:
    for pointer, _, part in _parts(body):
        style = _object(part.get("input_audio")).get("format")
        if isinstance(style, str) and style not in ("wav", "mp3"):
            yield Found(
                pointer + "/input_audio/format", f"is {shown(style)}, and OpenAI takes wav and mp3 only"
            )


def _too_much_inside(body: Object) -> Iterator[Found]:
    """Source: OpenAI's guides to vision and to file inputs, 2026: 50 MB in all, in a request."""
    total = 0
    for pointer, _, part in _parts(body):
        total += _inlined(part)
        if total > _MOST_INSIDE:
            size = f"{total / 1e6:.1f} MB"
            yield Found(pointer, f"brings what is inside the request to {size}, and OpenAI takes 50 MB")
            return


def _inlined(part: Object) -> int:
    """Bytes of an image, a recording or a document that is inside the request, as they are sent."""
    image, sound, file = part.get("image_url"), part.get("input_audio"), part.get("file")
    held = (
        image.get("url") if isinstance(image, dict) else image,
        _object(sound).get("data"),
        _object(file).get("file_data"),
    )
    return sum(len(data) for data in held if isinstance(data, str))


def _named_tool_missing(body: Object) -> Iterator[Found]:
    there = {_named(tool) for _, tool in _objects(body.get("tools"))}
    choice = _object(body["tool_choice"])
    chosen = [("/tool_choice", choice)]
    for place, entry in _objects(_object(choice.get("allowed_tools")).get("tools")):
        chosen.append((f"/tool_choice/allowed_tools/tools/{place}", entry))
    for pointer, entry in chosen:
        wanted = _named(entry)
        if wanted and wanted not in there:
            kind, name = wanted
            alike = [other for other_kind, other in filter(None, there) if other_kind == kind]
            yield _missing(f"{pointer}/{kind}/name", name, "tools", alike)


def _named_function_missing(body: Object) -> Iterator[Found]:
    wanted = _object(body["function_call"]).get("name")
    names = [function.get("name") for _, function in _objects(body.get("functions"))]
    there = [name for name in names if isinstance(name, str)]
    if isinstance(wanted, str) and wanted not in there:
        yield _missing("/function_call/name", wanted, "functions", there)


def _missing(pointer: str, wanted: str, where: str, there: list[str]) -> Found:
    close = nearest(wanted, frozenset(there), least=3)
    hint = f"did you mean {shown(close)}?" if close else ""
    return Found(pointer, f"is {shown(wanted)}, which is not in '{where}'", hint)


def _definitions(body: Object) -> Iterator[tuple[str, str, str]]:
    """Pointer, type and name of everything in tools and functions that has a name."""
    for index, tool in _objects(body.get("tools")):
        if named := _named(tool):
            yield f"/tools/{index}/{named[0]}/name", *named
    for index, function in _objects(body.get("functions")):
        if isinstance(name := function.get("name"), str):
            yield f"/functions/{index}/name", "function", name


def _bad_name(body: Object) -> Iterator[Found]:
    names = [(pointer, name) for pointer, _, name in _definitions(body)]
    schema = _object(_object(body.get("response_format")).get("json_schema"))
    if isinstance(name := schema.get("name"), str):
        names.append(("/response_format/json_schema/name", name))
    for pointer, name in names:
        if not name:
            yield Found(pointer, "is empty")
        elif len(name) > 64:
            yield Found(pointer, f"has {len(name)} characters, at most 64 allowed")
        elif not _NAME_CHARACTERS.issuperset(name):
            yield Found(pointer, f"is {shown(name)}, which has characters other than a-z A-Z 0-9 _ -")


def _duplicate_tool(body: Object) -> Iterator[Found]:
    seen: set[tuple[bool, str]] = set()
    for pointer, _, name in _definitions(body):
        place = (pointer.startswith("/tools"), name)
        if place in seen:
            yield Found(pointer, f"is {shown(name)}, as is one before it")
        seen.add(place)


def _odd_tool_types(body: Object) -> Iterator[tuple[str, str, str | None]]:
    """Pointer, type, and the type it may be a slip of, of every tool that is neither of the two."""
    for index, tool in _objects(body.get("tools")):
        kind = tool.get("type")
        if isinstance(kind, str) and kind not in _TOOL_TYPES:
            yield f"/tools/{index}/type", kind, nearest(kind, _TOOL_TYPES)


def _misspelt_tool_type(body: Object) -> Iterator[Found]:
    for pointer, kind, known in _odd_tool_types(body):
        if known:
            yield Found(pointer, f"is {shown(kind)}, not one of function, custom", f"did you mean '{known}'?")


def _other_servers_tool(body: Object) -> Iterator[Found]:
    for pointer, kind, known in _odd_tool_types(body):
        if not known:
            yield Found(pointer, f"is {shown(kind)}, and OpenAI takes function and custom only")


def _too_many_tools(body: Object) -> Iterator[Found]:
    if isinstance(body["tools"], list) and len(body["tools"]) > 128:
        yield Found("/tools", f"has {len(body['tools'])} items, at most 128 allowed")


def _tool_choice_without_tools(body: Object) -> Iterator[Found]:
    if body.get("tools"):
        return
    # a choice by name is the business of named-tool-missing
    if isinstance(body.get("tool_choice"), str) and body["tool_choice"] != "none":
        yield Found("/tool_choice", "is set without 'tools'")
    if body.get("parallel_tool_calls") is not None:
        yield Found("/parallel_tool_calls", "is set without 'tools'")


def _functions_with_tools(body: Object) -> Iterator[Found]:
    if body["functions"] and body.get("tools"):
        yield Found("/functions", "stands beside 'tools'")


def _two_token_limits(body: Object) -> Iterator[Found]:
    if body["max_tokens"] is not None and body.get("max_completion_tokens") is not None:
        yield Found("/max_tokens", "stands beside 'max_completion_tokens'")


def _no_tokens(body: Object) -> Iterator[Found]:
    for key in ("max_tokens", "max_completion_tokens"):
        limit = body.get(key)
        if isinstance(limit, int) and not isinstance(limit, bool) and limit < 1:
            yield Found("/" + key, "is less than 1")


def _asks_for_audio(body: Object) -> bool:
    wanted = body.get("modalities")
    return isinstance(wanted, list) and "audio" in wanted


def _audio_modality_without_audio(body: Object) -> Iterator[Found]:
    if _asks_for_audio(body) and body.get("audio") is None:
        yield Found("/modalities", "has 'audio', but there is no 'audio' with a voice and a format")


def _audio_without_modality(body: Object) -> Iterator[Found]:
    if body["audio"] is not None and not _asks_for_audio(body):
        yield Found("/audio", "is set, but 'modalities' does not ask for audio")


def _audio_not_streamable(body: Object) -> Iterator[Found]:
    """Source: the words of OpenAI's refusal, 2026: with stream, pcm16 only."""
    style = _object(body["audio"]).get("format")
    is_streamed = body.get("stream") is True and _asks_for_audio(body)
    if is_streamed and isinstance(style, str) and style != "pcm16":
        yield Found("/audio/format", f"is {shown(style)}, and OpenAI streams pcm16 only")


def _metadata_size(body: Object) -> Iterator[Found]:
    labels = _object(body["metadata"])
    if len(labels) > 16:
        yield Found("/metadata", f"has {len(labels)} pairs, at most 16 allowed")
    for key, value in labels.items():
        if len(str(key)) > 64:
            yield Found("/metadata", f"has a key of {len(key)} characters, at most 64 allowed")
        if isinstance(value, str) and len(value) > 512:
            yield Found("/metadata" + pointer_of([key]), f"has {len(value)} characters, at most 512 allowed")


def _logit_bias(body: Object) -> Iterator[Found]:
    biases = body["logit_bias"]
    if isinstance(biases, list):
        yield Found("/logit_bias", "is an array, which only llama.cpp takes")
    for token, bias in _object(biases).items():
        pointer = "/logit_bias" + pointer_of([token])
        if isinstance(bias, bool):
            yield Found(pointer, "is a boolean, which only llama.cpp takes")
        elif isinstance(bias, (int, float)) and not -100 <= bias <= 100:
            yield Found(pointer, "is out of the range -100 to 100")
        elif isinstance(bias, float) and not bias.is_integer():
            yield Found(pointer, "is a fraction, and OpenAI takes integers only")


def _json_not_mentioned(body: Object) -> Iterator[Found]:
    if _object(body["response_format"]).get("type") != "json_object":
        return
    texts = [message.get("content") for _, message in _objects(body.get("messages"))]
    texts += [part.get("text") for _, _, part in _parts(body)]
    if not any(isinstance(text, str) and "json" in text.lower() for text in texts):
        yield Found("/response_format", "asks for a JSON object, but no message has the word JSON")


def _other_servers_word(body: Object) -> Iterator[Found]:
    for key, words in _OTHER_SERVERS_WORDS.items():
        word = _text(body.get(key))
        if word is not None and word in words:
            yield Found("/" + key, f"is '{word}', which only {words[word]} is known to take")
    style = _object(body.get("response_format")).get("type")
    if style in ("grammar", "structural_tag"):
        server = "OpenRouter" if style == "grammar" else "vLLM"
        yield Found("/response_format/type", f"is '{style}', which only {server} is known to take")
    if isinstance(body.get("modalities"), list) and "image" in body["modalities"]:
        place = body["modalities"].index("image")
        yield Found(f"/modalities/{place}", "is 'image', which only OpenRouter is known to take")
    if body.get("top_logprobs") == -1:
        yield Found("/top_logprobs", "is -1, which only vLLM is known to take")


_MESSAGES = ("messages",)
_OTHER_SERVER = "ignore this if the server is one that does"

RULES = (
    Rule("unknown-key", "error", (), _unknown_key, ""),
    Rule("unlisted-key", "strict", (), _unlisted_key, "leave it out, or check without --strict"),
    Rule("null-value", "warning", (), _null_value, "leave it out"),
    Rule("tool-message-without-call", "error", _MESSAGES, _tool_message_without_call,
         "put the assistant message with that call before it"),
    Rule("tool-call-without-answer", "warning", _MESSAGES, _tool_call_without_answer,
         "add a tool message with its id as tool_call_id"),
    Rule("tool-call-without-id", "warning", _MESSAGES, _tool_call_without_id, _OTHER_SERVER),
    Rule("empty-assistant-message", "warning", _MESSAGES, _empty_assistant_message, "leave it out"),
    Rule("part-of-another-role", "warning", _MESSAGES, _part_of_another_role, _OTHER_SERVER),
    Rule("image-not-base64", "warning", _MESSAGES, _image_not_base64, "write data:image/png;base64,..."),
    Rule("empty-file", "warning", _MESSAGES, _empty_file, "give it a file_id, or a filename and file_data"),
    Rule("audio-input-format", "warning", _MESSAGES, _audio_input_format, _OTHER_SERVER),
    Rule("too-much-inside", "warning", _MESSAGES, _too_much_inside, _OTHER_SERVER),
    Rule("two-token-limits", "warning", ("max_tokens",), _two_token_limits, "keep one of them"),
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
         (*_OTHER_SERVERS_WORDS, "response_format", "modalities", "top_logprobs"),
         _other_servers_word, _OTHER_SERVER),
)  # fmt: skip

_WAKING = frozenset(key for rule in RULES for key in rule.wakes)
