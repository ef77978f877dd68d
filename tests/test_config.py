"""Settings: flag over environment over file over default, each checked, none ignored."""

import os
import re
from pathlib import Path

import pytest

from gflow import config
from gflow.config import Config, ConfigError, load, with_daemon


@pytest.fixture
def file(tmp_path):
    """Writes a configuration file and returns its path."""

    def write(text):
        path = tmp_path / "gflow.toml"
        path.write_text(text)
        return path

    return write


def daemon_of(path, **environ):
    return load(path, environ).daemon


def refusal(path, environ=None):
    with pytest.raises(ConfigError) as raised:
        load(path, environ or {})
    sentence = str(raised.value)
    assert "\n" not in sentence
    return sentence


# -- where settings come from ----------------------------------------------------------------------------------------

SETTINGS = {
    "socket": ('"/a/s"', "/b/s", "/c/s", ("/a/s", "/b/s", "/c/s")),
    "host": ('"a"', "b", "c", ("a", "b", "c")),
    "port": ("1", "2", "3", (1, 2, 3)),
    "tls_cert": ('"/a/c"', "/b/c", "/c/c", ("/a/c", "/b/c", "/c/c")),
    "tls_key": ('"/a/k"', "/b/k", "/c/k", ("/a/k", "/b/k", "/c/k")),
    "allow_plaintext": ("true", "false", "true", (True, False, True)),
    "allowed_hosts": ('["a", "*.b"]', "c, d,", "", (["a", "*.b"], ["c", "d"], [])),
    "auth": ('"none"', "none", "none", ("none", "none", "none")),
    "gpus": ("[0, 2]", "0-1,3", "all", ([0, 2], [0, 1, 3], None)),
    "gpu_allocation_strategy": ('"random"', "sequential", "random", ("random", "sequential", "random")),
    "gpu_poll_interval_secs": ("1", "2.5", "3", (1.0, 2.5, 3.0)),
    "idle_gpu_warn_mins": ("1", "2.5", "3", (1.0, 2.5, 3.0)),
    "max_bypass_secs": ("0", "2.5", "3", (0.0, 2.5, 3.0)),
    "simulated_gpus": ("1", "2", "3", (1, 2, 3)),
    "simulated_gpu_memory_mb": ("100", "200", "300", (100, 200, 300)),
    "kill_grace_secs": ("1.5", "0", "3", (1.5, 0.0, 3.0)),
    "env_drop": ('["A", "*_KEY"]', "B, C,", "", (["A", "*_KEY"], ["B", "C"], [])),
}
"""For each setting: as in the file, as a variable, as a flag, and what each of them means."""


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("prefix", ["GFLOW_DAEMON_", "GFLOW_DAEMON__"])
def test_flag_over_environment_over_file_over_default(file, tmp_path, name, prefix):
    in_file, in_environment, in_flag, (first, second, third) = SETTINGS[name]
    path = file(f"[daemon]\n{name} = {in_file}\n")
    environ = {prefix + name.upper(): in_environment}
    assert getattr(daemon_of(tmp_path / "missing.toml"), name) == getattr(config.Daemon(), name)
    assert getattr(daemon_of(path), name) == first
    assert getattr(daemon_of(path, **environ), name) == second
    flagged = with_daemon(load(path, environ), {name: in_flag}, f"--{name}")
    assert getattr(flagged.daemon, name) == third


def test_every_setting_is_covered_here():
    assert {*SETTINGS, "fair_share", "history_keep"} == set(config.Daemon.__struct_fields__)


@pytest.mark.parametrize("variable", ["GFLOW_DAEMON_GPUS", "GFLOW_DAEMON__GPUS"])
def test_an_empty_variable_does_not_lift_what_the_file_says(file, variable):
    path = file("[daemon]\ngpus = [0, 2]\n")
    for empty in ("", "  "):
        assert daemon_of(path, **{variable: empty}).gpus == [0, 2]
    assert daemon_of(path, **{variable: "all"}).gpus is None
    with pytest.raises(ConfigError, match="invalid GPU list ''"):
        with_daemon(Config(), {"gpus": ""}, "--gpus")


def test_gpus_are_in_order_and_each_once(file):
    assert daemon_of(file("[daemon]\ngpus = [2, 0, 2]\n")).gpus == [0, 2]
    assert daemon_of(file("[daemon]\ngpus = []\n")).gpus == [], "no GPU at all"


def test_projects_are_trimmed_and_blank_ones_are_none(file):
    projects = load(file('[projects]\nknown_projects = [" ml ", "  ", ""]\nrequire_project = true\n'), {}).projects
    assert (projects.known_projects, projects.require_project) == (["ml"], True)
    assert load(file(f'[projects]\nknown_projects = ["{"p" * 64}"]\n'), {}).projects.known_projects == ["p" * 64]


def test_the_spelling_that_commands_look_at_first_wins(tmp_path):
    environ = {"GFLOW_DAEMON_SOCKET": "/single", "GFLOW_DAEMON__SOCKET": "/double"}
    assert daemon_of(tmp_path / "missing.toml", **environ).socket == "/single"


def test_other_variables_are_nobodys_business(tmp_path):
    load(tmp_path / "missing.toml", {"GFLOW_URL": "x", "GFLOW_TOKEN": "y", "GFLOW_JOB_ID": "7", "PATH": "/bin"})


def test_without_anything_there_are_defaults(tmp_path):
    assert load(tmp_path / "missing.toml", {}) == Config()
    assert Config().daemon.env_drop == ["GFLOW_TOKEN"]
    assert Config().daemon.kill_grace_secs == 10
    assert Config().unserved() == []


def test_a_file_that_was_named_must_exist(tmp_path):
    with pytest.raises(ConfigError, match=r"missing\.toml: no such configuration file"):
        load(tmp_path / "missing.toml", {}, must_exist=True)


def test_a_change_leaves_the_original_alone(tmp_path):
    original = load(tmp_path / "missing.toml", {})
    with_daemon(original, {"gpus": "0", "env_drop": "A"}, "--gpus")
    assert original == Config()


def test_a_pipe_that_nobody_named_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "gflow.toml")
    with pytest.raises(ConfigError, match="it is a pipe"):
        load(tmp_path / "gflow.toml", {})


# -- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nonsense = 1", "object contains unknown field `nonsense`; allowed here: daemon, timezone, projects,"),
        ("[deamon]", "unknown field `deamon`; allowed here: daemon, timezone"),
        ('daemon.socket = "rel/x.sock"', "daemon.socket: use an absolute path, or one that begins with ~/"),
        ("[daemon]\nprot = 1", "daemon: object contains unknown field `prot`; allowed here: host, port, auth, socket"),
        (
            "[daemon.fair_share]\nhalf = 1",
            "daemon.fair_share: object contains unknown field `half`; allowed here: enabled",
        ),
        (
            "[[notifications.webhooks]]\nuri = 1",
            "notifications.webhooks[0]: object contains unknown field `uri`; allowed",
        ),
        ("[quota.users.ana]\nmax = 1", "unknown field `max`; allowed here: max_running_jobs, max_running_gpus"),
        ("[[notifications.webhooks]]", "notifications.webhooks[0]: object missing required field `url`"),
        ('[daemon]\nport = "59000"', "daemon.port: expected `int | null`, got `str`"),
        ("[daemon]\nport = 0", "daemon.port: use 1 to 65535"),
        ("[daemon]\nport = 65536", "daemon.port: use 1 to 65535"),
        ("[daemon]\nallowed_hosts = ['gpu:1']", "daemon.allowed_hosts: use names such as gpu.example.com"),
        ("[client]\nuri = 1", "client: object contains unknown field `uri`; allowed here: url, cacert, ssh_host"),
        ("[daemon]\ngpus = [-1]", "daemon.gpus: indices are 0 or more"),
        ('[daemon]\ngpus = "0-3"', "daemon.gpus: expected `array | null`, got `str`"),
        ('[daemon]\ngpu_allocation_strategy = "best"', "'best' is unknown; use sequential or random"),
        ("[daemon]\ngpu_poll_interval_secs = 0", "daemon.gpu_poll_interval_secs: use more than 0"),
        ("[daemon]\ngpu_poll_interval_secs = nan", "daemon.gpu_poll_interval_secs: use more than 0"),
        ("[daemon]\nkill_grace_secs = -1", "daemon.kill_grace_secs: use 0 to 86400"),
        ("[daemon]\nkill_grace_secs = inf", "daemon.kill_grace_secs: use 0 to 86400"),
        ("[daemon]\nsimulated_gpus = 65", "daemon.simulated_gpus: use 0 to 64"),
        ("[daemon]\nsimulated_gpu_memory_mb = 0", "daemon.simulated_gpu_memory_mb: use 1 or more"),
        (
            "[notifications]\nmax_concurrent_deliveries = 0",
            "notifications.max_concurrent_deliveries: must be 1 or more",
        ),
        (
            '[notifications]\njobs_may_mail = [" "]',
            "notifications.jobs_may_mail: one of the addresses is empty",
        ),
        ('[executor]\ntype = "process"', "executor.type: only 'tmux' is supported; there is no process executor"),
        ('[projects]\nknown_projects = "ml"', "projects.known_projects: expected `array`, got `str`"),
        ("[projects]\nknown_projects = [1]", "projects.known_projects[0]: expected `str`, got `int`"),
        (
            f'[projects]\nknown_projects = ["ml", "{"p" * 65}"]',
            f"projects.known_projects: '{'p' * 65}' is no project; use 1 to 64 printable characters",
        ),
        (
            '[projects]\nknown_projects = ["a\\nb"]',
            "projects.known_projects: 'a\\nb' is no project; use 1 to 64 printable characters",
        ),
        ("[projects]\nrequire_project = 1", "projects.require_project: expected `bool`, got `int`"),
        ('timezone = "Mars/Olympus"', "timezone: unknown time zone 'Mars/Olympus': use an IANA name"),
        ("timezone = 1", "timezone: expected `str | null`, got `int`"),
        ("daemon = 3", "daemon: expected `object`, got `int`"),
        ("[daemon\n", "line 1"),
        ("a = 1\na = 2", "Cannot overwrite a value"),
    ],
)
def test_an_error_names_the_file_the_key_and_what_is_allowed(file, text, says):
    path = file(text)
    sentence = refusal(path)
    assert sentence.startswith(f"{path}: ")
    assert says in sentence


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("GFLOW_DAEMON_PORT", "http", "daemon.port: invalid number 'http': use a whole number"),
        ("GFLOW_DAEMON_PORT", "1.5", "daemon.port: invalid number '1.5'"),
        ("GFLOW_DAEMON_PORT", "99999", "daemon.port: use 1 to 65535"),
        ("GFLOW_DAEMON__GPUS", "a-b", "daemon.gpus: invalid GPU list 'a-b'"),
        (
            "GFLOW_DAEMON_KILL_GRACE_SECS",
            "soon",
            "daemon.kill_grace_secs: invalid number 'soon': use a number of seconds",
        ),
        ("GFLOW_DAEMON_KILL_GRACE_SECS", "nan", "daemon.kill_grace_secs: use 0 to 86400"),
        ("GFLOW_DAEMON_GPU_ALLOCATION_STRATEGY", "best", "use sequential or random"),
        ("GFLOW_DAEMON_GPU", "0", "there is no such setting; allowed: GFLOW_DAEMON_HOST, GFLOW_DAEMON_PORT"),
        ("GFLOW_DAEMON__FAIR_SHARE", "x", "there is no such setting"),
    ],
)
def test_an_error_names_the_variable(tmp_path, variable, value, says):
    sentence = refusal(tmp_path / "missing.toml", {variable: value})
    assert sentence.startswith(f"{variable}: ")
    assert says in sentence


def test_an_error_names_the_flag():
    with pytest.raises(ConfigError, match=r"^--gpus: daemon\.gpus: invalid GPU list 'x'"):
        with_daemon(Config(), {"gpus": "x"}, "--gpus")
    with pytest.raises(
        ConfigError, match=r"^--gpu-allocation-strategy: daemon\.gpu_allocation_strategy: 'x' is unknown"
    ):
        with_daemon(Config(), {"gpu_allocation_strategy": "x"}, "--gpu-allocation-strategy")


def test_a_bad_file_is_an_error_even_where_a_variable_would_win(file):
    path = file("[daemon]\nport = 0\n")
    assert refusal(path, {"GFLOW_DAEMON_PORT": "59000"}).startswith(f"{path}: ")


def test_a_file_that_is_no_text_or_no_file(tmp_path):
    path = tmp_path / "gflow.toml"
    path.write_bytes(b"\xff\xfe")
    assert str(path) in refusal(path)
    assert str(tmp_path) in refusal(tmp_path)


# -- files of gflow --------------------------------------------------------------------------------------------------

EXAMPLES = {
    "minimal": """
[daemon]
host = "localhost"
port = 59000
# gpus = [0, 2]
# gpu_allocation_strategy = "sequential" # or "random"
""",
    "GPU selection": """
[daemon]
gpus = [0, 2]
""",
    "allocation strategy": """
[daemon]
gpu_allocation_strategy = "sequential" # default
# gpu_allocation_strategy = "random"
""",
    "timezone": """
timezone = "Asia/Shanghai"
""",
    "projects": """
[projects]
known_projects = ["ml-research", "cv-team"]
require_project = false
""",
    "webhooks": """
[notifications]
enabled = true
max_concurrent_deliveries = 16

[[notifications.webhooks]]
url = "https://api.example.com/gflow/events"
events = ["job_completed", "job_failed", "job_timeout"] # or ["*"]
filter_users = ["alice", "bob"] # optional
headers = { Authorization = "Bearer token123" } # optional
timeout_secs = 10
max_retries = 3
""",
    "everything else": """
[daemon]
gpu_poll_interval_secs = 10
fair_share = { enabled = true, half_life_secs = 604800 }

[[notifications.emails]]
smtp_url = "smtp://mail.example.com"
from = "gflow@example.com"
to = ["alice@example.com"]
events = ["*"]
filter_users = []
subject_prefix = "[gflow]"
timeout_secs = 10
max_retries = 3

[quota.default_user]
max_running_jobs = 4
[quota.default_project]
max_queued_jobs = 100
[quota.users.alice]
max_running_gpus = 2
[quota.projects.ml-research]
max_running_jobs = 8

[executor]
type = "tmux"
""",
}
"""The files gflow's own documentation shows."""


@pytest.mark.parametrize("text", EXAMPLES.values(), ids=EXAMPLES)
def test_files_of_gflow_are_accepted_unchanged(file, text):
    load(file(text), {})


def test_all_of_them_at_once(file):
    merged = load(file(EXAMPLES["everything else"] + EXAMPLES["projects"]), {})
    assert merged.notifications.emails[0].sender == "gflow@example.com"
    assert merged.quota.users["alice"].max_running_gpus == 2
    assert merged.projects.known_projects == ["ml-research", "cv-team"]


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("[daemon]\nauth = 'token'", "daemon.auth"),
        ("[daemon]\nauth = 'none'", "daemon.auth"),
    ],
)
def test_what_is_not_acted_on_is_said(file, text, note):
    (said,) = load(file(text), {}).unserved()
    assert said.startswith(note)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", None),
        ("host = 'x'", ("x", 59000)),
        ("auth = 'token'\nport = 7", ("localhost", 7)),
        ("auth = 'none'", None),
        ("auth = 'none'\nhost = '127.0.0.1'", ("127.0.0.1", 59000)),
        ("auth = 'none'\nport = 1", ("localhost", 1)),
    ],
)
def test_tcp_is_for_those_who_ask_for_it(file, text, where):
    configured = load(file(f"[daemon]\n{text}\n"), {})
    assert configured.tcp() == where
    assert (configured.unserved() == []) == (where is not None or not text)


def test_a_certificate_needs_its_key(file):
    configured = load(file("[daemon]\ntls_cert = '~/c'\n"), {})
    with pytest.raises(ConfigError, match=r"tls_cert and daemon\.tls_key go together"):
        configured.tls()
    both = load(file("[daemon]\ntls_cert = '~/c'\ntls_key = '/k'\n"), {})
    assert both.tls() == (Path.home() / "c", Path("/k"))
    assert load(file(""), {}).tls() is None


@pytest.mark.parametrize("text", ["1", "yes", ""])
def test_a_switch_is_true_or_false(text):
    with pytest.raises(ConfigError, match=r"GFLOW_DAEMON_X: daemon\.allow_plaintext: .* use true or false"):
        with_daemon(Config(), {"allow_plaintext": text}, "GFLOW_DAEMON_X")


@pytest.mark.parametrize(("text", "auth"), [("", "token"), ("auth = 'none'", "none"), ("auth = 'token'", "token")])
def test_tokens_are_asked_for_unless_it_is_said_otherwise(file, text, auth):
    assert load(file(f"[daemon]\nport = 7\n{text}\n"), {}).auth() == auth


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[daemon]\nauth = 'password'", "daemon.auth: 'password' is unknown; use 'token'"),
        ("[access]\nvisibility = 'some'", "access.visibility: 'some' is unknown; use all or own"),
        ("[access]\nvisibility = 'own'\n[daemon]\nauth = 'none'\nport = 7", "access.visibility: it cannot be own"),
        ("[access]\nadmins = ['']", "access.admins and access.admin_groups"),
        ("[access]\nadmin_group = ['wheel']", "access: object contains unknown field"),
    ],
)
def test_who_may_do_what_is_said_clearly(file, text, key):
    with pytest.raises(ConfigError) as raised:
        load(file(text), {})
    assert key in str(raised.value)


def test_addresses_and_secrets_of_notifications_are_not_shown(file):
    text = """
[[notifications.webhooks]]
url = "https://hidden"
headers = { Authorization = "hidden" }
secret = "hidden"
[[notifications.emails]]
smtp_url = "smtp://user:hidden@h"
from = "a@b"
to = []
[[notifications.commands]]
command = "TOKEN=hidden tell"
"""
    assert "hidden" not in repr(load(file(text), {}))


DOCUMENT = Path(config.__file__).parents[2] / "docs" / "configuration.md"


@pytest.mark.skipif(not DOCUMENT.exists(), reason="installed without its documents")
def test_the_documented_file_means_what_it_says(file):
    text = DOCUMENT.read_text(encoding="utf-8").split("```toml\n")[1].split("```")[0]
    assert load(file(text), {}).daemon == config.Daemon(), "as it stands there, all settings are commented out"
    filled = load(file(re.sub(r"^# (?=\w+ = )", "", text, flags=re.MULTILINE)), {})
    shown = {
        name
        for name in config.Daemon.__struct_fields__
        if re.search(rf"^# {name} = |daemon\.{name}\]", text, re.MULTILINE)
    }
    assert shown == {*config.Daemon.__struct_fields__}
    tcp = {"host": "localhost", "port": 59000, "auth": "token"}
    tcp |= {"tls_cert": "~/.config/gflow/cert.pem", "tls_key": "~/.config/gflow/key.pem"}
    default = config.Daemon(socket="/path/to/gflowd.sock", gpus=[0, 2], idle_gpu_warn_mins=30, **tcp)
    assert filled.daemon == default, "what is commented out is the default, but for these"
    assert filled.projects.known_projects == ["ml-research", "cv-team"]
    assert filled.quota.users["alice"].max_running_gpus == 6
