"""What a person reads about how a job ended, where its exit code alone does not say it. Pure.

The wrapper has one word for each thing of its own that can fail; shells have two exit codes with a meaning.
"""

from gflow.core.model import JobSpec

HUNG_UP = 129
"""128 + SIGHUP: what a job ends with when its terminal is taken away."""

NEVER_RAN = "It ended before its first instruction"
RESTARTED = "The machine was restarted while the job ran"
SERVER_LOST = "The tmux server was lost while the job ran"
DISK_FULL = "The disk was full, so its exit status could not be recorded"
KILLED = "Its shell was killed from outside (kill -9, or out of memory), so its exit status is unknown"


def describe(spec: JobSpec, program: str, code: int, word: str | None, note: str | None) -> str | None:
    """One sentence about exit `code` and the wrapper's `word`; None if there is nothing to add.

    program: what was to be run. note: what the system or conda said about it.
    """
    why = f": {note}" if note else ""
    match word, code:
        case "chdir", _:
            return f"Cannot change to the working directory '{spec.run_dir}'{why}"
        case "conda", _:
            return f"Cannot activate the conda environment '{spec.conda_env}'{why}"
        case "environment", _:
            return "Cannot read the environment stored with the job"
        case "missing", _:
            return f"Cannot run '{program}': no such program"
        case "refused", _:
            return f"Cannot run '{program}': permission denied, or not a program"
        case _, 127:
            return "A command was not found (exit status 127)"
        case _, 126:
            return "A command could not be executed (exit status 126)"
        case _:
            return None
