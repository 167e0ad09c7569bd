"""Files of requests -> problems, each at its file, line and column."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chatpipe.inputs.place import Source
from chatpipe.schema.check import Problem
from chatpipe.schema.documents import Checker, LocatedProblem, split_documents
from support.parametrize import cases

BODY = '{"model":"m","messages":[{"role":"user","content":"q"}]}'


def lines(text: str) -> Iterator[Source]:
    pieces = text.encode().split(b"\n")
    last = pieces.pop()
    for number, line in enumerate(pieces + ([last] if last else []), 1):
        yield Source("f", line, number)


def found(text: str, *, strict: bool = False) -> list[LocatedProblem]:
    checker = Checker(strict=strict)
    return [located for source in split_documents(lines(text)) for located in checker.problems(source)]


def said(text: str, *, strict: bool = False) -> list[str]:
    """`line:column pointer: message` of each error."""
    return [
        f"{each.line}:{each.column} {each.problem.pointer}: {each.problem.message}"
        for each in found(text, strict=strict)
        if each.problem.severity == "error"
    ]


def batch(custom_id: str, body: str = BODY, method: str = "POST", url: str = "/v1/chat/completions") -> str:
    return f'{{"custom_id":"{custom_id}","method":"{method}","url":"{url}","body":{body}}}\n'


@cases(
    ("text", "texts"),
    {
        "empty": ("", []),
        "blank lines": ("\n \n", []),
        "JSONL": ("1\n\n2\n", [(1, "1"), (3, "2")]),
        "a broken line of JSONL is one": ('{"a":1}\n{"b":\n', [(1, '{"a":1}'), (2, '{"b":')]),
        "but a first one that goes on is not": ('{"a":\n{"b":1}', [(1, '{"a":\n{"b":1}')]),
        "a document printed for people": ('\n{\n"a":1\n}\n', [(2, '{\n"a":1\n}')]),
        "begun on its first line": ('{"a": 1,\n"b": 2}', [(1, '{"a": 1,\n"b": 2}')]),
        "an array": ("[\n1\n]", [(1, "[\n1\n]")]),
        "a string": ('"a,"\n"b"', [(1, '"a,"'), (2, '"b"')]),
        "rubbish first": ('{"a":1}x\n{"b":2}', [(1, '{"a":1}x'), (2, '{"b":2}')]),
    },
)
def test_documents_of_a_file(text: str, texts: list[tuple[int, str]]) -> None:
    assert [(source.line, source.data.decode()) for source in split_documents(lines(text))] == texts


def test_jsonl_is_read_line_by_line() -> None:
    def endless() -> Iterator[Source]:
        yield Source("f", b"1", 1)
        raise AssertionError("asked for more")

    assert next(split_documents(endless())).data == b"1"


@cases(
    "text",
    {
        "body": BODY,
        "bodies": f"{BODY}\n\n{BODY}\n",
        "Batch lines": batch("a") + batch("b"),
        "without method and url": f'{{"custom_id":"a","body":{BODY}}}',
        "strings": '"q"\n"r"',
        "rows": '{"prompt":"q"}\n{"prompt":"r","system":"s","custom_id":"c","temperature":1}',
        "row, system null": '{"prompt":"q","system":null}',
        "byte order mark": f'\ufeff{BODY}\n"q"',
        "mixed": f'{BODY}\n{batch("a")}"q"\n{{"prompt":"r"}}',
        "empty": "",
    },
)
def test_good_files_have_no_problems(text: str) -> None:
    assert said(text) == []


@cases(
    ("text", "problems"),
    {
        "not JSON": ("{x}", ["1:2 : is not JSON: expecting property name enclosed in double quotes"]),
        "not JSON, among good ones": (
            f"{BODY}\n\n{{x}}\n{BODY}",
            ["3:2 : is not JSON: expecting property name enclosed in double quotes"],
        ),
        "not JSON in a document of several lines": ('{\n"a":\n}', ["3:1 : is not JSON: expecting value"]),
        "a number": ("5", ["1:1 : is a number, not an object"]),
        "an array": (f"[{BODY}]", ["1:1 : is an array, not an object"]),
        "inside a body": (
            '{"model":"m","messages":[{"role":"sytem","content":"q"}]}',
            [
                (
                    "1:34 /messages/0/role: is 'sytem', not one of "
                    "developer, system, user, assistant, tool, function"
                )
            ],
        ),
        "inside a document of several lines": (
            '{\n "model": "m",\n "messages": [\n  {"role": "user",\n   "content": 5}]\n}',
            ["5:15 /messages/0/content: is 5, not a string or an array"],
        ),
        "rows": (
            (
                '{"prompt":5}\n{"prompt":""}\n{"prompt":"q","system":[]}\n{"prompt":"q","temperature":9}\n'
                '{"system":5,"prompt":[{"type":"text"}]}\n""'
            ),
            [
                "1:11 /prompt: is 5, not a string or an array",
                "2:11 /prompt: is empty",
                "3:24 /system: is empty",
                "4:29 /temperature: is 9, not from 0 to 2",
                "5:11 /system: is 5, not a string or an array",
                "5:23 /prompt/0: has no 'text'",
                "6:1 : is empty",
            ],
        ),
        "the envelope of a Batch line": (
            '{"custom_id":"a","method":"GET","url":5,"body":5}',
            [
                "1:39 /url: is a number, not a string",
                "1:27 /method: is 'GET', not 'POST'",
                "1:48 /body: is 5, not an object",
            ],
        ),
        "an empty id": (
            batch("") + '{"prompt":"q","custom_id":""}',
            ["1:14 /custom_id: is empty", "2:27 /custom_id: is empty"],
        ),
        "a Batch line without an id": (f'{{"body":{BODY}}}', ["1:1 : has no 'custom_id'"]),
        "an id of a wrong type": (
            f'{{"custom_id":5,"body":{BODY}}}',
            ["1:14 /custom_id: is a number, not a string"],
        ),
        "inside the body of a Batch line": (
            batch("a", '{"model":"m","messages":[],"n":0}'),
            ["1:94 /body/messages: is empty", "1:101 /body/n: is 0, not from 1 to 128"],
        ),
        "an id twice": (
            batch("a") + "\n" + batch("b") + batch("a"),
            ["4:14 /custom_id: 'a' is on line 1, too"],
        ),
        "an id twice, in a row": (
            batch("a") + '{"prompt":"q","custom_id":"a"}',
            ["2:27 /custom_id: 'a' is on line 1, too"],
        ),
        "two urls": (
            batch("a") + batch("b", url="/chat/completions"),
            ["2:40 /url: is '/chat/completions', but '/v1/chat/completions' on line 1"],
        ),
        "another endpoint, whose body has other fields": (
            batch("a", '{"input":"x"}', url="/v1/embeddings") + batch("b"),
            ["1:40 /url: '/v1/embeddings' is another endpoint, not /v1/chat/completions"],
        ),
    },
)
def test_problems_with_their_places(text: str, problems: list[str]) -> None:
    assert said(text) == problems


def test_ids_without_a_url_may_stand_beside_ids_with_one() -> None:
    """Some providers leave `url` out: what is not said cannot contradict."""
    assert said(f'{{"custom_id":"a","body":{BODY}}}\n' + batch("b") + batch("c")) == []
    assert said(batch("b") + f'{{"custom_id":"a","body":{BODY}}}\n') == []


def test_a_line_that_was_cut_is_called_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatpipe.schema.documents.MAX_LINE_BYTES", 5)
    [found] = Checker(strict=False).problems(Source("f", b'{"a": ', 3))
    assert (found.line, found.problem.message) == (3, "is longer than 256 MiB")


def test_file_of_a_problem_and_what_to_do() -> None:
    [located] = found(batch("a") + f"[{BODY}]\n")
    assert (located.file, located.line, located.problem.hint) == ("f", 2, "put one request on a line")


def test_model_may_be_missing_where_the_body_is_made() -> None:
    assert said('"q"\n{"prompt":"q"}') == []
    assert said('{"messages":[{"role":"user","content":"q"}]}') != []


def test_strict_makes_errors_of_warnings() -> None:
    text = '{"model":"m","messages":[{"role":"user","content":"q"}],"max_tokens":1,"max_completion_tokens":1}'
    assert said(text) == []
    assert [each.problem.severity for each in found(text)] == ["warning"]
    assert len(said(text, strict=True)) == 1


@pytest.mark.parametrize("text", ['{"a":\ud83d}', '{"custom_id":"\\ud83d","body":{"x":"\\ud83d"}}'])
def test_lone_surrogates_are_no_bug_of_ours(text: str) -> None:
    checker = Checker(strict=False)
    source = Source("f", text.encode("utf-8", "surrogatepass"), 1)
    assert list(checker.problems(source)) != []


def warned(text: str) -> list[str]:
    return [
        f"{each.line}:{each.column} {each.problem.pointer}: {each.problem.message}"
        for each in found(text)
        if each.problem.severity == "warning"
    ]


@cases(
    ("text", "places"),
    {
        "at the top": ('{"prompt":"a","prompt":"b"}', ["1:24 /prompt"]),
        "in a message": (
            BODY.replace('"role":"user"', '"role": "system","role":"user"'),
            ["1:51 /messages/0/role"],
        ),
        "on another line": (f'{BODY}\n{{"prompt":"a",\t"prompt" : "b"}}', ["2:27 /prompt"]),
        "in a document of several lines": ('{\n"prompt":"a",\n "prompt":"b"}', ["3:11 /prompt"]),
        "three times": ('{"prompt":"a","prompt":"b","prompt":"c"}', ["1:24 /prompt", "1:37 /prompt"]),
        "spelled in two ways": ('{"prompt":"a","\\u0070rompt":"b"}', ["1:29 /prompt"]),
        "deep, then at the top": (
            '{"prompt":"a","x":{"y":[0,{"z":1,"z":2}]},"x":3}',
            ["1:38 /x/y/1/z", "1:47 /x"],
        ),
        "with a value of any type": ('{"prompt":"a","x":' + "9" * 4000 + ',"x":[]}', ["1:4024 /x"]),
        "behind a byte order mark": ('\ufeff{"prompt":"a","prompt":"b"}', ["1:25 /prompt"]),
    },
)
def test_a_name_that_comes_twice_is_a_warning(text: str, places: list[str]) -> None:
    assert [said for said in warned(text) if "twice" in said] == [f"{place}: comes twice" for place in places]


@cases(
    "text",
    {
        "in two objects": '{"prompt":"a","x":[{"y":1},{"y":1}]}',
        "one inside another": '{"prompt":"a","x":{"x":{"x":1}}}',
        "in a string": '{"prompt":"{\\"a\\":1,\\"a\\":2}"}',
        "in other letters": '{"prompt":"a","Prompt":"b"}',
    },
)
def test_a_name_may_be_in_several_objects(text: str) -> None:
    assert [said for said in warned(text) if "twice" in said] == []


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_a_file_without_a_request_is_a_warning(text: str) -> None:
    problem = Problem("", "empty", "is missing", "there is none in the input", "warning")
    assert list(Checker(strict=False).check_lines("f", lines(text))) == [LocatedProblem("f", 1, 1, problem)]
    assert list(Checker(strict=False).check_lines("f", lines(BODY))) == []


def test_strict_makes_errors_of_what_only_a_file_can_have() -> None:
    checker = Checker(strict=True)
    severities = [
        each.problem.severity
        for text in ("", '{"prompt":"a","prompt":"b"}')
        for each in checker.check_lines("f", lines(text))
    ]
    assert severities == ["error", "error"]
