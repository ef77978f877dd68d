# What contrib/try, contrib/test and contrib/bench/run have in common: finding Python, tmux and making a virtual environment.
#
# Sourced by POSIX sh with `set -eu`, from the top of the checkout. Functions print what they do to stderr and leave
# their answer on stdout.

unset PYTHONPATH PYTHONHOME PYTHONSTARTUP PIP_USER PIP_TARGET PIP_PREFIX TMUX TMUX_PANE
for name in $(env | sed -n -E 's/^(GFLOW_DAEMON[A-Z_]*|GFLOW_URL|GFLOW_TOKEN[A-Z_]*|GFLOW_LOG)=.*/\1/p'); do
    unset "$name"
done

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

# runs_python COMMAND: whether COMMAND is a Python that gflow supports. A pyenv shim without a version behind it is not.
runs_python() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

# find_python: the Python to use, as a command. GFLOW_PYTHON names another.
find_python() {
    if [ -n "${GFLOW_PYTHON:-}" ]; then
        runs_python "$GFLOW_PYTHON" || die "GFLOW_PYTHON=$GFLOW_PYTHON is not a working Python >= 3.11"
        printf '%s\n' "$GFLOW_PYTHON"
        return
    fi
    for candidate in python3 python3.13 python3.12 python3.11 python3.14 "${HOME:-/}"/.pyenv/versions/3.1[1-4]*/bin/python; do
        if runs_python "$candidate"; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    die "no Python >= 3.11 found (looked for python3, python3.11 to python3.14): install one, or name it in GFLOW_PYTHON"
}

# find_python_version 3.13: a working Python of that version, or nothing.
find_python_version() {
    for candidate in "python$1" "${HOME:-/}"/.pyenv/versions/"$1"*/bin/python; do
        if runs_python "$candidate"; then
            printf '%s\n' "$candidate"
            return
        fi
    done
}

python_version() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])'; }

# as_root COMMAND...: run it as root, without ever asking for a password.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
        sudo -n "$@"
    else
        return 1
    fi
}

# install_package NAME: through the system's package manager; fails where that may not be done.
install_package() {
    if command -v apt-get >/dev/null 2>&1; then
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$1" ||
            { as_root apt-get update &&
                as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$1"; }
    elif command -v dnf >/dev/null 2>&1; then as_root dnf install -y "$1"
    elif command -v pacman >/dev/null 2>&1; then as_root pacman -Sy --noconfirm --needed "$1"
    elif command -v zypper >/dev/null 2>&1; then as_root zypper --non-interactive install "$1"
    elif command -v apk >/dev/null 2>&1; then as_root apk add "$1"
    elif command -v brew >/dev/null 2>&1; then brew install "$1"
    else return 1
    fi >/dev/null 2>&1
}

# tmux_is_new_enough: tmux 3.2 or newer is on PATH. Builds from its main branch call themselves "master".
tmux_is_new_enough() {
    version=$(tmux -V 2>/dev/null) || return 1
    case $version in *master*) return 0 ;; esac
    set -- $(printf '%s\n' "$version" | sed -n 's/^tmux [^0-9]*\([0-9][0-9]*\)\.\([0-9][0-9]*\).*/\1 \2/p')
    [ $# -eq 2 ] || return 1
    [ "$1" -gt 3 ] || { [ "$1" -eq 3 ] && [ "$2" -ge 2 ]; }
}

need_tmux() {
    tmux_is_new_enough && return
    say "installing tmux"
    install_package tmux || true
    tmux_is_new_enough && return
    if command -v tmux >/dev/null 2>&1; then
        die "$(tmux -V) is too old: gflow needs tmux 3.2 or newer"
    fi
    die "tmux is missing and may not be installed from here: install it (e.g. 'apt-get install tmux') and try again"
}

need_venv_module() {
    "$1" -c 'import ensurepip, venv' >/dev/null 2>&1 && return
    version=$(python_version "$1")
    if command -v apt-get >/dev/null 2>&1; then
        say "installing python$version-venv"
        install_package "python$version-venv" || true
        "$1" -c 'import ensurepip, venv' >/dev/null 2>&1 && return
    fi
    die "$1 cannot make virtual environments: install its venv module (Debian, Ubuntu: 'apt-get install python$version-venv')"
}

# pip_install VENV ARGUMENTS...: quiet when it works, pip's own words when it does not.
pip_install() {
    pip_venv=$1
    shift
    "$pip_venv/bin/python" -m pip install --disable-pip-version-check --no-input -c constraints.txt "$@" \
        >"$pip_venv/pip.log" 2>&1 || { cat "$pip_venv/pip.log" >&2; die "pip could not install $*"; }
}

# make_venv PYTHON DIR: an environment with the pinned pip and build tools. The pinned pip also matters for start-up
# time: the console scripts that pip 23 writes import `re` first, newer ones do not.
make_venv() {
    need_venv_module "$1"
    "$1" -m venv "$2"
    pip_install "$2" pip hatchling editables
}

# lock_shared FILE / lock_exclusive FILE: hold FILE's lock on descriptor 9 until it is closed or locked otherwise.
lock_shared() { exec 9>>"$1"; "$python" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_SH)'; }
lock_exclusive() { exec 9>>"$1"; "$python" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)'; }
