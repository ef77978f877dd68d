"""State files of every released format must load for ever."""

from gflow.core.model import JobId, ReasonKind, State
from gflow.store.load import load
from support import golden_store
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


def test_the_same_state_is_still_written_in_the_same_bytes(tmp_path):
    """If this fails the format has changed: keep these files, raise the version, and add files of the new one."""
    golden_store.write(tmp_path)
    for name in golden_store.FILES:
        assert (tmp_path / name).read_bytes() == (golden_store.DIRECTORY / name).read_bytes()
