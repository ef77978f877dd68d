import errno
import logging
import os
import resource
import stat
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from gflow.core.errors import Unavailable, WrongState
from gflow.core.model import Group
from gflow.daemon import compactor
from gflow.daemon import persistence as module
from gflow.daemon.compactor import CompactionPolicy
from gflow.daemon.persistence import Persistence
from gflow.store.ids import Mark, read_latest, read_mark
from gflow.store.load import load
from gflow.store.recovery.journal import NAME as JOURNAL
from gflow.store.recovery.journal import read_journal
from gflow.store.recovery.opening import open_state, state_files
from gflow.store.snapshot import NAME, PREVIOUS, TEMPORARY, read_snapshot
from gflow.store.wal import segment_numbers
from support import acknowledging_writer
from support.faulty_disk import FaultyDisk
from support.ledger import Ledger, facts

DEADLINE_SECS = 20
NEVER = CompactionPolicy(log_bytes=1 << 60, min_changes=1 << 60, age_secs=1e18)


class Desk:
    """A persistence writer, the ledger whose transactions it writes, and what it said was durable."""

    def __init__(self, data_dir, *, disk=None, **options):
        self.data_dir = data_dir
        self.disk = disk or FaultyDisk()
        loaded = load(data_dir)
        self.ledger = Ledger(loaded)
        self.durable = []
        self.service = Persistence(
            data_dir, loaded, self.ledger.state, self.note, disk=self.disk, **{"policy": NEVER} | options
        )

    def note(self, transaction):
        self.durable.append(transaction.seq)

    def submit(self, **spec):
        return self.service.submit(self.ledger.submitted(**spec))

    async def submit_and_wait(self):
        await self.service.durable(self.submit())


@asynccontextmanager
async def running(desk):
    """The writer at work; closed at the end, as the daemon does."""
    with trio.fail_after(DEADLINE_SECS):
        async with trio.open_nursery() as nursery:
            await nursery.start(desk.service.run)
            yield nursery
            await desk.service.close()


async def until(condition):
    with trio.fail_after(DEADLINE_SECS):
        while not condition():
            await trio.sleep(0.002)


def assert_on_disk(desk):
    assert facts(load(desk.data_dir)) == facts(desk.ledger)


# -- durability ------------------------------------------------------------------------------------------------------


async def test_what_is_acknowledged_is_on_disk(tmp_path):
    desk = Desk(tmp_path)
    async with running(desk):
        await desk.submit_and_wait()
        assert [call for call in desk.disk.calls if call in ("write", "sync")][-1] == "sync"
        assert_on_disk(desk)
    assert desk.durable == [1]


async def test_nobody_is_told_before_the_sync_is_over(tmp_path):
    desk = Desk(tmp_path)
    told = []

    async def client():
        await desk.submit_and_wait()
        told.append("answer")

    async with running(desk) as nursery:
        await desk.submit_and_wait()
        desk.disk.hold_syncs()
        nursery.start_soon(client)
        await until(desk.disk.syncing.is_set)
        await trio.testing.wait_all_tasks_blocked()
        assert (told, desk.durable) == ([], [1])
        desk.disk.release_syncs()
        await until(lambda: told)
        assert desk.durable == [1, 2]


async def test_effects_are_let_go_in_order_and_before_the_answers(tmp_path):
    desk = Desk(tmp_path)
    order = []
    desk.service._on_durable = lambda transaction: order.append(("effect", transaction.seq))

    async def client():
        seq = desk.submit()
        await desk.service.durable(seq)
        order.append(("answer", seq))

    async with running(desk) as nursery:
        for _ in range(30):
            nursery.start_soon(client)
        await until(lambda: len(order) == 60)
    effects = [seq for what, seq in order if what == "effect"]
    assert effects == sorted(effects) == list(range(1, 31))
    assert all(order.index(("effect", seq)) < order.index(("answer", seq)) for seq in effects)


async def test_waiters_share_syncs(tmp_path):
    desk = Desk(tmp_path)
    async with running(desk) as nursery:
        await desk.submit_and_wait()
        syncs = desk.disk.calls.count("sync")
        desk.disk.hold_syncs()
        nursery.start_soon(desk.submit_and_wait)
        await until(desk.disk.syncing.is_set)
        for _ in range(100):
            nursery.start_soon(desk.submit_and_wait)
        await until(lambda: desk.service.next_seq == 103)
        desk.disk.release_syncs()
        await until(lambda: len(desk.durable) == 102)
        assert desk.disk.calls.count("sync") == syncs + 2
        assert_on_disk(desk)


async def test_a_long_queue_is_written_in_several_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_BATCH_BYTES", 1000)
    desk = Desk(tmp_path)
    seqs = [desk.submit() for _ in range(50)]
    async with running(desk):
        await desk.service.durable(seqs[25])
        assert 26 <= len(desk.durable) < 50
        await desk.service.durable(seqs[-1])
        assert_on_disk(desk)


async def test_waiting_for_what_is_durable_already_returns(tmp_path):
    desk = Desk(tmp_path)
    async with running(desk):
        await desk.submit_and_wait()
        await desk.submit_and_wait()
        await desk.service.durable(1)
        await desk.service.durable(0)


async def test_waiting_for_what_nobody_submitted_is_an_error(tmp_path):
    desk = Desk(tmp_path)
    async with running(desk):
        with pytest.raises(ValueError, match="never submitted"):
            await desk.service.durable(7)


async def test_a_gap_or_a_repetition_is_refused_at_once(tmp_path):
    desk = Desk(tmp_path)
    first, second, third = (desk.ledger.submitted() for _ in range(3))
    desk.service.submit(first)
    for wrong in (first, third):
        with pytest.raises(ValueError, match="where 2 was due"):
            desk.service.submit(wrong)
    assert desk.service.submit(second) == 2


async def test_what_cannot_be_encoded_is_refused_and_harms_nobody(tmp_path):
    desk = Desk(tmp_path)
    async with running(desk):
        with pytest.raises((TypeError, OverflowError)):
            desk.service.submit(Ledger().changed(settings={"bad": object()}))
        await desk.submit_and_wait()
        assert_on_disk(desk)


async def test_a_restart_goes_on_where_the_last_one_ended(tmp_path):
    for _ in range(3):
        desk = Desk(tmp_path)
        async with running(desk):
            await desk.submit_and_wait()
    assert sorted(load(tmp_path).jobs) == [1, 2, 3]


async def test_files_are_private(tmp_path):
    desk = Desk(tmp_path, policy=CompactionPolicy(min_changes=2))
    async with running(desk):
        for _ in range(10):
            await desk.submit_and_wait()
        await until((tmp_path / NAME).exists)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


# -- cancellation and shutdown ---------------------------------------------------------------------------------------


async def test_a_caller_that_gives_up_loses_nothing(tmp_path):
    desk = Desk(tmp_path)
    async with running(desk) as nursery:
        await desk.submit_and_wait()
        desk.disk.hold_syncs()
        nursery.start_soon(desk.submit_and_wait)
        await until(desk.disk.syncing.is_set)
        with trio.move_on_after(0) as scope:
            await desk.submit_and_wait()
        assert scope.cancelled_caught
        desk.disk.release_syncs()
        await desk.service.durable(3)
        assert_on_disk(desk)


async def test_close_writes_everything_that_was_submitted(tmp_path):
    desk = Desk(tmp_path)
    async with running(desk):
        for _ in range(20):
            desk.submit()
    assert desk.durable == list(range(1, 21))
    assert_on_disk(desk)


async def test_cancelling_the_daemon_writes_everything_too(tmp_path):
    desk = Desk(tmp_path)
    with trio.fail_after(DEADLINE_SECS):
        async with trio.open_nursery() as nursery:
            await nursery.start(desk.service.run)
            await desk.submit_and_wait()
            desk.disk.hold_syncs()
            desk.submit()
            await until(desk.disk.syncing.is_set)
            desk.submit()
            nursery.cancel_scope.cancel()
            desk.disk.release_syncs()
    assert desk.durable == [1, 2, 3]
    assert_on_disk(desk)


async def test_a_crash_in_the_daemon_writes_everything_first(tmp_path):
    desk = Desk(tmp_path)

    def broken(transaction):
        if transaction.seq == 1:
            desk.submit()
            raise RuntimeError("a bug")

    desk.service._on_durable = broken
    with pytest.raises(ExceptionGroup), trio.fail_after(DEADLINE_SECS):
        async with trio.open_nursery() as nursery:
            await nursery.start(desk.service.run)
            desk.submit()
            await trio.sleep_forever()
    assert_on_disk(desk)
    assert len(desk.ledger.jobs) == 2


async def test_shutdown_does_not_wait_for_ever_on_a_dead_disk(tmp_path, caplog):
    desk = Desk(tmp_path, flush_secs=0.3)
    desk.disk.failing = {"create": errno.EIO}
    with trio.fail_after(DEADLINE_SECS):
        async with trio.open_nursery() as nursery:
            await nursery.start(desk.service.run)
            desk.submit()
            started = trio.current_time()
            await desk.service.close()
            nursery.cancel_scope.cancel()
    assert trio.current_time() - started < 5
    assert "stopping; changes that could not be written: 1 (Input/output error)" in caplog.text


async def test_those_who_wait_when_the_writer_ends_are_told(tmp_path):
    desk = Desk(tmp_path, flush_secs=0.1)
    desk.disk.failing = {"create": errno.EIO}
    seq = desk.submit()
    with trio.fail_after(DEADLINE_SECS):
        async with trio.open_nursery() as service:
            await service.start(desk.service.run)
            service.cancel_scope.cancel()
        with pytest.raises(Unavailable, match="cannot be written"):
            await desk.service.durable(seq)


async def test_nothing_is_taken_after_the_end(tmp_path):
    desk = Desk(tmp_path)
    async with running(desk):
        await desk.submit_and_wait()
    with pytest.raises(Unavailable, match="stopping"):
        desk.submit()


# -- a failing disk --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("call", "number"), [("sync", errno.EIO), ("create", errno.ENOSPC), ("create", errno.EROFS)])
async def test_a_disk_that_comes_back_is_used_again_without_a_restart(tmp_path, call, number, caplog):
    desk = Desk(tmp_path)
    desk.disk.failing = {call: number}
    async with running(desk):
        seq = desk.submit()
        await until(lambda: not desk.service.healthy)
        assert os.strerror(number) in desk.service.last_error
        assert desk.durable == []
        desk.disk.failing = {}
        await desk.service.durable(seq)
        assert (desk.service.healthy, desk.service.last_error) == (True, None)
        assert_on_disk(desk)
    said = [record.levelno for record in caplog.records]
    assert said.count(logging.ERROR) == 1, "once, not at each attempt"
    assert "works again" in caplog.text


async def test_a_disk_that_fills_up_in_the_middle_of_a_batch(tmp_path):
    desk = Desk(tmp_path)
    async with running(desk):
        await desk.submit_and_wait()
        desk.disk.room = 100
        seq = desk.submit()
        await until(lambda: not desk.service.healthy)
        assert load(tmp_path).seq == 1
        assert load(tmp_path).warnings == []
        desk.disk.room = None
        await desk.service.durable(seq)
        assert_on_disk(desk)
    assert segment_numbers(tmp_path) == [1]


async def test_after_some_seconds_of_failure_those_who_wait_are_told_and_nothing_is_dropped(tmp_path):
    desk = Desk(tmp_path, grace_secs=0.2)
    desk.disk.failing = {"create": errno.ENOSPC}
    refused = []

    async def client():
        try:
            await desk.submit_and_wait()
        except Unavailable as error:
            refused.append(str(error))

    async with running(desk) as nursery:
        for _ in range(5):
            nursery.start_soon(client)
        await until(lambda: len(refused) == 5)
        nursery.start_soon(client)
        await until(lambda: len(refused) == 6)
        assert all(os.strerror(errno.ENOSPC) in text for text in refused)
        desk.disk.failing = {}
        await until(lambda: desk.durable == [1, 2, 3, 4, 5, 6])
        await desk.submit_and_wait()
        assert_on_disk(desk)


async def test_a_short_failure_is_not_noticed_by_those_who_wait(tmp_path):
    desk = Desk(tmp_path, grace_secs=15.0)
    desk.disk.failing = {"create": errno.EIO}
    async with running(desk) as nursery:
        nursery.start_soon(desk.submit_and_wait)
        await until(lambda: not desk.service.healthy)
        desk.disk.failing = {}
    assert desk.durable == [1]


async def test_a_real_limit_on_file_size_is_survived(tmp_path):
    """RLIMIT_FSIZE makes the kernel itself cut a write short and then refuse it."""
    desk = Desk(tmp_path, disk=FaultyDisk())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with running(desk):
        await desk.submit_and_wait()
        limit = (tmp_path / "wal-00000001.log").stat().st_size + 50
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            seq = desk.submit()
            await until(lambda: not desk.service.healthy)
            assert os.strerror(errno.EFBIG) in desk.service.last_error
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        await desk.service.durable(seq)
        assert_on_disk(desk)


# -- compaction ------------------------------------------------------------------------------------------------------


async def grow(desk, count):
    for _ in range(count):
        await desk.submit_and_wait()


async def test_a_long_log_becomes_a_snapshot_and_a_new_segment(tmp_path):
    desk = Desk(tmp_path, policy=CompactionPolicy(min_changes=10))
    async with running(desk):
        await grow(desk, 10)
        desk.service.submit(desk.ledger.changed(groups=(Group("g", 1),), settings={"x": 1}, boot_id="b"))
        await until((tmp_path / NAME).exists)
        await grow(desk, 1)
        assert_on_disk(desk)
    assert segment_numbers(tmp_path) == [1, 2], "the log before the first snapshot stays until the second"
    assert load(tmp_path).first_segment == 2


async def test_the_snapshot_before_the_last_and_its_log_are_kept(tmp_path):
    desk = Desk(tmp_path, policy=CompactionPolicy(min_changes=5))
    async with running(desk):
        await until_snapshots(desk, 3)
    previous = read_snapshot(tmp_path / PREVIOUS)
    assert segment_numbers(tmp_path)[0] == previous.segment
    (tmp_path / NAME).unlink()
    assert_on_disk(desk)


async def test_a_snapshot_that_was_damaged_never_replaces_the_previous_one(tmp_path, caplog):
    desk = Desk(tmp_path, policy=CompactionPolicy(min_changes=5))
    async with running(desk):
        await until_snapshots(desk, 2)
        desk.service.compactor.policy = NEVER
        good, segment = (tmp_path / PREVIOUS).read_bytes(), read_snapshot(tmp_path / PREVIOUS).segment
        bad = (tmp_path / NAME).read_bytes()[:-1] + b"overwritten"
        (tmp_path / NAME).write_bytes(bad)
        desk.service.compactor.policy = CompactionPolicy(log_bytes=1)
        await grow(desk, 1)
        await until(lambda: (tmp_path / NAME).read_bytes() != bad and not desk.service.compactor.busy)
        desk.service.compactor.policy = NEVER
        assert (tmp_path / PREVIOUS).read_bytes() == good
        assert segment_numbers(tmp_path)[0] == segment
        assert_on_disk(desk)
        assert [copy.read_bytes() for copy in tmp_path.glob(f"{NAME}.corrupt.*")] == [bad]
        assert f"{tmp_path / NAME}: damaged" in caplog.text
    (tmp_path / NAME).unlink()
    assert_on_disk(desk)


async def until_snapshots(desk, count):
    """Submit until so many snapshots have been written."""
    seen = set()
    with trio.fail_after(DEADLINE_SECS):
        while len(seen) < count:
            await grow(desk, 1)
            await until(lambda: not desk.service.compactor.busy)
            if (desk.data_dir / NAME).exists():
                seen.add(read_snapshot(desk.data_dir / NAME).seq)


async def test_the_log_goes_on_while_a_snapshot_is_written(tmp_path):
    desk = Desk(tmp_path)
    async with running(desk):
        await desk.service.durable(desk.service.submit(desk.ledger.submitted(3000)))
        desk.service.compactor.policy = CompactionPolicy(min_changes=1)
        await desk.submit_and_wait()
        await until(lambda: desk.service.compactor.busy)
        desk.service.compactor.policy = NEVER
        while desk.service.compactor.busy:
            await grow(desk, 1)
            assert desk.service.healthy
        snapshot = read_snapshot(tmp_path / NAME)
        assert snapshot.seq == 2
        assert len(snapshot.state.jobs) == 3001
        assert_on_disk(desk)


async def test_a_snapshot_holds_exactly_what_was_durable(tmp_path):
    """Changes submitted while its batch is being written are not in it; the log after it has them."""
    desk = Desk(tmp_path)
    async with running(desk):
        await grow(desk, 3)
        desk.service.compactor.policy = CompactionPolicy(min_changes=1)
        desk.disk.hold_syncs()
        desk.submit()
        await until(desk.disk.syncing.is_set)
        desk.service.compactor.policy = NEVER
        desk.submit()
        desk.disk.release_syncs()
        await until((tmp_path / NAME).exists)
        await desk.service.durable(5)
        assert read_snapshot(tmp_path / NAME).seq == 4
        assert sorted(job.id for job in read_snapshot(tmp_path / NAME).state.jobs) == [1, 2, 3, 4]
        assert_on_disk(desk)


@pytest.mark.parametrize("call", ["replace", "sync_directory"])
async def test_a_snapshot_that_fails_loses_nothing_and_is_tried_again(tmp_path, call, monkeypatch, caplog):
    monkeypatch.setattr(compactor, "RETRY_SECS", 0.05)
    desk = Desk(tmp_path, policy=CompactionPolicy(min_changes=5))
    async with running(desk):
        await grow(desk, 5)
        desk.disk.failing = {call: errno.EIO}
        await grow(desk, 1)
        await until(lambda: "cannot write a snapshot" in caplog.text)
        assert desk.service.healthy
        desk.disk.failing = {}
        await until_snapshots(desk, 1)
        assert_on_disk(desk)


async def test_shutdown_abandons_a_snapshot(tmp_path):
    desk = Desk(tmp_path, policy=CompactionPolicy(min_changes=1))
    started = trio.Event()
    async with running(desk):
        real_write = desk.disk.write

        def slow_write(fd, data):
            if (tmp_path / TEMPORARY).exists() and not desk.service.compactor._abandoned:
                trio.from_thread.run_sync(started.set)
                deadline = time.monotonic() + DEADLINE_SECS
                while not desk.service.compactor._abandoned and time.monotonic() < deadline:
                    os.sched_yield()
            return real_write(fd, data)

        desk.disk.write = slow_write
        await desk.service.durable(desk.service.submit(desk.ledger.submitted(200)))
        await desk.submit_and_wait()
        await started.wait()
    assert not (tmp_path / NAME).exists()
    assert not (tmp_path / TEMPORARY).exists()
    assert_on_disk(desk)


async def test_nothing_waits_long_while_a_snapshot_of_many_jobs_is_written(tmp_path):
    desk = Desk(tmp_path)
    delays = []
    async with running(desk):
        for _ in range(10):
            await desk.service.durable(desk.service.submit(desk.ledger.submitted(1000)))
        desk.service.compactor.policy = CompactionPolicy(min_changes=1)
        await desk.submit_and_wait()
        await until(lambda: desk.service.compactor.busy)
        desk.service.compactor.policy = NEVER
        while desk.service.compactor.busy:
            before = trio.current_time()
            await trio.sleep(0)
            delays.append(trio.current_time() - before)
    assert sorted(delays)[len(delays) * 99 // 100] < 0.1


@pytest.mark.parametrize(
    ("log_bytes", "changes", "jobs", "age_secs", "due"),
    [
        (0, 0, 0, 1e9, False),
        (1000, 1, 0, 0, True),
        (999, 99, 0, 99, False),
        (0, 100, 0, 0, True),
        (0, 499, 500, 0, False),
        (0, 500, 500, 0, True),
        (0, 1, 500, 100, True),
    ],
)
def test_when_a_snapshot_is_due(log_bytes, changes, jobs, age_secs, due):
    policy = CompactionPolicy(log_bytes=1000, min_changes=100, age_secs=100)
    assert policy.is_due(log_bytes, changes, jobs, age_secs) is due


# -- kill -9 ---------------------------------------------------------------------------------------------------------


def run_until_killed(data_dir, acknowledgements):
    """Kill a writer after so many acknowledgements; returns how many jobs it found and the ids it acknowledged."""
    writer = subprocess.Popen(
        [sys.executable, acknowledging_writer.__file__, data_dir],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    with writer:
        found = int(writer.stdout.readline())
        lines = [writer.stdout.readline() for _ in range(acknowledgements)]
        writer.kill()
        lines += writer.stdout.readlines()
        return found, [int(line) for line in lines if line.endswith(b"\n")]


def test_everything_acknowledged_survives_kill_9(tmp_path: Path):
    acknowledged = 0
    for turn in range(8):
        known = len(load(tmp_path).jobs)
        found, ids = run_until_killed(tmp_path, 1 + 97 * turn)
        assert found == known >= acknowledged
        loaded = load(tmp_path)
        assert ids
        assert min(ids) > known, "no id is given twice"
        assert set(ids) <= loaded.jobs.keys()
        assert list(loaded.jobs) == list(range(1, len(loaded.jobs) + 1))
        assert loaded.next_job_id == len(loaded.jobs) + 1
        acknowledged = max(ids)
    for _ in range(10):
        if (tmp_path / NAME).exists():
            return
        run_until_killed(tmp_path, 1000)
    raise AssertionError("no snapshot was ever finished")


# -- a disk that does not answer ---------------------------------------------------------------------------------------


async def test_a_sync_that_hangs_is_told_after_the_grace_and_goes_on_when_it_returns(tmp_path, caplog):
    desk = Desk(tmp_path, grace_secs=0.2)
    refused = []

    async def client():
        try:
            await desk.submit_and_wait()
        except Unavailable as error:
            refused.append(str(error))

    async with running(desk) as nursery:
        await desk.submit_and_wait()
        desk.disk.hold_syncs()
        for _ in range(3):
            nursery.start_soon(client)
        await until(lambda: len(refused) == 3)
        assert (desk.service.healthy, desk.service.last_error) == (False, "the disk does not answer")
        assert refused == ["The state cannot be written: the disk does not answer"] * 3
        with pytest.raises(Unavailable, match="does not answer"):
            desk.service.check_writable()
        desk.disk.release_syncs()
        await until(lambda: desk.durable == [1, 2, 3, 4])
        desk.service.check_writable()
        assert desk.service.healthy
        await desk.submit_and_wait()
        assert_on_disk(desk)
    assert caplog.text.count("the disk does not answer") == 1
    assert "works again" in caplog.text


async def test_a_slow_sync_is_not_noticed(tmp_path):
    desk = Desk(tmp_path, grace_secs=15.0)
    async with running(desk) as nursery:
        desk.disk.hold_syncs()
        nursery.start_soon(desk.submit_and_wait)
        await until(desk.disk.syncing.is_set)
        await trio.testing.wait_all_tasks_blocked()
        assert desk.service.healthy
        desk.disk.release_syncs()
    assert desk.durable == [1]


async def test_a_disk_that_hangs_and_then_fails_is_still_failing(tmp_path):
    desk = Desk(tmp_path, grace_secs=0.1)
    async with running(desk):
        desk.disk.hold_syncs()
        desk.submit()
        await until(lambda: not desk.service.healthy)
        desk.disk.failing = {"create": errno.EIO, "write": errno.EIO, "sync": errno.EIO}
        desk.disk.release_syncs()
        await until(lambda: desk.service.last_error == os.strerror(errno.EIO))
        desk.disk.failing = {}
        await until(lambda: desk.service.healthy)
        assert_on_disk(desk)


@pytest.mark.parametrize("how", ["close", "cancel"])
async def test_shutdown_does_not_wait_for_ever_on_a_disk_that_hangs(tmp_path, how, caplog):
    desk = Desk(tmp_path, flush_secs=0.3)
    try:
        with trio.fail_after(DEADLINE_SECS):
            async with trio.open_nursery() as nursery:
                await nursery.start(desk.service.run)
                await desk.submit_and_wait()
                desk.disk.hold_syncs()
                desk.submit()
                await until(desk.disk.syncing.is_set)
                started = trio.current_time()
                if how == "close":
                    await desk.service.close()
                nursery.cancel_scope.cancel()
        assert trio.current_time() - started < 5
        assert not desk.service.clean
        assert "stopping; changes that could not be written: 1" in caplog.text
    finally:
        desk.disk.release_syncs()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT, errno.EFBIG])
@pytest.mark.parametrize("call", ["write", "create"])
async def test_whatever_a_disk_says_when_it_fails_nothing_is_lost(tmp_path, call, number):
    desk = Desk(tmp_path, grace_secs=0.5)
    async with running(desk):
        await desk.submit_and_wait()
        desk.disk.failing = {call: number, "write": number}
        seq = desk.submit()
        with pytest.raises(Unavailable, match=os.strerror(number)):
            await desk.service.durable(seq)
        desk.disk.failing = {}
        await until(lambda: desk.service.healthy)
        await desk.service.durable(seq)
        assert_on_disk(desk)


# -- ids ---------------------------------------------------------------------------------------------------------------


async def test_an_id_is_set_aside_before_it_is_acknowledged(tmp_path):
    desk = Desk(tmp_path, grace_secs=0.5)
    async with running(desk):
        for _ in range(600):
            seq = desk.submit()
            if desk.ledger.next_job_id % 100 == 0:
                await desk.service.durable(seq)
                assert read_mark(tmp_path).next >= desk.ledger.next_job_id
        desk.disk.failing = {"replace": errno.EIO}
        seq = desk.service.submit(desk.ledger.submitted(400))
        with pytest.raises(Unavailable, match="Input/output error"):
            await desk.service.durable(seq)
        desk.disk.failing = {}
        await until(lambda: desk.service.healthy)
        assert read_mark(tmp_path).next >= desk.ledger.next_job_id
    assert read_mark(tmp_path) == Mark(desk.ledger.next_job_id, desk.ledger.seq), "a clean stop leaves no gap"


async def test_where_things_stand_is_noted_once_a_batch_is_on_disk_and_not_before(tmp_path):
    desk = Desk(tmp_path)
    async with running(desk) as nursery:
        await desk.submit_and_wait()
        noted = Mark(desk.ledger.next_job_id, desk.ledger.seq)
        assert read_latest(tmp_path) == noted
        desk.disk.hold_syncs()
        nursery.start_soon(desk.submit_and_wait)
        await until(desk.disk.syncing.is_set)
        assert read_latest(tmp_path) == noted
        desk.disk.release_syncs()
        await until(lambda: len(desk.durable) == 2)
        assert read_latest(tmp_path) == Mark(desk.ledger.next_job_id, desk.ledger.seq)


async def test_a_stop_that_cannot_write_the_mark_is_a_stop_all_the_same(tmp_path, caplog):
    desk = Desk(tmp_path)
    async with running(desk):
        await desk.submit_and_wait()
        desk.disk.failing = {"replace": errno.EIO}
    assert desk.service.clean
    assert "cannot write which ids were given" in caplog.text


# -- recovery ----------------------------------------------------------------------------------------------------------


class Refuge(Desk):
    """A desk over a state that cannot be read."""

    def __init__(self, data_dir, **options):
        opened = open_state(data_dir, 1_800_000_000.0)
        assert opened.recovery is not None
        self.data_dir = data_dir
        self.disk = FaultyDisk()
        self.ledger = Ledger(opened.loaded)
        self.durable = []
        self.service = Persistence(
            data_dir,
            opened.loaded,
            self.ledger.state,
            self.note,
            mark=opened.mark,
            recovery=opened.recovery,
            disk=self.disk,
            **{"policy": CompactionPolicy(min_changes=1)} | options,
        )


@pytest.fixture
async def ruin(tmp_path):
    """A data directory whose snapshot is damaged."""
    desk = Desk(tmp_path)
    async with running(desk):
        await grow(desk, 5)
        desk.service.compactor.policy = CompactionPolicy(min_changes=1)
        await grow(desk, 1)
        await until((tmp_path / NAME).exists)
        await until(lambda: not desk.service.compactor.busy)
    with (tmp_path / NAME).open("r+b") as file:
        file.seek(50)
        file.write(b"\0\0\0\0")
    return tmp_path


def state_bytes(directory):
    return {name: (directory / name).read_bytes() for name in state_files(directory)}


async def test_in_recovery_everything_goes_to_the_journal_and_no_state_file_changes(ruin):
    desk, before = Refuge(ruin), state_bytes(ruin)
    async with running(desk):
        await until((ruin / JOURNAL).exists)
        for _ in range(20):
            await desk.submit_and_wait()
            assert read_journal(ruin).state == desk.ledger.state()
            assert read_latest(ruin) == Mark(desk.ledger.next_job_id, desk.ledger.seq, 1)
    assert state_bytes(ruin) == before
    assert read_mark(ruin) == Mark(desk.ledger.next_job_id, desk.ledger.seq, 1)
    assert facts(Refuge(ruin).ledger) == facts(desk.ledger)


async def test_what_was_salvaged_is_in_the_journal_at_once(ruin):
    desk = Refuge(ruin)
    async with running(desk):
        await until((ruin / JOURNAL).exists)
        assert len(read_journal(ruin).state.jobs) == 6
    assert desk.durable == []


async def test_what_is_acknowledged_in_recovery_is_in_the_journal_and_nothing_later_is(ruin):
    desk = Refuge(ruin)
    async with running(desk) as nursery:
        await until((ruin / JOURNAL).exists)
        desk.disk.hold_syncs()
        nursery.start_soon(desk.submit_and_wait)
        await until(desk.disk.syncing.is_set)
        expected = desk.ledger.state()
        desk.submit()
        desk.submit()
        await trio.testing.wait_all_tasks_blocked()
        assert desk.durable == []
        written = []
        note = desk.service._on_durable
        desk.service._on_durable = lambda t: (written.append(read_journal(ruin).state), note(t))
        desk.disk.release_syncs()
        await until(lambda: len(desk.durable) == 3)
        assert written[0] == expected
        assert written[1] == written[2] == desk.ledger.state(), "those that waited share one save"


async def test_a_journal_that_cannot_be_written_makes_the_daemon_read_only_until_it_can(ruin):
    (ruin / JOURNAL).mkdir()
    desk = Refuge(ruin, grace_secs=0.1)
    async with running(desk):
        await until(lambda: not desk.service.healthy)
        assert desk.service.last_error == os.strerror(errno.EISDIR)
        seq = desk.submit()
        with pytest.raises(Unavailable, match="Is a directory"):
            await desk.service.durable(seq)
        with pytest.raises(Unavailable, match="Is a directory"):
            desk.service.check_writable()
        (ruin / JOURNAL).rmdir()
        await until(lambda: desk.service.healthy)
        await desk.service.durable(seq)
        assert read_journal(ruin).state == desk.ledger.state()
        await desk.submit_and_wait()


async def test_in_recovery_no_snapshot_is_written_whoever_asks(ruin):
    desk = Refuge(ruin)
    async with running(desk):
        with pytest.raises(WrongState, match="recovery"):
            await desk.service.compact()
