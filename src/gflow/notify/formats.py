"""The shapes a payload is sent in: as it is, or as a message for Slack or Discord. And the line that says it all.

Pure. Slack: "Sending messages using incoming webhooks", "Text object" (`plain_text`, at most 3000 characters),
"Escaping text". Discord: "Execute Webhook" (`content` of at most 2000 characters, `allowed_mentions`, `flags`). Names
chosen by users can mention nobody and style nothing.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from gflow.notify.payloads import public

Payload = Mapping[str, Any]

MAX_CHAT = 1900
MAX_BLOCK = 600  # 3000 are allowed, of which an escape takes up to five
MAX_DISCORD = 2000
_SUPPRESS_EMBEDS = 1 << 2
MAX_LINE = 300

_VERBS = {
    "job_submitted": "submitted",
    "job_updated": "changed",
    "job_started": "started",
    "job_completed": "completed",
    "job_failed": "failed",
    "job_cancelled": "cancelled",
    "job_timeout": "timed out",
    "job_held": "put on hold",
    "job_released": "released",
}
_ENDED = ("job_completed", "job_failed", "job_cancelled", "job_timeout")

_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]+")


def one_line(text: object, most: int = MAX_LINE) -> str:
    """A text without line breaks, control characters, half characters and marks that turn the direction of writing."""
    line = " ".join(_UNSEEN.sub(" ", str(text)).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def summary(payload: Payload) -> str:
    """What happened, in a line: `job 42 train failed: exit code 3 after 01:10:05`."""
    event = payload["event"]
    if event == "group_completed":
        return _group(payload["group"])
    if event == "group_held":
        return _held(payload["group"])
    if event.startswith("reservation_"):
        return _reservation(event, payload["reservation"])
    if event == "gpu_available":
        return f"GPU {payload['gpu'].get('index')} is available"
    if event in ("gpu_idle", "gpu_memory_exceeded"):
        return _about_gpus(event, payload)
    if "job" in payload:
        return _job(event, payload["job"])
    return one_line(payload.get("text") or event)


def _job(event: str, job: Payload) -> str:
    line = f"{_called(job)} {_VERBS.get(event, event)}"
    if event == "job_completed" and (lasted := _lasted(job)):
        line = f"{line} in {lasted}"
    facts = list(filter(None, _facts(event, job)))
    return one_line(f"{line}: {'; '.join(facts)}" if facts else line)


def _called(job: Payload) -> str:
    return f"job {job['id']} {one_line(job.get('name') or '', 60)}".rstrip()


def _facts(event: str, job: Payload) -> list[str]:
    if event == "job_started":
        gpus = job.get("gpus")
        return [f"on GPU {', '.join(map(str, gpus))}" if gpus else ""]
    if event not in _ENDED:
        return []
    return [_how(event, job), f"tried again as job {job['retried_as']}" if job.get("retried_as") else ""]


def _how(event: str, job: Payload) -> str:
    """How it ended, if not well, and after how long."""
    if event == "job_completed":
        return ""
    what = _failure(job) if event == "job_failed" else job.get("detail") or ""
    after = f"after {lasted}" if (lasted := _lasted(job)) else ""
    return " ".join(filter(None, (one_line(what, 160), after)))


def _lasted(job: Payload) -> str:
    """How long it ran: `01:10:05`, but `2.5 s` of what is shorter than a minute."""
    secs = job.get("runtime_secs")
    if secs is None or secs >= 59.5:
        return job.get("runtime") or ""
    return f"{round(secs, 1 if secs < 9.95 else 0):g} s"


def _failure(job: Payload) -> str:
    if job.get("signal"):
        return f"killed by {job['signal']}"
    if job.get("exit_code"):
        return f"exit code {job['exit_code']}"
    return str(job.get("detail") or "")


def _group(group: Payload) -> str:
    counts = ", ".join(f"{number} {state}" for state, number in group["counts"].items())
    name = one_line(group.get("name") or "", 60)
    which = f"group {name}" if name else f"the group of job {group.get('first_job_id')}"
    whole = f"all {group['jobs']} jobs of {which} have" if group["jobs"] != 1 else f"the only job of {which} has"
    return one_line(f"{whole} ended: {counts}")


def _held(group: Payload) -> str:
    number = group.get("held") or 0
    return one_line(f"{number} job{' is' if number == 1 else 's are'} on hold: {group.get('reason')}")


def _reservation(event: str, reservation: Payload) -> str:
    named = reservation.get("gpu_indices")
    count = reservation.get("gpu_count")
    what = f"GPU {', '.join(map(str, named))}" if named else f"{count} GPU{'' if count == 1 else 's'}"
    when = f"{reservation.get('start_time')} to {reservation.get('end_time')}"
    verb = event.removeprefix("reservation_")
    return one_line(f"reservation {reservation['id']} of {reservation.get('user')} {verb}: {what}, {when}")


def _about_gpus(event: str, payload: Payload) -> str:
    job, gpu = payload["job"], payload.get("gpu") or {}
    if event == "gpu_idle":
        minutes = round((gpu.get("idle_secs") or 0) / 60)
        return one_line(f"{_called(job)} has left its GPUs unused for {minutes} min")
    return one_line(
        f"{_called(job)} uses {gpu.get('used_mb')} MiB of GPU memory and had declared {gpu.get('declared_mb')} MiB"
    )


def headline(payload: Payload) -> str:
    """The summary, with whose it is and where."""
    host = payload["scheduler"]["host"]
    user = next((payload[what]["user"] for what in ("job", "group") if payload.get(what, {}).get("user")), None)
    return one_line(f"[{host}] {summary(payload)}" + (f" ({user})" if user else ""), MAX_CHAT)


def addressed(payload: Payload, delivery_id: str) -> Payload:
    """What goes to one target: with the id of the delivery, so that a signature is for that, too."""
    return {"event": payload["event"], "delivery": delivery_id, **payload}


def as_json(payload: Payload) -> bytes:
    """The payload itself."""
    return json.dumps(public(payload), ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def as_slack(payload: Payload) -> bytes:
    """A message of plain text, in which Slack decorates and links nothing; `text` is what notifications show.

    Three characters are escaped in every text for Slack, so no name can mention anybody where blocks are not read.
    """
    line = headline(payload)
    plain = {"type": "plain_text", "text": _escaped(one_line(line, MAX_BLOCK)), "emoji": False}
    told = {"text": _escaped(line), "mrkdwn": False, "unfurl_links": False, "unfurl_media": False}
    return json.dumps({**told, "blocks": [{"type": "section", "text": plain}]}).encode()


def _escaped(line: str) -> str:
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def as_discord(payload: Payload) -> bytes:
    """A message that mentions nobody and decorates and links nothing, whatever is in a name.

    A colon with a backslash is one that begins neither an emoji nor what follows the scheme of an address.
    """
    content = re.sub(r"([\\*_~`|>#\[\]<:])", r"\\\1", headline(payload))
    told = {"content": _whole(content, MAX_DISCORD), "flags": _SUPPRESS_EMBEDS, "allowed_mentions": {"parse": []}}
    return json.dumps(told).encode()


def _whole(escaped: str, most: int) -> str:
    """The beginning of a text, without the half of an escape at its end."""
    cut = escaped[:most]
    slashes = len(cut) - len(cut.rstrip("\\"))
    return cut[:-1] if len(cut) < len(escaped) and slashes % 2 else cut


FORMATS: dict[str, Callable[[Payload], bytes]] = {"json": as_json, "slack": as_slack, "discord": as_discord}
"""The bodies that a webhook can have, by the word of the configuration."""
