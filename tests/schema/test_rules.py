"""The rules between fields: what each finds, and what it leaves alone."""

from __future__ import annotations

import time
import timeit
from typing import Any

import pytest

from chatpipe.inputs import names
from chatpipe.schema import rules
from chatpipe.schema.check import Problem, check
from chatpipe.schema.key_rules import KEY_RULES
from chatpipe.schema.message_rules import MESSAGE_RULES
from chatpipe.schema.parameter_rules import PARAMETER_RULES
from chatpipe.schema.part_rules import PART_RULES
from chatpipe.schema.tool_rules import TOOL_RULES

Change = dict[str, Any]

RULES = (*KEY_RULES, *PARAMETER_RULES, *MESSAGE_RULES, *PART_RULES, *TOOL_RULES)


def function(name: object) -> Change:
    return {"type": "function", "function": {"name": name}}


def asks(*call_ids: str) -> Change:
    calls = [
        {"id": call_id, "type": "function", "function": {"name": "f", "arguments": "{}"}}
        for call_id in call_ids
    ]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def answers(call_id: str) -> Change:
    return {"role": "tool", "tool_call_id": call_id, "content": "3"}


def user(*content: object) -> Change:
    return {"role": "user", "content": list(content)}


def image(url: object) -> Change:
    return {"type": "image_url", "image_url": url}


def sound(**clip: str) -> Change:
    return {"type": "input_audio", "input_audio": clip}


def called(arguments: str) -> Change:
    return {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": arguments}}


def said(*messages: Change) -> Change:
    return {"messages": list(messages)}


def request(change: Change) -> Change:
    return {"model": "m", "messages": [{"role": "user", "content": "hi"}]} | change


F_CALLED = {"name": "f", "arguments": "{}"}
HI = {"role": "user", "content": "hi"}
UNKNOWN = "is not a key that any server is known to take"
NAME = "write 1 to 64 of a-z A-Z 0-9 _ -"
OTHER = "ignore this if your server accepts it"
ANSWER = "add a tool message with its id as tool_call_id"
CALL = "put the assistant message with that call before it"
CHOOSE = "add it, or choose another"
SPOKEN = {"modalities": ["audio"], "audio": {"voice": "v", "format": "wav"}}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/x-bmp;base64," + "A" * 19_999_976}}
SOUND = {"type": "input_audio", "input_audio": {"data": "A" * 30_000_000, "format": "wav"}}
DOCUMENT = {"type": "file", "file": {"file_data": "A"}}
NO_OBJECT = "is not a JSON object, and not every server takes that"
AUDIO = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "flac"}}

# severity, rule, what is in the request, then pointer, message and hint of the one problem it has
FINDS: dict[str, tuple[str, str, Change, str, str, str]] = {
    "a letter missing": (
        "error", "unknown-key", {"max_token": 5}, "/max_token", UNKNOWN, "did you mean 'max_tokens'?"),
    "a letter wrong": (
        "error", "unknown-key", {"temparature": 1}, "/temparature", UNKNOWN, "did you mean 'temperature'?"),
    "letters swapped": (
        "error", "unknown-key", {"steram": True}, "/steram", UNKNOWN, "did you mean 'stream'?"),
    "a plural": ("error", "unknown-key", {"tool": []}, "/tool", UNKNOWN, "did you mean 'tools'?"),
    "another case": ("error", "unknown-key", {"topP": 1}, "/topP", UNKNOWN, "did you mean 'top_p'?"),
    "dashes": (
        "error", "unknown-key", {"max-completion-tokens": 1}, "/max-completion-tokens", UNKNOWN,
        "did you mean 'max_completion_tokens'?"),
    "a key of a message": (
        "error", "unknown-key", said({"role": "user", "content": "x", "nmae": "a", "tool_call": 1}),
        "/messages/0/tool_call", UNKNOWN, "did you mean 'tool_calls'?"),
    "a key of a function": (
        "error", "unknown-key",
        {"tools": [{"type": "function", "function": {"name": "f", "paramters": {}}}]},
        "/tools/0/function/paramters", UNKNOWN, "did you mean 'parameters'?"),
    "a key of a tool": (
        "error", "unknown-key", {"tools": [function("f") | {"function_": {}}]},
        "/tools/0/function_", UNKNOWN, "did you mean 'function'?"),
    "a key of a legacy function": (
        "error", "unknown-key", {"functions": [{"name": "f", "descripton": "d"}]},
        "/functions/0/descripton", UNKNOWN, "did you mean 'description'?"),
    "a key of the format": (
        "error", "unknown-key", {"response_format": {"type": "text", "jsonSchema": {}}},
        "/response_format/jsonSchema", UNKNOWN, "did you mean 'json_schema'?"),
    "a key of the schema's wrapper": (
        "error", "unknown-key",
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "shcema": {}}}},
        "/response_format/json_schema/shcema", UNKNOWN, "did you mean 'schema'?"),
    "a key of the stream options": (
        "error", "unknown-key", {"stream": True, "stream_options": {"include_usge": True}},
        "/stream_options/include_usge", UNKNOWN, "did you mean 'include_usage'?"),
    "a key of a custom tool": (
        "error", "unknown-key", {"tools": [{"type": "custom", "custom": {"name": "f", "formats": {}}}]},
        "/tools/0/custom/formats", UNKNOWN, "did you mean 'format'?"),
    "a key of a parameter that is an object": (
        "error", "unknown-key", {"moderation": {"model": "m", "polcy": {}}},
        "/moderation/polcy", UNKNOWN, "did you mean 'policy'?"),
    "a limit of the Responses API": (
        "warning", "key-of-another-api", {"max_output_tokens": 5},
        "/max_output_tokens", "is a field of other APIs", "did you mean 'max_completion_tokens'?"),
    "instructions of the Responses API": (
        "warning", "key-of-another-api", {"instructions": "x"},
        "/instructions", "is a field of other APIs", "put it into a system message"),
    "a format of the Responses API": (
        "warning", "key-of-another-api", {"text": {"format": {"type": "text"}}},
        "/text", "is a field of other APIs", "did you mean 'response_format'?"),
    "MCP's schema of a function": (
        "error", "unknown-key",
        {"tools": [{"type": "function", "function": {"name": "f", "inputSchema": {}}}]},
        "/tools/0/function/inputSchema", UNKNOWN, "did you mean 'parameters'?"),
    "Anthropic's schema of a legacy function": (
        "error", "unknown-key", {"functions": [{"name": "f", "input_schema": {}}]},
        "/functions/0/input_schema", UNKNOWN, "did you mean 'parameters'?"),
    "Anthropic's stops": (
        "warning", "key-of-another-api", {"stop_sequences": ["x"]},
        "/stop_sequences", "is a field of other APIs", "did you mean 'stop'?"),
    "a null": (
        "warning", "null-value", {"tools": None}, "/tools", "is null, which the API does not allow here",
        "leave it out"),
    "a result before its call": (
        "error", "tool-message-without-call", said(HI, answers("c1"), HI),
        "/messages/1/tool_call_id", "is 'c1', which answers no earlier tool call", CALL),
    "a result of another call": (
        "error", "tool-message-without-call", said(HI, asks("c1"), answers("c1"), answers("c\n2")),
        "/messages/3/tool_call_id", r"is 'c\n2', which answers no earlier tool call", CALL),
    "a function's result without its call": (
        "warning", "function-message-without-call",
        said(HI, {"role": "function", "name": "f", "content": "3"}),
        "/messages/1/name", "is 'f', which answers no earlier function call", CALL),
    "two results of a call": (
        "warning", "second-result", said(HI, asks("a"), answers("a"), answers("a")),
        "/messages/3/tool_call_id", "is 'a', whose result is there already", "keep one of them"),
    "two calls of one id": (
        "warning", "id-of-two-calls", said(HI, asks("a", "a"), answers("a"), answers("a")),
        "/messages/1/tool_calls/1/id", "is 'a', which an earlier one has, too", "give each its own id"),
    "arguments that are cut": (
        "warning", "bad-arguments", said(HI, called('{"a": ')),
        "/messages/1/function_call/arguments", NO_OBJECT, OTHER),
    "arguments in an array": (
        "warning", "bad-arguments", said(HI, called("[1]")),
        "/messages/1/function_call/arguments", NO_OBJECT, OTHER),
    "arguments of a call that are blank": (
        "warning", "bad-arguments",
        said(HI, {"role": "assistant", "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": " "}}]}, answers("a")),
        "/messages/1/tool_calls/0/function/arguments", NO_OBJECT, OTHER),
    "a call by the user": (
        "warning", "key-of-another-role", said(HI | {"tool_calls": []}),
        "/messages/0/tool_calls", "is a key that OpenAI takes in assistant messages only", OTHER),
    "an id of a call from the assistant": (
        "warning", "key-of-another-role",
        said(HI, {"role": "assistant", "content": "x", "tool_call_id": "a"}),
        "/messages/1/tool_call_id", "is a key that OpenAI takes in tool messages only", OTHER),
    "a refusal and a text": (
        "warning", "refusal-beside-parts", said(HI, {"role": "assistant", "content": [
            {"type": "text", "text": "x"}, {"type": "refusal", "refusal": "No."}]}),
        "/messages/1/content/1", "is a refusal beside other parts, and OpenAI accepts it only alone", OTHER),
    "two refusals": (
        "warning", "refusal-beside-parts",
        said(HI, {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}] * 2}),
        "/messages/1/content/0", "is a refusal beside other parts, and OpenAI accepts it only alone", OTHER),
    "a call without its result": (
        "warning", "tool-call-without-answer", said(HI, asks("c1", "c2"), answers("c1"), HI),
        "/messages/1/tool_calls/1", "is not answered by a tool message before the next turn", ANSWER),
    "a call without its result at the end": (
        "warning", "tool-call-without-answer", said(HI, asks("c1")),
        "/messages/1/tool_calls/0", "is not answered by a tool message before the next turn", ANSWER),
    "a call without an id": (
        "warning", "tool-call-without-id",
        said(HI, {"role": "assistant", "tool_calls": [{"type": "function", "function": F_CALLED}]}),
        "/messages/1/tool_calls/0", "has no 'id', which the API asks for", OTHER),
    "a call without a type": (
        "warning", "tool-call-without-id",
        said(HI, {"role": "assistant", "tool_calls": [{"id": "c", "function": F_CALLED}]}, answers("c")),
        "/messages/1/tool_calls/0", "has no 'type', which the API asks for", OTHER),
    "an assistant who says nothing": (
        "warning", "empty-assistant-message",
        said(HI, {"role": "assistant", "content": None, "tool_calls": []}),
        "/messages/1", "has neither content nor calls", "leave it out"),
    "an image in a tool's result": (
        "warning", "part-of-another-role",
        said(HI, asks("c"), answers("c") | {"content": [image({"url": "https://example.com/a.png"})]}),
        "/messages/2/content/0", "is a part of type 'image_url', which OpenAI takes in user messages only",
        OTHER),
    "a refusal from the user": (
        "warning", "part-of-another-role", said(user({"type": "refusal", "refusal": "No."})),
        "/messages/0/content/0", "is a part of type 'refusal', which OpenAI takes in assistant messages only",
        OTHER),
    "an image by its path": (
        "warning", "image-not-url", said(user(image({"url": "x.png"}))),
        "/messages/0/content/0/image_url/url", "is 'x.png', and OpenAI takes http(s): and data: URLs only",
        "write https://... or data:image/png;base64,..."),
    "an image on the server's disk": (
        "warning", "image-not-url", said(user(image("file:///a/x.png"))),
        "/messages/0/content/0/image_url",
        "is 'file:///a/x.png', and OpenAI takes http(s): and data: URLs only", OTHER),
    "an image that is not base64": (
        "warning", "image-not-base64", said(user(image({"url": "data:image/svg+xml,<svg/>"}))),
        "/messages/0/content/0/image_url/url", "is a data: URL that is not base64",
        "write data:image/png;base64,..."),
    "a bare image that is not base64": (
        "warning", "image-not-base64", said(user(image("DATA:image/png"))),
        "/messages/0/content/0/image_url", "is a data: URL that is not base64",
        "write data:image/png;base64,..."),
    "an image that is cut off": (
        "warning", "bad-data-url", said(user(image({"url": "data:image/png;base64,iVBORw0KGgo"}))),
        "/messages/0/content/0/image_url/url", "is a data: URL that is broken base64", "is it cut off?"),
    "an image of another type": (
        "warning", "bad-data-url", said(user(image("data:image/png;base64,/9j/"))),
        "/messages/0/content/0/image_url",
        "is a data: URL that says image/png, and its data is image/jpeg", "write data:image/jpeg;base64,..."),
    "a document without a type": (
        "warning", "bad-data-url",
        said(user({"type": "file", "file": {"filename": "a", "file_data": "data:;base64,JVBERi0="}})),
        "/messages/0/content/0/file/file_data", "is a data: URL that names no type",
        "write data:application/pdf;base64,..."),
    "a document that is not base64": (
        "warning", "bad-data-url",
        said(user({"type": "file", "file": {"filename": "a", "file_data": "data:application/pdf,JVBERi0="}})),
        "/messages/0/content/0/file/file_data", "is a data: URL that is not base64",
        "write data:application/pdf;base64,..."),
    "audio as a data: URL": (
        "warning", "audio-as-url",
        said(user({"type": "input_audio",
                   "input_audio": {"data": "data:audio/wav;base64,UklG", "format": "wav"}})),
        "/messages/0/content/0/input_audio/data", "is a data: URL, and OpenAI takes its base64 alone",
        "leave out what comes before it"),
    "Mistral's audio": (
        "warning", "other-servers-audio", said(user({"type": "input_audio", "input_audio": "AAAA"})),
        "/messages/0/content/0/input_audio", "is a text, which only Mistral is known to take", OTHER),
    "llama.cpp's audio": (
        "warning", "other-servers-audio", said(user(sound(url="https://example.com/a.wav"))),
        "/messages/0/content/0/input_audio/url", "is a key that only llama.cpp is known to take", OTHER),
    "audio by its address": (
        "warning", "not-base64", said(user(sound(data="https://example.com/a.wav", format="wav"))),
        "/messages/0/content/0/input_audio/data", "is a URL, and OpenAI takes base64 only", OTHER),
    "audio by its path": (
        "warning", "not-base64", said(user(sound(data="a.wav", format="wav"))),
        "/messages/0/content/0/input_audio/data", "is 'a.wav', not base64", "encode the file in base64"),
    "audio without data": (
        "warning", "not-base64", said(user(sound(data="", format="wav"))),
        "/messages/0/content/0/input_audio/data", "is empty", "encode the file in base64"),
    "a document by its path": (
        "warning", "not-base64",
        said(user({"type": "file", "file": {"filename": "a.pdf", "file_data": "a.pdf"}})),
        "/messages/0/content/0/file/file_data", "is 'a.pdf', not base64", "encode the file in base64"),
    "a file part without a file": (
        "warning", "empty-file", said(user({"type": "file", "file": {"filename": "a.pdf"}})),
        "/messages/0/content/0/file", "names no file", "give it a file_id, or a filename and file_data"),
    "audio of another format": (
        "warning", "audio-input-format", said(user(AUDIO)),
        "/messages/0/content/0/input_audio/format", "is 'flac', and OpenAI takes wav and mp3 only", OTHER),
    "two token limits": (
        "warning", "two-token-limits", {"max_tokens": 5, "max_completion_tokens": 5},
        "/max_tokens", "is set together with 'max_completion_tokens'", "keep one of them"),
    "no tokens": (
        "warning", "no-tokens", {"max_completion_tokens": 0},
        "/max_completion_tokens", "is less than 1", "leave it out for no limit"),
    "no tokens, by the older name": (
        "warning", "no-tokens", {"max_tokens": 0},
        "/max_tokens", "is less than 1", "leave it out for no limit"),
    "a bias out of range": (
        "warning", "logit-bias", {"logit_bias": {"1": 101}},
        "/logit_bias/1", "is out of range", "write a number from -100 to 100"),
    "a bias of a text": (
        "warning", "logit-bias", {"logit_bias": {"a/b": 1}},
        "/logit_bias/a~1b", "is not the id of a token, and only llama.cpp takes a text", OTHER),
    "a bias that is a fraction": (
        "warning", "logit-bias", {"logit_bias": {"1": 0.5}},
        "/logit_bias/1", "is a fraction, and OpenAI takes integers only", OTHER),
    "a bias that is false": (
        "warning", "logit-bias", {"logit_bias": {"1": False}},
        "/logit_bias/1", "is a boolean, which only llama.cpp takes", OTHER),
    "biases in pairs": (
        "warning", "logit-bias", {"logit_bias": [[1, 5]]},
        "/logit_bias", "is an array, which only llama.cpp takes", OTHER),
    "alternatives without logprobs": (
        "error", "top-logprobs-without-logprobs", {"top_logprobs": 2},
        "/top_logprobs", "is set without 'logprobs': true", "set 'logprobs' to true"),
    "alternatives with logprobs off": (
        "error", "top-logprobs-without-logprobs", {"top_logprobs": 2, "logprobs": False},
        "/top_logprobs", "is set without 'logprobs': true", "set 'logprobs' to true"),
    "stream options without a stream": (
        "warning", "stream-options-without-stream",
        {"stream": False, "stream_options": {"include_usage": True}},
        "/stream_options", "is set without 'stream': true", "set 'stream' to true, or leave it out"),
    "JSON that no message mentions": (
        "warning", "json-not-mentioned", {"response_format": {"type": "json_object"}},
        "/response_format", "asks for a JSON object, but no message has the word JSON",
        "ask for JSON in a message, or the answer may be endless whitespace"),
    "a name with a dot": (
        "error", "bad-name", {"tools": [function("a.b")]},
        "/tools/0/function/name", "is 'a.b', which has other characters than a name may have",
        NAME),
    "a name with an accent": (
        "error", "bad-name", {"functions": [{"name": "mété"}]},
        "/functions/0/name", "is 'mété', which has other characters than a name may have",
        NAME),
    "no name": (
        "error", "bad-name", {"tools": [{"type": "custom", "custom": {"name": ""}}]},
        "/tools/0/custom/name", "is empty", NAME),
    "a long name of a schema": (
        "error", "bad-name", {"response_format": {"type": "json_schema", "json_schema": {"name": "x" * 65}}},
        "/response_format/json_schema/name", "has 65 characters, more than a name may have", NAME),
    "two tools of one name": (
        "warning", "duplicate-tool", {"tools": [function("f"), function("g"), function("f")]},
        "/tools/2/function/name", "is 'f', which an earlier one has, too", "give each its own name"),
    "a misspelt prompt beside messages": (
        "error", "unknown-key", {"promt": "x"},
        "/promt", "is not a key that any server is known to take", "did you mean 'prompt'?"),
    "a misspelt type of tool": (
        "error", "misspelt-tool-type", {"tools": [{"type": "fucntion", "function": {"name": "f"}}]},
        "/tools/0/type", "is 'fucntion', not one of function, custom", "did you mean 'function'?"),
    "another server's tool": (
        "warning", "other-servers-tool", {"tools": [{"type": "browser_search"}]},
        "/tools/0/type", "is 'browser_search', and OpenAI takes function and custom only", OTHER),
    "parameters that are an array": (
        "warning", "parameters-of-another-type",
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "array"}}}]},
        "/tools/0/function/parameters/type", "is 'array', and OpenAI accepts only the schema of an object",
        "make it a property of an object"),
    "parameters of a legacy function that are a text": (
        "warning", "parameters-of-another-type",
        {"functions": [{"name": "f", "parameters": {"type": "string"}}]},
        "/functions/0/parameters/type", "is 'string', and OpenAI accepts only the schema of an object",
        "make it a property of an object"),
    "a strict function with other parameters": (
        "warning", "beyond-strict-mode",
        {"tools": [{"type": "function", "function": {
            "name": "f", "strict": True,
            "parameters": {"type": "object", "properties": {"a": {"type": "object"}}, "required": ["a"],
                           "additionalProperties": False}}}]},
        "/tools/0/function/parameters/properties/a", "strict mode wants 'additionalProperties': false",
        "or leave 'strict' out"),
    "an argument of SDKs": (
        "warning", "argument-of-sdks", {"extra_body": {"top_k": 5}},
        "/extra_body", "is an argument of SDKs, which send the fields in it instead",
        "write these fields into the request itself"),
    "too many tools": (
        "warning", "too-many-tools", {"tools": [function(f"f{number}") for number in range(129)]},
        "/tools", "has 129 items, at most 128 allowed", "send fewer"),
    "a tool by a misspelt name": (
        "error", "named-tool-missing", {"tools": [function("weather")], "tool_choice": function("wether")},
        "/tool_choice/function/name", "is 'wether', which is not in 'tools'", "did you mean 'weather'?"),
    "a tool by name without tools": (
        "error", "named-tool-missing", {"tool_choice": function("weather")},
        "/tool_choice/function/name", "is 'weather', which is not in 'tools'", CHOOSE),
    "a custom tool by the name of a function": (
        "error", "named-tool-missing",
        {"tools": [function("run")], "tool_choice": {"type": "custom", "custom": {"name": "run"}}},
        "/tool_choice/custom/name", "is 'run', which is not in 'tools'", CHOOSE),
    "an allowed tool that is missing": (
        "error", "named-tool-missing",
        {"tools": [function("f")], "tool_choice": {
            "type": "allowed_tools",
            "allowed_tools": {"mode": "auto", "tools": [function("f"), function("other")]}}},
        "/tool_choice/allowed_tools/tools/1/function/name", "is 'other', which is not in 'tools'", CHOOSE),
    "a choice without tools": (
        "warning", "tool-choice-without-tools", {"tool_choice": "auto"},
        "/tool_choice", "is set without 'tools'", "add tools, or leave it out"),
    "parallel calls without tools": (
        "warning", "tool-choice-without-tools", {"parallel_tool_calls": False},
        "/parallel_tool_calls", "is set without 'tools'", "add tools, or leave it out"),
    "a function by a missing name": (
        "error", "named-function-missing", {"functions": [{"name": "f"}], "function_call": {"name": "other"}},
        "/function_call/name", "is 'other', which is not in 'functions'", CHOOSE),
    "a choice of no tool": (
        "warning", "no-allowed-tool",
        {"tools": [function("f")], "tool_choice": {
            "type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}},
        "/tool_choice/allowed_tools/tools", "is empty", "name one, or choose 'none'"),
    "a choice without functions": (
        "warning", "function-call-without-functions", {"function_call": "auto"},
        "/function_call", "is set without 'functions'", "add functions, or leave it out"),
    "functions beside tools": (
        "warning", "functions-with-tools", {"functions": [{"name": "f"}], "tools": [function("f")]},
        "/functions", "is set together with 'tools'", "move them into 'tools'"),
    "no modality": (
        "warning", "no-modality", {"modalities": []}, "/modalities", "is empty", "leave it out"),
    "audio without its voice": (
        "warning", "audio-modality-without-audio", {"modalities": ["text", "audio"]},
        "/modalities", "has 'audio', but there is no 'audio' with a voice and a format",
        "set 'audio', or leave the modality out"),
    "audio without its modality": (
        "warning", "audio-without-modality", {**SPOKEN, "modalities": ["text"]},
        "/audio", "is set, but 'modalities' does not ask for audio", "ask for it, or leave it out"),
    "a stream of WAV": (
        "warning", "audio-not-streamable", {**SPOKEN, "stream": True},
        "/audio/format", "is 'wav', and OpenAI streams pcm16 only", OTHER),
    "too much for OpenAI": (
        "warning", "too-much-inside", said(user(PICTURE, SOUND), user(DOCUMENT, PICTURE)),
        "/messages/1/content/0",
        "makes the files inside the request 50.0 MB together, and OpenAI takes 50 MB", OTHER),
    "a country by its name": (
        "warning", "country-code",
        {"web_search_options": {"user_location": {
            "type": "approximate", "approximate": {"country": "Sweden"}}}},
        "/web_search_options/user_location/approximate/country",
        "is 'Sweden', not a code of two letters", "write one such as SE"),
    "many labels": (
        "warning", "metadata-size", {"metadata": {str(number): "x" for number in range(17)}},
        "/metadata", "has 17 pairs, at most 16 allowed",
        "shorten or remove what is too much"),
    "a long label": (
        "warning", "metadata-size", {"metadata": {"k" * 65: "x"}},
        "/metadata", "has a key of 65 characters, at most 64 allowed",
        "shorten or remove what is too much"),
    "a long value of a label": (
        "warning", "metadata-size", {"metadata": {"k": "x" * 513}},
        "/metadata/k", "has 513 characters, at most 512 allowed",
        "shorten or remove what is too much"),
    "no name of a model": ("warning", "blank-model", {"model": ""}, "/model", "is blank", "name a model"),
    "a blank name of a model": (
        "warning", "blank-model", {"model": " \t"}, "/model", "is blank", "name a model"),
    "OpenRouter's verbosity": (
        "warning", "other-servers-word", {"verbosity": "max"},
        "/verbosity", "is 'max', which only OpenRouter is known to take", OTHER),
    "Groq's tier": (
        "warning", "other-servers-word", {"service_tier": "on_demand"},
        "/service_tier", "is 'on_demand', which only Groq is known to take", OTHER),
    "Groq's effort": (
        "warning", "other-servers-word", {"reasoning_effort": "default"},
        "/reasoning_effort", "is 'default', which only Groq is known to take", OTHER),
    "Mistral's choice": (
        "warning", "other-servers-word", {"tools": [function("f")], "tool_choice": "any"},
        "/tool_choice", "is 'any', which only Mistral is known to take", OTHER),
    "OpenRouter's modality": (
        "warning", "other-servers-word", {"modalities": ["text", "image"]},
        "/modalities/1", "is 'image', which only OpenRouter is known to take", OTHER),
    "OpenRouter's format": (
        "warning", "other-servers-word", {"response_format": {"type": "grammar", "grammar": "x"}},
        "/response_format/type", "is 'grammar', which only OpenRouter is known to take", OTHER),
    "vLLM's format": (
        "warning", "other-servers-word", {"response_format": {"type": "structural_tag"}},
        "/response_format/type", "is 'structural_tag', which only vLLM is known to take", OTHER),
    "vLLM's alternatives": (
        "warning", "other-servers-word", {"logprobs": True, "top_logprobs": -1},
        "/top_logprobs", "is -1, which only vLLM is known to take", OTHER),
}  # fmt: skip


@pytest.mark.parametrize("name", FINDS)
def test_each_rule_finds_its_problem(name: str) -> None:
    severity, rule, change, pointer, message, hint = FINDS[name]
    found = [problem for problem in check(request(change)) if problem.keyword == rule]
    assert found == [Problem(pointer, rule, message, hint, severity)]  # type: ignore[arg-type]  # a Literal


def test_every_rule_is_shown_to_find_something() -> None:
    """The one that is silent unless strict is in test_check.py."""
    shown = {rule for _, rule, *_ in FINDS.values()} | {"unlisted-key"}
    assert shown == {rule.name for rule in RULES}
    assert len(RULES) == len(shown)


def test_a_key_that_triggers_a_rule_brings_it() -> None:
    """The tables of messages and of tools are only looked at for some keys."""
    for rule in RULES:
        for key in rule.triggers or ["x"]:
            assert rule in rules.rules_of({key}, {key})


LEFT_ALONE: dict[str, Change] = {
    "the field of Gemini": {"extra_body": {"google": {"thinking_config": {"thinking_budget": 0}}}},
    "a key that llama.cpp takes": {"top_k": 40, "n_predict": 5, "repeat_penalty": 1.1},
    "a key that OpenRouter takes, near to one of OpenAI": {"models": ["a", "b"]},
    "a key that looks like nothing known": {"x_trace": 1, "flavour": "sour"},
    "a short key": {"sto": 1, "m": 1, "": 1},
    "a key as long as a page": {"max_tokens" * 100: 1},
    "reasoning in the history": said(HI, {"role": "assistant", "content": "x", "reasoning_content": "y"}),
    "a key of another server's tool": {
        "tools": [{"type": "function", "function": {"name": "f"}, "cache_control": 1}]
    },
    "vLLM's stream option": {"stream": True, "stream_options": {"continuous_usage_stats": True}},
    "stream options of null": {"stream_options": None},
    "a null that is allowed": {"temperature": None, "stop": None, "audio": None},
    "every call answered, in any order": said(HI, asks("a", "b"), answers("b"), answers("a"), HI),
    "an id used again in a later turn": said(HI, asks("a"), answers("a"), asks("a"), answers("a")),
    "a call without an id, answered": said(
        HI, {"role": "assistant", "tool_calls": [asks("a")["tool_calls"][0] | {"id": ""}]}, answers("")
    ),
    "an assistant with reasoning only": said(HI, {"role": "assistant", "content": None, "reasoning": "Hm."}),
    "an assistant with empty text": said(HI, {"role": "assistant", "content": ""}),
    "two calls of one id with their results, in two turns": said(
        HI, asks("a", "b"), answers("b"), answers("a"), asks("b"), answers("b")
    ),
    "a function's result": said(HI, called(" {}"), {"role": "function", "name": "f", "content": "3"}),
    "a refusal alone": said(HI, {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}),
    "keys of null": said(HI | {"tool_calls": None, "refusal": None, "tool_call_id": None}),
    "audio in base64, in lines": said(user(sound(data="AAAA\nAA_-=", format="wav"))),
    "audio of the other format": said(user(sound(data="AAAA", format="mp3"))),
    "a document by its id": said(user({"type": "file", "file": {"file_id": "file-1"}})),
    "no function wanted": {"function_call": "none"},
    "columns of a row": {"text": "x", "input": "x", "contents": ["x"]},
    "no arguments": said(HI, called("")),
    "a document by its address": said(
        user({"type": "file", "file": {"filename": "a", "file_data": "https://example.com/a.pdf"}})
    ),
    "an image by its address in capitals": said(user(image({"url": "HTTPS://example.com/a.png"}))),
    "an image by an address without TLS": said(user(image({"url": "http://example.com/a.png"}))),
    "an image by its address": said(user(image({"url": "https://example.com/a.png"}))),
    "an image in base64": said(user(image({"url": "data:image/png;base64,iVBORw0KGgo="}))),
    "an image of a type that not all know": said(user(image("data:image/avif;base64,AAAA"))),
    "a document in base64 alone": said(user({"type": "file", "file": {"file_data": "JVBERi0"}})),
    "another server's part in any role": said(HI, {"role": "system", "content": [{"type": "video_url"}]}),
    "alternatives of none": {"top_logprobs": 0},
    "deprecated fields": {"max_tokens": 5, "user": "u", "functions": [{"name": "f"}], "seed": 1},
    "JSON asked for in another case": said({"role": "system", "content": "As json."})
    | {"response_format": {"type": "json_object"}},
    "JSON asked for in a part": said(user({"type": "text", "text": "JSON please"}))
    | {"response_format": {"type": "json_object"}},
    "a name of a message with a space": said({"role": "user", "content": "x", "name": "Ann Lee"}),
    "a name of 64 characters": {"tools": [function("a-B_9" + "x" * 59)]},
    "another server's tool with a name of its own": {"functions": [{"name": "f"}], "function_call": "auto"},
    "a strict function": {
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "f",
                    "strict": True,
                    "parameters": {
                        "type": "object",
                        "properties": {},
                        "required": [],
                        "additionalProperties": False,
                    },
                },
            }
        ]
    },
    "a function without parameters, and with odd ones": {
        "tools": [
            function("f"),
            {"type": "function", "function": {"name": "g", "parameters": {"type": ["object", "null"]}}},
        ]
    },
    "a function and a custom tool": {"tools": [function("f"), {"type": "custom", "custom": {"name": "g"}}]},
    "no tool wanted, none there": {"tool_choice": "none"},
    "128 tools": {"tools": [function(f"f{number}") for number in range(128)]},
    "a named tool that is there": {"tools": [function("f")], "tool_choice": function("f")},
    "a country by its code": {
        "web_search_options": {"user_location": {"type": "approximate", "approximate": {"country": "SE"}}}
    },
    "one limit of tokens, and null": {"max_tokens": None, "max_completion_tokens": 5},
    "the longest name of a label": {"metadata": {"k" * 64: "x"}},
    "16 labels": {"metadata": {str(number): "x" * 512 for number in range(16)}},
    "the largest bias": {"logit_bias": {"1": 100, "2": -100.0}},
    "audio with its voice": SPOKEN,
    "a WAV at once": SPOKEN | {"stream": False},
    "streamed samples": {"modalities": ["audio"], "audio": {"voice": "v", "format": "pcm16"}, "stream": True},
    "as much as OpenAI takes": said(user(PICTURE, SOUND), user({"type": "text", "text": "x" * 9_000_000})),
}


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_the_rules_leave_these_requests_alone(name: str) -> None:
    assert check(request(LEFT_ALONE[name])) == []


def test_odd_keys_of_a_million_rows_are_compared_once() -> None:
    body = request({"flavour_of_the_day": 1})
    check(body)
    before = names._nearest.cache_info().misses
    for _ in range(100):
        check(body)
    assert names._nearest.cache_info().misses == before


def test_check_of_a_long_conversation_takes_time_in_proportion_to_its_length() -> None:
    """Each turn has a call and its answer. Eight times the turns would take 64 times as long otherwise."""

    def least_s(turns: int) -> float:
        calls = (each for n in range(turns) for each in (HI, asks(f"c{n}"), answers(f"c{n}")))
        body = request(said(*calls))
        assert check(body) == []
        return min(timeit.repeat(lambda: check(body), "pass", time.process_time, 5, 1))

    assert least_s(2000) < 24 * least_s(250)
