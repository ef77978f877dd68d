"""The bounds in the documents are those in the code."""

from pathlib import Path

import pytest

import gflow
from gflow.api import body, crowd, ending, logs, query, room
from gflow.core import limits, submission, tokens
from gflow.daemon import endpoints, tls
from gflow.notify import allowance
from gflow.wire import requests

PAGE = Path(gflow.__file__).parents[2] / "docs" / "api.md"

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="installed without its sources")


def _told() -> str:
    return PAGE.read_text().partition("\n## Bounds\n")[2]


def _rows() -> dict[str, list[str]]:
    """By the beginning of the first cell: the others."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in _told().splitlines() if line[:1] == "|"]
    return {cells[0].partition(":")[0]: cells[1:] for cells in rows}


def test_numbers():
    rows, mib, kib = _rows(), 1 << 20, 1 << 10
    assert rows["body"][0] == f"{body.MAX_BODY_BYTES // mib} MiB"
    assert rows["head of a request"][0] == f"{endpoints.MAX_HEADER_BYTES // kib} KiB"
    several = f"{requests.MAX_BATCH} · {ending.MOST:,} · {query.MAX_IDS:,}"
    assert rows["jobs in a batch · cancelled at once · named by `ids`"][0] == several
    largest = (
        (submission.MAX_COMMAND_BYTES + 1) // kib,
        submission.MAX_JOB_CHARS // mib,
        limits.MAX_ENVIRONMENT_BYTES // mib,
        limits.MAX_SCRIPT_BYTES // mib,
    )
    assert rows["a job"][0] == "{} KiB · {} MiB · {} MiB · {} MiB".format(*largest)
    assert rows["jobs that wait or are on hold"][1:3] == [f"{room.OF_ONE:,}", f"{room.MOST:,}"]
    memory, files = (rows[name][1:3] for name in rows if name.startswith(("memory for", "disk for")))
    assert memory == [f"{room.MEMORY_OF_ONE // mib} MiB", f"{room.MEMORY // kib // mib} GiB"]
    assert files == [f"{room.FILES_OF_ONE // kib // mib} GiB", f"{room.FILES // kib // mib} GiB"]
    assert rows["tokens"][1:3] == [str(tokens.MOST_OF_A_USER), str(tokens.MOST)]
    (mails,) = (rows[name][1:3] for name in rows if name.startswith("mails within an hour"))
    assert (mails, allowance.HOUR_SECS) == ([f"{allowance.OF_ONE}", f"{allowance.OF_ALL}"], 3600)
    assert rows["connections"][1] == f"{endpoints.OF_ONE}, or a quarter of all"
    assert rows["connections"][2].startswith(f"{endpoints.MAX_CONNECTIONS}, or half of the files")
    assert rows["streams"][1:3] == [str(crowd.STREAMS_OF_ONE), str(crowd.STREAMS_AT_ONCE)]
    assert rows["large requests"][1:3] == [f"{crowd.HEAVY_OF_ONE} at once", f"{crowd.HEAVY_AT_ONCE} at once"]
    assert rows["large requests"][3] == (
        f"{crowd.WAITING_OF_ONE} of one user wait for their turn, up to {crowd.PATIENCE_SECS:.0f} s; then 429"
    )
    assert rows["a log"][0] == f"{logs.MOST_LINES:,} lines · {logs.MOST_BYTES // mib} MiB"


def test_times():
    told = " ".join(_told().split())
    assert f"a TLS handshake takes longer than {tls.HANDSHAKE_SECS:.0f} s" in told
    assert f"or the first request, takes longer than {endpoints.HEAD_SECS:.0f} s" in told
    assert f"nothing was asked for {endpoints.IDLE_SECS / 60:.0f} minutes" in told
    assert endpoints.STALL_SECS == 3600
    assert "not read on for an hour" in told
    assert f"a body may take {body.BODY_SECS:.0f} s" in told
    assert (logs.FOLLOW_SECS, f"and {logs.LOOKS_A_SECOND:.0f} times in all" in told) == (0.1, True)
    assert f"answers under way have {endpoints.GRACE_SECS:.0f} s" in told


def test_every_endpoint_that_takes_much_is_named():
    (row,) = [line for line in _told().splitlines() if line.startswith("| large requests")]
    words = {
        "jobs.list_jobs": "`/jobs`",
        "queue.queue": "`/queue`",
        "control.stats": "`/stats`",
        "metrics.metrics": "`/metrics`",
        "logs.content": "`log/content`",
        "watching.terminals": "`/terminals`",
        "watching.processes": "`processes`",
        "submissions.submit_batch": "batches",
        "ending.cancel_many": "`/jobs/cancel`",
        "redo.redo": "`redo`",
        "state.prune": "`/state/…`",
        "state.compact": "`/state/…`",
    }
    assert words.keys() == crowd.HEAVY
    assert all(word in row for word in words.values())
    assert f"bodies over {crowd.LARGE_BYTES // 1024} KiB" in row
