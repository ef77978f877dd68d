"""Users of the machine, as the system's database has them, and who of them is an administrator.

The database may be a file, or a server somewhere that takes its time: it is asked in threads, and what it said counts
for some seconds, so that nearly every request finds its caller in a dictionary.
"""

import grp
import os
import pwd
from collections.abc import Callable, Iterable
from typing import NamedTuple

import trio

from gflow.core.errors import Unavailable

FRESH_SECS = 10.0
"""How long an answer counts; so long a change of groups takes to be noticed."""

MOST_KEPT = 1000
AT_ONCE = 4
"""Threads that may be asking: where the database does not answer, other work in threads must go on."""

NO_USER = -1
"""The user id of a name that the machine does not know."""


class Person(NamedTuple):
    """A user. `uid` is NO_USER if only the name is known."""

    name: str
    uid: int
    admin: bool


class Users:
    """Administrators are the daemon's own user, root, those named in `admins`, and members of `admin_groups`."""

    def __init__(
        self,
        admins: Iterable[str] = (),
        admin_groups: Iterable[str] = (),
        time: Callable[[], float] = trio.current_time,
    ) -> None:
        self._time = time
        self._known: dict[int | str, tuple[float, Person]] = {}
        self._threads: trio.CapacityLimiter | None = None
        self.configure(admins, admin_groups)

    def configure(self, admins: Iterable[str], admin_groups: Iterable[str]) -> None:
        """Others are administrators from now on."""
        self._admins, self._admin_groups = frozenset(admins), frozenset(admin_groups)
        self._known.clear()

    async def find(self, who: int | str) -> Person:
        """The user with this id or name; also one the machine does not know. Raises Unavailable."""
        known = self._known.get(who)
        if known is not None and self._time() < known[0]:
            return known[1]
        return await self._ask(who)

    async def _ask(self, who: int | str) -> Person:
        if self._threads is None:
            self._threads = trio.CapacityLimiter(AT_ONCE)
        try:
            found = await trio.to_thread.run_sync(self._look_up, who, limiter=self._threads, abandon_on_cancel=True)
        except OSError as error:
            raise Unavailable(f"The user database of this machine does not answer: {error}") from error
        if len(self._known) >= MOST_KEPT:
            self._known.clear()
        self._known[who] = self._time() + FRESH_SECS, found
        return found

    def _look_up(self, who: int | str) -> Person:
        try:
            entry = pwd.getpwuid(who) if isinstance(who, int) else pwd.getpwnam(who)
        except (KeyError, ValueError):
            name, uid = (f"uid:{who}", who) if isinstance(who, int) else (who, NO_USER)
            return Person(name, uid, self._is_named(name, uid))
        name = entry.pw_name
        return Person(name, entry.pw_uid, self._is_named(name, entry.pw_uid) or self._is_in_group(name, entry.pw_gid))

    def _is_named(self, name: str, uid: int) -> bool:
        return uid in (0, os.geteuid()) or name in self._admins

    def _is_in_group(self, name: str, gid: int) -> bool:
        return bool(self._admin_groups) and not self._group_ids().isdisjoint(os.getgrouplist(name, gid))

    def _group_ids(self) -> set[int]:
        found = set()
        for group in self._admin_groups:
            try:
                found.add(grp.getgrnam(group).gr_gid)
            except KeyError:
                continue
        return found


def unknown_groups(names: Iterable[str]) -> list[str]:
    """Those of these groups that the system's database does not have."""
    return [name for name in names if not _is_group(name)]


def _is_group(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True
