"""Options of other tools -> ours: one table.

The words are those of llm, aichat, mods, sgpt, fabric, gptme, the openai CLI and SDK, vLLM, ollama,
llama.cpp, curl, GNU parallel, xargs, jq, make, csvkit and common Python programs, as of November 2026.
The module is imported only when a command line has an option that the command does not have.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

from chatpipe.named_tuple import NamedTuple

_OPTION = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")
_LIMITED = re.compile(r"((?:(?:ask|batch|build|check|map|serve|show) ?)+): ")


class Remedy(NamedTuple):
    """A remedy for some commands, or for all if commands is empty.

    text is an option of ours with the same meaning, or a sentence. The remedy applies to a command that has
    every option in the text. Options after `chatpipe` belong to the command that the text names there.
    """

    text: str
    commands: tuple[str, ...] = ()

    @property
    def is_option(self) -> bool:
        return _OPTION.fullmatch(self.text) is not None

    def applies(self, command: str, has: Callable[[str], bool]) -> bool:
        """Return True if the remedy is for command. has returns True for each option of that command."""
        own = self.text.partition("chatpipe ")[0]
        return command in (self.commands or (command,)) and all(map(has, _OPTION.findall(own)))


def normalize(word: str) -> str:
    """The word spelled as an option: `--Max_Tokens` is `--max-tokens`. A single letter keeps its case."""
    return word if len(word) == 2 else word.lower().replace("_", "-")


def find_remedies(word: str) -> list[Remedy]:
    """The remedies for an option of another tool, `--name` or `-n`, the best first."""
    name = normalize(word)
    field = name.lstrip("-").replace("-", "_")
    return [each._replace(text=each.text.replace("{field}", field)) for each in table().get(name, ())]


@cache
def table() -> dict[str, tuple[Remedy, ...]]:
    """The remedies of each word."""
    found: dict[str, tuple[Remedy, ...]] = {}
    for block in _BLOCKS.strip().split("\n\n"):
        words, *texts = block.split("\n  = ")
        remedies = tuple(map(_remedy, texts))
        for word in words.split():
            # A word with several meanings is in several blocks.
            found[word] = (*found.get(word, ()), *remedies)
    return found


def _remedy(text: str) -> Remedy:
    """Read `COMMAND COMMAND: TEXT`, or TEXT for every command."""
    match = _LIMITED.match(text)
    return Remedy(text[match.end() :], tuple(match[1].split())) if match else Remedy(text)


# Blocks of words, each with its remedies.
_BLOCKS = """
--concurrency --concurrent --parallel --parallelism --workers --num-workers --max-workers --threads
--num-threads --max-concurrency --max-concurrent --max-concurrent-requests --max-parallel
--max-in-flight --processes --procs --max-procs --job --batch-size -P -w -c
  = --jobs
  = serve: --slots

--rate-limit --rate --max-rpm --rpm-limit --requests-per-minute --max-requests-per-minute --throttle
--qps --rps --max-rps --requests-per-second
  = --rpm N limits the requests of a minute

--delay --sleep
  = serve: --latency TIME delays each reply
  = --rpm N limits the requests of a minute

--tokens-per-minute --max-tokens-per-minute --max-tpm --tpm-limit
  = --tpm

--retry --max-retries --num-retries --retry-count --max-attempts --attempts --tries --max-tries
--retry-max
  = --retries

--timeout-ms --request-timeout --read-timeout --timeout-s --timeout-seconds --time-out
  = --timeout S is in seconds

--max-time --total-timeout --time-limit
  = --deadline S limits all tries together, in seconds

--resume --resume-failed --retry-failed --restart --skip-existing --skip-done --only-failed
  = batch map: leave it out: with -o FILE the same command continues where it stopped

--checkpoint --checkpoint-file --state --state-file --resume-from
  = --journal

--resume --continue --session --session-id --chat --chat-id --conversation --conversation-id --cid
--thread --repl --interactive -c
  = ask build: --transcript FILE continues a conversation
  = batch map: leave it out: with -o FILE the same command continues where it stopped

--history --conversation-file --messages-file --chat-history
  = --messages

--prompt --query --question --text --input-text
  = ask: the prompt is an operand: chatpipe ask PROMPT
  = build: the prompt is an operand: chatpipe build PROMPT
  = map: the template is an operand: chatpipe map TEMPLATE
  = batch: the prompts are the lines of FILE: chatpipe batch FILE

--system-prompt --system-message --system-instruction --sys --instruction --instructions --preamble --sp
-S
  = --system

--system-prompt-file --instructions-file --sys-file
  = --system-file

--user-prompt --user-message --message --msg
  = --user

--prompt-file --query-file
  = ask build batch: --user-file FILE is a prompt from a file
  = --template-file

--template -t
  = map: the template is an operand: chatpipe map TEMPLATE

--input --input-file --infile --in --in-file --stdin -i
  = ask: stdin is a part of the prompt: chatpipe ask PROMPT < FILE
  = build: stdin is a part of the prompt: chatpipe build PROMPT < FILE
  = batch: FILE is an operand: chatpipe batch FILE
  = check: FILE is an operand: chatpipe check FILE
  = show: FILE is an operand: chatpipe show FILE
  = map: FILE is an operand: chatpipe map TEMPLATE FILE

--request --messages -r
  = check: FILE is an operand: chatpipe check FILE
  = show: FILE is an operand: chatpipe show FILE

--no-input --non-interactive --no-interactive --ignore-stdin -I
  = --no-stdin

--sample --samples --num-samples --max-samples --max-lines --max-rows --max-prompts --nrows --head
--first --take --top
  = --limit

--skip --offset --start --start-line --skip-lines
  = batch: cut the lines off before: tail -n +N FILE | chatpipe batch

--split --num-shards --partition --slice --chunk
  = --shard

--dedup --deduplicate --unique --uniq --no-duplicates
  = --dedupe

--plain --raw-lines --txt --text-input --line-by-line
  = --lines

--csv --tsv --input-format
  = batch: a table is read by chatpipe map TEMPLATE --csv FILE

--jsonl --json-lines --ndjson
  = batch: results are JSON lines without an option: leave it out
  = map: rows are JSON lines unless --csv, --tsv or --lines is given: leave it out
  = ask show: -f json writes one line of JSON
  = check: the input is JSON lines without an option: leave it out
  = build: -f batch writes a line of JSON

--sep --separator --delim --field-separator -F -d -t
  = map: --delimiter C names the character between cells

--columns --column-names --fieldnames --no-header --no-header-row
  = --fields

--column --text-column --input-column --prompt-column --prompt-field --text-field
  = map: TEMPLATE names the columns: chatpipe map '{{text}}'

--output-column --answer-column --output-field --answer-field --response-column --result-column
--output-key
  = --into

--output-csv --csv-output --to-csv
  = map: --to csv writes the rows as CSV

--expand --explode --flatten
  = --unpack

--images --image-url --image-file --image-path --picture --vision --img
  = --image

--audio --audio-input
  = --audio-file

--fragment --frag --context --context-file --include --document --doc --pdf --files
  = --file

--attachment --attach --attachments --at -A
  = --image, --audio-file and --file attach a file

--tools --tool-file --tools-file --functions --functions-file --function-file -T
  = --tool

--chain-limit --max-tool-calls --max-steps --max-iterations --cl
  = --max-turns

--temp -t
  = --temperature

--max-new-tokens --max-output-tokens --num-predict --n-predict --max-length --max-gen-tokens
--max-response-tokens --max-answer-tokens --token-limit --maxlen --limit-tokens
  = --max-tokens

--num-completions --num-choices --choices --num-generations --num-return-sequences --candidates
  = --n

--stop-sequence --stop-sequences --stop-words --stop-word --stop-token --stop-tokens --eos
  = --stop

--random-seed --rng-seed --random-state
  = --seed

--effort --reasoning-level --thinking-effort --thinking-level --think-level
  = --reasoning-effort

--nucleus --nucleus-sampling
  = --top-p

--model-name --model-id --llm --deployment --engine --model-path
  = --model

--num-ctx --ctx-size --context-length --context-size --context-window --max-model-len --n-ctx --top-k
--min-p --top-a --typical-p --tfs-z --repetition-penalty --repeat-penalty --repeat-last-n --mirostat
--guided-regex --guided-choice --guided-grammar --grammar --chat-template-kwargs --keep-alive --num-gpu
--best-of --ignore-eos --thinking --think --min-tokens --length-penalty --num-beams --do-sample
--logits-processors --enable-thinking --thinking-budget
  = --set {field}:=JSON sets this field of the request, which has no option

--option --options --opt --param --parameter --params --parameters --extra-body --extra --extra-params
--model-kwargs --model-args --generation-config --gen-kwargs --kwargs -O
  = a parameter is an option of its own, such as --temperature 0.5; --set NAME:=JSON sets any other field

--streaming --live
  = --stream

--no-streaming --nostream --no-live
  = --no-stream

--json-schema --json-schema-file --response-schema --output-schema --schema-file --format-schema
--guided-json --structured-output --pydantic
  = --schema FILE reads a schema, --schema-json JSON takes it as text

--json-mode --json-object --json-only --force-json
  = --response-format json_object asks for JSON

--out --outfile --out-file --output-file --output-path --save --save-to --write --write-to --dest
--destination --result --results --results-file --target
  = --output

--extract --extract-last --code --code-only --xl -x
  = ask batch show: -f code writes the code block of an answer

--output-format --out-format --fmt --as
  = --format

--json
  = batch: -f json writes the completions
  = map: rows are written by --to jsonl

--raw-output --markdown --md --no-md --no-markdown --pretty --color --colour --no-color --no-colour
--no-formatting --no-ansi
  = the text is written as it came: leave it out

--print0 --zero --zero-terminated --null-terminated -z
  = --null

--ordered --in-order --preserve-order --sorted
  = --keep-order
  = map: rows stay in order: leave it out

--keep-order -k
  = map: rows stay in order: leave it out

--unordered --as-completed --no-order
  = --no-keep-order
  = batch: results come as they are ready: leave it out

--overwrite --force --clobber --yes -y
  = --output FILE replaces FILE without a question: leave it out

--append
  = stdout can be appended to: leave it out, and end with >> FILE

--silent --no-progress --no-progress-bar --no-bar --no-spinner --hide-progress --disable-tqdm
  = --quiet

--bar --progress-bar --show-progress --eta --tqdm
  = --progress bar shows a bar

--log-level --loglevel --trace --trace-ascii --logging
  = --verbose

--joblog --stats --summary --metrics
  = --report

--log-file
  = --report
  = serve: --log

--error-file --errors-file --failed --failures --failed-file --error-output
  = --errors

--no-log --no-logs --nolog --no-save --no-history --no-cache --log --cache --cache-dir
  = nothing is logged or cached: leave it out

--api-base --api-base-url --openai-api-base --openai-base-url --api-url --api-endpoint --api-host --url
--endpoint --host --server --server-url --base -b
  = --base-url

--provider --backend --client --vendor --service --api
  = --profile

--headers --custom-header --custom-headers --extra-header --extra-headers --add-header
  = --header

--api-key-file --keyfile --token-file
  = --key-file

--api-key-command --api-key-cmd --key-cmd
  = --key-command

--http-proxy --https-proxy --proxy-url
  = --proxy

--ca-cert --ca-bundle --ca-file --ca-certificate --cafile --capath --ssl-cert --ca-certs --no-verify
--no-verify-ssl --no-ssl-verify --no-check-certificate --skip-verify --tls-skip-verify --verify
--verify-ssl --ssl-verify
  = --cacert PATH names the certificates to trust

-k
  = ask build: --cacert PATH names the certificates to trust

--cert --certificate -E
  = --client-cert

--data --data-binary --data-raw --json-body --body --payload --request-body --raw-body -d
  = --request

--budget --max-budget --max-budget-usd --max-spend --max-usd --cost-limit --spend-limit
  = --max-cost

--token-budget --max-tokens-total --total-tokens
  = --max-total-tokens

--price --pricing --price-file --prices-file
  = --prices

--dry-run --dryrun --dry --simulate --preview --print-request --no-run --estimate --count
  = ask: chatpipe build writes the request instead of sending it
  = --dry-run

--curl --print-curl --as-curl
  = ask: chatpipe build -f curl writes a curl command
  = build: -f curl writes a curl command

--fail-fast --stop-on-error --exit-on-error --halt-on-error --abort-on-error --fail-on-error --exitfirst
  = --halt now,fail=1 stops at the first failure

--max-errors --max-failures --error-limit --max-fails
  = --halt soon,fail=N stops after N failures

--ignore-errors --continue-on-error --keep-going --skip-errors --skip-failed
  = batch map: a failed line stops no run: leave it out

--version -V
  = chatpipe --version writes the version

--man --manual --docs
  = chatpipe man shows the manual

--install-completion --show-completion --completion --generate-completion --shell-completion
  = chatpipe completion --install installs the completion script
"""

# Options of other tools whose value is a key.
KEY_WORDS = frozenset(
    {
        *("--key", "--api-key", "--apikey", "--token", "--api-token", "--auth-token", "--access-token"),
        *("--bearer", "--bearer-token", "--openai-api-key", "--openai-key", "--secret", "--secret-key"),
        *("--password", "--auth", "--authorization", "--credentials", "--oauth2-bearer"),
    }
)
