"""Options of sbatch that gbatch has not, and what to do instead: looked at only when somebody has typed one."""

_LOG = "gjob log shows what a job prints, both together; to have it in a file: gbatch 'COMMAND >FILE 2>&1'"
_ONE_MACHINE = "there is one machine here; leave it out"
_CPUS = "--cpus N says how many CPUs it may use"
_PARTITION = "there are no partitions and no qualities of service here; leave it out"

_HINTS = {
    _LOG: ("-e", "--error"),
    _ONE_MACHINE: ("-N", "--nodes", "-w", "--nodelist", "-x", "--exclude", "-C", "--constraint"),
    _CPUS: ("--ntasks", "--ntasks-per-node", "--cpus-per-gpu"),
    _PARTITION: ("--partition", "-q", "--qos"),
    "--notify-on says what to send mail about, e.g. job_failed": ("--mail-type",),
    "--notify-email ADDR sends mail about the job": ("--mail-user",),
    "--gpus N asks for GPUs": ("--gpus-per-node", "--gpus-per-task"),
    "-m asks for memory": ("--mem-per-cpu", "--mem-per-gpu"),
    "--gpus without --shared has its GPUs for itself": ("--exclusive", "-s", "--oversubscribe"),
    "jobs are not repeated unless --max-retries N says so": ("--requeue", "--no-requeue"),
}


def instead_of(name: str) -> str | None:
    """What to do instead of giving gbatch the option `name`; None if there is nothing to say."""
    return next((hint for hint, names in _HINTS.items() if name in names), None)
