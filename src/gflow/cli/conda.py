"""The conda environment a command was submitted from, so that it is known, and active when the command runs."""

from __future__ import annotations

import os


def active() -> str | None:
    """The name or path of the active environment, None if there is none that could be activated again."""
    name = os.environ.get("CONDA_DEFAULT_ENV", "").strip()
    return name if name and (_comes_along() or _conda()) else None


def _comes_along() -> bool:
    """Whether the variables of this process are all that is needed; the job's wrapper looks at the same."""
    programs = os.path.join(os.environ.get("CONDA_PREFIX", ""), "bin")
    return os.path.isdir(programs) and programs in os.environ.get("PATH", "").split(os.pathsep)


def _conda() -> bool:
    """Whether there is a conda to activate it with."""
    places = [os.environ.get("CONDA_EXE", "")]
    places += [os.path.join(place, "conda") for place in os.environ.get("PATH", "").split(os.pathsep) if place]
    return any(os.access(place, os.X_OK) and os.path.isfile(place) for place in places)
