"""Remedies in messages, typed as they stand: each makes the command that caused the message succeed.

A row is a command, the end of its message, and commands with what the message says between angle quotes.
Without such quotes the message says what to leave out. Words in capitals are filled in from FILLED.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

import chatpipe
from support.parametrize import cases

Chatpipe = Callable[..., Any]
PACKAGE = Path(chatpipe.__file__).parent


CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def answer(finish_reason: str, **message: object) -> str:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish_reason}
    return orjson.dumps({"choices": [choice]}).decode()


def recording(text: str, finish_reason: str = "stop") -> str:
    body = {"model": "echo", "messages": [{"role": "user", "content": text}]}
    reply = orjson.loads(answer(finish_reason, content=text))
    record = {"request": {"body": body}, "response": {"status": 200, "body": reply}}
    return orjson.dumps(record).decode() + "\n"


FILES = {
    "body.json": '{"model": "m", "messages": [{"role": "user", "content": "x"}]}',
    "two.json": '{"model": "m", "n": 2, "stream": false, "messages": [{"role": "user", "content": "x"}]}',
    "line.jsonl": '{"custom_id": "a", "body": {"model": "m", "messages": '
    '[{"role": "user", "content": "x"}]}}',
    "prompts.jsonl": '{"prompt": "x"}\n{"prompt": "y"}\n',
    "ids.jsonl": '{"custom_id": "a", "prompt": "x"}\n{"custom_id": "a", "prompt": "y"}\n',
    "rows.jsonl": '{"text": "x"}\n',
    "image-rows.jsonl": '{"text": "x", "url": "https://127.0.0.1/x.png"}\n',
    "t.csv": "text,b\nx,2\n",
    "semi.csv": "text;b\nx;2\n",
    "empty.csv": "",
    "quoted.csv": '"a","b"\n"x","y"\n',
    "one.csv": '"a"\nx\n',
    "no.csv": ",\nx,2\n",
    "schema.json": '{"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], '
    '"additionalProperties": false}',
    "named-schema.json": '{"name": "a", "schema": {"type": "object"}, "strict": true}',
    "tool.json": '{"name": "weather", "parameters": {"type": "object", "properties": {}}}',
    "array.json": '[{"role": "user", "content": "x"}]',
    "row.json": '{"prompt": "x"}',
    "m.json": '{"role": "user", "content": "x"}',
    "text.txt": "a text",
    "other.txt": "another text",
    "p.toml": "[m]\ninput = 1\noutput = 1\n[echo]\ninput = 1\noutput = 1\n",
    "more.jsonl": '{"a": "x"}\n{"a": "x", "b": "y"}\n',
    "empty.json": "{}",
    "good.json": answer("stop", content="x"),
    "empty-answer.json": answer("stop", content=""),
    "refused.json": answer("stop", content=None, refusal="no"),
    "cut.json": answer("length", content="x"),
    "x.rec": recording("x"),
    "full.rec": recording("x", "model_length"),
    "out.journal": '{"chatpipe_journal": 1}\n'
    f'{{"custom_id": "a", "response": {{"body": {answer("stop", content="x")}}}}}\n',
    "out.csv": "text,answer\nx,y\n",
    "out.csv.journal": '{"chatpipe_journal": 1}\n',
    "other.rec": recording("other"),
    "calls.json": answer("tool_calls", content=None, tool_calls=[CALL]),
}
# Values for the words in capitals; of FILE and PATH by the option before them.
FILLED = {
    "MODEL": "m",
    "FIELDS": "c",
    "NAME": "other",
    "VOICE": "alloy",
    "FORMAT": "wav",
    "TEXT": "words",
    "NAME=COMMAND": "weather=cat",
    "ID=TEXT": "call=words",
    "PATH=TEXT": "user=u",
    "PATH:=JSON": "top_k:=40",
    "--unpack=PREFIX": "--unpack=new_",
}
OF_OPTION = {
    "--prices": "p.toml",
    "--schema": "schema.json",
    "--tool": "tool.json",
    "--function": "tool.json",
    "--messages": "array.json",
    "--image": "http://e.com/a.png",
    "--file": "text.txt",
    "--replay": "x.rec",
    "--reuse": "out.journal",
}


ROWS: dict[str, tuple[str, str, list[str]]] = {
    # the options of a call
    "a schema in place of its file": (
        """build -m m --schema '{"type": "object"}' x""",
        "give JSON itself by --schema-json",
        ["""build -m m «--schema-json» '{"type": "object"}' --no-check x"""],
    ),
    "no model": (
        "build -f batch x",
        "pass -m MODEL or set CHATPIPE_MODEL",
        ["build -f batch x «-m MODEL»"],
    ),
    "a model that is removed": (
        "build -f batch -m m --unset model x",
        "leave out --unset model",
        ["build -f batch -m m x"],
    ),
    "no messages": (
        "build -m m -r empty.json",
        "give a prompt, -u TEXT or --messages FILE",
        ["build -m m -r empty.json PROMPT", "build -m m -r empty.json «-u TEXT»"],
    ),
    "a number as text": (
        "build -m m --set temperature=0.5 x",
        "--set temperature:=0.5",
        ["build -m m «--set temperature:=0.5» x"],
    ),
    "an array as text": (
        "build -m m --set 'tools=[]' x",
        "--set 'tools:=[]'",
        ["build -m m «--set 'tools:=[]'» x --no-check"],
    ),
    "probabilities": (
        "build -m m --top-logprobs 2 x",
        "add --logprobs",
        ["build -m m --top-logprobs 2 «--logprobs» x"],
    ),
    "a format without its schema": (
        "build -m m --response-format json_schema x",
        "give the schema with --schema FILE in its place",
        ["build -m m «--schema FILE» x"],
    ),
    "moderation without a model": (
        "build -m m --moderation-input score x",
        "add --moderation-model MODEL",
        ["build -m m --moderation-input score «--moderation-model MODEL» x"],
    ),
    "audio without a voice": (
        "build -m m --modality audio --audio-format wav x",
        "add --audio-voice VOICE",
        ["build -m m --modality audio --audio-format wav «--audio-voice VOICE» x"],
    ),
    "audio without a format": (
        "build -m m --modality audio --audio-voice alloy x",
        "add --audio-format FORMAT",
        ["build -m m --modality audio --audio-voice alloy «--audio-format FORMAT» x"],
    ),
    "audio with neither": (
        "build --strict -m m --modality audio x",
        "add --audio-voice VOICE and --audio-format FORMAT, or leave it out",
        ["build --strict -m m --modality audio «--audio-voice VOICE» «--audio-format FORMAT» x"],
    ),
    "audio that is not asked for": (
        "build --strict -m m --audio-format wav --audio-voice alloy x",
        "add --modality audio, or leave it out",
        ["build --strict -m m --audio-format wav --audio-voice alloy «--modality audio» x"],
    ),
    "a choice without tools": (
        "build --strict -m m --tool-choice auto x",
        "add --tool FILE, or leave it out",
        ["build --strict -m m --tool-choice auto «--tool FILE» x"],
    ),
    "a choice without functions": (
        "build --strict -m m --function-call auto x",
        "add --function FILE, or leave it out",
        ["build --strict -m m --function-call auto «--function FILE» x"],
    ),
    "no path": (
        "build -m m --set x y",
        "write PATH=TEXT or PATH:=JSON",
        ["build -m m --set «PATH=TEXT» y", "build -m m --set «PATH:=JSON» y"],
    ),
    "empty value": ("ask -p echo -o '' x", "give one, or leave it out", ["ask -p echo -o out x"]),
    "a row as a request": (
        "build -r row.json",
        "send it with chatpipe batch row.json",
        ["«batch row.json» -p echo"],
    ),
    "an answer as a request": (
        "build -r good.json",
        "chatpipe show good.json prints it",
        ["«show good.json»"],
    ),
    "a message as a request": (
        "build -r m.json",
        "send it with chatpipe ask --messages m.json",
        ["«ask --messages m.json» -p echo"],
    ),
    "a recording as a request": (
        "build -r x.rec",
        "chatpipe ask --replay x.rec answers its request",
        ["«ask --replay x.rec» -p echo x"],
    ),
    "a journal as a request": (
        "build -r out.journal",
        "chatpipe show out.journal prints its answers",
        ["«show out.journal»"],
    ),
    "a request as messages": (
        "build --messages body.json",
        "send it with -r body.json",
        ["build «-r body.json»"],
    ),
    "an answer as a message": (
        "build --messages good.json",
        "get the message with chatpipe show -f message good.json",
        ["«show -f message good.json»"],
    ),
    "a URL of a file": (
        "build --user-file file://localhost/etc/passwd x",
        "write /etc/passwd",
        ["build --user-file «/etc/passwd» x"],
    ),
    "a pattern in quotes": (
        "build --user-file '*.txt' x",
        "patterns are for the shell: name each file",
        ["build --user-file text.txt --user-file other.txt x"],
    ),
    "a pattern": (
        "build --user-file text.txt other.txt",
        "write --user-file=other.txt, or write -- other.txt for that word",
        ["build --user-file text.txt «--user-file=other.txt»", "build --user-file text.txt «-- other.txt»"],
    ),
    "a pattern for one file": (
        "build -r body.json good.json",
        "write -- good.json for that word",
        ["build -r body.json «-- good.json»"],
    ),
    "empty text": ("ask -p echo -s '' x", "leave it out", ["ask -p echo x"]),
    "formats": ("ask -p echo -f json --raw x", "choose one", ["ask -p echo --raw x"]),
    "nothing to end": ("ask -p echo -0 -f json x", "use it with -f text", ["ask -p echo -0 «-f text» x"]),
    "no id in a body": (
        "build -m m --custom-id a x",
        "use it with -f batch",
        ["build -m m --custom-id a «-f batch» x"],
    ),
    "no reasoning alone": (
        "ask -p echo --reasoning only -f json x",
        "use it with -f text, or -f string",
        ["ask -p echo --reasoning only «-f text» x", "ask -p echo --reasoning only «-f string» x"],
    ),
    "nothing to share": (
        "ask -p echo --pace-jobs 2 x",
        "add --pace-file FILE, through which processes share it",
        ["ask -p echo --pace-jobs 2 «--pace-file FILE» x"],
    ),
    "one request": (
        "ask -p echo --rpm 9 x",
        "add --pace-file FILE, through which processes share it",
        ["ask -p echo --rpm 9 «--pace-file FILE» x"],
    ),
    "no file": (
        "ask -p echo --if-changed x",
        "use it with --output FILE",
        ["ask -p echo --if-changed «--output FILE» x"],
    ),
    "no rule": (
        "ask -p echo -o o --depfile-target x y",
        "use it with --depfile FILE",
        ["ask -p echo -o o --depfile-target x «--depfile FILE» y"],
    ),
    "no target": (
        "ask -p echo -M d x",
        "use --output FILE or --depfile-target NAME",
        ["ask -p echo -M d «--output FILE» x", "ask -p echo -M d «--depfile-target NAME» x"],
    ),
    "rule on stdout": ("ask -p echo -o o -M - x", "name a file", ["ask -p echo -o o -M d x"]),
    "no image": (
        "build -m m --image-detail low x",
        "use it with --image PATH",
        ["build -m m --image-detail low «--image PATH» x"],
    ),
    "no document": (
        "build -m m --file-as file x",
        "use it with --file PATH",
        ["build -m m --file-as file «--file PATH» x"],
    ),
    "no id": (
        "build -m m --tool-result x --no-check",
        "write ID=TEXT",
        ["build -m m --tool-result «ID=TEXT» --no-check"],
    ),
    "no schema": (
        "ask -p echo --reask 1 x",
        "name one with --schema FILE",
        ["ask -p echo --reask 1 «--schema FILE» x"],
    ),
    "text of a schema": (
        "build -m m --schema-json schema.json x",
        "the name of a file goes to --schema",
        ["build -m m «--schema» schema.json x"],
    ),
    "the API's form of a schema": (
        "build -m m --schema named-schema.json x",
        "give only that object",
        ["build -m m --schema schema.json x"],
    ),
    "two schemas": (
        "build -m m --schema schema.json --schema-fields a x",
        "choose one",
        ["build -m m --schema-fields a x"],
    ),
    "several answers": (
        "ask -p echo --schema schema.json --reask 1 -n 2 x",
        "ask for one with -n 1",
        ["ask -p echo --schema schema.json --reask 1 «-n 1» x"],
    ),
    "no command": (
        "ask -p echo --max-turns 2 x",
        "add --exec NAME=COMMAND",
        ["ask -p echo --max-turns 2 «--exec NAME=COMMAND» --tool tool.json x"],
    ),
    "no shell": (
        "ask -p echo --tool tool.json --exec 'weather=cat | cat' x",
        "write sh -c 'COMMAND'",
        ["ask -p echo --tool tool.json --exec \"weather=«sh -c '»cat | cat'\" x"],
    ),
    "no tool": (
        "ask -p echo --exec weather=cat x",
        "offer it with --tool FILE",
        ["ask -p echo --exec weather=cat «--tool FILE» x"],
    ),
    "several choices to follow": (
        "ask -p echo --tool tool.json --exec weather=cat -n 2 x",
        "ask for one with -n 1",
        ["ask -p echo --tool tool.json --exec weather=cat «-n 1» x"],
    ),
    "several choices to go on with": (
        "ask -p echo --transcript t.jsonl -r two.json x",
        "ask for one with -n 1, or leave out --transcript",
        ["ask -p echo --transcript t.jsonl -r two.json «-n 1» x", "ask -p echo -r two.json x"],
    ),
    "all messages": (
        "ask -p echo --transcript t.jsonl --set 'messages:=[{}]' x",
        "use --messages FILE, or leave out --transcript",
        [
            "ask -p echo --transcript t.jsonl «--messages FILE» x",
            'ask -p echo --set \'messages:=[{"role":"user","content":"x"}]\'',
        ],
    ),
    "no stream": (
        "ask -p echo -r two.json --raw",
        "use -f json, or add --stream",
        ["ask -p echo -r two.json «-f json»", "ask -p echo -r two.json --raw «--stream»"],
    ),
    "two sounds": (
        "ask -p echo -f audio -n 2 --modality audio --audio-voice a --audio-format wav x",
        "use -f json",
        ["ask -p echo «-f json» -n 2 --modality audio --audio-voice a --audio-format wav x"],
    ),
    "a text as messages": (
        "build -m m --messages text.txt x",
        "send it as a message with --user-file text.txt",
        ["build -m m «--user-file text.txt» x"],
    ),
    "a Batch line": (
        "build -r line.jsonl",
        "send it with chatpipe batch line.jsonl, or get the request with jq .body line.jsonl",
        ["«batch line.jsonl» -p echo"],
    ),
    "several requests": (
        "build -r prompts.jsonl",
        "send them with chatpipe batch prompts.jsonl",
        ["«batch prompts.jsonl» -p echo"],
    ),
    "no address": (
        "build -p echo -f curl x",
        "name a --base-url",
        ["build -m m «--base-url» http://h/v1 -f curl x"],
    ),
    "cut off": (
        "ask -p echo --max-tokens 1 'one two'",
        "raise --max-completion-tokens or --max-tokens, or --allow truncated",
        [
            "ask -p echo «--max-tokens» 9 'one two'",
            "ask -p echo --max-tokens 1 'one two' «--allow truncated»",
        ],
    ),
    "cut off at the end of the context": (
        "ask -m echo --replay full.rec x",
        "shorten the messages, which fill the context of the model, or --allow truncated",
        ["ask -m echo --replay full.rec x «--allow truncated»"],
    ),
    "tool calls": (
        "ask -p echo --tool tool.json --tool-choice weather -f text x",
        "get them with -f tool-calls, answer them with --tool-result",
        ["ask -p echo --tool tool.json --tool-choice weather «-f tool-calls» x"],
    ),
    "no key": (
        "ask -m m x",
        "set OPENAI_API_KEY, pass --key-file FILE, or try -p echo, which needs none",
        ["ask «-p echo» x"],
    ),
    "key on stdin": ("ask -m m --base-url http://127.0.0.1:9/v1 --key-file - x", "use --key-fd 0", []),
    "an option as a value": (
        "ask -p echo -o --no-stdin x",
        "give it a value, or write --output=--no-stdin",
        ["ask -p echo «--output=--no-stdin» x"],
    ),
    "a file as fields": (
        "ask -p echo --schema-fields schema.json x",
        "give a JSON Schema by --schema schema.json",
        ["build -m m «--schema schema.json» x"],
    ),
    "JSON as fields": (
        """build -m m --schema-fields '{"a": 1}' x""",
        "give a JSON Schema by --schema-json",
        ["""build -m m «--schema-json» '{"type": "object", "properties": {}}' --no-schema-strict x"""],
    ),
    "an option as a text": (
        "ask -p echo -s -m x y",
        "give it a value, or write --system=-m",
        ["ask -p echo «--system=-m» x"],
    ),
    # recorded answers
    "recorded and cut off": (
        "show cut.json",
        "--allow truncated accepts it",
        ["show «--allow truncated» cut.json"],
    ),
    "recorded calls": (
        "show calls.json",
        "get them with -f tool-calls",
        ["show «-f tool-calls» calls.json"],
    ),
    "recorded without code": (
        "show -f code good.json",
        "--allow mismatch accepts it",
        ["show -f code «--allow mismatch» good.json"],
    ),
    "recorded and empty": (
        "show empty-answer.json",
        "--allow empty accepts it",
        ["show «--allow empty» empty-answer.json"],
    ),
    "recorded and refused": (
        "show refused.json",
        "--allow refused accepts it",
        ["show «--allow refused» refused.json"],
    ),
    # answers
    "no code": (
        "ask -p echo -f code x",
        "ask for one, or --allow mismatch",
        ["ask -p echo -f code «--allow mismatch» x"],
    ),
    "turns used up": (
        "ask -p echo --tool tool.json --exec weather=cat --max-turns 1 x",
        "raise --max-turns",
        ["ask -p echo --tool tool.json --exec weather=cat «--max-turns» 2 x"],
    ),
    "no sound": (
        "ask -p echo -f audio -o o x",
        "ask with --modality audio, --audio-voice and --audio-format",
        ["ask -p echo -f audio -o o «--modality audio» «--audio-voice» a «--audio-format» wav x"],
    ),
    # tables
    "no template": (
        "map -p echo",
        "chatpipe map 'Classify: {{text}}' rows.jsonl",
        ["«map 'Classify: {{text}}' rows.jsonl» -p echo"],
    ),
    "two templates": (
        "map -p echo --template-file text.txt a b",
        "leave out one of them; chatpipe map --template-file FILE [FILE]",
        ["map -p echo '{{text}}' rows.jsonl"],
    ),
    "no field": (
        "map -p echo x rows.jsonl",
        "ask about each line with --lines '{{line}}', or send one prompt many times with chatpipe batch",
        ["map -p echo «--lines '{{line}}'» rows.jsonl", "«batch» -p echo prompts.jsonl"],
    ),
    "the wrong order": (
        "map -p echo t.csv '{{text}}' --csv",
        "TEMPLATE comes first: chatpipe map 'Classify: {{text}}' FILE",
        ["«map 'Classify: {{text}}'» t.csv -p echo --csv"],
    ),
    "no column": (
        "map -p echo '{{x}}' --csv semi.csv",
        "the only column is 'text;b': read it with --delimiter ';'",
        ["map -p echo '{{text}}' «--delimiter ';'» semi.csv"],
    ),
    "columns without names": (
        "map -p echo '{{a}}' --csv no.csv",
        "no column has a name: name them with --fields",
        ["map -p echo '{{a}}' --csv «--fields» a,b --skip-empty no.csv"],
    ),
    "JSON that is called CSV": (
        "map -p echo '{{text}}' --csv rows.jsonl",
        "leave out --csv",
        ["map -p echo '{{text}}' rows.jsonl"],
    ),
    "a field in no template": (
        "map -p echo -m '{{text}}' '{{text}}' rows.jsonl",
        "fields go into TEMPLATE, -s, -u or -a, and chatpipe batch reads whole requests",
        [
            "map -p echo «-s» '{{text}}' '{{text}}' rows.jsonl",
            "map -p echo «-u» '{{text}}' '{{text}}' rows.jsonl",
            "map -p echo «-a» '{{text}}' '{{text}}' rows.jsonl",
            "«batch» -p echo line.jsonl",
        ],
    ),
    "a field of images": (
        "map -p echo --image '{{text}}' '{{text}}' rows.jsonl",
        "name the field with --image-field NAME",
        ["map -p echo «--image-field» url '{{text}}' image-rows.jsonl"],
    ),
    "an empty table": (
        "map -p echo '{{a}}' --csv empty.csv",
        "name the columns with --fields if it may be empty",
        ["map -p echo '{{a}}' --csv «--fields» a,b empty.csv"],
    ),
    "nothing to name": (
        "map -p echo '{{text}}' --fields text,b rows.jsonl",
        "use it with --csv, --tsv or --to csv",
        [
            "map -p echo '{{text}}' --fields text,b «--csv» t.csv",
            "map -p echo '{{text}}' --fields text «--to csv» rows.jsonl",
        ],
    ),
    "safe JSON": (
        "map -p echo '{{text}}' --csv-safe rows.jsonl",
        "use it with --to csv or --to tsv",
        [
            "map -p echo '{{text}}' --csv-safe «--to csv» rows.jsonl",
            "map -p echo '{{text}}' --csv-safe «--to tsv» rows.jsonl",
        ],
    ),
    "no field of images": (
        "map -p echo '{{text}}' --image-root . rows.jsonl",
        "add --image-field NAME",
        ["map -p echo '{{text}}' --image-root . «--image-field NAME» rows.jsonl --allow failed"],
    ),
    "no image in rows": (
        "map -p echo '{{text}}' --image-detail low rows.jsonl",
        "use it with --image PATH or --image-field NAME",
        ["map -p echo '{{text}}' --image-detail low «--image PATH» rows.jsonl"],
    ),
    "nothing to unpack": (
        "map -p echo '{{text}}' --unpack rows.jsonl",
        "describe the fields with --schema-fields FIELDS",
        ["map -p echo '{{text}}' --unpack «--schema-fields FIELDS» rows.jsonl"],
    ),
    "a column twice": (
        "map -p echo '{{text}}' --unpack --schema-fields text --csv t.csv",
        "name the new ones with --unpack=PREFIX",
        ["map -p echo '{{text}}' «--unpack=PREFIX» --schema-fields text --csv t.csv"],
    ),
    "a reason's name": (
        "map -p echo '{{text}}' --usage-into answer_error rows.jsonl",
        "name another field, or one for that with --error-into NAME",
        ["map -p echo '{{text}}' --usage-into answer_error «--error-into NAME» rows.jsonl"],
    ),
    "a field too many": (
        "map -p echo '{{a}}' --to csv more.jsonl",
        "name all of them with --fields",
        ["map -p echo '{{a}}' --to csv «--fields» a,b more.jsonl"],
    ),
    "CSV": (
        "map -p echo '{{a}}' quoted.csv",
        "chatpipe map --csv '{{a}}' quoted.csv asks about each row",
        ["«map --csv '{{a}}' quoted.csv» -p echo"],
    ),
    "CSV or JSON": (
        "map -p echo '{{a}}' one.csv",
        "say --csv if it is CSV",
        ["map -p echo '{{a}}' «--csv» one.csv"],
    ),
    # recordings
    "not recorded": (
        "ask -p echo --replay other.rec x",
        "add --record other.rec to record it",
        ["ask -p echo --replay other.rec «--record other.rec» x"],
    ),
    "nothing to compare with": (
        "ask -p echo --replay-match loose x",
        "add --replay FILE",
        ["ask -p echo --replay-match loose «--replay FILE» x"],
    ),
    "another file to record in": (
        "ask -p echo --record text.txt x",
        "name another file with --record",
        ["ask -p echo «--record» new.rec x"],
    ),
    "a device to record in": (
        "ask -p echo --record /dev/null x",
        "name a file with --record",
        ["ask -p echo «--record» new.rec x"],
    ),
    # the configuration
    "an option of another action": (
        "config path --json",
        "chatpipe config show --json",
        ["«config show --json»"],
    ),
    "curl for several servers": (
        "build -f curl --base-url http://127.0.0.1:1/v1 --base-url http://127.0.0.1:2/v1 -m m x",
        "name one with --base-url",
        ["build -f curl «--base-url» http://127.0.0.1:1/v1 -m m x"],
    ),
    "no such profile": (
        "ask -p nowhere x",
        "chatpipe config show --profiles lists all",
        ["«config show --profiles»"],
    ),
    # runs
    "two files": (
        "batch -p echo prompts.jsonl b",
        "concatenate them: cat FILE... | chatpipe batch",
        ["batch -p echo prompts.jsonl"],
    ),
    "nothing is looked up": (
        "batch -p echo --fresh --reuse x prompts.jsonl",
        "leave out --reuse and --no-send",
        ["batch -p echo --fresh prompts.jsonl"],
    ),
    "a prefix that is a word of its own": (
        "map -p echo --schema-fields a --unpack p_ '{{text}}' rows.jsonl",
        "concatenate them, or run once for each; a prefix is written --unpack=PREFIX",
        ["map -p echo --schema-fields a «--unpack=PREFIX» '{{text}}' rows.jsonl"],
    ),
    "no journal to keep": (
        "batch -p echo --keep-journal prompts.jsonl",
        "add -o FILE or --journal FILE",
        [
            "batch -p echo --keep-journal «-o FILE» prompts.jsonl",
            "batch -p echo --keep-journal «--journal» j prompts.jsonl",
        ],
    ),
    "no recorded answers": (
        "batch -p echo --resend empty prompts.jsonl",
        "add --journal FILE or --reuse FILE",
        [
            "batch -p echo --resend empty «--journal» j prompts.jsonl",
            "batch -p echo --resend empty «--reuse FILE» prompts.jsonl",
        ],
    ),
    "a window without an order": (
        "batch -p echo --window 9 prompts.jsonl",
        "add --keep-order, or leave it out",
        ["batch -p echo --window 9 «--keep-order» prompts.jsonl", "batch -p echo prompts.jsonl"],
    ),
    "a window of rows without an order": (
        "map -p echo --window 9 --no-keep-order '{{text}}' rows.jsonl",
        "leave out --no-keep-order",
        ["map -p echo --window 9 '{{text}}' rows.jsonl"],
    ),
    "no prices": (
        "batch -p echo -m m --max-cost 3 prompts.jsonl",
        "add --prices FILE",
        ["batch -p echo -m m --max-cost 3 «--prices FILE» prompts.jsonl"],
    ),
    "one id for two": (
        "batch -p echo --match id ids.jsonl",
        "give each its own, or leave out --match id",
        ["batch -p echo ids.jsonl"],
    ),
    "no result line": (
        "batch -p echo --reuse t.csv prompts.jsonl",
        "--reuse takes what a run or the Batch API wrote",
        ["batch -p echo prompts.jsonl"],
    ),
    "the rows of a run": (
        "batch -p echo --reuse out.csv prompts.jsonl",
        "name its journal with --reuse out.csv.journal",
        ["batch -p echo «--reuse out.csv.journal» prompts.jsonl"],
    ),
    "a folder as journal": (
        "batch -p echo --journal . prompts.jsonl",
        "name a file with --journal",
        ["batch -p echo «--journal» j prompts.jsonl"],
    ),
    "another file as journal": (
        "batch -p echo --journal t.csv prompts.jsonl",
        "name another file with --journal",
        ["batch -p echo «--journal» j prompts.jsonl"],
    ),
    "tokens used up": (
        "batch -p echo --max-total-tokens 1 prompts.jsonl",
        "raise --max-total-tokens",
        ["batch -p echo «--max-total-tokens» 9999 prompts.jsonl"],
    ),
    "money used up": (
        "batch -p echo -m m --prices p.toml --max-cost 0.0000001 prompts.jsonl",
        "raise --max-cost",
        ["batch -p echo -m m --prices p.toml «--max-cost» 9 prompts.jsonl"],
    ),
    # data
    "rows for batch": (
        "batch -p echo rows.jsonl",
        "add them or a 'prompt', or fill a template with chatpipe map",
        ["«map» '{{text}}' -p echo rows.jsonl", "batch -p echo prompts.jsonl"],
    ),
}


@cases(("line", "fix", "tries"), ROWS)
def test_a_remedy_works(chatpipe: Chatpipe, tmp_path: Path, line: str, fix: str, tries: list[str]) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    ran = chatpipe(*shlex.split(line))
    assert ran.status != 0
    assert fix in ran.stderr
    for number, each in enumerate(tries):
        for remedy in re.findall("«(.*?)»", each):
            assert remedy in fix
        words = shlex.split(re.sub("[«»]", "", each))
        options = ["", *words]
        filled = [
            OF_OPTION.get(option, "new") if word in ("FILE", "PATH") else FILLED.get(word, word)
            for option, word in zip(options, words, strict=False)
        ]
        again = chatpipe(*filled)
        assert again.status == 0, (number, again.stderr)


# Remedies that no row tries, with the reason.
UNTRIED = {
    "tests/flags/test_foreign.py and test_slips.py look at them": {
        "flags/slips.py",
        "flags/usage.py",
        "final_fault.py",
        "main.py",
    },
    "they need a server, its certificate, or a proxy": {
        *(
            "exchange.py",
            "wire/stream_answer.py",
            "wire/whole_answer.py",
            "wire/faults.py",
            "wire/http1.py",
            "wire/refusals.py",
            "wire/unpack.py",
            "server/server.py",
            "server/tls.py",
        ),
        *("models/catalog.py", "models/models_route.py", "configuration/trial.py"),
        *("jobs/input_parts.py", "jobs/jobs_command.py", "jobs/jobs_file.py"),
        *(
            "batch/journal/recorded_events.py",
            "batch/provider_jobs/job_parts.py",
            "batch/provider_jobs/open_jobs.py",
            "batch/provider_jobs/job_records.py",
            "batch/provider_jobs/engine_jobs.py",
        ),
        *("batch/conflicts.py: add -o OUT or --journal FILE", "batch/conflicts.py: add --journal FILE"),
        "batch/conflicts.py: leave out all --base-url but one",
        "batch/conflicts.py: leave it out, or use --engine local",
        "flags/idle_options.py: add --engine batch-api",
        "jobs/job_dialects.py",
        *(
            "output/delivery.py",
            "batch/first_lines.py",
            "limits/call_pacer.py",
            "limits/run_pacer.py",
            "limits/rate.py",
        ),
    },
    "they need a Ray cluster, and tests/engines has it": {
        "cluster/terms.py",
        "cluster/worker_actor.py",
    },
    "they need a disk or a process that is in the way": {
        *("batch/journal/journal.py", "system/descriptor.py", "system/lock.py"),
    },
    "they start a server": {"flags/serve.py", "serve/service.py"},
    "they need a terminal": {"output/formats.py: use -o FILE, or -o -"},
    "they run another program": {
        *("request/media.py", "conversation/transcript.py", "inputs/elements.py", "inputs/not_jsonl.py"),
        "inputs/rows.py: jq -c '..|scalars|{text: .}' FILE",
    },
    "they are those of recorded answers, which rows try": {
        "options/outcomes.py: change the prompt, or --allow refused",
        "options/outcomes.py: change the prompt, or --allow empty",
        "options/outcomes.py: --reask N, or --allow mismatch",
    },
    "tests/server/test_url_forms.py looks at them": {"server/url_forms.py", "server/url_refusals.py"},
    "they are advice": {
        "commands/man.py: install chatpipe again",
        "serve/observer.py: chatpipe man serve explains the findings",
        "server/keys.py: raise the limit that 'ulimit -u' shows",
        "server/server_choice.py: unset one of them, or choose by -p or --base-url",
        "response/capture.py: see chatpipe show --help",
        "output/player.py: see chatpipe show --help",
    },
    "tests/batch/test_map.py has the image": {"batch/tables/bodies.py"},
}


def test_every_remedy_of_the_source_is_tried() -> None:
    """A remedy is a text for `fix` that names an option or a command."""
    reasons = set().union(*UNTRIED.values())
    known = [fix for _, fix, _ in ROWS.values()]
    untried = [
        f"{module}: {text}"
        for module, text in source_remedies()
        if not {module, f"{module}: {text}"} & reasons
        and not any(re.search(".*".join(map(re.escape, text.split("{}"))), fix) for fix in known)
    ]
    assert untried == []


def test_every_exception_is_in_use() -> None:
    """So that the table stays a description."""
    remedies = [(module, f"{module}: {text}") for module, text in source_remedies()]
    assert set().union(*UNTRIED.values()) - set().union(*remedies) == set()


def source_remedies() -> Iterator[tuple[str, str]]:
    """(module, text) of every remedy; `{}` stands for what is filled in."""
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ast.parse(path.read_text(encoding="utf-8"))
        constants = {
            target.id: each.value
            for each in module.body
            if isinstance(each, ast.Assign)
            for target in each.targets
            if isinstance(target, ast.Name)
        }
        found = (
            text for call in ast.walk(module) for node in _fixes(call, constants) if (text := _text(node))
        )
        for text in dict.fromkeys(found):
            if re.search(r"(?<![\w-])--?[a-z]|chatpipe |\bjq ", text):
                yield path.relative_to(PACKAGE).as_posix(), text


def _fixes(node: ast.AST, constants: Mapping[str, ast.expr]) -> Iterator[ast.AST]:
    """The texts of `fix=...` in a call, and of `fix = ...` and `fix += ...`, and those of constants there."""
    values: list[ast.expr] = []
    if isinstance(node, ast.Call):
        values = [each.value for each in node.keywords if each.arg in ("fix", "recorded_fix")]
    elif isinstance(node, ast.Assign | ast.AugAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        values = [node.value] if any("fix" in ast.unparse(each).lower() for each in targets) else []
    names = {each.id for value in values for each in ast.walk(value) if isinstance(each, ast.Name)}
    for value in (*values, *(constants[name] for name in names & constants.keys())):
        inner = {
            id(part) for each in ast.walk(value) if isinstance(each, ast.JoinedStr) for part in each.values
        }
        yield from (each for each in ast.walk(value) if id(each) not in inner)


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(str(each.value) if isinstance(each, ast.Constant) else "{}" for each in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
