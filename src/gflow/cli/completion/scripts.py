"""The scripts that teach shells to ask. They hold no names of options, so they are the same for ever.

What is offered comes from other users' jobs, or from a server that nobody should trust: a value is only ever a value.
Only the first line of an answer says what the shell is to do, and of that nothing is calculated with or expanded but
what has been seen to be a number.
"""

from __future__ import annotations

from gflow.cli.completion.choices import FORM, SHELLS

PROGRAMS = ("gflow", "gflowd", "gbatch", "gqueue", "ginfo", "gjob", "gcancel", "gctl", "gstats")

_BASH = r"""# Completes PROGRAMS in bash: each command is asked what may come next.
_gflow_complete() {
    local line own=
    COMPREPLY=()
    {
        IFS= read -r own
        while IFS= read -r line; do COMPREPLY+=("$line"); done
    } < <("$1" __complete FORM bash "$COMP_CWORD" "${COMP_LINE:0:COMP_POINT}" "${COMP_WORDS[@]}" 2>/dev/null)
    case $own in
        :files) compopt -o default ;;
        :directories) compopt -o dirnames ;;
        ":command $COMP_CWORD")
            compopt -o filenames -o default
            while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -c -- "$2" | sort -u) ;;
        ":command "*[!0123456789]*) ;;
        ":command "[123456789]*)
            if declare -F _command_offset >/dev/null; then
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
    local line value own
    local -a asked lines values
    asked=(__complete FORM zsh $((CURRENT - 1)) "" "${(@Q)words[1,CURRENT]}")
    lines=("${(@f)$("${(Q)words[1]}" "${asked[@]}" 2>/dev/null)}")
    own=$lines[1]
    for line in "${(@)lines[2,-1]}"; do
        value=${${${line%%$'\t'*}//\\/\\\\}//:/\\:}
        [[ $line == *$'\t'* ]] && value+=:${line#*$'\t'}
        values+=("$value")
    done
    case $own in
        :files) [[ $PREFIX == --*=* ]] && compset -P '*='; _files; return ;;
        :directories) [[ $PREFIX == --*=* ]] && compset -P '*='; _files -/; return ;;
        ':command '<1-9999>)
            own=${own#:command }
            (( own < CURRENT )) || return 1
            shift $own words
            (( CURRENT -= own ))
            _normal
            return ;;
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
    set -l lines ($before[1] __complete FORM fish (count $before) "" $before "$word" 2>/dev/null)
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
"""

_TEMPLATES = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def script(program: str, shell: str) -> str:
    """The script that teaches `shell` to complete `program`; for gflow, every program. ValueError for other shells."""
    return text(PROGRAMS if program == PROGRAMS[0] else (program,), shell)


def text(programs: tuple[str, ...], shell: str) -> str:
    """The script for these programs. ValueError for other shells."""
    if shell not in _TEMPLATES:
        raise ValueError(f"no completion for '{shell}'; there is one for {', '.join(SHELLS)}")
    made = _TEMPLATES[shell].replace("FORM", FORM)
    made = made.replace("PROGRAMS", " ".join(programs)).replace("PROGRAM", programs[0])
    if shell == "fish":
        made += "".join(f"complete -c {name} -f -a '(__gflow_complete)'\n" for name in programs)
    return made
