"""Users of the machine: asked for in a thread, remembered for some seconds, administrators by name and by group."""

import grp
import os
import pwd
import threading

import pytest

from gflow.api.users import FRESH_SECS, NO_USER, Users
from gflow.core.errors import Unavailable


class Database:
    """Stands in for the system's; `asked` has each question and whether it came from the main thread."""

    def __init__(self, monkeypatch):
        self.asked = []
        self.groups = {"wheel": 900}
        self.member_of = {"ana": [500, 900], "ben": [501]}
        self.trouble = None
        monkeypatch.setattr(pwd, "getpwuid", lambda uid: self.user(uid, 2))
        monkeypatch.setattr(pwd, "getpwnam", lambda name: self.user(name, 0))
        monkeypatch.setattr(grp, "getgrnam", self.group)
        monkeypatch.setattr(os, "getgrouplist", lambda name, _gid: self.member_of[name])

    def user(self, who, field):
        self.asked.append((who, threading.current_thread() is threading.main_thread()))
        if self.trouble is not None:
            raise self.trouble
        for entry in (("ana", "x", 1001, 500), ("ben", "x", 1002, 501), ("root", "x", 0, 0)):
            if entry[field] == who:
                return pwd.struct_passwd((*entry, "", "/", ""))
        raise KeyError(who)

    def group(self, name):
        return grp.struct_group((name, "x", self.groups[name], []))


@pytest.fixture
def database(monkeypatch):
    return Database(monkeypatch)


async def test_root_and_the_daemons_own_user_are_administrators(database):
    users = Users()
    assert await users.find(0) == ("root", 0, True)
    assert (await users.find(os.geteuid())).admin
    assert await users.find(1001) == ("ana", 1001, False)
    assert await users.find("ben") == ("ben", 1002, False)


async def test_so_are_those_named_and_members_of_the_groups_named(database):
    users = Users(frozenset({"ben"}), frozenset({"wheel", "no-such-group"}))
    assert [(await users.find(who)).admin for who in (1001, "ana", 1002, "ben", 4444)] == [True] * 4 + [False]


async def test_a_number_without_a_name_is_somebody_too(database):
    users = Users(frozenset({"uid:4444"}))
    assert await users.find(4444) == ("uid:4444", 4444, True)
    assert await users.find(4445) == ("uid:4445", 4445, False)
    assert await users.find("nobody here") == ("nobody here", NO_USER, False)


async def test_the_database_is_asked_in_a_thread_and_not_each_time(database):
    now = 0.0
    users = Users(frozenset(), frozenset({"wheel"}), time=lambda: now)
    for _ in range(3):
        assert (await users.find(1001)).admin
    assert database.asked == [(1001, False)]
    database.member_of["ana"] = [500]
    now += FRESH_SECS
    assert not (await users.find(1001)).admin, "whoever left the group is none any more, some seconds later"
    assert len(database.asked) == 2


async def test_a_database_that_fails_makes_nobody_of_nobody(database):
    database.trouble = OSError(5, "Input/output error")
    users = Users()
    with pytest.raises(Unavailable, match="does not answer"):
        await users.find(1001)
    database.trouble = None
    assert (await users.find(1001)).name == "ana"
