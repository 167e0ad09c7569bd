"""Providers as they are on the wire, imitated on loopback at their real addresses.

`providers()` is a proxy that leads their hosts here, with certificates for them, so that `-p NAME` and a
key are all that a call needs. Each imitation refuses what the real one refuses, and answers in its own
shape. A word in the last message asks for something else than an answer: see Provider.

Sources: the vendors' API references and SDKs, and bug reports of public clients, as of 2026-11.
"""

from __future__ import annotations

import contextlib
import ssl
import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import trustme

from support.servers.loopback import (
    Answer,
    Proxy,
    Request,
    Server,
    chunk,
    completion,
    error,
    event,
    event_stream,
    reply,
    serve,
)

Body = dict[str, Any]

# The fields that OpenAI documents and most others take.
_COMMON = frozenset(
    {
        *(
            "model",
            "messages",
            "max_tokens",
            "temperature",
            "top_p",
            "stop",
            "stream",
            "tools",
            "tool_choice",
        ),
        *("response_format", "n", "presence_penalty", "frequency_penalty", "parallel_tool_calls"),
    }
)
_OPENAI = _COMMON | {
    *("max_completion_tokens", "seed", "logprobs", "top_logprobs", "logit_bias", "stream_options", "user"),
    "reasoning_effort",
}
_ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})
_USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
_WAIT_S = 0.3  # the delay that a provider asks for, where it can ask for a part of a second


class Provider:
    """A provider. It answers each text by `says`, and refuses what a request should not have."""

    profile: ClassVar[str]
    host: ClassVar[str]  # of the URL, with its port
    completions: ClassVar[str]  # path and query
    models: ClassVar[str]
    model: ClassVar[str]
    environ: ClassVar[Mapping[str, str]]  # what a user exports
    key_header: ClassVar[tuple[str, str] | None] = ("authorization", "Bearer k-12345")
    fields: ClassVar[Collection[str] | None] = _OPENAI  # None: unknown ones are ignored
    roles: ClassVar[Collection[str]] = _ROLES
    says: ClassVar[str] = "Good day."
    headers: ClassVar[Mapping[str, str]] = {}
    wait_s: ClassVar[float] = _WAIT_S

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.busy_until: float | None = None

    def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        if request.target not in (self.completions, self.models):
            return self.no_route(request)
        if request.method != ("GET" if request.target == self.models else "POST"):
            return self.no_route(request)
        if self.key_header is not None and not self.has_key(request):
            return self.wrong_key()
        if request.method == "GET":
            return reply(200, self.list_of_models())
        body = request.json()
        return self.refusal(body) or self.of_word(body)

    def has_key(self, request: Request) -> bool:
        """True if the key is right, and in no other header than its own."""
        name, value = self.key_header or ("", "")
        others = {"authorization", "api-key", "x-api-key"} - {name}
        return request.headers.get(name) == value and others.isdisjoint(request.headers)

    def refusal(self, body: Body) -> Answer | None:
        """The refusal of a body by what it has or lacks, None if it is as it should be."""
        if body.get("model") != self.model:
            return self.no_model(str(body.get("model")))
        for name in body:
            if self.fields is not None and name not in self.fields:
                return self.unknown_field(name, body[name])
        for message in body["messages"]:
            if message["role"] not in self.roles:
                return self.unknown_field("role", message["role"])
        return None

    def of_word(self, body: Body) -> Answer:
        """The reply to a body without fault, by its last message."""
        if body.get("stream"):
            return event_stream(self.stream(body), headers=self.headers)
        return reply(200, self.whole(body), self.headers)

    def whole(self, body: Body) -> Body:
        return completion(self.says, model=self.model, usage=_USAGE)

    def stream(self, body: Body) -> list[bytes]:
        events = [event(each) for each in self.chunks()]
        if (body.get("stream_options") or {}).get("include_usage"):
            events.append(event({**chunk(), "choices": [], "usage": _USAGE}))
        return [*events, event(b"[DONE]")]

    def chunks(self) -> list[Body]:
        """The chunks of an answer without that of its usage."""
        words = [chunk(word) for word in self.says.replace(" ", " |").split("|")]
        return [chunk({"role": "assistant", "content": ""}), *words, chunk(finish_reason="stop")]

    def list_of_models(self) -> Body | list[Any]:
        return {"object": "list", "data": [{"id": self.model, "object": "model", "owned_by": self.profile}]}

    # Refusals, in the shape of OpenAI where a provider has none of its own

    def no_route(self, request: Request) -> Answer:
        return error(404, f"Unknown request URL: {request.method} {request.target}", code="unknown_url")

    def no_model(self, name: str) -> Answer:
        return error(404, f"The model `{name}` does not exist", code="model_not_found")

    def wrong_key(self) -> Answer:
        return error(401, "Incorrect API key provided", code="invalid_api_key")

    def unknown_field(self, name: str, value: Any) -> Answer:
        return error(400, f"Unknown parameter: '{name}'.", code="unknown_parameter", param=name)


class OddProvider(Provider, ABC):
    """A provider whose own refusals and failures a word asks for.

    "busy" is refused once with the provider's own 429 or 503, and answered after that; "filter" asks for
    what its moderation holds back; "broken" for the error that it has in mid-stream.
    """

    def of_word(self, body: Body) -> Answer:
        word = body["messages"][-1]["content"]
        if word == "busy" and self.busy_until is None:
            self.busy_until = time.monotonic() + self.wait_s
            return self.busy()
        if word == "filter":
            return self.filtered(body)
        if word == "broken":
            if body.get("stream"):
                return event_stream(self.broken_stream(), headers=self.headers)
            return self.broken()
        return super().of_word(body)

    @abstractmethod
    def busy(self) -> Answer: ...

    @abstractmethod
    def filtered(self, body: Body) -> Answer: ...

    @abstractmethod
    def broken_stream(self) -> list[bytes]: ...

    @abstractmethod
    def broken(self) -> Answer: ...


class Azure(OddProvider):
    """The path without a date. The model of the body is the deployment."""

    profile = "azure"
    host = "me.openai.azure.com:443"
    completions = "/openai/v1/chat/completions"
    models = "/openai/v1/models"
    model = "prod-chat"
    environ: ClassVar[Mapping[str, str]] = {
        "AZURE_OPENAI_ENDPOINT": "https://me.openai.azure.com/",
        "AZURE_OPENAI_API_KEY": "k-12345",
        "AZURE_OPENAI_DEPLOYMENT": "prod-chat",
    }
    key_header = ("api-key", "k-12345")
    headers: ClassVar[Mapping[str, str]] = {
        "x-ratelimit-remaining-requests": "99",
        "x-ratelimit-remaining-tokens": "9900",
        "x-ms-region": "Sweden Central",
        "apim-request-id": "a-1",
    }
    _SAFE: ClassVar[Body] = {"hate": {"filtered": False, "severity": "safe"}}
    _PROMPT: ClassVar[list[Body]] = [{"prompt_index": 0, "content_filter_results": _SAFE}]

    def wrong_key(self) -> Answer:
        message = (
            "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a"
            " valid key for an active subscription and use a correct regional API endpoint for your resource."
        )
        return reply(401, {"error": {"code": "401", "message": message}})

    def no_route(self, request: Request) -> Answer:
        return reply(404, {"error": {"code": "404", "message": "Resource not found"}})

    def no_model(self, name: str) -> Answer:
        message = (
            "The API deployment for this resource does not exist. If you created the deployment within the"
            " last 5 minutes, please wait a moment and try again."
        )
        return reply(404, {"error": {"code": "DeploymentNotFound", "message": message}})

    def unknown_field(self, name: str, value: Any) -> Answer:
        return error(400, f"Unrecognized request argument supplied: {name}")

    def busy(self) -> Answer:
        message = (
            "Requests to the ChatCompletions_Create Operation under Azure OpenAI API version 2024-10-21 have"
            " exceeded token rate limit of your current OpenAI S0 pricing tier. Please retry after 1 second."
        )
        headers = {"retry-after": "1", "retry-after-ms": "300", "x-ratelimit-remaining-requests": "0"}
        return reply(429, {"error": {"code": "429", "message": message}}, headers)

    def filtered(self, body: Body) -> Answer:
        """The prompt is refused. Azure has the details in `innererror`."""
        results = {"violence": {"filtered": True, "severity": "medium"}}
        message = (
            "The response was filtered due to the prompt triggering Azure OpenAI's content management policy."
            " Please modify your prompt and retry."
        )
        inner = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": results}
        facts = {"message": message, "type": None, "param": "prompt", "code": "content_filter", "status": 400}
        return reply(400, {"error": {**facts, "innererror": inner}})

    def whole(self, body: Body) -> Body:
        made = super().whole(body)
        made["choices"][0]["content_filter_results"] = self._SAFE
        return {**made, "prompt_filter_results": self._PROMPT}

    def chunks(self) -> list[Body]:
        """The first one has the results of the filter and nothing else."""
        first = {"id": "", "object": "", "created": 0, "model": "", "choices": []}
        rest = super().chunks()
        for each in rest:
            each["choices"][0]["content_filter_results"] = {}
        return [{**first, "prompt_filter_results": self._PROMPT}, *rest]

    def broken_stream(self) -> list[bytes]:
        """The answer is filtered in the middle."""
        end = chunk(finish_reason="content_filter")
        end["choices"][0]["content_filter_results"] = {"violence": {"filtered": True, "severity": "high"}}
        return [*map(event, [*self.chunks()[:3], end]), event(b"[DONE]")]

    def broken(self) -> Answer:
        """The answer is filtered: it has no content at all."""
        message = {"role": "assistant"}
        return reply(200, completion(None, message=message, finish_reason="content_filter"))


class AzureDeployment(Azure):
    """The path of a deployment. The version of the API is a date."""

    completions = "/openai/deployments/prod-chat/chat/completions?api-version=2024-10-21"
    models = "/openai/models?api-version=2024-10-21"
    environ: ClassVar[Mapping[str, str]] = {
        "AZURE_OPENAI_ENDPOINT": "https://me.openai.azure.com",
        "AZURE_OPENAI_AD_TOKEN": "k-12345",
        "OPENAI_API_VERSION": "2024-10-21",
        "AZURE_OPENAI_DEPLOYMENT_NAME": "prod-chat",
    }
    key_header = ("authorization", "Bearer k-12345")

    def list_of_models(self) -> Body:
        """The models that there are to deploy, not the deployments."""
        facts = {"status": "succeeded", "lifecycle_status": "generally-available", "object": "model"}
        return {
            "data": [{**facts, "id": "gpt-4o-2024-08-06", "created_at": 1722902400}],
            "object": "list",
        }


class OpenRouter(OddProvider):
    profile = "openrouter"
    host = "openrouter.ai:443"
    completions = "/api/v1/chat/completions"
    models = "/api/v1/models"
    model = "meta-llama/llama-3.3-70b"
    environ: ClassVar[Mapping[str, str]] = {"OPENROUTER_API_KEY": "k-12345"}
    fields = None
    _COMMENT = b": OPENROUTER PROCESSING\n\n"

    def wrong_key(self) -> Answer:
        return reply(401, {"error": {"message": "User not found.", "code": 401}})

    def no_model(self, name: str) -> Answer:
        return reply(400, {"error": {"message": f"{name} is not a valid model ID", "code": 400}})

    def busy(self) -> Answer:
        """The time of the reset is in milliseconds since 1970, in the headers that the error quotes."""
        reset = str(int((time.time() + _WAIT_S) * 1000))
        limits = {"X-RateLimit-Limit": "20", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset}
        message = "Rate limit exceeded: free-models-per-min. "
        quoted = {"message": message, "code": 429, "metadata": {"headers": limits}}
        return reply(429, {"error": quoted, "user_id": "u"}, limits)

    def filtered(self, body: Body) -> Answer:
        metadata = {"reasons": ["violence"], "flagged_input": "filter", "provider_name": "OpenInference"}
        message = "The model requires moderation on OpenInference. Your input was flagged"
        return reply(403, {"error": {"message": message, "code": 403, "metadata": metadata}})

    def whole(self, body: Body) -> Body:
        made = super().whole(body)
        made["choices"][0] |= {"native_finish_reason": "stop", "reasoning": None}
        return {**made, "provider": "OpenInference", "usage": {**_USAGE, "cost": 0.00001}}

    def stream(self, body: Body) -> list[bytes]:
        """Comments keep the connection alive, and the usage is always there."""
        usage = {**chunk(""), "provider": "OpenInference", "usage": {**_USAGE, "cost": 0.00001}}
        return [self._COMMENT * 3, *map(event, self.chunks()), event(usage), event(b"[DONE]")]

    def broken_stream(self) -> list[bytes]:
        """The stream began with 200. The error has a chunk of its own, with a choice beside it."""
        failed = chunk("", finish_reason="error", error={"code": 502, "message": "Provider disconnected"})
        return [self._COMMENT, *map(event, self.chunks()[:2]), event(failed), event(b"[DONE]")]

    def broken(self) -> Answer:
        """An error of the provider behind it, with status 200."""
        raw = '{"error":{"message":"upstream failed"}}'
        metadata = {"raw": raw, "provider_name": "OpenInference"}
        return reply(
            200, {"error": {"message": "Provider returned error", "code": 502, "metadata": metadata}}
        )

    def list_of_models(self) -> Body:
        facts = {"id": self.model, "name": "Meta: Llama 3.3", "created": 1733506137, "context_length": 131072}
        return {"data": [{**facts, "pricing": {"prompt": "0.0000001", "completion": "0.0000003"}}]}


class Groq(OddProvider):
    profile = "groq"
    host = "api.groq.com:443"
    completions = "/openai/v1/chat/completions"
    models = "/openai/v1/models"
    model = "llama-3.3-70b-versatile"
    environ: ClassVar[Mapping[str, str]] = {"GROQ_API_KEY": "k-12345"}
    fields = _OPENAI - {"logprobs", "top_logprobs", "logit_bias"}
    headers: ClassVar[Mapping[str, str]] = {
        "x-ratelimit-limit-requests": "14400",  # a day
        "x-ratelimit-remaining-requests": "14399",
        "x-ratelimit-reset-requests": "6s",
        "x-ratelimit-limit-tokens": "6000",  # a minute
        "x-ratelimit-remaining-tokens": "5990",
        "x-ratelimit-reset-tokens": "100ms",
    }
    wait_s = 1.0

    def refusal(self, body: Body) -> Answer | None:
        if body.get("n", 1) != 1:
            return error(400, "'n' : number must be at most 1")
        if any("name" in message for message in body["messages"]):
            return error(400, "property 'name' is unsupported")
        if body.get("stream") and "json_schema" in body.get("response_format", {}):
            return error(400, "response_format json_schema does not support streaming")
        return super().refusal(body)

    def wrong_key(self) -> Answer:
        return error(401, "Invalid API Key", code="invalid_api_key")

    def unknown_field(self, name: str, value: Any) -> Answer:
        return error(400, f"property '{name}' is unsupported")

    def busy(self) -> Answer:
        message = (
            "Rate limit reached for model `llama-3.3-70b-versatile` on tokens per minute (TPM): Limit 6000,"
            " Used 5990, Requested 110. Please try again in 1s."
        )
        headers = {**self.headers, "retry-after": "1", "x-ratelimit-remaining-tokens": "0"}
        return error(429, message, type="tokens", code="rate_limit_exceeded", headers=headers)

    def filtered(self, body: Body) -> Answer:
        """It has no filter. A call of a tool that is no JSON is a failure of the model."""
        message = "Failed to call a function. Please adjust your prompt."
        facts = {"message": message, "type": "invalid_request_error", "code": "tool_use_failed"}
        return reply(400, {"error": {**facts, "failed_generation": "<function=f>{</function>"}})

    def whole(self, body: Body) -> Body:
        usage = {**_USAGE, "queue_time": 0.1, "prompt_time": 0.01, "total_time": 0.2}
        return {**super().whole(body), "usage": usage, "x_groq": {"id": "req_1"}}

    def chunks(self) -> list[Body]:
        first, *rest, last = super().chunks()
        usage = {"id": "req_1", "usage": {**_USAGE, "queue_time": 0.1}}
        return [{**first, "x_groq": {"id": "req_1"}}, *rest, {**last, "x_groq": usage}]

    def broken_stream(self) -> list[bytes]:
        failed = {"error": {"message": "over capacity", "type": "internal_server_error"}}
        return [*map(event, self.chunks()[:2]), b"event: error\n" + event(failed)]

    def broken(self) -> Answer:
        return error(498, "Flex tier capacity exceeded", code="flex_tier_capacity_exceeded")

    def list_of_models(self) -> Body:
        facts = {"id": self.model, "object": "model", "created": 1733447754, "owned_by": "Meta"}
        return {"object": "list", "data": [{**facts, "active": True, "context_window": 131072}]}


class Mistral(OddProvider):
    profile = "mistral"
    host = "api.mistral.ai:443"
    completions = "/v1/chat/completions"
    models = "/v1/models"
    model = "magistral-small-latest"
    environ: ClassVar[Mapping[str, str]] = {"MISTRAL_API_KEY": "k-12345"}
    fields = _COMMON | {"random_seed", "safe_prompt", "prompt_mode", "prediction", "reasoning_effort"}
    roles = _ROLES - {"developer"}
    headers: ClassVar[Mapping[str, str]] = {
        "x-ratelimit-limit-req-minute": "60",
        "x-ratelimit-remaining-req-minute": "59",
        "x-ratelimit-limit-tokens-minute": "50000",
        "x-ratelimit-remaining-tokens-minute": "49990",
        "x-ratelimit-tokens-query-cost": "10",
    }
    wait_s = 1.0
    _THOUGHT: ClassVar[Body] = {"type": "thinking", "thinking": [{"type": "text", "text": "Greet."}]}

    def wrong_key(self) -> Answer:
        return reply(401, {"detail": "Unauthorized"})

    def no_route(self, request: Request) -> Answer:
        return reply(404, {"message": "no Route matched with those values", "request_id": "r"})

    def no_model(self, name: str) -> Answer:
        return self._error(400, f"Invalid model: {name}", "invalid_model", "1500")

    def unknown_field(self, name: str, value: Any) -> Answer:
        kind = "literal_error" if name == "role" else "extra_forbidden"
        problem = {
            "type": kind,
            "loc": ["body", name],
            "msg": "Extra inputs are not permitted",
            "input": value,
        }
        return self._error(422, {"detail": [problem]}, "invalid_request_error", None)

    def busy(self) -> Answer:
        headers = {"ratelimitbysize-limit": "50000", "ratelimitbysize-remaining": "0"}
        headers["ratelimitbysize-reset"] = "1"
        return self._error(429, "Requests rate limit exceeded", "rate_limited", "1300", headers)

    def filtered(self, body: Body) -> Answer:
        """Its moderation is another API. An answer can be too long for the model."""
        return reply(200, completion(self.says, finish_reason="model_length"), self.headers)

    def whole(self, body: Body) -> Body:
        """What a model thinks is a part of the content."""
        content = [self._THOUGHT, {"type": "text", "text": self.says}]
        message = {"role": "assistant", "tool_calls": None, "content": content}
        return completion(None, message=message, usage=_USAGE)

    def stream(self, body: Body) -> list[bytes]:
        """The usage is in the last chunk, asked for or not."""
        first, *rest, last = super().chunks()
        thought = chunk({"content": [self._THOUGHT]})
        return [*map(event, [first, thought, *rest, {**last, "usage": _USAGE}]), event(b"[DONE]")]

    def broken_stream(self) -> list[bytes]:
        failed = {"object": "error", "message": "Service unavailable.", "type": "internal_server_error"}
        return [*map(event, self.chunks()[:2]), event({**failed, "code": "3000"})]

    def broken(self) -> Answer:
        return reply(502, b"<html><head><title>502 Bad Gateway</title></head></html>")

    def list_of_models(self) -> Body:
        facts = {"id": self.model, "object": "model", "created": 1733447754, "owned_by": "mistralai"}
        capabilities = {"completion_chat": True, "function_calling": True}
        return {
            "object": "list",
            "data": [{**facts, "capabilities": capabilities, "max_context_length": 40000}],
        }

    def _error(
        self, status: int, message: Any, kind: str, code: str | None, headers: Mapping[str, str] = {}
    ) -> bytes:
        facts = {"object": "error", "message": message, "type": kind, "param": None, "code": code}
        return reply(status, {**facts, "raw_status_code": status}, headers)


class Gemini(OddProvider):
    profile = "gemini"
    host = "generativelanguage.googleapis.com:443"
    completions = "/v1beta/openai/chat/completions"
    models = "/v1beta/openai/models"
    model = "gemini-2.5-flash"
    environ: ClassVar[Mapping[str, str]] = {"GEMINI_API_KEY": "k-12345"}
    fields = _OPENAI - {"logprobs", "top_logprobs", "logit_bias"} | {"extra_body"}

    def wrong_key(self) -> Answer:
        """It is 400, not 401."""
        info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
        message = "API key not valid. Please pass a valid API key."
        return self._error(400, message, "INVALID_ARGUMENT", [info])

    def no_model(self, name: str) -> Answer:
        message = f"models/{name} is not found for API version v1main, or is not supported"
        return self._error(404, message, "NOT_FOUND")

    def unknown_field(self, name: str, value: Any) -> Answer:
        message = f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.'
        return self._error(400, message, "INVALID_ARGUMENT")

    def busy(self) -> Answer:
        delay = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{_WAIT_S}s"}
        message = "You exceeded your current quota, please check your plan and billing details."
        return self._error(429, message, "RESOURCE_EXHAUSTED", [delay])

    def filtered(self, body: Body) -> Answer:
        """An answer without a message."""
        choice = {"index": 0, "finish_reason": "content_filter: PROHIBITED_CONTENT"}
        made = {**completion(""), "choices": [choice]}
        if body.get("stream"):
            made = {**chunk(), "choices": [{**choice, "delta": {"role": "assistant"}}]}
            return event_stream([event(made), event(b"[DONE]")])
        return reply(200, made)

    def chunks(self) -> list[Body]:
        """There is no chunk for the role alone, and the end comes with the last words."""
        _, *words, _ = super().chunks()
        words[-1]["choices"][0]["finish_reason"] = "stop"
        words[0]["choices"][0]["delta"]["role"] = "assistant"
        return words

    def broken_stream(self) -> list[bytes]:
        facts = {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}
        return [event(self.chunks()[0]), event([{"error": facts}])]

    def broken(self) -> Answer:
        return self._error(503, "The model is overloaded. Please try again later.", "UNAVAILABLE")

    def list_of_models(self) -> Body:
        return {
            "object": "list",
            "data": [{"id": f"models/{self.model}", "object": "model", "owned_by": "google"}],
        }

    def _error(self, status: int, message: str, kind: str, details: list[Body] | None = None) -> bytes:
        facts = {"code": status, "message": message, "status": kind}
        return reply(status, [{"error": {**facts, **({"details": details} if details else {})}}])


class Ollama(OddProvider):
    """It wants no key and ignores what it does not know: a limit under another name than max_tokens, too."""

    profile = "ollama"
    host = "localhost:11434"
    completions = "/v1/chat/completions"
    models = "/v1/models"
    model = "llama3.2:latest"
    environ: ClassVar[Mapping[str, str]] = {"OLLAMA_HOST": "localhost"}
    key_header = None
    fields = None
    roles = _ROLES - {"developer"}  # the template of a model drops what it does not know
    wait_s = 0.0

    def no_model(self, name: str) -> Answer:
        return error(404, f'model "{name}" not found, try pulling it first', type="not_found_error")

    def busy(self) -> Answer:
        message = "server busy, please try again.  maximum pending requests exceeded"
        return error(503, message, type="api_error")

    def filtered(self, body: Body) -> Answer:
        """It has no filter. An answer ends at max_tokens, the only limit that it knows."""
        ended = "length" if body.get("max_tokens") else "stop"
        return reply(200, completion(self.says, finish_reason=ended))

    def whole(self, body: Body) -> Body:
        message = {"role": "assistant", "content": self.says, "reasoning": "They greet."}
        return completion(None, message=message, system_fingerprint="fp_ollama", usage=_USAGE)

    def chunks(self) -> list[Body]:
        return [chunk({"role": "assistant", "content": "", "reasoning": "They greet."}), *super().chunks()]

    def broken_stream(self) -> list[bytes]:
        failed = {"error": {"message": "model runner has unexpectedly stopped", "type": "api_error"}}
        return [*map(event, self.chunks()[:2]), event(failed)]

    def broken(self) -> Answer:
        return error(500, "llama runner process no longer running: 2", type="api_error")

    def list_of_models(self) -> Body:
        facts = {"id": self.model, "object": "model", "created": 1733447754, "owned_by": "library"}
        return {"object": "list", "data": [facts]}


class LlamaCpp(OddProvider):
    """With --api-key and --alias."""

    profile = "llamacpp"
    host = "localhost:8080"
    completions = "/v1/chat/completions"
    models = "/v1/models"
    model = "qwen3"
    environ: ClassVar[Mapping[str, str]] = {"LLAMA_API_KEY": "k-12345"}
    fields = None
    roles = _ROLES - {"developer"}
    wait_s = 0.0
    _TIMINGS: ClassVar[Body] = {"prompt_n": 5, "prompt_ms": 1.5, "predicted_n": 2, "predicted_ms": 9.5}

    def wrong_key(self) -> Answer:
        facts = {"code": 401, "message": "Invalid API Key", "type": "authentication_error"}
        return reply(401, {"error": facts})

    def no_route(self, request: Request) -> Answer:
        return reply(404, {"error": {"code": 404, "message": "File Not Found", "type": "not_found_error"}})

    def busy(self) -> Answer:
        return reply(503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}})

    def filtered(self, body: Body) -> Answer:
        """It has no filter. A prompt can be too long for the context that it was started with."""
        message = "the request exceeds the available context size, try increasing it"
        facts = {"code": 400, "message": message, "type": "exceed_context_size_error"}
        return reply(400, {"error": {**facts, "n_prompt_tokens": 9000, "n_ctx": 4096}})

    def whole(self, body: Body) -> Body:
        message = {"role": "assistant", "reasoning_content": "They greet.", "content": self.says}
        return {**completion(None, message=message, usage=_USAGE), "timings": self._TIMINGS}

    def chunks(self) -> list[Body]:
        first, *rest, last = super().chunks()
        thought = chunk({"reasoning_content": "They greet."})
        first["choices"][0]["delta"]["content"] = None
        return [first, thought, *rest, {**last, "timings": self._TIMINGS}]

    def broken_stream(self) -> list[bytes]:
        failed = {"error": {"code": 500, "message": "failed to decode", "type": "server_error"}}
        return [*map(event, self.chunks()[:2]), event(failed)]

    def broken(self) -> Answer:
        return reply(500, {"error": {"code": 500, "message": "failed to decode", "type": "server_error"}})

    def list_of_models(self) -> Body:
        """The same list twice, in the form of Ollama first."""
        meta = {"vocab_type": 2, "n_vocab": 151936, "n_ctx_train": 40960, "n_params": 751632384}
        facts = {"id": self.model, "object": "model", "created": 1733447754, "owned_by": "llamacpp"}
        return {
            "models": [{"name": self.model, "model": self.model, "type": "model"}],
            "object": "list",
            "data": [{**facts, "meta": meta}],
        }


class Together(Provider):
    """The first of those that are here for their lists of models. This one is a bare array."""

    profile = "together"
    host = "api.together.xyz:443"
    completions = "/v1/chat/completions"
    models = "/v1/models"
    model = "meta-llama/Llama-3.3-70B"
    environ: ClassVar[Mapping[str, str]] = {"TOGETHER_API_KEY": "k-12345"}

    def list_of_models(self) -> list[Any]:
        facts = {"id": self.model, "object": "model", "type": "chat", "organization": "Meta"}
        return [{**facts, "created": 0, "context_length": 131072, "pricing": {"input": 0.88, "output": 0.88}}]


class GitHub(Provider):
    """The catalog is not below the base URL."""

    profile = "github"
    host = "models.github.ai:443"
    completions = "/inference/chat/completions"
    models = "/catalog/models"
    model = "openai/gpt-4o-mini"
    environ: ClassVar[Mapping[str, str]] = {"GITHUB_TOKEN": "k-12345"}

    def list_of_models(self) -> list[Any]:
        limits = {"max_input_tokens": 131072, "max_output_tokens": 4096}
        return [{"id": self.model, "name": "GPT-4o mini", "publisher": "OpenAI", "limits": limits}]


class Databricks(Provider):
    """The models are endpoints, and their list is at another API of the workspace."""

    profile = "databricks"
    host = "me.cloud.databricks.com:443"
    completions = "/serving-endpoints/chat/completions"
    models = "/api/2.0/serving-endpoints"
    model = "llama-3-3"
    environ: ClassVar[Mapping[str, str]] = {
        "DATABRICKS_HOST": "me.cloud.databricks.com",
        "DATABRICKS_TOKEN": "k-12345",
    }

    def list_of_models(self) -> Body:
        return {"endpoints": [{"name": self.model, "creator": "me", "creation_timestamp": 1700000000000}]}


class Anthropic(Provider):
    """A list in pages, of which this is the only one."""

    profile = "anthropic"
    host = "api.anthropic.com:443"
    completions = "/v1/chat/completions"
    models = "/v1/models"
    model = "claude-sonnet-4-5"
    environ: ClassVar[Mapping[str, str]] = {"ANTHROPIC_API_KEY": "k-12345"}

    def list_of_models(self) -> Body:
        facts = {"type": "model", "id": self.model, "created_at": "2025-09-29T00:00:00Z"}
        return {"data": [facts], "has_more": False, "first_id": self.model, "last_id": self.model}


PROVIDERS = (Azure, AzureDeployment, OpenRouter, Groq, Mistral, Gemini, Ollama, LlamaCpp)
LISTED = (Together, GitHub, Databricks, Anthropic)
_ALL = (*PROVIDERS, *LISTED)


class Place:
    """Where the providers are: the proxy on the way, and the authority that signs for their hosts."""

    def __init__(self, proxy: Proxy, ca_pem: Path, at: dict[str, Provider]) -> None:
        self._proxy, self._ca_pem, self._at = proxy, ca_pem, at

    def put(self, provider: Provider) -> dict[str, str]:
        """Put a provider at its host. The variables of a call: those that a user exports, and the way."""
        self._at[provider.host.removesuffix(":443")] = provider
        way = {"HTTPS_PROXY": self._proxy.url, "HTTP_PROXY": self._proxy.url}
        return {**provider.environ, **way, "SSL_CERT_FILE": str(self._ca_pem)}


@contextlib.contextmanager
def providers(folder: Path) -> Iterator[Place]:
    """The hosts of all of them, behind a proxy. Nobody is there until put() says who."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    encrypted = {each.host for each in _ALL if each.host.endswith(":443")}
    authority.issue_cert(*(host.removesuffix(":443") for host in encrypted)).configure_cert(context)
    at: dict[str, Provider] = {}

    def handler(request: Request) -> Answer:
        return at[request.headers["host"]].answer(request)

    def routes(plain: Server, tls: Server) -> dict[str, int]:
        return {each.host: (tls if each.host in encrypted else plain).port for each in _ALL}

    with (
        serve(handler) as plain,
        serve(handler, tls=context) as tls,
        Proxy(routes=routes(plain, tls)) as proxy,
    ):
        yield Place(proxy, folder / "ca.pem", at)
