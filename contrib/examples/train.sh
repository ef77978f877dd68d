#!/bin/sh
# One training of the sweep. gbatch reads the next lines as if they were options on its command line.
# GFLOW --name train
# GFLOW --time 2
# GFLOW --max-concurrent 2

exec "${PYTHON:-python3}" train.py --out "$1"
