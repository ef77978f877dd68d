"""Whom a job is run as: the account of the user id that the kernel named when the job was submitted.

A user id by itself may mean somebody else by now, and so may a name; both have to agree with what was stored. Looks
into the system's user database, which may be a server somewhere: blocks.
"""

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

_NO_SHELLS = frozenset({"nologin", "false", "sync", "halt", "shutdown"})
_PATH = "/usr/local/bin:/usr/bin:/bin"


SUBORDINATE = Path("/etc/subuid")


class NoAccount(Exception):
    """There is nobody to run the job as; the message is one line for its owner."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this machine, as the system's database has it."""

    uid: int
    gid: int
    name: str
    home: str
    shell: str

    def environment(self, lang: str | None) -> dict[str, str]:
        """What a login would begin with."""
        return {
            "PATH": _PATH,
            "HOME": self.home,
            "USER": self.name,
            "LOGNAME": self.name,
            "SHELL": self.shell,
            "LANG": lang or "C.UTF-8",
        }


def account_of(uid: int | None, name: str) -> Account:
    """The account of `uid`, which must be called `name`. Raises NoAccount."""
    if uid is None:
        raise NoAccount(f"It is not known which user of this machine '{name}' was: submit it again")
    try:
        entry = pwd.getpwuid(uid)
        named = pwd.getpwnam(entry.pw_name)
    except KeyError:
        raise NoAccount(f"There is no account with the user id {uid} ('{name}') on this machine") from None
    if entry.pw_name != name:
        raise NoAccount(f"The user id {uid} was '{name}' and is '{entry.pw_name}' now: submit it again")
    if named.pw_uid != uid:
        raise NoAccount(f"'{name}' is the name of two accounts, with the user ids {uid} and {named.pw_uid}")
    return Account(uid, entry.pw_gid, entry.pw_name, entry.pw_dir or "/", entry.pw_shell or "/bin/sh")


def is_users(other: int | None, uid: int | None) -> bool:
    """Whether what runs under the user id `other` is the user's: it is his, or lent to him for containers (subuid(5)).

    An id that somebody has an account with is lent to nobody, whatever the file says.
    """
    if other is None or uid is None or other == uid:
        return other == uid and uid is not None
    if not any(other in lent for lent in _lent_to(uid)):
        return False
    try:
        pwd.getpwuid(other)
    except KeyError:
        return True
    return False


def _lent_to(uid: int) -> list[range]:
    try:
        names = {str(uid), pwd.getpwuid(uid).pw_name}
        lines = [line.split(":") for line in SUBORDINATE.read_text(encoding="utf-8", errors="replace").splitlines()]
        found = [(int(line[1]), int(line[2])) for line in lines if len(line) == 3 and line[0] in names]
    except (KeyError, OSError, ValueError):
        return []
    return [range(first, first + count) for first, count in found]


def check_login(account: Account) -> None:
    """Raise NoAccount for one that nobody can work with: without a shell, or without a home."""
    if os.path.basename(account.shell) in _NO_SHELLS or not os.access(account.shell, os.X_OK):
        raise NoAccount(
            f"'{account.name}' has no shell to run jobs with ({account.shell}): an administrator can set one"
        )
    try:
        found = stat.S_ISDIR(os.stat(account.home).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        found = False
    except OSError:
        return  # a home that root may not look at, as on a server that trusts nobody's root
    if not found:
        raise NoAccount(f"The home directory of '{account.name}', {account.home}, does not exist: jobs need one")
