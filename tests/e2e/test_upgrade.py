"""A data directory as the first formats had it: a daemon of today takes it up, and goes on with it."""

import shutil
import sqlite3
from contextlib import closing

from support.daemon import Daemon
from support.golden_formats import DATA, versions
from support.golden_store import DIRECTORY

FIRST = [DIRECTORY, *(versions(what)[1] for what in ("history", "outbox"))]


def test_a_daemon_goes_on_with_the_files_of_the_first_formats():
    daemon = Daemon()
    try:
        daemon.data.mkdir(parents=True, mode=0o700)
        for directory in FIRST:
            shutil.copytree(directory, daemon.data, dirs_exist_ok=True)
        shutil.copytree(DATA / "spool-v1", daemon.data / "spool")
        daemon.start()
        assert daemon.get("/health")["status"] == "ok"
        found = daemon.jobs()
        assert found[1]["status_detail"] == "ended by SIGSEGV", "what the state says counts"
        assert found[3]["parameters"] == {"lr": "0.1", "seed": "7"}
        new = daemon.submit("exit 3")
        assert new > max(found)
        assert daemon.wait_job(new)["exit_code"] == 3
        daemon.restart()
        assert daemon.job(new)["exit_code"] == 3
        with closing(sqlite3.connect(daemon.data / "history.sqlite")) as history:
            assert history.execute("SELECT id FROM job ORDER BY id").fetchall() == [(1,), (2,), (3,)]
    finally:
        daemon.close()
