"""What gbatch says of a submission: for people, as bare ids, or as data whose fields are in docs/scripts.md."""

from __future__ import annotations

import sys

from gflow.cli import ids, work
from gflow.cli.command import Failure
from gflow.cli.render.table import harmless
from gflow.cli.render.words import what_runs
from gflow.client.voice import say
from gflow.core.gpu_list import format_gpu_list
from gflow.core.limits import format_memory_mb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gflow.cli.command import Values

    Record = dict[str, Any]

NOTHING: Record = {"id": None}
"""The answer about a job that was not submitted."""


def report(answers: list[Record], job: Record, jobs: list[Record], values: Values) -> None:
    """Tell what was submitted; where stdout takes nothing the ids are told on stderr, for the jobs are there."""
    _warn(answers)
    try:
        _print(answers, job, jobs, values)
        sys.stdout.flush()
    except OSError as error:
        listed = ids.show(ids.compact(sorted(answer["id"] for answer in answers)))
        jobs_are = f"job {listed} was" if len(answers) == 1 else f"jobs {listed} were"
        if isinstance(error, BrokenPipeError):
            say(f"{jobs_are} submitted, but nobody reads stdout")
            raise
        raise Failure(f"{jobs_are} submitted, but stdout cannot be written: {error.strerror}") from error


def _print(answers: list[Record], job: Record, jobs: list[Record], values: Values) -> None:
    if values["parsable"]:
        print("\n".join(str(answer["id"]) for answer in answers))
        return
    if values["output"] != "text":
        data(answers, job, jobs, values["output"])
        return
    _say_who_keeps_limits(answers, job)
    if len(answers) > 1:
        _head(answers, job)
    for answer in answers:
        what, state = ("Kept", f": {answer['already']}") if "already" in answer else ("Submitted", "")
        print(harmless(f"{what} batch job {answer['id']} ({answer['run_name']}){state}"))


def data(answers: list[Record], job: Record, jobs: list[Record], kind: str) -> None:
    """The jobs as one document; those that were not submitted have null for an id."""
    from gflow.cli.output import print_document

    found = [_entry(answer, job | own) for answer, own in zip(answers, jobs, strict=True)]
    print_document({"jobs": found, "group": job.get("group"), "group_id": job.get("group_id")}, kind)


def _entry(answer: Record, asked: Record) -> Record:
    return {
        "id": answer["id"],
        "name": answer.get("run_name") or asked.get("run_name"),
        "submitted": answer["id"] is not None and "already" not in answer,
        "already": answer.get("already"),
        "held": answer.get("held"),
        "task_id": asked.get("task_id"),
        "parameters": asked.get("parameters"),
        "key": asked.get("key"),
    }


def tested(answers: list[Record], job: Record) -> None:
    """Say what the daemon would make of a submission that it has looked at only."""
    new = sum("already" not in answer for answer in answers)
    hold = " on hold" if job.get("hold") else ""
    print(f"Would queue {_jobs(new)}{hold}{_there_already(len(answers) - new)}; nothing was submitted")


def _warn(answers: list[Record]) -> None:
    dropped = sorted({name for answer in answers for name in answer.get("dropped_env") or ()})
    if dropped:
        say(f"left out of the job's environment: {', '.join(dropped)}")
    for warning in sorted({answer["warning"] for answer in answers if answer.get("warning")}):
        say(f"warning: {warning}")
    _warn_held(answers)


_KEEPERS = {
    "cgroup": "kept by the kernel (cgroup)",
    "watch": "watched about once a second, not kept by the kernel (see gflowd status)",
}


def _say_who_keeps_limits(answers: list[Record], job: Record) -> None:
    keeper = next((answer["memory_kept_by"] for answer in answers if "memory_kept_by" in answer), None)
    if keeper is not None and "memory_limit_mb" in job:
        limit = format_memory_mb(job["memory_limit_mb"])
        print(f"gbatch: the memory limit of {limit} is {_KEEPERS.get(keeper, harmless(keeper))}", file=sys.stderr)


def _there_already(number: int) -> str:
    return f"; {number} {'is' if number == 1 else 'are'} there already" if number else ""


def _jobs(number: int, word: str = "job") -> str:
    return f"1 {word}" if number == 1 else f"{number} {word}s"


def _head(answers: list[Record], job: Record) -> None:
    """A line about all jobs of a group, and how to change its limit."""
    new = [answer for answer in answers if "already" not in answer]
    rest = _there_already(len(answers) - len(new))
    if "group" in job:
        print(f"Submitted {_jobs(len(new), 'batch job')} to group {job['group']}{rest}")
    elif "group_id" in job:
        print(f"Submitted {len(answers)} batch jobs with group_id: {job['group_id']}")
    if "max_concurrent" in job:
        print(f"  (You can update the limit with: gctl set-limit {answers[0]['id']} <N>)")


def _warn_held(answers: list[Record]) -> None:
    held = sorted(answer["id"] for answer in answers if "held" in answer)
    if held:
        why = next(answer["held"] for answer in answers if "held" in answer)
        listed = ids.show(ids.compact(held))
        be = "job {} is" if len(held) == 1 else "jobs {} are"
        say(f"{be.format(listed)} on hold: {why}; gjob release {listed}")


def preview(job: Record, jobs: list[Record], origin: str, *, array: bool) -> None:
    """Say what would be submitted, without asking the daemon."""
    line = origin if origin == work.STDIN else what_runs(job)
    about = f"GPUs: {job.get('gpus', 0)}"
    if "gpu_indices" in job:
        about += f", indices: {format_gpu_list(job['gpu_indices'])}"
    one = not array and "parameters" not in jobs[0]
    print("Would submit 1 batch job:" if one else f"Would submit {len(jobs)} {'array' if array else 'batch'} job(s):")
    for number, each in enumerate(jobs, 1):
        print(f"  [{number}] {line} ({', '.join([about, *_own(each)])})")


def _own(each: Record) -> list[str]:
    """What tells this job from the others."""
    facts = [f"task_id: {each['task_id']}"] if "task_id" in each else []
    facts += [f"{name}={value}" for name, value in each.get("parameters", {}).items()]
    return facts + [f"{word}: {each[field]}" for field, word in (("run_name", "name"), ("key", "key")) if field in each]
