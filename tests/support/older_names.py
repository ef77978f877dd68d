"""The names that scripts of gflow 0.4.18 know: its programs, their verbs, the spellings of their options.

`OPTIONS` is from each verb to its options with all their spellings, `LEFT_OUT` to what of them we have not, or have as
something else, and why. What a user types for values is in `FORMS`.
"""

_LIMITS = "--max-running-jobs --max-running-gpus --max-queued-jobs"
_WHOSE = "--user --project --default-user --default-project"
_START = "--gpus --gpu-allocation-strategy --gpu-poll-interval-secs"
_UPDATE = """
    -c --command -s --script -g --gpus -e --conda-env --clear-conda-env -p --priority -t --time-limit
    --clear-time-limit -m --memory-limit --clear-memory-limit --gpu-memory --max-gpu-mem
    --clear-gpu-memory-limit -d --depends-on --depends-on-all --depends-on-any
    --auto-cancel-on-dep-failure --no-auto-cancel-on-dep-failure --max-concurrent
    --clear-max-concurrent --max-retries --clear-max-retries
    --param
"""
_SUBMIT = """
    -c --conda-env -g --gpus --gres --shared -p --priority --nice -d --depends-on --dependency
    --depends-on-all --depends-on-any --no-auto-cancel --array -t --time --time-limit --timelimit -m
    --memory --max-mem --max-memory --gpu-memory --max-gpu-mem --max-gpu-memory -n -J --name --job-name
    --auto-close --param --param-file --name-template --max-concurrent --max-retries --begin -P
    --project --notify-email --notify-on --dry-run
"""
_SESSIONS = "-j -s -p -a"

OPTIONS: dict[str, str] = {
    "gflowd": "-c --config --cleanup -v --verbose -q --quiet",
    "gflowd init": f"--yes --force --advanced --host --port --timezone {_START}",
    "gflowd start": "",
    "gflowd up": _START,
    "gflowd stop": "",
    "gflowd down": "",
    "gflowd restart": _START,
    "gflowd reload": _START,
    "gflowd status": "",
    "gflowd service install": "",
    "gflowd service uninstall": "",
    "gbatch": _SUBMIT,
    "gbatch new": "",
    "gqueue": "-u --user --users -n --limit -a --all -c --completed --since -r --sort -s --states -j --jobs --job -N"
    " --names -P --project -f --format -g --group -t --tree -T --tmux -o --output -w --watch --interval",
    "ginfo": "",
    "gcancel": "--dry-run --finish --fail --cancel --kill",
    "gjob attach": "",
    "gjob a": "",
    "gjob log": "-f --first -l --last",
    "gjob l": "",
    "gjob hold": "",
    "gjob h": "",
    "gjob release": "--at",
    "gjob r": "",
    "gjob update": _UPDATE,
    "gjob u": "",
    "gjob show": "",
    "gjob s": "",
    "gjob redo": "-g -p -d -t -m --gpu-memory -e --clear-deps --cascade",
    "gjob close-sessions": _SESSIONS,
    "gjob close": "",
    "gctl set-gpus": "",
    "gctl show-gpus": "",
    "gctl gpu-process ignore": "--gpu --pid",
    "gctl gpu-process unignore": "--gpu --pid",
    "gctl gpu-process list": "",
    "gctl set-limit": "",
    "gctl reserve create": "--user --gpus --gpu-spec --start --duration --timezone",
    "gctl reserve list": "--user --status --active --timeline --range --from --to",
    "gctl reserve get": "",
    "gctl reserve cancel": "",
    "gctl quota list": "",
    "gctl quota set": f"{_WHOSE} {_LIMITS}",
    "gctl quota remove": _WHOSE,
    "gstats": "-u --user -a --all-users -t --since -o",
    "gflow mcp": "",
}

LEFT_OUT: dict[str, str] = {
    "gflowd reload --gpus": "it goes by the file",
    "gflowd reload --gpu-allocation-strategy": "it goes by the file",
    "gflowd reload --gpu-poll-interval-secs": "it goes by the file",
    "gflow mcp": "there is no MCP server",
    "gjob log -f": "it follows the output, as in tail; --first is spelled out",
}
"""A verb, or a verb with an option. docs/moving-from-gflow.md names each of them."""

PROGRAMS = ("gflowd", "gbatch", "gqueue", "ginfo", "gcancel", "gjob", "gctl", "gstats")
"""Each has `completion`, `--config` and `--version`; `gflow` runs them all."""

COLUMNS = "JOBID NAME ST TIME NODES NODELIST(REASON) TIMELIMIT MEMORY USER PROJECT"

_MOMENTS = ("30", "90s", "10m", "2h", "3d")

FORMS: dict[str, tuple[str, ...]] = {
    "time": ("--time 30", "--time 2:00:00", "--time 0:01", " 5:30 ", " 168:00:00 ", "# GFLOW --time 3:00:00"),
    "memory": (" 512 ", " 512M ", " 512m ", " 512MB ", " 2G ", " 2g "),
    "ids": ("1,3-5", "-j '5, 1-2,2'", "@ ", "@~1"),
    "since": ("2h 3d 1w today yesterday", "2026-01-01 2026-01-01T12:00 1700000000"),
    "begin": (*(f"now+{moment} " for moment in _MOMENTS[1:]), "+30 ", "+2h ", " 23:59 ", " 23:59:59;", " 2031-02-01 "),
    "begin with a date": ("2031-02-01T14:00 ", "2031-02-01T14:00:30", "'2031-02-01 14:00:30'"),
    "at": ("--at now+2h",),
    "reservation": (
        '"2031-02-01 14:00"',
        "2031-02-02T14:00:00Z",
        "--duration 2h",
        "--duration 1h30m",
        "--duration 30m",
    ),
    "range of a timeline": ("--range 48h", "--range -24h", "--range=-24h:+24h"),
    "GPUs": (
        "set-gpus 0\n",
        "set-gpus 0-1\n",
        "set-gpus 0-1,3,5-6\n",
        "set-gpus all\n",
        "--gpus 0,2 ",
        " 0 1,3 0-3 0-1,3;",
    ),
    "param": ("lr=0.1,0.01", "seed=1:2", "seed=0:10:5", "x=3:1", "host=node:eth0"),
    "array": ("--array 1-10:4", "--array 0-3%2", "--array 1-4 "),
    "users": ("-u all", "--user '*'"),
    "sort": ("-r priority", "--sort name", "--sort id"),
    "output": ("-o json", "--output csv", "-o yaml"),
    "states": ("-s Failed,TO", "--states Hold,PD"),
    "shell": ("completion bash", "| gbatch --name dash - ", "| gbatch --name piped "),
}
"""How values are written; each is typed on some page. A blank or the end of the line follows where it ends."""

OUTPUTS: tuple[str, ...] = (
    r"Submitted batch job \d+ \([a-z]+-[a-z]+-\d{4}\)",
    r"Submitted \d+ batch jobs ",
    r"gctl set-limit \d+ <N>",
    r"Would submit 1 batch job:",
    r"Would submit \d+ batch job\(s\):",
    r"Would submit \d+ array job\(s\):",
    r"  \[1\] .* \(GPUs: 1, task_id: 1\)",
    r" JOBID +NAME +ST +TIME +NODES +NODELIST\(REASON\)",
    r"\(JobHeldUser\)",
    r"\(BeginTime\)",
    r"\(Dependency\)",
    r"\(Resources\)",
    r"UNLIMITED",
    r"2-04:30:00",
    r"Running \(1\)",
    r"Showing first 2 of \d+ jobs",
    r"id,name,state,time,gpus,user,submitted_at,reason",
    r"No jobs found\.",
    r" PARTITION +GPUS +NODES +STATE +JOB\(REASON\)",
    r"Job 1 cancelled\.",
    r"\d+\tHold\tok",
    r"\d+\tQueued\tblocked\t\d+",
    r"Job \d+ put on hold\.",
    r"Job \d+ released back to queue\.",
    r"Job \d+ released back to queue \(scheduled to start at ",
    r"Job \d+ updated successfully\.",
    r"Job Details:",
    r"  State=Hold \(H\)",
    r"={80}",
    r"Resubmitting job \d+ with parameters:",
    r"Cascading to 1 dependent job\(s\)\.\.\.",
    r"  Job \d+ → Job \d+ \(",
    r"gjob close-sessions: Closed=1 AlreadyClosed=0 Failed=0",
    r"\d+\tavailable",
    r"\d+\tin_use\trestricted",
    r"No ignored GPU processes",
    r"Updated max_concurrency to \d+ for group '.*' \(3 jobs affected\)",
    r"  ReservationID=1",
    r" ID +USER +GPUS +START +END +STATUS",
    r"No reservations found\.",
    r" SCOPE +NAME +JOBS +GPUS +QUEUED",
    r"Top Jobs by Runtime",
    r"metric,value",
    r"gflowd is already running",
    r"gflowd stopped",
    r"Status: Running",
    r"Status: Not running",
    r"Status: Recovery",
)
"""What they print, and scripts may look for; each is on some page."""
