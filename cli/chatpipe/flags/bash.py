"""Completion in bash. Click's script knows no word with a colon: bash itself cuts words there."""

from __future__ import annotations

import os

from click.shell_completion import BashComplete, split_arg_string

_SCRIPT = """\
%(complete_func)s() {
    local line=${COMP_LINE:0:COMP_POINT}
    local word=${line##*[[:space:]]}
    local before= response type value

    # bash replaces only what stands behind the last = or : of a word.
    [[ $word == --*=* ]] && word=${word#*=}
    if [[ $COMP_WORDBREAKS == *:* && $word == *:* && $word != [\\"\\']* ]]; then
        before=${word%%"${word##*:}"}
    fi
    response=$(env COMP_LINE="$line" %(complete_var)s=bash_complete "$1")

    while IFS=',' read -r type value; do
        if [[ $type == 'dir' ]]; then
            compopt -o dirnames
        elif [[ $type == 'file' ]]; then
            compopt -o default
        elif [[ $type == 'plain' ]]; then
            [[ $word == [\\"\\']* ]] || printf -v value %%q "$value"
            COMPREPLY+=("${value#"$before"}")
        fi
    done <<< "$response"
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class BashLines(BashComplete):
    """Completion of a line as it was typed, up to the cursor.

    The scripts of older versions send the words that bash makes of it.
    """

    source_template = _SCRIPT

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words behind the program, and the one to complete, which may be empty."""
        line = os.environ.get("COMP_LINE")
        if line is None:
            return super().get_completion_args()
        # The mark is a part of the last word, or a word of its own behind a space, whatever quotes are open.
        *words, last = split_arg_string(f"{line}.")
        return words[1:], last.removesuffix(".")
