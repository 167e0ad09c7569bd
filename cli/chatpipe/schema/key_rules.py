"""The keys of request bodies: likely typos of known ones, and those that no known server accepts."""

from __future__ import annotations

from collections.abc import Iterator

from chatpipe.inputs.names import nearest
from chatpipe.inputs.place import pointer_of
from chatpipe.inputs.values import as_object
from chatpipe.options.parameters import TABLE
from chatpipe.schema.rule import Breach, Object, Rule, objects, word_set

PARAMETERS = frozenset({"messages", *(parameter.path[0] for parameter in TABLE)})
# Keys that some server accepts in addition: never reported as typos, whatever they resemble.
_EXTENSIONS = {
    "Azure OpenAI": word_set("data_sources"),
    "DeepSeek": word_set("thinking"),
    "Gemini": word_set("extra_body google"),
    "Groq": word_set("citation_options compound_custom disable_tool_validation documents search_settings"),
    "llama.cpp": word_set("""
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
    "LM Studio": word_set("draft_model ttl"),
    "Mistral": word_set("""
        document_image_limit document_page_limit guardrails prompt_mode random_seed safe_prompt
    """),
    "Ollama": word_set("format keep_alive options reasoning think"),
    "OpenRouter": word_set("""
        cache_control debug image_config include_reasoning min_p models plugins provider
        repetition_penalty route session_id top_a top_k trace transforms
    """),
    "SGLang": word_set("""
        continue_final_message custom_logit_processor custom_params ebnf lora_path min_tokens
        no_stop_trim regex return_hidden_states separate_reasoning stop_regex stop_token_ids
        stream_reasoning
    """),
    "Together": word_set("compliance context_length_exceeded_behavior echo repetition_penalty safety_model"),
    "vLLM": word_set("""
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
ACCEPTED_KEYS = PARAMETERS.union(*_EXTENSIONS.values())
# The names that people mean by a misspelled one: also that of a row, whose prompt becomes the messages.
_TYPED = PARAMETERS | {"prompt"}
# Keys of the objects inside the body: the published ones, then those that some server adds.
_MESSAGE = word_set("role content name refusal audio tool_calls tool_call_id function_call")
_MESSAGE_ACCEPTED = _MESSAGE | word_set("""
    annotations cache_control context images partial prefix reasoning reasoning_content reasoning_details
    thinking tool_name tools wait
""")
_TOOL = word_set("type function custom cache_control")
_FUNCTION = word_set("name description parameters strict cache_control defer_loading")
_FORMAT = word_set("type json_schema schema grammar structures triggers format")
_JSON_SCHEMA = word_set("name description schema strict")
_CUSTOM = word_set("name description format cache_control defer_loading")
# The objects that are a parameter each.
_OBJECTS = {
    "stream_options": word_set("include_usage include_obfuscation continuous_usage_stats"),
    "audio": word_set("voice format"),
    "prediction": word_set("type content"),
    "moderation": word_set("model policy"),
    "prompt_cache_options": word_set("mode ttl"),
    "web_search_options": word_set("search_context_size user_location"),
}
# The members of a body in which there are such objects, messages with more than texts among them.
KEYS_OF_OBJECTS = word_set("messages tools functions response_format") | _OBJECTS.keys()

# Parameters of the Responses API, of Anthropic's, Gemini's and Ollama's own, of text generation and of SDKs:
# servers of this API ignore them, or refuse them.
_TOKENS = "did you mean 'max_completion_tokens'?"
_SYSTEM = "put it into a system message"
_OTHER_APIS = {
    "max_output_tokens": _TOKENS,
    "maxOutputTokens": _TOKENS,
    "max_new_tokens": _TOKENS,
    "max_tokens_to_sample": _TOKENS,
    "num_predict": _TOKENS,
    "stop_sequences": "did you mean 'stop'?",
    "stopSequences": "did you mean 'stop'?",
    "instructions": _SYSTEM,
    "system": _SYSTEM,
    "system_instruction": _SYSTEM,
    "systemInstruction": _SYSTEM,
    "input": "did you mean 'messages'?",
    "contents": "did you mean 'messages'?",
    "text": "did you mean 'response_format'?",
}
_SDK_ARGUMENT = "extra_body"
# The schema of a function, as Anthropic's API and MCP name it: without it the model knows no parameters.
_SAME_KEYS = {"input_schema": "parameters", "inputSchema": "parameters"}


def _objects_with_known_keys(body: Object) -> Iterator[tuple[str, Object, frozenset[str], frozenset[str]]]:
    """(pointer, object, published keys, keys that some server accepts) for every object with known keys.

    Typos are matched against the published keys only.
    """
    yield "", body, _TYPED, ACCEPTED_KEYS
    for index, message in objects(body.get("messages")):
        yield f"/messages/{index}", message, _MESSAGE, _MESSAGE_ACCEPTED
    for index, tool in objects(body.get("tools")):
        if (kind := tool.get("type")) in ("function", "custom"):
            known = _FUNCTION if kind == "function" else _CUSTOM
            yield f"/tools/{index}", tool, _TOOL, _TOOL
            yield f"/tools/{index}/{kind}", as_object(tool.get(kind)), known, known
    for index, function in objects(body.get("functions")):
        yield f"/functions/{index}", function, _FUNCTION, _FUNCTION
    format_ = as_object(body.get("response_format"))
    yield "/response_format", format_, _FORMAT, _FORMAT
    yield "/response_format/json_schema", as_object(format_.get("json_schema")), _JSON_SCHEMA, _JSON_SCHEMA
    for key in _OBJECTS.keys() & body.keys():
        yield "/" + key, as_object(body[key]), _OBJECTS[key], _OBJECTS[key]


def _unaccepted_keys(body: Object) -> Iterator[tuple[str, str | None]]:
    """(pointer, likely intended key or None) for each key that no known server accepts."""
    for pointer, value, published, accepted in _objects_with_known_keys(body):
        if value.keys() <= accepted:
            continue
        for key in value:
            if key not in accepted and isinstance(key, str):
                same = _SAME_KEYS.get(key)
                near = same if same in published else nearest(key, published)
                yield pointer + pointer_of([key]), None if near == key else near


def misspelt_keys(body: Object) -> Iterator[Breach]:
    """The keys that are likely typos of known ones."""
    for pointer, known in _unaccepted_keys(body):
        if known:
            yield Breach(pointer, "is not a key that any server is known to take", f"did you mean '{known}'?")


def _keys_of_another_api(body: Object) -> frozenset[str]:
    return frozenset(key for key in _OTHER_APIS.keys() & body.keys() if not _is_column(key, body))


def _is_column(key: str, body: Object) -> bool:
    """True if the key is more likely a column of a row, which has its prompt elsewhere."""
    return (key == "text" and not isinstance(body[key], dict)) or (
        key in ("input", "contents") and "messages" in body
    )


def _key_of_another_api(body: Object) -> Iterator[Breach]:
    for key in _keys_of_another_api(body):
        yield Breach("/" + key, "is a field of other APIs", _OTHER_APIS[key])


def _argument_of_sdks(body: Object) -> Iterator[Breach]:
    """Gemini alone has a field of this name, whose only member is `google`."""
    if "google" not in as_object(body[_SDK_ARGUMENT]):
        yield Breach("/" + _SDK_ARGUMENT, "is an argument of SDKs, which send the fields in it instead")


def _unlisted_key(body: Object) -> Iterator[Breach]:
    of_another = _keys_of_another_api(body)
    for pointer, known in _unaccepted_keys(body):
        if not known and pointer[1:] not in of_another:
            yield Breach(pointer, "is not a key that any server is known to take")


KEY_RULES = (
    Rule("unknown-key", "error", (), misspelt_keys, ""),
    Rule("key-of-another-api", "warning", tuple(_OTHER_APIS), _key_of_another_api, ""),
    Rule("argument-of-sdks", "warning", (_SDK_ARGUMENT,), _argument_of_sdks,
         "write these fields into the request itself"),
    Rule("unlisted-key", "strict", (), _unlisted_key, "leave it out, or check without --strict"),
)  # fmt: skip
