"""The scripts that teach shells to ask. They hold no names of options, so they are the same for ever.

A shell computes with the number of `:command N`, and shells run what they find in a sum: so nothing but digits is taken
for one, and what begins with a colon and is no instruction is nothing at all.
"""

from __future__ import annotations

from gflow.cli.completion.choices import SHELLS

PROGRAMS = ("gflow", "gflowd", "gbatch", "gqueue", "ginfo", "gjob", "gcancel", "gctl", "gstats")

_BASH = r"""# Completes PROGRAMS in bash: each command is asked what may come next.
_gflow_complete() {
    local line own=
    COMPREPLY=()
    while IFS= read -r line; do
        case $line in
            :files | :directories | :command\ [0-9] | :command\ [0-9][0-9] | :command\ [0-9][0-9][0-9]) own=$line ;;
            :*) ;;
            *) COMPREPLY+=("$line") ;;
        esac
    done < <("$1" __complete bash "$COMP_CWORD" "${COMP_LINE:0:COMP_POINT}" "${COMP_WORDS[@]}" 2>/dev/null)
    case $own in
        :files) compopt -o default ;;
        :directories) compopt -o dirnames ;;
        :command*)
            if [[ ${own#* } -eq COMP_CWORD ]]; then
                compopt -o filenames -o default
                COMPREPLY+=($(compgen -c -- "$2" | sort -u))
            elif declare -F _command_offset >/dev/null; then
                _command_offset "${own#* }"
            else
                compopt -o default
            fi ;;
    esac
}
complete -o nosort -F _gflow_complete PROGRAMS
"""

_ZSH = r"""#compdef PROGRAMS
# Completes PROGRAMS in zsh: each command is asked what may come next.
_gflow() {
    local line own
    local -a asked values
    asked=(__complete zsh $((CURRENT - 1)) "" "${(@Q)words[1,CURRENT]}")
    for line in "${(@f)$("${(Q)words[1]}" "${asked[@]}" 2>/dev/null)}"; do
        case $line in
            :files | :directories | :command\ [0-9] | :command\ [0-9][0-9] | :command\ [0-9][0-9][0-9]) own=$line ;;
            :*) ;;
            *$'\t'*) values+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}") ;;
            ?*) values+=("${line//:/\\:}") ;;
        esac
    done
    case $own in
        :files) [[ $PREFIX == --*=* ]] && compset -P '*='; _files; return ;;
        :directories) [[ $PREFIX == --*=* ]] && compset -P '*='; _files -/; return ;;
        :command*) shift ${own#* } words; (( CURRENT -= ${own#* } )); _normal; return ;;
    esac
    (( $#values )) && _describe -V PROGRAM values
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _gflow "$@"
else
    compdef _gflow PROGRAMS
fi
"""

_FISH = r"""# Completes PROGRAMS in fish: each command is asked what may come next.
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
"""

_TEMPLATES = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def script(program: str, shell: str) -> str:
    """The script that teaches `shell` to complete `program`; for gflow, every program. ValueError for other shells."""
    return text(PROGRAMS if program == PROGRAMS[0] else (program,), shell)


def text(programs: tuple[str, ...], shell: str) -> str:
    """The script for these programs. ValueError for other shells."""
    if shell not in _TEMPLATES:
        raise ValueError(f"no completion for '{shell}'; there is one for {', '.join(SHELLS)}")
    made = _TEMPLATES[shell].replace("PROGRAMS", " ".join(programs)).replace("PROGRAM", programs[0])
    if shell == "fish":
        made += "".join(f"complete -c {name} -f -a '(__gflow_complete)'\n" for name in programs)
    return made
