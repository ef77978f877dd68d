"""Tokens: what is kept of them lets nobody in, and only their own text is theirs."""

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflow.core.errors import Malformed, NotFound, TooLarge
from gflow.core.tokens import LONGEST_SECS, MOST, MOST_OF_A_USER, SETTING, Tokens, Wanted, hidden

NOW = 1_800_000_000.0
SECRET = "s3cret-of-256-bits"


def issue(tokens, user="ana", secret=SECRET, wall=NOW, **wanted):
    text, token, _ = tokens.issue(Wanted(user, **wanted), secret, "root", wall)
    return text, token


def test_how_long_one_will_be_good():
    tokens = Tokens()
    issue(tokens)
    issue(tokens, expires_secs=60.0)
    assert [tokens.secs_left(token, NOW + 20) for token in (1, 2, 3)] == [math.inf, 40.0, 0.0]
    assert tokens.secs_left(2, NOW + 70) == 0.0


def test_its_text_finds_it():
    tokens = Tokens()
    text, token = issue(tokens, label="laptop", read_only=True)
    assert tokens.find(text, NOW) == token
    assert (token.id, token.user, token.label, token.read_only, token.admin) == (1, "ana", "laptop", True, False)
    assert text == f"gflow_1_{SECRET}"


def test_what_is_kept_has_nothing_of_the_secret():
    tokens = Tokens()
    text, token, outcome = tokens.issue(Wanted("ana"), SECRET, "root", NOW)
    stored = msgspec.json.encode(outcome.settings)
    assert SECRET.encode() not in stored
    assert SECRET not in repr(token)
    assert tokens.find(token.digest.hex(), NOW) is None
    assert tokens.find(f"gflow_1_{token.digest.hex()}", NOW) is None
    assert tokens.find(text, NOW) == token


@given(st.text(max_size=60))
def test_no_other_text_does(text):
    tokens = Tokens()
    issue(tokens)
    for tried in (text, f"gflow_1_{text}", f"gflow_{text}", f"gflow_1_{SECRET}{text or 'x'}", f"gflow_2_{SECRET}"):
        assert tokens.find(tried, NOW) is None or tried == f"gflow_1_{SECRET}"


def test_it_is_good_until_it_expires():
    tokens = Tokens()
    text, token = issue(tokens, expires_secs=60)
    assert tokens.find(text, NOW + 59.9) == token
    assert tokens.holds(token.id, NOW + 59.9)
    assert tokens.find(text, NOW + 60) is None
    assert not tokens.holds(token.id, NOW + 60)


def test_a_revoked_one_is_none():
    tokens = Tokens()
    text, token = issue(tokens)
    tokens.revoke(token.id)
    assert tokens.find(text, NOW) is None
    assert not tokens.holds(token.id, NOW)
    with pytest.raises(NotFound):
        tokens.revoke(token.id)


def test_they_outlive_the_daemon_and_ids_are_never_used_twice():
    tokens = Tokens()
    text, token = issue(tokens, expires_secs=60, admin=True, label="ci")
    issue(tokens, user="ben")
    outcome = tokens.revoke(2)
    kept = msgspec.msgpack.decode(msgspec.msgpack.encode(outcome.settings))[SETTING]
    again = Tokens(kept)
    assert again.find(text, NOW) == token
    assert list(again.entries) == [1]
    assert issue(again)[1].id == 3


def test_there_is_an_end_to_how_many_there_are_and_expired_ones_do_not_count():
    tokens = Tokens()
    for _ in range(MOST_OF_A_USER):
        issue(tokens, expires_secs=60)
    with pytest.raises(TooLarge, match="ana has 50 tokens"):
        issue(tokens)
    for number in range(MOST - MOST_OF_A_USER):
        issue(tokens, user=f"user{number}")
    with pytest.raises(TooLarge, match="There are 1000 tokens"):
        issue(tokens, user="ben")
    issue(tokens, wall=NOW + 60)
    assert len(tokens.entries) == MOST - MOST_OF_A_USER + 1, "the expired ones are gone"


@pytest.mark.parametrize(
    "wanted",
    [
        {"user": ""},
        {"user": "a,b"},
        {"user": "a\nb"},
        {"user": "x" * 300},
        {"label": ""},
        {"label": "a\x1b[2J"},
        {"label": "x" * 65},
        {"expires_secs": 0.0},
        {"expires_secs": -5.0},
        {"expires_secs": LONGEST_SECS * 2},
        {"expires_secs": float("nan")},
        {"admin": True, "read_only": True},
    ],
)
def test_what_makes_no_sense_is_refused_and_makes_nothing(wanted):
    tokens = Tokens()
    with pytest.raises(Malformed):
        tokens.issue(Wanted(**{"user": "ana", **wanted}), SECRET, "root", NOW)
    assert tokens.entries == {}
    assert issue(tokens)[1].id == 1


def test_one_in_a_text_is_not_shown():
    text, _ = issue(Tokens(), secret="aB3-_x" * 7)
    assert hidden(f"/tokens/{text}/x?a={text}") == "/tokens/gflow_1_.../x?a=gflow_1_..."
    assert hidden("/gflow/gflow_1/tokens") == "/gflow/gflow_1/tokens"
