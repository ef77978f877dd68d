#!/usr/bin/env python3
"""Write docs/reference: commands of their option tables, settings of their schema, states of the table of transitions,
events of their names, and what is made of Slurm's words.

contrib/reference.py            write them
contrib/reference.py --check    say which are not what this would write; exit status 1 if there are any
"""

import sys
from pathlib import Path

from pages import commands, events, settings, slurm, states
from written import main

REFERENCE = Path(__file__).resolve().parents[1] / "docs" / "reference"


def pages() -> dict[Path, str]:
    """The text of every page."""
    found = {REFERENCE / "commands" / f"{name}.md": text for name, text in commands.pages().items()}
    for name, module in (("settings", settings), ("states", states), ("events", events), ("slurm", slurm)):
        found[REFERENCE / f"{name}.md"] = module.made()
    return found


if __name__ == "__main__":
    sys.exit(main(pages(), sys.argv[1:]))
