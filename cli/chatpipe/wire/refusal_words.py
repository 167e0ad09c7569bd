"""Codes and phrases of many vendors -> what a refusal means. Pure: tables, and the functions that read them.

Codes are compared without case and punctuation. Those of four digits are Zhipu's, those of `base_resp`
MiniMax's. Sources: the vendors' pages on errors, and bug reports of public clients, as of 2026-11.
"""

from __future__ import annotations

import re
from functools import lru_cache

from chatpipe.response.server_error import ServerError


@lru_cache(maxsize=256)  # a busy server repeats itself
def _squeeze(code: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", code.lower())


def _codes(text: str) -> frozenset[str]:
    return frozenset(_squeeze(code) for code in text.split())


# Somebody has to pay before a retry helps. The rows: OpenAI; Anthropic and others; Moonshot, Zhipu, MiniMax;
# DashScope; DeepSeek, Novita, Volcengine; litellm, one-api; the rest.
_OUT_OF_CREDIT = _codes(
    """
    insufficient_quota credit_balance_exhausted billing_hard_limit_reached billing_not_active
    billing_error payment_required insufficient_funds insufficient_credits
    exceeded_current_quota_error 1113 base_resp:1008
    Arrearage PrepaidBillOverdue PostpaidBillOverdue AllocationQuota.FreeTierOnly
    insufficient_balance not_enough_balance AccountOverdueError AccountOverdue
    budget_exceeded insufficient_user_quota pre_consume_token_quota_failed
    credits_exhausted credit_limit_exceeded spending_limit_reached spend_limit_reached
    """
)
_OUT_OF_CREDIT_PHRASE = (
    r"credit balance is too low"  # Anthropic, with 400
    r"|insufficient (?:account )?(?:balance|credits?|funds|quota)"
    r"|(?:balance|credits?|funds) (?:is |are |has been |have been )?"
    r"(?:insufficient|not enough|too low|exhausted|depleted|used up)"
    r"|not enough (?:credits?|balance|funds)|(?:run|ran) out of (?:credits?|funds)|out of credits?\b"
    r"|requires more credits|no (?:more )?credits? (?:left|remaining|available)"
    r"|used all (?:of )?(?:its |your |the )?(?:available )?credits"  # xAI, with 403 or 429
    r"|(?:does not|doesn't) have any credits"  # xAI, with 403
    r"|^key limit exceeded"  # OpenRouter, with 403: what may be spent with one key
    r"|reached your specified api usage limits"  # Anthropic, with 400: what the account may spend in a month
    r"|requires billing to be enabled"  # Google
    r"|exceeded your monthly included credits"  # Hugging Face
    r"|spend(?:ing)? (?:limit|cap)\b|billing hard limit|credit limit exceeded|budget has been exceeded"
    r"|\bin arrears\b|\bbill(?:ing)? (?:is )?overdue|account is not active|past invoices"
    r"|payment (?:is )?required|enter a payment method|add a payment method"
    r"|free tier of the model has been exhausted|余额不足|额度不足|欠费"
)
# The phrases need one of these, which is much faster to look for.
_WORDS_OF_CREDIT = (
    *("credit", "balance", "fund", "quota", "spend", "billing", "budget", "arrears", "overdue", "active"),
    *("invoices", "payment", "free tier", "limit", "余额", "额度", "欠费"),
)
# Gemini says this of a limit a minute, too. It then names a delay, or RESOURCE_EXHAUSTED.
_QUOTA_PHRASE = r"exceeded your current quota|check your plan and billing details"

# The prompt does not fit into the context of the model.
_TOO_LONG = _codes(
    """
    context_length_exceeded exceed_context_size_error ContextWindowExceededError context_window_exceeded
    model_context_window_exceeded input_too_long prompt_too_long tokens_limit_reached 1261
    """
)
_TOO_LONG_PHRASE = (
    r"context (?:length|window|size)|maximum context|available context"
    r"|(?:prompt|input|request|messages?) (?:is|are) too (?:long|large for)"  # Anthropic, Bedrock
    r"|input token count|too many (?:input |prompt )?tokens|maximum prompt length"  # Gemini, xAI
    r"|input length (?:should|exceeds|must|is)|prompt exceeds|input tokens exceeds?"  # DashScope, Zhipu
    r"|exceed(?:s|ed)? the (?:model'?s )?max(?:imum)? (?:input |prompt )?"
    r"(?:length|tokens|number of tokens|sequence length|input)"
    r"|max(?:imum)? (?:input|sequence) length|reduce the length of"
    r"|inputs`? (?:tokens|must have less than)"  # TGI
    r"|超过.{0,20}(?:长度|上下文)|上下文.{0,10}超"
)
# A filter of the provider held the request back.
_FILTERED = _codes(
    """
    content_filter content_policy_violation ResponsibleAIPolicyViolation moderation_blocked invalid_prompt
    data_inspection_failed prohibited_content 1301 base_resp:1026 base_resp:1027
    """
)
_FILTERED_PHRASE = (
    r"content management policy|requires moderation"  # Azure, OpenRouter
    r"|\b(?:input|prompt|request|content|message|text)s? (?:was |were |is |are |has been |have been )?flagged"
    r"|violates? (?:the |our |their )?(?:usage|content|safety) (?:guidelines|polic)"  # xAI, with 403
    r"|(?:inappropriate|unsafe|sensitive|prohibited) content"  # DashScope, Zhipu
)
# The model wrote what is no call, or no JSON: Groq.
_OF_MODEL = _codes("tool_use_failed json_validate_failed")
# Plain HTTP at a port for TLS: nginx, Go, Tomcat, Google.
_TLS_PHRASE = (
    r"http request (?:was sent to|to an?) https\b|\b(?:tls|ssl|https) is required|host and port requires tls"
)
# No certificate of the client: nginx, with 400; Apache and Traefik in other words.
_CERTIFICATE_PHRASE = (
    r"no required ssl certificate|(?:client|ssl) certificate (?:error|(?:is |was )?(?:required|missing|not))"
)
# A server of one's own that has not read its model yet (llama.cpp, Hugging Face's).
_LOADING_PHRASE = r"\bloading (?:the )?model\b|\bmodel\b.{0,80}\b(?:loading|being loaded)\b"
# One that has no memory for it: Ollama, LM Studio.
_NO_ROOM_PHRASE = (
    r"more system memory|insufficient system (?:resources|memory)"
    r"|(?:failed|unable) to load (?:the )?model|runner process (?:has terminated|no longer running)"
)
# The version in the query of the URL, which Azure wants. A parameter may need a newer one than is used.
_VERSION_PHRASE = r"\bapi[- ]?versions?\b"
_NEWER_VERSION_PHRASE = rf"(?:only|requires?|needs?|later|newer|minimum)\b.{{0,80}}{_VERSION_PHRASE}"
# A request above a limit a minute, with 429 (OpenAI, Groq). No wait makes it fit.
_NEVER_FITS_PHRASE = r"request too large for|input or output tokens must be reduced"

# The provider may not answer where the user is: OpenAI, Anthropic; Gemini, with 400.
_BARRED_PHRASE = (
    r"\b(?:country|region|territory|location) (?:is )?not supported|not available in your (?:country|region)"
)

# The model is not known: many servers say so with 400, and some with 422.
_NO_MODEL = _codes(
    "model_not_found model_not_available model_not_exist ModelNotFound unknown_model invalid_model 1211 "
    "model_decommissioned"
)
_NO_MODEL_PHRASE = (
    r"no models? (?:is |are )?loaded|\bnot a valid model\b|\bno such model\b"
    r"|\bmodel (?:name|id|identifier) is invalid"  # Bedrock
    r"|\bmodels?\s+(?:\S+\s+)?(?:is |was |does |could )?not (?:be )?(?:found|exist|loaded)"
    r"|\b(?:invalid|unknown) model(?: name| id| identifier| passed| specified|\s*[:=,.]|\s*$)"
)

_BAD_KEY_PHRASE = (
    r"api[ _-]?key not valid|(?:incorrect|invalid|missing|no|wrong|expired) api[ _-]?key"
    r"|api[ _-]?key (?:is |was |has )?(?:missing|invalid|incorrect|expired|not found|not provided)"
)
_STALE_PHRASE = (
    r"\btoken (?:included in the request )?(?:is |was |has )?(?:invalid|expired)"
    r"|\b(?:invalid|expired) (?:access |auth |bearer |security )?token"
)

# HTTP status -> the codes that mean it. The first row with one of an error's codes counts, since `type` is
# often as vague as invalid_request_error.
_STATUS_OF_CODES = {
    401: _codes(
        """
        API_KEY_INVALID invalid_api_key incorrect_api_key incorrect_api_key_error invalid_key
        authentication_error auth_error invalid_authentication_error authentication_failed unauthenticated
        unauthorized invalid_credentials invalid_iam_token
        oauth.v2.InvalidApiKey oauth.v2.InvalidAccessToken 1000 1001 1002 1003 1004
        base_resp:1004 base_resp:2049
        """
    ),
    429: _codes(
        """
        rate_limit_exceeded rate_limit_error rate_limit rate_limited RateLimitReached quota_exceeded
        rate_limit_reached_error rate_limit_exceeded_error userRateLimitExceeded too_many_requests
        too_many_requests_error TooManyRequestsException RESOURCE_EXHAUSTED resource_unavailable
        REQUEST_LIMIT_EXCEEDED Throttling Throttled ThrottlingException throttling_error
        Throttling.RateQuota Throttling.BurstRate Throttling.AllocationQuota limit_requests
        limit_burst_rate service_tier_capacity_exceeded engine_overloaded_error 1302 1303 1304 1305
        policies.ratelimit.QuotaViolation policies.ratelimit.SpikeArrestViolation
        rpm_rate_limit_exceeded tpm_rate_limit_exceeded rpd_rate_limit_exceeded
        preemptible_rate_limit_exceeded
        base_resp:1002 base_resp:1039 base_resp:1041 base_resp:2056
        """
    ),
    503: _codes(
        """
        overloaded overloaded_error server_overloaded server_overloaded_error engine_overloaded
        model_overloaded model_overloaded_error service_overloaded UNAVAILABLE unavailable_error
        service_unavailable service_unavailable_error temporarily_unavailable busy server_busy
        server_is_busy system_busy capacity_exceeded capacity_error model_capacity_exceeded
        model_not_ready model_loading loading_model slow_down
        """
    ),
    403: _codes(
        "permission_denied permission_denied_error permission_error forbidden access_denied "
        "AccessDeniedException"
    ),
    404: _codes("model_not_found not_found_error not_found model_not_available model_not_exist"),
    408: _codes("request_timeout timeout_error timeout base_resp:1001"),
    504: _codes("deadline_exceeded gateway_timeout"),
    413: _codes("request_too_large payload_too_large request_entity_too_large"),
    400: _TOO_LONG
    | _codes(
        """
        invalid_request_error invalid_request invalid_argument invalid_parameter invalid_parameters
        bad_request BadRequestError validation validation_error unprocessable_entity failed_precondition
        invalid_prompt content_filter content_policy_violation data_inspection_failed
        1210 1211 1212 1213 1214 1215 1301 base_resp:1026 base_resp:1027 base_resp:2013
        """
    ),
}
# HTTP status -> words that mean it, in a message of an error inside 200 without status and code.
_STATUS_OF_PHRASES = {
    429: (
        r"too many (?:concurrent )?requests|\brate[ -]?limit"
        r"|(?:request|qps|rpm|tpm|concurrency|quota|usage) limits? (?:is |was |has been |have been )?"
        r"(?:exceeded|reached|hit)|^limit exceeded|请求过于频繁|限流|并发.{0,10}(?:超|过)"
    ),
    503: (
        r"\b(?:server|model|service|engine|system|backend|upstream)s? (?:is |are )?"
        r"(?:currently |temporarily |too ){0,2}(?:busy|overloaded|unavailable|at capacity|out of capacity)"
        r"|\boverloaded\b|capacity (?:is )?(?:temporarily |currently )?exceeded|no available capacity|繁忙"
    ),
    401: (
        rf"{_BAD_KEY_PHRASE}"
        r"|\b(?:not authenticated|unauthenticated|unauthorized|authentication (?:failed|error))\b"
        rf"|{_STALE_PHRASE}"
    ),
    504: r"(?:request|upstream|gateway) timed? ?out",
    400: rf"{_TOO_LONG_PHRASE}|{_FILTERED_PHRASE}",
    404: rf"unexpected endpoint or method|{_NO_MODEL_PHRASE}",  # the first one is LM Studio's
}
# These say it themselves. Servers that answer everything with 400 or 403, or that make up a status (418),
# may say better in a code.
_CLEAR_STATUSES = frozenset({401, 402, 404, 405, 407, 408, 409, 413, 422, 425, 429, 498})
_BETTER_BY_WORDS = frozenset({401, 429, 503})

_NAMES_MODEL = (
    r"(?<![/\w])models?\b(?!/v)|no endpoints found|serving endpoint|模型"
    r"|^function .{1,80} not found for account"  # NVIDIA, of a model
)
_NAMES_DEPLOYMENT = r"\b(?:deployment|engine)\b"
_NAMES_ROUTE = (
    r"(?:invalid|unknown|unexpected|unsupported|no such) (?:request )?(?:url|uri|endpoint|path|route)"
    r"|(?:url|uri|path|route|endpoint|page|file|handler|application)(?: \S{1,200}){0,3}? "
    r"(?:was |is |could |cannot |does )?(?:not (?:be )?(?:found|exist|match)|unknown)"
    r"|cannot (?:get|post)\b|no (?:route|handler|api|static resource|matching|application|such app)\b"
    r"|requested url|url\.not_found|routing error|not found on this server"
)
_NOTHING_BUT_NOT_FOUND = frozenset(
    {"notfound", "404notfound", "404", "resourcenotfound", "pagenotfound", "404pagenotfound", "error", ""}
)
_MAX_READ_CHARS = 4000  # of a message
_LONGEST_CODE = 60


def status_of(http_status: int, error: ServerError) -> int | None:
    """The HTTP status that an error counts as, None for an error inside 200 that says nothing known.

    It is 402 for all that money alone can mend, whatever the reply's status, and 413 for a request that
    no wait makes fit.
    """
    if _is_out_of_credit(error):
        return 402
    if http_status == 429 and _says(_NEVER_FITS_PHRASE, error):
        return 413
    if http_status < 300 and error.status is not None:
        http_status = error.status
    by_words = _status_by_words(error)
    if http_status < 300:
        return by_words or _status_by_phrase(error)
    if not 400 <= http_status < 500 or http_status in _CLEAR_STATUSES:
        return http_status
    if is_filtered(error):
        return 400  # OpenRouter and xAI say 403, as of a key without a right
    if by_words in _BETTER_BY_WORDS and (by_words, http_status) != (401, 403):
        return by_words
    # Gemini and xAI say 400 of a bad key, Databricks and Amazon 403.
    phrase = {400: _BAD_KEY_PHRASE, 403: _STALE_PHRASE}.get(http_status)
    return 401 if phrase is not None and _says(phrase, error) else http_status


def _is_out_of_credit(error: ServerError) -> bool:
    """Return True if only money helps."""
    if not _OUT_OF_CREDIT.isdisjoint(_squeezed_codes(error)):
        return True
    text = error.message.lower()
    if not any(word in text for word in _WORDS_OF_CREDIT):
        return False
    if _says(_OUT_OF_CREDIT_PHRASE, error):
        return True
    is_rate = error.delay_s is not None or _status_by_words(error) == 429
    return not is_rate and _says(_QUOTA_PHRASE, error)


def is_too_long(error: ServerError) -> bool:
    """Return True if the prompt does not fit into the context of the model."""
    if not _TOO_LONG.isdisjoint(_squeezed_codes(error)):
        return True
    return re.search(_TOO_LONG_PHRASE, error.message[:_MAX_READ_CHARS], re.IGNORECASE) is not None


def is_filtered(error: ServerError) -> bool:
    """Return True if a filter of the provider held the request back."""
    return not _FILTERED.isdisjoint(_squeezed_codes(error)) or _says(_FILTERED_PHRASE, error)


def is_of_model(error: ServerError) -> bool:
    """Return True if the model failed, as it may not do if it is asked again."""
    return not _OF_MODEL.isdisjoint(_squeezed_codes(error))


def has_unknown_model(error: ServerError) -> bool:
    """Return True if the server does not know the model."""
    return not _NO_MODEL.isdisjoint(_squeezed_codes(error)) or _says(_NO_MODEL_PHRASE, error)


def is_barred(error: ServerError) -> bool:
    """Return True if the provider does not serve the place that the request comes from."""
    return _says(_BARRED_PHRASE, error)


def wants_tls(error: ServerError) -> bool:
    """Return True if the server wants TLS where it got plain HTTP."""
    return _says(_TLS_PHRASE, error)


def is_loading(error: ServerError) -> bool:
    """Return True if the server has not loaded its model yet."""
    return _says(_LOADING_PHRASE, error)


def cannot_load(error: ServerError) -> bool:
    """Return True if the server cannot load its model, nearly always for lack of memory."""
    return _says(_NO_ROOM_PHRASE, error)


def wants_certificate(error: ServerError) -> bool:
    """Return True if the server wants a certificate of the client, or another one."""
    return _says(_CERTIFICATE_PHRASE, error)


def is_about_version(error: ServerError) -> bool:
    """Return True if the version of the API is wrong or missing, or too old for what is asked."""
    if any("apiversion" in _squeeze(code) for code in error.codes):
        return True
    return _says(_VERSION_PHRASE, error) and not _says(_NAMES_MODEL, error)  # Gemini names both


def wants_newer_version(error: ServerError) -> bool:
    """Return True if an error about the version is about a part of the request that needs a newer one."""
    return _says(_NEWER_VERSION_PHRASE, error)


def is_about_route(error: ServerError, *, is_wrapped: bool) -> bool:
    """Return True if a 404 is about the path, False if it is about a model or another thing of the API.

    is_wrapped: the error has the shape of the API, an object under `error`. It decides where the words
    are silent.
    """
    codes = {_squeeze(code) for code in error.codes}
    if any("model" in code or "deployment" in code for code in codes):
        return False
    text = error.message[:_MAX_READ_CHARS]
    if re.search(_NAMES_MODEL, text, re.IGNORECASE):
        return False
    if is_wrapped and re.search(_NAMES_DEPLOYMENT, text, re.IGNORECASE):
        return False
    if re.search(_NAMES_ROUTE, text, re.IGNORECASE) or any("url" in c or "route" in c for c in codes):
        return True
    is_silent = text.startswith("{") or _squeeze(text[:_LONGEST_CODE]) in _NOTHING_BUT_NOT_FOUND
    return is_silent or not is_wrapped


def _status_by_words(error: ServerError) -> int | None:
    codes = _squeezed_codes(error)
    return next((status for status, known in _STATUS_OF_CODES.items() if not known.isdisjoint(codes)), None)


def _status_by_phrase(error: ServerError) -> int | None:
    return next((status for status, phrase in _STATUS_OF_PHRASES.items() if _says(phrase, error)), None)


def _squeezed_codes(error: ServerError) -> set[str]:
    """The codes of an error, and its message if it is as short as one: "Too Many Requests"."""
    codes = {_squeeze(code) for code in error.codes if len(code) <= _LONGEST_CODE}
    if len(error.message) <= _LONGEST_CODE:
        codes.add(_squeeze(error.message))
    return codes


def _says(phrase: str, error: ServerError) -> bool:
    """Return True if an error's own words match. What it quotes may be the user's."""
    text = re.sub(r"""(?<!\w)(['"`])[^'"`]{0,500}\1(?!\w)""", " ", error.message[:_MAX_READ_CHARS])
    return re.search(phrase, text, re.IGNORECASE) is not None
