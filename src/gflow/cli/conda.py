"""The conda environment a command was submitted from, so that it is known, and active when the command runs."""

from __future__ import annotations

import os


def active() -> str | None:
    """The name or path of the active environment, None if there is none that could be activated again."""
    name = os.environ.get("CONDA_DEFAULT_ENV", "").strip()
    prefix = os.environ.get("CONDA_PREFIX", "")
    if not name or (not os.path.isdir(prefix) and not _conda()):
        return None
    return name


def _conda() -> bool:
    """Whether there is a conda to activate it with."""
    places = [os.environ.get("CONDA_EXE", "")]
    places += [os.path.join(place, "conda") for place in os.environ.get("PATH", "").split(os.pathsep) if place]
    return any(os.access(place, os.X_OK) and os.path.isfile(place) for place in places)
