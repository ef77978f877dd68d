"""`gflowd init`: a file that can be read, says what it does not set, and never replaces one by accident."""

import tomllib

import pytest

from gflow import config
from gflow.cli.gflowd_init import start_command, text_of
from gflow.cli.gflowd_invocation import Invocation
from gflow.daemon import configured
from gflow.daemon.units import Host
from support import certificates
from support.daemon import Daemon
from support.terminal import Terminal
from support.wait import until

pytestmark = pytest.mark.once


@pytest.fixture
def init(daemonless):
    """Runs it; the file it writes is `init.file`."""

    def run(*options, **surroundings):
        return daemonless.cli("gflowd", "init", *options, **surroundings)

    run.file = daemonless.root / "config/gflow/gflow.toml"
    return run


@pytest.fixture(scope="module")
def daemonless():
    daemon = Daemon()
    yield daemon
    daemon.close()


@pytest.fixture(autouse=True)
def clean(daemonless):
    for path in (daemonless.root / "config/gflow").glob("*"):
        path.unlink()


def test_without_answers_everything_is_as_it_is_without_a_file(init):
    done = init("--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Wrote {init.file}" in done.stdout
    assert "GPUs: none" in done.stdout
    assert "\nsystemd: " in done.stdout
    assert config.load(init.file, {}) == config.Config()
    assert init.file.stat().st_mode & 0o777 == 0o600


def test_every_answer_is_a_flag(init):
    flags = ("--host", "localhost", "--port", "6000", "--timezone", "Asia/Tokyo", "--gpus", "3,0-1")
    done = init("--yes", *flags, "--gpu-allocation-strategy", "random", "--gpu-poll-interval-secs", "2.5")
    assert (done.returncode, done.stderr) == (0, "")
    found = config.load(init.file, {})
    daemon = found.daemon
    assert (found.timezone, daemon.host, daemon.port, daemon.gpus) == ("Asia/Tokyo", "localhost", 6000, [0, 1, 3])
    assert (daemon.gpu_allocation_strategy, daemon.gpu_poll_interval_secs) == ("random", 2.5)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--gpus", "x"), "gflowd: --gpus: invalid GPU list 'x'"),
        (("--timezone", "Mars/Base"), "Mars/Base"),
        (("--port", "0"), "--port: use 1 to 65535"),
        (("--gpu-allocation-strategy", "best"), "use sequential or random"),
        (("--gpu-poll-interval-secs", "0"), "--gpu-poll-interval-secs: use more than 0"),
    ],
)
def test_a_bad_answer_is_one_line_and_writes_nothing(init, flags, said):
    done = init("--yes", *flags)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr
    assert not init.file.exists()


def test_a_file_that_is_there_stays_unless_told_otherwise_and_is_kept_then(init):
    init("--yes", "--gpus", "0")
    first = init.file.read_text()
    done = init("--yes", "--gpus", "1")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "--force" in done.stderr
    assert init.file.read_text() == first
    replaced = init("--yes", "--force", "--gpus", "1")
    assert "Kept what was there as gflow.toml.old.\n" in replaced.stdout
    second = init.file.read_text()
    assert config.load(init.file, {}).daemon.gpus == [1]
    assert "as gflow.toml.old.2.\n" in init("--yes", "--force", "--gpus", "2").stdout
    assert [init.file.with_name(f"gflow.toml.old{end}").read_text() for end in ("", ".2")] == [first, second]


def test_what_no_daemon_would_start_with_is_not_written(init):
    done = init("--yes", "--host", "0.0.0.0")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "without TLS only loopback addresses are served; set daemon.tls_cert and daemon.tls_key" in done.stderr
    assert not init.file.exists()


def test_with_a_certificate_others_are_served(init, tmp_path):
    files = certificates.make(tmp_path, "gpu.example")
    wrong = init("--yes", "--host", "0.0.0.0", "--tls-cert", files.cert)
    assert (wrong.returncode, init.file.exists()) == (1, False)
    assert "daemon.tls_cert and daemon.tls_key go together" in wrong.stderr
    assert init("--yes", "--host", "0.0.0.0", "--tls-cert", files.cert, "--tls-key", files.key).returncode == 0
    configured.check(config.load(init.file, {}))


@pytest.mark.parametrize("chosen", ["sequential", "random"])
def test_a_remark_fits_whatever_was_chosen(chosen):
    (line,) = (line for line in text_of({"gpu_allocation_strategy": chosen}).splitlines() if "strategy =" in line)
    assert f'= "{chosen}"' in line
    assert f"or {chosen}" not in line


def link(init, target):
    init.file.parent.mkdir(parents=True, exist_ok=True)
    init.file.symlink_to(target)


def test_a_link_leads_to_the_file_that_is_written(init, tmp_path):
    dotfile = tmp_path / "gflow.toml"
    dotfile.write_text("# mine\n")
    link(init, dotfile)
    assert init("--yes").returncode == 1
    assert dotfile.read_text() == "# mine\n"
    assert "Kept what was there as gflow.toml.old.\n" in init("--yes", "--force", "--gpus", "1").stdout
    assert init.file.readlink() == dotfile
    assert config.load(dotfile, {}).daemon.gpus == [1]
    assert init.file.with_name("gflow.toml.old").read_text() == "# mine\n"


def test_a_link_to_nothing_stays_unless_told_otherwise_and_is_kept_then(init, tmp_path):
    link(init, tmp_path / "unmounted/gflow.toml")
    done = init("--yes")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"a link to {tmp_path}/unmounted/gflow.toml, where there is nothing; --force" in done.stderr
    assert init.file.is_symlink()
    assert init("--yes", "--force").returncode == 0
    assert not init.file.is_symlink()
    assert init.file.with_name("gflow.toml.old").readlink() == tmp_path / "unmounted/gflow.toml"


def test_what_is_no_file_is_never_replaced(init):
    link(init, "/dev/null")
    assert "is no file" in init("--yes", "--force").stderr
    assert init.file.is_char_device()


@pytest.mark.parametrize(
    ("named", "command"),
    [
        (None, "gflowd up"),
        ("/etc/gflow/gflow.toml", "gflowd run --system"),
        ("other.toml", "gflowd --config other.toml up"),
    ],
)
def test_the_start_is_of_the_daemon_that_reads_the_file(named, command, monkeypatch):
    monkeypatch.setattr(Host, "installed", property(lambda host: False))
    assert start_command(Invocation(named, 0)) == command


def test_who_cannot_be_asked_is_not_and_is_told(init):
    done = init(stdin="0\n\n")
    assert done.returncode == 0
    assert "This is no terminal, so nothing is asked" in done.stdout
    assert config.load(init.file, {}) == config.Config()


def test_every_line_is_right_once_its_mark_is_taken_away():
    """What a reader will do with the comments."""
    lines = text_of({}).splitlines()
    opened = [line.removeprefix("# ") for line in lines[2:]]
    table = tomllib.loads("\n".join(opened))
    config._convert(table, config.Config, "the template", "")
    assert table["daemon"]["port"] == 59000
    assert table["projects"]["known_projects"] == ["ml-research"]


def test_the_defaults_shown_are_those_there_are():
    opened = tomllib.loads("\n".join(line.removeprefix("# ") for line in text_of({}).splitlines()[2:]))["daemon"]
    real = config.Daemon()
    for name in ("gpu_allocation_strategy", "gpu_poll_interval_secs", "kill_grace_secs", "max_bypass_secs"):
        assert opened[name] == getattr(real, name), name


def test_on_a_terminal_it_asks_again_for_what_no_daemon_would_start_with(init, daemonless):
    with Terminal(
        daemonless.command("gflowd", "init", "--host", "0.0.0.0"), daemonless.environment, 200, 30
    ) as terminal:
        for question in ("GPUs that jobs may have", "Time zone of reservations"):
            until(lambda asked=question: asked in terminal.printed, question)
            terminal.press("\n")
        until(lambda: "without TLS only loopback" in terminal.printed, "what is wrong")
        until(lambda: "remote clients (empty: none)" in terminal.printed, "the name once more")
        terminal.press("localhost\n")
        for question in ("certificate for TLS", "its key"):
            until(lambda asked=question: asked in terminal.printed, question)
            terminal.press("\n")
        until(lambda: "Wrote" in terminal.printed, "the end")
    assert config.load(init.file, {}).daemon.host == "localhost"


def test_on_a_terminal_it_asks(init, daemonless):
    with Terminal(
        daemonless.command("gflowd", "init"), {**daemonless.environment, "TZ": "Asia/Tokyo"}, 100, 30
    ) as terminal:
        until(lambda: "GPUs that jobs may have" in terminal.printed, "the first question")
        terminal.press("nonsense\n")
        until(lambda: "invalid GPU list 'nonsense'" in terminal.printed, "what is wrong with the answer")
        terminal.press("0,1\n")
        until(lambda: "reservations; local is Asia/Tokyo" in terminal.printed, "the second question")
        terminal.press("\n")
        until(lambda: "Wrote" in terminal.printed, "the end")
    found = config.load(init.file, {})
    assert (found.daemon.gpus, found.timezone) == ([0, 1], None)
