"""What is meant by a name that is no file."""

from __future__ import annotations

from chatpipe.inputs.missing_names import advice
from support.parametrize import cases

JSON = "pipe JSON in, with '-' for the file"
CURL = "URLs are not fetched: pipe it in from curl, with '-' for the file"
SAVE = "URLs are not fetched: save it in a file first"


@cases(
    ("name", "said"),
    {
        "JSON": ('{"a": 1}', JSON),
        "a JSON array": (" [1]", JSON),
        "a URL of a file": ("file:///a/b.png", "write /a/b.png"),
        "in capitals": ("FILE:///a", "write /a"),
        "percent-encoded": ("file:///a%20b", "write '/a b'"),
        "of a host": ("file://localhost/a", "write /a"),
        "without a path": ("file://", "write the path"),
        "not a URL after all": ("file://[", "write the path"),
        "a page": ("https://a.example/x?y", CURL),
        "a bucket": ("s3://a/b", SAVE),
        "a pattern": ("*.png", "patterns are for the shell: name each file"),
        "a pattern of a letter": ("a?", "patterns are for the shell: name each file"),
        "a plain name": ("a.png", ""),
        "a name with a colon": ("a:b", ""),
        "a name with slashes": ("a//b", ""),
    },
)
def test_a_name_that_is_no_file_gets_advice_for_what_it_is(name: str, said: str) -> None:
    assert advice(name, "--file") == said


def test_json_in_place_of_the_file_of_a_schema() -> None:
    assert advice("{}", "--schema") == "give JSON itself by --schema-json"
