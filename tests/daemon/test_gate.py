"""Nobody takes all places; administrators have some of their own."""

from gflow.daemon.gate import Gate


def fill(gate, party, *, admin=False):
    """How many of this party come in."""
    number = 0
    while gate.has_room(party, admin=admin):
        gate.enter(party)
        number += 1
    return number


def test_one_party_has_its_share_and_others_have_theirs():
    gate = Gate(10, 4, 2)
    assert [fill(gate, "a"), fill(gate, "b"), fill(gate, "c")] == [4, 4, 0]


def test_administrators_have_what_is_left():
    gate = Gate(10, 4, 2)
    for party in "abc":
        fill(gate, party)
    assert fill(gate, 0, admin=True) == 2
    assert not gate.has_room(0, admin=True)


def test_a_place_is_given_back():
    gate = Gate(2, 1, 0)
    assert fill(gate, "a") == 1
    gate.leave("a")
    assert fill(gate, "a") == 1
    assert gate.inside == 1
