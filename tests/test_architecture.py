"""What loads what. Who may import whom is in pyproject.toml and checked by `lint-imports`; here is what no linter sees:
what a command has loaded when it is done, and whether the rules speak of every module there is.
"""

import ast
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import pytest

import gflow
from gflow.core.usage import Usage
from gflow.wire.stats import usage_json, usage_rows_json
from support.fake_daemon import FakeDaemon, reply

pytestmark = pytest.mark.once

SOURCE = Path(gflow.__file__).parent
MODULES = {
    ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts): path
    for path in SOURCE.rglob("*.py")
    if path.name != "__init__.py"
}
SERVER = {
    "trio",
    "quart",
    "quart_trio",
    "hypercorn",
    "h11",
    "msgspec",
    "msgpack",
    "werkzeug",
    "asyncio",
    "anyio",
    "sniffio",
}
SERVER |= {
    "gflow.daemon",
    "gflow.api",
    "gflow.wire",
    "gflow.store",
    "gflow.launch",
    "gflow.core.engine",
    "gflow.core.model",
}
HEAVY = {"ssl", "asyncclick", "rich", "httpx", "platformdirs", "textual"}

JOB = {
    "id": 7,
    "run_name": "x",
    "state": "Finished",
    "exit_code": 0,
    "submitted_by": "ana",
    "command": "true",
    "run_dir": "/",
    "priority": 10,
    "gpus": 0,
    "reason": None,
}

RESERVATION = {
    "id": 3,
    "user": "ana",
    "gpu_spec": {"count": 1},
    "start_time": {"secs_since_epoch": 1927375200, "nanos_since_epoch": 0},
    "duration": {"secs": 7200, "nanos": 0},
    "status": "Pending",
    "created_at": {"secs_since_epoch": 1795312506, "nanos_since_epoch": 0},
    "cancelled_at": None,
}
NOTIFICATIONS = {
    "enabled": True,
    "outbox_trouble": None,
    "events_lost": 0,
    "targets": [
        {
            "kind": "webhook",
            "name": "https://example.com/hook",
            "key": "t",
            "queued": 0,
            "delivered": 1,
            "retried": 0,
            "dropped": 0,
            "given_up": 0,
            "last_result": "delivered",
            "last_result_at": 1795312506.5,
            "last_failure": None,
            "last_failure_at": None,
            "paused": False,
            "paused_until": None,
            "next_try": None,
        }
    ],
    "given_up": [],
}
RESERVE = (
    "gctl",
    "reserve",
    "create",
    "--user",
    "ana",
    "--gpus",
    "1",
    "--start",
    "2031-01-28 14:00",
    "--duration",
    "2h",
)


def stats(asked):
    if "by" not in asked.query:
        return reply(usage_json(Usage(), user=None, since=None))
    return reply(usage_rows_json({"2026-02-04": Usage()}, asked.query["by"], user=None, since=None))


@pytest.fixture(scope="module")
def daemon():
    """A daemon that has an answer for every command."""
    home = Path(tempfile.mkdtemp(prefix="gf-"))
    (home / "gflow").mkdir(mode=0o700)
    with FakeDaemon(home / "gflow" / "gflowd.sock") as fake:
        fake.on("GET", "/queue", reply("7\x1fx\x1fCD\x1f-\x1f0\x1f-\n"))
        fake.on("GET", "/info", reply({"gpus": []}))
        fake.on("POST", "/gpus", reply({"allowed_gpu_indices": [0, 2]}))
        fake.on("GET", "/gpu-processes", reply([]))
        fake.on("GET", "/quotas", reply({"quotas": []}))
        fake.on("PUT", "/quotas", reply({"scope": "user", "name": "ana", "overrides": {}}))
        fake.on("GET", "/stats", stats)
        fake.on("GET", "/groups", reply([]))
        for verb in ("drain", "resume"):
            fake.on("POST", f"/{verb}", reply({"changed": True, "drained": None, "running_jobs": 0}))
        fake.on("POST", "/jobs", reply({"id": 7, "run_name": "x", "dropped_env": []}, 201))
        fake.on("POST", "/jobs/batch", reply([{"id": 7, "run_name": "x", "dropped_env": []}] * 2, 201))
        fake.on("POST", "/state/compact", reply({"jobs": 1, "bytes_before": 2, "bytes_after": 1}))
        fake.on("POST", "/state/prune", reply({"jobs": 1, "from_state": 1, "from_history": 0, "kept": 0, "logs": 0}))
        fake.on("GET", "/reservations", reply([RESERVATION]))
        fake.on("GET", "/reservations/3", reply(RESERVATION))
        fake.on("POST", "/reservations", reply({"reservation_id": 3}))
        fake.on("DELETE", "/reservations/3", reply(""))
        fake.on("GET", "/notifications", reply(NOTIFICATIONS))
        fake.on("POST", "/notifications/test", reply({"results": [{"target": "t", "error": None, "secs": 0.1}]}))
        fake.on("POST", "/notifications/redeliver", reply({"id": "1-t", "target": "t"}))
        for verb in ("cancel", "hold", "release"):
            fake.on("POST", f"/jobs/7/{verb}", reply(None))
        fake.on("PATCH", "/jobs/7", reply({"job": JOB, "updated_fields": ["priority"]}))
        fake.on("GET", "/jobs/7", reply(JOB))
        fake.on("GET", "/jobs", reply([JOB]))
        fake.on("POST", "/jobs/cancel", reply({"jobs": [{"id": 7, "state": "Queued"}], "dependents": [], "failed": []}))
        fake.on("POST", "/jobs/7/signal", reply({"id": 7, "signal": "SIGUSR1", "processes": 1}))
        fake.on("POST", "/jobs/7/redo", reply({"id": 8, "run_name": "x", "cascade": [], "dropped_env": []}, 201))
        about = {"id": 7, "name": "x", "cpus": 2, "measured_at": 9.0, "processes": [], "gpus": []}
        fake.on("GET", "/jobs/7/processes", reply(about))
        fake.on("GET", "/terminals", reply([]))
        fake.on("GET", "/jobs/7/wait", reply(JOB))
        fake.on("GET", "/jobs/7/why", reply({"id": 7, "state": "Finished", "reasons": [], "expected_start": None}))
        fake.on("GET", "/jobs/7/log/stream", reply(b"x\n"))
        yield home
    shutil.rmtree(home)


def loaded_by(home, program, *argv):
    """What a command has loaded by its end, and its exit status."""
    code = f"""
import sys
from gflow.cli.{program} import main
sys.argv[0] = {program!r}
try:
    main()
finally:
    print("LOADED", *sys.modules, file=sys.stderr)
"""
    environ = {"PATH": os.environ["PATH"], "HOME": str(home), "XDG_RUNTIME_DIR": str(home)}
    environ["PYTHONPATH"] = str(SOURCE.parent)
    done = subprocess.run(
        [sys.executable, "-c", code, *argv],
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    *_, last = done.stderr.strip().split("\n")
    assert last.startswith("LOADED "), done.stderr
    names = set(last.split()[1:])
    return names | {name.rpartition(".")[0] for name in names}, done


COMMANDS = [
    ("gqueue",),
    ("gqueue", "-f", "JOBID,NAME", "-s", "R", "-n", "5"),
    ("gqueue", "-T", "-g"),
    ("gqueue", "--progress"),
    ("gqueue", "-j", "7", "-o", "json"),
    ("gbatch", "true"),
    ("gbatch", "--array", "1-2", "--time", "5", "--parsable", "true"),
    ("gbatch", "--dry-run", "true"),
    ("gbatch", "--param", "a=1:2", "--group", "g", "--key", "k", "--dependency", "afterok:1", "true"),
    ("gbatch", "--gpu-ids", "0,3", "--gpu-memory", "6G", "true"),
    ("ginfo",),
    ("gcancel", "7"),
    ("gcancel", "7-8", "--reason", "enough"),
    ("gcancel", "--name", "x*", "--state", "R"),
    ("gcancel", "7", "--signal", "USR1"),
    ("gstats",),
    ("gstats", "--by", "day"),
    ("gstats", "-b", "user", "-o", "csv"),
    ("gjob", "hold", "7"),
    ("gjob", "release", "7"),
    ("gjob", "log", "7"),
    ("gjob", "update", "7", "--priority", "3", "--gpu-ids", "0-1"),
    ("gjob", "show", "7"),
    ("gjob", "wait", "7"),
    ("gjob", "why", "7"),
    ("gjob", "eta", "7"),
    ("gjob", "redo", "7", "--cascade", "--time", "+10"),
    ("gjob", "top", "7"),
    ("gjob", "close-sessions", "--all"),
    ("gjob", "log", "7", "--grep", "x"),
    ("gjob", "log", "7", "--retries"),
    ("gctl", "show-gpus"),
    ("gctl", "drain"),
    ("gctl", "resume"),
    RESERVE,
    (*RESERVE, "--timezone", "Asia/Shanghai"),
    ("gctl", "reserve", "list"),
    ("gctl", "reserve", "list", "--timeline", "--from", "2031-01-28", "--to", "2031-01-30"),
    ("gctl", "reserve", "get", "3"),
    ("gctl", "reserve", "cancel", "3"),
    ("gctl", "set-gpus", "0,2"),
    ("gctl", "gpu-process", "list"),
    ("gctl", "quota", "list"),
    ("gctl", "quota", "set", "--user", "ana", "--max-running-jobs", "1"),
    ("gctl", "state", "compact"),
    ("gctl", "state", "prune", "--before", "30d"),
    ("gctl", "webhooks"),
    ("gctl", "webhooks", "redeliver", "1-t"),
    ("gctl", "notify", "test"),
    ("gctl", "notify", "test", "--target", "t"),
    ("umbrella", "queue"),
    ("umbrella", "gjob", "hold", "7"),
    ("gjob", "__complete", "2", "bash", "2", "gjob show ", "gjob", "show", ""),
    ("gqueue", "completion", "bash"),
    ("umbrella", "__complete", "2", "zsh", "3", "", "gflow", "job", "log", ""),
]


@pytest.mark.parametrize("line", COMMANDS, ids=" ".join)
def test_a_one_shot_command_loads_neither_the_server_nor_anything_heavy(daemon, line):
    loaded, done = loaded_by(daemon, *line)
    assert done.returncode == 0, done
    assert loaded & (SERVER | HEAVY) == set()


@pytest.mark.parametrize("program", ["gqueue", "gbatch", "gjob", "gcancel", "ginfo", "gctl", "gstats", "umbrella"])
def test_help_loads_no_server_either(daemon, program):
    loaded, done = loaded_by(daemon, program, "--help")
    assert (done.returncode, bool(done.stdout)) == (0, True)
    of_gflowd = {"msgspec", "gflow.daemon"} if program == "umbrella" else set()
    assert loaded & SERVER <= of_gflowd, "but for the options of gflowd, which are part of its help"


def test_asking_how_the_daemon_is_does_not_load_the_daemon(daemon):
    loaded, _ = loaded_by(daemon, "gflowd", "status")
    assert loaded & {"hypercorn", "quart", "gflow.daemon.run", "gflow.daemon.process", "gflow.api"} == set()
    assert "gflow.daemon.hosting" in loaded


def test_a_daemon_that_tells_nobody_loads_no_http_client():
    code = """
import sys
from gflow.config import Config
from gflow.daemon import configured, process
assert configured.targets(Config(), None) == []
print(*sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"httpx", "smtplib"} & set(done.stdout.split()) == set()
    assert "gflow.notify.base" in done.stdout.split()


def test_this_test_would_notice(daemon):
    """The command that is the daemon loads what the others do not."""
    loaded, _ = loaded_by(daemon, "gflowd", "status")
    assert loaded & (SERVER | HEAVY) != set()


def contract(words):
    """The modules one of the import rules speaks of."""
    rules = tomllib.loads((SOURCE.parents[1] / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (rule,) = [rule for rule in rules if words in rule["name"]]
    return set(rule.get("source_modules", []) + rule.get("modules", []))


@pytest.mark.skipif(not (SOURCE.parents[1] / "pyproject.toml").exists(), reason="installed without its sources")
def test_the_import_rules_speak_of_every_module_of_the_daemon():
    modules = {name for name in MODULES if name.startswith("gflow.daemon.")}
    roots = {"gflow.daemon.run", "gflow.daemon.process"}
    roots |= {"gflow.daemon.importing", "gflow.daemon.coming_back"}  # an import is one of a file, without a daemon
    roots |= contract("what a daemon is started with")
    roots |= {"gflow.daemon.reloading", "gflow.daemon.finding"}  # they are about configurations and machines
    roots |= {name for name in modules if name.startswith("gflow.daemon.doctor")}
    assert contract("only the composition root") == modules - roots


@pytest.mark.skipif(not (SOURCE.parents[1] / "pyproject.toml").exists(), reason="installed without its sources")
def test_every_package_has_a_rule():
    packages = {f"gflow.{path.name}" for path in SOURCE.iterdir() if (path / "__init__.py").exists()}
    packages -= {"gflow.daemon"}  # module by module
    rules = tomllib.loads((SOURCE.parents[1] / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert packages <= {name for rule in rules for name in rule.get("source_modules", [])}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_says_why_it_exists_and_has_a_name_of_its_own(name):
    assert ast.get_docstring(ast.parse(MODULES[name].read_text(encoding="utf-8")))
    assert name.rpartition(".")[2] not in {"utils", "util", "common", "helpers", "manager", "misc", "base_utils"}


def test_only_the_composition_root_names_the_launcher():
    """Strings count too: nothing else builds tmux command lines."""
    inside = {"gflow.launch.tmux", "gflow.launch.tmux_server", "gflow.launch.adopted", "gflow.daemon.run"}
    inside |= {"gflow.daemon.process"}  # it knows that there may be none
    inside |= {"gflow.users.launcher", "gflow.users.agent"}  # the same for several users
    inside |= {"gflow.daemon.doctor_tmux"}  # it asks whether there is a tmux that can be used
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            module = getattr(node, "module", None) or ""
            if any("launch.tmux" in f"{module}.{imported}" for imported in names):
                assert name in inside, f"{name} imports tmux' launcher"
