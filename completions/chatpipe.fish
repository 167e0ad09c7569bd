function _chatpipe_completion
    set -l word (commandline -t)
    # fish replaces the whole word, the name of the option included.
    set -l option (string match -r -- '^--[^=]+=' "$word")
    set -l response (env _CHATPIPE_COMPLETE=fish_complete COMP_WORDS=(commandline -cp) COMP_CWORD="$word" chatpipe)

    for completion in $response
        set -l parts (string split -m 1 , -- $completion)
        set -l value (string split -m 1 \t -- $parts[2])
        if test $parts[1] = dir
            string replace -r -- '^' "$option" (__fish_complete_directories "$value[1]")
        else if test $parts[1] = file -a (count $value) -gt 1
            set -l files (__fish_complete_path "$value[1]")
            # Without a file of these kinds, all are offered.
            set -l kinds (string replace -a ' ' '|' $value[2])
            set -l fitting (string match -r -- "^.*\.(?:$kinds)(?:\t.*)?\$" $files)
            test -n "$fitting"; and set files $fitting (string match -r -- '^.*/(?:\t.*)?$' $files)
            string replace -r -- '^' "$option" $files
        else if test $parts[1] = file
            string replace -r -- '^' "$option" (__fish_complete_path "$value[1]")
        else if test $parts[1] = plain
            echo -- "$option$parts[2]"
        end
    end
end

complete -f -c chatpipe -a "(_chatpipe_completion)"
