_chatpipe_completion() {
    local line=${COMP_LINE:0:COMP_POINT}
    local word=${line##*[[:space:]]}
    local before= response type value

    # bash replaces only what stands behind the last = or : of a word.
    [[ $word == --*=* ]] && word=${word#*=}
    if [[ $COMP_WORDBREAKS == *:* && $word == *:* && $word != [\"\']* ]]; then
        before=${word%"${word##*:}"}
    fi
    response=$(env COMP_LINE="$line" _CHATPIPE_COMPLETE=bash_complete "$1")

    while IFS=',' read -r type value; do
        if [[ $type == 'dir' ]]; then
            compopt -o dirnames
        elif [[ $type == 'file' ]]; then
            compopt -o default
        elif [[ $type == 'plain' ]]; then
            [[ $word == [\"\']* ]] || printf -v value %q "$value"
            COMPREPLY+=("${value#"$before"}")
        fi
    done <<< "$response"
}

complete -o nosort -F _chatpipe_completion chatpipe
