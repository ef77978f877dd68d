"""Nobody takes all places; administrators have some of their own."""

import pytest

from gflow.daemon.places import Places


def fill(places, party, *, admin=False, stranger=False):
    """How many of this party come in."""
    number = 0
    while places.has_room(party, admin=admin, stranger=stranger):
        places.enter(party, stranger=stranger)
        number += 1
    return number


def test_one_party_has_its_share_and_others_have_theirs():
    places = Places(20, 4, 2)
    assert [fill(places, party) for party in "abcdef"] == [4, 4, 4, 4, 2, 0]


def test_administrators_have_what_is_left():
    places = Places(20, 4, 2)
    for party in "abcde":
        fill(places, party)
    assert fill(places, 0, admin=True) == 2
    assert not places.has_room(0, admin=True)


@pytest.mark.parametrize("total", [12, 300])
def test_where_there_are_few_places_shares_are_smaller(total):
    places = Places(total, 1024, 64)
    assert fill(places, "a") == total // 4
    assert fill(places, "b") == total // 4
    assert fill(places, 0, admin=True) == total - total // 4 * 2


def test_strangers_leave_half_of_the_places_to_others():
    places = Places(100, 20, 10)
    assert sum(fill(places, f"192.0.2.{number}", stranger=True) for number in range(100)) == 50
    assert [fill(places, "a"), fill(places, "b"), fill(places, 0, admin=True)] == [20, 20, 10]
    places.leave("192.0.2.0", stranger=True)
    assert fill(places, "192.0.2.200", stranger=True) == 0, "it is an administrator's now"
    places.leave(0)
    assert fill(places, "c") == 0
    assert fill(places, 0, admin=True) == 2


def test_a_place_is_given_back():
    places = Places(4, 1, 0)
    assert fill(places, "a") == 1
    places.leave("a")
    assert fill(places, "a") == 1
    assert places.inside == 1
