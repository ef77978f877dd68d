"""A daemon for all users, and users of this machine; made once for all tests here."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.several_users import SystemDaemon, User, several_users, why_not

LIMITS = Path("/etc/security/limits.d")


@pytest.fixture(scope="session")
def people() -> Iterator[list[User]]:
    trouble = why_not()
    if trouble is not None:
        pytest.skip(trouble)
    with several_users("ana", "ben", "cem", "dan") as made:
        yield made


@pytest.fixture(scope="session")
def ana(people: list[User]) -> User:
    return people[0]


@pytest.fixture(scope="session")
def ben(people: list[User]) -> User:
    return people[1]


@pytest.fixture(scope="session")
def cem(people: list[User]) -> User:
    """Has neither a shell nor, later, a home."""
    return people[2]


@pytest.fixture(scope="session")
def dan(people: list[User]) -> Iterator[User]:
    """An administrator has given him limits."""
    if not LIMITS.is_dir():
        pytest.skip("there is no PAM that would limit users here")
    user, limits = people[3], LIMITS / f"{people[3].name}.conf"
    limits.write_text(f"{user.name} soft nofile 321\n{user.name} hard nofile 654\n{user.name} hard core 0\n")
    yield user
    limits.unlink()


@pytest.fixture(scope="session")
def system(people: list[User]) -> Iterator[SystemDaemon]:
    with SystemDaemon() as daemon:
        yield daemon
