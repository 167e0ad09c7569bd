"""Files of requests -> problems, each at its file, line and column."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chatpipe.inputs.place import Source
from chatpipe.schema.documents import Checker, Located, documents

BODY = '{"model":"m","messages":[{"role":"user","content":"q"}]}'


def lines(text: str) -> Iterator[Source]:
    pieces = text.encode().split(b"\n")
    last = pieces.pop()
    for number, line in enumerate(pieces + ([last] if last else []), 1):
        yield Source("f", line, number)


def found(text: str, *, strict: bool = False) -> list[Located]:
    checker = Checker(strict=strict)
    return [located for source in documents(lines(text)) for located in checker.problems(source)]


def said(text: str, *, strict: bool = False) -> list[str]:
    """`line:column pointer: message` of each error."""
    return [
        f"{each.line}:{each.column} {each.problem.pointer}: {each.problem.message}"
        for each in found(text, strict=strict)
        if each.problem.severity == "error"
    ]


def batch(custom_id: str, body: str = BODY, method: str = "POST", url: str = "/v1/chat/completions") -> str:
    return f'{{"custom_id":"{custom_id}","method":"{method}","url":"{url}","body":{body}}}\n'


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        pytest.param("", [], id="empty"),
        pytest.param("\n \n", [], id="blank lines"),
        pytest.param("1\n\n2\n", [(1, "1"), (3, "2")], id="JSONL"),
        pytest.param('{"a":1}\n{"b":\n', [(1, '{"a":1}'), (2, '{"b":')], id="a broken line of JSONL is one"),
        pytest.param('{"a":\n{"b":1}', [(1, '{"a":\n{"b":1}')], id="but a first one that goes on is not"),
        pytest.param('\n{\n"a":1\n}\n', [(2, '{\n"a":1\n}')], id="a document printed for people"),
        pytest.param('{"a": 1,\n"b": 2}', [(1, '{"a": 1,\n"b": 2}')], id="begun on its first line"),
        pytest.param("[\n1\n]", [(1, "[\n1\n]")], id="an array"),
        pytest.param('"a,"\n"b"', [(1, '"a,"'), (2, '"b"')], id="a string"),
        pytest.param('{"a":1}x\n{"b":2}', [(1, '{"a":1}x'), (2, '{"b":2}')], id="rubbish first"),
    ],
)
def test_documents_of_a_file(text: str, texts: list[tuple[int, str]]) -> None:
    assert [(source.line, source.data.decode()) for source in documents(lines(text))] == texts


def test_jsonl_is_read_line_by_line() -> None:
    def endless() -> Iterator[Source]:
        yield Source("f", b"1", 1)
        raise AssertionError("asked for more")

    assert next(documents(endless())).data == b"1"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(BODY, id="body"),
        pytest.param(f"{BODY}\n\n{BODY}\n", id="bodies"),
        pytest.param(batch("a") + batch("b"), id="Batch lines"),
        pytest.param(f'{{"custom_id":"a","body":{BODY}}}', id="without method and url"),
        pytest.param('"q"\n"r"', id="strings"),
        pytest.param(
            '{"prompt":"q"}\n{"prompt":"r","system":"s","custom_id":"c","temperature":1}', id="rows"
        ),
        pytest.param('{"prompt":"q","system":null}', id="row, system null"),
        pytest.param(f'\ufeff{BODY}\n"q"', id="byte order mark"),
        pytest.param(f'{BODY}\n{batch("a")}"q"\n{{"prompt":"r"}}', id="mixed"),
        pytest.param("", id="empty"),
    ],
)
def test_nothing_wrong(text: str) -> None:
    assert said(text) == []


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        pytest.param(
            "{x}", ["1:2 : is not JSON: expecting property name enclosed in double quotes"], id="not JSON"
        ),
        pytest.param(
            f"{BODY}\n\n{{x}}\n{BODY}",
            ["3:2 : is not JSON: expecting property name enclosed in double quotes"],
            id="not JSON, among good ones",
        ),
        pytest.param(
            '{\n"a":\n}', ["3:1 : is not JSON: expecting value"], id="not JSON in a document of several lines"
        ),
        pytest.param("5", ["1:1 : is a number, not an object"], id="a number"),
        pytest.param(f"[{BODY}]", ["1:1 : is an array, not an object"], id="an array"),
        pytest.param(
            '{"model":"m","messages":[{"role":"sytem","content":"q"}]}',
            [
                (
                    "1:34 /messages/0/role: is 'sytem', not one of "
                    "developer, system, user, assistant, tool, function"
                )
            ],
            id="inside a body",
        ),
        pytest.param(
            '{\n "model": "m",\n "messages": [\n  {"role": "user",\n   "content": 5}]\n}',
            ["5:15 /messages/0/content: is 5, not a string or an array"],
            id="inside a document of several lines",
        ),
        pytest.param(
            '{"prompt":5}\n{"prompt":""}\n{"prompt":"q","system":[]}\n{"prompt":"q","temperature":9}',
            [
                "1:11 /prompt: is a number, not a string",
                "2:11 /prompt: is empty",
                "3:24 /system: is an array, not a string",
                "4:29 /temperature: is 9, more than 2",
            ],
            id="rows",
        ),
        pytest.param(
            '{"custom_id":"a","method":"GET","url":5,"body":5}',
            [
                "1:27 /method: is 'GET', not 'POST'",
                "1:39 /url: is a number, not a string",
                "1:48 /body: is 5, not an object",
            ],
            id="the envelope of a Batch line",
        ),
        pytest.param(f'{{"body":{BODY}}}', ["1:1 : has no 'custom_id'"], id="a Batch line without an id"),
        pytest.param(
            f'{{"custom_id":5,"body":{BODY}}}',
            ["1:14 /custom_id: is a number, not a string"],
            id="an id of a wrong type",
        ),
        pytest.param(
            batch("a", '{"model":"m","messages":[],"n":0}'),
            ["1:94 /body/messages: is empty", "1:101 /body/n: is 0, less than 1"],
            id="inside the body of a Batch line",
        ),
        pytest.param(
            batch("a") + "\n" + batch("b") + batch("a"),
            ["4:14 /custom_id: 'a' is on line 1, too"],
            id="an id twice",
        ),
        pytest.param(
            batch("a") + '{"prompt":"q","custom_id":"a"}',
            ["2:27 /custom_id: 'a' is on line 1, too"],
            id="an id twice, in a row",
        ),
        pytest.param(
            batch("a") + batch("b", url="/v1/embeddings"),
            ["2:40 /url: is '/v1/embeddings', but '/v1/chat/completions' on line 1"],
            id="two urls",
        ),
    ],
)
def test_problems_with_their_places(text: str, problems: list[str]) -> None:
    assert said(text) == problems


def test_ids_without_a_url_may_stand_beside_ids_with_one() -> None:
    """Some providers leave `url` out: what is not said cannot contradict."""
    assert said(f'{{"custom_id":"a","body":{BODY}}}\n' + batch("b") + batch("c")) == []
    assert said(batch("b") + f'{{"custom_id":"a","body":{BODY}}}\n') == []


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
