"""A daemon for all users, two of them, and a third who is not let in to do any harm; made once for all tests here."""

from collections.abc import Iterator

import pytest

from support.several_users import SystemDaemon, User, several_users, why_not


@pytest.fixture(scope="session")
def people() -> Iterator[list[User]]:
    trouble = why_not()
    if trouble is not None:
        pytest.skip(trouble)
    with several_users("ana", "ben", "cem") as made:
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
def system(people: list[User]) -> Iterator[SystemDaemon]:
    with SystemDaemon() as daemon:
        yield daemon
