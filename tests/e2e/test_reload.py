"""`gflowd reload`: other settings in a daemon that goes on; no request fails, no event and no job is lost."""

import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import wait
from support.daemon import Daemon
from support.receiver import Receiver

pytestmark = pytest.mark.once


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with Receiver(tmp_path) as running:
        yield running


def configure(daemon: Daemon, text: str) -> None:
    file = daemon.root / "config/gflow/gflow.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def hooks(receiver: Receiver, *paths: str) -> str:
    made = "".join(f'[[notifications.webhooks]]\nurl = "{receiver.url(path)}"\n' for path in paths)
    return f"[notifications]\nenabled = true\n{made}"


class Crowd:
    """Clients that ask and submit without a pause; `failures` is what went wrong.

    Each keeps its connection, or with `each_anew` makes one for each request, as commands do.
    """

    def __init__(self, daemon: Daemon, *, each_anew: bool = False) -> None:
        self.each_anew = each_anew
        self.failures: list[object] = []
        self.submitted: list[int] = []
        self.answered = 0
        self._daemon = daemon
        self._enough = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(work,)) for work in (self._look, self._submit)]

    def __enter__(self) -> "Crowd":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, work) -> None:
        connection = self._daemon.connection()
        try:
            while not self._enough.wait(0.004):
                work(connection)
                self.answered += 1
                if self.each_anew:
                    connection.close()  # and open again with the next request
        except Exception as error:
            self.failures.append(error)
        finally:
            connection.close()

    def _look(self, connection) -> None:
        connection.request("GET", "/jobs?limit=1")
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            self.failures.append(answer.status)

    def _submit(self, connection) -> None:
        body = json.dumps({"command": "true", "run_dir": str(self._daemon.work), "hold": True})
        connection.request("POST", "/jobs", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        told = json.loads(answer.read())
        if answer.status != 201:
            self.failures.append(told)
        else:
            self.submitted.append(told["id"])


def test_under_load_no_request_fails_and_no_event_is_lost(receiver: Receiver):
    daemon = Daemon()
    configure(daemon, hooks(receiver, "/ok/a"))
    with daemon, Crowd(daemon) as crowd:
        running = daemon.submit("sleep 600")
        wait.until(lambda: len(crowd.submitted) > 20, "some submissions")
        changed = "[daemon]\ngpu_poll_interval_secs = 3\n[quota.users.somebody]\nmax_queued_jobs = 1\n"
        for paths in (("/ok/a", "/ok/b"), ("/ok/b", "/ok/a"), ("/ok/a", "/ok/b", "/ok/c")):
            configure(daemon, changed + hooks(receiver, *paths))
            done = daemon.cli("gflowd", "reload")
            assert (done.returncode, done.stderr) == (0, "")
        before = len(crowd.submitted)
        wait.until(lambda: len(crowd.submitted) > before + 20, "more submissions")
        crowd.stop()
        assert crowd.failures == []
        assert daemon.job(running)["state"] == "Running"
        expected = {*crowd.submitted, running}

        def told(path: str) -> Counter:
            return Counter(
                one["body"]["job"]["id"] for one in receiver.received(path) if one["event"] == "job_submitted"
            )

        wait.until(lambda: told("/ok/a").keys() >= expected, "the event of every submission")
        wait.until(lambda: told("/ok/c").keys() >= set(crowd.submitted[before + 1 :]), "the events of the new target")
        assert crowd.submitted[0] not in told("/ok/c"), "what was before it was configured is not for it"


def test_it_says_what_changed_and_what_needs_a_restart():
    daemon = Daemon("--simulated-gpus", "1")
    with daemon:
        assert daemon.cli("gflowd", "reload").stdout == "Nothing has changed.\n"
        configure(daemon, "[daemon]\nkill_grace_secs = 3\nsimulated_gpus = 4\nmax_bypass_secs = 5\ngpus = [0]\n")
        done = daemon.cli("gflowd", "reload")
        assert done.stdout.splitlines() == [
            "In force: daemon.max_bypass_secs: 3600 -> 5",  # the others are overridden by a variable and a flag
            "With the next 'gflowd restart': daemon.gpus: not set -> [0]",
        ]
        assert "configuration: daemon.max_bypass_secs: 3600 -> 5" in daemon.said()


def test_a_hang_up_has_it_read_its_configuration_again():
    with Daemon() as daemon:
        assert "no jobs known\n" in daemon.said()
        configure(daemon, "[daemon]\nmax_bypass_secs = 5\n")
        os.kill(daemon.pid, signal.SIGHUP)
        wait.until(lambda: "configuration: daemon.max_bypass_secs: 3600 -> 5" in daemon.said(), "other settings")
        configure(daemon, "[")
        os.kill(daemon.pid, signal.SIGHUP)
        refusal = "ERROR   gflow.daemon.in_force: the configuration stays as it is"
        wait.until(lambda: refusal in daemon.said(), "a refusal")
        asked = daemon.cli("gflowd", "reload")
        assert (asked.returncode, asked.stderr.count("\n")) == (1, 1)
        assert asked.stderr.endswith("; the configuration stays as it is\n")
        assert daemon.said().count(refusal) == 2, "the log has what the command was told"
        missing = daemon.cli("gflowd", "--config", "missing.toml", "reload")
        assert missing.stderr == "gflowd: missing.toml: no such configuration file\n"


def test_a_quota_counts_at_once():
    with Daemon() as daemon:
        user = daemon.job(daemon.submit("true", hold=True))["submitted_by"]
        configure(daemon, f"[quota.users.{user}]\nmax_queued_jobs = 1\n")
        daemon.cli("gflowd", "reload")
        refused = daemon.http("POST", "/jobs", {"command": "true", "run_dir": str(daemon.work)})
        assert (refused.status, refused.body["code"]) == (422, "over_quota")
        configure(daemon, "")
        daemon.cli("gflowd", "reload")
        daemon.submit("true")


def test_who_may_do_what_counts_at_once():
    with Daemon() as daemon:
        before = daemon.cli("gctl", "token", "create", "--user", "alice", "--admin")
        assert "alice is no administrator" in before.stderr
        configure(daemon, '[access]\nadmins = ["alice"]\nvisibility = "own"\n')
        assert "access.admins" in daemon.cli("gflowd", "reload").stdout
        assert daemon.cli("gctl", "token", "create", "--user", "alice", "--admin").returncode == 0


BROKEN = (
    "nonsense = 1\n",
    "[daemon\n",
    '[daemon]\ngpu_poll_interval_secs = "often"\n',
    '[[notifications.webhooks]]\nurl = "ftp://x"\n[notifications]\nenabled=true',
)


def test_a_broken_file_is_one_clear_error_and_the_settings_stay():
    with Daemon() as daemon:
        user = daemon.job(daemon.submit("true", hold=True))["submitted_by"]
        configure(daemon, f"[quota.users.{user}]\nmax_queued_jobs = 1\n")
        daemon.cli("gflowd", "reload")
        for text in BROKEN:
            configure(daemon, text)
            done = daemon.http("POST", "/reload", {})
            assert done.status == 422, text
            assert "the configuration stays as it is" in done.body["error"]
            refused = daemon.http("POST", "/jobs", {"command": "true", "run_dir": str(daemon.work)})
            assert refused.body["code"] == "over_quota"


def test_a_daemon_with_options_that_up_has_not_is_not_restarted_without_them():
    with Daemon("--log-format", "json", as_typed=True) as daemon:
        done = daemon.cli("gflowd", "restart")
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "--log-format; start it anew as it was started" in done.stderr
        assert daemon.get("/health")["status"] == "ok"


def test_nobody_to_tell(tmp_path: Path):
    daemon = Daemon()
    try:
        done = daemon.cli("gflowd", "reload")
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "not running" in done.stderr
    finally:
        daemon.close()


# -- another program in the daemon's place ---------------------------------------------------------------------------


def status(daemon: Daemon) -> dict:
    return daemon.get("/status")


def test_another_program_takes_over_and_callers_only_wait(daemon: Daemon):
    job = daemon.submit("until [ -e go ]; do sleep 0.05; done; exit 5")
    daemon.wait_running(job)
    waiting = daemon.spawn("gjob", "wait", str(job))
    before = status(daemon)
    connection = daemon.connection()
    connection.request("GET", "/health")
    connection.getresponse().read()
    its_socket = connection.sock
    with Crowd(daemon, each_anew=True) as crowd, Crowd(daemon) as keeping:
        wait.until(lambda: len(crowd.submitted) > 10 < len(keeping.submitted), "some submissions")
        done = daemon.cli("gflowd", "reload", "--exec")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.endswith(f"has taken over (pid {daemon.pid}).\n"), "it is the same process"
        count = len(crowd.submitted)
        wait.until(lambda: crowd.failures or len(crowd.submitted) > count + 10, "more submissions")
        crowd.stop()
        keeping.stop()
        assert crowd.failures == keeping.failures == []
        done_once = sorted(crowd.submitted + keeping.submitted)
        assert done_once == sorted(set(done_once)) == sorted(daemon.jobs().keys() - {job})
    connection.request("GET", "/health")
    assert connection.getresponse().status == 200
    assert connection.sock is its_socket, "what is kept open stays open"
    connection.close()
    assert status(daemon)["started_at"] > before["started_at"]
    assert daemon.job(job)["state"] == "Running"
    (daemon.work / "go").touch()
    waiting.communicate(timeout=30)
    assert waiting.returncode == 5
    assert daemon.cli("gflowd", "reload", "--exec").returncode == 0, "and once more"
    assert daemon.stop() == 0
    assert not daemon.socket.exists(), "it is its own, and goes with it"


def test_no_hang_up_ends_a_program_that_is_about_to_start():
    nobody = Daemon("--simulated-gpus", "2", as_typed=True)
    try:
        nobody.begin()
        wait.until(lambda: blocked(nobody.pid) & 1, "its first line")
        os.kill(nobody.pid, signal.SIGHUP)
        wait.until(nobody._answers, "an answer of the daemon")
        before = status(nobody)["started_at"]
        assert nobody.http("POST", "/replace").status < 400
        wait.until(lambda: hung_up(nobody) and status(nobody)["started_at"] > before, "the next program")
        wait.until(lambda: "configuration: nothing has changed" in nobody.said(), "it to heed the signals")
        job = nobody.submit("grep -E '^Sig(Blk|Ign)' /proc/self/status >mask")
        assert nobody.wait_job(job)["state"] == "Finished"
        masks = (nobody.work / "mask").read_text().split()
        assert [int(mask, 16) & 1 for mask in masks[1::2]] == [0, 0], "jobs hear it"
        assert nobody.stop() == 0
    finally:
        nobody.close()


def blocked(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1], 16) for line in lines if line.startswith("SigBlk"))


def hung_up(daemon: Daemon) -> bool:
    os.kill(daemon.pid, signal.SIGHUP)
    return True


def test_a_configuration_that_the_next_program_would_not_take_keeps_it_away(daemon: Daemon):
    before = status(daemon)
    for text in ("nonsense = 1\n", '[daemon]\nhost = "0.0.0.0"\n'):
        configure(daemon, text)
        assert daemon.http("POST", "/reload").status == 422
        refused = daemon.http("POST", "/replace")
        assert refused.status == 422
        assert refused.body["error"].endswith("this program goes on")
        assert status(daemon)["started_at"] == before["started_at"]
    assert daemon.http("POST", "/jobs", {"command": "true", "run_dir": str(daemon.work)}).status == 201
