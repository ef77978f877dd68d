"""Nobody takes all places; administrators have some of their own."""

from gflow.daemon.places import Places


def fill(places, party, *, admin=False):
    """How many of this party come in."""
    number = 0
    while places.has_room(party, admin=admin):
        places.enter(party)
        number += 1
    return number


def test_one_party_has_its_share_and_others_have_theirs():
    places = Places(10, 4, 2)
    assert [fill(places, "a"), fill(places, "b"), fill(places, "c")] == [4, 4, 0]


def test_administrators_have_what_is_left():
    places = Places(10, 4, 2)
    for party in "abc":
        fill(places, party)
    assert fill(places, 0, admin=True) == 2
    assert not places.has_room(0, admin=True)


def test_a_place_is_given_back():
    places = Places(2, 1, 0)
    assert fill(places, "a") == 1
    places.leave("a")
    assert fill(places, "a") == 1
    assert places.inside == 1
