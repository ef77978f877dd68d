import errno
import math
import stat
import zlib
from dataclasses import replace

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gflow.core.model import Group, JobId
from gflow.store import snapshot as module
from gflow.store.errors import Damaged, Foreign, Newer
from gflow.store.snapshot import (
    NAME,
    PREVIOUS,
    TEMPORARY,
    Abandoned,
    Snapshot,
    SnapshotState,
    read_snapshot,
    write_snapshot,
)
from support import strategies
from support.effort import examples
from support.faulty_disk import FaultyDisk
from support.ledger import Ledger


@pytest.fixture
def ledger():
    ledger = Ledger()
    ledger.submitted(3)
    ledger.started(2)
    ledger.changed(groups=(Group("g", 2),), settings={"allowed_gpus": [0]}, boot_id="boot-1")
    return ledger


def snapshot_of(ledger, segment=2):
    return Snapshot(ledger.seq, segment, ledger.state())


def with_crc(plain):
    body = msgpack.packb(plain)
    head = bytes([body[0] + 1]) + body[1:] + msgpack.packb("crc32")
    return head + b"\xce" + zlib.crc32(head).to_bytes(4, "big")


def test_it_comes_back_exactly(tmp_path, ledger):
    write_snapshot(tmp_path, snapshot_of(ledger))
    assert read_snapshot(tmp_path / NAME) == snapshot_of(ledger)


states = st.builds(
    SnapshotState,
    jobs=st.lists(strategies.jobs, max_size=4, unique_by=lambda job: job.id).map(tuple),
    groups=strategies.tuples_of(strategies.groups),
    settings=st.dictionaries(strategies.texts, strategies.texts, max_size=2),
    events=strategies.tuples_of(st.tuples(strategies.ids, strategies.events)),
    next_job_id=strategies.ids,
    next_event_id=strategies.ids,
    boot_id=strategies.texts,
)


@given(states)
@settings(max_examples=examples(25))
def test_any_state_comes_back_exactly(tmp_path, state):
    write_snapshot(tmp_path, Snapshot(5, 3, state))
    assert read_snapshot(tmp_path / NAME) == Snapshot(5, 3, state)


def test_it_is_one_msgpack_map_that_any_tool_can_read(tmp_path, ledger):
    write_snapshot(tmp_path, snapshot_of(ledger))
    plain = msgpack.unpackb((tmp_path / NAME).read_bytes())
    assert (plain["format"], plain["version"], plain["segment"]) == ("gflow-state", 1, 2)
    assert [job["id"] for job in plain["jobs"]] == [1, 2, 3]


def test_it_is_private(tmp_path, ledger):
    write_snapshot(tmp_path, snapshot_of(ledger))
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600


def test_it_does_not_say_where_it_is_kept(tmp_path, ledger):
    write_snapshot(tmp_path, snapshot_of(ledger))
    assert str(tmp_path).encode() not in (tmp_path / NAME).read_bytes()


def test_the_one_before_stays_as_the_previous(tmp_path, ledger):
    first = snapshot_of(ledger)
    write_snapshot(tmp_path, first)
    ledger.submitted()
    write_snapshot(tmp_path, snapshot_of(ledger, 3))
    assert read_snapshot(tmp_path / PREVIOUS) == first
    assert read_snapshot(tmp_path / NAME).segment == 3
    assert not (tmp_path / TEMPORARY).exists()


def test_it_is_on_disk_before_it_takes_the_place_of_the_old_one(tmp_path, ledger):
    disk = FaultyDisk()
    write_snapshot(tmp_path, snapshot_of(ledger), disk=disk)
    steps = [call for call in disk.calls if call not in ("write", "remove")]
    assert steps == ["create", "sync", "replace", "sync_directory"]


@pytest.mark.parametrize("call", ["create", "sync", "replace"])
def test_a_failure_leaves_the_old_one_in_place(tmp_path, ledger, call):
    write_snapshot(tmp_path, snapshot_of(ledger))
    before = (tmp_path / NAME).read_bytes()
    disk = FaultyDisk()
    disk.failing = {call: errno.ENOSPC}
    ledger.submitted()
    with pytest.raises(OSError, match="space"):
        write_snapshot(tmp_path, snapshot_of(ledger, 3), disk=disk)
    assert (tmp_path / NAME).read_bytes() == before
    write_snapshot(tmp_path, snapshot_of(ledger, 4))
    assert read_snapshot(tmp_path / NAME).segment == 4


def test_it_can_be_abandoned_half_way(tmp_path):
    ledger = Ledger()
    ledger.submitted(500)
    asked = iter([False] * 9 + [True])
    with pytest.raises(Abandoned):
        write_snapshot(tmp_path, snapshot_of(ledger), abandoned=lambda: next(asked))
    assert list(tmp_path.iterdir()) == []


def test_a_cut_file_is_damaged_at_every_length(tmp_path, ledger):
    write_snapshot(tmp_path, snapshot_of(ledger))
    path = tmp_path / NAME
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises((Damaged, Foreign)):
            read_snapshot(path)


@pytest.mark.parametrize("content", [b"", bytes(4096)])
def test_a_file_that_lost_its_content_is_damaged(tmp_path, content):
    path = tmp_path / NAME
    path.write_bytes(content)
    with pytest.raises(Damaged, match="cut short"):
        read_snapshot(path)


def test_a_flipped_bit_anywhere_is_damage(tmp_path, ledger):
    write_snapshot(tmp_path, snapshot_of(ledger))
    path = tmp_path / NAME
    whole = path.read_bytes()
    for offset in range(len(whole)):
        changed = bytearray(whole)
        changed[offset] ^= 1 << offset % 8
        path.write_bytes(changed)
        with pytest.raises(Damaged, match="checksum"):
            read_snapshot(path)


def test_a_later_version_is_refused_by_name(tmp_path):
    path = tmp_path / NAME
    path.write_bytes(with_crc({"format": "gflow-state", "version": module.VERSION + 1}))
    with pytest.raises(Newer, match="version 2"):
        read_snapshot(path)


@pytest.mark.parametrize("content", [msgpack.packb({"version": 4, "job_specs": [], "job_runtimes": []}), b"{}"])
def test_a_file_of_another_program_is_called_that(tmp_path, content):
    path = tmp_path / NAME
    path.write_bytes(content)
    with pytest.raises(Foreign, match="not written by this program"):
        read_snapshot(path)


@pytest.mark.parametrize("plain", [{}, {"jobs": 3}, {"jobs": [{}]}, {"groups": [], "jobs": [], "events": [3]}])
def test_a_sound_file_that_makes_no_sense_is_damaged(tmp_path, plain):
    path = tmp_path / NAME
    path.write_bytes(with_crc({"format": "gflow-state", "version": 1} | plain))
    with pytest.raises(Damaged, match="does not hold a state"):
        read_snapshot(path)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"run_id": None}, "is Running and has no run id"),
        ({"submitted_at": math.nan}, "was submitted at nan"),
        ({"submitted_at": "noon"}, "wrong kind"),
        ({"started_at": math.inf}, "has a time that is inf"),
        ({"spec": {"gpus": -1}}, "has -1 GPUs"),
        ({"spec": {"gpus": "two"}}, "wrong kind"),
        ({"spec": {"depends_on": (JobId(2),)}}, "depends on itself"),
        ({"spec": {"begin_at": -math.inf}}, "has a time that is -inf"),
    ],
)
def test_a_job_that_nothing_can_go_on_from_is_damage_whatever_the_checksum_says(tmp_path, ledger, changes, says):
    job = ledger.jobs[JobId(2)]
    ledger.jobs[JobId(2)] = replace(job, **changes | {"spec": replace(job.spec, **changes.get("spec", {}))})
    write_snapshot(tmp_path, snapshot_of(ledger))
    with pytest.raises(Damaged, match="job 2 ") as caught:
        read_snapshot(tmp_path / NAME)
    assert says in str(caught.value)


@pytest.mark.parametrize("number", [0, 2**62 + 1, 2**64 - 1, 1.5, None])
def test_ids_that_cannot_go_on_are_damage(tmp_path, ledger, number):
    write_snapshot(tmp_path, Snapshot(1, 2, replace(ledger.state(), next_job_id=number)))
    with pytest.raises(Damaged, match="the next id is"):
        read_snapshot(tmp_path / NAME)
