#!/usr/bin/env python3
"""Write the units in systemd/, for packages that install gflow in /usr; others are written by `gflowd service install`.

contrib/units.py            write them
contrib/units.py --check    say which are not what this would write; exit status 1 if there are any
"""

import sys
from pathlib import Path

from written import main

from gflow.daemon.units import SERVICE, SOCKET, service_text, socket_text

UNITS = Path(__file__).resolve().parents[1] / "systemd"
GFLOWD = "/usr/bin/gflowd"


def units() -> dict[Path, str]:
    """The text of every unit."""
    user, system = UNITS / "user", UNITS / "system"
    return {
        user / SERVICE: service_text((GFLOWD,), (), {}, system=False),
        user / SOCKET: socket_text((GFLOWD,), {}, system=False),
        system / SERVICE: service_text((GFLOWD,), ("--system",), {}, system=True),
        system / SOCKET: socket_text((GFLOWD,), {}, system=True),
    }


if __name__ == "__main__":
    sys.exit(main(units(), sys.argv[1:]))
