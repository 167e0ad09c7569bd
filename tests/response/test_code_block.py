"""The first fenced code block of a text. The examples with a number are those of CommonMark 0.31.2."""

from __future__ import annotations

import pytest

from chatpipe.response.code_block import first_code_block
from support.parametrize import cases

LIST = "1. Run:\n\n    ```sh\n    ls\n      -l\n    ```\n2. Done."


@cases(
    ("text", "content"),
    {
        "119": ("```\n<\n >\n```", "<\n >\n"),
        "120": ("~~~\n<\n >\n~~~", "<\n >\n"),
        "122, the same character": ("```\naaa\n~~~\n```", "aaa\n~~~\n"),
        "123": ("~~~\naaa\n```\n~~~", "aaa\n```\n"),
        "124, at least as long": ("````\naaa\n```\n``````", "aaa\n```\n"),
        "125": ("~~~~\naaa\n~~~\n~~~~", "aaa\n~~~\n"),
        "126, no end": ("```", ""),
        "127": ("`````\n\n```\naaa", "\n```\naaa"),
        "128, the end of a quote": ("> ```\n> aaa\n\nbbb", "aaa\n"),
        "129, blank lines": ("```\n\n  \n```", "\n  \n"),
        "130, empty": ("```\n```", ""),
        "131, indented": (" ```\n aaa\naaa\n```", "aaa\naaa\n"),
        "132": ("  ```\naaa\n  aaa\naaa\n  ```", "aaa\naaa\naaa\n"),
        "133": ("   ```\n   aaa\n    aaa\n  aaa\n   ```", "aaa\n aaa\naaa\n"),
        "135, the end is indented otherwise": ("```\naaa\n  ```", "aaa\n"),
        "136": ("   ```\naaa\n  ```", "aaa\n"),
        "137, the end is indented too much": ("```\naaa\n    ```", "aaa\n    ```"),
        "139, an end has no info string": ("~~~~~~\naaa\n~~~ ~~", "aaa\n~~~ ~~"),
        "140, in a paragraph": ("foo\n```\nbar\n```\nbaz", "bar\n"),
        "142, info string": ("```ruby\ndef foo(x)\n  return 3\nend\n```", "def foo(x)\n  return 3\nend\n"),
        "143": ("~~~~    ruby startline=3 $%@#$\ndef\n~~~~~~~", "def\n"),
        "144": ("````;\n````", ""),
        "146, of tildes": ("~~~ aa ``` ~~~\nfoo\n~~~", "foo\n"),
        "147": ("```\n``` aaa\n```", "``` aaa\n"),
        "318, in a list": ("- a\n- ```\n  b\n\n\n  ```\n- c", "b\n\n\n"),
        "the first of two": ("```\na\n```\n```\nb\n```", "a\n"),
        "the text goes on": ("a\n\n~~~x\nb\n~~~\n\nc ``` d", "b\n"),
        "white space behind the end": ("```\na\n``` \t \nb", "a\n"),
        "CRLF": ("a\r\n```x\r\nb\r\n```\r\nc", "b\r\n"),
        "CR": ("```\ra\r```\rb", "a\r"),
        "other line ends are none": ("```\na\u2028```\x0b```\x85```\n```", "a\u2028```\x0b```\x85```\n"),
        "no line end at all": ("```py\na", "a"),
        "tabs stay": ("```make\nall:\n\tcc\n```", "all:\n\tcc\n"),
        "a tab behind the indentation": ("  ```\n  \ta\n  ```", "\ta\n"),
        "a tab in the indentation": ("  ```\n\ta\n \tb\n```", "  a\n  b\n"),
        "a code span before": ("```a``` b\n```\nc\n```", "c\n"),
        "a code block without a fence before": ("    ```\n    a\n    ```\n\n```\nb\n```", "b\n"),
        "list": (LIST, "ls\n  -l\n"),
        "bullets": ("* a:\n\n  ~~~\n  b\n  ~~~", "b\n"),
        "in the line of the bullet": ("-   ```\n    a\n    ```", "a\n"),
        "behind a tab": ("-\t```\n\ta\n\t```", "a\n"),
        "an item that begins a line below": ("10)\n    ```\n    a\n    ```", "a\n"),
        "nested": ("- a\n  1. b\n\n     ```\n     c\n     ```", "c\n"),
        "a quote in a list": ("- > ```\n  > a\n  > ```\n  > b", "a\n"),
        "a list in a quote": (">- ```\n>   a\n> \n>     b\n>   ```", "a\n\n  b\n"),
        "below a list": ("- a\n\nb\n\n```\nc\n```", "c\n"),
        "a list whose block is not indented": (
            "1. a\n   ```py\nb:\n    c\n\nd\n```\n2. e",
            "b:\n    c\n\nd\n",
        ),
        "a list whose closing fence is not": ("1. a\n   ```py\n   b:\n     c\n```\n2. d", "b:\n  c\n"),
        "not indented, in a quote": ("> - ```\n>  a\n> b\n> ```\nc", " a\nb\n"),
        "text of many kinds before": ("# a\n1\n2.b\n-\n>\n***\n`c`\n~~d~~\n ```\n e\n```", "e\n"),
    },
)
def test_the_content_of_the_first_block(text: str, content: str) -> None:
    assert first_code_block(text) == content


@cases(
    "text",
    {
        "nothing": "",
        "text": "one\n\ntwo",
        "121, two are too few": "``\nfoo\n``",
        "134, indented by four": "    ```\n    aaa\n    ```",
        "138, a code span": "``` ```\naaa",
        "145, a backtick in the info string": "``` aa ```\nfoo",
        "not at the start of a line": "a ```\nb\n```c`",
        "a tab before": "\t```\n\ta",
        "below a break, which is no list": "* * *\n    ```\n    a",
        "too deep in a list": "- a\n\n      ```\n      b",
        "an item that begins with four spaces more": "-     ```\n      a",
        "a number that is too long": "1234567890. a\n\n             ```\n",
        "not a marker": "-a\n\n    ```\n",
    },
)
def test_no_block(text: str) -> None:
    assert first_code_block(text) is None


@pytest.mark.parametrize("text", ["> ", "- ", "-\t", "`", " ", "```\n`` \t", "1. ", "~ "])
def test_nothing_takes_quadratic_time(text: str) -> None:
    """One long line, and many. Quadratic work would take minutes."""
    first_code_block(text * 100_000 + "a`\n~~~")
    first_code_block("\n".join([text * 50] * 1_000) + "\n" * 5_000 + "~~~")
