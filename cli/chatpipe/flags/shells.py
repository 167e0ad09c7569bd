"""Completion in bash, zsh and fish: the scripts, and the answers of chatpipe to them.

Click's script for bash fails on a word with a colon, its scripts for zsh and fish on `--option=value`, and
its script for fish cuts a description at the first comma. Ours also offer only files of the wanted kinds.
"""

from __future__ import annotations

import os
from typing import Any

from click.shell_completion import BashComplete, FishComplete, ZshComplete, split_arg_string

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


class BashLines(BashComplete):
    """Completion of the line as typed, up to the cursor.

    The scripts of older versions send the words that bash splits it into.
    """

    source_template = _BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words after the program, and the one to complete, which may be empty."""
        line = os.environ.get("COMP_LINE")
        if line is None:
            return super().get_completion_args()
        # The mark is a part of the last word, or a word of its own after a space, whatever quotes are open.
        *words, last = split_arg_string(f"{line}.")
        return words[1:], last.removesuffix(".")

    def format_completion(self, item: Any) -> str:
        """`TYPE,VALUE`. For a file the value is the wanted suffixes."""
        return f"{item.type},{_suffixes(item) if item.type == 'file' else item.value}"


class ZshLines(ZshComplete):
    """Three lines per candidate: type, value, and description, which is `_` if there is none."""

    source_template = _ZSH

    def format_completion(self, item: Any) -> str:
        if item.type == "file":
            return f"file\n{item.value}\n{_suffixes(item) or '_'}"
        return super().format_completion(item)


class FishLines(FishComplete):
    """One line per candidate: `TYPE,VALUE`, a tab, and the description."""

    source_template = _FISH

    def format_completion(self, item: Any) -> str:
        description = _suffixes(item) if item.type == "file" else item.help
        return f"{item.type},{item.value}" + (f"\t{description}" if description else "")


def _suffixes(item: Any) -> str:
    return " ".join(item.suffixes or ())


CLASSES = {"bash": BashLines, "zsh": ZshLines, "fish": FishLines}
