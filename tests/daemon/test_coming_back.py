"""Back to the older gflow and forward again: what of ours may lie beside its state, and that the page is right."""

import contextlib
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from gflow.core.model import JobId, State
from gflow.daemon.coming_back import come_back
from gflow.daemon.importing import first_start
from gflow.notify.outbox import Outbox
from gflow.store.history import History
from gflow.store.ids import Ids, Mark
from gflow.store.imports.plan import NotImportable
from gflow.store.load import load
from gflow.store.recovery.journal import Changes, Journal
from gflow.store.recovery.opening import Opened, open_state
from support.older import SAMPLE_MSGPACK, old_job, old_state, packed

PAGE = Path(__file__).parents[2] / "docs/moving-from-gflow.md"
WALL = 1_800_000_000.0


@pytest.fixture(autouse=True)
def _no_sessions(tmp_path, monkeypatch):
    monkeypatch.setenv("TMUX_TMPDIR", str(tmp_path))


@pytest.fixture
def data(tmp_path):
    """A directory where the older gflow has gone on with its state after ours had taken it over."""
    directory = tmp_path / "share/gflow"
    (directory / "logs").mkdir(mode=0o700, parents=True)
    leave(directory, SAMPLE_MSGPACK.read_bytes())
    return directory


def leave(data: Path, state: object) -> None:
    (data / "state.msgpack").write_bytes(state if isinstance(state, bytes) else packed(state))


def mark(data: Path, next_id: int, seq: int) -> None:
    """What our daemon leaves at a proper stop."""
    with contextlib.closing(Ids(data, Mark())) as ids:
        ids.settle(next_id, seq)


def start(data: Path) -> Opened:
    """What a daemon makes of the directory at its start."""
    first_start(data)
    return open_state(data, WALL, way_out=come_back(data))


def block(heading: str) -> str:
    """The commands under a heading of the page."""
    found = re.search(rf"## {heading}\n.*?```\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    return "\n".join(line.removeprefix("$ ") for line in found[1].splitlines())


@pytest.mark.parametrize("young", [True, False])
def test_the_commands_of_the_page_lead_back_and_forward_again(data, tmp_path, young):
    first_start(data)
    (backup,) = data.glob("state.msgpack.backup.*")
    mark(data, 40, 99)
    (data / "logs/39.log").touch()
    if not young:
        for name in ("wal.acknowledged", "history.sqlite", "outbox.sqlite-wal", "state.journal.jsonl"):
            (data / name).touch()
    commands = block("Going back").replace("state.msgpack.backup.1795328041", backup.name)
    home = tmp_path / "home"
    (home / ".local").mkdir(parents=True)
    data.parent.rename(home / ".local/share")
    back = home / ".local/share/gflow"
    script = f"set -e\ngflowd() {{ :; }}\ngctl() {{ :; }}\n{commands}"
    subprocess.run(["bash", "-c", script], env={"HOME": str(home), "PATH": "/usr/bin:/bin"}, check=True)
    assert sorted(path.name for path in back.iterdir()) == ["logs", "newer", "spool", "state.msgpack"]
    assert (back / "state.msgpack").read_bytes() == SAMPLE_MSGPACK.read_bytes()

    opened = start(back)
    assert (opened.recovery, opened.loaded.warnings) == (None, [])
    assert len(opened.loaded.jobs) == 16
    assert opened.loaded.next_job_id == 40


def test_marks_that_were_left_behind_are_gone_on_above(data, caplog):
    mark(data, 1017, 99)
    (data / "logs/8.log").touch()
    (data / "logs/1016.log").touch()
    opened = start(data)
    assert (opened.recovery, opened.loaded.warnings) == (None, [])
    assert (len(opened.loaded.jobs), opened.loaded.next_job_id) == (16, 1017)
    assert [opened.loaded.jobs[JobId(number)].state for number in (7, 8)] == [State.QUEUED, State.HOLD]
    (backup,) = data.glob("state.msgpack.backup.*")
    assert backup.read_bytes() == SAMPLE_MSGPACK.read_bytes()
    again = start(data)
    assert (again.recovery, again.loaded.warnings, again.loaded.jobs) == (None, [], opened.loaded.jobs)


def test_an_interrupted_return_is_done_again(data):
    mark(data, 17, 99)
    before = (data / "state.msgpack").read_bytes()
    start(data)
    (data / "state.msgpack").write_bytes(before)  # as if its new name had not got to the disk
    assert len(start(data).loaded.jobs) == 16


def test_jobs_of_a_recovery_that_began_with_the_older_state_come_along(data):
    mark(data, 17, 99)
    (data / "wal.acknowledged").touch()
    opened = open_state(data, WALL, way_out=come_back(data))
    assert opened.recovery is not None
    assert opened.recovery.trouble.endswith(f"move these out of {data} and start it: wal.acknowledged")
    assert opened.loaded.next_job_id >= 17
    mine = replace(some_job(data), id=JobId(opened.loaded.next_job_id), run_name="mine")
    opened.loaded.jobs[mine.id] = mine
    opened.loaded.next_job_id += 1
    changed = Changes(jobs={mine.id})
    recovery = opened.recovery
    Journal(data, recovery.journal_id, recovery.base, changed).save([], opened.loaded.state(), 1)

    (data / "wal.acknowledged").unlink()
    out = start(data)
    assert out.recovery is None
    assert len(out.loaded.jobs) == 17
    assert out.loaded.jobs[mine.id].run_name == "mine"
    assert (data / "state.journal.jsonl").read_bytes() == b""


def some_job(data: Path):
    """A job as the older state has it."""
    other = data.parent / "other"
    other.mkdir()
    shutil.copy(SAMPLE_MSGPACK, other / "state.msgpack")
    first_start(other)
    return load(other).jobs[JobId(1)]


def test_a_state_of_ours_is_never_replaced_and_the_way_out_is_named(data):
    first_start(data)
    mark(data, 17, 1)
    (data / "state.msgpack").rename(data / "state.msgpack.previous")
    leave(data, SAMPLE_MSGPACK.read_bytes())
    before = (data / "state.msgpack").read_bytes()
    opened = start(data)
    assert opened.recovery is not None
    assert "it is of the older gflow (16 jobs)" in opened.recovery.trouble
    assert opened.recovery.trouble.endswith("start it: state.msgpack.previous")
    assert (data / "state.msgpack").read_bytes() == before


def add_to_history(data, job):
    with contextlib.closing(History(data)) as history:
        history.add([job])


def test_a_history_with_another_job_of_the_same_id(data):
    job = some_job(data)
    add_to_history(data, job)
    assert start(data).recovery is None  # the very same
    leave(data, SAMPLE_MSGPACK.read_bytes())
    add_to_history(data, replace(job, run_name="another", submitted_at=WALL))
    recovery = start(data).recovery
    assert recovery is not None
    assert recovery.trouble.endswith("history.sqlite (its job 1 is another)")


def test_a_journal_of_the_older_gflow_that_is_newer(data):
    mark(data, 17, 99)
    journal = data / "state.journal.jsonl"
    journal.write_text(json.dumps({"kind": "snapshot", "scheduler": old_state(old_job(1))}))
    recovery = start(data).recovery
    assert recovery is not None
    assert "state.journal.jsonl (it is newer than state.msgpack, and none of ours)" in recovery.trouble


def test_a_mark_that_cannot_be_read(data):
    mark(data, 17, 99)
    (data / "ids").write_text("{}")
    recovery = start(data).recovery
    assert recovery is not None
    assert "ids (damaged at byte 0" in recovery.trouble


def test_a_file_of_neither(data):
    mark(data, 17, 99)
    leave(data, b"\xff" * 99)
    recovery = start(data).recovery
    assert recovery is not None
    assert recovery.trouble.endswith("put a good copy in its place, gflowd takes it up by itself")


def test_events_go_on_after_the_last_that_was_told(data, monkeypatch):
    mark(data, 17, 99)
    monkeypatch.setattr(Outbox, "taken", lambda outbox: 5_000_000)
    assert start(data).loaded.next_event_id > 5_000_000


def test_nothing_is_taken_over_while_the_older_daemon_runs(data, monkeypatch):
    mark(data, 17, 99)
    monkeypatch.setattr("gflow.daemon.importing._older_daemon", lambda directory: 4711)
    with pytest.raises(NotImportable, match="stop it first"):
        start(data)
