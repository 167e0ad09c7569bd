"""The completion scripts of bash, zsh and fish.

Click's script for bash fails on a word with a colon, its scripts for zsh and fish on `--option=value`, and
its script for fish cuts a description at the first comma. Ours also offer only files of the wanted kinds.
"""

from __future__ import annotations

from click.shell_completion import BashComplete, FishComplete, ZshComplete

_BASH = """\
%(complete_func)s() {
    local line=${COMP_LINE:0:COMP_POINT}
    local word=${line##*[[:space:]]}
    local before= response suffix type value

    # bash replaces only what stands after the last = or : of a word.
    [[ $word == --*=* ]] && word=${word#*=}
    if [[ $COMP_WORDBREAKS == *:* && $word == *:* && $word != [\\"\\']* ]]; then
        before=${word%%"${word##*:}"}
    fi
    response=$(env COMP_LINE="$line" %(complete_var)s=bash_complete "$1")

    while IFS=',' read -r type value; do
        if [[ $type == 'dir' ]]; then
            compopt -o dirnames
        elif [[ $type == 'file' ]]; then
            # Without a file of these kinds, bash offers all.
            compopt -o default
            if [[ $value && $word != *[\\"\\'\\\\~\\$]* ]]; then
                compopt -o filenames
                while IFS= read -r value; do
                    COMPREPLY+=("$value")
                done < <(for suffix in $value; do compgen -f -X "!*.$suffix" -- "$word"; done)
                (( ${#COMPREPLY[@]} )) && while IFS= read -r value; do
                    COMPREPLY+=("$value")
                done < <(compgen -d -- "$word")
            fi
        elif [[ $type == 'plain' ]]; then
            [[ $word == [\\"\\']* ]] || printf -v value %%q "$value"
            COMPREPLY+=("${value#"$before"}")
        fi
    done <<< "$response"
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""

_ZSH = """\
#compdef %(prog_name)s

%(complete_func)s() {
    local -a completions completions_with_descriptions response
    local type key descr
    (( ! $+commands[%(prog_name)s] )) && return 1

    response=("${(@f)$(env COMP_WORDS="${words[*]}" COMP_CWORD=$((CURRENT-1)) \
%(complete_var)s=zsh_complete %(prog_name)s)}")
    [[ $PREFIX == --*=* ]] && compset -P 1 '*='

    for type key descr in ${response}; do
        if [[ "$type" == "plain" ]]; then
            if [[ "$descr" == "_" ]]; then
                completions+=("$key")
            else
                completions_with_descriptions+=("$key":"$descr")
            fi
        elif [[ "$type" == "dir" ]]; then
            _path_files -/
        elif [[ "$type" == "file" && "$descr" == "_" ]]; then
            _path_files -f
        elif [[ "$type" == "file" ]]; then
            # Without a file of these kinds, all are offered.
            _files -g "*.(${descr// /|})(-.)"
        fi
    done

    if [ -n "$completions_with_descriptions" ]; then
        _describe -V unsorted completions_with_descriptions -U
    fi

    if [ -n "$completions" ]; then
        compadd -U -i "$IPREFIX" -V unsorted -a completions
    fi
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    # autoload from fpath, call function directly
    %(complete_func)s "$@"
else
    # eval/source/. command, register function for later
    compdef %(complete_func)s %(prog_name)s
fi
"""

_FISH = """\
function %(complete_func)s
    set -l word (commandline -t)
    # fish replaces the whole word, the name of the option included.
    set -l option (string match -r -- '^--[^=]+=' "$word")
    set -l response (env %(complete_var)s=fish_complete COMP_WORDS=(commandline -cp) \
COMP_CWORD="$word" %(prog_name)s)

    for completion in $response
        set -l parts (string split -m 1 , -- $completion)
        set -l value (string split -m 1 \\t -- $parts[2])
        if test $parts[1] = dir
            string replace -r -- '^' "$option" (__fish_complete_directories "$value[1]")
        else if test $parts[1] = file -a (count $value) -gt 1
            set -l files (__fish_complete_path "$value[1]")
            # Without a file of these kinds, all are offered.
            set -l kinds (string replace -a ' ' '|' $value[2])
            set -l fitting (string match -r -- "^.*\\.(?:$kinds)(?:\\t.*)?\\$" $files)
            test -n "$fitting"; and set files $fitting (string match -r -- '^.*/(?:\\t.*)?$' $files)
            string replace -r -- '^' "$option" $files
        else if test $parts[1] = file
            string replace -r -- '^' "$option" (__fish_complete_path "$value[1]")
        else if test $parts[1] = plain
            echo -- "$option$parts[2]"
        end
    end
end

complete -f -c %(prog_name)s -a "(%(complete_func)s)"
"""


class _BashScript(BashComplete):
    source_template = _BASH


class _ZshScript(ZshComplete):
    source_template = _ZSH


class _FishScript(FishComplete):
    source_template = _FISH


CLASSES = {"bash": _BashScript, "zsh": _ZshScript, "fish": _FishScript}
