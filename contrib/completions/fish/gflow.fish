# Completes gflow in fish: each command is asked what may come next.
function __gflow_complete
    set -l before (commandline -opc)
    set -l word (commandline -ct)
    set -l kept (string match -r -- '^--[^=]*=' "$word")
    set -l path (string replace -r -- '^--[^=]*=' '' "$word")
    set -l lines ($before[1] __complete 2 fish (count $before) "" $before "$word" 2>/dev/null)
    set -l own "$lines[1]"
    set -e lines[1]
    for line in $lines
        printf '%s\n' $line
    end
    switch "$own"
        case ':files'
            string replace -r -- '^' "$kept" (__fish_complete_path "$path")
        case ':directories'
            string replace -r -- '^' "$kept" (__fish_complete_directories "$path")
        case ':command *'
            set -l at (string match -r -- '^:command ([1-9][0-9]{0,3})$' "$own")
            set -q at[2] || return
            # The words are counted from 0, and without the first of them fish counts the others from 1.
            set -l others $before[2..]
            complete -C (string join -- ' ' (string escape -- $others[$at[2]..]) "$word")
    end
end
complete -c gflow -f -a '(__gflow_complete)'
