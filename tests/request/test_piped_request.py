"""What is meant by a text on standard input that is a request."""

from __future__ import annotations

from chatpipe.request.piped_request import meant_option
from support.parametrize import cases

MESSAGE = '{"role":"user","content":"q"}'
BODY = f'{{"model":"m","messages":[{MESSAGE}]}}'
LINE = f'{{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{BODY}}}'
REQUEST = "stdin is a request, sent as a prompt: -r - sends what it asks"
REQUESTS = "stdin has requests, sent as a prompt: chatpipe batch sends each"
MESSAGES = "stdin has messages, sent as a prompt: --messages - sends them as a conversation"


@cases(
    ("text", "said"),
    {
        "body": (BODY, REQUEST),
        "body without a model": (f'{{"messages":[{MESSAGE}]}}', REQUEST),
        "body on several lines": (BODY.replace(",", ",\n"), REQUEST),
        "bodies": (f"{BODY}\n{BODY}", REQUESTS),
        "bodies, the second broken": (f"{BODY}\n{{", REQUESTS),
        "an array of bodies": (f"[{BODY}]", REQUESTS),
        "Batch line": (LINE, REQUESTS),
        "Batch lines": (f"{LINE}\n{LINE}", REQUESTS),
        "message": (MESSAGE, MESSAGES),
        "messages": (f"{MESSAGE}\n{MESSAGE}", MESSAGES),
        "an array of messages": (f"[\n{MESSAGE}\n]", MESSAGES),
        "rows": ('{"prompt":"q"}\n{"prompt":"q"}', ""),
        "messages of another kind": ('{"messages":3}', ""),
        "other JSON": ('{"a":1}', ""),
        "strings": ('["a"]', ""),
        "nothing in it": ("[]", ""),
        "broken": ('{"messages":[', ""),
        "text behind": (f"{{}} {BODY}", ""),
        "a lone surrogate": ('{"messages":["\\ud800"]}', REQUEST),
    },
)
def test_what_is_meant(text: str, said: str) -> None:
    assert meant_option(text) == said
