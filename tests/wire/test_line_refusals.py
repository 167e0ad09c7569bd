"""Refusals about the content of one request, in the words of many servers, and those about all requests."""

from __future__ import annotations

from chatpipe.wire.line_refusals import concerns_one_line
from support.parametrize import cases


@cases(
    "status, codes, message",
    {
        "OpenAI, length": (400, ["context_length_exceeded"], "no"),
        "OpenAI, string": (400, ["string_above_max_length"], "no"),
        "OpenAI, policy": (400, ["invalid_prompt"], "no"),
        "OpenAI, image": (400, ["invalid_image_url"], "no"),
        "Azure": (400, ["content_filter"], "The response was filtered"),
        "Azure, inner": (400, ["ResponsibleAIPolicyViolation"], "no"),
        "Anthropic": (400, ["invalid_request_error"], "prompt is too long: 210000 tokens > 200000 maximum"),
        "Anthropic, bytes": (413, ["request_too_large"], "Request exceeds the maximum size"),
        "vLLM": (400, ["BadRequestError"], "This model's maximum context length is 4096 tokens."),
        "llama.cpp": (400, ["exceed_context_size_error"], "no"),
        "SGLang": (
            400,
            [],
            "The input (9000 tokens) exceeds the context length (8192).",
        ),
        "TGI": (422, ["validation"], "`inputs` tokens exceed the limit"),
        "OpenRouter": (403, ["403"], "Your chosen model requires moderation and your input was flagged"),
        "DashScope": (400, ["data_inspection_failed"], "no"),
        "DashScope, camel case": (400, ["DataInspectionFailed"], "no"),
        "Zhipu": (400, ["1301"], "Unsafe content or sensitive content may be in the input"),
        "Groq, no call": (400, ["tool_use_failed"], "Failed to call a function. Please adjust your prompt."),
        "Groq, no JSON": (400, ["json_validate_failed"], "Failed to validate JSON."),
        "image": (400, [], "Could not process Image"),
        "proxy": (413, [], ""),
    },
)
def test_content_of_one_request(status: int, codes: list[str], message: str) -> None:
    assert concerns_one_line(status, codes, message)


@cases(
    "status, codes, message",
    {
        "model": (404, ["model_not_found"], "The model `m` does not exist or you do not have access to it."),
        "parameter": (400, ["unsupported_parameter"], "Unsupported parameter: 'max_tokens'"),
        "value": (400, ["invalid_value"], "temperature must be below 2"),
        "field": (422, [], "body.messages: field required"),
        "server": (500, ["server_error"], "The server had an error"),
        "nothing": (400, [], ""),
    },
)
def test_every_request(status: int, codes: list[str], message: str) -> None:
    assert not concerns_one_line(status, codes, message)
