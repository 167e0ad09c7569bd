"""A key in the content of an answer: whole, in pieces, in every field that grows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatpipe.response.assemble import Assembly
from chatpipe.response.key_pieces import KeyPieces, without_keys
from support.parametrize import cases
from support.servers.loopback import chunk

KEY = "sk-Canary-0123456789-abc"
OTHER = "Canary-0123456789-abcdef"  # which overlaps with it


def passed(chunks: Sequence[dict[str, Any]], keys: Sequence[str] = (KEY,)) -> list[dict[str, Any]]:
    """The chunks that come out, each as its bytes say."""
    pieces = KeyPieces(keys)
    out: list[dict[str, Any]] = []
    for each in chunks:
        payload = orjson.dumps(each)
        pieces.see(payload)
        if pieces.is_free(each):
            out.append(each)
        else:
            held = pieces.hold(payload, each)
            out += [orjson.loads(one.payload if one.is_changed else one.event) for one in held]
        assert orjson.dumps(each) == payload
    return [*out, *(orjson.loads(one.payload if one.is_changed else one.event) for one in pieces.end())]


def said(chunks: Sequence[dict[str, Any]], index: int = 0) -> str:
    assembly = Assembly()
    for each in chunks:
        assembly.add(each)
    choices = assembly.completion()["choices"]
    return str(next(each for each in choices if each["index"] == index)["message"]["content"])


@pytest.mark.parametrize("cut", range(len(KEY) + 1))
def test_key_cut_anywhere_is_replaced_once(cut: int) -> None:
    out = passed([chunk("It is "), chunk(KEY[:cut]), chunk(KEY[cut:]), chunk(", they say")])
    assert KEY not in said(out)
    assert said(out).endswith("***, they say")
    assert len(said(out)) <= len("It is ***, they say") + 3  # what four characters of a key begin with


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
def test_key_in_small_pieces_is_replaced(size: int) -> None:
    text = f"a {KEY} b {KEY}{KEY} c"
    out = said(passed([chunk(text[at : at + size]) for at in range(0, len(text), size)]))
    assert KEY not in out
    assert out.count("***") == 3


def every(form: str) -> str:
    return "".join(form.format(ord(each)) for each in KEY)


ENCODED = {
    "JSON in a text": every("\\u{:04x}"),
    "in capitals": every("\\u{:04X}"),
    "JSON in JSON in a text": every("\\\\\\u{:04x}"),
    "other languages": every("\\x{:02x}"),
    "Rust": every("\\u{{{:x}}}"),
    "a URL": every("%{:02x}"),
    "a URL in a URL": every("%25{:02X}"),
    "HTML": every("&#{};"),
    "HTML in hexadecimal": every("&#x{:x};"),
    "only its punctuation": KEY.replace("-", "\\u002d"),
    "Markdown": KEY.replace("-", "\\-"),
    "an entity with a name": KEY.replace("-", "&dash;"),
    "only its first letter": f"\\u0073{KEY[1:]}",
    "only its last letter": f"{KEY[:-1]}%63",
    "only a letter inside": KEY.replace("C", "\\u0043"),
}


@cases("text", ENCODED)
def test_encoded_key_is_replaced(text: str) -> None:
    assert without_keys({"a": [f'{{"k": "{text}{text}"}}, {text}'], text: 1}, [KEY]) == {
        "a": ['{"k": "******"}, ***'],
        "***": 1,
    }


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 1000])
@cases("text", ENCODED)
def test_encoded_key_in_pieces_is_replaced(text: str, size: int) -> None:
    whole = f'It is "{text}", {text}!'
    out = said(passed([chunk(whole[at : at + size]) for at in range(0, len(whole), size)]))
    assert out.count("***") == 2
    # Up to three characters of the key have gone before it is known.
    assert [out[:7], out[-1:], len(out) <= len('It is "***", ***!') + 6] == ['It is "', "!", True]


def test_every_encoded_key_in_a_long_text_is_replaced() -> None:
    text = ENCODED["JSON in a text"]
    for before in (65400, 65500, 65536):  # around the end of a block
        whole = " ".join(["é" * before, text, text * 600, text[:-2]])
        assert without_keys(whole, [KEY]) == " ".join(["é" * before, "***", "***" * 600, text[:-2]])


def test_encoded_key_that_is_cut_is_replaced_at_the_end() -> None:
    text = ENCODED["JSON in a text"]
    for cut in (1, 2, 3, 4, 5, 6):
        assert said(passed([chunk("It is "), chunk(text[:-cut])])) == "It is ***"


@cases(
    "text",
    {
        "LaTeX": r"\alpha + \ubar{x} \frac{1}{2} % 50% \\",
        "code": 'print("a\\n\\u00e9") && a & b',
        "a URL": "https:\\/\\/a.example/%7Eb?c=%C3%BC&amp;d=%20",
        "escapes": "\\u0061\\u0062 &#97; %61",
        "letters of other languages": "\\u4f60\\u00fc ü 你",
        "the beginning of a key": f"\\u0073{KEY[1:9]} and then",
        "marks at the end": "a &",
        "backslashes": "\\" * 300,
    },
)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_text_with_other_encoded_characters_is_passed_on_as_it_is(text: str, size: int) -> None:
    chunks = [chunk(text[at : at + size]) for at in range(0, len(text), size)]
    assert passed(chunks) == chunks
    assert without_keys({"a": text}, [KEY]) == {"a": text}


@pytest.mark.parametrize("size", [1, 7, 100, 5000])
def test_key_in_another_member_of_a_long_chunk_is_replaced(size: int) -> None:
    """Its bytes come in many reads, the key in the first of them."""
    sent = chunk("a" * 3000, model=KEY, note=ENCODED["a URL"])
    payload = orjson.dumps({"model": sent.pop("model"), "note": sent.pop("note"), **sent})
    pieces, data = KeyPieces([KEY]), b"data: " + payload + b"\n\n"
    for at in range(0, len(data), size):
        pieces.see(data[at : at + size])
    assert not pieces.is_free(orjson.loads(payload))
    [held] = pieces.hold(payload, orjson.loads(payload))
    assert (held.chunk["model"], held.chunk["note"]) == ("***", "***")
    pieces.see(b"data: {}\n\n")
    pieces.see(b"data: {}\n\n")
    assert pieces.is_free(chunk("b"))


@cases(
    "deltas",
    {
        "reasoning": [{"reasoning_content": KEY[:9]}, {"reasoning_content": KEY[9:]}],
        "a refusal": [{"refusal": KEY[:9]}, {"refusal": KEY[9:]}],
        "arguments": [
            {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": KEY[:9]}}]},
            {"tool_calls": [{"index": 0, "function": {"arguments": KEY[9:]}}]},
        ],
        "content parts": [{"content": [{"type": "text", "text": KEY}]}],
        "beside a role": [{"role": "assistant", "content": KEY[:9]}, {"content": KEY[9:]}],
        "a transcript": [{"audio": {"transcript": KEY[:9]}}, {"audio": {"transcript": KEY[9:]}}],
    },
)
def test_every_field_is_looked_at(deltas: list[dict[str, Any]]) -> None:
    out = passed([chunk(each) for each in deltas])
    assembly = Assembly()
    for each in out:
        assembly.add(each)
    assert KEY not in orjson.dumps(assembly.completion()).decode()
    assert b"***" in orjson.dumps(out)


@pytest.mark.parametrize("cut", range(1, len(KEY)))
def test_texts_of_the_older_api_are_looked_at(cut: int) -> None:
    texts = ["It is ", KEY[:cut], KEY[cut:], ", they say"]
    out = passed([{"choices": [{"index": 0, "text": text}]} for text in texts])
    assert "".join(each["choices"][0]["text"] for each in out).endswith("***, they say")


def test_other_fields_and_errors_are_looked_at() -> None:
    out = passed([chunk("a", model=KEY), chunk("b") | {KEY: 1}, {"error": {"message": KEY}}, {"detail": KEY}])
    assert KEY.encode() not in orjson.dumps(out)


def test_choices_do_not_mix() -> None:
    """Two halves of a key in two choices are no key, and a key is found between the pieces of another."""
    out = passed([chunk(KEY[:9]), chunk(KEY[9:], index=1), chunk(" x"), chunk("y", index=1)])
    assert (said(out), said(out, 1)) == (f"{KEY[:9]} x", f"{KEY[9:]}y")
    out = passed([chunk(KEY[:9]), chunk("y", index=1), chunk(KEY[9:]), chunk("z", index=1)])
    assert (said(out), said(out, 1)) == ("***", "yz")


def test_log_probabilities_that_spell_a_key_are_left_out() -> None:
    tokens = [
        {"token": piece, "logprob": -0.5, "bytes": list(piece.encode()), "top_logprobs": []}
        for piece in ("a ", KEY[:5], KEY[5:], " b")
    ]
    streamed = [chunk(str(each["token"])) for each in tokens]
    for each, token in zip(streamed, tokens, strict=True):
        each["choices"][0]["logprobs"] = {"content": [token]}
    assert [each["choices"][0]["logprobs"] is None for each in passed(streamed)] == [False, True, True, False]
    whole = without_keys({"logprobs": {"content": tokens}}, [KEY])["logprobs"]["content"]
    assert [each["token"] for each in whole] == ["a ", "***", "", " b"]
    assert [each["bytes"] for each in whole] == [[97, 32], None, None, [32, 98]]
    lists = {"tokens": [each["token"] for each in tokens], "token_logprobs": [-0.5] * 4}
    assert without_keys(lists, [KEY]) == {**lists, "tokens": ["a ", "***", "", " b"]}


def test_cut_key_is_replaced_at_the_end() -> None:
    assert said(passed([chunk("It is "), chunk(KEY[:-3])])) == "It is ***"
    assert said(passed([chunk("It is "), chunk(KEY[:5])])) == f"It is {KEY[:5]}"


def test_nothing_is_held_for_ever() -> None:
    pieces = KeyPieces([KEY])
    assert pieces.hold(b"", chunk(KEY[:9])) == []
    released = [len(pieces.hold(b"", chunk(""))) for _ in range(3000)]
    assert max(released) > 1000


@cases(
    "text",
    {
        "an encoded character": "ab %",
        "JSON": "ab \\",
        "HTML": "ab &#x7",
        "its first characters": f"ab {KEY[:6]}",
        "its first characters, encoded": "ab \\u0073\\u006b",
    },
)
def test_chunk_is_held_no_longer_than_a_key_may_begin_in_it(text: str) -> None:
    pieces = KeyPieces([KEY])
    assert pieces.hold(b"", chunk(text)) == []
    assert [len(pieces.hold(b"", chunk(text))) for _ in range(5)] == [1] * 5
    assert [len(pieces.hold(b"", chunk(" x", index=at))) for at in (1, 0)] == [0, 3]


@pytest.mark.parametrize("cut", range(1, len(ENCODED["a URL"])))
def test_key_behind_a_beginning_of_another_is_replaced(cut: int) -> None:
    """The chunk of the first beginning has gone when the key comes."""
    text = ENCODED["a URL"]
    out = said(passed([chunk("100 %"), chunk(f" of {text[:cut]}"), chunk(text[cut:]), chunk("!")]))
    assert out == "100 % of ***!"


@given(st.lists(st.text(alphabet="sk-Canry012", max_size=6), max_size=20))
def test_other_text_is_passed_on_as_it_is(texts: list[str]) -> None:
    chunks = [chunk(text) for text in texts]
    assert passed(chunks) == chunks


@given(
    st.lists(
        st.sampled_from([KEY, OTHER, KEY[:7], KEY[7:], OTHER[:9], OTHER[9:], "x", "s", "sk-"]), max_size=12
    )
)
def test_no_key_is_left_whatever_the_pieces(texts: list[str]) -> None:
    out = "".join(
        each["choices"][0]["delta"]["content"] for each in passed([chunk(t) for t in texts], (KEY, OTHER))
    )
    assert KEY not in out
    assert OTHER not in out
