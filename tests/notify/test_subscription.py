"""Which events a target wants: by name, and by whose they are."""

import pytest

from gflow.notify.payloads import user_of
from gflow.notify.subscription import Subscription
from support.told import told


@pytest.mark.parametrize(
    ("event", "user"),
    [("job_failed", "alice"), ("group_completed", "alice"), ("reservation_created", "bob"), ("gpu_available", None)],
)
def test_whose_an_event_is(event, user):
    assert user_of(told(event)) == user
    assert Subscription(["*"], ["ALICE", "Bob"]).wants(told(event)) is (user is not None)
    assert Subscription(["*"], ["carol"]).wants(told(event)) is False


def test_a_subscription_is_to_the_events_it_names():
    assert Subscription(["*"]).wants(told("gpu_available"))
    assert Subscription([" Job_Failed "]).wants(told("job_failed"))
    assert not Subscription(["job_failed"]).wants(told("job_completed"))
    assert not Subscription([]).wants(told("job_completed"))
    with pytest.raises(ValueError, match=r"unknown event 'job_done': use job_submitted, .*, scheduler_resumed or \*$"):
        Subscription(["job_failed", "job_done"])
