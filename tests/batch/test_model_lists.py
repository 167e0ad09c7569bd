"""Servers of a run that have another model than its lines ask for."""

from __future__ import annotations

from collections import Counter
from typing import Any

import orjson

from batch.result_lines import outcomes
from batch.runs import jsonl
from batch.test_fleet import asked, assert_all_answered, batch, by_server, servers, with_models
from batch.weather import right, wrong_results
from chatpipe.batch.fleet.model_lists import is_among, names_in
from support.parametrize import cases
from support.process import run
from support.servers.loopback import Answer, Handler, Request, error, reply


def entry(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model"}


@cases(
    "value, names",
    {
        "OpenAI": ({"object": "list", "data": [entry("a"), entry("b")]}, ("a", "b")),
        "Ollama": ({"models": [{"name": "a:latest"}]}, ("a:latest",)),
        "a bare list": ([entry("a")], ("a",)),
        "nothing is loaded": ({"data": []}, ()),
        "null": ({"data": None}, ()),
        "no list": ({"detail": "not found"}, ()),
        "one has no name": ({"data": [entry("a"), {}]}, ()),
        "there is another page": ({"data": [entry("a")], "has_more": True}, ()),
        "a gateway that takes any name": ({"data": [entry("a"), entry("openai/*")]}, ()),
        "a gateway with many": ({"data": [entry(f"m{at}") for at in range(33)]}, ()),
    },
)
def test_names_of_a_list_that_tells(value: Any, names: tuple[str, ...]) -> None:
    assert names_in(value) == names


@cases(
    "model, name, is_same",
    {
        "the same": ("m", "m", True),
        "another": ("m", "n", False),
        "a longer one": ("m", "m2", False),
        "case": ("Qwen/Qwen3-8B", "qwen/qwen3-8b", True),
        "Ollama, no tag": ("qwen3", "qwen3:latest", True),
        "Ollama, another tag": ("qwen3", "qwen3:8b", False),
        "Gemini": ("gemini-pro", "models/gemini-pro", True),
        "the file of llama.cpp": ("qwen3-8b-q4", "/srv/models/Qwen3-8B-Q4.gguf", True),
        "without the owner": ("qwen3-8b", "Qwen/Qwen3-8B", True),
    },
)
def test_names_that_mean_the_same_model(model: str, name: str, *, is_same: bool) -> None:
    assert is_among(model, [name]) is is_same
    assert is_among(name, ["other", model]) is is_same


def test_a_server_with_another_model_gets_no_line_and_one_note() -> None:
    with servers(with_models(right, "m"), with_models(right, "x", "y"), right) as three:
        done = batch(three, "-j6")
    assert_all_answered(done)
    assert asked(three[1]) == 0
    note = f"chatpipe: '{three[1].url}' gets no line for 'm': it has 'x' and 1 more\n"
    assert done.stderr == note.encode()


def test_it_is_not_up_in_the_report(tmp_path: Any) -> None:
    with servers(with_models(right, "m"), with_models(right, "x")) as two:
        done = batch(two, "--report", f"{tmp_path}/report.json")
    assert done.status == 0
    report = orjson.loads((tmp_path / "report.json").read_bytes())["servers"]
    assert [report[each.url]["up"] for each in two] == [True, False]


@cases(
    "first, second",
    {
        "nobody has it": (with_models(right, "x"), with_models(right, "y")),
        "the others do not tell": (with_models(right, "x"), right),
        "a list that is broken": (with_models(right, "m"), lambda r: broken_list(r)),
    },
)
def test_a_list_that_shows_nothing_leaves_nobody_out(first: Handler, second: Handler) -> None:
    with servers(first, second) as two:
        done = batch(two, "-j4")
    assert_all_answered(done)
    assert done.stderr == b""
    assert min(map(asked, two)) > 0


def broken_list(request: Request) -> Answer:
    return reply(200, b"<html>") if request.method == "GET" else right(request)


def test_lines_with_models_of_their_own_go_where_these_are() -> None:
    lines = jsonl(
        *({"model": "mn"[at % 2], "messages": [{"role": "user", "content": f"q{at}"}]} for at in range(30))
    )
    with servers(with_models(right, "m"), with_models(right, "n")) as two:
        options = [word for each in two for word in ("--base-url", each.url)]
        done = run("batch", *options, "-j4", stdin=lines)
        models = [{request.json()["model"] for request in each.requests if request.body} for each in two]
    assert (done.status, wrong_results(done.stdout, 30)) == (0, [])
    assert models == [{"m"}, {"n"}]
    assert set(by_server(done).values()) == {15}


def test_lines_whose_only_server_fails_fail() -> None:
    broken = with_models(lambda _: error(500, "broken"), "m")
    with servers(broken, with_models(right, "x")) as two:
        done = batch(two, "-j4", "--retries", "0", lines=10)
    assert Counter(outcomes(done.stdout)) == {"http": 10}
    assert asked(two[1]) == 0
