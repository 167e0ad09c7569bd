_chatpipe_completion() {
    local line=${COMP_LINE:0:COMP_POINT}
    local word=${line##*[[:space:]]}
    local before= response suffix type value

    # bash replaces only what stands after the last = or : of a word.
    [[ $word == --*=* ]] && word=${word#*=}
    if [[ $COMP_WORDBREAKS == *:* && $word == *:* && $word != [\"\']* ]]; then
        before=${word%"${word##*:}"}
    fi
    response=$(env COMP_LINE="$line" _CHATPIPE_COMPLETE=bash_complete "$1")

    while IFS=',' read -r type value; do
        if [[ $type == 'dir' ]]; then
            compopt -o dirnames
        elif [[ $type == 'file' ]]; then
            # Without a file of these kinds, bash offers all.
            compopt -o default
            if [[ $value && $word != *[\"\'\\~\$]* ]]; then
                compopt -o filenames
                while IFS= read -r value; do
                    COMPREPLY+=("$value")
                done < <(for suffix in $value; do compgen -f -X "!*.$suffix" -- "$word"; done)
                (( ${#COMPREPLY[@]} )) && while IFS= read -r value; do
                    COMPREPLY+=("$value")
                done < <(compgen -d -- "$word")
            fi
        elif [[ $type == 'plain' ]]; then
            [[ $word == [\"\']* ]] || printf -v value %q "$value"
            COMPREPLY+=("${value#"$before"}")
        fi
    done <<< "$response"
}

complete -o nosort -F _chatpipe_completion chatpipe
