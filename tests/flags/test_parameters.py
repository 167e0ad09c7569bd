"""Every option of the API's parameters, from its text to its place in the body."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatpipe.options.parameters import TABLE
from support.parametrize import cases

Build = Callable[..., Any]


def near(**place: str) -> dict[str, Any]:
    """The field of a web search near a place."""
    return {"web_search_options": {"user_location": {"type": "approximate", "approximate": place}}}


# option: (words of the command line, what they add to the body)
ROWS: dict[str, tuple[list[str], dict[str, Any]]] = {
    "model": (["--model", "gpt-4o"], {"model": "gpt-4o"}),
    "temperature": (["--temperature", "0.7"], {"temperature": 0.7}),
    "top-p": (["--top-p", "1"], {"top_p": 1}),
    "n": (["--n", "3"], {"n": 3}),
    "max-completion-tokens": (["--max-completion-tokens", "9"], {"max_completion_tokens": 9}),
    "max-tokens": (["--max-tokens", "300"], {"max_tokens": 300}),
    "stop": (["--stop", "a", "--stop", "\n"], {"stop": ["a", "\n"]}),
    "seed": (["--seed", "-9223372036854775808"], {"seed": -9223372036854775808}),
    "frequency-penalty": (["--frequency-penalty", "-2"], {"frequency_penalty": -2}),
    "presence-penalty": (["--presence-penalty=-0.5"], {"presence_penalty": -0.5}),
    "logit-bias": (
        ["--logit-bias", "50256=-100", "--logit-bias", "7=1.5"],
        {"logit_bias": {"50256": -100, "7": 1.5}},
    ),
    "logprobs": (["--logprobs"], {"logprobs": True}),
    "top-logprobs": (["--top-logprobs", "2"], {"top_logprobs": 2}),
    "response-format": (["--response-format", "json_object"], {"response_format": {"type": "json_object"}}),
    "tool": (["--tool", "tool.json"], {"tools": [{"type": "function", "function": {"name": "f"}}]}),
    "tool-choice": (
        ["--tool-choice", "f"],
        {"tool_choice": {"type": "function", "function": {"name": "f"}}},
    ),
    "parallel-tool-calls": (["--no-parallel-tool-calls"], {"parallel_tool_calls": False}),
    "stream": (["--stream"], {"stream": True}),
    "include-usage": (["--include-usage"], {"stream_options": {"include_usage": True}}),
    "include-obfuscation": (["--no-include-obfuscation"], {"stream_options": {"include_obfuscation": False}}),
    "service-tier": (["--service-tier", "flex"], {"service_tier": "flex"}),
    "store": (["--store"], {"store": True}),
    "metadata": (["--metadata", "job=7", "--metadata", "a="], {"metadata": {"job": "7", "a": ""}}),
    "user-id": (["--user-id", "u1"], {"user": "u1"}),
    "safety-identifier": (["--safety-identifier", "h1"], {"safety_identifier": "h1"}),
    "prompt-cache-key": (["--prompt-cache-key", "k"], {"prompt_cache_key": "k"}),
    "prompt-cache-mode": (
        ["--prompt-cache-mode", "explicit"],
        {"prompt_cache_options": {"mode": "explicit"}},
    ),
    "prompt-cache-ttl": (["--prompt-cache-ttl", "30m"], {"prompt_cache_options": {"ttl": "30m"}}),
    "prompt-cache-retention": (["--prompt-cache-retention", "24h"], {"prompt_cache_retention": "24h"}),
    "reasoning-effort": (["--reasoning-effort", "low"], {"reasoning_effort": "low"}),
    "verbosity": (["--verbosity", "high"], {"verbosity": "high"}),
    "modality": (["--modality", "text", "--modality", "audio"], {"modalities": ["text", "audio"]}),
    "audio-voice": (["--audio-voice", "alloy"], {"audio": {"voice": "alloy"}}),
    "audio-format": (["--audio-format", "wav"], {"audio": {"format": "wav"}}),
    "prediction-file": (
        ["--prediction-file", "text"],
        {"prediction": {"type": "content", "content": "old"}},
    ),
    "moderation-model": (["--moderation-model", "omni"], {"moderation": {"model": "omni"}}),
    "moderation-input": (
        ["--moderation-input", "block"],
        {"moderation": {"policy": {"input": {"mode": "block"}}}},
    ),
    "moderation-output": (
        ["--moderation-output", "score"],
        {"moderation": {"policy": {"output": {"mode": "score"}}}},
    ),
    "web-search": (["--web-search"], {"web_search_options": {}}),
    "web-search-context-size": (
        ["--web-search-context-size", "low"],
        {"web_search_options": {"search_context_size": "low"}},
    ),
    "web-search-country": (["--web-search-country", "SE"], near(country="SE")),
    "web-search-region": (["--web-search-region", "Uppland"], near(region="Uppland")),
    "web-search-city": (["--web-search-city", "Uppsala"], near(city="Uppsala")),
    "web-search-timezone": (
        ["--web-search-timezone", "Europe/Stockholm"],
        near(timezone="Europe/Stockholm"),
    ),
    "function": (["--function", "tool.json"], {"functions": [{"name": "f"}]}),
    "function-call": (["--function-call", "f"], {"function_call": {"name": "f"}}),
}


@pytest.fixture
def files(tmp_path: Path) -> None:
    (tmp_path / "tool.json").write_text('{"name": "f"}')
    (tmp_path / "text").write_text("old\n")


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("option", ROWS)
def test_option_reaches_the_body(build: Build, option: str) -> None:
    words, fields = ROWS[option]
    expected = {"messages": [{"role": "user", "content": "hi"}], **fields}
    assert build(*words, "hi") == expected
    assert build("hi", *words) == expected


def test_every_parameter_has_a_row_here() -> None:
    assert sorted(ROWS) == sorted(parameter.option for parameter in TABLE)


def test_every_field_of_the_api_has_an_option() -> None:
    """The fields of facts.md, section a, but messages; top level only."""
    fields = {
        *("model", "max_completion_tokens", "max_tokens", "temperature", "top_p", "n", "stop", "logit_bias"),
        *("frequency_penalty", "presence_penalty", "logprobs", "top_logprobs", "seed", "stream", "tools"),
        *("stream_options", "response_format", "tool_choice", "parallel_tool_calls", "functions", "audio"),
        *("function_call", "modalities", "prediction", "reasoning_effort", "verbosity", "service_tier"),
        *("store", "metadata", "user", "safety_identifier", "prompt_cache_key", "prompt_cache_options"),
        *("prompt_cache_retention", "moderation", "web_search_options"),
    }
    assert {parameter.path[0] for parameter in TABLE} == fields


@cases(
    ("words", "fields"),
    {
        "-m": (["-m", "x"], {"model": "x"}),
        "-n2": (["-n2"], {"n": 2}),
        "one stop is a string": (["--stop", "a"], {"stop": "a"}),
        "modalities between commas": (["--modality", "text, audio"], {"modalities": ["text", "audio"]}),
        "one modality is still an array": (["--modality", "text"], {"modalities": ["text"]}),
        "--no-logprobs": (["--no-logprobs"], {"logprobs": False}),
        "--no-store": (["--no-store"], {"store": False}),
        "--no-stream": (["--no-stream"], {"stream": False}),
        "of a switch the last": (["--stream", "--no-stream"], {"stream": False}),
        "--parallel-tool-calls": (["--parallel-tool-calls"], {"parallel_tool_calls": True}),
        "of a number the last": (["--temperature", "1", "--temperature", "2"], {"temperature": 2}),
        "a float stays one": (["--temperature", "1.0"], {"temperature": 1.0}),
        "exponent": (["--temperature", "1e-3"], {"temperature": 0.001}),
        "zero is something": (["--temperature", "0"], {"temperature": 0}),
        "so is seed 0": (["--seed", "0"], {"seed": 0}),
        "the first = counts": (["--metadata", "a=b=c"], {"metadata": {"a": "b=c"}}),
        "of a key the last": (["--metadata", "a=1", "--metadata", "a=2"], {"metadata": {"a": "2"}}),
        "metadata are texts": (["--metadata", "a=1"], {"metadata": {"a": "1"}}),
        "tool choice auto": (["--tool-choice", "auto"], {"tool_choice": "auto"}),
        "none": (["--tool-choice", "none"], {"tool_choice": "none"}),
        "required": (["--tool-choice", "required"], {"tool_choice": "required"}),
        "JSON": (
            ["--tool-choice", '{"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[]}}'],
            {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}},
        ),
        "a format of another server": (
            ["--response-format", '{"type":"grammar","grammar":"x"}'],
            {"response_format": {"type": "grammar", "grammar": "x"}},
        ),
        "Mistral's choice": (["--tool-choice", "any"], {"tool_choice": "any"}),
        "the id of a voice": (["--audio-voice", '{"id":"v"}'], {"audio": {"voice": {"id": "v"}}}),
        "function call auto": (["--function-call", "auto"], {"function_call": "auto"}),
        "function call none": (["--function-call", "none"], {"function_call": "none"}),
        "required is a name there": (
            ["--function-call", "required"],
            {"function_call": {"name": "required"}},
        ),
        "web search and its size": (
            ["--web-search", "--web-search-context-size", "high"],
            {"web_search_options": {"search_context_size": "high"}},
        ),
        "one object of several options": (
            ["--moderation-output", "block", "--moderation-model", "o", "--moderation-input", "score"],
            {
                "moderation": {
                    "model": "o",
                    "policy": {"input": {"mode": "score"}, "output": {"mode": "block"}},
                }
            },
        ),
        "words are not enforced": (["--reasoning-effort", "ultra"], {"reasoning_effort": "ultra"}),
        "--unset, then --set": (["--unset", "a", "--set", "a=b"], {"a": "b"}),
        "--set, then --unset": (["--set", "a=b", "--unset", "a"], {}),
        "--set=": (["--set=top_k:=40"], {"top_k": 40}),
        "--set deep": (["--set", 'provider.order:=["a"]'], {"provider": {"order": ["a"]}}),
        "--set wins": (["--set", "temperature:=1", "--temperature", "2"], {"temperature": 1}),
    },
)
def test_each_form_of_an_option_reaches_the_body(
    build: Build, words: list[str], fields: dict[str, Any]
) -> None:
    assert build(*words, "hi") == {"messages": [{"role": "user", "content": "hi"}], **fields}


def test_a_field_that_is_not_given_is_not_sent(build: Build) -> None:
    assert build("hi") == {"messages": [{"role": "user", "content": "hi"}]}


LINE_ENDS: dict[str, Any] = {
    "a number": (["--temperature", "1\r"], {"temperature": 1}),
    "a word": (["--service-tier", "auto\r"], {"service_tier": "auto"}),
    "the name of a model": (["-m", "m\n"], {"model": "m"}),
    "a profile": (["-p", "openai\r\n"], {}),
    "a pair": (["--logit-bias", "5=1\r"], {"logit_bias": {"5": 1}}),
    "one of some words": (["--format", "body\r"], {}),
    "a path": (["--seed", "1", "--unset", "seed\r"], {}),
    "JSON": (
        ["--tool-choice", '{"type":\n"function", "function": {"name": "f"}}\n'],
        {"tool_choice": {"type": "function", "function": {"name": "f"}}},
    ),
    "a text": (["--stop", "\n"], {"stop": "\n"}),
    "a text of --set": (["--set", "x=a\r\n"], {"x": "a\r\n"}),
}


@cases("words, fields", LINE_ENDS)
def test_a_line_end_after_a_word_is_no_part_of_it(
    build: Build, words: list[str], fields: dict[str, Any]
) -> None:
    """`$(cat FILE)` leaves a carriage return if the file has Windows line ends."""
    messages = [{"role": "user", "content": "hi"}]
    assert build("--no-check", *words, "hi") == {"messages": messages, **fields}


BAD: dict[str, Any] = {
    "number": (["--temperature", "warm"], "'warm' is not a number"),
    "nan": (["--temperature", "nan"], "'nan' is not a number"),
    "infinity": (["--top-p", "inf"], "'inf' is not a number"),
    "beyond all floats": (["--temperature", "1e999"], "'1e999' is not a number"),
    "an integer beyond all floats": (["--temperature", "9" * 400], "is not a number"),
    "comma": (["--temperature", "1,5"], "'1,5' is not a number"),
    "hexadecimal": (["--temperature", "0x10"], "'0x10' is not a number"),
    "underscore": (["--temperature", "1_0"], "'1_0' is not a number"),
    "integer": (["--max-tokens", "1.5"], "'1.5' is not a whole number"),
    "underscore in an integer": (["--max-tokens", "1_000"], "'1_000' is not a whole number"),
    "digits of another script": (["--max-tokens", "٣"], "is not a whole number"),
    "integer with an exponent": (["--n", "1e3"], "'1e3' is not a whole number"),
    "seed": (["--seed", "x"], "'x' is not a whole number"),
    "pair": (["--logit-bias", "5"], "'5' is not of the form TOKEN=BIAS"),
    "pair of a number": (["--logit-bias", "5=x"], "'x' is not a number"),
    "pair without a key": (["--logit-bias", "=1"], "'=1' is not of the form TOKEN=BIAS"),
    "pair of a text": (["--metadata", "a"], "'a' is not of the form KEY=VALUE"),
    "tool choice": (["--tool-choice", "{"], "--tool-choice: not JSON"),
    "function call": (["--function-call", "{x}"], "--function-call: not JSON"),
    "two lines": (["-m", "a\nb"], "the value has more than one line"),
    "a line end in the name of a variable": (["--key-env", "A\rB"], "the value has more than one line"),
    "only a line end": (["--tool-choice", "\r\n"], "the value is only a line end"),
    "set": (["--set", "a"], "--set: 'a' has no '='"),
    "set JSON": (["--set", "a:=x"], "--set: 'x' is not JSON"),
    "unset": (["--unset", ".."], "--unset: '..' is not a path"),
    "tool result": (["--tool-result", "x"], "--tool-result: 'x' has no id"),
    "tool result without an id": (["--tool-result", "=x"], "--tool-result: '=x' has no id"),
    "tool result file": (["--tool-result-file", "x"], "--tool-result-file: 'x' has no id"),
    "no time": (["--timeout", "0"], "'0' is not a number of seconds above 0"),
    "negative time": (["--timeout", "-1"], "'-1' is not a number of seconds above 0"),
    "time nan": (["--deadline", "nan"], "'nan' is not a number of seconds above 0"),
    "for ever": (["--connect-timeout", "inf"], "'inf' is not a number of seconds above 0"),
    "a unit": (["--timeout", "1.5m"], "'1.5m' is not a number of seconds above 0, such as 90: see "),
    "a fraction": (["--deadline", "300ms"], "'300ms' is not a number of seconds above 0, such as 0.3: see "),
    "no time at all": (["--timeout", "0s"], "'0s' is not a number of seconds above 0: see "),
    "no unit of time": (["--deadline", "3x"], "'3x' is not a number of seconds above 0: see "),
    "no size": (["--max-reply", "0"], "'0' is not a size above 0"),
    "a size below a byte": (["--max-reply", "0.1"], "'0.1' is not a size above 0"),
    "a size of nothing": (["--max-reply", "MB"], "'MB' is not a size above 0"),
    "a size of half a unit": (["--max-reply", "5i"], "'5i' is not a size above 0"),
    "a size beyond all memory": (["--max-reply", "9999999G"], "'9999999G' is not a size above 0"),
    "descriptor": (["--key-fd", "-1"], "'--key-fd': a descriptor is a number, 0 or above"),
    "descriptor a word": (["--key-fd", "x"], "'--key-fd': a descriptor is a number, 0 or above"),
    "error format": (["--error-format", "xml"], "'xml' is not one of 'text', 'json'"),
    "format": (["--format", "xml"], "'xml' is not one of"),
    "contradiction": (["--strict", "--no-check"], "--strict and --no-check contradict each other"),
    "no file": (["--if-changed"], "--if-changed: there is no output file to leave alone"),
    "stdout": (["--if-changed", "-o", "-"], "--if-changed: there is no output file to leave alone"),
    "no target": (["-M", "d"], "--depfile: the make rule has no target"),
    "stdout is no target": (["-M", "d", "-o", "-"], "--depfile: the make rule has no target"),
    "unknown option": (["--nope"], "no such option"),
    "unknown letter": (["-Z"], "no such option"),
    "no value": (["--model"], "option '--model' requires an argument"),
    "a value too many": (["--stream=yes"], "'--stream' takes no value: write --stream"),
}


@cases(("words", "what"), BAD)
@pytest.mark.parametrize("command", ["build", "ask"])
def test_bad_value_is_2_on_one_line(
    chatpipe: Callable[..., Any], command: str, words: list[str], what: str
) -> None:
    ran = chatpipe(command, "hi", *words)
    assert (ran.status, ran.stdout) == (2, "")
    assert what in ran.stderr
    assert ran.stderr.startswith("chatpipe: ")
    assert ran.stderr.count("\n") == 1
    assert ran.stderr.endswith("\n")
    assert not ran.stderr.endswith(".\n")


ONLY_ASK: dict[str, Any] = {
    "retries": (["--retries", "-1"], "'-1' is less than 0"),
    "allow": (["--allow", "x"], "'x' is not one of empty, mismatch, refused, tool-calls, truncated"),
    "reasoning": (["--reasoning", "x"], "'x' is not one of 'drop', 'stderr', 'only'"),
    "two formats": (["--json", "--raw"], "--format: formats chunks and json at once"),
    "a NUL behind what is no text": (
        ["--json", "-0"],
        "--null: format 'json' has no text to end: use it with -f text",
    ),
    "reasoning alone in an object": (
        ["--json", "--reasoning", "only"],
        "--reasoning: format 'json' cannot be limited to the reasoning: use it with -f text, or -f string",
    ),
    "reasoning alone as code": (["-f", "code", "--reasoning", "only"], "format 'code' cannot be"),
    "two formats, one long": (["-f", "text", "--json"], "--format: formats json and text at once"),
    "chunks, no stream": (["--raw", "--no-stream"], "--no-stream: format 'chunks' needs a stream"),
    "sse, no stream": (["-f", "sse", "--no-stream"], "--no-stream: format 'sse' needs a stream"),
}


@cases(("words", "what"), ONLY_ASK)
def test_bad_value_of_ask_is_2(chatpipe: Callable[..., Any], words: list[str], what: str) -> None:
    ran = chatpipe("ask", "-p", "echo", "hi", *words)
    assert (ran.status, ran.stdout) == (2, "")
    assert what in ran.stderr
    assert ran.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "words", [["--json", "-f", "json"], ["--json", "--json"], ["--raw", "-f", "chunks"]], ids=" ".join
)
def test_the_same_format_twice_is_one(chatpipe: Callable[..., Any], words: list[str]) -> None:
    assert chatpipe("ask", "-p", "echo", "hi", *words).status == 0


@pytest.mark.parametrize(
    "words", [["--allow", "refused,empty"], ["--allow", " refused", "--allow", "empty,,"]]
)
def test_allow_takes_a_list_or_several(chatpipe: Callable[..., Any], words: list[str]) -> None:
    assert chatpipe("ask", "-p", "echo", "hi", *words).status == 0
