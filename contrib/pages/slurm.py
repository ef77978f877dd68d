"""What gflow makes of Slurm's words: of the tables that gbatch goes by."""

from gflow.cli import sbatch, slurm_options
from pages.markdown import code, page, plain, table

ABOUT = """\
What [coming from Slurm](../moving-from-slurm.md) tells, to look up. Most options of `gbatch` have Slurm's names as
well: [gbatch](commands/gbatch.md) lists all."""
LINES = """\
`gbatch --sbatch SCRIPT` goes by these; all others are named and left out. `# GFLOW` lines of the script come before
them, the command line before both."""
INSTEAD = "On the command line of `gbatch` these are errors, which say what to do instead."
VARIABLES = "Slurm's own are not set, for programs would take this for Slurm. `gbatch` says which a script uses."


def made() -> str:
    """The text of the page."""
    ours: dict[str, list[str]] = {}
    for slurms, name in sbatch.OPTIONS.items():
        ours.setdefault(name, []).append(slurms)
    lines = ((", ".join(map(code, names)), code(name)) for name, names in ours.items())
    hints = ((", ".join(map(code, names)), plain(hint)) for hint, names in slurm_options._HINTS.items())
    variables = ((code(slurms), code(name)) for slurms, name in sbatch.VARIABLES.items())
    return page(
        "Slurm's options and variables",
        ABOUT,
        "## `#SBATCH` lines",
        LINES,
        table(("#SBATCH", "as with gbatch"), lines),
        "## What gbatch has not",
        INSTEAD,
        table(("sbatch", "instead"), hints),
        "## Variables",
        VARIABLES,
        table(("Slurm", "here"), variables),
    )
