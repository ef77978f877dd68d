"""State files of every format there ever was must load for ever.

The directories in tests/data are what a user of that version has on disk. They are never written again and no test of
them is ever relaxed. If one fails, this program would misread, or refuse, somebody's state: mend the program. If what
is written has changed on purpose, raise the version in store/snapshot.py or store/wal.py (unless only a new optional
key was added, which older files lack), keep reading the old one, and add a directory with files of the new one.
"""

import pytest

from gflow.core.model import JobId, ReasonKind, State
from gflow.store.acknowledged import acknowledged
from gflow.store.load import load
from gflow.store.snapshot import PREVIOUS, read_snapshot
from support import golden_second, golden_store
from support.ledger import facts


def test_version_1_loads_and_holds_what_was_put_in():
    loaded = load(golden_store.DIRECTORY)
    ledger, _, _ = golden_store.history()
    assert facts(loaded) == facts(ledger)
    assert len(loaded.warnings) == 1
    assert "8 bytes at the end" in loaded.warnings[0]


def test_version_1_says_in_plain_words_what_it_held():
    loaded = load(golden_store.DIRECTORY)
    first, _, third, fourth = loaded.jobs.values()
    assert (first.state, first.exit_code, first.signal, first.retried_as) == (State.FAILED, 139, 11, JobId(2))
    assert (first.reason.kind, first.reason.text) == (ReasonKind.SYSTEM, "it crashed")
    assert first.spec.argv == ("python3", "prepare.py")
    assert (third.state, third.gpu_ids, third.spec.run_dir) == (State.RUNNING, (0, 3), "/srv/päth/\udcff")
    assert (third.stop.by, third.stop.next_at_boot) == ("root", 9731.125)
    assert fourth.spec.priority == 10
    assert loaded.groups["0f8e4a52-6f5d-4f0a-9b53-6c1f4d1f2b11"].max_concurrent == 3
    assert loaded.settings == {"max_jobs": {"ada": 4}}
    assert (loaded.boot_id, loaded.next_job_id, loaded.seq, loaded.events[-1][0]) == ("boot-a", 5, 6, 5)


def test_the_second_directory_loads_and_holds_what_was_put_in():
    loaded = load(golden_second.DIRECTORY)
    assert facts(loaded) == facts(golden_second.history().ledger)
    assert loaded.warnings == []
    assert acknowledged(golden_second.DIRECTORY) == loaded.seq == 6
    assert read_snapshot(golden_second.DIRECTORY / PREVIOUS) == golden_second.history().snapshots[0]


def test_the_second_directory_says_in_plain_words_what_it_held():
    loaded = load(golden_second.DIRECTORY)
    assert list(loaded.jobs) == [1, 2, 3, *range(7, 26)], "4, 5 and 6 have retired"
    assert [loaded.jobs[JobId(n)].state.value for n in (1, 2, 3, 7)] == ["Queued", "Hold", "Running", "Timeout"]
    reasons = [(job.reason.kind.value, job.reason.job, job.reason.text) for job in loaded.jobs.values() if job.reason]
    assert reasons == [(word, 4, "why") for word in golden_second.REASONS]
    stops = [(job.stop.cause.value, job.stop.step.value, job.stop.by) for job in loaded.jobs.values() if job.stop]
    assert stops == [(*words, None) for words in golden_second.STOPS]
    assert [job.spec.dependency_mode for job in loaded.jobs.values() if job.spec.depends_on] == ["All", "Any"]
    assert [event.kind.value for _, event in loaded.events][-9:] == list(golden_second.EVENTS)
    assert "truth" not in loaded.settings
    assert "never" not in loaded.settings
    assert loaded.settings["numbers"] == {"least": -(2**63), "most": 2**64 - 1}
    assert loaded.settings["reservations"][0]["duration_secs"] == 3600.5
    assert (loaded.groups["unlimited"].max_concurrent, loaded.groups["two"].max_concurrent) == (None, 3)
    assert (loaded.boot_id, loaded.next_job_id, loaded.next_event_id) == ("boot-b", 26, 35)


@pytest.mark.parametrize("golden", [golden_store, golden_second])
def test_the_same_state_is_still_written_in_the_same_bytes(tmp_path, golden):
    """Read above what to do if not: never write the files anew."""
    golden.write(tmp_path)
    kept = {path.name: path.read_bytes() for path in golden.DIRECTORY.iterdir()}
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == kept
