#!/usr/bin/env python3
"""Write the completion scripts in contrib/completions, which are installed where shells look for them.

contrib/completions.py            write them
contrib/completions.py --check    say which are not what this would write; exit status 1 if there are any
"""

import sys
from pathlib import Path

from written import main

from gflow.cli.completion.scripts import PROGRAMS, text

SCRIPTS = Path(__file__).with_name("completions")


def scripts() -> dict[Path, str]:
    """The text of every script: bash and fish look for one by the name of the program, zsh takes one for all."""
    found = {SCRIPTS / "zsh" / "_gflow": text(PROGRAMS, "zsh")}
    for name in PROGRAMS:
        found[SCRIPTS / "bash" / name] = text((name,), "bash")
        found[SCRIPTS / "fish" / f"{name}.fish"] = text((name,), "fish")
    return found


if __name__ == "__main__":
    sys.exit(main(scripts(), sys.argv[1:]))
