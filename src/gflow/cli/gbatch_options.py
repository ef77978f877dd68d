"""The options of gbatch, as tables: what a script may say in `# GFLOW` lines, and what only the command line can."""

from __future__ import annotations

from gflow.cli import ids
from gflow.cli.command import Option
from gflow.cli.kinds import (
    array,
    begin,
    count,
    dependency,
    early_signal,
    email_address,
    export,
    gpu_ids,
    gpus,
    job_events,
    kind_of_answer,
    memory_mb,
    not_empty,
    param,
    positive,
    priority,
    time_limit,
    trimmed,
)

DIRECTIVES: tuple[Option, ...] = (
    Option(
        "-g",
        "-G",
        "--gpus",
        "--gres",
        convert=gpus,
        metavar="N",
        help="GPUs to reserve (default 0); gpu:N is understood.",
    ),
    Option(
        "--gpu-ids",
        convert=gpu_ids,
        metavar="LIST",
        help="Reserve these very GPUs, e.g. 0,3 or 0-2 (ginfo shows them); instead of --gpus.",
    ),
    Option("--shared", help="Share the GPUs with other jobs that do; needs --gpu-memory."),
    Option(
        "--gpu-memory",
        "--max-gpu-mem",
        "--max-gpu-memory",
        convert=memory_mb,
        metavar="SIZE",
        help="Memory of each GPU, e.g. 20G: with --shared, what the job uses of it; else only GPUs that large will do.",
    ),
    Option(
        "--retry-on-oom",
        help="When the job fails because GPU memory ran out, run it again with 1.25 times as much, up to 5 times.",
    ),
    Option(
        "-m",
        "--memory",
        "--mem",
        "--max-mem",
        "--max-memory",
        convert=memory_mb,
        metavar="SIZE",
        help="Host memory the job may use, e.g. 16G; a bare number is MB. One that uses more is ended.",
    ),
    Option(
        "--cpus",
        "--cpus-per-task",
        convert=positive,
        metavar="N",
        help="CPUs the job may use, which $GFLOW_CPUS tells it (default: all, beside the others).",
    ),
    Option(
        "-t",
        "--time",
        "--time-limit",
        "--timelimit",
        convert=time_limit,
        metavar="SPEC",
        help="Time limit: MM (minutes), MM:SS, HH:MM:SS, or D-HH with days in front.",
    ),
    Option(
        "--signal",
        convert=early_signal,
        metavar="NAME[@SECS]",
        help="Send a signal that long before the time limit, e.g. USR1@120 (default 60).",
    ),
    Option("-p", "--priority", convert=priority, metavar="0-255", help="Higher runs first (default 10)."),
    Option("--nice", convert=priority, metavar="0-255", help="As --priority: higher runs first, unlike in Slurm."),
    Option(
        "-d",
        "--depends-on",
        "--dependency",
        convert=dependency,
        metavar="ID|@|@~N|afterok:ID...|afterany:ID...",
        help="Wait until this job has finished, or with afterany ended; @ is your latest job, @~1 the one before.",
    ),
    Option("--depends-on-all", convert=ids.parse, metavar="LIST", help="Wait until all of these have finished."),
    Option("--depends-on-any", convert=ids.parse, metavar="LIST", help="Wait until one of these has finished."),
    Option("--no-auto-cancel", help="Stay queued when a dependency fails (default: be cancelled)."),
    Option(
        "-a",
        "--array",
        convert=array,
        metavar="SPEC",
        help="One job per index of 1-10, 1-10:2 or 1,4,7, which GFLOW_ARRAY_TASK_ID is; %N: at most N at once.",
    ),
    Option(
        "--param",
        convert=param,
        metavar="NAME=VALUES",
        multiple=True,
        help="One job per value of 0.1,0.01 or 1:10[:STEP], which {NAME} and GFLOW_PARAM_NAME are; several: all"
        " combinations.",
    ),
    Option(
        "--param-file",
        convert=not_empty,
        metavar="CSV",
        help="One job per row of a CSV file, whose first line has the names of the parameters.",
    ),
    Option(
        "--name-template",
        convert=not_empty,
        metavar="TEXT",
        help="The names of the jobs of a sweep, e.g. run-{lr}; {task_id} in an array.",
    ),
    Option("--max-concurrent", convert=positive, metavar="N", help="Run at most N jobs of its group at once."),
    Option(
        "--group", convert=not_empty, metavar="NAME", help="Jobs of one name belong together (default: a sweep does)."
    ),
    Option(
        "--key",
        convert=not_empty,
        metavar="KEY",
        help="Which job of its group this is: if one of that key waits, runs or has finished, nothing is submitted."
        " In a sweep each has its own, as of run-{lr}.",
    ),
    Option(
        "--hold-after-failures",
        convert=positive,
        metavar="N",
        help="Put the rest of the group on hold when N of its jobs in a row failed within a minute.",
    ),
    Option("--max-retries", convert=count, metavar="N", help="Run the job again, up to N times, when it fails."),
    Option(
        "-b",
        "--begin",
        convert=begin,
        metavar="TIME",
        help="Not before: now+2h, +30 (minutes), HH:MM, noon, tomorrow, YYYY-MM-DD[THH:MM].",
    ),
    Option("-H", "--hold", help="Queue the job on hold; gjob release lets it go."),
    Option(
        "-n",
        "-J",
        "--name",
        "--job-name",
        convert=not_empty,
        metavar="NAME",
        help="The job's name (default: a made-up one).",
    ),
    Option("-P", "-A", "--project", "--account", convert=trimmed, metavar="CODE", help="The project it is for."),
    Option(
        "-c",
        "--conda-env",
        convert=not_empty,
        metavar="NAME",
        help="Activate this conda environment first (default for a command: the one that is active).",
    ),
    Option(
        "--export",
        convert=export,
        metavar="ALL|NONE|LIST",
        help="Environment variables to run with (default ALL of the present ones); NAME=VALUE sets one.",
    ),
    Option("-D", "--chdir", convert=not_empty, metavar="DIR", help="Run in this directory (default: the present one)."),
    Option(
        "--notify-email",
        convert=email_address,
        metavar="ADDR",
        multiple=True,
        help="Send mail about the job to this address, too; may be given several times.",
    ),
    Option(
        "--notify-on",
        convert=job_events,
        metavar="EVENTS",
        multiple=True,
        help="What the mail is about, e.g. job_started,job_failed or group_completed (default: the job's end).",
    ),
    Option("--auto-close", help="Close the job's terminal when it succeeds."),
    Option("--keep-session", help="Keep the job's terminal after its end."),
)
"""What a script may set with `# GFLOW`."""

SUBMISSION: tuple[Option, ...] = (
    Option("--wrap", convert=not_empty, metavar="LINE", help="Run this line in a shell; nothing else is given then."),
    Option("--sbatch", help="Go by the #SBATCH lines of the script, too, as far as they say something to gflow."),
    Option("--dry-run", help="Only show what would be submitted."),
    Option("--test-only", help="Let the daemon say whether it would take it; queue nothing."),
    Option("-W", "--wait", help="Wait for the end; exit with the job's exit code (the largest of several)."),
    Option("--parsable", help="Print only the job id, one per line."),
    Option(
        "-o",
        "--output",
        convert=kind_of_answer,
        metavar="KIND",
        default="text",
        choices=("text", "json", "yaml"),
        help="What gbatch itself prints: text, json or yaml. The output of the job is shown by gjob log.",
    ),
)

EXCLUSIVE = (
    ("gpus", "gpu_ids"),
    ("depends_on", "depends_on_all", "depends_on_any"),
    ("priority", "nice"),
    ("auto_close", "keep_session"),
    ("name", "name_template"),
    ("array", "param"),
    ("array", "param_file"),
)
