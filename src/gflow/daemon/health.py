"""What `/health` says: whether the daemon is well, in recovery, or can write nothing."""

from pathlib import Path
from typing import Any

from gflow.store.recovery.journal import NAME as JOURNAL
from gflow.store.recovery.opening import Recovery


def health(pid: int, data_dir: Path, recovery: Recovery | None, failure: str | None) -> tuple[dict[str, Any], bool]:
    """The body, and whether it goes with 200 or 503. `failure`: why nothing can be written just now."""
    if recovery is None and failure is None:
        return {"status": "ok", "pid": pid}, True
    journal = str(data_dir / JOURNAL) if recovery is not None else None
    rest = {
        "pid": pid,
        "detail": _detail(data_dir, recovery, failure),
        "state_backup": str(recovery.backup) if recovery is not None and recovery.backup is not None else None,
        "journal": journal,
        "journal_error": failure if journal is not None else None,
    }
    if failure is not None:
        return {"status": "read_only", **rest}, False
    return {"status": "recovery", "mode": "journal", **rest}, True


def _detail(data_dir: Path, recovery: Recovery | None, failure: str | None) -> str:
    if recovery is None:
        return f"the state cannot be written: {failure}; nothing is accepted until it can"
    if failure is None:
        return recovery.trouble
    return f"the journal {data_dir / JOURNAL} cannot be written: {failure}; and {recovery.trouble}"
