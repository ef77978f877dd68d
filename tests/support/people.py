"""Real users of this machine, made for tests that root runs, and what each of them gets when he tries things.

They are tried by a program that becomes the user after it has loaded what it needs, for a user of tests can often not
even read the interpreter that runs them.
"""

import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

TRY = """
import http.client, json, os, socket, sys
asked = json.load(sys.stdin)
if asked["uid"] is not None:
    os.setgroups([])
    os.setgid(asked["gid"])
    os.setuid(asked["uid"])

class Connection(http.client.HTTPConnection):
    def connect(self):
        if "socket" in asked:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(20)
            self.sock.connect(asked["socket"])
        else:
            super().connect()

found = []
for method, path, body in asked["requests"]:
    connection = Connection(asked.get("host", "localhost"), asked.get("port", 80), timeout=20)
    headers = {"Content-Type": "application/json", **asked["headers"]}
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    answer = connection.getresponse()
    is_json = answer.headers.get_content_type() == "application/json"
    found.append((answer.status, json.loads(answer.read()) if is_json else None))
    connection.close()
json.dump(found, sys.stdout)
"""

Request = tuple[str, str, Any]
Tried = list[tuple[int, Any]]


class NoUsers(Exception):
    """Users cannot be made here; the message says why."""


@contextmanager
def users(count: int) -> Iterator[list[str]]:
    """Names of new users, each with a group of that name. Raises NoUsers."""
    if os.geteuid() != 0:
        raise NoUsers("making users takes root")
    if shutil.which("useradd") is None or shutil.which("userdel") is None:
        raise NoUsers("there is no useradd and userdel")
    made: list[str] = []
    try:
        for _ in range(count):
            name = f"gft-{secrets.token_hex(4)}"
            done = subprocess.run(
                ["useradd", "--no-create-home", "--user-group", "--shell", "/usr/sbin/nologin", name],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise NoUsers(f"useradd: {done.stderr.strip()}")
            made.append(name)
        yield made
    finally:
        for name in made:
            subprocess.run(["userdel", name], capture_output=True, check=False)


def over_socket(path: str, requests: list[Request], uid: int | None = None) -> Tried:
    """Status and JSON of each answer, as this user gets it over the Unix socket; as ourselves without one."""
    return _try({"socket": path, "uid": uid, "gid": uid, "headers": {}}, requests)


def over_tcp(url: str, requests: list[Request], token: str | None = None) -> Tried:
    """The same over TCP."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return _try({"host": host, "port": int(port), "uid": None, "headers": headers}, requests)


def _try(asked: dict[str, Any], requests: list[Request]) -> Tried:
    done = subprocess.run(
        [sys.executable, "-I", "-c", TRY],
        input=json.dumps({**asked, "requests": requests}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [(status, body) for status, body in json.loads(done.stdout)]
