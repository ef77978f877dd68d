"""Every verb has a rule, and every cell of verb x role is as the rule says: tried for real, by real users."""

import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

import gflow
from gflow.api import access
from gflow.api.access import LOOKING, RULES, Rule, Who
from gflow.api.app import create_app, routes
from gflow.config import Access
from support import people
from support.house import House
from support.ports import free_port

DOCUMENT = Path(gflow.__file__).parents[2] / "docs" / "access.md"
NAMELESS = 54321
HELD, ENDED = 1, 2

BODIES = {
    "POST /jobs": {"command": "true", "run_dir": "/", "hold": True},
    "POST /jobs/batch": [{"command": "true", "run_dir": "/", "hold": True}],
    "PATCH /jobs/<int:job_id>": {"priority": 5},
    "POST /jobs/cancel": {"ids": [HELD], "dry_run": True},
    "POST /jobs/<int:job_id>/signal": {"signal": 10},
    "POST /jobs/<int:job_id>/redo": {"hold": True},
    "POST /groups/<group_id>/max-concurrency": {"max_concurrent": 2},
    "POST /reservations": {"user": "x", "gpu_count": 1, "start_time": 4_000_000_000, "duration_secs": 1800},
    "POST /gpus": {"allowed_indices": None},
    "POST /gpu-processes/ignore": {"gpu_index": 0, "pid": 1},
    "POST /gpu-processes/unignore": {"gpu_index": 0, "pid": 1},
    "PUT /quotas": {"scope": "user", "name": "x", "limits": {"max_running_jobs": 9}},
    "POST /drain": {"reason": None},
    "POST /state/prune": {"before": 1.0},
    "POST /notifications/redeliver": {"id": "1-x"},
}
PARAMETERS = {
    "GET /queue": "?columns=JOBID",
    "GET /jobs/resolve-dependency": "?shorthand=@",
    "DELETE /quotas": "?scope=user&name=x",
}
OF_ENDED = ("/wait", "/attach", "/redo", "/terminal", "/log", "/log/content", "/log/stream")


def requests_of(token_id: int) -> list[people.Request]:
    """One request for each verb; what they are about is its owner's."""
    found = []
    for verb in RULES:
        method, _, path = verb.partition(" ")
        job_id = ENDED if path.endswith(OF_ENDED) else HELD
        for name, value in (("int:job_id", job_id), ("group_id", "g"), ("int:reservation_id", 1)):
            path = path.replace(f"<{name}>", str(value))
        path = path.replace("<int:token_id>", str(token_id)) + PARAMETERS.get(verb, "")
        found.append((method, path, BODIES.get(verb)))
    return found


@dataclass(frozen=True)
class Role:
    """Who tries: what he is to the things that are tried on, and how he comes."""

    name: str
    kind: str
    tcp: bool = False
    open: bool = False

    def expected(self, verb: str, rule: Rule) -> int | None:
        """The status of the refusal, None if he is let."""
        method = verb.partition(" ")[0]
        refused = (
            (self.kind == "read-only" and method not in LOOKING)
            or (self.tcp and rule.local)
            or (rule.who is Who.ADMIN and self.kind != "admin")
            or (rule.who is Who.OPERATOR and self.kind != "admin" and not self.open)
            or (rule.who in (Who.OWNER, Who.SEES) and self.kind == "other" and not self.open)
        )
        return 401 if self.kind == "nobody" else 403 if refused else None


def refusal(status: int, body: object) -> int | None:
    """The status of a refusal; of a verb that is about several things, as if it were about the one."""
    if isinstance(body, dict) and any(one["code"] == "forbidden" for one in body.get("failed", ())):
        return 403
    return status if status in (401, 403) else None


def check(role: Role, tried: people.Tried) -> list[str]:
    """What is not as the table says; the statuses are one column of it."""
    assert len(tried) == len(RULES)
    wrong = []
    for (verb, rule), (status, body) in zip(RULES.items(), tried, strict=True):
        assert status < 500, (role.name, verb, body)
        if refusal(status, body) != role.expected(verb, rule):
            wrong.append(f"{role.name}: {verb}: {status} {body}")
    return wrong


def show(columns: dict[str, people.Tried]) -> None:
    """The table: one line for each verb, one column for each role."""
    print(f"\n{'':46} " + " ".join(f"{name:>9}" for name in columns))  # noqa: T201
    for number, verb in enumerate(RULES):
        marks = [refusal(*tried[number]) or "yes" for tried in columns.values()]
        print(f"{verb:46} " + " ".join(f"{mark:>9}" for mark in marks))  # noqa: T201


async def test_every_route_has_a_rule_and_every_rule_a_route(house):
    found = {f"{method} {path}" for _, method, path in routes(create_app(house.services))}
    assert found == set(RULES)


def test_a_route_without_a_rule_keeps_the_daemon_from_starting():
    with pytest.raises(LookupError, match="POST /new has no rule"):
        access.rules_of([("new.verb", "POST", "/new")])


def test_whatever_changes_something_is_no_matter_of_visibility():
    for verb, rule in RULES.items():
        if rule.who is Who.SEES or rule.hides:
            assert verb.startswith("GET "), verb


@pytest.mark.skipif(not DOCUMENT.exists(), reason="installed without its documents")
def test_the_document_has_this_table():
    rows = "".join(f"| `{verb}` | {who} | {notes} |\n" for verb, who, notes in access.table())
    head = "| verb | who, besides administrators | |\n|---|---|---|\n"
    assert f"<!-- verbs -->\n{head}{rows}<!-- end of verbs -->" in DOCUMENT.read_text(encoding="utf-8")


@pytest.fixture
def real_users() -> Iterator[list[str]]:
    try:
        with people.users(3) as made:
            yield made
    except people.NoUsers as why:
        pytest.skip(f"the cells of verb x role were not tried by real users: {why}")


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that others may enter, unlike those that pytest makes."""
    path = Path(tempfile.mkdtemp(prefix="gf", dir="/tmp"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)


async def furnish(house: House, name: str, uid: int | None = None) -> int:
    """What is tried on: a held job in a group, an ended one, a reservation, and a token of this user; its id."""
    if uid is not None:
        await house.come_as(uid)
    await house.submit(hold=True, group_id="g")
    await house.start()
    house.write_log(ENDED, b"done\n")
    await house.end(ENDED)
    await house.come_as(os.geteuid())
    start_at = int(house.runtime.clock().wall) // 1800 * 1800 + 36_000
    wanted = {"user": name, "gpu_count": 1, "start_time": start_at, "duration_secs": 1800, "timezone": "UTC"}
    await house.ask("POST", "/reservations", wanted)
    return int((await house.ask("POST", "/tokens", {"user": name}, 201))["id"])


async def test_every_cell_of_verb_and_role(place, real_users):
    owner, other, steward = real_users
    uids = {name: pwd.getpwnam(name).pw_uid for name in real_users}
    settings = Access(admin_groups=[steward], visibility="own")
    async with House(place, simulated_gpus=2, access=settings, host="127.0.0.1", port=free_port()) as house:
        house.socket.parent.chmod(0o711)
        house.socket.chmod(0o666)
        asked = requests_of(await furnish(house, owner, uids[owner]))
        url, path = house.services.status["tcp"], os.fspath(house.socket)
        tokens = {
            "reader": await house.token(owner, read_only=True),
            "stranger": await house.token(other),
            "plain": await house.token(steward),
            "owner": await house.token(owner),
            "admin": await house.token(steward, admin=True),
        }
        house.peer = None  # from here on they are who they are
        before = [house.engine.job(job_id) for job_id in (HELD, ENDED)]
        roles = {
            Role("nobody", "nobody", tcp=True): (people.over_tcp, url, asked, None),
            Role("t:reader", "read-only", tcp=True): (people.over_tcp, url, asked, tokens["reader"]),
            Role("t:other", "other", tcp=True): (people.over_tcp, url, asked, tokens["stranger"]),
            Role("t:plain", "other", tcp=True): (people.over_tcp, url, asked, tokens["plain"]),
            Role("other", "other"): (people.over_socket, path, asked, uids[other]),
            Role("nameless", "other"): (people.over_socket, path, asked, NAMELESS),
        }
        columns = {role.name: (role, await trio.to_thread.run_sync(*how)) for role, how in roles.items()}
        assert [house.engine.job(job_id) for job_id in (HELD, ENDED)] == before, "nothing of the owner's is changed"
        assert house.engine.drained is None
        roles = {
            Role("t:owner", "owner", tcp=True): (people.over_tcp, url, asked, tokens["owner"]),
            Role("owner", "owner"): (people.over_socket, path, asked, uids[owner]),
            Role("t:admin", "admin", tcp=True): (people.over_tcp, url, asked, tokens["admin"]),
            Role("steward", "admin"): (people.over_socket, path, asked, uids[steward]),
            Role("daemon", "admin"): (people.over_socket, path, asked, None),
        }
        columns |= {role.name: (role, await trio.to_thread.run_sync(*how)) for role, how in roles.items()}
    show({name: tried for name, (_, tried) in columns.items()})
    assert [line for role, tried in columns.values() for line in check(role, tried)] == []


async def test_every_cell_without_authentication(place):
    async with House(place, simulated_gpus=2, host="127.0.0.1", port=free_port(), auth="none") as house:
        asked = requests_of(await furnish(house, "somebody else"))
        tried = await trio.to_thread.run_sync(people.over_tcp, house.services.status["tcp"], asked)
    show({"auth none": tried})
    assert check(Role("auth none", "other", tcp=True, open=True), tried) == []
