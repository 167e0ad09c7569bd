#!/bin/sh
# What `make demo` shows: a small pipeline through the built-in model, each command above its output.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

show() {
    printf '\n\033[1m$ %s\033[0m\n' "$1"
    sh -c "$1"
}
[ -t 1 ] || show() { printf '\n$ %s\n' "$1"; sh -c "$1"; }

cat >weather.json <<'EOF'
{"name": "get_weather", "parameters": {"type": "object", "required": ["city"],
 "properties": {"city": {"type": "string", "enum": ["Oslo", "Bergen"]}}}}
EOF
printf '%s\n' \
    '{"model": "echo", "messages": [{"role": "user", "content": "good"}]}' \
    '{"model": "echo", "messages": [{"role": "sytem", "content": "bad"}], "max_token": 5}' >requests.jsonl

echo "chatpipe, with the built-in model 'echo', which repeats what it is told: no key, no network."
show 'chatpipe ask -p echo "Hello, pipes"'
show 'printf "one\ntwo\n" | chatpipe ask -p echo "Count these:"'
show 'chatpipe build -m echo -s "Be brief." -u "2+2?" -a "4" -u "3+3?" --temperature 0'
show 'chatpipe build "Streamed, piece by piece" | chatpipe ask -p echo -r - --raw | tee chunks.jsonl | chatpipe show'
show 'wc -l <chunks.jsonl'
show 'chatpipe ask -p echo -f tool-calls --tool weather.json "Weather?"'
show 'chatpipe ask -p echo -f usage "How many tokens is this?"'
show 'chatpipe check requests.jsonl || echo "status $?"'
printf 'id,text\n1,"Good, really"\n2,Broken\n' >r.csv
show "chatpipe map -p echo 'Mood of {{text}}' --csv r.csv --schema-fields 'mood good|bad, score int' --unpack"
show 'chatpipe ask -p echo --max-tokens 2 "cut off after two words" -o answer.txt || echo "status $?"; ls'
