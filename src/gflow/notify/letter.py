"""What a mail says: a subject that is understood alone, and a body of plain facts.

Pure. A text of a user gets into a header as one line that says just this text (see `headers`); none can add a header.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Any

from gflow.notify.formats import one_line, summary
from gflow.notify.headers import header, words
from gflow.notify.payloads import user_of

Payload = Mapping[str, Any]

MAX_SUBJECT = 200
MAX_SUBJECT_BYTES = 500
"""In UTF-8: so much is still one line when it is encoded."""

MAX_TAIL_LINES = 30
MAX_TAIL_LINE = 400

_POLICY = SMTP.clone(max_line_length=250, cte_type="7bit")
"""No server needs to take more than ASCII."""

FAILURES = ("job_failed", "job_timeout")
"""Events whose mail has the end of the job's log."""

_JOB_LINES = (
    ("Job", "id"),
    ("Name", "name"),
    ("User", "user"),
    ("Project", "project"),
    ("State", "state"),
    ("Exit code", "exit_code"),
    ("Signal", "signal"),
    ("Detail", "detail"),
    ("Submitted", "submitted_at"),
    ("Started", "started_at"),
    ("Finished", "finished_at"),
    ("Run time", "runtime"),
    ("Time limit", "time_limit"),
    ("GPUs", "gpus"),
    ("GPU memory", "gpu_memory_verdict"),
    ("Command", "command"),
    ("Directory", "run_dir"),
    ("Tried again as job", "retried_as"),
    ("Attempt after job", "retried_from"),
)
_OTHER_LINES = {
    "group": (
        ("Group", "id"),
        ("Group name", "name"),
        ("User", "user"),
        ("Jobs", "jobs"),
        ("First job", "first_job_id"),
        ("States", "counts"),
        ("Jobs on hold", "held"),
        ("Failed jobs", "failed"),
    ),
    "reservation": (
        ("Reservation", "id"),
        ("User", "user"),
        ("GPUs", "gpu_count"),
        ("GPU indices", "gpu_indices"),
        ("Start", "start_time"),
        ("End", "end_time"),
        ("Cancelled", "cancelled_at"),
    ),
    "gpu": (
        ("GPU", "index"),
        ("UUID", "uuid"),
        ("Unused for, in seconds", "idle_secs"),
        ("Declared GPU memory, in MiB", "declared_mb"),
        ("Used GPU memory, in MiB", "used_mb"),
    ),
}

_SEQUENCES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # control sequences: colours, movements (ECMA-48, section 5.4)
    r"|\x1b[\]PX^_].*?(?:\x07|\x1b\\|$)"  # strings: titles, links
    r"|\x1b[ -/]*[0-~]?"
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def letter(
    payload: Payload, *, sender: str, to: str, prefix: str | None, delivery_id: str, tail: Iterable[str] = ()
) -> bytes:
    """The mail about a payload to one address. `sender` is as `headers.mailbox` writes it.

    The same delivery to the same address has the same Message-ID.
    """
    host = one_line(payload["scheduler"]["host"], 100)
    head = (
        header("From", sender),
        header("To", to),
        header("Subject", words(_subject(payload, f"[gflow {host}]" if prefix is None else prefix))),
        header("Date", _date(payload["timestamp"])),
        header("Message-ID", _message_id(delivery_id, to, host)),
        header("Auto-Submitted", "auto-generated"),
        header("X-Gflow-Event", payload["event"]),
    )
    content = EmailMessage(_POLICY)
    content.set_content("\n".join(body(payload, tail)) + "\n")
    return b"".join(head) + content.as_bytes()


def _subject(payload: Payload, prefix: str) -> str:
    subject = one_line(f"{prefix} {summary(payload)}", MAX_SUBJECT)
    if len(subject.encode()) <= MAX_SUBJECT_BYTES:
        return subject
    return subject.encode()[: MAX_SUBJECT_BYTES - 3].decode(errors="ignore") + "…"


def body(payload: Payload, tail: Iterable[str] = ()) -> list[str]:
    """The facts, a line each, and the end of the log."""
    lines = [one_line(summary(payload)), ""]
    for label, value in _facts(payload):
        lines.append(f"{label + ':':<14} {value}")
    lines.append(f"{'Machine:':<14} {one_line(payload['scheduler']['host'], 100)}")
    last = list(tail)
    if last:
        lines += ["", f"The last {len(last)} lines of its log:", "", *(f"  {line}" for line in last)]
    if user_of(payload) is not None and "job" in payload:
        lines += ["", f"More: gjob show {payload['job']['id']}, gjob log {payload['job']['id']}"]
    return lines


def clean_tail(data: bytes, *, whole: bool) -> list[str]:
    """The last lines of a log as plain text. `whole`: `data` is all of it, so its first line is complete, too.

    Escape sequences and control characters go; of a line that was drawn over, as progress bars are, what stood last
    remains.
    """
    lines = _SEQUENCES.sub("", data.decode(errors="replace").replace("\r\n", "\n")).split("\n")
    if not whole:
        lines = lines[1:]
    shown = [_CONTROLS.sub("", line.rstrip("\r").rpartition("\r")[2]).rstrip() for line in lines]
    while shown and not shown[-1]:
        shown.pop()
    return [_cut(line) for line in shown[-MAX_TAIL_LINES:]]


def _cut(line: str) -> str:
    return line if len(line) <= MAX_TAIL_LINE else f"{line[: MAX_TAIL_LINE - 1]}…"


def _facts(payload: Payload) -> Iterable[tuple[str, str]]:
    for label, key in _JOB_LINES if "job" in payload else ():
        yield from _fact(label, payload["job"].get(key))
    for what, lines in _OTHER_LINES.items():
        for label, key in lines if "job" not in payload or what == "gpu" else ():
            yield from _fact(label, (payload.get(what) or {}).get(key))


def _fact(label: str, value: object) -> Iterable[tuple[str, str]]:
    if isinstance(value, dict):
        value = ", ".join(f"{number} {state}" for state, number in value.items())
    elif isinstance(value, list):
        value = ", ".join(map(str, value))
    if value is not None and value != "":
        yield label, one_line(value, 1000)


def _date(timestamp: str) -> str:
    from datetime import datetime

    return format_datetime(datetime.fromisoformat(timestamp))


def _message_id(delivery_id: str, to: str, host: str) -> str:
    domain = re.sub(r"[^A-Za-z0-9.-]", "-", host).strip("-.") or "gflow"
    return f"<{hashlib.sha256(f'{delivery_id} {to}'.encode()).hexdigest()[:32]}@{domain}>"
