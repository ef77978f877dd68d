#!/usr/bin/env python3
"""Write docs/reference: commands of their option tables, settings of their schema, states of the table of transitions,
events of their names, routes of the OpenAPI document, and what is made of Slurm's words.

contrib/reference.py            write them
contrib/reference.py --check    say which are not what this would write; exit status 1 if there are any
"""

import sys
from pathlib import Path

from pages import api, commands, events, settings, slurm, states
from written import main

REFERENCE = Path(__file__).resolve().parents[1] / "docs" / "reference"
MODULES = {"settings": settings, "states": states, "events": events, "slurm": slurm, "api": api}


def pages() -> dict[Path, str]:
    """The text of every page."""
    found = {REFERENCE / "commands" / f"{name}.md": text for name, text in commands.pages().items()}
    for name, module in MODULES.items():
        found[REFERENCE / f"{name}.md"] = module.made()
    return found


if __name__ == "__main__":
    sys.exit(main(pages(), sys.argv[1:]))
