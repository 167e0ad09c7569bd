"""Every format for every kind of answer, whole and streamed: the bytes on stdout, and what goes aside."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import orjson
import pytest

from chatpipe.errors import UsageFault
from chatpipe.options.output import ANSWER_FORMATS, FormatOptions
from chatpipe.output.formats import create_writer, decide_stream
from chatpipe.response.assemble import Assembly
from output.collected import Sink
from support.parametrize import cases
from support.refusals import refused

Json = dict[str, Any]


class Out(NamedTuple):
    stdout: str
    aside: str


def played(
    payloads: list[bytes], completion: Json | None, body: bytes | None, format: str, **printing: Any
) -> Out:
    """What a writer makes of chunks and then of the end; without a completion that of the chunks."""
    sink, aside = Sink(), list[str]()
    made = create_writer(FormatOptions(format=format, **printing), sink, aside.append)
    assembly = Assembly()
    for payload in payloads:
        made.raw(b"data: " + payload + b"\n\n")
        chunk = orjson.loads(payload)
        made.chunk(payload, chunk)
        assembly.add(chunk)
    made.end(assembly.completion() if completion is None else completion, body)
    return Out(sink.data.decode("utf-8", "surrogateescape"), "".join(aside))


def whole(body: str, format: str, **printing: Any) -> Out:
    return played([], orjson.loads(body), body.encode(), format, **printing)


def streamed(events: list[str], format: str, **printing: Any) -> Out:
    return played([event.encode() for event in events], None, None, format, **printing)


def event(*choices: str, **fields: Any) -> str:
    more = "".join(
        f",{orjson.dumps(name).decode()}:{orjson.dumps(value).decode()}" for name, value in fields.items()
    )
    start = '{"id":"c1","object":"chat.completion.chunk","model":"m"'
    return f'{start},"choices":[{",".join(choices)}]{more}}}'


def delta(fields: str, index: int = 0, finish: str | None = None, more: str = "") -> str:
    reason = f'"{finish}"' if finish else "null"
    return f'{{"index":{index},"delta":{fields},"finish_reason":{reason}{more}}}'


def piece(fields: str, index: int = 0, finish: str | None = None, more: str = "") -> str:
    """An event of one delta."""
    return event(delta(fields, index, finish, more))


def body(*choices: str, more: str = "") -> str:
    return f'{{"id":"c1","object":"chat.completion","model":"m","choices":[{",".join(choices)}]{more}}}'


def choice(message: str, index: int = 0, finish: str = "stop", logprobs: str = "null") -> str:
    """The keys in the order in which a folded stream has them."""
    return f'{{"index":{index},"message":{message},"logprobs":{logprobs},"finish_reason":"{finish}"}}'


def message(content: str, more: str = "") -> str:
    return f'{{"role":"assistant","content":{content},"refusal":null{more}}}'


class Case(NamedTuple):
    """One answer as a server sends it in one piece and as a stream, and each format's stdout."""

    whole: str
    events: list[str]
    expected: dict[str, str]


def case(whole: str, events: list[str], string: str, message: str, **others: str) -> Case:
    """string and message are the lines of these formats; json is the answer as it came.

    No answer has a code block, so that code is the text.
    """
    no_more = {"text": "", "tool-calls": "", "logprobs": "", "usage": NO_COUNTS}
    given = {name.replace("_", "-"): text for name, text in others.items()}
    lines = {"string": string + "\n", "json": whole + "\n", "message": message + "\n"}
    code = {"code": given.get("text", "")}
    return Case(whole, events, {**no_more, **lines, **code, **given})


NO_COUNTS = '{"model":"m","prompt_tokens":null,"completion_tokens":null,"total_tokens":null}\n'
USAGE = ',"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5,"details":{"x":1}}'
TOKENS = (
    '{"content":[{"token":"h","logprob":-0.5,"bytes":[104],"top_logprobs":'
    '[{"token":"h","logprob":-0.5,"bytes":null},{"token":"\\t\\n","logprob":-9999.0,"bytes":null}]},'
    '{"token":"ä","logprob":-1,"bytes":null,"top_logprobs":[]}]}'
)
CALL = '{"id":"k1","type":"function","function":{"name":"f","arguments":"{\\"a\\": [1, 2.50]}"}}'
BROKEN = '{"id":"k2","type":"function","function":{"name":"g","arguments":"{\\"a\\":"}}'
CUSTOM = '{"id":"k3","type":"custom","custom":{"name":"c","input":"5"}}'

PLAIN = body(choice(message('"hi ä"')), more=USAGE)
TWO = body(choice(message('"a\\n"')), choice(message('"b"'), 1))
CALLS = body(choice(message("null", f',"tool_calls":[{CALL},{BROKEN},{CUSTOM}]'), finish="tool_calls"))
LEGACY = body(
    choice(message("null", ',"function_call":{"name":"f","arguments":"{}"}'), finish="function_call")
)
REFUSAL = body(choice('{"role":"assistant","content":null,"refusal":"No, sorry."}'))
REASONING = body(choice(message('"42"', ',"reasoning_content":"Six times seven."')))
WITH_LOGPROBS = body(choice(message('"hä"'), logprobs=TOKENS))
NULL = body(choice(message("null")))
EMPTY = body(choice(message('""')))
SEVERAL_LINES = body(choice(message('"a\\nb\\n\\n"')))

CASES = {
    "plain": case(
        PLAIN,
        [
            piece('{"role":"assistant","content":""}'),
            piece('{"content":"hi "}'),
            piece('{"content":"ä"}'),
            piece("{}", finish="stop"),
            event(
                usage={"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5, "details": {"x": 1}},
            ),
        ],
        '"hi ä"',
        '{"role":"assistant","content":"hi ä","refusal":null}',
        text="hi ä\n",
        usage='{"model":"m","prompt_tokens":3,"completion_tokens":2,"total_tokens":5,"details":{"x":1}}\n',
    ),
    "two choices": case(
        TWO,
        [
            event(delta('{"role":"assistant","content":"a"}'), delta('{"role":"assistant","content":""}', 1)),
            piece('{"content":"b"}', 1),
            piece('{"content":"\\n"}'),
            piece("{}", 1, "stop"),
            piece("{}", finish="stop"),
        ],
        '"a\\n"\n"b"',
        '{"role":"assistant","content":"a\\n","refusal":null}\n'
        '{"role":"assistant","content":"b","refusal":null}',
        text="a\nb\n",
    ),
    "tool calls": case(
        CALLS,
        [
            piece(
                '{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"k1","type":"function",'
                '"function":{"name":"f","arguments":""}}]}'
            ),
            piece('{"tool_calls":[{"index":0,"function":{"arguments":"{\\"a\\": [1,"}}]}'),
            piece('{"tool_calls":[{"index":0,"function":{"arguments":" 2.50]}"}}]}'),
            piece(
                '{"tool_calls":[{"index":1,"id":"k2","type":"function",'
                '"function":{"name":"g","arguments":"{\\"a\\":"}}]}'
            ),
            piece('{"tool_calls":[{"index":2,"id":"k3","type":"custom","custom":{"name":"c","input":"5"}}]}'),
            piece("{}", finish="tool_calls"),
        ],
        "null",
        message("null", f',"tool_calls":[{CALL},{BROKEN},{CUSTOM}]'),
        tool_calls=(
            '{"id":"k1","name":"f","arguments":{"a":[1,2.5]}}\n'
            '{"id":"k2","name":"g","raw":"{\\"a\\":"}\n'
            '{"id":"k3","name":"c","raw":"5"}\n'
        ),
    ),
    "legacy function call": case(
        LEGACY,
        [
            piece('{"role":"assistant","content":null,"function_call":{"name":"f","arguments":""}}'),
            piece('{"function_call":{"arguments":"{}"}}'),
            piece("{}", finish="function_call"),
        ],
        "null",
        message("null", ',"function_call":{"name":"f","arguments":"{}"}'),
        tool_calls='{"id":null,"name":"f","arguments":{}}\n',
    ),
    "refusal": case(
        REFUSAL,
        [
            piece('{"role":"assistant","content":null,"refusal":"No,"}'),
            piece('{"refusal":" sorry."}'),
            piece("{}", finish="stop"),
        ],
        "null",
        '{"role":"assistant","content":null,"refusal":"No, sorry."}',
    ),
    "reasoning": case(
        REASONING,
        [
            piece('{"role":"assistant","content":null,"reasoning_content":"Six times"}'),
            piece('{"content":null,"reasoning_content":" seven."}'),
            piece('{"content":"42","reasoning_content":null}'),
            piece("{}", finish="stop"),
        ],
        '"42"',
        message('"42"', ',"reasoning_content":"Six times seven."'),
        text="42\n",
    ),
    "logprobs": case(
        WITH_LOGPROBS,
        [
            piece(
                '{"role":"assistant","content":"h"}',
                more=',"logprobs":{"content":[{"token":"h","logprob":-0.5,"bytes":[104],"top_logprobs":'
                '[{"token":"h","logprob":-0.5,"bytes":null},'
                '{"token":"\\t\\n","logprob":-9999.0,"bytes":null}]}]}',
            ),
            piece(
                '{"content":"ä"}',
                more=',"logprobs":{"content":[{"token":"ä","logprob":-1,"bytes":null,"top_logprobs":[]}]}',
            ),
            piece("{}", finish="stop", more=',"logprobs":null'),
        ],
        '"hä"',
        message('"hä"'),
        text="hä\n",
        logprobs='0\t0\t"h"\t-0.5\t"h"\t-0.5\t"\\t\\n"\t-9999.0\n0\t1\t"ä"\t-1\n',
    ),
    "null content": case(
        NULL,
        [piece('{"role":"assistant","content":null}'), piece("{}", finish="stop")],
        "null",
        message("null"),
    ),
    "empty content": case(
        EMPTY,
        [piece('{"role":"assistant","content":""}'), piece("{}", finish="stop")],
        '""',
        message('""'),
    ),
    "several lines": case(
        SEVERAL_LINES,
        [piece('{"role":"assistant","content":"a\\nb"}'), piece('{"content":"\\n\\n"}', finish="stop")],
        '"a\\nb\\n\\n"',
        message('"a\\nb\\n\\n"'),
        text="a\nb\n\n",
    ),
}
EACH = pytest.mark.parametrize(
    ("case", "format", "stdout"),
    [
        pytest.param(case, format, stdout, id=f"{name}: {format}")
        for name, case in CASES.items()
        for format, stdout in case.expected.items()
    ],
)


@EACH
def test_each_format_writes_a_whole_answer(case: Case, format: str, stdout: str) -> None:
    assert whole(case.whole, format).stdout == stdout


@EACH
def test_streamed_answer_gives_the_same(case: Case, format: str, stdout: str) -> None:
    assert streamed(case.events, format).stdout == stdout


def test_every_format_is_covered() -> None:
    for case in CASES.values():
        assert set(case.expected) | {"chunks", "sse", "audio"} == set(ANSWER_FORMATS)  # audio: test_audio.py


@pytest.mark.parametrize("name", CASES)
def test_chunks_and_events_are_handed_on_as_they_came(name: str) -> None:
    events = CASES[name].events
    assert streamed(events, "chunks").stdout == "".join(each + "\n" for each in events)
    assert streamed(events, "sse").stdout == "".join(f"data: {each}\n\n" for each in events)


@pytest.mark.parametrize("name", CASES)
def test_whole_answer_is_the_only_chunk_and_the_only_event(name: str) -> None:
    text = CASES[name].whole
    assert whole(text, "chunks").stdout == text + "\n"
    assert whole(text, "sse").stdout == f"data: {text}\n\ndata: [DONE]\n\n"


# When it is written


def test_text_of_choice_0_comes_piece_by_piece_and_the_others_wait() -> None:
    sink = Sink()
    made = create_writer(FormatOptions(), sink, lambda text: None)
    seen = []
    assembly = Assembly()
    for each in CASES["two choices"].events:
        chunk = orjson.loads(each)
        made.chunk(each.encode(), chunk)
        assembly.add(chunk)
        seen.append(sink.data)
    assert seen == [b"a", b"a", b"a\n", b"a\n", b"a\n"]
    made.end(assembly.completion(), None)
    assert sink.data == b"a\nb\n"


@pytest.mark.parametrize("format", ["string", "json", "message", "tool-calls", "logprobs", "usage", "code"])
def test_other_formats_write_once_at_the_end(format: str) -> None:
    sink = Sink()
    made = create_writer(FormatOptions(format=format), sink, lambda text: None)
    for each in CASES["plain"].events:
        made.raw(each.encode())
        made.chunk(each.encode(), orjson.loads(each))
    assert sink.data == b""
    made.end(orjson.loads(PLAIN), None)
    assert len(sink.pieces) == 1


@pytest.mark.parametrize("format", ["chunks", "sse"])
def test_each_chunk_is_one_write(format: str) -> None:
    """Several commands may append to one file."""
    sink = Sink()
    made = create_writer(FormatOptions(format=format), sink, lambda text: None)
    for each in CASES["plain"].events:
        made.raw(b"data: " + each.encode() + b"\n\n")
        made.chunk(each.encode(), orjson.loads(each))
    assert len(sink.pieces) == len(CASES["plain"].events)


# Audio, where its words stand in for text


SPOKEN = body(
    choice('{"role":"assistant","content":null,"audio":{"id":"a","data":"AAEC","transcript":"Hi."}}')
)
SPOKEN_EVENTS = [
    piece('{"role":"assistant","content":null,"audio":{"id":"a","transcript":"Hi"}}'),
    piece('{"audio":{"data":"AAEC"}}'),
    piece('{"audio":{"transcript":"."}}'),
    piece('{"audio":{"expires_at":5}}'),
    piece("{}", finish="stop"),
]


@pytest.mark.parametrize(("format", "stdout"), [("text", "Hi.\n"), ("string", '"Hi."\n')])
def test_the_words_of_audio_are_its_text(format: str, stdout: str) -> None:
    assert whole(SPOKEN, format) == (stdout, "")
    assert streamed(SPOKEN_EVENTS, format) == (stdout, "")


@cases(
    ("fields", "stdout"),
    {
        "text comes first": ('{"content":"Text.","audio":{"transcript":"Hi."}}', '"Text."\n'),
        "an empty text": ('{"content":"","audio":{"transcript":"Hi."}}', '"Hi."\n'),
        "no parts": ('{"content":[],"audio":{"transcript":"Hi."}}', '"Hi."\n'),
        "no words": ('{"content":"","audio":{"transcript":5}}', '""\n'),
        "no audio": ('{"content":null,"audio":null}', "null\n"),
        "audio that is no object": ('{"content":null,"audio":"x"}', "null\n"),
    },
)
def test_words_of_audio_stand_in_for_missing_text_only(fields: str, stdout: str) -> None:
    assert whole(body(choice(fields)), "string").stdout == stdout


# Line ends


@cases(
    ("contents", "plain", "null"),
    {
        "a newline is added": (["a"], "a\n", "a\0"),
        "not a second one": (["a\n"], "a\n", "a\n\0"),
        "nor one of two taken away": (["a\n\n"], "a\n\n", "a\n\n\0"),
        "a newline alone": (["\n"], "\n", "\n\0"),
        "CRLF": (["a\r\n"], "a\r\n", "a\r\n\0"),
        "a NUL in the content stays": (["a\0"], "a\0\n", "a\0\0"),
        "U+2028 is no line end": (["a\u2028"], "a\u2028\n", "a\u2028\0"),
        "two": (["a", "b\n"], "a\nb\n", "a\0b\n\0"),
        "one of three is empty: it has its line": (["a", None, "c"], "a\n\nc\n", "a\0\0c\0"),
        "the first is empty": ([None, "b"], "\nb\n", "\0b\0"),
    },
)
def test_each_text_ends_in_one_newline_or_nul(contents: list[str | None], plain: str, null: str) -> None:
    choices = [
        choice(message(orjson.dumps(content).decode()), index) for index, content in enumerate(contents)
    ]
    events = [
        piece(f'{{"content":{orjson.dumps(content).decode()}}}', index, "stop")
        for index, content in enumerate(contents)
    ]
    assert whole(body(*choices), "text").stdout == plain
    assert whole(body(*choices), "text", null=True).stdout == null
    assert streamed(events, "text").stdout == plain
    assert streamed(events, "text", null=True).stdout == null


# Code


FENCED = "Run:\n\n```sh\nls\n```\nor\n```\npwd\n```"


@cases(
    ("contents", "plain", "null"),
    {
        "the first block": ([FENCED], "ls\n", "ls\n\0"),
        "a newline is added": (["```\nls"], "ls\n", "ls\0"),
        "of each choice": ([FENCED, "~~~\npwd"], "ls\npwd\n", "ls\n\0pwd\0"),
        "an empty block": (["```\n```"], "", ""),
        "an empty block of two": (["```\n```", "```\na\n```"], "\na\n", "\0a\n\0"),
        "no block": (["Run ls."], "Run ls.\n", "Run ls.\0"),
        "half a character": (["```\n\ud83d\ude00 \ud83d\n```"], "😀 \ufffd\n", "😀 \ufffd\n\0"),
    },
)
def test_code_is_the_first_block_of_each_text(contents: list[str], plain: str, null: str) -> None:
    choices = [choice(message(json.dumps(content)), index) for index, content in enumerate(contents)]
    completion = {"choices": [json.loads(each) for each in choices]}
    assert played([], completion, b"", "code").stdout == plain
    assert played([], completion, b"", "code", null=True).stdout == null


def test_a_refusal_beside_code_goes_aside() -> None:
    refused = body(choice('{"role":"assistant","content":"```\\na\\n```","refusal":"No more."}'))
    assert whole(refused, "code") == ("a\n", "No more.\n")


PRETTY = (
    '\ufeff\n{\r\n  "id": "c1",\r\n  "model": "m",\n  "choices": [],\n'
    '  "a": "x\\ny\u2028z",  "n": 1.50\n}\n\n'
)
ONE_LINE = '{    "id": "c1",    "model": "m",   "choices": [],   "a": "x\\ny\u2028z",  "n": 1.50 }'


@pytest.mark.parametrize(
    ("format", "stdout"),
    [
        ("json", f"{ONE_LINE}\n"),
        ("chunks", f"{ONE_LINE}\n"),
        ("sse", f"data: {ONE_LINE}\n\ndata: [DONE]\n\n"),
    ],
)
def test_pretty_printed_body_is_one_line_with_every_other_byte_as_it_came(format: str, stdout: str) -> None:
    completion = orjson.loads(PRETTY.removeprefix("\ufeff"))
    assert played([], completion, PRETTY.encode(), format).stdout == stdout


def test_event_of_several_lines_is_one_chunk_line() -> None:
    payload = b'{"id":"c1",\n"choices":\r\n[]}'
    assert played([payload], None, None, "chunks").stdout == '{"id":"c1", "choices":  []}\n'


# Lone surrogates: half of a character that never came whole


HALF = body(choice(message('"a\\ud83d"')))


@pytest.mark.parametrize(
    ("format", "stdout"),
    [
        ("text", "a\ufffd\n"),
        ("string", '"a\\ud83d"\n'),
        ("json", HALF + "\n"),
        ("message", '{"role":"assistant","content":"a\\ud83d","refusal":null}\n'),
    ],
)
def test_a_lone_surrogate_is_replaced_in_text_only(format: str, stdout: str) -> None:
    completion = {"choices": [{"message": {"role": "assistant", "content": "a\ud83d", "refusal": None}}]}
    assert played([], completion, HALF.encode(), format).stdout == stdout


# Reasoning and refusals


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
@pytest.mark.parametrize(
    ("reasoning", "stdout", "aside"),
    [("drop", "42\n", ""), ("stderr", "42\n", "Six times seven.\n"), ("only", "Six times seven.\n", "")],
)
def test_reasoning_never_mixes_with_content(field: str, reasoning: str, stdout: str, aside: str) -> None:
    case = CASES["reasoning"]
    text = case.whole.replace("reasoning_content", field)
    events = [each.replace("reasoning_content", field) for each in case.events]
    assert whole(text, "text", reasoning=reasoning) == (stdout, aside)
    assert streamed(events, "text", reasoning=reasoning) == (stdout, aside)


@cases(
    ("deltas", "written"),
    {
        "content follows": (
            [{"reasoning": "a"}, {"reasoning": "b"}, {"content": "1"}, {"content": "2"}],
            "a b | 1 2 |",
        ),
        "in one piece": ([{"reasoning": "a", "content": "1"}], "a | 1 |"),
        "its own newline": ([{"reasoning": "a|"}, {"content": "1"}], "a| 1 |"),
        "between the content": ([{"content": "1"}, {"reasoning": "a"}, {"content": "2"}], "1 a | 2 |"),
        "alone": ([{"reasoning": "a"}], "a |"),
        "empty content does not end it": ([{"reasoning": "a", "content": ""}, {"reasoning": "b"}], "a b |"),
    },
)
def test_reasoning_ends_its_line_before_the_content(deltas: list[dict[str, str]], written: str) -> None:
    """On a terminal both are on the screen. `|` is a newline here."""
    screen: list[str] = []

    class Screen(Sink):
        def write(self, data: bytes) -> None:
            screen.append(data.decode())

    made = create_writer(FormatOptions("text", reasoning="stderr"), Screen(), screen.append)
    assembly = Assembly()
    for delta in deltas:
        given = json.loads(json.dumps({"choices": [{"index": 0, "delta": delta}]}).replace("|", "\\n"))
        made.chunk(b"", given)
        assembly.add(given)
    made.end(assembly.completion(), None)
    assert " ".join(filter(None, screen)).replace("\n", "|") == written


def test_reasoning_alone_can_be_a_string() -> None:
    assert whole(REASONING, "string", reasoning="only").stdout == '"Six times seven."\n'
    assert streamed(CASES["reasoning"].events, "string", reasoning="only").stdout == '"Six times seven."\n'


@pytest.mark.parametrize(
    ("reasoning", "stdout", "aside"),
    [("drop", "yes\n", ""), ("stderr", "yes\n", "hm\n"), ("only", "hm\n", "")],
)
def test_reasoning_and_text_that_come_as_parts(reasoning: str, stdout: str, aside: str) -> None:
    """Mistral's models that reason stream lists of parts: thinking, then text."""
    events = [
        piece('{"role":"assistant","content":""}'),
        piece('{"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]}]}'),
        piece('{"content":[{"type":"text","text":"y"}]}'),
        piece('{"content":"es"}', finish="stop"),
    ]
    assert streamed(events, "text", reasoning=reasoning) == (stdout, aside)


def test_refusal_goes_aside() -> None:
    assert whole(REFUSAL, "text") == ("", "No, sorry.\n")
    assert streamed(CASES["refusal"].events, "text") == ("", "No, sorry.\n")
    assert whole(REFUSAL, "string") == ("null\n", "")


# What servers send besides


def test_parts_in_a_whole_answer_are_joined() -> None:
    text = body(choice(message('[{"type":"text","text":"a"},{"type":"image"},5,{"type":"text","text":"b"}]')))
    assert whole(text, "text").stdout == "ab\n"
    assert whole(text, "string").stdout == '"ab"\n'


@cases(
    ("arguments", "line"),
    {
        "none, as an empty string": ('""', '{"id":"k","name":"f","arguments":{}}'),
        "null": ("null", '{"id":"k","name":"f","arguments":{}}'),
        "an array": ('"[1]"', '{"id":"k","name":"f","arguments":[1]}'),
        "the object itself": ('{"a":1}', '{"id":"k","name":"f","arguments":{"a":1}}'),
        "NaN is not JSON": ('"{\\"a\\":NaN}"', '{"id":"k","name":"f","raw":"{\\"a\\":NaN}"}'),
        "two values": ('"{} {}"', '{"id":"k","name":"f","raw":"{} {}"}'),
        "a number": ("5", '{"id":"k","name":"f","raw":5}'),
        "every digit of a long id": (
            '"{\\"id\\":123456789012345678901}"',
            '{"id":"k","name":"f","arguments":{"id":123456789012345678901}}',
        ),
    },
)
def test_arguments_of_a_call_are_parsed_where_they_are_json(arguments: str, line: str) -> None:
    call = f'{{"id":"k","type":"function","function":{{"name":"f","arguments":{arguments}}}}}'
    text = body(choice(message("null", f',"tool_calls":[{call}]')))
    assert whole(text, "tool-calls").stdout == line + "\n"


@pytest.mark.parametrize("calls", ["[]", "[null]", '"f"', "5"])
def test_a_message_without_a_call_has_no_list_of_calls(calls: str) -> None:
    """OpenAI answers 400 to an empty list."""
    text = body(choice(message('"a"', f',"tool_calls":{calls}')))
    assert "tool_calls" not in whole(text, "message").stdout


@cases(
    ("logprobs", "rows"),
    {
        "with alternatives": (
            '{"tokens":["h","\\t"],"token_logprobs":[-0.5,null],"top_logprobs":[{"h":-0.5,"j":-2},null]}',
            '0\t0\t"h"\t-0.5\t"h"\t-0.5\t"j"\t-2\n0\t1\t"\\t"\tnull\n',
        ),
        "without": ('{"tokens":["h"],"token_logprobs":[-1],"token_ids":[5]}', '0\t0\t"h"\t-1\n'),
        "lists of other lengths": (
            '{"tokens":["h"],"token_logprobs":[],"top_logprobs":[1,2]}',
            '0\t0\t"h"\tnull\n',
        ),
    },
)
def test_logprobs_in_parallel_lists(logprobs: str, rows: str) -> None:
    assert whole(body(choice(message('"a"'), logprobs=logprobs)), "logprobs").stdout == rows


def test_logprobs_of_a_refusal_follow_and_of_each_choice() -> None:
    tokens = (
        '{"content":[{"token":"a","logprob":-1}],"refusal":[{"token":"b","logprob":-2,"top_logprobs":null}]}'
    )
    text = body(choice(message('"a"'), logprobs=tokens), choice(message('"a"'), 1, logprobs=tokens))
    assert whole(text, "logprobs").stdout == '0\t0\t"a"\t-1\n0\t1\t"b"\t-2\n1\t0\t"a"\t-1\n1\t1\t"b"\t-2\n'


@cases(
    ("usage", "line"),
    {
        "null": (',"usage":null', NO_COUNTS),
        "no object": (',"usage":5', NO_COUNTS),
        "in part": (
            ',"usage":{"cost":0.1,"total_tokens":5}',
            '{"model":"m","prompt_tokens":null,"completion_tokens":null,"total_tokens":5,"cost":0.1}\n',
        ),
    },
)
def test_missing_counts_of_usage_are_null(usage: str, line: str) -> None:
    assert whole(body(more=usage), "usage").stdout == line


@cases(
    ("sent", "written"),
    {
        "0": ("0", "0"),
        "the largest count": ("999999999999999", "999999999999999"),
        "more than any answer has": ("1000000000000000", "null"),
        "beyond 64 bits": ("123456789012345678901234567890", "null"),
        "below 0": ("-3", "null"),
        "a whole float": ("5.0", "5"),
        "a part of a token": ("1.5", "2"),
        "as text": ('"7"', "7"),
        "0 as text": ('"0"', "0"),
        "no number": ("true", "null"),
        "an object": ("{}", "null"),
    },
)
def test_a_number_that_is_no_count_is_null_and_never_0(sent: str, written: str) -> None:
    text = body(more=f',"usage":{{"completion_tokens":{sent},"total_tokens":2000000000000000}}')
    line = whole(text, "usage").stdout
    assert json.loads(line)["prompt_tokens"] is None
    assert f'"completion_tokens":{written},' in line


@pytest.mark.parametrize("number", ["0", "-3", "1.5", "123456789012345678901234567890", "1e-400"])
def test_other_numbers_are_written_as_they_came(number: str) -> None:
    assert f'"created":{number},' in whole(body(more=f',"created":{number},"x":1'), "json").stdout


ODD = {
    "choices a number": '{"choices":5}',
    "choices an object": '{"choices":{"a":1}}',
    "no choices": '{"choices":[5,null,"x",[]]}',
    "a string for a message": '{"choices":[{"index":0,"delta":"x","message":"x"}]}',
    "numbers for all fields": '{"choices":[{"index":0,"delta":{"content":5,"tool_calls":5,"reasoning":5},'
    '"message":{"content":5,"tool_calls":5,"function_call":5,"refusal":5}}]}',
    "odd calls": '{"choices":[{"index":0,"message":{"tool_calls":[5,{"function":"x"},{"custom":"x"},'
    '{"type":"custom"},{"function":{"arguments":[]}}]}}]}',
    "odd log probabilities": '{"choices":[{"index":0,"logprobs":{"content":5},"message":{}},'
    '{"index":"x","logprobs":{"content":[5,{"top_logprobs":[5]},{"top_logprobs":5}]},"message":{}}]}',
    "odd at the top": '{"usage":[],"model":{},"choices":null}',
}


@cases("text", ODD)
@pytest.mark.parametrize("format", ANSWER_FORMATS)
def test_nothing_a_server_sends_stops_a_writer(format: str, text: str) -> None:
    """An answer that was paid for is not thrown away for a field of an odd type."""
    whole(text, format)
    streamed([text], format)


def test_whole_answer_on_a_second_try_is_written_though_a_first_one_streamed() -> None:
    """The first try was cut before anything was written; the second came in one piece."""
    first = piece('{"role":"assistant","content":""}').encode()
    text = body(choice(message('"hi"')))
    assert played([first], orjson.loads(text), text.encode(), "text").stdout == "hi\n"


def test_whole_completion_as_an_event_is_written() -> None:
    assert streamed([body(choice(message('"hi"')))], "text").stdout == "hi\n"


# Whether to stream


@pytest.mark.parametrize(
    ("stream", "format", "decided"),
    [
        (None, "text", True),
        (None, "chunks", True),
        (None, "sse", True),
        (None, "json", None),
        (None, "string", None),
        (None, "message", None),
        (None, "tool-calls", None),
        (None, "logprobs", None),
        (None, "usage", None),
        (False, "text", False),
        (True, "json", True),
        (False, "json", False),
        (True, "chunks", True),
    ],
)
def test_the_format_decides_on_a_stream_where_the_body_does_not(
    stream: bool | None, format: str, decided: bool | None
) -> None:
    given: Json = {} if stream is None else {"stream": stream}
    decide_stream(given, FormatOptions(format=format))
    assert given == ({} if decided is None else {"stream": decided})


def test_null_decides_nothing() -> None:
    given: Json = {"stream": None}
    decide_stream(given, FormatOptions())
    assert given == {"stream": True}


@pytest.mark.parametrize("format", ["chunks", "sse"])
def test_chunks_without_a_stream_are_2(format: str) -> None:
    with refused(UsageFault, what=f"format '{format}' needs a stream"):
        decide_stream({"stream": False}, FormatOptions(format=format))


@cases(
    ("given", "options"),
    {
        "asked for": ({"stream": True}, {"include_usage": True}),
        "also when the format decides": ({}, {"include_usage": True}),
        "beside others": (
            {"stream_options": {"include_obfuscation": False}},
            {"include_usage": True, "include_obfuscation": False},
        ),
        "not against a no": ({"stream_options": {"include_usage": False}}, {"include_usage": False}),
        "null": ({"stream_options": None}, {"include_usage": True}),
    },
)
def test_usage_is_asked_for_in_a_stream(given: Json, options: Json) -> None:
    decide_stream(given, FormatOptions(usage=True))
    assert given["stream_options"] == options


def test_usage_without_a_stream_adds_nothing() -> None:
    given: Json = {"stream": False}
    decide_stream(given, FormatOptions(usage=True, format="json"))
    assert given == {"stream": False}
    decide_stream(given, FormatOptions(format="text"))
    assert given == {"stream": False}


def test_odd_stream_options_are_left_to_the_check() -> None:
    given: Json = {"stream": True, "stream_options": "x"}
    decide_stream(given, FormatOptions(usage=True))
    assert given["stream_options"] == "x"
