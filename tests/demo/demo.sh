#!/bin/sh
# `make demo`: a table, a run that is killed and resumed, and a call in a pipe, each command above its output.
# The answers are those of model.jsonl, served on this machine: no key, no network.
# An argument is the number of lines of the run.
set -eu
lines=${1:-600}
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d)
server=
run=
stop() {
    [ -z "$run" ] || kill "$run" 2>/dev/null || :
    [ -z "$server" ] || kill "$server" 2>/dev/null || :
    rm -rf "$dir"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
cd "$dir"

# Settings of the caller, make's among them, must not change what is shown.
unset MAKELEVEL
for name in $(env | sed -n 's/^\(CHATPIPE_[A-Z_]*\|OPENAI_[A-Z_]*\)=.*/\1/p'); do unset "$name"; done
export XDG_CONFIG_HOME="$dir" CHATPIPE_MODEL=demo

prompt() {
    if [ -t 1 ]; then printf '\n\033[1m$ %s\033[0m\n' "$1"; else printf '\n$ %s\n' "$1"; fi
}
show() {
    prompt "$1"
    sh -c "$1"
}

cp "$here/reviews.csv" .
awk -v lines="$lines" 'BEGIN { for (n = 1; n <= lines; n++) print "{\"prompt\": \"Question " n "\"}" }' >questions.jsonl
mkfifo url
chatpipe serve --script "$here/model.jsonl" --latency 100ms -q >url &
server=$!
read -r CHATPIPE_BASE_URL <url
export CHATPIPE_BASE_URL

prompt 'head -n 2 reviews.csv'
head -n 2 reviews.csv
show "chatpipe map 'Rate: {{review}}' --csv reviews.csv --unpack \\
    --schema-fields 'mood good|bad|mixed, score int'"

prompt 'chatpipe batch questions.jsonl -o answers.jsonl'
chatpipe batch questions.jsonl -o answers.jsonl &
run=$!
until [ -e answers.jsonl.journal ] && [ "$(wc -l <answers.jsonl.journal)" -gt $((lines / 3)) ]; do
    kill -0 "$run" 2>/dev/null || break
    sleep 0.1 2>/dev/null || sleep 1
done
kill -9 "$run" 2>/dev/null || :
wait "$run" 2>/dev/null || :
run=
printf '\nKilled\n'
show 'chatpipe batch questions.jsonl -o answers.jsonl'
show 'wc -l <answers.jsonl'
show "cut -d, -f2- reviews.csv | chatpipe ask 'What do customers complain about?'"
