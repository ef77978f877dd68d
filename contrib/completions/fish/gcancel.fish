# Completes gcancel in fish: each command is asked what may come next.
function __gflow_complete
    set -l before (commandline -opc)
    set -l word (commandline -ct)
    set -l kept (string match -r -- '^--[^=]*=' "$word")
    set -l path (string replace -r -- '^--[^=]*=' '' "$word")
    for line in ($before[1] __complete fish (count $before) "" $before "$word" 2>/dev/null)
        switch $line
            case ':files'
                string replace -r -- '^' "$kept" (__fish_complete_path "$path")
            case ':directories'
                string replace -r -- '^' "$kept" (__fish_complete_directories "$path")
            case ':command *'
                string match -qr -- '^:command [0-9]{1,3}$' $line; or continue
                set -l first (math (string split -f 2 ' ' -- $line) + 1)
                complete -C (string join -- ' ' (string escape -- $before[$first..]) "$word")
            case ':*'
            case '*'
                echo $line
        end
    end
end
complete -c gcancel -f -a '(__gflow_complete)'
