"""`chatpipe map` as a process: rows in, the same rows out, and what becomes of those that fail."""

from __future__ import annotations

import base64
import functools
import json
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batch import runs
from batch.result_lines import records
from batch.resuming import RunHarness
from batch.runs import jsonl, prompt
from support.parametrize import cases
from support.process import Done, run, sh, start
from support.servers.loopback import Answer, Pause, Request, Step, WaitFor, completion, error, reply

PNG = b"\x89PNG\r\n\x1a\nrest"
UNPACK = ("{{a}}", "--unpack", "--schema-fields", "m")
REVIEWS = b'id,text\n1,"Good, ""really"""\n2,"two\nlines"\n3,bad\n'


def handler(request: Request) -> Answer:
    """The prompt in capitals; a 500 to `bad`, an answer that is cut off to `cut`."""
    text = prompt(request)
    if text == "bad":
        return error(500, "broken", headers={"retry-after-ms": "1"})
    return reply(200, completion(text.upper(), finish_reason="length" if text == "cut" else "stop"))


map_ = functools.partial(runs.batch, "--retries", "0", name="map", handler=handler)


def echoed(*arguments: str, stdin: bytes, cwd: Path | None = None) -> Done:
    """Answered by the built-in model, which repeats what it is asked."""
    return run("map", "-p", "echo", *arguments, stdin=stdin, cwd=cwd)


def requests(*arguments: str, stdin: bytes, cwd: Path | None = None) -> list[dict[str, Any]]:
    """The bodies that would be sent."""
    done = run("map", "-m", "m", "-f", "requests", *arguments, stdin=stdin, cwd=cwd)
    assert (done.status, done.stderr) == (0, b"")
    return [row["body"] for row in records(done.stdout)]


# Rows in, rows out


@cases(
    "arguments, stdin, expected",
    {
        "JSONL, to the byte": (
            ["<{{t}}>"],
            b'{"id": 12345678901234567890, "x": 1.10, "t": "a"}\n\n{"t":"b"}\n',
            b'{"id": 12345678901234567890, "x": 1.10, "t": "a","answer":"<a>"}\n{"t":"b","answer":"<b>"}\n',
        ),
        "CSV": (
            ["<{{text}}>", "--csv", "--into", "label"],
            REVIEWS,
            (
                b'id,text,label\n1,"Good, ""really""","<Good, ""really"">"\n'
                b'2,"two\nlines","<two\nlines>"\n3,bad,<bad>\n'
            ),
        ),
        "CSV with a byte order mark and CRLF, a column replaced": (
            ["{{text}}", "--csv", "--into", "text"],
            b"\xef\xbb\xbfid,text\r\n1,a\r\n",
            b"\xef\xbb\xbfid,text\n1,a\n",
        ),
        "names of fields that end in CR": (
            ["{{a}}", "--csv", "--into", "b\r", "--error-into", "c\r\n"],
            b"a\nx\n",
            b"a,b,c\nx,x,\n",
        ),
        "CSV with CRLF: only the line ends of cells stay": (
            ["{{id}}", "--csv"],
            b'id,"t"\r\n1,"a\r\nb"\r\n2,"c\nd"\r\n3,"e\rf"\r\n4,"g"',
            b'id,t,answer\n1,"a\r\nb",1\n2,"c\nd",2\n3,"e\rf",3\n4,g,4\n',
        ),
        "TSV with CRLF": (
            ["{{a}}", "--tsv"],
            b"a\tb\r\n1\tx\ry\r\n2\t",
            b"a\tb\tanswer\n1\tx\ry\t1\n2\t\t2\n",
        ),
        "JSONL with CRLF": (
            ["{{a}}"],
            b'{"a":1}\r\n{"a":2 }',
            b'{"a":1,"answer":"1"}\n{"a":2,"answer":"2"}\n',
        ),
        "lines with CRLF": (
            ["{{line}}", "--lines", "--to", "csv"],
            b"a\r\nb\rc\r\n",
            b'line,answer\na,a\n"b\rc","b\rc"\n',
        ),
        "TSV with a byte order mark": (
            ["{{a}}", "--tsv"],
            b"\xef\xbb\xbfa\n1\n",
            b"\xef\xbb\xbfa\tanswer\n1\t1\n",
        ),
        "another form has no byte order mark": (
            ["{{a}}", "--csv", "--to", "tsv"],
            b"\xef\xbb\xbfsep=;\na;b\n1;2\n",
            b"a\tb\tanswer\n1\t2\t1\n",
        ),
        "rows without names have one, too": (
            ["{{a}}", "--delimiter", ";", "--fields", "a,b"],
            b"\xef\xbb\xbf1;2\n",
            b"\xef\xbb\xbfa;b;answer\n1;2;1\n",
        ),
        "a separator line": (["{{b}}", "--csv"], b"sep=;\r\na;b\n1;x,y\n", b"sep=;\na;b;answer\n1;x,y;x,y\n"),
        "a delimiter": (
            ["{{b}}", "--delimiter", "|"],
            b'a|b\n"1|"|"x\ny"\n',
            b'a|b|answer\n"1|"|"x\ny"|"x\ny"\n',
        ),
        "a tab between cells of CSV": (
            ["{{b}}", "--csv", "--delimiter", r"\t"],
            b'a\tb\n1\t"x\ty"\n',
            b'a\tb\tanswer\n1\t"x\ty"\t"x\ty"\n',
        ),
        "CSV without a header": (
            ["{{b}}", "--csv", "--fields", "a,b"],
            b"1,2\n3,4\n",
            b"a,b,answer\n1,2,2\n3,4,4\n",
        ),
        "CSV of a header alone": (["{{a}}", "--csv"], b"a,b\n", b"a,b,answer\n"),
        "nothing, with columns": (["{{a}}", "--csv", "--fields", "a"], b"", b"a,answer\n"),
        "TSV": (
            ["{{a}}|{{b}}", "--tsv"],
            b"a\tb\nx\\ty\tz\\\\n\n",
            b"a\tb\tanswer\nx\\ty\tz\\\\n\tx\\ty|z\\\\n\n",
        ),
        "lines": (
            ["<{{line}}>", "--lines"],
            b"a,b\n\n{}",
            b'{"line":"a,b","answer":"<a,b>"}\n{"line":"{}","answer":"<{}>"}\n',
        ),
        "lines to CSV": (["<{{line}}>", "--lines", "--to", "csv"], b"a,b\n", b'line,answer\n"a,b","<a,b>"\n'),
        "CSV, a limit of rows": (
            ["{{a}}", "--csv", "--limit", "2"],
            b"a\n1\n2\n3\n",
            b"a,answer\n1,1\n2,2\n",
        ),
        "CSV to JSONL": (
            ["{{a}}", "--csv", "--to", "jsonl"],
            b"a,b\n1,\n",
            b'{"a":"1","b":"","answer":"1"}\n',
        ),
        "JSON in a cell, and a bracket in a name": (
            ['{{"[a]"}}', "--csv"],
            b"[a],b\n{},1\n",
            b"[a],b,answer\n{},1,{}\n",
        ),
        "CSV to TSV": (["{{a}}", "--csv", "--to", "tsv"], b'a\n"x\ty"\n', b"a\tanswer\nx\\ty\tx\\ty\n"),
        "JSONL to CSV": (
            ["{{a}}", "--to", "csv"],
            jsonl({"a": 1, "b": None, "c": {"d": [1]}}, {"c": True, "a": "x"}),
            b'a,b,c,answer\n1,,"{""d"":[1]}",1\nx,,true,x\n',
        ),
        "JSONL to CSV, columns given": (
            ["{{a}}", "--to", "csv", "--fields", "b,a"],
            jsonl({"a": 1}, {"a": 2, "b": "y"}),
            b"b,a,answer\n,1,1\ny,2,2\n",
        ),
    },
)
def test_rows_come_out_in_the_format_asked_for(arguments: list[str], stdin: bytes, expected: bytes) -> None:
    done = echoed(*arguments, stdin=stdin)
    assert (done.stderr, done.stdout, done.status) == (b"", expected, 0)


@cases(
    "arguments, stdin, expected",
    {
        "CSV": (["--csv"], b"a,b\n,\n1,\n \t,\xc2\xa0\n,2\n,,,\n", b"a,b,answer\n1,,1\n,2,\n"),
        "TSV": (["--tsv"], b"a\tb\n\t\n1\t\n\t\n", b"a\tb\tanswer\n1\t\t1\n"),
        "JSONL": (
            [],
            b'{"a":"","b":null}\n{}\n{"a":0}\n{"a":"","b":[]}\n',
            b'{"a":0,"answer":"0"}\n{"a":"","b":[],"answer":""}\n',
        ),
        "JSONL to CSV": (["--to", "csv"], b'{"a":1}\n{"a":null}\n', b"a,answer\n1,1\n"),
        "names of columns alone": (["--csv"], b"a\n", b"a,answer\n"),
        "only whole rows count": (["--csv", "--limit", "1"], b"a\n \n1\n2\n", b"a,answer\n1,1\n"),
    },
)
def test_rows_that_are_empty_are_left_out(arguments: list[str], stdin: bytes, expected: bytes) -> None:
    options = ("--skip-empty", "--allow", "empty", "--no-check")
    done = echoed("{{a}}", *options, *arguments, stdin=stdin)
    assert (done.stderr, done.stdout, done.status) == (b"", expected, 0)


def test_a_row_that_is_wrong_is_not_empty() -> None:
    done = echoed("{{a}}", "--skip-empty", "--error-into", "e", "-q", stdin=b'{nope\n{"a":1}\n{"a":""}\n')
    assert [row["answer"] for row in records(done.stdout)] == [None, "1"]
    done = echoed("{{a}}", "--skip-empty", "--csv", "--to", "jsonl", "-q", stdin=b"a,b\n1\n")
    assert [row["a"] for row in records(done.stdout)] == ["1"]


def test_fields_for_counts_and_errors() -> None:
    done = echoed("{{t}}", "--usage-into", "u", "--error-into", "e", stdin=jsonl({"t": "a"}))
    row = json.loads(done.stdout)
    assert list(row) == ["t", "answer", "u", "e"]
    assert (row["u"]["total_tokens"] > 0, row["e"]) == (True, None)


# Cells that a table may hold, and a request, too.
_TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(_TEXTS, _TEXTS), min_size=1, max_size=30))
def test_every_cell_comes_out_as_it_went_in(rows: list[tuple[str, str]]) -> None:
    """To JSONL and back, where no quoting is in the way."""
    stdin = b"a,b\n" + b"".join(
        b",".join(b'"' + cell.replace('"', '""').encode() + b'"' for cell in row) + b"\n" for row in rows
    )
    options = ("--csv", "--no-check", "--allow", "failed,empty")
    done = echoed("{{a}}", *options, "--to", "jsonl", stdin=stdin)
    assert done.status == 0
    assert [(row["a"], row["b"]) for row in map(json.loads, done.stdout.splitlines())] == rows
    again = echoed("{{a}}", *options, stdin=stdin)
    third = echoed("{{a}}", *options, "--to", "jsonl", stdin=again.stdout)
    assert third.stdout == done.stdout


@cases(
    "options, expected",
    {"in order": ([], ["LATE", "A", "B"]), "as they are ready": (["--no-keep-order"], ["A", "B", "LATE"])},
)
def test_the_first_answer_may_come_last(options: list[str], expected: list[str]) -> None:
    gate = threading.Event()

    def last(request: Request) -> Iterator[Step]:
        """`late` is answered when the others have been."""
        if prompt(request) == "late":
            yield WaitFor(gate)
        yield reply(200, completion(prompt(request).upper()))
        if prompt(request) == "b":
            yield Pause(0.05)
            gate.set()

    done = map_("-j", "2", *options, "{{line}}", "--lines", stdin=b"late\na\nb\n", handler=last)
    assert [row["answer"] for row in records(done.stdout)] == expected


# The template


def test_the_template_follows_the_messages_of_options_which_are_also_templates(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("File {{t}}\n")
    (tmp_path / "body.json").write_bytes(
        b'{"temperature": 0, "messages": [{"role": "user", "content": "literal {{t}}"}]}'
    )
    options = ["-r", "body.json", "-s", "Sys {{n}}", "-u", "Q {{t}}", "--assistant-file", "a.txt"]
    assert requests("T {{t}}", *options, stdin=b'{"t":"{{n}}","n":1}\n', cwd=tmp_path) == [
        {
            "model": "m",
            "messages": [
                {"role": "system", "content": "Sys 1"},
                {"role": "user", "content": "literal {{t}}"},
                {"role": "user", "content": "Q {{n}}"},
                {"role": "assistant", "content": "File {{n}}"},
                {"role": "user", "content": "T {{n}}"},
            ],
            "temperature": 0,
        }
    ]


def test_a_template_may_be_a_file_and_the_first_operand_is_the_input_then(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("Hi {{a}},\n{single}\n")
    (tmp_path / "in.csv").write_text("a\nx\n")
    [body] = requests("--template-file", "t.txt", "--csv", "in.csv", stdin=b"", cwd=tmp_path)
    assert body["messages"] == [{"role": "user", "content": "Hi x,\n{single}"}]
    [body] = requests("--template-file", "-", "--csv", "in.csv", stdin=b"{{a}}", cwd=tmp_path)
    assert body["messages"] == [{"role": "user", "content": "x"}]


@cases(
    "arguments, words",
    {
        "no field": (
            ["Hello", "--lines"],
            "TEMPLATE: names no {{field}}: every row would ask the same: ask about",
        ),
        "one brace, as in other templates": (
            ["Hello {a.b}", "--lines"],
            (
                "TEMPLATE: names no {{field}}: every row would ask the same:"
                " a field has two braces on each side: '{{a.b}}'"
            ),
        ),
        "none in any text": (["Hi {{{{a}}", "-s", "a"], "TEMPLATE: names no {{field}}: every row would"),
        "none in a file": (
            ["--template-file", "notes"],
            "--template-file: names no {{field}}: every row would",
        ),
        "a file": (["in.csv", "--csv"], "TEMPLATE: 'in.csv' is the name of a file: TEMPLATE comes first: "),
        "a file before another": (["in.csv", "notes"], "TEMPLATE: 'in.csv' is the name of a file: "),
        "a file, and a field": (["in.csv", "-s", "{{a}}"], "TEMPLATE: 'in.csv' is the name of a file: "),
        "the wrong order": (
            ["in.csv", "Say {{a}}", "--csv"],
            "TEMPLATE: 'Say {{a}}' is in the place of FILE: ",
        ),
        "the wrong order, no file": (["x.csv", "{{a}}"], "TEMPLATE: '{{a}}' is in the place of FILE: "),
        "the wrong order, stdin": (
            ["-", "{{a}}", "-s", "{{b}}"],
            "TEMPLATE: '{{a}}' is in the place of FILE: ",
        ),
    },
)
def test_a_template_without_fields_is_refused(arguments: list[str], words: str, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("a\nx\n")
    (tmp_path / "notes").write_text("Hello")
    done = map_(*arguments, stdin=b"a\n", cwd=tmp_path)
    assert (done.status, done.stdout, done.requests) == (2, b"", [])
    assert done.stderr.startswith(f"chatpipe: {words}".encode())
    assert done.stderr.count(b"\n") == 1


@cases(
    "arguments",
    {
        "a field in another message": ["notes", "in.csv", "-s", "{{a}}"],
        "a file that is called so": ["{{a}}", "{{a}}.csv"],
        "a folder": [".", "-s", "{{a}}"],
    },
)
def test_a_template_may_be_any_text_where_a_field_is_named(arguments: list[str], tmp_path: Path) -> None:
    for name in ("in.csv", "{{a}}.csv"):
        (tmp_path / name).write_text("a\nx\n")
    (tmp_path / "notes").write_text("Hello")
    done = echoed(*arguments, "--csv", stdin=b"a\nx\n", cwd=tmp_path)
    assert (done.status, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"a,answer\nx,")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "no template"),
        (["a", "b", "c"], "'c' is one FILE too many"),
        (["--template-file", "t", "{{a}}", "in"], "TEMPLATE and --template-file at once"),
        (["--template-file", "-"], "--template-file and FILE both read stdin"),
        (["{{a}}", "--csv", "--tsv"], "--csv and --tsv at once"),
        (["{{a}}", "--csv-safe"], "--csv-safe: rows are written as JSON: use it with --to csv"),
        (["{{a}}", "--csv", "--to", "jsonl", "--csv-safe"], "--csv-safe: rows are written as JSON"),
        (["{{a}}", "--tsv", "--delimiter", ";"], "--tsv and --delimiter at once"),
        (["{{a}}", "--lines", "--delimiter", ";"], "--lines and --delimiter at once"),
        (
            ["{{a}}", "--delimiter", ";;"],
            "--delimiter: ';;' cannot separate cells: name one character, such as ';' or '\\t'",
        ),
        (
            ["{{a}}", "--delimiter", '"'],
            "--delimiter: '\"' cannot separate cells: name one character, such as ';' or '\\t'",
        ),
        (["{{a}}", "--fields", "a"], "--fields: there are no columns to name"),
        (["{{a}}", "--csv", "--fields", "a,a"], "--fields: 'a' comes twice"),
        (["{{a}}", "--csv", "--fields", "a,b,b", "--into", "b"], "--fields: 'b' comes twice"),
        (["{{a}}", "--csv", "--fields", "a,,", "--to", "jsonl"], "--fields: '' comes twice"),
        (["{{a}}", "--to", "csv", "--fields", "a,b,b"], "--fields: 'b' comes twice"),
        (["{{a}}", "--csv", "--fields", "\n"], "--fields: no name in it"),
        (["{{a}}", "--into", "x", "--usage-into", "x"], "--usage-into: --into has the same name, 'x'"),
        (
            ["{{a}}", "--usage-into", "answer_error"],
            "--usage-into: 'answer_error' is the field for the reason why a row failed",
        ),
        (["{{a}}", "--unpack"], "--unpack: there is no schema"),
        (
            ["{{a}}", "--unpack", "--no-schema-strict", "--schema-json", "{}"],
            "--unpack: --schema-json lists no",
        ),
        (["{{a}}", "--unpack", "--into", "x"], "--into and --unpack contradict each other"),
        ([*UNPACK, "--allow", "mismatch"], "--allow mismatch and --unpack contradict each other"),
        ([*UNPACK, "--usage-into", "m"], "--usage-into: 'm' is a property of the schema"),
        (["{{a}}", "--unpack", "--schema-fields", "answer_error"], "--error-into: 'answer_error' is a"),
        (["{{a}}", "--image-root", "."], "--image-root: there is no field of images"),
        (["{{a}}", "--image-detail", "low"], "--image-detail: there is no image"),
    ],
)
def test_wrong_calls(arguments: list[str], words: str) -> None:
    done = run("map", "-p", "echo", *arguments, stdin=b"")
    assert (done.status, done.stdout) == (2, b"")
    assert done.stderr.startswith(f"chatpipe: {words}".encode())
    assert done.stderr.count(b"\n") == 1


def test_the_value_of_unpack_is_never_the_next_word(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("a\nx\n")
    done = run(
        "map", "-p", "echo", "{{a}}", "--schema-fields", "m", "--csv", "--unpack", "in.csv", cwd=tmp_path
    )
    assert (done.status, done.stdout) == (0, b"a,m\nx,x\n")
    # What another option takes is a value, whatever it looks like.
    done = run("map", "-p", "echo", "--stop", "--unpack", "{{a}}", "--csv", "in.csv", cwd=tmp_path)
    assert (done.status, done.stdout) == (0, b"a,answer\nx,x\n")


# What is wrong with all rows


@pytest.mark.parametrize(
    ("arguments", "stdin", "line"),
    [
        (
            ["{{txt}}", "--csv"],
            REVIEWS,
            "<stdin>:1: TEMPLATE names 'txt', which is not a column: did you mean 'text'?",
        ),
        (
            ["{{id}}", "-s", "{{nothing}}", "--csv"],
            REVIEWS,
            "<stdin>:1: --system names 'nothing', which is not a column: choose from id, text",
        ),
        (
            ["{{b}}", "--csv"],
            b"a;b\n1;2\n",
            "<stdin>:1: TEMPLATE names 'b', which is not a column: the only column is 'a;b': read it with -",
        ),
        (
            ["{{b}}", "--csv"],
            b"a\tb\n1\t2\n",
            r"<stdin>:1: TEMPLATE names 'b', which is not a column: the only column is 'a\tb': read it with",
        ),
        (
            ["{{a}}", "--csv"],
            b",id,,id,text\n",
            "<stdin>:1: TEMPLATE names 'a', which is not a column: choose from id, text\n",
        ),
        (
            ["{{x}}", "--csv"],
            b"a,b,c,d,e,f,g,h\n",
            "<stdin>:1: TEMPLATE names 'x', which is not a column: choose from a, b, c, d, e, f, g, h\n",
        ),
        (
            ["{{x}}", "--csv"],
            b"a,b,c,d,e,f,g,h,i\n",
            "<stdin>:1: TEMPLATE names 'x', which is not a column: choose from a, b, c, d, e, f, g, h, ...\n",
        ),
        (
            ["{{a}}", "--csv"],
            b",\n",
            "<stdin>:1: TEMPLATE names 'a', which is not a column: no column has a name",
        ),
        (
            ["{{a.b}}", "--tsv"],
            b"a\n",
            "<stdin>:1: TEMPLATE names 'a.b', which is not a column: choose from a",
        ),
        (
            ["{{ text}}", "--csv"],
            b"id, text\n",
            "<stdin>:1: TEMPLATE names 'text', which is not a column: write {{\" text\"}}",
        ),
        (
            ["{{a}}", "--csv"],
            "a\n1\n".encode("utf-16"),
            "<stdin>: UTF-16, not UTF-8 text: read it",
        ),
        (["{{a}}", "--lines"], b"x\n", "TEMPLATE names 'a', which is not a column: choose from line"),
        (
            ["{{a}}", "--csv"],
            b"",
            "<stdin>: the table is empty: it has no column 'a': name the columns with --fi",
        ),
        (["{{a}}", "--tsv"], b"", "<stdin>: the table is empty: it has no column 'a'"),
        (["{{a}}", "--csv"], b"\xef\xbb\xbf", "<stdin>: the table is empty"),
        (["{{a}}", "--csv"], b"\n\n", "<stdin>: the table is empty"),
        (["{{a}}", "--csv"], b"sep=;\n", "<stdin>: the table is empty"),
        (["{{a}}", "--image-field", "i", "--csv"], b"a\n1\n", "<stdin>:1: --image-field names 'i', which"),
        (["{{a}}", "--csv"], b"a,b,a\n", "<stdin>:1: two columns are called 'a': rename one"),
        (["x", "-s", '{{""}}', "--csv"], b"a,,\n", "<stdin>:1: two columns are called '': rename one"),
        (["{{a}}", "--csv", "--into", "b"], b"a,b,b\n", "<stdin>:1: two columns are called 'b': rename one"),
        (["{{a}}", "--csv", "--to", "jsonl"], b"a,b,b\n", "<stdin>:1: two columns are called 'b'"),
        (["{{a}}", "--tsv"], b"a\tcustom_id\tcustom_id\n", "<stdin>:1: two columns are called 'custom_id'"),
        (["{{a}}", "--csv"], b'"a\n1\n', "<stdin>:1: a quote is never closed"),
        (["{{a}}", "--to", "csv"], b"[[1]]\n", "<stdin>:1: is an array, not an object"),
        (["{{a", "--csv"], REVIEWS, "TEMPLATE: '{{a' is never closed"),
        (["{{a}}", "-s", "{{}}", "--csv"], REVIEWS, "--system: '{{}}' names no field"),
    ],
)
def test_nothing_is_sent_and_no_file_made(
    arguments: list[str], stdin: bytes, line: str, tmp_path: Path
) -> None:
    done = map_(*arguments, "-o", "out", stdin=stdin, cwd=tmp_path)
    assert (done.status, done.stdout, done.requests) == (65, b"", [])
    assert done.stderr.startswith(f"chatpipe: {line}".encode())
    assert done.stderr.count(b"\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("folder", ["nowhere", "file"])
def test_a_folder_of_images_that_is_not_there_is_66_and_nothing_is_sent(folder: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    options = ("{{t}}", "--image-field", "i", "--image-root", folder)
    done = map_(*options, stdin=jsonl({"t": "a", "i": "https://h/i.png"}), cwd=tmp_path)
    assert (done.status, done.stdout, done.requests) == (66, b"", [])
    assert done.stderr.startswith(f"chatpipe: --image-root: cannot read '{folder}': ".encode())


@pytest.mark.parametrize("report", ["nowhere/report", "."])
def test_an_unwritable_report_is_refused_before_anything_is_sent(report: str, tmp_path: Path) -> None:
    done = map_("{{t}}", "--report", report, "-o", "out", stdin=jsonl({"t": "a"}), cwd=tmp_path)
    assert (done.status, done.stdout, done.requests) == (74, b"", [])
    assert list(tmp_path.iterdir()) == []


def test_a_table_that_is_read_as_json_says_which_option_is_missing(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_bytes(REVIEWS)
    done = echoed("{{text}}", "in.csv", stdin=b"", cwd=tmp_path)
    assert (done.status, done.stdout) == (65, b"")
    assert done.stderr == (
        b"chatpipe: in.csv:1: CSV, not JSON: chatpipe map --csv '{{id}}' in.csv asks about each row\n"
    )


# Rows that fail


def test_a_failed_row_of_json_has_null_and_why() -> None:
    stdin = b'{"t":"a"}\n{"t":"bad"}\nnope\n{"x":1}\n{"t":"cut"}\n{"t":"b"}\n'
    done = map_("{{t}}", stdin=stdin)
    assert done.status == 1
    assert records(done.stdout) == [
        {"t": "a", "answer": "A"},
        {
            "t": "bad",
            "answer": None,
            "answer_error": f"500 from '{done.server.url}/chat/completions': broken",
        },
        {"answer": None, "answer_error": "<stdin>:3: not JSON: expecting value (column 1)"},
        {"x": 1, "answer": None, "answer_error": "<stdin>:4: no field 't'"},
        {"t": "cut", "answer": None, "answer_error": "the answer was cut off (finish_reason 'length')"},
        {"t": "b", "answer": "B"},
    ]
    assert sorted(done.prompts) == ["a", "b", "bad", "cut"]


def test_another_field_may_have_the_default_name_of_the_error_field() -> None:
    done = echoed("{{a}}", "--usage-into", "answer_error", "--error-into", "e", stdin=b'{"a":"1"}\n')
    assert (done.status, json.loads(done.stdout)["e"]) == (0, None)


def test_usage_is_reported_even_if_the_answer_fails() -> None:
    done = map_("{{t}}", "--usage-into", "u", stdin=jsonl({"t": "cut"}, {"t": "bad"}))
    cut, bad = records(done.stdout)
    assert (cut["answer"], bad["answer"], bad["u"]) == (None, None, None)
    assert cut["u"]["total_tokens"] > 0


@cases("unpack", {"a field": (), "a field for each property": ("--unpack",)})
def test_only_answers_that_a_row_has_room_for_can_be_allowed(unpack: tuple[str, ...]) -> None:
    done = map_("{{t}}", *unpack, "--schema-fields", "a", stdin=jsonl({"t": "cut"}))
    assert b"cut off" in done.stderr
    assert (b"--allow truncated" in done.stderr) is (not unpack)


def test_without_a_journal_the_last_line_says_how_to_have_one() -> None:
    done = map_("{{t}}", stdin=jsonl({"t": "cut"}, {"t": "one"}))
    advice = b"run it again with --journal FILE, which keeps its answers, "
    assert done.stderr.endswith(b": " + advice + b"or with --allow truncated\n")


def test_rows_that_are_wrong_are_to_be_mended() -> None:
    done = echoed("{{a}}", stdin=b'{"a":"1"}\n{}\n')
    first, last = done.stderr.splitlines()
    assert first.startswith(b"chatpipe: <stdin>:2: ")
    assert last == b"chatpipe: 1 of 2 lines failed: 1 input: correct line 2"


def test_an_allowed_outcome_counts_as_an_answer() -> None:
    done = map_("{{t}}", "--allow", "truncated", stdin=b'{"t": "cut"}\n')
    assert (done.status, done.stdout) == (0, b'{"t": "cut","answer":"CUT"}\n')


def test_a_failed_row_of_a_table_is_reported_and_its_cell_is_empty(tmp_path: Path) -> None:
    stdin = b"t,n\na,1\nbad,2\nragged\nb,3,4\n"
    done = map_("{{t}}", "--csv", "--errors", "errors", stdin=stdin, cwd=tmp_path)
    assert (done.status, done.stdout) == (1, b"t,n,answer\na,1,A\nbad,2,\nragged,,\nb,3,\n")
    console = done.stderr.splitlines()
    assert console[:3] == [
        f"chatpipe: <stdin>:3: 500 from '{done.server.url}/chat/completions': broken".encode(),
        b"chatpipe: <stdin>:4: 1 cell, where there are 2 columns",
        b"chatpipe: <stdin>:5: 3 cells, where there are 2 columns",
    ]
    assert len(console) == 4
    failed = records(tmp_path / "errors")
    assert [each["chatpipe"]["line"] for each in failed] == [3, 4, 5]
    assert len(done.requests) == 2


def test_only_the_first_failures_of_a_table_are_reported() -> None:
    done = echoed("{{a}}", "--csv", stdin=b"a\n" + b"1,2\n" * 25)
    console = done.stderr.splitlines()
    assert len(console) == 12
    assert console[9].startswith(b"chatpipe: <stdin>:11: ")
    assert console[10] == b"chatpipe: there are more like these: --errors FILE has them all"
    assert console[11].startswith(b"chatpipe: 25 of 25 lines failed")


def test_requests_are_written_not_sent_and_bad_rows_are_reported() -> None:
    done = map_("{{a}}", "--csv", "-f", "requests", stdin=b"custom_id,a\nx,1\n2\ny,3\n")
    assert (done.status, done.requests) == (65, [])
    assert records(done.stdout) == [
        {
            "custom_id": name,
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": "m", "messages": [{"role": "user", "content": text}]},
        }
        for name, text in (("x", "1"), ("y", "3"))
    ]
    assert done.stderr == b"chatpipe: <stdin>:3: 1 cell, where there are 2 columns\n"


def test_a_dry_run_counts_rows() -> None:
    done = echoed("{{a}}", "--csv", "--dry-run", stdin=b'a\n1\n"2\n2"\nx,y\n')
    record = json.loads(done.stdout)
    assert (record["lines"], record["bad"]) == (3, 1)


# Which rows


@cases("shard, rows", {"first": ("1/2", ["1\n1", "3\n3"]), "second": ("2/2", ["2\n2", "4"])})
def test_shards_count_rows_not_lines(shard: str, rows: list[str]) -> None:
    stdin = b"a\n" + b'"1\n1"\n"2\n2"\n"3\n3"\n4\n'
    done = echoed("{{a}}", "--csv", "--shard", shard, "--to", "jsonl", stdin=stdin)
    assert [row["a"] for row in records(done.stdout)] == rows


def test_the_same_request_is_sent_once_with_dedupe() -> None:
    done = map_("{{a}}", "--csv", "--dedupe", stdin=b"id,a\n1,x\n2,x\n3,y\n")
    assert (done.status, done.stdout) == (0, b"id,a,answer\n1,x,X\n2,x,X\n3,y,Y\n")
    assert sorted(done.prompts) == ["x", "y"]


# Images


def test_images_are_parts_of_the_last_user_message(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name in ("images/a.jpg", "secret.png"):
        (tmp_path / name).write_bytes(PNG)
    stdin = jsonl(
        {"i": "a.jpg", "t": "x"},
        {"i": "https://h/b.png", "t": "y"},
        {"i": "../secret.png", "t": "z"},
        {"t": "w"},
    )
    options = ("--image-field", "i", "--image-root", "images")
    done = run("map", "-m", "m", "{{t}}", *options, "-f", "requests", stdin=stdin, cwd=tmp_path)
    assert done.status == 65
    bodies = [record["body"]["messages"] for record in records(done.stdout)]
    url = "data:image/png;base64," + base64.b64encode(PNG).decode()
    sent = [
        [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": each}}]
        for text, each in (("x", url), ("y", "https://h/b.png"))
    ]
    assert bodies == [[{"role": "user", "content": parts}] for parts in sent]
    assert done.stderr.splitlines() == [
        b"chatpipe: <stdin>:3: '../secret.png' is not inside 'images'",
        b"chatpipe: <stdin>:4: no field 'i'",
    ]


def test_a_detail_is_one_of_the_images_of_rows_too() -> None:
    row = jsonl({"i": "https://h/b.png"})
    (body,) = requests("x", "--image-field", "i", "--image-detail", "low", stdin=row)
    image = body["messages"][0]["content"][1]["image_url"]
    assert image == {"url": "https://h/b.png", "detail": "low"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.png", "'a.png' is not a URL: name the directory of the files with --image-root DIR"),
        ("", "field 'i' is empty"),
        (None, "field 'i' is empty"),
        (7, "field 'i' is a number, not a path or URL"),
    ],
)
def test_an_unusable_image_fails_its_row(name: Any, words: str) -> None:
    done = echoed("x", "--image-field", "i", stdin=jsonl({"i": name}))
    assert json.loads(done.stdout)["answer_error"] == f"<stdin>:1: {words}"


# A file of results


class Table(RunHarness):
    """A harness for the rows of in.csv, which are a to f unless a test writes others."""

    name = "map"
    template = ("{{t}}", "--csv")
    source, target = "in.csv", "out.csv"


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Table]:
    with Table(tmp_path) as table:
        table.input.write_text("n,t\n" + "".join(f"{n},{text}\n" for n, text in enumerate("abcdef", 1)))
        yield table


ALL = "n,t,answer\n" + "".join(f"{number},{text},{text} #1\n" for number, text in enumerate("abcdef", 1))


def test_a_file_is_replaced_when_every_row_is_good_and_the_journal_stays(table: Table) -> None:
    for sent in ([*"abcdef"], []):
        assert table.finish() == sent
        assert table.out.read_text() == ALL
        assert table.files() == ["in.csv", "out.csv", "out.csv.journal"]


def test_the_report_says_which_rows_were_changed_and_which_are_new(table: Table) -> None:
    table.refused = {"b"}
    assert table.status_and_prompts()[0] == 1
    table.refused = set()
    table.input.write_text("n,t\n1,a\n2,b\n3,c\n4,other\n5,e\n6,f\n7,g\n")
    report = table.folder / "report.json"
    assert table.finish("--report", "report.json") == ["b", "g", "other"]
    assert json.loads(report.read_bytes())["sent"] == {"new": 1, "changed": 1, "http": 1}


def test_a_killed_run_is_made_again_for_the_price_of_the_rest(table: Table) -> None:
    table.out.write_text("old\n")
    table.held = 4
    with table.begin("-j", "2") as process:
        table.until_prompts(5)
        process.send_signal(signal.SIGKILL)
        process.wait()
    table.gate.set()
    assert table.out.read_text() == "old\n"
    assert len(table.new_prompts()) == 5
    table.held = None
    assert table.finish() == ["d", "e", "f"]
    lines = table.out.read_text().splitlines()
    assert lines[:4] == ["n,t,answer", "1,a,a #1", "2,b,b #1", "3,c,c #1"]
    assert [line.partition(" ")[0] for line in lines[4:]] == ["4,d,d", "5,e,e", "6,f,f"]


def test_a_failed_row_leaves_the_file_and_keeps_the_rows_beside_it(table: Table) -> None:
    table.out.write_text("old\n")
    table.refused = {"c"}
    done = table.resume()
    assert done.status == 1
    assert b"what arrived is in 'out.csv.chatpipe-part', run the same command again" in done.stderr
    assert table.out.read_text() == "old\n"
    assert (table.folder / "out.csv.chatpipe-part").read_text() == ALL.replace("3,c,c #1", "3,c,")
    table.new_prompts()
    table.refused = set()
    assert table.status_and_prompts() == (0, ["c"])
    assert table.out.read_text() == ALL.replace("c #1", "c #2")


def test_an_interrupted_run_resumes(table: Table) -> None:
    table.held = 4
    with table.begin("-j", "2", "--grace", "0.1") as process:
        table.until_prompts(5)
        process.send_signal(signal.SIGINT)
        assert process.wait() == -signal.SIGINT
    table.gate.set()
    assert not table.out.exists()
    table.new_prompts()
    table.held = None
    assert table.status_and_prompts() == (0, ["d", "e", "f"])


@cases(
    "before, after, options, sent, out",
    {
        "by request": (
            "n,t\n1,a\n2,b\n3,f\n",
            "note,n,t\nx,0,f\nx,1,b\nx,2,X\nx,3,a\n",
            (),
            ["X"],
            "note,n,t,answer\nx,0,f,f #1\nx,1,b,b #1\nx,2,X,X #1\nx,3,a,a #1\n",
        ),
        "by id": (
            "custom_id,t\nx,a\ny,b\n",
            "custom_id,t\nx,A\nz,c\n",
            ("--match", "id"),
            ["c"],
            "custom_id,t,answer\nx,A,a #1\nz,c,c #1\n",
        ),
    },
)
def test_answers_to_rows_are_found_again(
    before: str, after: str, options: tuple[str, ...], sent: list[str], out: str, table: Table
) -> None:
    table.input.write_text(before)
    assert table.status_and_prompts()[0] == 0
    table.input.write_text(after)
    assert table.status_and_prompts(*options) == (0, sent)
    assert table.out.read_text() == out


def test_of_two_rows_with_an_id_the_second_gets_no_answer(table: Table) -> None:
    table.input.write_text("custom_id,t\nx,a\n")
    assert table.resume().status == 0
    table.input.write_text('custom_id,t\nx,A\n"y","b\nb"\nx,c\n')
    done = table.resume("--match", "id")
    assert (done.status, table.new_prompts()) == (1, ["a", "b\nb"])
    assert done.stderr.startswith(b"chatpipe: in.csv:5: custom_id 'x' is on another line, too: ")


def test_an_empty_cell_is_no_id(table: Table) -> None:
    table.input.write_text("custom_id,t\n,a\n,b\n")
    assert table.status_and_prompts()[0] == 0
    table.input.write_text("custom_id,t\n,c\n,b\n")
    assert table.status_and_prompts("--match", "id") == (0, ["c"])
    assert table.out.read_text().splitlines()[1].startswith(",c,c")


def test_an_output_may_not_be_the_input(table: Table) -> None:
    done = run("map", "-p", "echo", "{{t}}", "--csv", "in.csv", "-o", "in.csv", cwd=table.folder)
    assert (done.status, table.files()) == (2, ["in.csv"])


# Pipes


def test_rows_are_written_while_the_input_is_still_open() -> None:
    with start("map", "-p", "echo", "{{a}}", "--csv", stdin=subprocess.PIPE) as process:
        process.send(b"a,b\n1,")
        assert process.line() == b"a,b,answer\n"
        process.send(b'2\n"x\ny",')
        assert process.line() == b"1,2,1\n"
        process.send(b"z\n")
        assert process.line() + process.line() == b'"x\ny",z,"x\n'
        process.hang_up()
        assert process.line() + process.line() == b'y"\n'
        assert process.wait() == 0


def test_a_reader_that_goes_away_ends_it_in_silence() -> None:
    done = sh("yes 'some text' | chatpipe map -p echo --lines '{{line}}' | head -n 1")
    assert done == (0, b'{"line":"some text","answer":"some text"}\n', b"")


def test_a_full_disk_is_74() -> None:
    done = sh("chatpipe map -p echo --lines '{{line}}' >/dev/full", stdin=b"a\n")
    assert done.status == 74
    what = b"cannot write: no space left on device: 1 answer is lost"
    assert done.stderr == b"chatpipe: stdout: %b: free some space\n" % what


def test_closed_stdin_is_reported() -> None:
    done = sh("chatpipe map -p echo '{{a}}' --csv <&-")
    assert done.status == 66
    assert done.stderr.startswith(b"chatpipe: <stdin>: ")


@cases(
    "arguments, stdin, written",
    {
        "given names": (["{{a}}", "--csv", "--fields", "a,b"], b"", b"a,b,answer\n"),
        "a header": (["{{a}}", "--csv"], b"a,b\n", b"a,b,answer\n"),
        "lines": (["{{line}}", "--lines"], b"", b""),
        "JSON": (["{{a}}"], b"", b""),
    },
)
def test_an_input_without_rows_is_a_run_without_rows(
    arguments: list[str], stdin: bytes, written: bytes
) -> None:
    done = echoed(*arguments, stdin=stdin)
    assert (done.status, done.stdout) == (0, written)


@cases(
    "option, value",
    {
        "the model": ("--model", "{{model}}"),
        "another parameter": ("--user-id", "u-{{ id }}"),
        "by key": ("--metadata", "row={{id}}"),
        "an image": ("--image", "{{url}}"),
        "a file": ("--file", "{{path}}"),
        "a result": ("--tool-result", "call={{a}}"),
        "the name of a field": ("--into", "{{a}}"),
    },
)
def test_a_field_in_an_option_that_is_no_template_is_wrong_usage(option: str, value: str) -> None:
    done = echoed("{{a}}", option, value, stdin=b'{"a": 1}\n')
    assert (done.status, done.stdout) == (2, b"")
    field = value[value.index("{") :]
    assert done.stderr.startswith(f"chatpipe: {option}: '{field}' is not filled in here: ".encode())


@cases(
    "option, value",
    {
        "text": ("--set", "chat_template={{ messages }}"),
        "JSON": ("--set", 'extra:=["{{x}}"]'),
        "a stop": ("--stop", "{{end}}"),
    },
)
def test_braces_where_they_may_be_meant_are_sent_with_a_warning(option: str, value: str) -> None:
    done = run("map", "-m", "m", "-f", "requests", "{{a}}", option, value, stdin=b'{"a": 1}\n')
    assert done.status == 0
    assert done.stderr.startswith(f"chatpipe: warning: {option}: '{{{{".encode())
    assert b"is sent as it is: fields go into TEMPLATE" in done.stderr


def test_braces_that_are_no_field_are_left_alone() -> None:
    (body,) = requests("{{a}}", "--stop", "}}", "--user-id", "{{}}", stdin=b'{"a": 1}\n')
    assert (body["stop"], body["user"]) == ("}}", "{{}}")


def test_a_message_that_set_writes_is_a_template() -> None:
    (body,) = requests("{{a}}", "--set", "messages[0].content=is {{a}}", stdin=b'{"a": 1}\n')
    assert body["messages"] == [{"role": "user", "content": "is 1"}]


def test_a_failure_that_is_allowed_has_its_reason() -> None:
    stdin = b"a\nbad\n\xff\nx\n"
    done = map_("{{a}}", "--csv", "--error-into", "why", "--allow", "failed", stdin=stdin)
    assert done.status == 0
    _, bad, wrong, good = done.stdout.splitlines()
    assert re.fullmatch(rb"bad,,500 from '.*': broken", bad)
    assert wrong.startswith(b'\xff,,"<stdin>:3: byte 0xff is not UTF-8')
    assert good == b"x,X,"
