"""Compacting and pruning files that no daemon has: nothing else is lost, whatever happens on the way."""

import errno
import os
from contextlib import closing
from dataclasses import replace

import pytest

from gflow.core.events import EventKind
from gflow.core.model import JobId, State
from gflow.store.history import History
from gflow.store.ids import Ids, Mark
from gflow.store.load import load
from gflow.store.log import Log
from gflow.store.records import encode
from gflow.store.recovery.journal import Changes, Journal
from gflow.store.snapshot import NAME, PREVIOUS
from gflow.store.upkeep import tidy
from gflow.store.upkeep.check import check
from gflow.store.upkeep.pruning import Pruned
from gflow.store.upkeep.tidy import NotTidy, compact, prune
from gflow.store.wal import segment_numbers, segment_path
from support.faulty_disk import FaultyDisk
from support.ledger import Ledger, facts

WALL = 1_700_009_000.0


class Place:
    """A data directory without a daemon. Job N ended N seconds after a moment."""

    def __init__(self, path):
        path.chmod(0o700)
        self.path = path
        (path / "logs").mkdir(mode=0o700)
        self.ledger = Ledger()

    def write(self, *transactions):
        loaded = load(self.path)
        with closing(Log(self.path, loaded.segment, loaded.tail)) as log:
            log.append([encode(transaction) for transaction in transactions], transactions[0].seq)

    def ended(self, count, **spec):
        """Jobs that have ended, with logs."""
        first = self.ledger.next_job_id
        self.write(self.ledger.submitted(count, **spec))
        for job_id in range(first, first + count):
            job = replace(self.ledger.jobs[JobId(job_id)], state=State.FINISHED, exit_code=0, finished_at=at(job_id))
            self.write(self.ledger.changed((EventKind.COMPLETED, job)))
            (self.path / "logs" / f"{job_id}.log").write_text("x\n")

    def retire(self, *job_ids, stay=False):
        with closing(History(self.path)) as history:
            history.add([self.ledger.jobs[JobId(job_id)] for job_id in job_ids])
        if not stay:
            self.write(self.ledger.retired(*job_ids))

    def prune(self, before, *, logs=False, dry_run=False, **disk):
        return prune(self.path, before, logs=logs, dry_run=dry_run, wall=WALL, **disk)

    def jobs(self):
        """Ids in the state, and ids in the history."""
        with closing(History(self.path)) as history:
            return list(load(self.path).jobs), history.ended_before(1e12)

    def logs(self):
        return sorted(int(name.removesuffix(".log")) for name in os.listdir(self.path / "logs"))

    def well(self):
        return [finding for finding in check(self.path, running=False) if not finding.well] == []


def at(job_id):
    return 1_700_001_000.0 + job_id


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def contents(path):
    return {str(file): file.read_bytes() for file in path.rglob("*") if file.is_file()}


# -- compaction --------------------------------------------------------------------------------------------------------


def test_compaction_makes_a_start_read_a_snapshot_only(place):
    place.ended(20)
    place.write(place.ledger.changed(settings={"gpus": [1]}, boot_id="b"))
    before = facts(load(place.path))
    done = compact(place.path)
    assert facts(load(place.path)) == before
    assert done.jobs == 20
    assert done.bytes_before == segment_path(place.path, 1).stat().st_size + sum(
        segment_path(place.path, number).stat().st_size for number in segment_numbers(place.path)[1:-1]
    )
    last = segment_path(place.path, segment_numbers(place.path)[-1])
    assert done.bytes_after == (place.path / NAME).stat().st_size + last.stat().st_size < done.bytes_before
    assert (place.path / NAME).stat().st_mode & 0o777 == 0o600
    assert place.well()


def test_compacting_twice_leaves_one_generation_before(place):
    place.ended(3)
    compact(place.path)
    place.ended(1)
    numbers = segment_numbers(place.path)
    compact(place.path)
    assert (place.path / PREVIOUS).exists()
    assert segment_numbers(place.path)[0] > numbers[0]
    (place.path / NAME).unlink()
    assert facts(load(place.path)) == facts(place.ledger)
    assert place.well()


@pytest.mark.parametrize("call", ["create", "write", "sync", "replace", "sync_directory"])
def test_compaction_that_fails_changes_nothing_that_counts(place, call):
    place.ended(3)
    disk = FaultyDisk()
    disk.failing[call] = errno.ENOSPC
    with pytest.raises(OSError):
        compact(place.path, disk=disk)
    assert facts(load(place.path)) == facts(place.ledger)


# -- pruning -----------------------------------------------------------------------------------------------------------


def test_what_ended_before_goes_from_state_and_history(place):
    place.ended(6)
    place.retire(1, 2)
    assert place.prune(at(5)) == Pruned(jobs=4, from_state=2, from_history=2, kept=0, logs=0)
    assert place.jobs() == ([5, 6], [])
    assert place.logs() == [1, 2, 3, 4, 5, 6]
    assert place.well()
    assert place.prune(at(5)) == Pruned(0, 0, 0, 0, 0)


def test_a_dry_run_says_the_same_and_changes_nothing(place):
    place.ended(6)
    place.retire(1, 2)
    before = contents(place.path)
    would = place.prune(at(5), dry_run=True, logs=True)
    assert contents(place.path) == before
    assert would == place.prune(at(5), logs=True) == Pruned(4, 2, 2, 0, 4)


def test_with_logs_theirs_go_and_no_others(place):
    place.ended(6)
    place.retire(1, 2)
    (place.path / "logs" / "2.log").unlink()
    assert place.prune(at(5), logs=True).logs == 3
    assert place.logs() == [5, 6]


def test_what_a_waiting_job_depends_on_stays_with_its_log(place):
    place.ended(3)
    place.write(place.ledger.submitted(1, depends_on=(JobId(2),)))
    place.retire(2, stay=True)
    assert place.prune(at(100), logs=True) == Pruned(jobs=2, from_state=2, from_history=0, kept=1, logs=2)
    assert place.jobs() == ([2, 4], [2])
    assert place.logs() == [2]


def test_a_job_in_both_places_counts_once(place):
    place.ended(2)
    place.retire(1, stay=True)
    assert place.prune(at(2)) == Pruned(jobs=1, from_state=1, from_history=1, kept=0, logs=0)
    assert place.jobs() == ([2], [])


def test_jobs_that_have_not_ended_stay(place):
    place.write(place.ledger.submitted(2))
    place.write(place.ledger.started(1))
    assert place.prune(WALL) == Pruned(0, 0, 0, 0, 0)
    assert place.jobs() == ([1, 2], [])


def test_ids_are_never_given_again(place):
    place.ended(3)
    place.prune(WALL)
    assert (load(place.path).next_job_id, load(place.path).jobs) == (4, {})
    compact(place.path)
    compact(place.path)
    assert load(place.path).next_job_id == 4
    assert place.well()


def test_a_crash_at_any_point_leaves_what_another_try_finishes(place, monkeypatch):
    """Records leave the state first; logs and history follow, and are found again."""

    class Crash(BaseException):
        pass

    def crash(*_):
        raise Crash

    place.ended(6)
    place.retire(1, 2, 3)
    with monkeypatch.context() as patch:
        patch.setattr(tidy, "_retire", crash)
        with pytest.raises(Crash):
            place.prune(at(6), logs=True)
    assert place.jobs() == ([4, 5, 6], [1, 2, 3])
    with monkeypatch.context() as patch:
        patch.setattr(tidy, "remove_logs", crash)
        with pytest.raises(Crash):
            place.prune(at(6), logs=True)
    assert place.jobs() == ([6], [1, 2, 3])
    with monkeypatch.context() as patch:
        patch.setattr(History, "remove", crash)
        with pytest.raises(Crash):
            place.prune(at(6), logs=True)
    assert place.jobs() == ([6], [1, 2, 3])
    assert place.prune(at(6), logs=True) == Pruned(3, 0, 3, 0, 0)
    assert place.jobs() == ([6], [])
    assert 6 in place.logs()
    assert set(place.logs()) <= {4, 5, 6}
    assert place.well()


def test_a_disk_that_fails_leaves_every_record(place):
    place.ended(4)
    place.retire(1)
    disk = FaultyDisk()
    disk.failing["sync"] = errno.EIO
    with pytest.raises(OSError):
        place.prune(at(9), logs=True, disk=disk)
    assert (place.jobs(), place.logs()) == (([2, 3, 4], [1]), [1, 2, 3, 4])


# -- what is left to a daemon ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("act", [compact, lambda path: prune(path, WALL, logs=False, dry_run=False, wall=WALL)])
def test_a_state_that_a_daemon_has_to_sort_out_is_not_touched(place, act):
    place.ended(3)
    whole = contents(place.path)

    def refused(says):
        before = contents(place.path)
        with pytest.raises(NotTidy, match=says):
            act(place.path)
        assert contents(place.path) == before

    Journal(place.path, "r1", (0, 0), Changes()).save([], place.ledger.state(), 99)
    refused("start gflowd")
    (place.path / "state.journal.jsonl").unlink()
    Ids(place.path, Mark(), 0).settle(400, 90)
    refused("from an earlier day")
    (place.path / "ids").unlink()
    refused("from an earlier day")
    (place.path / "ids.latest").unlink()
    (place.path / NAME).write_bytes(b"\x8agflow-state")
    refused("gctl state check")
    (place.path / NAME).unlink()
    assert contents(place.path) == whole
    act(place.path)
