"""A plan put on disk: whole or not at all, whatever happens meanwhile, and once."""

import json
import os
import random
import stat
from dataclasses import replace
from pathlib import Path

import msgpack
import pytest

from gflow.core.model import JobId
from gflow.store.disk import DISK, Disk, private_directory, write_new
from gflow.store.imports.install import already_imported, check_room, find_older, has_state, install, is_ours, join
from gflow.store.imports.plan import NotImportable, Plan, make_plan
from gflow.store.load import Loaded, load
from gflow.store.records import Transaction, encode
from gflow.store.snapshot import NAME, PREVIOUS
from gflow.store.spool import Spool
from gflow.store.wal import Segment
from support.lossy_disk import Fault, LossyDisk, PowerCut
from support.older import SAMPLE_JSON, SAMPLE_MSGPACK, around, old_job, old_state, packed

WALL = 1_800_000_000.9
TEXT = b"#!/bin/sh\necho hi\n"


def with_a_script(sample: Path) -> bytes:
    """The sample with one more job, whose script has to be stored."""
    if sample is SAMPLE_JSON:
        state = json.loads(sample.read_bytes())
        state["jobs"]["13"] = old_job(13, script="/s.sh")
        return json.dumps(state).encode()
    state = msgpack.unpackb(sample.read_bytes())
    state["job_specs"].append({"script": "/s.sh"})
    state["job_runtimes"].append({"id": 17})
    return packed(state)


def plan_of(path: Path) -> Plan:
    return make_plan(path, path.read_bytes(), around(read_script=lambda path: TEXT))


def put(data_dir: Path, name: str, data: bytes, disk: Disk = DISK) -> Path:
    private_directory(data_dir, disk=disk)
    write_new(disk, data_dir / name, [data])
    disk.sync_directory(data_dir)
    return data_dir / name


def check_came(data_dir: Path, plan: Plan) -> Loaded:
    """Fail unless the state in the directory is the plan, and nothing else."""
    loaded = load(data_dir)
    assert tuple(loaded.jobs.values()) == plan.jobs
    assert tuple(loaded.groups.values()) == plan.groups
    assert loaded.next_job_id == plan.next_job_id
    assert {key: value for key, value in loaded.settings.items() if key != "imported"} == plan.settings
    assert loaded.settings["imported"]["sha256"] == plan.sha256
    assert not loaded.warnings
    for digest in plan.scripts:
        assert Spool(data_dir / "spool").path("script", digest).read_bytes() == plan.scripts[digest]
    return loaded


def backups(data_dir: Path) -> list[Path]:
    return sorted(path for path in data_dir.iterdir() if ".backup." in path.name)


@pytest.mark.parametrize(
    ("name", "sample"), [("state.json", SAMPLE_JSON), ("state.msgpack", SAMPLE_MSGPACK)], ids=["JSON", "MessagePack"]
)
def test_what_is_installed_is_what_was_planned(tmp_path, name, sample):
    path = put(tmp_path / "d", name, sample.read_bytes())
    plan = plan_of(path)
    assert find_older(path.parent) == path
    backup = install(path.parent, plan, wall=WALL, boot_id="boot")
    loaded = check_came(path.parent, plan)
    assert (loaded.boot_id, loaded.seq) == ("boot", 1)
    assert loaded.settings["imported"] == {
        "sha256": plan.sha256,
        "path": str(path),
        "format": plan.format,
        "at": WALL,
    }
    assert backup == path.with_name(f"{name}.backup.1800000000")
    assert backup.read_bytes() == sample.read_bytes()
    assert (path.read_bytes() == sample.read_bytes()) == (name == "state.json")
    assert not (path.parent / PREVIOUS).exists()
    assert find_older(path.parent) is None
    assert already_imported(plan, loaded.settings)
    for there in (path.parent / NAME, backup, *(path.parent / "spool/script").iterdir()):
        assert stat.S_IMODE(there.stat().st_mode) == 0o600


def test_a_state_goes_on_after_an_import(tmp_path):
    path = put(tmp_path / "d", "state.json", SAMPLE_JSON.read_bytes())
    plan = plan_of(path)
    install(path.parent, plan, wall=WALL, boot_id="boot")
    job = replace(plan.jobs[0], id=JobId(13))
    with_one_more = Transaction(2, (job,), (), (), {}, 14, 1)
    segment = Segment.create(path.parent, 2, 2)
    segment.append([encode(with_one_more)])
    segment.close()
    loaded = load(path.parent)
    assert (len(loaded.jobs), loaded.next_job_id, loaded.seq) == (13, 14, 2)


def test_an_import_that_has_lost_its_snapshot_does_not_look_complete(tmp_path):
    path = put(tmp_path / "d", "state.json", SAMPLE_JSON.read_bytes())
    install(path.parent, plan_of(path), wall=WALL, boot_id="boot")
    (path.parent / NAME).unlink()
    with pytest.raises(Exception, match="transaction 1 is missing"):
        load(path.parent)


def test_the_packed_file_counts_where_there_are_both(tmp_path):
    put(tmp_path, "state.json", SAMPLE_JSON.read_bytes())
    path = put(tmp_path, "state.msgpack", SAMPLE_MSGPACK.read_bytes())
    assert find_older(tmp_path) == path


def test_a_file_from_elsewhere_stays_there_and_gets_no_copy(tmp_path):
    path = put(tmp_path / "old", "state.json", SAMPLE_JSON.read_bytes())
    plan = plan_of(path)
    assert install(tmp_path / "d", plan, wall=WALL, boot_id="boot") is None
    check_came(tmp_path / "d", plan)
    assert not backups(tmp_path / "d")
    assert os.listdir(tmp_path / "old") == ["state.json"]


def test_one_copy_is_left_however_often_it_is_tried(tmp_path):
    path = put(tmp_path, "state.json", SAMPLE_JSON.read_bytes())
    put(tmp_path, "state.json.backup.1", SAMPLE_JSON.read_bytes())
    assert install(tmp_path, plan_of(path), wall=WALL, boot_id="boot") == tmp_path / "state.json.backup.1"
    assert len(backups(tmp_path)) == 1


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("name", "sample"), [("state.json", SAMPLE_JSON), ("state.msgpack", SAMPLE_MSGPACK)], ids=["JSON", "MessagePack"]
)
def test_a_power_cut_at_any_point_leaves_the_old_file_or_the_whole_import(tmp_path, name, sample, seed):
    """Seed 0 loses all that was not synced; the others lose, tear and reorder."""
    data, point = with_a_script(sample), 0
    while True:
        point += 1
        chance = random.Random(f"{seed} {point}")
        choose = chance.randrange if seed else (lambda _: 0)
        root = tmp_path / str(point)
        root.mkdir()
        disk = LossyDisk(root)
        path = put(root / "d", name, data, disk)
        plan = plan_of(path)
        disk.faults[len(disk.calls) + point] = Fault(choose(17), end=PowerCut)
        try:
            install(path.parent, plan, wall=WALL, boot_id="boot", disk=disk)
        except PowerCut:
            disk.restart(choose)
        else:
            break
        older = find_older(path.parent)
        if older is not None:
            assert older.read_bytes() == data
            install(path.parent, plan_of(older), wall=WALL + 60, boot_id="boot", disk=disk)
        check_came(path.parent, plan)
        assert [copy.read_bytes() for copy in backups(path.parent)].count(data) == 1
    assert point > 15


def used_directory(data_dir: Path, *jobs, **settings) -> Loaded:
    """A directory with a state of ours."""
    private_directory(data_dir)
    plan = make_plan(Path("/x"), packed(old_state(*jobs)), around())
    segment = Segment.create(data_dir, 1, 1)
    segment.append([encode(Transaction(1, plan.jobs, plan.groups, (), settings, plan.next_job_id, 5))])
    segment.close()
    return load(data_dir)


def test_a_directory_in_use_gets_what_it_has_room_for(tmp_path):
    kept = {"next_reservation_id": 7, "other": 1}
    loaded = used_directory(tmp_path / "d", old_job(1), old_job(2), **kept)
    mine = {"notifications": {"emails": ["c@d"]}}
    state = old_state(old_job(5, **mine), old_job(9, script="/s.sh"), next_reservation_id=3)
    path = put(tmp_path, "state.json", packed(state))
    plan = plan_of(path)
    check_room(tmp_path / "d", plan, loaded)
    join(tmp_path / "d", plan, loaded, wall=WALL)
    after = load(tmp_path / "d")
    assert list(after.jobs) == [1, 2, 5, 9]
    assert after.next_job_id == 10
    assert after.next_event_id == 5
    assert after.jobs[5].spec.notify_emails == ("c@d",)
    assert (after.settings["next_reservation_id"], after.settings["other"]) == (7, 1)
    assert already_imported(plan, after.settings)
    assert Spool(tmp_path / "d/spool").path("script", next(iter(plan.scripts))).read_bytes() == TEXT


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (old_state(old_job(2)), "it has job 2, and ids up to 3 have been given here already"),
        (old_state(old_job(3)), "ids up to 3"),
        (old_state(old_job(4), quota_overrides={"default_user": {"max_running_gpus": 1}}), "replace quota_overrides"),
        (old_state(old_job(4, group_id="2d2c9f40-14ab-419e-89c0-5161b289c743")), "replace group 2d2c9f40"),
    ],
)
def test_nothing_of_a_directory_in_use_is_lost(tmp_path, state, why):
    group = {"group_id": "2d2c9f40-14ab-419e-89c0-5161b289c743"}
    loaded = used_directory(
        tmp_path / "d", old_job(1), old_job(3, **group), quota_overrides={"default_user": {"max_queued_jobs": 3}}
    )
    with pytest.raises(NotImportable, match=why):
        check_room(tmp_path / "d", plan_of(put(tmp_path, "state.json", packed(state))), loaded)


def test_an_older_state_that_waits_in_the_directory_is_not_passed_over(tmp_path):
    put(tmp_path / "d", "state.msgpack", SAMPLE_MSGPACK.read_bytes())
    with pytest.raises(NotImportable, match="is of an older gflow, too; import that one first"):
        check_room(tmp_path / "d", plan_of(put(tmp_path, "state.json", SAMPLE_JSON.read_bytes())), Loaded())


def test_both_files_of_a_directory_are_kept_whichever_is_imported(tmp_path):
    put(tmp_path, "state.msgpack", SAMPLE_MSGPACK.read_bytes())
    path = put(tmp_path, "state.journal.jsonl", SAMPLE_JSON.read_bytes())
    plan = plan_of(path)
    check_room(tmp_path, plan, Loaded())
    install(tmp_path, plan, wall=WALL, boot_id="boot")
    check_came(tmp_path, plan)
    kept = {copy.name.split(".backup.")[0]: copy.read_bytes() for copy in backups(tmp_path)}
    assert kept == {"state.msgpack": SAMPLE_MSGPACK.read_bytes(), "state.journal.jsonl": SAMPLE_JSON.read_bytes()}


@pytest.mark.parametrize("name", [PREVIOUS, "ids", "history.sqlite", "wal.acknowledged"])
def test_a_directory_that_was_ever_used_is_in_use(tmp_path, name):
    assert not has_state(tmp_path / "missing")
    put(tmp_path, "state.json", SAMPLE_JSON.read_bytes())
    assert not has_state(tmp_path)
    put(tmp_path, name, b"anything")
    assert has_state(tmp_path)
    assert find_older(tmp_path) is None


def test_a_damaged_state_of_ours_is_still_ours(tmp_path):
    path = put(tmp_path / "d", "state.json", SAMPLE_JSON.read_bytes())
    install(path.parent, plan_of(path), wall=WALL, boot_id="boot")
    (path.parent / NAME).write_bytes((path.parent / NAME).read_bytes()[:300])
    assert is_ours(path.parent / NAME)
    assert find_older(path.parent) is None
