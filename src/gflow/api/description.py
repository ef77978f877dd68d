"""What every route takes and answers, as data. `openapi` makes a document of it, and the tests hold it to the routes.

Bodies are the records the handlers read by, so their fields, types and defaults are said once, in `wire`. Answers are
said by what is always in them; docs/api.md says what it means.
"""

from dataclasses import dataclass, field
from typing import Any

from gflow.core.lifecycle import CODES
from gflow.wire.drains import DrainRequest
from gflow.wire.gpus import AllowedGpus, GpuProcess
from gflow.wire.quotas import QuotaChange
from gflow.wire.requests import (
    MAX_BATCH,
    CancelRequest,
    GroupLimit,
    JobRequest,
    JobUpdate,
    NotificationTest,
    PruneRequest,
    Redelivery,
    RedoRequest,
    SignalRequest,
)
from gflow.wire.reservations import ReservationRequest
from gflow.wire.tokens import TokenRequest

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one route.

    body: the record that is read, or a schema. optional_body: may be left out. statuses: those of success. kind: the
    content type of the answer. errors: those that not every operation can answer with.
    """

    summary: str
    query: dict[str, Schema] = field(default_factory=dict)
    body: type | Schema | None = None
    optional_body: bool = False
    answer: Schema | None = None
    statuses: tuple[int, ...] = (200,)
    kind: str = "application/json"
    errors: tuple[int, ...] = ()


def _reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(names: str, **more: Schema) -> Schema:
    """An object that always has these fields; `more` says of what form some are."""
    return {"type": "object", "required": [*names.split(), *more], "properties": more}


def _list(of: Schema) -> Schema:
    return {"type": "array", "items": of}


def _whole(least: int | None = None, most: int | None = None) -> Schema:
    edges = {"minimum": least, "maximum": most}
    return {"type": "integer", **{edge: value for edge, value in edges.items() if value is not None}}


def _one_of(*words: str) -> Schema:
    """One of these words, in any case."""
    return {"type": "string", "pattern": f"^({'|'.join(map(_any_case, words))})$"}


def _any_case(word: str) -> str:
    return "".join(f"[{letter.lower()}{letter.upper()}]" if letter.isalpha() else letter for letter in word)


TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number", "minimum": -1e15, "maximum": 1e15}
FLAG = _one_of("0", "1", "true", "false")
IDS: Schema = {"type": "string", "description": "Ids and ranges: 1,3-5"}
WORDS: Schema = {"type": "string", "description": "A list with commas"}
ORDER: Schema = {"type": "string", "enum": ["asc", "desc"]}
STATES: Schema = {"type": "string", "description": "A list with commas, by name or code, or all"}

JOB = _object(
    "id script command gpus conda_env run_dir priority depends_on depends_on_ids dependency_mode"
    " auto_cancel_on_dependency_failure task_id gpu_sharing_mode gpu_memory_limit_mb time_limit memory_limit_mb"
    " submitted_by redone_from retried_from max_retries auto_close_tmux parameters group_id max_concurrent run_name"
    " project gpu_ids submitted_at started_at finished_at reason scheduled_at argv script_args exit_code signal"
    " status_detail stopping early_signal keep_session session log_path restart_count retried_as redone_as gpu_indices"
    " retry_on_oom oom_restarts gpu_use gpu_memory_verdict gpu_share_mb after_end group key hold_after_failures cpus",
    state={"enum": [state.value for state in CODES]},
)
RESERVATION = _object("id user gpu_spec start_time duration status created_at cancelled_at created_by")
ERROR: Schema = {
    "type": "object",
    "required": ["error", "code"],
    "additionalProperties": False,
    "properties": {"error": {"type": "string", "minLength": 1}, "code": {"type": "string", "pattern": "^[a-z_]+$"}},
}
BATCH: Schema = {
    "oneOf": [
        {"type": "array", "items": _reference("JobRequest"), "minItems": 1, "maxItems": MAX_BATCH},
        {
            "type": "object",
            "required": ["defaults", "jobs"],
            "additionalProperties": False,
            "properties": {
                "defaults": {"type": "object"},
                "jobs": {"type": "array", "items": {"type": "object"}, "minItems": 1, "maxItems": MAX_BATCH},
            },
        },
    ]
}
"""With defaults, each job is held to the record once it has them."""

NULL: Schema = {"type": "null"}
RECEIPT = _object("id run_name")
SIGNALLED = _object("id signal processes")
NAMED_RECORDS = {"Job": JOB, "Reservation": RESERVATION, "Error": ERROR}

_JOB = _reference("Job")
_DRY_RUN = {"dry_run": FLAG}
_DRAINED = _object("changed drained running_jobs")
_IGNORED = _object("gpu_index pid available")
_TOKEN = _object("id user name read_only admin created_at created_by expires_at expired")
_TEXT_KIND = "text/plain"

OPERATIONS: dict[str, Operation] = {
    "GET /": Operation("A word that says who answers", kind=_TEXT_KIND),
    "GET /openapi.json": Operation("This document", answer=_object("openapi info paths components")),
    "GET /health": Operation("Whether the daemon is well", answer=_object("status pid"), statuses=(200, 503)),
    "GET /status": Operation("The daemon", answer=_object("version pid uptime_secs gpu_total drained jobs")),
    "GET /stats": Operation(
        "Figures",
        query={"user": TEXT, "project": TEXT, "since": NUMBER, "by": {"enum": ["user", "project", "day"]}},
        answer=_object("user since"),
    ),
    "GET /metrics": Operation("Figures for Prometheus", kind=_TEXT_KIND),
    "GET /events": Operation(
        "What happens, as server-sent events", query={"last_event_id": _whole(0, 10**18 - 1)}, kind="text/event-stream"
    ),
    "POST /jobs": Operation(
        "Submit a job", query=_DRY_RUN, body=JobRequest, answer=RECEIPT, statuses=(200, 201), errors=(404, 409, 422)
    ),
    "POST /jobs/batch": Operation(
        "Submit jobs, all or none",
        query=_DRY_RUN,
        body=BATCH,
        answer=_list(RECEIPT),
        statuses=(200, 201),
        errors=(404, 409, 422),
    ),
    "GET /jobs": Operation(
        "Jobs",
        query={
            "state": STATES,
            "user": WORDS,
            "ids": IDS,
            "name": WORDS,
            "project": TEXT,
            "group": TEXT,
            "limit": _whole(1),
            "offset": _whole(0),
            "created_after": NUMBER,
            "order": ORDER,
        },
        answer=_list(_JOB),
    ),
    "GET /jobs/{job_id}": Operation("A job", answer=_JOB, errors=(404,)),
    "PATCH /jobs/{job_id}": Operation(
        "Change a job", body=JobUpdate, answer=_object("updated_fields", job=_JOB), errors=(404, 409, 422)
    ),
    "GET /jobs/{job_id}/wait": Operation("A job, once it is over", query={"retries": FLAG}, answer=_JOB, errors=(404,)),
    "GET /jobs/{job_id}/why": Operation(
        "Why a job waits", answer=_object("id state reasons expected_start expected_start_unknown"), errors=(404,)
    ),
    "POST /jobs/{job_id}/hold": Operation("Put a job on hold", answer=NULL, errors=(404, 409)),
    "POST /jobs/{job_id}/release": Operation(
        "Release a job", query={"at": NUMBER}, answer=NULL, errors=(404, 409, 422)
    ),
    "POST /jobs/{job_id}/cancel": Operation(
        "Cancel a job",
        query={"dry_run": FLAG, "reason": TEXT},
        errors=(404, 409),
        answer={"oneOf": [NULL, _object("id state dependents")]},
    ),
    "POST /jobs/cancel": Operation("Cancel jobs", body=CancelRequest, answer=_object("jobs dependents failed")),
    "POST /jobs/{job_id}/finish": Operation("End a job as finished", answer=NULL, errors=(404, 409)),
    "POST /jobs/{job_id}/fail": Operation("End a job as failed", answer=NULL, errors=(404, 409)),
    "POST /jobs/{job_id}/signal": Operation(
        "Send a signal to a job", body=SignalRequest, answer=SIGNALLED, errors=(404, 409)
    ),
    "POST /jobs/{job_id}/redo": Operation(
        "Do an ended job again",
        body=RedoRequest,
        answer=_object("id run_name redone_from dropped_env cascade"),
        statuses=(201,),
        errors=(404, 409, 422),
    ),
    "GET /jobs/{job_id}/processes": Operation(
        "What a running job takes", answer=_object("id name measured_at cpus processes gpus"), errors=(404, 409)
    ),
    "GET /jobs/{job_id}/attach": Operation(
        "The command that opens a job's terminal", query={"read_only": FLAG}, answer=_object("argv"), errors=(404, 409)
    ),
    "DELETE /jobs/{job_id}/terminal": Operation(
        "Close the terminal of an ended job", answer=_object("id closed"), errors=(404, 409)
    ),
    "GET /jobs/{job_id}/log": Operation("Where the log is", answer=TEXT, errors=(404,)),
    "GET /jobs/{job_id}/log/content": Operation(
        "The end of the log",
        query={"tail": _whole(1, 20_000), "max_bytes": _whole(1, 4_194_304)},
        answer=_object("job_id path size truncated content"),
        errors=(404,),
    ),
    "GET /jobs/{job_id}/log/stream": Operation(
        "The log as it comes",
        query={
            "first": _whole(1, 1_000_000_000),
            "last": _whole(1, 1_000_000_000),
            "offset": _whole(0),
            "follow": FLAG,
        },
        kind=_TEXT_KIND,
        errors=(404,),
    ),
    "GET /jobs/resolve-dependency": Operation(
        "The caller's latest job, or one before", query={"username": TEXT, "shorthand": TEXT}, answer=_object("job_id")
    ),
    "GET /progress": Operation("How far running jobs are", query={"ids": IDS}, answer=_list(_object("id percent"))),
    "GET /terminals": Operation("Jobs with a terminal", answer=_list(_object("id name state user session"))),
    "GET /queue": Operation(
        "The queue as text",
        query={
            "columns": WORDS,
            "states": STATES,
            "users": WORDS,
            "ids": IDS,
            "names": WORDS,
            "project": TEXT,
            "group": TEXT,
            "limit": _whole(),
            "sort": TEXT,
            "since": NUMBER,
            "mine": FLAG,
            "terminals": FLAG,
            "epoch": FLAG,
        },
        kind=_TEXT_KIND,
    ),
    "GET /groups": Operation("Open groups", query={"mine": FLAG, "users": WORDS}, answer=_list(_object("group_id"))),
    "GET /forecast": Operation("When jobs are expected to start", answer=_list(_object("id expected_start"))),
    "POST /groups/{group_id}/max-concurrency": Operation(
        "Limit a group", body=GroupLimit, answer=_object("group_id max_concurrent updated_jobs"), errors=(404, 409, 422)
    ),
    "POST /drain": Operation("Start nothing new", body=DrainRequest, answer=_DRAINED),
    "POST /resume": Operation("Start jobs again", answer=_DRAINED),
    "POST /reload": Operation("Read the configuration again", answer=_object("applied needs_restart"), errors=(422,)),
    "POST /replace": Operation(
        "Let the program that is installed now take the daemon's place",
        answer=_object("started_at"),
        statuses=(202,),
        errors=(422,),
    ),
    "GET /info": Operation("The GPUs", answer=_object("gpus allowed_gpu_indices executor reservations drained")),
    "POST /gpus": Operation(
        "Choose the GPUs to give out", body=AllowedGpus, answer=_object("allowed_gpu_indices"), errors=(404, 409, 422)
    ),
    "GET /gpu-processes": Operation("Ignored processes", answer=_list(_object("gpu_index pid"))),
    "POST /gpu-processes/ignore": Operation(
        "Ignore a process", body=GpuProcess, answer=_IGNORED, errors=(404, 409, 422)
    ),
    "POST /gpu-processes/unignore": Operation(
        "Let a process count again", body=GpuProcess, answer=_IGNORED, errors=(404, 409, 422)
    ),
    "GET /quotas": Operation("Quotas", answer=_object("overrides configured quotas")),
    "PUT /quotas": Operation("Change a quota", body=QuotaChange, answer=_object("scope name overrides")),
    "DELETE /quotas": Operation(
        "Take back a quota",
        query={"scope": TEXT, "name": TEXT},
        answer=_object("scope name removed overrides"),
        errors=(404,),
    ),
    "GET /reservations": Operation(
        "Reservations",
        query={"user": WORDS, "status": WORDS, "active_only": FLAG},
        answer=_list(_reference("Reservation")),
    ),
    "POST /reservations": Operation(
        "Reserve GPUs", body=ReservationRequest, answer=_object("reservation_id"), errors=(409, 422)
    ),
    "GET /reservations/{reservation_id}": Operation("A reservation", answer=_reference("Reservation"), errors=(404,)),
    "DELETE /reservations/{reservation_id}": Operation("Cancel a reservation", kind=_TEXT_KIND, errors=(404, 409)),
    "GET /tokens": Operation("The caller's tokens", answer=_list(_TOKEN)),
    "POST /tokens": Operation(
        "Make a token",
        body=TokenRequest,
        optional_body=True,
        statuses=(201,),
        errors=(404, 409, 422),
        answer=_object("id user name read_only admin expires_at token user_is_known"),
    ),
    "DELETE /tokens/{token_id}": Operation("Revoke a token", answer=_TOKEN, errors=(404, 409)),
    "POST /state/compact": Operation("Write a snapshot", answer=_object("jobs bytes_before bytes_after")),
    "POST /state/prune": Operation(
        "Remove jobs that ended long ago",
        body=PruneRequest,
        errors=(409,),
        answer=_object("before dry_run jobs from_state from_history kept logs"),
    ),
    "GET /notifications": Operation("Who is told of events", answer=_object("enabled targets given_up")),
    "POST /notifications/test": Operation(
        "Try the targets", body=NotificationTest, optional_body=True, answer=_object("results"), errors=(404, 409)
    ),
    "POST /notifications/redeliver": Operation(
        "Deliver once more", body=Redelivery, answer=_object("id target"), errors=(404, 409)
    ),
}

PATH_PARAMETERS: dict[str, Schema] = {
    "job_id": _whole(0),
    "reservation_id": _whole(0),
    "token_id": _whole(0),
    "group_id": TEXT,
}

SENTENCES = {
    400: "Malformed: it cannot be understood",
    401: "Over TCP a token is needed, and it must be good",
    403: "Forbidden: not the caller's, or for administrators",
    404: "There is no such thing",
    408: "The body did not come in time",
    409: "The state does not allow it; nothing was changed",
    413: "More than is taken at once",
    422: "Understood, but it can never be done",
    429: "More than the caller may have at once; Retry-After says when to try again",
    503: "Not now: the state cannot be written, the daemon is stopping, or has more to do than it takes on",
}
"""What each status of an error means."""

EVERYWHERE = (400, 401, 403, 408, 413, 429, 503)
"""Errors that any operation may answer with."""
