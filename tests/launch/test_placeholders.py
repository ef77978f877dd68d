"""Only what is declared is filled in, and a value in a shell line is one word wherever it lands, and never run."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gflow.core.errors import Impossible
from gflow.launch.placeholders import fill_argument, fill_line, parameter_variables, referred_to
from gflow.launch.shell_text import MAX_SYNTAX
from support.effort import examples

VARIABLES = {"GFLOW_JOB_ID": "7", "CUDA_VISIBLE_DEVICES": "0,1", "GFLOW_JOB_NAME": "{lr}"}
R = "${GFLOW_PARAM_P}"


@pytest.mark.parametrize(
    ("typed", "filled"),
    [
        ("$GFLOW_JOB_ID", "7"),
        ("out-${GFLOW_JOB_ID}.txt", "out-7.txt"),
        ("$CUDA_VISIBLE_DEVICES ${CUDA_VISIBLE_DEVICES}", "0,1 0,1"),
        ("--lr={lr}", "--lr=0.1"),
        ("{lr}{lr}", "0.10.1"),
        ("{print $1}", "{print $1}"),
        ("{other}", "{other}"),
        ("${lr}", "${lr}"),
        ("$HOME ${HOME} $GFLOW_OTHER ${GFLOW_OTHER}", "$HOME ${HOME} $GFLOW_OTHER ${GFLOW_OTHER}"),
        ("$GFLOW_JOB_NAME", "{lr}"),
        ("$GFLOW_JOB_IDX", "$GFLOW_JOB_IDX"),
        ("$GFLOW_JOB_IDx $GFLOW_JOB_ID.x $GFLOW_JOB_ID-2", "$GFLOW_JOB_IDx 7.x 7-2"),
        (
            "$CUDA_VISIBLE_DEVICESx $CUDA_VISIBLE_DEVICES_ $CUDA_VISIBLE_DEVICES:",
            "$CUDA_VISIBLE_DEVICESx $CUDA_VISIBLE_DEVICES_ 0,1:",
        ),
    ],
)
def test_arguments(typed: str, filled: str) -> None:
    assert fill_argument(typed, VARIABLES, {"lr": "0.1"}) == filled


@pytest.mark.parametrize(
    ("line", "filled"),
    [
        ("echo {p}", f'echo "{R}"'),
        ('echo "{p}"', f'echo "{R}"'),
        ("echo 'a{p}'", f"echo 'a'\"{R}\"''"),
        ("echo $'{p}'", f"echo $''\"{R}\"$''"),
        ("echo --x={p} # {p}", f'echo --x="{R}" # {{p}}'),
        ("awk '{print}' {q} ${p}", "awk '{print}' {q} ${p}"),
        (r"echo \{p} \' {p}", rf'echo \{{p}} \' "{R}"'),
        ('echo "$(cat {p})" "{p}"', f'echo "$(cat "{R}")" "{R}"'),
        ("echo a#b {p}", f'echo a#b "{R}"'),
        ("# don't\necho {p}", f'# don\'t\necho "{R}"'),
        ("cat <<E\n\"{p}\" '$(echo {p})'\nE\necho {p}", f'cat <<E\n"{R}" \'$(echo "{R}")\'\nE\necho "{R}"'),
        ("cat <<'E' <<-F\n'\nE\n\t\"{p}\n\tF\necho {p}", f"cat <<'E' <<-F\n'\nE\n\t\"{R}\n\tF\necho \"{R}\""),
        ("((i = 1 << 2))\necho {p} $((2 << 3)) <<<{p}", f'((i = 1 << 2))\necho "{R}" $((2 << 3)) <<<"{R}"'),
        ('"$(case a in a) echo {p};; esac)" "{p}"', f'"$(case a in a) echo "{R}";; esac)" "{R}"'),
        ('"`echo \\"{p}\\"`" `: # {p}` {p}', f'"`echo \\"{R}\\"`" `: # {{p}}` "{R}"'),
        ("eval 'echo' 2>&1; echo {p}", f"eval 'echo' 2>&1; echo \"{R}\""),
    ],
)
def test_lines(line: str, filled: str) -> None:
    assert fill_line(line, {"p": "a;b"}) == filled


def test_a_plain_word_is_written_as_it_is() -> None:
    line = "seq {n}; echo {1..{n}} '{n}' x{n}=1 $(( {n} + 1 )) <<'E'\n{n}\nE"
    assert fill_line(line, {"n": "12"}) == line.replace("{n}", "12")


def test_nothing_is_an_empty_word() -> None:
    assert fill_line("echo {n} \"{n}\" '{n}'", {"n": ""}) == "echo '' \"\" ''"


def test_each_parameter_has_a_variable_of_its_own() -> None:
    values = {"lr": "a b", "LR": "c d", "n": "1"}
    assert list(parameter_variables(values).values()) == ["GFLOW_PARAM_LR", "GFLOW_PARAM_LR_", "GFLOW_PARAM_N"]
    line = fill_line("echo {lr} {LR} {n}", values)
    assert line == 'echo "${GFLOW_PARAM_LR}" "${GFLOW_PARAM_LR_}" 1'
    assert referred_to(line, values) == {"GFLOW_PARAM_LR": "a b", "GFLOW_PARAM_LR_": "c d"}


def run(line: str, value: str, directory: Path | None = None) -> "subprocess.CompletedProcess[bytes]":
    env = {"PATH": "/usr/bin:/bin", "GFLOW_PARAM_P": value}
    command = ["bash", "-c", "--", line]
    return subprocess.run(
        command, check=False, capture_output=True, stdin=subprocess.DEVNULL, env=env, cwd=directory, timeout=20
    )


def is_accepted(line: str) -> bool:
    """Whether bash finds no fault with the syntax of a line."""
    return subprocess.run(["bash", "-n", "-c", "--", line], check=False, capture_output=True).returncode == 0


VALUES = st.text(alphabet=st.sampled_from("ab '\"\\$`!*;&|(){}[]#~<>\t\n\u00fc"), max_size=12).map(
    lambda text: text + "."
)
PLACES = st.recursive(
    st.sampled_from(
        [
            *("{p}", '"{p}"', "'{p}'", "$'{p}'", '"${none:-{p}}"', "${none:-{p}}", '"`printf %s \\"{p}\\"`"'),
            *('"$(cat <<E\n{p}\nE\n)"', '"$(cat <<E\n$(printf %s {p})\nE\n)"', '"`printf %s {p}`"'),
            *('"`printf %s "{p}"`"', '"$(printf %s `printf "" "{p}"` {p})"', '"`printf %s \\`printf ""\\`{p}`"'),
        ]
    ),
    lambda inner: st.builds(
        str.replace,
        st.sampled_from(
            [
                *('"$(printf %s @)"', '"$(case a in a) printf %s @;; esac)"', '"$( (printf %s @) )"', '""@'),
                *('"$(printf %s @ # don\'t\n)"', '"$(: $((1 << 2)); printf %s @)"', '"$(cat <<<@)"', "$'\\''@"),
                *("\"$(: <<'E' ; printf %s @\n' ` $( \"\nE\n)\"", '"$(if [[ a == a ]]; then printf %s @; fi)"'),
            ]
        ),
        st.just("@"),
        inner,
    ),
    max_leaves=3,
)


@settings(max_examples=examples(60), deadline=None)
@given(place=PLACES, value=VALUES)
def test_a_value_is_one_word_wherever_it_lands(place: str, value: str) -> None:
    done = run(fill_line(f"printf '%s\\0' {place}", {"p": value}), value)
    assert (done.stdout.decode(), done.stderr) == ("'" * place.count("$'\\''") + f"{value}\0", b"")


WRAPS = [
    *(
        '"@"',
        "'@'",
        "`@`",
        "$(@)",
        '"$(@)"',
        '"`@`"',
        "(@)",
        "{ @; }",
        '"${x:-@}"',
        "${x:-@}",
        "$'@\\''",
        '\\"@',
        "\\`@\\`",
        "@ @",
    ),
    *(
        "echo @",
        "echo @; @",
        "@ | cat",
        "@ && @",
        "! @",
        "x=@ @",
        "x=@",
        "echo $x@",
        "echo @ # '\n",
        "echo @\\\n@",
        "@\n@",
        "@;",
    ),
    *(
        "cat <<E\n@\nE\n",
        "cat <<'E'\n@\nE\n",
        "cat <<-E\n\t@\n\tE\n",
        '"$(cat <<E\n@\nE\n)"',
        "@ <<E\n\" '\nE\n",
        "cat <<<@",
    ),
    *(
        "echo @ <<\\E\n' $( `\nE\n",
        "cat <<E | sh\n@\nE\n",
        "bash <<E\n@\nE\n",
        "cat <<E; $(@\n)\n@\nE\n",
        "cat <<@\n@\n@\n",
    ),
    *(
        "echo $((@))",
        "(( @ ))",
        "(( x = 1 << 2 ))\n@",
        "[[ @ -eq 1 ]]",
        "[[ a == @ ]]",
        "[ @ = a ]",
        "let @",
        'let "y = @"',
        "a[@]=1",
    ),
    *(
        "declare -i n=@",
        "x=@; (( x ))",
        "x=@; echo ${!x}",
        "echo ${x[@]}",
        "echo $[@]",
        "printf -v @ a",
        "test -v @",
        "unset @",
    ),
    *(
        "case @ in @) @;; esac",
        '"$(case a in a) @;; esac)"',
        "case x in (a) @;; *) @; esac",
        "echo case; @",
        "$(echo case) @",
    ),
    *(
        "if @; then @; fi",
        "for i in @; do echo $i; done",
        "while false; do @; done",
        "f() { @; }; f",
        "for ((i=0; i<@; i++)); do break; done",
    ),
    *(
        "true; eval @",
        'true; eval "@"',
        "true; eval 'echo @'",
        "bash -c @",
        "bash -c '@'",
        'sh -xc "echo @" a',
        "true; trap @ EXIT",
        "env bash -c 'true; @'",
    ),
    *(
        "echo <(@)",
        "echo > /dev/null @ 2>&1",
        "cat < @",
        "${x#@}",
        '"${x/@/@}"',
        "a=(@)",
        "coproc @",
        "time @",
        "echo {@,a}",
        "@ &",
    ),
]
LEAVES = ["{p}", "{p}", '"{p}"', "'{p}'", "a{p}", "x", "true", "a b", ""]


def wrapped(wrap: str, inside: list[str]) -> str:
    """`wrap` with something in every place it has for that."""
    pieces = wrap.split("@")
    return pieces[0] + "".join(inside[at % len(inside)] + piece for at, piece in enumerate(pieces[1:]))


LINES = st.recursive(
    st.sampled_from(LEAVES),
    lambda inner: st.builds(wrapped, st.sampled_from(WRAPS), st.lists(inner, min_size=1, max_size=3)),
    max_leaves=6,
)
COMMANDS = [
    *("$(>ran)", "`>ran`", ";>ran;", "\n>ran\n", "'\n>ran\n'", '"\n>ran\n"', "\\\n>ran\n", "\nE\n>ran\n", ")\n>ran\n"),
    *(
        "a[$(>ran)]",
        "a[`>ran`]",
        "x[1]+a[$(>ran)]",
        "${x:=$(>ran)}",
        "';>ran;'",
        '";>ran;"',
        '"$(>ran)"',
        "}\n>ran\n{",
        "<(>ran)",
    ),
    *(";; esac\n>ran\n", "))\n>ran\n", "\\`>ran\\`", "'$(>ran)'", "\\$(>ran)", "@\n>ran;#"),
]


@settings(max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(typed=LINES, value=st.sampled_from(COMMANDS))
def test_no_value_is_run_whatever_the_line(typed: str, value: str, tmp_path: Path) -> None:
    try:
        line = fill_line(typed, {"p": value})
    except Impossible:
        return
    run(line, value, tmp_path)
    assert not (tmp_path / "ran").exists(), line
    assert is_accepted(line) == is_accepted(fill_line(typed, {"p": "plain"})), line


@pytest.mark.parametrize(
    "line",
    [
        *("echo $(({p}))", "n={p}; (( n > 3 ))", "let 'n = {p}'", "[[ {p} -eq 1 ]]", "echo ${a[{p}]}", "a[{p}]=1"),
        *("declare -i n={p}", "n={p}; echo ${!n}", "echo ${a:{p}}", "echo $[ {p} ]", "printf -v {p} x", "unset {p}"),
        *(
            "eval echo {p}",
            "eval 'echo \"{p}\"'",
            "bash -c 'echo {p}'",
            "true; env sh -xc \"echo '{p}'\" 2>&1",
            "ssh a 'b {p}'",
        ),
        *(
            "cat <<'E'\n{p}\nE",
            "cat <<\\E\n{p}\nE",
            "bash <<E\necho {p}\nE",
            "cat <<E | sh\n{p}\nE",
            "cat <<{p}\n{p}",
            "trap '{p}' 0",
        ),
    ],
)
def test_what_a_shell_would_read_again_or_not_expand_is_refused(line: str) -> None:
    with pytest.raises(Impossible, match=r"\{p\}"):
        fill_line(line, {"p": "a[$(date)]"})
    assert fill_line(line, {"p": "12"}).replace("${GFLOW_PARAM_P}", "12") == line.replace("{p}", "12")


def test_no_value_ends_a_here_document() -> None:
    with pytest.raises(Impossible, match="end the here-document"):
        fill_line("cat <<-'EOF'\n\tE{p}\nx\nEOF", {"p": "OF"})
    assert fill_line("cat <<'EOF'\n\tE{p}\nEOF", {"p": "OF."}) == "cat <<'EOF'\n\tEOF.\nEOF"
    assert fill_line("cat <<EOF\nE{p}\nx\nEOF", {"p": "OF"}) == f"cat <<EOF\nE{R}\nx\nEOF"


def test_values_that_are_a_subscript_only_together_are_refused() -> None:
    with pytest.raises(Impossible, match="arithmetic"):
        fill_line('(( {x}"{y}" ))', {"x": "a[$", "y": "(date)]"})
    with pytest.raises(Impossible, match="arithmetic"):
        fill_line("(( {x} ))", {"x": "GFLOW_PARAM_Y", "y": "a[$(date)]"})


def test_a_dollar_in_a_value_is_no_hindrance_elsewhere() -> None:
    assert fill_line("(( n > 3 )) && grep {p} file", {"p": "^a$"}) == f'(( n > 3 )) && grep "{R}" file'
    assert fill_line("grep -n {p} file", {"p": "a[$(b)]"}) == f'grep -n "{R}" file'
    assert fill_line('ssh a true; echo "{p}"', {"p": "it's"}) == f'ssh a true; echo "{R}"'
    assert fill_line("main.py eval --watch {p}; eval true\necho {p}", {"p": "it's"}).count(R) == 2
    assert fill_line("ssh a echo {p}", {"p": "two words"}) == f'ssh a echo "{R}"'


def test_a_line_that_takes_long_to_read_is_refused() -> None:
    with pytest.raises(Impossible, match="use a script"):
        fill_line("(" * (MAX_SYNTAX + 1) + "{p}", {"p": "1"})
