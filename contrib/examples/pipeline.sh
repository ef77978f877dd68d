#!/bin/sh
# Queue a small machine-learning pipeline: prepare the data, train four networks with different learning rates, compare
# them. Beside it, a training that takes longer than its time limit allows, and a check that fails.
#
#     ./pipeline.sh [DIR]       DIR (default: ./output) gets the models; DIR/jobs lists the name and id of every job
#
# Needs a running gflowd (`gflowd up`) and nothing else but Python; $PYTHON names another than python3.
set -eu
mkdir -p "${1:-output}"
OUT=$(cd "${1:-output}" && pwd)
cd "$(dirname "$0")"
: "${PYTHON:=python3}"
export OUT PYTHON
: >"$OUT/jobs"

# show WORDS...: a command line as one would type it.
show() {
    printf '$ %s' "$1"
    shift
    for word in "$@"; do
        case $word in
        *' '*) printf " '%s'" "$word" ;;
        *) printf ' %s' "$word" ;;
        esac
    done
    printf '\n'
}

# submit NAME OPTIONS... COMMAND...: show the command, run it, note the ids. They are in $ids after it, joined by commas.
submit() {
    name=$1
    shift
    show gbatch "$@"
    ids=$(gbatch --parsable "$@")
    ids=$(printf '%s\n' "$ids" | paste -s -d , -)
    printf '%s %s\n' "$name" "$ids" >>"$OUT/jobs"
}

submit prepare --name prepare --time 1 "$PYTHON" prepare.py --data data/points.csv --out "$OUT"
prepared=$ids

# A script: its options are in train.sh itself. Four jobs, $GFLOW_ARRAY_TASK_ID is 1 to 4.
submit train --depends-on "$prepared" --array 1-4 train.sh "$OUT"
trained=$ids

submit evaluate --name evaluate --time 1 --depends-on-all "$trained" "$PYTHON" evaluate.py --out "$OUT"
evaluated=$ids

# Would train for hours. At its limit it gets Ctrl-C, and saves a checkpoint.
submit overrun --name overrun --time 0:03 --depends-on "$prepared" "$PYTHON" train.py --out "$OUT" --epochs 1000000

# Asks for more than the model can do, and exits with 3. What depends on it is cancelled. One word with
# blanks in it is a shell command line.
submit gate --name gate --depends-on "$evaluated" "$PYTHON" evaluate.py --out "$OUT" --at-least 0.999
submit publish --name publish --depends-on "$ids" 'cp "$OUT/best.json" "$OUT/published.json" && echo published'
